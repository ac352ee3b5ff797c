//! `chat` with a model that fails: what the client is told, how often the model is asked, and what is stored.
//!
//! A fault is chosen by the agent's model: see `dev/stack/src/worlds/openai/fault.rs`.

use agentopia_tests::{Response, Stack, StackOptions};
use insta::assert_snapshot;

use crate::chat_support::ask;

/// What came of one turn with a faulty model.
struct Outcome {
    response: Response,
    /// How often the model was asked.
    calls: usize,
    /// What is in the conversation.
    transcript: Vec<String>,
    /// What was booked, and how the turn stands.
    books: Vec<String>,
}

/// Asks an agent whose model is `model`. `marker` finds the calls of this turn, and is no other test's.
async fn turn(stack: &Stack, model: &str, marker: &str) -> Outcome {
    let user = stack.user().await;
    let agent = user.agent("Atlas").model(model).await;
    let response = ask(stack, &user, &agent, marker).await;

    let books = "SELECT format('%s %s, usage %s', turn.status, coalesce(turn.error_code, '-'), usage.outcome)
                 FROM app.chat_turns AS turn JOIN app.usage_records AS usage ON usage.turn_id = turn.id
                 WHERE turn.user_id = $1";
    Outcome {
        response,
        calls: stack.openai().received_with(marker).len(),
        transcript: stack.db().direct_transcript(user.id, agent.id).await,
        books: stack.db().column(books, &[&user.id]).await,
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            response,
            calls,
            transcript,
            books,
        } = self;
        write!(
            formatter,
            "{response}\ncalls: {calls}\nstored: {transcript:?}\nturn: {}",
            books.join("; ")
        )
    }
}

#[tokio::test]
async fn a_provider_that_limits_the_rate_is_asked_again_when_it_says() {
    let stack = Stack::shared().await;
    let began = std::time::Instant::now();

    let outcome = turn(stack, "stand-in-429", "anemone").await;

    assert!(began.elapsed().as_secs_f64() >= 1.0, "Retry-After was one second");
    assert_eq!((outcome.response.status().as_u16(), outcome.calls), (200, 2));
    assert_eq!(outcome.transcript, ["Ada: anemone", "Atlas: You said: anemone"]);
}

