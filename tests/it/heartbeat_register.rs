//! `POST …/heartbeat/register`: a machine that has just booted becomes its toolbox, once.

use agentopia_tests::{Request, Stack};
use insta::assert_snapshot;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::heartbeat_support::{HEARTBEAT, toolbox};

const REGISTER: &str = "/functions/v1/heartbeat/register";
const CLAIM: &str = "0123456789abcdef0123456789abcdef";

/// A toolbox whose machine is about to boot, and the token that it boots with.
async fn booting(stack: &Stack) -> (Uuid, String) {
    let user = stack.user().await;
    let rows = stack
        .db()
        .rows(
            "INSERT INTO public.account_tool_environments
                 (id, user_id, name, status, region_slug, size_slug, bootstrap_token_hash, bootstrap_expires_at)
             SELECT id, $1, 'Box', 'provisioning', 'fra1', 's',
                    sha256(('agt_boot_' || replace(id::text, '-', '') || 'AAAAAAAAAAA')::bytea),
                    now() + interval '10 minutes'
             FROM gen_random_uuid() AS id
             RETURNING id",
            &[&user.id],
        )
        .await;
    let id: Uuid = rows[0].get(0);
    (id, format!("agt_boot_{}AAAAAAAAAAA", id.simple()))
}

fn register(stack: &Stack, token: &str, body: &Value) -> Request {
    stack.post(REGISTER).bearer(token).json(body)
}

#[tokio::test]
async fn a_machine_gets_its_toolboxs_token_and_speaks_with_it() {
    let stack = Stack::shared().await;
    let (id, bootstrap) = booting(stack).await;

    let registered = register(stack, &bootstrap, &json!({ "claim": CLAIM })).await;
    let token = registered.field("token");
    let spoken = stack.post(HEARTBEAT).bearer(&token).json(&json!({})).await;

    assert_eq!(registered.field("toolbox_id"), id.to_string());
    assert_eq!(registered.header("cache-control"), Some("no-store"));
    assert!(token.starts_with("agt_tb_"));
    assert_eq!(spoken.status(), 200);
    assert_eq!(toolbox(stack, id, "status").await.as_deref(), Some("active"));
    // Neither token is stored.
    let row = toolbox(stack, id, "account_tool_environments").await.unwrap();
    assert!(!row.contains(&token) && !row.contains(&bootstrap));
}

#[tokio::test]
async fn a_bootstrap_token_is_good_once_and_for_its_claim_until_it_has_spoken() {
    let stack = Stack::shared().await;
    let (_, bootstrap) = booting(stack).await;
    let claimed = register(stack, &bootstrap, &json!({ "claim": CLAIM })).await;

    let thief = register(stack, &bootstrap, &json!({ "claim": "f".repeat(32) })).await;
    let nameless = register(stack, &bootstrap, &json!({})).await;
    let again = register(stack, &bootstrap, &json!({ "claim": CLAIM })).await;

    assert_snapshot!(thief, @r#"
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"invalid_token","error":"Unauthorized: Invalid token","message":"Unauthorized: Invalid token","request_id":"[request id]"}
    "#);
    assert_eq!(nameless.status(), 401);
    assert_ne!(again.field("token"), claimed.field("token"));
    let lost = stack
        .post(HEARTBEAT)
        .bearer(&claimed.field("token"))
        .json(&json!({}))
        .await;
    assert_eq!(lost.status(), 401);
    let spoken = stack
        .post(HEARTBEAT)
        .bearer(&again.field("token"))
        .json(&json!({}))
        .await;
    assert_eq!(spoken.status(), 200);
    assert_eq!(
        register(stack, &bootstrap, &json!({ "claim": CLAIM })).await.status(),
        401
    );
}

#[tokio::test]
async fn without_a_claim_it_is_good_once() {
    let stack = Stack::shared().await;
    let (_, bootstrap) = booting(stack).await;

    assert_eq!(register(stack, &bootstrap, &json!({})).await.status(), 200);
    assert_eq!(register(stack, &bootstrap, &json!({})).await.status(), 401);
}

#[tokio::test]
async fn what_is_no_bootstrap_token_registers_nothing() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let speaking = user.toolbox().await;

    assert_snapshot!(stack.post(REGISTER).json(&json!({})).await, @r#"
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"missing_token","error":"Unauthorized: Missing or invalid token","message":"Unauthorized: Missing or invalid token","request_id":"[request id]"}
    "#);
    for token in [&user.token, &speaking.token, &format!("agt_boot_{}", "A".repeat(43))] {
        let refused = register(stack, token, &json!({})).await;
        assert_eq!(
            (refused.status().as_u16(), refused.field("code").as_str()),
            (401, "invalid_token")
        );
    }
    // And no bootstrap token speaks.
    let (_, bootstrap) = booting(stack).await;
    let spoken = stack.post(HEARTBEAT).bearer(&bootstrap).json(&json!({})).await;
    assert_eq!(spoken.status(), 401);
}

#[tokio::test]
async fn an_outdated_token_registers_nothing() {
    let stack = Stack::shared().await;
    let (id, bootstrap) = booting(stack).await;
    let late = "UPDATE public.account_tool_environments SET bootstrap_expires_at = now() WHERE id = $1";
    stack.db().execute(late, &[&id]).await;

    assert_eq!(register(stack, &bootstrap, &json!({})).await.status(), 401);
}

#[tokio::test]
async fn a_claim_is_long_and_printable() {
    let stack = Stack::shared().await;
    let (_, bootstrap) = booting(stack).await;

    assert_snapshot!(register(stack, &bootstrap, &json!({ "claim": "short" })).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"claim must be 32 to 128 printable characters.","field":"claim","message":"claim must be 32 to 128 printable characters.","request_id":"[request id]"}
    "#);
    assert_snapshot!(register(stack, &bootstrap, &json!({ "claim": 7 })).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"claim is invalid: invalid type: integer `7`, expected a string.","field":"claim","message":"claim is invalid: invalid type: integer `7`, expected a string.","request_id":"[request id]"}
    "#);
    assert_eq!(
        register(stack, &bootstrap, &json!({ "claim": "é".repeat(32) }))
            .await
            .status(),
        400
    );
}
