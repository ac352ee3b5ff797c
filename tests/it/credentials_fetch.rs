//! `get-agent-tool-credentials`: the secrets of one agent's one tool, for the toolbox that runs it, and for nobody else.

use agentopia_tests::{Request, Stack, StackOptions, Toolbox};
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::toolbelt_support::{Belt, FETCH, NOBODYS, answers};

/// The path by which machines in the field call it.
const OLD_PATH: &str = "/functions/v1/dtma/get-agent-tool-credentials";

/// A request of a toolbox.
fn fetch(stack: &Stack, toolbox: &Toolbox, body: &Value) -> Request {
    stack.post(FETCH).bearer(&toolbox.token).json(body)
}

/// What the toolbox of a belt asks for, with another value of one field.
fn body(belt: &Belt<'_>, field: &str, value: impl Into<Value>) -> Value {
    let mut body = json!({ "agentId": belt.agent.id, "accountToolInstanceId": belt.instance.id });
    body[field] = value.into();
    body
}

#[tokio::test]
async fn a_toolbox_fetches_what_the_tool_asks_for_under_both_paths() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    belt.store("api_key", &json!("sk-1")).await;
    belt.store("unasked", &json!("not for this tool")).await;

    for path in [FETCH, OLD_PATH] {
        let response = stack
            .post(path)
            .bearer(&belt.toolbox.token)
            .json(&body(&belt, "capabilityName", Value::Null))
            .await;

        insta::allow_duplicates! {
            assert_snapshot!(response, path, @r#"
            200 OK
            {"secrets":{"API_KEY":"sk-1","REGION":null}}
            "#);
        }
        assert_eq!(response.header("cache-control"), Some("no-store"), "{path}");
    }
}

