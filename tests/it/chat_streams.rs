//! `chat` as Server-Sent Events: what comes, in which order, and what becomes of a turn whose listener leaves.

use std::time::Instant;

use agentopia_tests::{DEADLINE, Event, Stack, StackOptions, eventually};
use insta::assert_snapshot;
use serde_json::json;

use crate::chat_support::{CHAT, ask};

/// Events as lines of type and data.
fn shown(events: &[Event]) -> String {
    events
        .iter()
        .map(|event| format!("{}: {}\n", event.kind(), event.redacted()))
        .collect()
}

#[tokio::test]
async fn a_stream_begins_with_the_stored_message_and_ends_with_the_stored_reply() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;

    let stream = ask(stack, &user, &agent, "Hello there").events().await;
    let (status, headers) = (stream.status(), stream.headers().clone());
    let events = stream.rest().await;

    assert_snapshot!(status, @"200 OK");
    let said = ["content-type", "cache-control", "x-accel-buffering", "ratelimit-policy"]
        .map(|name| headers[name].to_str().unwrap());
    assert_snapshot!(said.join("\n"), @r#"
    text/event-stream
    no-cache, no-transform
    no
    "user";q=30;w=60
    "#);
    assert_snapshot!(shown(&events), @r#"
    started: {"agent":{"id":"[id]","name":"Atlas"},"turnId":"[id]","userMessageId":"[id]"}
    delta: {"text":"You"}
    delta: {"text":" said"}
    delta: {"text":":"}
    delta: {"text":" Hello"}
    delta: {"text":" there"}
    completed: {"agent":{"id":"[id]","name":"Atlas"},"agentId":"[id]","agentMessageId":"[id]","agentName":"Atlas","finishReason":"stop","message":"You said: Hello there","model":"gpt-4o-mini","partial":false,"reply":"You said: Hello there","turnId":"[id]","usage":{"estimated":false,"inputTokens":21,"outputTokens":5,"totalTokens":26},"userMessageId":"[id]"}
    "#);
    let stored: Vec<String> = stack
        .db()
        .column(
            "SELECT id::text FROM public.chat_messages WHERE direct_conversation_id = $1 ORDER BY sequence",
            &[&stack.db().direct_conversation(user.id, agent.id).await],
        )
        .await;
    let (started, completed) = (events[0].data(), events.last().unwrap().data());
    assert_eq!(
        json!(stored),
        json!([started["userMessageId"], completed["agentMessageId"]])
    );
    assert_eq!(started["turnId"], completed["turnId"]);
}

#[tokio::test]
async fn the_message_is_stored_before_the_model_has_answered() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").model("stand-in-slow").await;

    let mut stream = ask(stack, &user, &agent, &"word ".repeat(20)).events().await;
    let started = stream.next().await.unwrap();

    assert_eq!(started.kind(), "started");
    assert_eq!(stack.db().direct_transcript(user.id, agent.id).await.len(), 1);
    stream.next_of("completed").await;
    assert_eq!(stack.db().direct_transcript(user.id, agent.id).await.len(), 2);
}

#[tokio::test]
async fn the_text_comes_piece_by_piece_and_is_the_reply() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").model("stand-in-odd-frames").await;

    let events = ask(stack, &user, &agent, "Grüße, 世界 🎉").events().await.rest().await;

    let pieces: Vec<&str> = events
        .iter()
        .filter(|event| event.kind() == "delta")
        .map(|event| event.data()["text"].as_str().unwrap())
        .collect();
    assert!(pieces.len() > 3, "{pieces:?}");
    assert_eq!(pieces.concat(), "You said: Grüße, 世界 🎉 größer ✓ 🙂");
    assert_eq!(events.last().unwrap().data()["reply"], pieces.concat());
}

#[tokio::test]
async fn each_piece_comes_when_the_model_says_it() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").model("stand-in-stall-mid").await;

    let mut stream = ask(stack, &user, &agent, "Hello").events().await;

    let mut kinds = Vec::new();
    for _ in 0..3 {
        kinds.push(stream.next().await.unwrap().kind().to_owned());
    }
    assert_eq!(kinds, ["started", "delta", "delta"]);
}

#[tokio::test]
async fn a_silent_stream_is_kept_alive() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").model("stand-in-stall").await;

    let mut stream = ask(stack, &user, &agent, "Hello").events().await;

    assert_eq!(stream.next().await.unwrap().kind(), "started");
    assert_eq!(stream.next().await, Some(Event::Comment("ping".to_owned())));
}

