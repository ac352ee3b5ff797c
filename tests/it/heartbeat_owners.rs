//! What `heartbeat` tells owners and operators: how toolboxes are doing, and where silence is told.

use agentopia_tests::{Stack, StackOptions};
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::heartbeat_support::beat;

const STATUS: &str = "/functions/v1/heartbeat/status";
const SUMMARY: &str = "/functions/v1/heartbeat/status/summary";
const ALERTS: &str = "/functions/v1/heartbeat/alerts";
const SWEEP: &str = "/functions/v1/heartbeat/sweep";
const WEBHOOK: &str = "https://discord.com/api/webhooks/123456789012345678/canary-token-of-a-webhook_-0123456789";

#[tokio::test]
async fn an_owner_sees_how_their_toolboxes_are_doing() {
    let stack = Stack::shared().await;
    let (ada, eve) = (stack.user().await, stack.user().await);
    let toolbox = ada.toolbox().await;
    eve.toolbox().await;
    beat(stack, &toolbox, &json!({})).await;

    let response = stack.get(STATUS).bearer(&ada.token).await;

    assert_snapshot!(response, @r#"
    200 OK
    [{"alert_after":"[time]","heartbeat_grace_seconds":120,"heartbeat_period_seconds":60,"id":"[id]","last_heartbeat_at":"[time]","liveness":"up","name":"Toolbox","silent_since":null,"status":"active","user_id":"[id]"}]
    "#);
    assert_eq!(response.json()[0]["id"], json!(toolbox.id));
}

#[tokio::test]
async fn liveness_follows_the_last_contact() {
    let stack = Stack::shared().await;
    let ada = stack.user().await;
    let toolbox = ada.toolbox().await;
    let liveness = async || {
        let response = stack.get(STATUS).bearer(&ada.token).await;
        response.json()[0]["liveness"].as_str().unwrap().to_owned()
    };
    let ago = async |seconds: i32| {
        let statement = "UPDATE public.account_tool_environments
                         SET last_heartbeat_at = now() - make_interval(secs => $2) WHERE id = $1";
        stack.db().execute(statement, &[&toolbox.id, &f64::from(seconds)]).await;
        liveness().await
    };

    assert_eq!(liveness().await, "new");
    assert_eq!(ago(10).await, "up");
    assert_eq!(ago(90).await, "late");
    assert_eq!(ago(500).await, "down");
}

#[tokio::test]
async fn pages_have_no_gaps() {
    let stack = Stack::shared().await;
    let ada = stack.user().await;
    for _ in 0..5 {
        ada.toolbox().await;
    }

    let mut seen = Vec::new();
    let mut path = format!("{STATUS}?limit=2");
    loop {
        let page = stack.get(&path).bearer(&ada.token).await;
        seen.extend(page.json().as_array().unwrap().iter().map(|row| row["id"].clone()));
        match page.header("x-next-cursor") {
            Some(cursor) => path = format!("{STATUS}?limit=2&cursor={cursor}"),
            None => break,
        }
    }

    let own =
        "SELECT id::text FROM public.account_tool_environments WHERE user_id = $1 ORDER BY created_at DESC, id DESC";
    let expected: Vec<String> = stack.db().column(own, &[&ada.id]).await;
    assert_eq!(seen, expected.into_iter().map(Value::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn all_toolboxes_are_for_administrators() {
    let stack = Stack::shared().await;
    let (ada, root) = (stack.user().await, stack.user().await);
    let toolbox = ada.toolbox().await;
    let all = format!("{STATUS}?scope=all&limit=100");

    assert_snapshot!(stack.get(&all).bearer(&root.token).await, @r#"
    403 Forbidden
    {"code":"not_an_operator","error":"Only administrators see all toolboxes.","message":"Only administrators see all toolboxes.","request_id":"[request id]"}
    "#);
    assert_eq!(stack.get(SUMMARY).bearer(&root.token).await.status(), 403);
    let promote =
        "INSERT INTO public.user_roles (user_id, role_id) SELECT $1, id FROM public.roles WHERE name = 'admin'";
    stack.db().execute(promote, &[&root.id]).await;

    let rows = stack.get(&all).bearer(&root.token).await.json();
    let summary = stack.get(SUMMARY).bearer(&root.token).await.json();
    assert!(
        rows.as_array()
            .unwrap()
            .iter()
            .any(|row| row["id"] == json!(toolbox.id))
    );
    assert!(summary["toolboxes"]["active"].as_i64().unwrap() > 0);
    assert_snapshot!(stack.get(&format!("{STATUS}?scope=everything")).bearer(&root.token).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"scope is invalid: unknown variant `everything`, expected `own` or `all`.","field":"scope","message":"scope is invalid: unknown variant `everything`, expected `own` or `all`.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn nobody_is_told_without_a_token() {
    let stack = Stack::shared().await;
    let toolbox = stack.user().await.toolbox().await;

    for (method, path) in [
        (Method::GET, STATUS),
        (Method::GET, SUMMARY),
        (Method::GET, ALERTS),
        (Method::PUT, ALERTS),
        (Method::DELETE, ALERTS),
    ] {
        let nobody = stack.request(method.clone(), path).await;
        let machine = stack.request(method, path).bearer(&toolbox.token).await;

        assert_eq!(nobody.field("code"), "missing_token", "{path}");
        assert_eq!(machine.field("code"), "invalid_token", "{path}");
    }
}

#[tokio::test]
async fn an_owner_says_where_silence_is_told_and_its_address_is_never_told_again() {
    let stack = Stack::shared().await;
    let (ada, eve) = (stack.user().await, stack.user().await);
    let put = stack.request(Method::PUT, ALERTS).bearer(&ada.token);

    assert_snapshot!(stack.get(ALERTS).bearer(&ada.token).await, @r#"
    200 OK
    {"configured":false,"disabled_at":null,"webhook_id":null}
    "#);
    let kept = put.json(&json!({ "webhookUrl": WEBHOOK })).await;
    let shown = stack.get(ALERTS).bearer(&ada.token).await;

    assert_snapshot!(kept, @r#"
    200 OK
    {"configured":true,"disabled_at":null,"webhook_id":"123456789012345678"}
    "#);
    assert_eq!(kept.json(), shown.json());
    let rows: Vec<String> = stack
        .db()
        .column(
            "SELECT t::text FROM app.alert_destinations AS t WHERE user_id = $1",
            &[&ada.id],
        )
        .await;
    assert_eq!(rows.len(), 1);
    assert!(rows[0].contains("v1.xc20p.") && !rows[0].contains("canary"), "{rows:?}");
    let other = stack.get(ALERTS).bearer(&eve.token).await;
    assert_eq!(other.json()["configured"], false);

    let gone = stack.request(Method::DELETE, ALERTS).bearer(&ada.token).await;
    assert_eq!(gone.json()["configured"], false);
    assert_eq!(stack.get(ALERTS).bearer(&ada.token).await.json()["configured"], false);
    if let Some(lines) = stack.request_log("heartbeat", kept.request_id()) {
        assert!(!json!(lines).to_string().contains("canary"), "{lines:?}");
    }
}

#[tokio::test]
async fn only_a_webhook_of_discords_is_one() {
    let stack = Stack::shared().await;
    let ada = stack.user().await;
    let put = async |body: Value| stack.request(Method::PUT, ALERTS).bearer(&ada.token).json(&body).await;

    assert_snapshot!(put(json!({})).await, @r#"
    400 Bad Request
    {"code":"missing_field","error":"webhookUrl is required.","field":"webhookUrl","message":"webhookUrl is required.","request_id":"[request id]"}
    "#);
    assert_snapshot!(put(json!({ "webhookUrl": "http://discord.com/api/webhooks/1/a" })).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"webhookUrl is not accepted: the URL does not begin with https://.","field":"webhookUrl","message":"webhookUrl is not accepted: the URL does not begin with https://.","request_id":"[request id]"}
    "#);
    assert_snapshot!(put(json!({ "webhookUrl": "https://169.254.169.254/api/webhooks/1/a" })).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"webhookUrl is not accepted: the URL is not one of discord.com.","field":"webhookUrl","message":"webhookUrl is not accepted: the URL is not one of discord.com.","request_id":"[request id]"}
    "#);
    for hostile in [
        "https://discord.com.evil.example/api/webhooks/123456789012345678/abc",
        "https://discord.com@evil.example/api/webhooks/123456789012345678/abc",
        "https://discord.com:8443/api/webhooks/123456789012345678/abc",
        "https://discord.com/api/webhooks/123456789012345678/abc/../../../users/@me",
        "file:///etc/passwd",
        "",
    ] {
        let refused = put(json!({ "webhookUrl": hostile })).await;
        assert_eq!(
            (refused.status().as_u16(), refused.json()["field"].as_str()),
            (400, Some("webhookUrl")),
            "{hostile}"
        );
    }
    let kept = "SELECT count(*) FROM app.alert_destinations WHERE user_id = $1";
    assert_eq!(stack.db().scalar::<i64>(kept, &[&ada.id]).await, 0);
}

#[tokio::test]
async fn only_the_schedule_sweeps() {
    let stack = Stack::shared().await;
    let ada = stack.user().await;
    let toolbox = ada.toolbox().await;

    assert_snapshot!(stack.post(SWEEP).await, @r#"
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"missing_token","error":"Missing or invalid authorization header","message":"Missing or invalid authorization header","request_id":"[request id]"}
    "#);
    for token in [ada.token.as_str(), toolbox.token.as_str(), "guess"] {
        let refused = stack.post(SWEEP).bearer(token).await;
        assert_eq!(
            (refused.status().as_u16(), refused.field("code").as_str()),
            (401, "invalid_token")
        );
    }
    let swept = stack.post(SWEEP).bearer(stack.service_token()).await;
    assert_eq!(swept.status(), 200, "{swept}");
    assert!(swept.json()["toolboxes"]["outcome"].is_string(), "{swept}");
}

#[tokio::test]
async fn without_a_service_token_nobody_sweeps() {
    let stack = Stack::beside_shared(StackOptions::default().set("service_token", "")).await;

    for token in ["", " ", stack.service_token()] {
        let refused = stack.post(SWEEP).bearer(token).await;
        assert_eq!(refused.status(), 401, "{token}");
    }
}

#[tokio::test]
async fn without_a_keyring_no_address_is_taken() {
    let stack = Stack::beside_shared(StackOptions::default().set("credential_keyring", "")).await;
    let ada = stack.user().await;

    let refused = stack
        .request(Method::PUT, ALERTS)
        .bearer(&ada.token)
        .json(&json!({ "webhookUrl": WEBHOOK }))
        .await;

    assert_snapshot!(refused, @r#"
    503 Service Unavailable
    retry-after: 60
    {"code":"sealing_unavailable","error":"Secrets can be neither stored nor read right now.","message":"Secrets can be neither stored nor read right now.","request_id":"[request id]"}
    "#);
}
