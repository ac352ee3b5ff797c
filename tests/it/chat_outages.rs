//! `chat` when what it stands on is lost: the database under load, and the host between a message and its reply.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agentopia_tests::{Agent, DEADLINE, Stack, StackOptions, User, eventually, eventually_some};
use insta::assert_snapshot;

use crate::chat_support::ask;

/// How many users ask at once.
const USERS: usize = 6;

/// Lets every lease run out.
const LEASES_RUN_OUT: &str = "UPDATE app.idempotency_keys SET lease_expires_at = lease_expires_at - interval '1 hour'";

/// How soon a client tries again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// What a client saw.
#[derive(Debug, Default)]
struct Seen {
    /// The keys whose requests were answered.
    answered: Vec<String>,
    /// The keys whose requests another attempt still holds, as far as the database knows.
    held: Vec<String>,
    /// How often the service was unavailable.
    unavailable: usize,
}

/// Asks under one key after another, each until it is answered or held, until it is told to stop.
async fn keep_asking(stack: &Stack, user: &User, agent: &Agent, stop: &AtomicBool) -> Seen {
    let mut seen = Seen::default();
    while !stop.load(Ordering::SeqCst) {
        let key = format!("request {}", seen.answered.len() + seen.held.len());
        match ask(stack, user, agent, &key)
            .idempotency_key(&key)
            .await
            .status()
            .as_u16()
        {
            200 => seen.answered.push(key),
            409 => seen.held.push(key),
            503 => {
                seen.unavailable += 1;
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            other => panic!("{key}: {other}"),
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_dies_under_load_costs_answers_and_nothing_else() {
    let options = StackOptions::default()
        .set("chat_user_per_minute", 60_000)
        .set("chat_user_burst", 10_000)
        .set("chat_agent_per_minute", 60_000)
        .set("chat_agent_burst", 10_000);
    let stack = Arc::new(Stack::of_its_own(options).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut users = Vec::new();
    let mut tasks = Vec::new();
    for _ in 0..USERS {
        let user = stack.user().await;
        let agent = user.agent("Atlas").await;
        users.push((user.clone(), agent.clone()));
        let (stack, stop) = (Arc::clone(&stack), Arc::clone(&stop));
        tasks.push(tokio::spawn(
            async move { keep_asking(&stack, &user, &agent, &stop).await },
        ));
    }
    let replies = async || -> i64 {
        stack
            .db()
            .scalar(
                "SELECT count(*) FROM public.chat_messages WHERE sender_kind = 'agent'",
                &[],
            )
            .await
    };

    // Twice, each time with requests under way.
    for _ in 0..2 {
        let before = replies().await;
        eventually("the load goes on", DEADLINE, async || replies().await > before + 20).await;
        stack.postgres().lock().await.kill().await.unwrap();
        let refused = eventually_some("a request is refused", DEADLINE, async || {
            let (user, agent) = &users[0];
            let response = ask(&stack, user, agent, "Are you there?").await;
            (response.status() != 200).then_some(response)
        });
        let refused = refused.await;
        insta::allow_duplicates! {
            assert_snapshot!(refused, @r#"
            503 Service Unavailable
            retry-after: 1
            {"code":"database_unavailable","error":"The service is temporarily unavailable. Please try again.","message":"The service is temporarily unavailable. Please try again.","request_id":"[request id]"}
            "#);
        }
        stack.postgres().lock().await.restart().await.unwrap();
    }
    let before = replies().await;
    eventually("it works again", DEADLINE, async || replies().await > before + 20).await;
    stop.store(true, Ordering::SeqCst);

    let mut unavailable = 0;
    for (task, (user, agent)) in tasks.into_iter().zip(&users) {
        let seen = task.await.unwrap();
        unavailable += seen.unavailable;
        stack.db().execute(LEASES_RUN_OUT, &[]).await;
        for key in seen.held {
            let response = ask(&stack, user, agent, &key).idempotency_key(&key).await;
            assert_eq!(response.status(), 200, "{key}: {response}");
        }
    }
    assert!(unavailable > 0, "the database was missed");
    assert_eq!(
        stack.db().column::<String>(HALF_STORED, &[]).await,
        Vec::<String>::new()
    );
}

/// Requests under a key that are not exactly one message and one reply, and turns that contradict themselves.
const HALF_STORED: &str = "
    SELECT format('%s: %s messages, %s replies', kept.key, count(said.id), count(reply.id))
    FROM app.idempotency_keys AS kept
    LEFT JOIN public.chat_messages AS said ON said.sender_user_id = kept.user_id AND said.content = kept.key
    LEFT JOIN public.chat_messages AS reply ON reply.reply_to_message_id = said.id
    GROUP BY kept.user_id, kept.key
    HAVING count(said.id) <> 1 OR count(reply.id) <> 1
    UNION ALL
    SELECT format('turn %s is %s with reply %s', id, status, agent_message_id)
    FROM app.chat_turns
    WHERE (status = 'completed') <> (agent_message_id IS NOT NULL)
    UNION ALL
    SELECT format('reply %s answers nothing', id)
    FROM public.chat_messages
    WHERE sender_kind = 'agent' AND reply_to_message_id IS NULL
";

#[tokio::test]
async fn a_turn_whose_host_died_is_completed_by_a_retry_with_its_key() {
    let shared = Stack::shared().await;
    let user = shared.user().await;
    let agent = user.agent("Atlas").model("stand-in-slow").await;
    let message = format!("Do not forget me{}", " now".repeat(20));
    let doomed = Stack::beside_shared(StackOptions::default()).await;
    let mut stream = ask(&doomed, &user, &agent, &message)
        .idempotency_key("a key")
        .events()
        .await;
    assert_eq!(stream.next().await.unwrap().kind(), "started");

    doomed.kill().await;

    let (said, replied) = (format!("Ada: {message}"), format!("Atlas: You said: {message}"));
    assert_eq!(shared.db().direct_transcript(user.id, agent.id).await, [said.as_str()]);
    let retry = || ask(shared, &user, &agent, &message).idempotency_key("a key");
    assert_eq!(retry().await.status(), 409, "the lease of the dead still holds");
    let statement =
        "UPDATE app.idempotency_keys SET lease_expires_at = lease_expires_at - interval '1 hour' WHERE user_id = $1";
    shared.db().execute(statement, &[&user.id]).await;
    let completed = retry().await;
    assert_eq!(completed.status(), 200, "{completed}");
    assert_eq!(shared.db().direct_transcript(user.id, agent.id).await, [said, replied]);
    let turns = "SELECT status FROM app.chat_turns WHERE user_id = $1";
    assert_eq!(shared.db().column::<String>(turns, &[&user.id]).await, ["completed"]);
}

#[tokio::test]
async fn an_answer_whose_turn_was_taken_over_is_not_stored_beside_the_other() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").model("stand-in-slow").await;
    let message = format!("Two at once{}", " now".repeat(10));
    let mut first = ask(stack, &user, &agent, &message)
        .idempotency_key("a key")
        .events()
        .await;
    assert_eq!(first.next().await.unwrap().kind(), "started");
    let statement =
        "UPDATE app.idempotency_keys SET lease_expires_at = lease_expires_at - interval '1 hour' WHERE user_id = $1";
    stack.db().execute(statement, &[&user.id]).await;

    let second = ask(stack, &user, &agent, &message)
        .idempotency_key("a key")
        .events()
        .await;
    let (first, second) = (first.rest(), second.rest());
    let (first, second) = futures::future::join(first, second).await;

    let superseded = first.last().unwrap();
    assert_snapshot!(format!("{}: {}", superseded.kind(), superseded.redacted()), @r#"error: {"code":"turn_superseded","error":"This turn was taken over by another request.","message":"This turn was taken over by another request.","request_id":"[request id]","status":409}"#);
    assert_eq!(second.last().unwrap().kind(), "completed");
    assert_eq!(stack.db().direct_transcript(user.id, agent.id).await.len(), 2);
}

#[tokio::test]
async fn without_a_database_every_request_that_needs_it_is_unavailable() {
    // Nothing listens on the discard port.
    let stack = Stack::beside_shared(StackOptions::default().set("database_host", "127.0.0.1:9")).await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;

    let response = tokio::time::timeout(
        Duration::from_secs(10),
        ask(&stack, &user, &agent, "Hello").into_future(),
    )
    .await;

    assert_snapshot!(response.unwrap(), @r#"
    503 Service Unavailable
    retry-after: 1
    {"code":"database_unavailable","error":"The service is temporarily unavailable. Please try again.","message":"The service is temporarily unavailable. Please try again.","request_id":"[request id]"}
    "#);
    assert_eq!(stack.get("/functions/v1/chat/health").await.status(), 200);
}
