//! `chat`: a request that is repeated under its key is done once.

use agentopia_tests::Stack;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::chat_support::{CHAT, ask, say};

#[tokio::test]
async fn a_repeated_request_gets_the_same_answer_without_a_second_turn() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;
    let send = || ask(stack, &user, &agent, "Once, chrysanthemum").idempotency_key("a key");

    let (first, second) = (send().await, send().await);

    assert_eq!(
        (first.status(), second.status()),
        (http::StatusCode::OK, http::StatusCode::OK)
    );
    assert_eq!(first.json(), second.json());
    assert_eq!(
        (
            first.header("idempotent-replayed"),
            second.header("idempotent-replayed")
        ),
        (None, Some("true"))
    );
    assert_eq!(stack.openai().received_with("chrysanthemum").len(), 1);
    assert_eq!(
        stack.db().direct_transcript(user.id, agent.id).await,
        ["Ada: Once, chrysanthemum", "Atlas: You said: Once, chrysanthemum"],
    );
}

#[tokio::test]
async fn a_repeated_message_to_a_channel_is_stored_once() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let channel = user.workspace("Lab").await.channel("general").await;
    let send = || say(stack, &user, &channel, "Once").idempotency_key("a key");

    let (first, second) = (send().await, send().await);

    assert_eq!(first.json(), second.json());
    assert_eq!(
        (
            first.header("idempotent-replayed"),
            second.header("idempotent-replayed")
        ),
        (None, Some("true"))
    );
    assert_eq!(stack.db().transcript(channel.id).await, ["Ada: Once"]);
}

#[tokio::test]
async fn a_key_with_another_request_is_refused() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;
    ask(stack, &user, &agent, "One thing").idempotency_key("a key").await;

    let response = ask(stack, &user, &agent, "Another thing")
        .idempotency_key("a key")
        .await;

    assert_snapshot!(response, @r#"
    422 Unprocessable Entity
    {"code":"idempotency_key_reused","error":"This idempotency key was used with another request.","message":"This idempotency key was used with another request.","request_id":"[request id]"}
    "#);
    assert_eq!(stack.db().direct_transcript(user.id, agent.id).await.len(), 2);
}

#[tokio::test]
async fn the_same_fields_in_another_order_are_the_same_request() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await.id;
    let send = |body: String| stack.post(CHAT).bearer(&user.token).idempotency_key("a key").body(body);

    let first = send(format!(r#"{{"agentId":"{agent}","message":"Hi"}}"#)).await;
    let second = send(format!(r#"{{ "message": "Hi", "agentId": "{agent}", "extra": 1 }}"#)).await;

    assert_eq!(first.json(), second.json());
}

#[tokio::test]
async fn a_request_is_refused_while_the_same_one_is_in_progress() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").model("stand-in-slow").await;
    let message = "word ".repeat(40);
    let send = || ask(stack, &user, &agent, &message).idempotency_key("a key");
    let mut first = send().events().await;
    assert_eq!(first.next().await.unwrap().kind(), "started");

    let second = send().await;

    let retry_after: u64 = second.header("retry-after").unwrap().parse().unwrap();
    assert!(
        (60..=90).contains(&retry_after),
        "no longer than the lease: {retry_after}"
    );
    let shown = second
        .to_string()
        .replace(&format!("retry-after: {retry_after}"), "retry-after: [lease]");
    assert_snapshot!(shown, @r#"
    409 Conflict
    retry-after: [lease]
    {"code":"turn_in_progress","error":"A request with this idempotency key is still in progress.","message":"A request with this idempotency key is still in progress.","request_id":"[request id]"}
    "#);
    first.next_of("completed").await;
    assert_eq!(send().await.header("idempotent-replayed"), Some("true"));
    assert_eq!(stack.db().direct_transcript(user.id, agent.id).await.len(), 2);
}

#[tokio::test]
async fn of_requests_that_come_at_once_one_is_done() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").model("stand-in-slow").await;
    let send = || ask(stack, &user, &agent, "At once, hydrangea").idempotency_key("a key");

    let answers = futures::future::join_all((0..8).map(|_| send().into_future())).await;

    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(stack.openai().received_with("hydrangea").len(), 1);
    assert_eq!(stack.db().direct_transcript(user.id, agent.id).await.len(), 2);
}

#[tokio::test]
async fn after_a_failure_the_same_request_completes_the_turn() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    // Three times is as often as one request asks.
    let agent = user.agent("Atlas").model("stand-in-500-3").await;
    let send = || ask(stack, &user, &agent, "Again").idempotency_key("a key");

    let (first, second) = (send().await, send().await);

    assert_snapshot!(first, @r#"
    502 Bad Gateway
    {"code":"model_failed","error":"The model provider failed. Please try again.","message":"The model provider failed. Please try again.","request_id":"[request id]"}
    "#);
    assert_snapshot!(second.status(), @"200 OK");
    assert_eq!(second.header("idempotent-replayed"), None);
    assert_eq!(
        stack.db().direct_transcript(user.id, agent.id).await,
        ["Ada: Again", "Atlas: You said: Again"]
    );
    let statement =
        "SELECT status || ' ' || coalesce(error_code, 'without error') FROM app.chat_turns WHERE user_id = $1";
    assert_eq!(
        stack.db().column::<String>(statement, &[&user.id]).await,
        ["completed without error"]
    );
}

#[tokio::test]
async fn an_answer_is_repeated_in_the_form_that_is_asked_for() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;

    let events = ask(stack, &user, &agent, "First as events")
        .idempotency_key("one")
        .events()
        .await
        .rest()
        .await;
    let json = ask(stack, &user, &agent, "First as events")
        .idempotency_key("one")
        .await;
    assert_eq!(events.last().unwrap().data(), &json.json());
    assert_eq!(json.header("idempotent-replayed"), Some("true"));

    let json = ask(stack, &user, &agent, "First as JSON").idempotency_key("two").await;
    let events = ask(stack, &user, &agent, "First as JSON")
        .idempotency_key("two")
        .events()
        .await;
    assert_eq!(events.headers()["idempotent-replayed"], "true");
    let events: Vec<(String, Value)> = events
        .rest()
        .await
        .iter()
        .map(|event| (event.kind().to_owned(), event.data().clone()))
        .collect();
    let delta = json!({ "text": "You said: First as JSON" });
    assert_eq!(
        events,
        [("delta".to_owned(), delta), ("completed".to_owned(), json.json())]
    );
}

#[tokio::test]
async fn a_key_is_free_again_after_a_day() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;
    ask(stack, &user, &agent, "One thing").idempotency_key("a key").await;
    let statement = "UPDATE app.idempotency_keys SET expires_at = expires_at - interval '24 hours' WHERE user_id = $1";
    stack.db().execute(statement, &[&user.id]).await;

    let response = ask(stack, &user, &agent, "Another thing")
        .idempotency_key("a key")
        .await;

    assert_eq!(response.field("reply"), "You said: Another thing");
}