#[tokio::test]
async fn a_value_comes_as_it_was_stored() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let path = belt.of_item("credentials");
    let cases = [
        (r#""a \"quoted\" secret\n\u00e9""#, "a \"quoted\" secret\né"),
        (
            r#"{ "b": [1.0, 12345678901234567890123], "a": "x y" }"#,
            r#"{"b":[1.0,12345678901234567890123],"a":"x y"}"#,
        ),
        ("12345678901234567890", "12345678901234567890"),
        ("false", "false"),
    ];
    let id = belt.store("api_key", &json!("first")).await;

    for (json, expected) in cases {
        let stored = belt
            .request(Method::PUT, &format!("{path}/{id}"))
            .body(format!(r#"{{"credential_value": {json}}}"#))
            .await;
        let fetched = belt.fetch().await;

        assert_eq!(stored.status(), 200, "{stored}");
        assert_eq!(fetched.json()["secrets"]["API_KEY"], expected);
    }
    let longest = "a".repeat(16 * 1024);
    belt.patch(&format!("{path}/{id}"), &json!({ "credential_value": longest }))
        .await;
    assert_eq!(belt.fetch().await.json()["secrets"]["API_KEY"], longest);
}

#[tokio::test]
async fn a_variable_takes_the_credential_of_its_type_or_of_its_name() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    belt.store("API_KEY", &json!("by name")).await;
    belt.store("REGION", &json!("fra1")).await;
    let by_name = belt.fetch().await.json();

    belt.store("api_key", &json!("by type")).await;

    assert_eq!(
        by_name,
        json!({ "secrets": { "API_KEY": "by name", "REGION": "fra1" } })
    );
    assert_eq!(belt.fetch().await.json()["secrets"]["API_KEY"], "by type");
}

#[tokio::test]
async fn a_tool_that_needs_no_secrets_is_given_none() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let tool = stack.tool(&json!([]), &json!([])).await;
    let instance = belt.user.tool_instance(&belt.toolbox, &tool).await;
    belt.put_in(&instance).await;

    let response = fetch(
        stack,
        &belt.toolbox,
        &body(&belt, "accountToolInstanceId", json!(instance.id)),
    )
    .await;

    assert_snapshot!(response, @r#"
    200 OK
    {"secrets":{}}
    "#);
}

#[tokio::test]
async fn a_secret_that_is_missing_is_named() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let id = belt.store("api_key", &json!("secret")).await;
    belt.patch(
        &belt.of_item(&format!("credentials/{id}")),
        &json!({ "status": "expired" }),
    )
    .await;

    let response = belt.fetch().await;

    assert_snapshot!(response, @r#"
    409 Conflict
    {"code":"credential_missing","error":"API_KEY is missing: the agent has no active credential for it.","field":"API_KEY","message":"API_KEY is missing: the agent has no active credential for it.","request_id":"[request id]"}
    "#);
    let entry = &belt.get("audit?limit=1").await.json()[0];
    assert_eq!(
        (&entry["action"], &entry["changes"]),
        (
            &json!("credentials_denied"),
            &json!({ "capability": null, "code": "credential_missing", "field": "API_KEY" })
        )
    );
}

#[tokio::test]
async fn a_secret_that_does_not_open_is_named_unless_the_tool_works_without() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let key = belt.store("api_key", &json!("secret")).await;
    let region = belt.store("REGION", &json!("fra1")).await;
    let damage = async |id: Uuid, sealed: &str| {
        let statement = "UPDATE public.agent_tool_credentials SET encrypted_credentials = $2 WHERE id = $1";
        assert_eq!(stack.db().execute(statement, &[&id, &sealed]).await, 1);
    };

    damage(region, "v1.xc20p.a-key-that-is-gone.AAAA").await;
    let without_region = belt.fetch().await;
    damage(key, "not sealed at all").await;
    let without_key = belt.fetch().await;

    assert_eq!(
        without_region.json(),
        json!({ "secrets": { "API_KEY": "secret", "REGION": null } })
    );
    assert_snapshot!(without_key, @r#"
    500 Internal Server Error
    {"code":"credential_unopenable","error":"API_KEY cannot be opened: the credential is there, but this service cannot read it.","field":"API_KEY","message":"API_KEY cannot be opened: the credential is there, but this service cannot read it.","request_id":"[request id]"}
    "#);
    let audit = belt.get("audit").await.json();
    let told = audit.as_array().unwrap().iter().filter_map(|entry| {
        let action = entry["action"].as_str().unwrap();
        let credentials = entry["changes"]["credentials"].as_array()?;
        let mut ids: Vec<Uuid> = credentials
            .iter()
            .map(|credential| credential["id"].as_str().unwrap().parse().unwrap())
            .collect();
        ids.sort_unstable();
        Some((action, ids))
    });
    let mut both = vec![key, region];
    both.sort_unstable();
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("credentials_not_opened", both.clone()),
            ("credentials_released", both.clone()),
            ("credentials_not_opened", vec![region]),
            ("credentials_released", both),
        ]
    );
    let component = "get-agent-tool-credentials";
    if let Some(lines) = stack.request_log(component, without_region.request_id()) {
        let line = lines
            .iter()
            .find(|line| line["event"] == "credential_not_opened")
            .unwrap();
        assert_eq!(line["credential"], json!(region));
        assert_eq!(line["tenant"], json!(belt.user.id));
    }
    if let Some(lines) = stack.request_log(component, without_key.request_id()) {
        let cause = format!("credential {key}: it is not sealed in a known format");
        assert_eq!(lines.last().unwrap()["cause"], cause);
    }
}

#[tokio::test]
async fn a_sealed_secret_that_was_moved_does_not_open() {
    let stack = Stack::shared().await;
    let eve = Belt::of(stack, stack.user_named("Eve").await).await;
    let ada = Belt::new(stack).await;
    let adas = ada.store("api_key", &json!("Ada's")).await;
    let eves = eve.store("api_key", &json!("Eve's")).await;
    let other_agent = Belt::of(stack, eve.user.clone()).await;
    let of_other_agent = other_agent.store("api_key", &json!("another agent's")).await;
    let second = belt_with_second_item(&eve).await;
    let of_second = second.store("api_key", &json!("the second tool's")).await;
    let of_same_item = eve.store("other", &json!("of another type")).await;

    for (name, from) in [
        ("another tenant's", adas),
        ("another agent's", of_other_agent),
        ("another tool's", of_second),
        ("another credential's of the tool", of_same_item),
    ] {
        let moved = "UPDATE public.agent_tool_credentials AS here
                     SET encrypted_credentials = there.encrypted_credentials
                     FROM public.agent_tool_credentials AS there
                     WHERE here.id = $1 AND there.id = $2";
        assert_eq!(stack.db().execute(moved, &[&eves, &from]).await, 1);

        let response = eve.fetch().await;

        assert_eq!(
            (response.status().as_u16(), response.field("code").as_str()),
            (500, "credential_unopenable"),
            "{name}"
        );
        assert_eq!(response.json()["field"], "API_KEY", "{name}");
        assert!(!response.text().contains("Ada's"), "{name}");
    }
    // A row that is moved whole: to the item of another, with its id.
    let moved = "UPDATE public.agent_tool_credentials SET agent_toolbelt_item_id = $2, user_id = $3 WHERE id = $1";
    eve.delete(&eve.of_item(&format!("credentials/{eves}"))).await;
    assert_eq!(stack.db().execute(moved, &[&adas, &eve.item, &eve.user.id]).await, 1);
    assert_eq!(eve.fetch().await.field("code"), "credential_unopenable");
}

