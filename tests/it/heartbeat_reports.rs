//! `POST …/heartbeat`: what a toolbox reports, and what it is answered.

use agentopia_tests::{Stack, StackOptions, Tool, ToolInstance, Toolbox, User};
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::heartbeat_support::{HEARTBEAT, OLD_HEARTBEAT, beat, instance, toolbox};

/// A user with a toolbox on which a tool should run.
struct Fixture {
    toolbox: Toolbox,
    instance: ToolInstance,
}

impl Fixture {
    async fn new(stack: &Stack) -> Self {
        Self::of(stack, &stack.user().await).await
    }

    async fn of(stack: &Stack, user: &User) -> Self {
        let tool: Tool = stack.tool(&json!([]), &json!([])).await;
        let toolbox = user.toolbox().await;
        let instance = user.tool_instance(&toolbox, &tool).await;
        Self { toolbox, instance }
    }

    fn report(&self, state: &str) -> Value {
        json!({
            "dtma_version": "1.2.3",
            "system_status": { "cpu_load_percent": 12.5 },
            "tool_statuses": [{ "account_tool_instance_id": self.instance.id, "status_on_toolbox": state }],
        })
    }
}

#[tokio::test]
async fn the_first_heartbeat_activates_the_toolbox() {
    let stack = Stack::shared().await;
    let fresh = stack.user().await.toolbox().await;
    let statement = "UPDATE public.account_tool_environments SET status = 'awaiting_heartbeat' WHERE id = $1";
    stack.db().execute(statement, &[&fresh.id]).await;

    let response = beat(stack, &fresh, &json!({})).await;

    assert_snapshot!(response, @r#"
    200 OK
    {"generation":1,"heartbeat_interval_seconds":60,"paused":false,"toolbox_id":"[id]","tools":[]}
    "#);
    assert_eq!(toolbox(stack, fresh.id, "status").await.as_deref(), Some("active"));
    assert!(toolbox(stack, fresh.id, "alert_after").await.is_some());
}

#[tokio::test]
async fn a_report_is_stored_and_answered_with_what_should_run() {
    let stack = Stack::shared().await;
    let own = Fixture::new(stack).await;

    let response = beat(stack, &own.toolbox, &own.report("exited")).await;

    let mut answer = response.json();
    answer["tools"][0]["instance_name_on_toolbox"] = "[name]".into();
    assert_snapshot!(agentopia_tests::redacted(&answer), @r#"{"generation":1,"heartbeat_interval_seconds":60,"paused":false,"toolbox_id":"[id]","tools":[{"account_tool_instance_id":"[id]","action":"start","desired":"running","environment":{},"generation":1,"image":"registry.example.com/tool","image_digest":null,"image_tag":"1.0.0","instance_name_on_toolbox":"[name]","resources":null}]}"#);
    let column = async |name: &'static str| toolbox(stack, own.toolbox.id, name).await;
    assert_eq!(column("dtma_last_known_version").await.as_deref(), Some("1.2.3"));
    assert_eq!(
        column("dtma_health_details_json").await.as_deref(),
        Some(r#"{"cpu_load_percent": 12.5}"#)
    );
    assert_eq!(
        instance(stack, own.instance.id, "status_on_toolbox").await.as_deref(),
        Some("starting")
    );
}

#[tokio::test]
async fn the_old_contract_is_answered_without_a_body() {
    let stack = Stack::shared().await;
    let own = Fixture::new(stack).await;
    let report = own.report("running");
    let cases = [
        (OLD_HEARTBEAT, None, 204),
        (OLD_HEARTBEAT, Some("return=representation"), 200),
        (HEARTBEAT, None, 200),
        (HEARTBEAT, Some("return=minimal"), 204),
    ];

    for (path, prefer, expected) in cases {
        let mut request = stack.post(path).bearer(&own.toolbox.token).json(&report);
        if let Some(prefer) = prefer {
            request = request.header("prefer", prefer);
        }
        let response = request.await;

        assert_eq!(response.status(), expected, "{path} {prefer:?}");
        assert_eq!(response.text().is_empty(), expected == 204, "{path} {prefer:?}");
    }
    assert_eq!(
        instance(stack, own.instance.id, "status_on_toolbox").await.as_deref(),
        Some("running")
    );
}

#[tokio::test]
async fn a_toolbox_cannot_touch_what_runs_on_anothers() {
    let stack = Stack::shared().await;
    let (mine, theirs) = (Fixture::new(stack).await, Fixture::new(stack).await);
    let before = instance(stack, theirs.instance.id, "account_tool_instances").await;

    // The ids of another tenant's instance, in a report of mine.
    let response = beat(stack, &mine.toolbox, &theirs.report("dead")).await;

    assert_eq!(response.status(), 200);
    assert!(!response.text().contains(&theirs.instance.id.to_string()));
    assert_eq!(
        instance(stack, theirs.instance.id, "account_tool_instances").await,
        before
    );
}

#[tokio::test]
async fn who_does_not_prove_itself_is_refused_before_the_body_is_read() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let forged = format!("agt_tb_{}", "A".repeat(43));
    let wrong = "not json";

    assert_snapshot!(stack.post(HEARTBEAT).body(wrong).await, @r#"
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"missing_token","error":"Unauthorized: Missing or invalid token","message":"Unauthorized: Missing or invalid token","request_id":"[request id]"}
    "#);
    assert_snapshot!(stack.post(HEARTBEAT).bearer(&user.token).body(wrong).await, @r#"
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"invalid_token","error":"Unauthorized: Invalid token","message":"Unauthorized: Invalid token","request_id":"[request id]"}
    "#);
    assert_snapshot!(stack.post(HEARTBEAT).bearer(&forged).json(&json!({})).await, @r#"
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"invalid_token","error":"Unauthorized: Invalid token","message":"Unauthorized: Invalid token","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_report_is_bounded_and_typed() {
    let stack = Stack::shared().await;
    let own = Fixture::new(stack).await;
    let send = async |body: String| stack.post(HEARTBEAT).bearer(&own.toolbox.token).body(body).await;

    assert_snapshot!(send("{".to_owned()).await, @r#"
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: EOF while parsing an object at line 1 column 1","message":"Invalid JSON payload: EOF while parsing an object at line 1 column 1","request_id":"[request id]"}
    "#);
    assert_snapshot!(send(r#"["1.0", null, [], null, null]"#.to_owned()).await, @r#"
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: a list, expected an object","message":"Invalid JSON payload: a list, expected an object","request_id":"[request id]"}
    "#);
    assert_snapshot!(send(json!({ "tool_statuses": {} }).to_string()).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"tool_statuses is invalid: invalid type: map, expected a sequence.","field":"tool_statuses","message":"tool_statuses is invalid: invalid type: map, expected a sequence.","request_id":"[request id]"}
    "#);
    assert_snapshot!(send(json!({ "tool_statuses": [{ "account_tool_instance_id": "x", "status_on_toolbox": "y" }] }).to_string()).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"tool_statuses[0].account_tool_instance_id is not a UUID.","field":"tool_statuses[0].account_tool_instance_id","message":"tool_statuses[0].account_tool_instance_id is not a UUID.","request_id":"[request id]"}
    "#);
    assert_snapshot!(send(json!({ "sent_at": "now" }).to_string()).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"sent_at is not a time of RFC 3339.","field":"sent_at","message":"sent_at is not a time of RFC 3339.","request_id":"[request id]"}
    "#);
    assert_snapshot!(send(json!({ "system_status": { "a": "\u{0}" } }).to_string()).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"system_status contains a NUL character.","field":"system_status","message":"system_status contains a NUL character.","request_id":"[request id]"}
    "#);
    assert_snapshot!(send(format!("{{\"x\":\"{}\"}}", "a".repeat(70_000))).await, @r#"
    413 Payload Too Large
    {"code":"body_too_large","error":"The body is larger than 65536 bytes.","message":"The body is larger than 65536 bytes.","request_id":"[request id]"}
    "#);
    assert_snapshot!(stack.get(HEARTBEAT).await, @r#"
    405 Method Not Allowed
    allow: POST
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    "#);
    assert_eq!(
        toolbox(stack, own.toolbox.id, "last_heartbeat_at").await,
        None,
        "what is refused is no sign of life"
    );
}

#[tokio::test]
async fn a_toolbox_that_will_not_stop_talking_is_limited() {
    let options = StackOptions::default()
        .set("heartbeats_per_minute", 1)
        .set("heartbeats_burst", 2);
    let stack = Stack::beside_shared(options).await;
    let own = stack.user().await.toolbox().await;

    assert_eq!(beat(&stack, &own, &json!({})).await.status(), 200);
    assert_eq!(beat(&stack, &own, &json!({})).await.status(), 200);
    let refused = beat(&stack, &own, &json!({})).await;

    assert_eq!(
        (refused.status().as_u16(), refused.field("code").as_str()),
        (429, "rate_limited")
    );
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test]
async fn reports_are_not_logged() {
    let stack = Stack::shared().await;
    let own = Fixture::new(stack).await;
    let mut report = own.report("running");
    report["system_status"] = json!({ "note": "canary-of-a-report" });

    let response = beat(stack, &own.toolbox, &report).await;

    let Some(lines) = stack.request_log("heartbeat", response.request_id()) else {
        return;
    };
    let log = json!(lines).to_string();
    assert!(log.contains("record_heartbeat") && log.contains("\"tenant\""), "{log}");
    assert!(
        !log.contains("canary-of-a-report") && !log.contains(&own.toolbox.token),
        "{log}"
    );
}
