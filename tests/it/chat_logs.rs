//! `chat`: what is logged of a turn, and what never is.

use agentopia_tests::{DEADLINE, Stack, eventually_some, redacted};
use insta::assert_json_snapshot;
use serde_json::Value;

use crate::chat_support::{CHAT, ask};

/// Why a test could not look.
const NOT_OURS: &str = "not checked: Spin keeps the components' logs to itself";

/// The log of a request, or nothing on Spin, whose log is not ours to read.
#[expect(clippy::print_stderr, reason = "a test that could not look says so")]
async fn log_of(stack: &Stack, request_id: &str) -> Option<Vec<Value>> {
    if stack.request_log("chat", request_id).is_none() {
        eprintln!("{NOT_OURS}");
        return None;
    }
    // A stream's line is written when it has ended, which is after the client has read its last event.
    let lines = eventually_some("the request's line", DEADLINE, async || {
        let lines = stack.request_log("chat", request_id)?;
        lines.iter().any(|line| line["event"] == "request").then_some(lines)
    });
    Some(lines.await)
}

#[tokio::test]
async fn a_turn_has_a_line_for_each_exchange_and_one_for_the_request() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;

    let response = ask(stack, &user, &agent, "Hello").await;

    let Some(lines) = log_of(stack, response.request_id()).await else {
        return;
    };
    assert!(
        lines.iter().all(|line| line["tenant"] == user.id.to_string()),
        "{lines:?}"
    );
    assert!(lines.iter().all(|line| line["ms"].is_number()), "{lines:?}");
    let bytes = lines[1]["bytes"].as_u64().unwrap();
    assert!(bytes > 0, "{lines:?}");
    let shown: Vec<_> = lines.iter().map(redacted).collect();
    assert_json_snapshot!(shown, { "[].bytes" => "[bytes]" }, @r#"
    [
      {
        "event": "operation",
        "function": "chat",
        "level": "info",
        "ms": "[ms]",
        "operation": "begin_turn",
        "outcome": "done",
        "request_id": "[request id]",
        "tenant": "[id]",
        "time": "[time]",
        "trace_id": "[request id]"
      },
      {
        "bytes": "[bytes]",
        "event": "outbound",
        "first_byte_ms": "[ms]",
        "function": "chat",
        "level": "info",
        "ms": "[ms]",
        "request_id": "[request id]",
        "service": "openai",
        "status": 200,
        "tenant": "[id]",
        "time": "[time]",
        "trace_id": "[request id]"
      },
      {
        "event": "operation",
        "function": "chat",
        "level": "info",
        "ms": "[ms]",
        "operation": "complete_turn",
        "outcome": "done",
        "request_id": "[request id]",
        "tenant": "[id]",
        "time": "[time]",
        "trace_id": "[request id]"
      },
      {
        "event": "request",
        "function": "chat",
        "level": "info",
        "method": "POST",
        "ms": "[ms]",
        "request_id": "[request id]",
        "route": "/functions/v1/chat",
        "status": 200,
        "tenant": "[id]",
        "time": "[time]",
        "trace_id": "[request id]"
      }
    ]
    "#);
}

#[tokio::test]
async fn a_stream_has_its_line_when_it_has_ended() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;

    let events = ask(stack, &user, &agent, "Hello").events().await;
    let request_id = events.request_id();
    events.rest().await;

    let Some(lines) = log_of(stack, &request_id).await else {
        return;
    };
    let requests: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "request")
        .map(redacted)
        .collect();
    assert_json_snapshot!(requests, @r#"
    [
      {
        "client_left": false,
        "event": "request",
        "function": "chat",
        "level": "info",
        "method": "POST",
        "ms": "[ms]",
        "request_id": "[request id]",
        "route": "/functions/v1/chat",
        "status": 200,
        "stream": true,
        "tenant": "[id]",
        "time": "[time]",
        "trace_id": "[request id]"
      }
    ]
    "#);
}

#[tokio::test]
async fn a_refusal_has_its_code_in_its_line() {
    let stack = Stack::shared().await;

    let response = stack.post(CHAT).await;

    let Some(lines) = log_of(stack, response.request_id()).await else {
        return;
    };
    let shown: Vec<_> = lines.iter().map(redacted).collect();
    assert_json_snapshot!(shown, @r#"
    [
      {
        "code": "missing_token",
        "event": "request",
        "function": "chat",
        "level": "info",
        "method": "POST",
        "ms": "[ms]",
        "request_id": "[request id]",
        "route": "/functions/v1/chat",
        "status": 401,
        "time": "[time]",
        "trace_id": "[request id]"
      }
    ]
    "#);
}

#[tokio::test]
async fn no_token_no_secret_and_no_word_that_was_said_is_logged() {
    let stack = Stack::shared().await;
    let user = stack.user_named("Canary of a name").await;
    let (sound, faulty, cut) = (
        user.agent("Atlas").system_instructions("canary-of-instructions").await,
        user.agent("Faulty").model("stand-in-500-once").await,
        user.agent("Cut").model("stand-in-cut").await,
    );

    let said = "canary-of-a-message";
    for agent in [&sound, &faulty, &cut] {
        let response = ask(stack, &user, agent, said)
            .idempotency_key(&format!("canary-of-a-key-{}", agent.id))
            .await;
        assert_eq!(response.status(), 200, "{response}");
    }
    ask(stack, &user, &sound, said).events().await.rest().await;
    stack
        .post(CHAT)
        .bearer("canary-of-a-token")
        .body(format!("{{\"message\":{said}"))
        .await;
    stack
        .post(CHAT)
        .bearer(&user.token)
        .header("content-type", "application/json")
        .body(format!("{{\"message\":{said}"))
        .await;

    let Some(lines) = stack.log("chat") else {
        return eprintln!("{NOT_OURS}");
    };
    let log = lines.join("\n");
    assert!(log.contains(&user.id.to_string()), "the log has these requests");
    let [_, claims, signature] = user.token.split('.').collect::<Vec<_>>().try_into().unwrap();
    for secret in
        stack
            .secrets()
            .into_iter()
            .chain([claims, signature, user.email.as_str(), "canary", "Canary", "You said"])
    {
        assert!(!log.contains(secret), "the log contains {secret}");
    }
}
