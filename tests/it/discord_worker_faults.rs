//! `manage-discord-worker`: the worker manager fails, in each of the ways in which it may: what is recorded is true in the end, and the owner is told why.

use std::time::Duration;

use agentopia_stack::worlds::worker_manager::{Call, Fault, Login, ProcessStatus};
use agentopia_tests::{DEADLINE, Response, Stack, StackOptions, eventually};
use futures::future::join_all;
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::discord_workers_support::{MANAGE, Owner};

/// More often than anything is tried.
const ALWAYS: usize = 50;

/// An application that does not wait long for a manager that is silent.
async fn brisk() -> &'static Stack {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    let options = || StackOptions::default().set("worker_manager_first_byte_timeout_ms", 400);
    STACK.get_or_init(|| Stack::beside_shared(options())).await
}

fn fail(owner: &Owner<'_>, call: Call, fault: Fault) {
    owner.stack.worker_manager().fail(owner.agent.id, call, fault, ALWAYS);
}

fn mend(owner: &Owner<'_>) {
    owner.stack.worker_manager().mend(owner.agent.id);
}

/// What the owner is told.
fn told(answer: &Response) -> String {
    let pause = answer
        .header("retry-after")
        .map_or_else(String::new, |pause| format!(" (after {pause} s)"));
    let status = answer.status().as_u16();
    format!("{status} {}: {}{pause}", answer.field("code"), answer.field("message"))
}

/// What is recorded of the worker.
async fn recorded(owner: &Owner<'_>) -> [Value; 3] {
    let connection = owner.connection().await;
    ["worker_status", "worker_error_code", "worker_error_message"].map(|field| connection[field].clone())
}