/// The same agent, with another tool of the same kind.
async fn belt_with_second_item<'a>(belt: &Belt<'a>) -> Belt<'a> {
    let instance = belt.user.tool_instance(&belt.toolbox, &belt.tool).await;
    let item = belt.put_in(&instance).await;
    Belt {
        stack: belt.stack,
        user: belt.user.clone(),
        agent: belt.agent.clone(),
        toolbox: belt.toolbox.clone(),
        tool: belt.tool.clone(),
        instance,
        access: belt.access,
        item,
    }
}

#[tokio::test]
async fn a_capability_that_is_named_must_be_allowed() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    belt.store("api_key", &json!("secret")).await;
    let ask = |name: &str| fetch(stack, &belt.toolbox, &body(&belt, "capabilityName", name));

    let unsaid = ask("read").await;
    let unknown = ask("format_disk").await;
    let permission = belt.permit("read", true).await;
    let allowed = ask("read").await;
    belt.permit("write", true).await;
    let unapproved = ask("write").await;
    belt.delete(&belt.of_item(&format!("permissions/{permission}"))).await;
    let taken = ask("read").await;

    assert_eq!(allowed.status(), 200);
    for denied in [unsaid, unknown, taken] {
        insta::allow_duplicates! {
            assert_snapshot!(denied, @r#"
            403 Forbidden
            {"code":"capability_denied","error":"The agent may not use this capability of the tool.","message":"The agent may not use this capability of the tool.","request_id":"[request id]"}
            "#);
        }
    }
    assert_snapshot!(unapproved, @r#"
    403 Forbidden
    {"code":"capability_requires_approval","error":"This capability of the tool needs an approval.","message":"This capability of the tool needs an approval.","request_id":"[request id]"}
    "#);
    let audit = belt.get("audit").await.json();
    let denied: Vec<_> = audit
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["action"] == "credentials_denied")
        .map(|entry| format!("{} {}", entry["changes"]["capability"], entry["changes"]["code"]))
        .collect();
    assert_eq!(
        denied,
        [
            r#""read" "capability_denied""#,
            r#""write" "capability_requires_approval""#,
            r#""format_disk" "capability_denied""#,
            r#""read" "capability_denied""#,
        ]
    );
}