#[tokio::test]
async fn a_reply_is_stored_though_its_listener_has_left() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").model("stand-in-slow").await;
    let message = format!("Wait for it{}", " and wait".repeat(10));

    let mut stream = ask(stack, &user, &agent, &message).events().await;
    stream.next_of("delta").await;
    drop(stream);

    let expected = [format!("Ada: {message}"), format!("Atlas: You said: {message}")];
    eventually("the reply is stored", DEADLINE, async || {
        stack.db().direct_transcript(user.id, agent.id).await == expected
    })
    .await;
}

#[tokio::test]
async fn a_refusal_before_the_stream_is_an_ordinary_answer() {
    let stack = Stack::shared().await;

    let response = stack.post(CHAT).header("accept", "text/event-stream").await;

    assert_snapshot!(response, @r#"
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"missing_token","error":"Missing or invalid authorization header","message":"Missing or invalid authorization header","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_model_that_fails_ends_the_stream_with_a_typed_error() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").model("stand-in-quota").await;

    let events = ask(stack, &user, &agent, "Hello").events().await.rest().await;

    assert_snapshot!(shown(&events), @r#"
    started: {"agent":{"id":"[id]","name":"Atlas"},"turnId":"[id]","userMessageId":"[id]"}
    error: {"code":"model_quota_exhausted","error":"The model provider's quota is spent.","message":"The model provider's quota is spent.","request_id":"[request id]","status":503}
    "#);
    assert_eq!(stack.db().direct_transcript(user.id, agent.id).await, ["Ada: Hello"]);
}

#[tokio::test]
async fn a_silent_stream_does_not_hold_up_a_second_attempt() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").model("stand-in-429").await;
    let began = Instant::now();

    let events = ask(stack, &user, &agent, "Hello").events().await.rest().await;

    assert_eq!(events.last().unwrap().kind(), "completed");
    let seconds = began.elapsed().as_secs_f64();
    assert!(
        (1.0..4.0).contains(&seconds),
        "one second, as Retry-After said, and not {seconds}"
    );
}

#[tokio::test]
async fn an_error_says_when_to_try_again_where_that_is_known() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").model("stand-in-429-always").await;

    let events = ask(stack, &user, &agent, "Hello").events().await.rest().await;

    assert_snapshot!(shown(&events[1..]), @r#"error: {"code":"model_rate_limited","error":"The model is receiving too many requests. Please try again.","message":"The model is receiving too many requests. Please try again.","request_id":"[request id]","retryAfter":1,"status":429}"#);
}

#[tokio::test]
async fn a_cut_reply_ends_the_stream_with_an_error_that_carries_what_was_stored() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").model("stand-in-cut").await;

    let events = ask(stack, &user, &agent, "Hello").events().await.rest().await;

    assert_snapshot!(shown(&events), @r#"
    started: {"agent":{"id":"[id]","name":"Atlas"},"turnId":"[id]","userMessageId":"[id]"}
    delta: {"text":"You"}
    delta: {"text":" said"}
    error: {"code":"reply_interrupted","error":"The reply was interrupted. What arrived is stored.","message":"The reply was interrupted. What arrived is stored.","request_id":"[request id]","response":{"agent":{"id":"[id]","name":"Atlas"},"agentId":"[id]","agentMessageId":"[id]","agentName":"Atlas","finishReason":"interrupted","message":"You said","model":"stand-in-cut","partial":true,"reply":"You said","turnId":"[id]","usage":{"estimated":true,"inputTokens":24,"outputTokens":3,"totalTokens":27},"userMessageId":"[id]"},"status":502}
    "#);
    assert_eq!(
        stack.db().direct_transcript(user.id, agent.id).await,
        ["Ada: Hello", "Atlas: You said [partial]"]
    );
}

#[tokio::test]
async fn a_slow_client_gets_all_of_a_long_reply() {
    let stack = Stack::beside_shared(StackOptions::default().set("chat_max_output_tokens", 20_000)).await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;
    let message = "word ".repeat(4000);

    let mut stream = ask(&stack, &user, &agent, &message).events().await;
    assert_eq!(stream.next().await.unwrap().kind(), "started");
    // Longer than all queues on the way hold, so that the sender has to wait for this client.
    eventually("the model was asked", DEADLINE, async || {
        !stack.openai().received_with(message.trim()).is_empty()
    })
    .await;
    let events = stream.rest().await;

    assert_eq!(events.last().unwrap().kind(), "completed");
    assert_eq!(
        events.last().unwrap().data()["reply"],
        format!("You said: {}", message.trim())
    );
}