#[tokio::test]
async fn a_start_that_fails_is_in_error_with_the_reason_and_nothing_runs() {
    let stack = brisk().await;
    let case = async |fault: Fault| {
        let owner = Owner::connected(stack).await;
        stack.worker_manager().set_login(owner.agent.id, Login::Hangs);
        fail(&owner, Call::Start, fault);

        let failed = owner.command("start").await;

        let told = format!("{fault:?}: {}", told(&failed));
        let reason = [
            json!("error"),
            failed.json()["code"].clone(),
            failed.json()["message"].clone(),
        ];
        assert_eq!(recorded(&owner).await, reason, "{told}");
        assert_eq!(owner.connection().await["desired_status"], "active", "{told}");
        owner.ends().await;
        for secret in [
            owner.bot.token.as_str(),
            "agt_wk_",
            stack.worker_manager().token().as_str(),
        ] {
            assert!(!failed.text().contains(secret), "{told}");
        }

        owner.sweep_later(3600.0).await;
        owner.until_done().await;
        assert_eq!(
            recorded(&owner).await,
            reason,
            "{told}: it is the owner's to start it again"
        );
        mend(&owner);
        stack.worker_manager().set_login(owner.agent.id, Login::Succeeds);
        owner.command("start").await;
        owner.becomes("active").await;
        assert_eq!(
            recorded(&owner).await,
            [json!("active"), Value::Null, Value::Null],
            "{told}"
        );
        // What it repeats has ids in it.
        told.split(" {").next().unwrap().to_owned()
    };

    let minute = Some(Duration::from_secs(60));
    let told = join_all([
        case(Fault::Status(400)),
        case(Fault::Status(401)),
        case(Fault::Status(403)),
        case(Fault::Status(404)),
        case(Fault::Status(500)),
        case(Fault::Status(503)),
        case(Fault::RateLimited(minute)),
        case(Fault::Babble),
        case(Fault::Malformed),
        case(Fault::Silence),
        case(Fault::Stall),
        case(Fault::Break),
        case(Fault::Drop),
        case(Fault::DoneAndFailed),
    ])
    .await;

    assert_snapshot!(told.join("\n"), @r#"
    Status(400): 502 worker_manager_refused: The worker was not started: the worker manager refused: 400 The stand-in was asked to refuse.
    Status(401): 502 worker_manager_refused: The worker was not started: the worker manager does not accept the token.
    Status(403): 502 worker_manager_refused: The worker was not started: the worker manager does not accept the token.
    Status(404): 502 worker_manager_refused: The worker was not started: the worker manager does not know the worker.
    Status(500): 502 worker_manager_failed: The worker was not started: the worker manager failed: 500 The stand-in was asked to refuse.
    Status(503): 502 worker_manager_failed: The worker was not started: the worker manager failed: 503 The stand-in was asked to refuse.
    RateLimited(Some(60s)): 502 worker_manager_refused: The worker was not started: the worker manager limits the rate. (after 60 s)
    Babble: 502 worker_manager_failed: The worker was not started: the worker manager failed: 500 pm2 failed with
    Malformed: 502 worker_manager_failed: The worker was not started: the worker manager did not answer as it should.
    Silence: 504 worker_manager_timed_out: The worker was not started: the worker manager was too slow.
    Stall: 504 worker_manager_timed_out: The worker was not started: the worker manager was too slow.
    Break: 502 worker_manager_unreachable: The worker was not started: the worker manager cannot be reached.
    Drop: 502 worker_manager_unreachable: The worker was not started: the worker manager cannot be reached.
    DoneAndFailed: 502 worker_manager_failed: The worker was not started: the worker manager failed: 500 pm2 failed.
    "#);
}

#[tokio::test]
async fn what_fails_once_is_tried_again_by_itself() {
    let stack = brisk().await;
    for fault in [
        Fault::Status(500),
        Fault::Silence,
        Fault::Break,
        Fault::Stall,
        Fault::Drop,
    ] {
        for call in [Call::Start, Call::Stop] {
            let owner = Owner::connected(stack).await;
            stack.worker_manager().fail(owner.agent.id, call, fault, 1);

            let started = owner.command("start").await;

            assert_eq!(started.status(), 200, "{fault:?}: {started}");
            owner.becomes("active").await;
        }
    }
}

#[tokio::test]
async fn a_worker_that_speaks_for_itself_is_started_whatever_the_manager_says() {
    let stack = brisk().await;
    let owner = Owner::connected(stack).await;
    fail(&owner, Call::Start, Fault::Stall);

    let started = owner.command("start").await;

    assert_eq!(
        (started.status().as_u16(), started.field("status").as_str()),
        (200, "active"),
        "{started}"
    );
    assert_eq!(started.json()["details"], Value::Null);
    owner.sweep().await;
    assert!(owner.runs());
}

#[tokio::test]
async fn what_may_run_already_is_stopped_before_a_start_or_nothing_is_started() {
    let stack = brisk().await;
    let owner = Owner::connected(stack).await;
    fail(&owner, Call::Stop, Fault::Status(500));

    let failed = owner.command("start").await;

    assert_snapshot!(told(&failed), @"502 worker_manager_failed: The worker was not started: the worker manager failed: 500 The stand-in was asked to refuse.");
    assert_eq!(recorded(&owner).await[0], "error");
    assert_eq!(owner.starts(), 0);
}

#[tokio::test]
async fn a_restart_that_fails_leaves_no_worker_that_is_heard() {
    let stack = brisk().await;
    let owner = Owner::active(stack).await;
    fail(&owner, Call::Stop, Fault::Status(500));

    let failed = owner.command("restart").await;

    assert_snapshot!(told(&failed), @"502 worker_manager_failed: The worker was not started: the worker manager failed: 500 The stand-in was asked to refuse.");
    assert_eq!(recorded(&owner).await[0], "error");
    // Its token is good for nothing any more, and it ends when it is told so.
    owner.ends().await;
    assert_eq!(owner.worker().last_answer, Some(401));
    assert_eq!(recorded(&owner).await[0], "error");
}

#[tokio::test]
async fn a_token_is_replaced_whether_its_worker_can_be_started_anew_or_not() {
    let stack = brisk().await;
    let owner = Owner::active(stack).await;
    let bot = stack.discord().create_bot(&owner.application).unwrap();
    fail(&owner, Call::Start, Fault::Status(500));

    let replaced = owner.put("bot-token", &json!({ "bot_token": bot.token })).await;
    let [status, code, _] = recorded(&owner).await;
    mend(&owner);
    owner.command("start").await;
    owner.becomes("active").await;

    assert_eq!(replaced.status(), 200, "{replaced}");
    assert_eq!(replaced.json()["connection"]["worker_status"], "error");
    assert_eq!((status, code), (json!("error"), json!("worker_manager_failed")));
    assert_eq!(owner.worker().bot_token, bot.token);
}

/// A worker that is not heard of would not end by itself.
#[tokio::test]
async fn a_stop_that_fails_is_told_again_by_the_sweep() {
    let stack = brisk().await;
    let case = async |fault: Fault| {
        let owner = Owner::active(stack).await;
        stack.worker_manager().silence(owner.agent.id);
        fail(&owner, Call::Stop, fault);

        let failed = owner.command("stop").await;

        let told = format!("{fault:?}: {}", told(&failed));
        let reason = [
            json!("stopping"),
            failed.json()["code"].clone(),
            failed.json()["message"].clone(),
        ];
        assert_eq!(recorded(&owner).await, reason, "{told}");
        assert_eq!(owner.connection().await["desired_status"], "inactive", "{told}");
        let early = owner.command("start").await;
        assert_eq!(
            (early.status().as_u16(), early.field("code").as_str()),
            (409, "worker_stopping"),
            "{told}"
        );

        owner.sweep_later(3600.0).await;
        owner.until_done().await;
        assert_eq!(recorded(&owner).await[0], "stopping", "{told}: it is told in vain");
        assert!(owner.runs(), "{told}");

        mend(&owner);
        owner.sweep_later(3600.0).await;
        owner.becomes("inactive").await;
        assert_eq!(
            recorded(&owner).await,
            [json!("inactive"), Value::Null, Value::Null],
            "{told}"
        );
        assert!(!owner.runs(), "{told}");
        told
    };

    let minute = Some(Duration::from_secs(60));
    let told = join_all([
        case(Fault::Status(401)),
        case(Fault::Status(500)),
        case(Fault::RateLimited(minute)),
        case(Fault::Silence),
        case(Fault::Break),
    ])
    .await;

    assert_snapshot!(told.join("\n"), @r#"
    Status(401): 502 worker_manager_refused: The worker was not stopped: the worker manager does not accept the token.
    Status(500): 502 worker_manager_failed: The worker was not stopped: the worker manager failed: 500 The stand-in was asked to refuse.
    RateLimited(Some(60s)): 502 worker_manager_refused: The worker was not stopped: the worker manager limits the rate. (after 60 s)
    Silence: 504 worker_manager_timed_out: The worker was not stopped: the worker manager was too slow.
    Break: 502 worker_manager_unreachable: The worker was not stopped: the worker manager cannot be reached.
    "#);
}

#[tokio::test]
async fn a_worker_that_its_manager_does_not_stop_is_told_so_itself() {
    let stack = brisk().await;
    let owner = Owner::active(stack).await;
    fail(&owner, Call::Stop, Fault::Status(500));
    // It would end by itself while the manager is asked again.
    stack.worker_manager().silence(owner.agent.id);

    let failed = owner.command("stop").await;

    assert_eq!(failed.status(), 502, "{failed}");
    stack.worker_manager().speak(owner.agent.id);
    owner.becomes("inactive").await;
    owner.ends().await;
    assert_eq!(recorded(&owner).await, [json!("inactive"), Value::Null, Value::Null]);
}

#[tokio::test]
async fn a_worker_of_whose_stop_nothing_is_heard_has_stopped_all_the_same() {
    let stack = brisk().await;
    for fault in [Fault::Stall, Fault::Drop, Fault::DoneAndFailed, Fault::Malformed] {
        let owner = Owner::active(stack).await;
        fail(&owner, Call::Stop, fault);

        owner.command("stop").await;

        owner.becomes("inactive").await;
        assert!(!owner.runs(), "{fault:?}");
        assert_eq!(owner.worker().status, ProcessStatus::Stopped, "{fault:?}");
    }
}

#[tokio::test]
async fn a_worker_that_a_sweep_cannot_stop_is_given_up_all_the_same() {
    let stack = brisk().await;
    let owner = Owner::active(stack).await;
    stack.worker_manager().silence(owner.agent.id);
    fail(&owner, Call::Stop, Fault::Status(500));
    let before = owner.worker();

    owner.sweep_later(3600.0).await;
    owner.becomes("error").await;
    let [_, code, _] = recorded(&owner).await;
    mend(&owner);
    stack.worker_manager().speak(owner.agent.id);
    owner.sweep_later(11.0).await;
    owner.becomes("active").await;

    assert_eq!(code, "worker_silent");
    assert_ne!(owner.worker().lease_id, before.lease_id, "it is another one");
    assert_eq!(owner.starts(), 2);
}

#[tokio::test]
async fn a_restart_by_itself_that_fails_is_tried_again_and_not_for_ever() {
    let stack = brisk().await;
    let owner = Owner::active(stack).await;
    stack.worker_manager().crash(owner.agent.id);
    owner.becomes("error").await;
    fail(&owner, Call::Start, Fault::Status(503));

    let mut reasons = Vec::new();
    for _ in 0..5 {
        owner.sweep_later(3600.0).await;
        owner.until_done().await;
        reasons.push(recorded(&owner).await);
    }

    let statement =
        "SELECT worker_restarts FROM public.agent_discord_connections WHERE agent_id = $1 AND guild_id IS NULL";
    assert_eq!(stack.db().scalar::<i32>(statement, &[&owner.agent.id]).await, 3);
    // One start that succeeded, and three restarts of three attempts each.
    assert_eq!(owner.starts(), 1 + 3 * 3);
    for [status, _, message] in reasons {
        assert_eq!(status, "error");
        assert!(
            message.as_str().unwrap().starts_with("The worker was not started: "),
            "{message}"
        );
    }
}

/// Whoever dies between writing that a worker is started and hearing of it leaves a start that has its time and no more.
#[tokio::test]
async fn a_start_whose_host_dies_ends_in_error() {
    let stack = Stack::beside_shared(StackOptions::default()).await;
    let owner = Owner::connected(&stack).await;
    let agent = owner.agent.id;
    stack.worker_manager().fail(agent, Call::Start, Fault::Silence, ALWAYS);
    let mut start = Box::pin(owner.command("start").attempt());
    eventually("the manager is asked", DEADLINE, async || {
        let soon = tokio::time::timeout(Duration::from_millis(20), &mut start).await;
        assert!(soon.is_err(), "it is answered: {soon:?}");
        owner.starts() == 1
    })
    .await;
    drop(start);
    let Owner {
        user,
        agent,
        application,
        bot,
        ..
    } = owner;
    stack.kill().await;
    let stack = Stack::shared().await;
    let owner = Owner {
        stack,
        user,
        agent,
        application,
        bot,
    };

    let before = owner.status().await;
    mend(&owner);
    owner.sweep_later(3600.0).await;
    owner.becomes("error").await;
    let [_, code, _] = recorded(&owner).await;
    let started = owner.command("start").await;
    owner.becomes("active").await;

    assert_eq!((before.as_str(), &code), ("activating", &json!("start_timed_out")));
    assert_eq!(started.status(), 200, "{started}");
}

#[tokio::test]
async fn a_status_without_the_manager_is_what_is_recorded() {
    let stack = brisk().await;
    let owner = Owner::active(stack).await;
    for fault in [
        Fault::Status(401),
        Fault::Status(500),
        Fault::RateLimited(None),
        Fault::Malformed,
        Fault::Silence,
        Fault::Break,
    ] {
        stack.worker_manager().fail(owner.agent.id, Call::Status, fault, 1);

        let status = owner.command("status").await;

        assert_eq!(status.status(), 200, "{fault:?}: {status}");
        let json = status.json();
        assert_eq!(
            (&json["status"], &json["details"]),
            (&json!("active"), &Value::Null),
            "{fault:?}"
        );
        assert_eq!(json["degraded"], json!(["worker_manager"]), "{fault:?}");
    }
}

/// A worker that the database knows nothing of: its agent was restored from a backup, or its start was lost.
#[tokio::test]
async fn a_worker_that_nobody_knows_is_stopped_by_the_sweep() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    let manager = stack.worker_manager();
    let strangers: Uuid = stack.db().scalar("SELECT gen_random_uuid()", &[]).await;
    let wanted = Owner::active(stack).await;
    for agent in [owner.agent.id, strangers] {
        manager.set_login(agent, Login::Hangs);
        let body = json!({
            "agentId": agent, "connectionDbId": agent, "botToken": agent, "agentName": "Orphan", "leaseId": agent,
            "workerToken": "agt_wk_of-nobody", "functionsUrl": "http://127.0.0.1:9", "guildIds": [],
        });
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let start = client
            .post(format!("{}/start-worker", manager.url()))
            .bearer_auth(manager.token());
        assert_eq!(start.json(&body).send().await.unwrap().status(), 200);
    }

    owner.sweep().await;

    for agent in [owner.agent.id, strangers] {
        eventually("the orphan is stopped", DEADLINE, async || {
            manager.worker(agent).unwrap().status == ProcessStatus::Stopped
        })
        .await;
    }
    assert!(wanted.runs(), "who is wanted is left alone");
    assert_eq!(owner.status().await, "inactive");
}

#[tokio::test]
async fn without_a_manager_no_worker_is_commanded() {
    let stack = Stack::beside_shared(StackOptions::default().set("worker_manager_token", "")).await;
    let owner = Owner::connected(&stack).await;
    owner
        .put("enabled-guilds", &json!({ "guilds": [{ "guild_id": "77" }] }))
        .await;
    let activation = json!({
        "agentId": owner.agent.id, "applicationId": owner.application.id.to_string(),
        "publicKey": owner.application.public_key, "ownKey": false, "guildId": "77", "action": "activate",
    });

    let activated = stack
        .post(&format!("{MANAGE}/activations"))
        .bearer(stack.service_token());
    let answers = [
        owner.command("start").await,
        owner.command("restart").await,
        owner.command("stop").await,
        activated.json(&activation).await,
    ];

    for answer in answers {
        let seen = (answer.status().as_u16(), answer.field("code"));
        assert_eq!(seen, (503, "worker_manager_unconfigured".to_owned()), "{answer}");
        assert_eq!(answer.header("retry-after"), Some("60"), "{answer}");
    }
    assert_eq!(recorded(&owner).await, [json!("inactive"), Value::Null, Value::Null]);
    let guilds = owner.request(Method::GET, "connection").await;
    assert_eq!(guilds.json()["guilds"].as_array().unwrap().len(), 1, "the rest works");
}

/// Bots' tokens would go to it over an open line.
#[tokio::test]
async fn a_manager_at_an_insecure_address_is_refused_with_the_settings_name() {
    let stack = Stack::beside_shared(StackOptions::default().set("worker_manager_url", "http://192.0.2.1:8000")).await;
    let shared = Stack::shared().await;
    let owner = Owner {
        stack: &stack,
        ..Owner::connected(shared).await
    };

    let refused = owner.command("start").await;

    assert_snapshot!(refused, @r#"
    500 Internal Server Error
    {"code":"internal_error","error":"Internal server error","message":"Internal server error","request_id":"[request id]"}
    "#);
    if let Some(log) = stack.log("manage-discord-worker") {
        let reason = "the worker manager's address must begin with https://, except on this machine";
        assert!(log.iter().any(|line| line.contains(reason)), "{log:?}");
        assert!(!log.iter().any(|line| line.contains("192.0.2.1")), "{log:?}");
    }
}