#[tokio::test]
async fn a_toolbox_gets_nothing_that_is_not_its_own_to_run() {
    let stack = Stack::shared().await;
    let ada = Belt::new(stack).await;
    ada.store("api_key", &json!("Ada's")).await;
    let eve = Belt::of(stack, stack.user_named("Eve").await).await;
    eve.store("api_key", &json!("Eve's")).await;
    let second_toolbox = ada.user.toolbox().await;
    let second_agent = ada.user.agent("Quill").await;
    let of_ada = body(&ada, "agentId", json!(ada.agent.id));
    let of_nobody = json!({ "agentId": NOBODYS, "accountToolInstanceId": NOBODYS });

    let refused = [
        ("another tenant's toolbox", fetch(stack, &eve.toolbox, &of_ada).await),
        (
            "another tenant's agent with one's own tool",
            fetch(stack, &eve.toolbox, &body(&eve, "agentId", json!(ada.agent.id))).await,
        ),
        (
            "one's own agent with another tenant's tool",
            fetch(
                stack,
                &eve.toolbox,
                &body(&eve, "accountToolInstanceId", json!(ada.instance.id)),
            )
            .await,
        ),
        (
            "another toolbox of the owner",
            fetch(stack, &second_toolbox, &of_ada).await,
        ),
        (
            "another agent of the owner",
            fetch(stack, &ada.toolbox, &body(&ada, "agentId", json!(second_agent.id))).await,
        ),
        ("nothing that is", fetch(stack, &ada.toolbox, &of_nobody).await),
    ];

    for (name, response) in refused {
        insta::allow_duplicates! {
            assert_snapshot!(response, name, @r#"
            404 Not Found
            {"code":"tool_not_available","error":"Tool not found in agent toolbelt, or not active.","message":"Tool not found in agent toolbelt, or not active.","request_id":"[request id]"}
            "#);
        }
    }
    let released = "SELECT count(*) FROM app.audit_log WHERE action LIKE 'credentials_%' AND owner_user_id IN ($1, $2)";
    assert_eq!(
        stack.db().scalar::<i64>(released, &[&ada.user.id, &eve.user.id]).await,
        0
    );
}

#[tokio::test]
async fn what_is_switched_off_stopped_or_being_removed_is_given_nothing() {
    let stack = Stack::shared().await;
    for change in [
        "UPDATE public.agent_toolbelt_items SET is_active_for_agent = false WHERE user_id = $1",
        "DELETE FROM public.agent_toolbox_access WHERE user_id = $1",
        "UPDATE public.account_tool_instances SET desired_status = 'removed' WHERE user_id = $1",
        "UPDATE public.account_tool_instances SET desired_status = 'stopped' WHERE user_id = $1",
        "UPDATE public.account_tool_environments SET desired_state = 'paused' WHERE user_id = $1",
        "UPDATE public.account_tool_environments SET status = 'deprovisioning' WHERE user_id = $1",
    ] {
        let belt = Belt::new(stack).await;
        belt.store("api_key", &json!("secret")).await;
        assert_eq!(belt.fetch().await.status(), 200, "{change}");

        stack.db().execute(change, &[&belt.user.id]).await;

        assert_eq!(belt.fetch().await.field("code"), "tool_not_available", "{change}");
    }
}

#[tokio::test]
async fn only_the_token_of_a_toolbox_proves_one() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let hash: String = stack
        .db()
        .scalar(
            "SELECT encode(token_hash, 'hex') FROM public.account_tool_environments WHERE id = $1",
            &[&belt.toolbox.id],
        )
        .await;
    let ask = || stack.post(FETCH).json(&body(&belt, "capabilityName", Value::Null));
    let cases = [
        ("no token", ask()),
        (
            "another scheme",
            ask().header("authorization", format!("Basic {}", belt.toolbox.token)),
        ),
        (
            "two headers",
            ask().bearer(&belt.toolbox.token).bearer(&belt.toolbox.token),
        ),
        ("a user's token", ask().bearer(&belt.user.token)),
        ("what is stored of the token", ask().bearer(&hash)),
        (
            "a bootstrap token",
            ask().bearer(&belt.toolbox.token.replace("_tb_", "_boot_")),
        ),
        (
            "a token that nobody has",
            ask().bearer("agt_tb_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
        ),
        ("no token, and no JSON", stack.post(FETCH).body("{")),
    ];

    assert_snapshot!(answers(cases).await, @r#"
    [no token]
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"missing_token","error":"Unauthorized: Missing or invalid DTMA token","message":"Unauthorized: Missing or invalid DTMA token","request_id":"[request id]"}
    [another scheme]
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"missing_token","error":"Unauthorized: Missing or invalid DTMA token","message":"Unauthorized: Missing or invalid DTMA token","request_id":"[request id]"}
    [two headers]
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"missing_token","error":"Unauthorized: Missing or invalid DTMA token","message":"Unauthorized: Missing or invalid DTMA token","request_id":"[request id]"}
    [a user's token]
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"invalid_token","error":"Unauthorized: Invalid DTMA token","message":"Unauthorized: Invalid DTMA token","request_id":"[request id]"}
    [what is stored of the token]
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"invalid_token","error":"Unauthorized: Invalid DTMA token","message":"Unauthorized: Invalid DTMA token","request_id":"[request id]"}
    [a bootstrap token]
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"invalid_token","error":"Unauthorized: Invalid DTMA token","message":"Unauthorized: Invalid DTMA token","request_id":"[request id]"}
    [a token that nobody has]
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"invalid_token","error":"Unauthorized: Invalid DTMA token","message":"Unauthorized: Invalid DTMA token","request_id":"[request id]"}
    [no token, and no JSON]
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"missing_token","error":"Unauthorized: Missing or invalid DTMA token","message":"Unauthorized: Missing or invalid DTMA token","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn what_is_no_request_is_refused_by_its_field() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let ask = |body: &Value| fetch(stack, &belt.toolbox, body);

    let answers = answers([
        ("nothing", ask(&json!({}))),
        ("no agent", ask(&body(&belt, "agentId", Value::Null))),
        ("an agent's name", ask(&body(&belt, "agentId", "Atlas"))),
        ("an agent's number", ask(&body(&belt, "agentId", 7))),
        ("no tool", ask(&body(&belt, "accountToolInstanceId", ""))),
        ("a tool's name", ask(&body(&belt, "accountToolInstanceId", "browser"))),
        ("an empty capability", ask(&body(&belt, "capabilityName", ""))),
        (
            "too long a capability",
            ask(&body(&belt, "capabilityName", "a".repeat(201))),
        ),
        ("a capability with NUL", ask(&body(&belt, "capabilityName", "a\0"))),
        ("a number for a capability", ask(&body(&belt, "capabilityName", 7))),
        (
            "a list of the fields",
            ask(&json!([belt.agent.id, belt.instance.id, null])),
        ),
        ("no JSON", stack.post(FETCH).bearer(&belt.toolbox.token).body("{")),
    ]);

    assert_snapshot!(answers.await, @r#"
    [nothing]
    400 Bad Request
    {"code":"missing_field","error":"Invalid JSON payload: agentId is required.","field":"agentId","message":"Invalid JSON payload: agentId is required.","request_id":"[request id]"}
    [no agent]
    400 Bad Request
    {"code":"missing_field","error":"Invalid JSON payload: agentId is required.","field":"agentId","message":"Invalid JSON payload: agentId is required.","request_id":"[request id]"}
    [an agent's name]
    400 Bad Request
    {"code":"invalid_field","error":"Invalid JSON payload: agentId is not a UUID.","field":"agentId","message":"Invalid JSON payload: agentId is not a UUID.","request_id":"[request id]"}
    [an agent's number]
    400 Bad Request
    {"code":"invalid_field","error":"Invalid JSON payload: agentId is invalid: invalid type: integer `7`, expected a string.","field":"agentId","message":"Invalid JSON payload: agentId is invalid: invalid type: integer `7`, expected a string.","request_id":"[request id]"}
    [no tool]
    400 Bad Request
    {"code":"missing_field","error":"Invalid JSON payload: accountToolInstanceId is required.","field":"accountToolInstanceId","message":"Invalid JSON payload: accountToolInstanceId is required.","request_id":"[request id]"}
    [a tool's name]
    400 Bad Request
    {"code":"invalid_field","error":"Invalid JSON payload: accountToolInstanceId is not a UUID.","field":"accountToolInstanceId","message":"Invalid JSON payload: accountToolInstanceId is not a UUID.","request_id":"[request id]"}
    [an empty capability]
    400 Bad Request
    {"code":"invalid_field","error":"Invalid JSON payload: capabilityName must be 1 to 200 characters.","field":"capabilityName","message":"Invalid JSON payload: capabilityName must be 1 to 200 characters.","request_id":"[request id]"}
    [too long a capability]
    400 Bad Request
    {"code":"invalid_field","error":"Invalid JSON payload: capabilityName must be 1 to 200 characters.","field":"capabilityName","message":"Invalid JSON payload: capabilityName must be 1 to 200 characters.","request_id":"[request id]"}
    [a capability with NUL]
    400 Bad Request
    {"code":"invalid_field","error":"Invalid JSON payload: capabilityName contains a NUL character.","field":"capabilityName","message":"Invalid JSON payload: capabilityName contains a NUL character.","request_id":"[request id]"}
    [a number for a capability]
    400 Bad Request
    {"code":"invalid_field","error":"Invalid JSON payload: capabilityName is invalid: invalid type: integer `7`, expected a string.","field":"capabilityName","message":"Invalid JSON payload: capabilityName is invalid: invalid type: integer `7`, expected a string.","request_id":"[request id]"}
    [a list of the fields]
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: a list, expected an object","message":"Invalid JSON payload: a list, expected an object","request_id":"[request id]"}
    [no JSON]
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: EOF while parsing an object at line 1 column 1","message":"Invalid JSON payload: EOF while parsing an object at line 1 column 1","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn another_method_or_path_is_refused() {
    let stack = Stack::shared().await;

    let answers = answers([
        ("GET", stack.get(FETCH)),
        ("PUT", stack.request(Method::PUT, OLD_PATH)),
        ("another path", stack.post(&format!("{FETCH}/more"))),
        ("health", stack.get(&format!("{OLD_PATH}/health"))),
    ]);

    assert_snapshot!(answers.await, @r#"
    [GET]
    405 Method Not Allowed
    allow: POST
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    [PUT]
    405 Method Not Allowed
    allow: POST
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    [another path]
    404 Not Found
    {"code":"no_such_route","error":"Not found or method not supported for the path","message":"Not found or method not supported for the path","request_id":"[request id]"}
    [health]
    200 OK
    {"status":"healthy","timestamp":"[time]"}
    "#);
}

#[tokio::test]
async fn a_toolbox_is_limited_in_what_it_asks_and_not_only_in_what_it_is_given() {
    let shared = Stack::shared().await;
    let options = StackOptions::default()
        .set("credentials_per_minute", 1)
        .set("credentials_burst", 3);
    let stack = Stack::beside_shared(options).await;
    let (belt, other) = (
        Belt::of(&stack, shared.user().await).await,
        Belt::of(&stack, shared.user().await).await,
    );
    belt.store("api_key", &json!("secret")).await;
    other.store("api_key", &json!("secret")).await;
    let probe = || {
        fetch(
            &stack,
            &belt.toolbox,
            &body(&belt, "accountToolInstanceId", json!(NOBODYS)),
        )
    };
    let denied = || fetch(&stack, &belt.toolbox, &body(&belt, "capabilityName", "read"));

    let statuses = [
        belt.fetch().await.status().as_u16(),
        probe().await.status().as_u16(),
        denied().await.status().as_u16(),
    ];
    let limited = belt.fetch().await;

    assert_eq!(statuses, [200, 404, 403]);
    assert_eq!(
        (
            limited.status().as_u16(),
            limited.field("code").as_str(),
            limited.header("ratelimit-policy")
        ),
        (429, "rate_limited", Some(r#""toolbox";q=1;w=60"#))
    );
    let pause: u64 = limited.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&pause), "{limited}");
    assert_eq!(probe().await.status(), 429);
    assert_eq!(other.fetch().await.status(), 200);
}

#[tokio::test]
async fn without_a_keyring_only_what_needs_none_is_given() {
    let shared = Stack::shared().await;
    let stack = Stack::beside_shared(StackOptions::default().set("credential_keyring", "")).await;
    let belt = Belt::new(shared).await;
    let region = belt.store("REGION", &json!("fra1")).await;
    let missing = belt.fetch_from(&stack).await;
    belt.store("api_key", &json!("secret")).await;
    let closed = belt.fetch_from(&stack).await;
    belt.delete(&belt.of_item(&format!("credentials/{region}"))).await;
    let statement = "UPDATE public.tool_catalog SET required_secrets_schema = '[]' WHERE id = $1";
    shared.db().execute(statement, &[&belt.tool.id]).await;

    let nothing_needed = belt.fetch_from(&stack).await;

    assert_eq!(missing.field("code"), "credential_missing");
    assert_snapshot!(closed, @r#"
    503 Service Unavailable
    retry-after: 60
    {"code":"sealing_unavailable","error":"Secrets can be neither stored nor read right now.","message":"Secrets can be neither stored nor read right now.","request_id":"[request id]"}
    "#);
    assert_eq!(nothing_needed.json(), json!({ "secrets": {} }));
}

#[tokio::test]
async fn a_catalog_that_makes_no_sense_is_a_fault_of_ours() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let statement = "UPDATE public.tool_catalog SET required_secrets_schema = $2 WHERE id = $1";
    let schema = json!([{ "name": "key", "env_var_name": "NOT A NAME" }]);
    stack.db().execute(statement, &[&belt.tool.id, &schema]).await;

    let response = belt.fetch().await;

    assert_snapshot!(response, @r#"
    500 Internal Server Error
    {"code":"internal_error","error":"Internal server error","message":"Internal server error","request_id":"[request id]"}
    "#);
}
