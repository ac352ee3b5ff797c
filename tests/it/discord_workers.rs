//! `manage-discord-worker`: a worker that does not start, falls silent or is not wanted any more.

use std::time::Duration;

use agentopia_stack::worlds::worker_manager::{Call, Fault, Login};
use agentopia_tests::{Stack, eventually};
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::discord_workers_support::{MANAGE, Owner};

#[tokio::test]
async fn a_start_that_fails_ends_in_error_with_the_reason() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    stack
        .worker_manager()
        .fail(owner.agent.id, Call::Start, Fault::Status(400), 1);

    let refused = owner.command("start").await;
    let connection = owner.connection().await;
    let started = owner.command("start").await;
    owner.becomes("active").await;

    assert_snapshot!(refused, @r#"
    502 Bad Gateway
    {"code":"worker_manager_refused","error":"The worker was not started: the worker manager refused: 400 The stand-in was asked to refuse.","message":"The worker was not started: the worker manager refused: 400 The stand-in was asked to refuse.","request_id":"[request id]"}
    "#);
    assert_eq!(connection["worker_status"], "error");
    assert_eq!(connection["worker_error_code"], refused.field("code"));
    assert_eq!(connection["worker_error_message"], refused.field("message"));
    assert_eq!(started.status(), 200, "{started}");
}

#[tokio::test]
async fn a_start_that_nobody_knows_of_is_taken_back() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    stack.worker_manager().set_login(owner.agent.id, Login::Hangs);
    stack
        .worker_manager()
        .fail(owner.agent.id, Call::Start, Fault::DoneAndFailed, 3);

    let failed = owner.command("start").await;

    assert_snapshot!(failed, @r#"
    502 Bad Gateway
    {"code":"worker_manager_failed","error":"The worker was not started: the worker manager failed: 500 pm2 failed.","message":"The worker was not started: the worker manager failed: 500 pm2 failed.","request_id":"[request id]"}
    "#);
    assert_eq!(owner.status().await, "error");
    owner.ends().await;
}

#[tokio::test]
async fn a_worker_that_does_not_log_in_is_given_up() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    stack.worker_manager().set_login(owner.agent.id, Login::Hangs);
    owner.command("start").await;

    owner.sweep_later(3600.0).await;

    owner.becomes("error").await;
    assert_eq!(owner.connection().await["worker_error_code"], "start_timed_out");
}

#[tokio::test]
async fn a_worker_that_falls_silent_is_given_up_and_started_again() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    owner.command("start").await;
    owner.becomes("active").await;
    let before = stack.worker_manager().worker(owner.agent.id).unwrap();
    stack.worker_manager().silence(owner.agent.id);

    owner.sweep_later(3600.0).await;
    owner.becomes("error").await;
    let silent = owner.connection().await;
    stack.worker_manager().speak(owner.agent.id);
    // Again and again: another test's sweep may have the job.
    eventually("a restart", Duration::from_secs(10), async || {
        if owner.status().await == "error" {
            owner.sweep_later(3600.0).await;
        }
        owner.status().await == "active"
    })
    .await;

    assert_eq!(silent["worker_error_code"], "worker_silent");
    let after = stack.worker_manager().worker(owner.agent.id).unwrap();
    assert_ne!(before.lease_id, after.lease_id);
    assert_ne!(before.worker_token, after.worker_token);
}

#[tokio::test]
async fn a_worker_whose_bot_is_forgotten_is_stopped_at_once() {
    let stack = Stack::shared().await;
    for rest in ["connection", "bot-token"] {
        let owner = Owner::active(stack).await;

        let forgotten = owner.request(Method::DELETE, rest).await;

        assert!(forgotten.status().is_success(), "{forgotten}");
        assert!(!owner.runs(), "{rest}");
        let connection = owner.connection().await;
        let expected = if rest == "connection" {
            Value::Null
        } else {
            json!("inactive")
        };
        assert_eq!(connection["worker_status"], expected, "{rest}");
        assert_eq!(connection["desired_status"], expected, "{rest}");
    }
}