#[tokio::test]
async fn a_provider_that_goes_on_limiting_is_given_up() {
    let outcome = turn(Stack::shared().await, "stand-in-429-always", "aster").await;

    assert_snapshot!(outcome, @r#"
    429 Too Many Requests
    retry-after: 1
    {"code":"model_rate_limited","error":"The model is receiving too many requests. Please try again.","message":"The model is receiving too many requests. Please try again.","request_id":"[request id]"}
    calls: 3
    stored: ["Ada: aster"]
    turn: failed model_rate_limited, usage model_rate_limited
    "#);
}

#[tokio::test]
async fn a_spent_quota_is_never_tried_again() {
    let outcome = turn(Stack::shared().await, "stand-in-quota", "azalea").await;

    assert_snapshot!(outcome, @r#"
    503 Service Unavailable
    {"code":"model_quota_exhausted","error":"The model provider's quota is spent.","message":"The model provider's quota is spent.","request_id":"[request id]"}
    calls: 1
    stored: ["Ada: azalea"]
    turn: failed model_quota_exhausted, usage model_quota_exhausted
    "#);
}

#[tokio::test]
async fn a_refused_key_is_our_fault_and_says_nothing_of_it() {
    let outcome = turn(Stack::shared().await, "stand-in-401", "buttercup").await;

    assert_snapshot!(outcome, @r#"
    502 Bad Gateway
    {"code":"model_refused_request","error":"The model provider refused the request.","message":"The model provider refused the request.","request_id":"[request id]"}
    calls: 1
    stored: ["Ada: buttercup"]
    turn: failed model_refused_request, usage model_refused_request
    "#);
}

#[tokio::test]
async fn a_model_that_is_unknown_is_refused_by_the_provider() {
    let outcome = turn(Stack::shared().await, "gpt-nonexistent", "calendula").await;

    assert_snapshot!(outcome, @r#"
    502 Bad Gateway
    {"code":"model_refused_request","error":"The model provider refused the request.","message":"The model provider refused the request.","request_id":"[request id]"}
    calls: 1
    stored: ["Ada: calendula"]
    turn: failed model_refused_request, usage model_refused_request
    "#);
}

#[tokio::test]
async fn a_provider_that_fails_once_is_asked_again() {
    for (model, marker) in [("stand-in-500-once", "carnation"), ("stand-in-503-2", "clematis")] {
        let outcome = turn(Stack::shared().await, model, marker).await;

        assert_eq!(outcome.response.status(), 200, "{model}: {outcome}");
        assert_eq!(
            outcome.transcript,
            [format!("Ada: {marker}"), format!("Atlas: You said: {marker}")]
        );
    }
}

#[tokio::test]
async fn a_provider_that_goes_on_failing_is_given_up() {
    let outcome = turn(Stack::shared().await, "stand-in-500", "cornflower").await;

    assert_snapshot!(outcome, @r#"
    502 Bad Gateway
    {"code":"model_failed","error":"The model provider failed. Please try again.","message":"The model provider failed. Please try again.","request_id":"[request id]"}
    calls: 3
    stored: ["Ada: cornflower"]
    turn: failed model_failed, usage model_failed
    "#);
}

#[tokio::test]
async fn a_conversation_that_is_too_long_for_the_model_is_not_tried_again() {
    let outcome = turn(Stack::shared().await, "stand-in-context", "crocus").await;

    assert_snapshot!(outcome, @r#"
    422 Unprocessable Entity
    {"code":"context_too_long","error":"The conversation is longer than the model can read.","message":"The conversation is longer than the model can read.","request_id":"[request id]"}
    calls: 1
    stored: ["Ada: crocus"]
    turn: failed context_too_long, usage context_too_long
    "#);
}

#[tokio::test]
async fn an_answer_without_text_is_no_answer() {
    let stack = Stack::shared().await;

    let empty = turn(stack, "stand-in-empty", "cyclamen").await;
    let withheld = turn(stack, "stand-in-filter", "daffodil").await;

    assert_snapshot!(empty, @r#"
    502 Bad Gateway
    {"code":"model_malformed","error":"The model's answer could not be read.","message":"The model's answer could not be read.","request_id":"[request id]"}
    calls: 1
    stored: ["Ada: cyclamen"]
    turn: failed model_malformed, usage model_malformed
    "#);
    assert_snapshot!(withheld, @r#"
    502 Bad Gateway
    {"code":"model_malformed","error":"The model's answer could not be read.","message":"The model's answer could not be read.","request_id":"[request id]"}
    calls: 1
    stored: ["Ada: daffodil"]
    turn: failed model_malformed, usage model_malformed
    "#);
}

#[tokio::test]
async fn an_answer_at_the_limit_of_tokens_is_whole_and_says_so() {
    let outcome = turn(Stack::shared().await, "stand-in-length", "dahlia").await;

    assert_snapshot!(outcome, @r#"
    200 OK
    ratelimit-policy: "user";q=30;w=60
    {"agent":{"id":"[id]","name":"Atlas"},"agentId":"[id]","agentMessageId":"[id]","agentName":"Atlas","finishReason":"length","message":"You said","model":"stand-in-length","partial":false,"reply":"You said","turnId":"[id]","usage":{"estimated":false,"inputTokens":20,"outputTokens":2,"totalTokens":22},"userMessageId":"[id]"}
    calls: 1
    stored: ["Ada: dahlia", "Atlas: You said"]
    turn: completed -, usage completed
    "#);
}

#[tokio::test]
async fn what_came_of_an_answer_that_breaks_off_is_stored_as_partial() {
    let stack = Stack::shared().await;

    let cut = turn(stack, "stand-in-cut", "daisy").await;
    let malformed = turn(stack, "stand-in-malformed", "dandelion").await;
    let failed = turn(stack, "stand-in-error-mid", "edelweiss").await;

    assert_snapshot!(cut, @r#"
    200 OK
    ratelimit-policy: "user";q=30;w=60
    {"agent":{"id":"[id]","name":"Atlas"},"agentId":"[id]","agentMessageId":"[id]","agentName":"Atlas","finishReason":"interrupted","message":"You said","model":"stand-in-cut","partial":true,"reply":"You said","turnId":"[id]","usage":{"estimated":true,"inputTokens":24,"outputTokens":3,"totalTokens":27},"userMessageId":"[id]"}
    calls: 1
    stored: ["Ada: daisy", "Atlas: You said [partial]"]
    turn: completed -, usage partial
    "#);
    assert_snapshot!(malformed, @r#"
    200 OK
    ratelimit-policy: "user";q=30;w=60
    {"agent":{"id":"[id]","name":"Atlas"},"agentId":"[id]","agentMessageId":"[id]","agentName":"Atlas","finishReason":"interrupted","message":"You said","model":"stand-in-malformed","partial":true,"reply":"You said","turnId":"[id]","usage":{"estimated":true,"inputTokens":25,"outputTokens":3,"totalTokens":28},"userMessageId":"[id]"}
    calls: 1
    stored: ["Ada: dandelion", "Atlas: You said [partial]"]
    turn: completed -, usage partial
    "#);
    assert_snapshot!(failed, @r#"
    200 OK
    ratelimit-policy: "user";q=30;w=60
    {"agent":{"id":"[id]","name":"Atlas"},"agentId":"[id]","agentMessageId":"[id]","agentName":"Atlas","finishReason":"interrupted","message":"You said","model":"stand-in-error-mid","partial":true,"reply":"You said","turnId":"[id]","usage":{"estimated":true,"inputTokens":25,"outputTokens":3,"totalTokens":28},"userMessageId":"[id]"}
    calls: 1
    stored: ["Ada: edelweiss", "Atlas: You said [partial]"]
    turn: completed -, usage partial
    "#);
}

/// An application that does not wait long.
async fn impatient() -> Stack {
    let options = StackOptions::default()
        .set("chat_deadline_ms", 3000)
        .set("openai_first_byte_timeout_ms", 700)
        .set("openai_between_bytes_timeout_ms", 700);
    Stack::beside_shared(options).await
}

#[tokio::test]
async fn a_model_that_never_begins_is_given_up_at_the_deadline_at_the_latest() {
    let stack = impatient().await;
    let began = std::time::Instant::now();

    let outcome = turn(&stack, "stand-in-stall", "forsythia").await;

    assert!(began.elapsed().as_secs_f64() < 4.0, "{:?}", began.elapsed());
    assert!(
        (2..=3).contains(&outcome.calls),
        "as often as the deadline allows: {}",
        outcome.calls
    );
    assert_snapshot!(outcome.response, @r#"
    504 Gateway Timeout
    {"code":"model_timed_out","error":"The model did not answer in time.","message":"The model did not answer in time.","request_id":"[request id]"}
    "#);
    assert_eq!(outcome.transcript, ["Ada: forsythia"]);
}

#[tokio::test]
async fn what_came_of_an_answer_that_stalls_is_stored_as_partial() {
    let outcome = turn(&impatient().await, "stand-in-stall-mid", "gardenia").await;

    assert_snapshot!(outcome, @r#"
    200 OK
    ratelimit-policy: "user";q=30;w=60
    {"agent":{"id":"[id]","name":"Atlas"},"agentId":"[id]","agentMessageId":"[id]","agentName":"Atlas","finishReason":"interrupted","message":"You said","model":"stand-in-stall-mid","partial":true,"reply":"You said","turnId":"[id]","usage":{"estimated":true,"inputTokens":25,"outputTokens":3,"totalTokens":28},"userMessageId":"[id]"}
    calls: 1
    stored: ["Ada: gardenia", "Atlas: You said [partial]"]
    turn: completed -, usage partial
    "#);
}

#[tokio::test]
async fn an_answer_that_is_still_coming_at_the_deadline_is_stored_as_partial() {
    let options = StackOptions::default().set("chat_deadline_ms", 500);
    let stack = Stack::beside_shared(options).await;
    let message = format!("geranium{}", " and more".repeat(30));

    let outcome = turn(&stack, "stand-in-slow", &message).await;

    assert_eq!(outcome.response.json()["partial"], true, "{outcome}");
    let reply = outcome.response.field("reply");
    assert!(
        format!("You said: {message}").starts_with(&reply) && reply.len() < message.len(),
        "{reply}"
    );
    assert_eq!(
        outcome.transcript,
        [format!("Ada: {message}"), format!("Atlas: {reply} [partial]")]
    );
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_unreachable() {
    // Nothing listens on the discard port.
    let stack = Stack::beside_shared(StackOptions::default().set("openai_origin", "http://127.0.0.1:9")).await;

    let outcome = turn(&stack, "gpt-4o", "gladiolus").await;

    assert_snapshot!(outcome, @r#"
    502 Bad Gateway
    {"code":"model_unreachable","error":"The model provider could not be reached.","message":"The model provider could not be reached.","request_id":"[request id]"}
    calls: 0
    stored: ["Ada: gladiolus"]
    turn: failed model_unreachable, usage model_unreachable
    "#);
}
