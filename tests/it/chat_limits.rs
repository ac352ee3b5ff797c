//! `chat`: how often a user may ask, and an agent be asked.

use agentopia_tests::{Response, Stack, StackOptions};
use insta::assert_snapshot;

use crate::chat_support::{ask_in, say};

/// The answer with its number of seconds shown as a range that it is in.
fn shown(response: &Response, seconds: std::ops::RangeInclusive<u64>) -> String {
    let retry_after: u64 = response.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds.contains(&retry_after), "{retry_after} s");
    let shown = format!("{response}\nratelimit: {}", response.header("ratelimit").unwrap());
    shown
        .replace(&format!("retry-after: {retry_after}"), "retry-after: [s]")
        .replace(&format!("t={retry_after}"), "t=[s]")
}

#[tokio::test]
async fn a_user_may_send_a_burst_and_then_waits() {
    let stack = Stack::shared().await;
    let (user, other) = (stack.user().await, stack.user_named("Grace").await);
    let workspace = user.workspace("Lab").await;
    workspace.add_user(&other).await;
    let channel = workspace.channel("general").await;

    let burst = futures::future::join_all((0..10).map(|_| say(stack, &user, &channel, "Quick").into_future())).await;
    let refused = say(stack, &user, &channel, "Too quick").await;
    let others = say(stack, &other, &channel, "My first").await;

    assert!(burst.iter().all(|response| response.status() == 200), "{burst:?}");
    assert_snapshot!(shown(&refused, 1..=2), @r#"
    429 Too Many Requests
    retry-after: [s]
    ratelimit-policy: "user";q=30;w=60
    {"code":"rate_limited","error":"Rate limit exceeded","message":"Rate limit exceeded","request_id":"[request id]"}
    ratelimit: "user";r=0;t=[s]
    "#);
    assert_eq!(others.status(), 200);

    // Thirty a minute is one in two seconds.
    let statement =
        "UPDATE app.rate_limits SET tat = tat - interval '2 seconds' WHERE key = 'chat:user:' || $1::uuid::text";
    assert_eq!(stack.db().execute(statement, &[&user.id]).await, 1);
    assert_eq!(say(stack, &user, &channel, "In time").await.status(), 200);
    assert_eq!(say(stack, &user, &channel, "Too quick again").await.status(), 429);
    assert_eq!(stack.db().transcript(channel.id).await.len(), 12);
}

#[tokio::test]
async fn an_answer_says_what_is_left() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let channel = user.workspace("Lab").await.channel("general").await;

    let response = say(stack, &user, &channel, "First").await;

    assert_eq!(response.header("ratelimit"), Some(r#""user";r=9;t=2"#));
    assert_snapshot!(response.header("ratelimit-policy").unwrap(), @r#""user";q=30;w=60"#);
}

#[tokio::test]
async fn an_agent_may_be_asked_a_burst_by_all_together() {
    let options = StackOptions::default()
        .set("chat_agent_burst", 3)
        .set("chat_agent_per_minute", 6);
    let stack = Stack::beside_shared(options).await;
    let (owner, member) = (stack.user().await, stack.user_named("Grace").await);
    let (agent, other) = (owner.agent("Atlas").await, owner.agent("Mercury").await);
    let workspace = owner.workspace("Lab").await;
    workspace.add_user(&member).await;
    workspace.add_agent(&agent).await;
    workspace.add_agent(&other).await;
    let channel = workspace.channel("general").await;
    for user in [&owner, &member, &owner] {
        assert_eq!(ask_in(&stack, user, &agent, &channel, "Hello").await.status(), 200);
    }

    let refused = ask_in(&stack, &member, &agent, &channel, "Hello, begonia").await;

    assert_snapshot!(shown(&refused, 8..=10), @r#"
    429 Too Many Requests
    retry-after: [s]
    ratelimit-policy: "agent";q=6;w=60
    {"code":"rate_limited","error":"Rate limit exceeded","message":"Rate limit exceeded","request_id":"[request id]"}
    ratelimit: "agent";r=0;t=[s]
    "#);
    assert_eq!(stack.openai().received_with("begonia"), []);
    assert_eq!(
        ask_in(&stack, &member, &other, &channel, "And you?").await.status(),
        200
    );
}

#[tokio::test]
async fn a_request_that_is_refused_or_repeated_costs_nothing() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let channel = user.workspace("Lab").await.channel("general").await;
    let first = say(stack, &user, &channel, "Once").idempotency_key("a key").await;
    let statement = "SELECT tat::text FROM app.rate_limits WHERE key = 'chat:user:' || $1::uuid::text";
    let before: String = stack.db().scalar(statement, &[&user.id]).await;

    let repeated = say(stack, &user, &channel, "Once").idempotency_key("a key").await;
    let refused = say(stack, &user, &channel, "Another").idempotency_key("a key").await;

    assert_eq!(
        (
            first.status().as_u16(),
            repeated.status().as_u16(),
            refused.status().as_u16()
        ),
        (200, 200, 422)
    );
    assert_eq!(stack.db().scalar::<String>(statement, &[&user.id]).await, before);
}