#[tokio::test]
async fn a_worker_whose_bot_is_forgotten_and_whose_manager_fails_is_stopped_by_the_sweep() {
    let stack = Stack::shared().await;
    for rest in ["connection", "bot-token"] {
        let owner = Owner::active(stack).await;
        let manager = stack.worker_manager();
        manager.fail(owner.agent.id, Call::Stop, Fault::Status(400), 1);

        let forgotten = owner.request(Method::DELETE, rest).await;
        // The worker that is stopping has its time before the manager is asked again.
        owner.sweep_later(3600.0).await;

        assert!(forgotten.status().is_success(), "{forgotten}");
        owner.ends().await;
        let expected = if rest == "connection" {
            Value::Null
        } else {
            json!("inactive")
        };
        eventually("it is written", Duration::from_secs(10), async || {
            owner.connection().await["worker_status"] == expected
        })
        .await;
    }
}

#[tokio::test]
async fn a_report_needs_the_token_and_the_lease_of_the_worker() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    owner.command("start").await;
    owner.becomes("active").await;
    let worker = stack.worker_manager().worker(owner.agent.id).unwrap();
    let report = |token: &str, lease: &str| {
        let body = json!({ "leaseId": lease, "status": "active" });
        stack.post(&format!("{MANAGE}/report")).bearer(token).json(&body)
    };

    let taken = report(&worker.worker_token, &worker.lease_id.to_string()).await;
    let other_lease = report(&worker.worker_token, &owner.agent.id.to_string()).await;
    let other_token = report(&owner.user.token, &worker.lease_id.to_string()).await;
    owner.command("stop").await;
    let stopped = report(&worker.worker_token, &worker.lease_id.to_string()).await;

    assert_snapshot!(taken, @r#"
    200 OK
    {"guilds":[],"inactivity_timeout_minutes":10,"lease_seconds":180,"should_stop":false,"status":"active"}
    "#);
    assert_snapshot!(other_lease, @r#"
    409 Conflict
    {"code":"lease_lost","error":"Another worker has taken over.","message":"Another worker has taken over.","request_id":"[request id]"}
    "#);
    assert_snapshot!(other_token, @r#"
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"invalid_token","error":"Authentication failed","message":"Authentication failed","request_id":"[request id]"}
    "#);
    assert_snapshot!(stopped, @r#"
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"invalid_token","error":"Authentication failed","message":"Authentication failed","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn somebody_in_an_enabled_guild_starts_and_stops_a_worker() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    owner
        .put("enabled-guilds", &json!({ "guilds": [{ "guild_id": "77" }] }))
        .await;
    let command = |action: &str, guild: &str| {
        let body = json!({
            "agentId": owner.agent.id, "applicationId": owner.application.id.to_string(),
            "publicKey": owner.application.public_key, "ownKey": false, "guildId": guild, "action": action,
        });
        let request = stack.post(&format!("{MANAGE}/activations")).json(&body);
        request.bearer(stack.service_token())
    };

    let elsewhere = command("activate", "78").await;
    let activated = command("activate", "77").await;
    owner.becomes("active").await;
    let again = command("activate", "77").await;
    let deactivated = command("deactivate", "77").await;
    let unproven = stack.post(&format!("{MANAGE}/activations")).json(&json!({})).await;

    assert_snapshot!(elsewhere, @r#"
    404 Not Found
    {"code":"agent_not_found","error":"Agent not found","message":"Agent not found","request_id":"[request id]"}
    "#);
    assert_eq!(
        (&activated.json()["outcome"], &activated.json()["agentName"]),
        (&json!("begun"), &json!("Atlas"))
    );
    assert_snapshot!(again, @r#"
    200 OK
    {"inactivityTimeoutMinutes":10,"outcome":"unchanged","status":"active"}
    "#);
    assert_snapshot!(deactivated, @r#"
    200 OK
    {"inactivityTimeoutMinutes":null,"outcome":"begun","status":"inactive"}
    "#);
    assert_eq!(unproven.status(), 401);
}

#[tokio::test]
async fn without_a_manager_nothing_starts_and_the_status_says_so() {
    let stack = Stack::beside_shared(agentopia_tests::StackOptions::default().set("worker_manager_token", "")).await;
    let owner = Owner::connected(&stack).await;

    let started = owner.command("start").await;
    let status = owner.command("status").await;

    assert_snapshot!(started, @r#"
    503 Service Unavailable
    retry-after: 60
    {"code":"worker_manager_unconfigured","error":"This deployment has no worker manager. Its operator has to set one up.","message":"This deployment has no worker manager. Its operator has to set one up.","request_id":"[request id]"}
    "#);
    assert_eq!(status.json()["degraded"], json!(["worker_manager"]));
    assert_eq!(status.json()["details"], Value::Null);
    assert_eq!(owner.status().await, "inactive");
}

#[tokio::test]
async fn a_restart_is_another_worker_and_the_one_before_is_not_heard_any_more() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    owner.command("start").await;
    owner.becomes("active").await;
    let before = stack.worker_manager().worker(owner.agent.id).unwrap();

    let restarted = owner.command("restart").await;
    owner.becomes("active").await;

    assert_snapshot!(restarted.field("message"), @"Worker restart request sent successfully.");
    let after = stack.worker_manager().worker(owner.agent.id).unwrap();
    assert_ne!(before.lease_id, after.lease_id);
    let body = json!({ "leaseId": before.lease_id, "status": "error" });
    let late = stack
        .post(&format!("{MANAGE}/report"))
        .bearer(&before.worker_token)
        .json(&body)
        .await;
    assert_eq!(late.field("code"), "invalid_token");
    assert_eq!(owner.status().await, "active");
}

#[tokio::test]
async fn administrators_stop_anybodys_worker() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    owner.command("start").await;
    owner.becomes("active").await;
    let admin = stack.user().await;
    let grant = "INSERT INTO public.user_roles (user_id, role_id) SELECT $1, id FROM public.roles WHERE name = 'admin'";
    assert_eq!(stack.db().execute(grant, &[&admin.id]).await, 1);

    let path = format!("{MANAGE}/agents/{}/force-stop", owner.agent.id);
    let stopped = stack.post(&path).bearer(&admin.token).await;

    assert_snapshot!(stopped.field("message"), @"Worker stop request sent successfully.");
    assert_eq!(stopped.json().get("connection"), None);
    assert_eq!(owner.status().await, "inactive");
    assert_eq!(owner.connection().await["desired_status"], "inactive");
}

#[tokio::test]
async fn what_runs_and_nobody_wants_is_stopped() {
    let stack = Stack::shared().await;
    let (owner, other) = (Owner::connected(stack).await, Owner::connected(stack).await);
    for owner in [&owner, &other] {
        owner.command("start").await;
        owner.becomes("active").await;
    }
    stack.worker_manager().silence(owner.agent.id);
    let forget = "UPDATE public.agent_discord_connections SET worker_status = 'inactive', desired_status = 'inactive',
        worker_token_hash = NULL, worker_lease_id = NULL, worker_lease_expires_at = NULL WHERE agent_id = $1";
    stack.db().execute(forget, &[&owner.agent.id]).await;
    let drop = "DELETE FROM app.jobs WHERE kind = 'discord_worker' AND key = $1::text";
    stack.db().execute(drop, &[&owner.agent.id.to_string()]).await;

    owner.sweep().await;

    owner.ends().await;
    assert!(other.runs());
    assert_eq!(stack.worker_manager().complaints(), Vec::<String>::new());
    assert_eq!(stack.discord().complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_new_token_restarts_a_worker_whose_token_discord_refused() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    stack.worker_manager().set_login(owner.agent.id, Login::Unauthorized);
    owner.command("start").await;
    owner.becomes("unauthorized").await;
    stack.worker_manager().set_login(owner.agent.id, Login::Succeeds);
    let bot = stack.discord().create_bot(&owner.application).unwrap();

    let replaced = owner.put("bot-token", &json!({ "bot_token": bot.token })).await;

    assert_eq!(replaced.status(), 200, "{replaced}");
    owner.becomes("active").await;
    assert_eq!((owner.worker().bot_token, owner.starts()), (bot.token, 2));
}

#[tokio::test]
async fn a_worker_that_is_just_starting_is_not_restarted() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    stack.worker_manager().set_login(owner.agent.id, Login::Hangs);
    owner.command("start").await;
    let lease = owner.worker().lease_id;

    let refused = owner.command("restart").await;

    assert_snapshot!(refused, @r#"
    409 Conflict
    retry-after: 5
    {"code":"worker_starting","error":"The worker is just starting. Please try again.","message":"The worker is just starting. Please try again.","request_id":"[request id]"}
    "#);
    assert_eq!((owner.worker().lease_id, owner.starts()), (lease, 1));
    assert_eq!(owner.status().await, "activating");
}

#[tokio::test]
async fn what_a_manager_says_of_a_worker_is_cut_to_what_is_harmless() {
    let stack = Stack::shared().await;
    let owner = Owner::active(stack).await;

    let status = owner.command("status").await;

    let (worker, json) = (owner.worker(), status.json());
    let names: Vec<_> = json["details"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["agentId", "connectionDbId", "cpu", "memory", "name", "status"]);
    assert_eq!(json["details"]["agentId"], owner.agent.id.to_string());
    for secret in [worker.bot_token, worker.worker_token] {
        assert!(!status.text().contains(&secret), "{status}");
    }
}

#[tokio::test]
async fn a_stop_that_is_repeated_spares_the_worker_that_was_started_since() {
    let stack = Stack::shared().await;
    let owner = Owner::active(stack).await;
    let manager = stack.worker_manager();
    // It is stopped, says so, and the manager does not.
    manager.fail(owner.agent.id, Call::Stop, Fault::DoneAndFailed, 1);

    let start_anew = async {
        owner.becomes("inactive").await;
        owner.command("start").await
    };
    let (stopped, started) = tokio::join!(owner.command("stop"), start_anew);

    assert_eq!((stopped.status().as_u16(), started.status().as_u16()), (200, 200));
    assert_eq!(stopped.json()["details"], Value::Null);
    owner.becomes("active").await;
    assert!(owner.runs());
    assert_eq!(owner.starts(), 2);
}

#[tokio::test]
async fn a_start_is_not_repeated_once_its_worker_is_stopped() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    let manager = stack.worker_manager();
    manager.set_login(owner.agent.id, Login::Hangs);
    // The start waits to ask again, and somebody stops the worker meanwhile.
    manager.fail(
        owner.agent.id,
        Call::Start,
        Fault::RateLimited(Some(Duration::from_secs(2))),
        1,
    );

    let stop_meanwhile = async {
        eventually("the manager is asked", Duration::from_secs(10), async || {
            owner.starts() == 1
        })
        .await;
        owner.command("stop").await
    };
    let (started, stopped) = tokio::join!(owner.command("start"), stop_meanwhile);

    assert_eq!(stopped.field("status"), "inactive");
    assert_eq!(started.status(), 502, "{started}");
    assert_eq!((owner.status().await.as_str(), owner.starts()), ("inactive", 1));
    assert!(!owner.runs());
}

#[tokio::test]
async fn a_sweep_looks_at_all_that_is_due() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;
    let due = "INSERT INTO app.jobs (kind, key)
        SELECT 'discord_worker', gen_random_uuid()::text FROM generate_series(1, 45) RETURNING key";
    let count = "SELECT count(*) FROM app.jobs WHERE kind = 'discord_worker' AND outcome IS NULL AND key = ANY ($1)";
    let keys: Vec<String> = stack.db().column(due, &[]).await;

    owner.sweep().await;

    // Another test's sweep may be at some of them.
    eventually("all are done", Duration::from_secs(5), async || {
        stack.db().scalar::<i64>(count, &[&keys]).await == 0
    })
    .await;
}
