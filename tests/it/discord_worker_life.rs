//! `manage-discord-worker`: the life of a worker, from what its owner asks and what it reports itself.

use std::collections::BTreeMap;
use std::time::Duration;

use agentopia_stack::worlds::worker_manager::{Login, ProcessStatus};
use agentopia_tests::{DEADLINE, Request, Stack, StackOptions, eventually};
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::chat_support::CHAT;
use crate::discord_workers_support::{MANAGE, Owner};

/// Ids of Discord's, of nobody's guilds.
const GUILD: &str = "677000000000000001";
const OTHER_GUILD: &str = "677000000000000002";
const NO_GUILD: &str = "677000000000000003";
const CHANNEL: &str = "677000000000000004";
const OTHER_CHANNEL: &str = "677000000000000005";
const AUTHOR: &str = "677000000000000006";

/// What a worker reports, and by which token.
fn report(owner: &Owner<'_>, token: &str, body: &Value) -> Request {
    owner.stack.post(&format!("{MANAGE}/report")).bearer(token).json(body)
}

/// What a worker brings to `chat`.
fn question(owner: &Owner<'_>, guild: &str, channel: &str) -> Value {
    json!({
        "agentId": owner.agent.id, "message": "Hello", "authorId": AUTHOR, "channelId": channel, "guildId": guild,
    })
}

/// A worker that runs, and whose reports are a test's own.
async fn silent(stack: &Stack) -> Owner<'_> {
    let owner = Owner::active(stack).await;
    stack.worker_manager().silence(owner.agent.id);
    owner
}

#[tokio::test]
async fn a_worker_starts_answers_where_it_may_and_stops() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;
    let instructions =
        "UPDATE public.agents SET system_instructions = 'Be Atlas.', assistant_instructions = 'Be brief.'
                        WHERE id = $1";
    stack.db().execute(instructions, &[&owner.agent.id]).await;
    let body = json!({ "bot_token": owner.bot.token, "inactivity_timeout_minutes": 25 });
    owner.put("connection", &body).await;
    let guilds =
        json!({ "guilds": [{ "guild_id": GUILD, "allowed_channel_ids": [CHANNEL] }, { "guild_id": OTHER_GUILD }] });
    owner.put("enabled-guilds", &guilds).await;
    let manager = stack.worker_manager();

    let started = owner.command("start").await;
    owner.becomes("active").await;
    let connection = owner.connection().await;
    let worker = owner.worker();
    let answer = manager
        .say(owner.agent.id, GUILD, CHANNEL, AUTHOR, "Hello")
        .await
        .unwrap();
    let wrong_channel = manager
        .say(owner.agent.id, GUILD, OTHER_CHANNEL, AUTHOR, "Hello")
        .await
        .unwrap();
    let wrong_guild = manager
        .say(owner.agent.id, NO_GUILD, CHANNEL, AUTHOR, "Hello")
        .await
        .unwrap();
    let stopped = owner.command("stop").await;
    let late = stack
        .post(CHAT)
        .bearer(&worker.worker_token)
        .json(&question(&owner, GUILD, CHANNEL))
        .await;

    assert_eq!(started.field("message"), "Worker start request sent successfully.");
    assert!(
        ["activating", "active"].contains(&started.field("status").as_str()),
        "{started}"
    );
    assert_eq!(worker.connection_id.to_string(), connection["id"]);
    assert_eq!(
        (worker.agent_name.as_str(), worker.inactivity_timeout_minutes),
        ("Atlas", 25)
    );
    assert_eq!(worker.system_prompt.as_deref(), Some("Be Atlas."));
    assert_eq!(worker.agent_instructions.as_deref(), Some("Be brief."));
    assert_eq!(worker.functions_url, format!("{}/functions/v1", stack.url()));
    assert_eq!((&worker.bot_token, worker.is_logged_in), (&owner.bot.token, true));
    for (field, value) in [("desired_status", "active"), ("worker_status", "active")] {
        assert_eq!(connection[field], value, "{field}");
    }
    assert_eq!(connection["worker_error_code"], Value::Null);
    assert!(connection["worker_reported_at"].is_string() && connection["worker_report"].is_object());

    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.reply().unwrap().contains("Hello"), "{answer:?}");
    for refused in [wrong_channel, wrong_guild] {
        assert_eq!((refused.status, refused.code()), (403, Some("not_allowed_here")));
    }

    assert_snapshot!(stopped.field("message"), @"Worker stop request sent successfully.");
    assert_eq!(stopped.field("status"), "inactive");
    assert_eq!(stopped.json()["connection"]["desired_status"], "inactive");
    assert_eq!(owner.worker().status, ProcessStatus::Stopped);
    assert_snapshot!(late, @r#"
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"invalid_token","error":"Authentication failed","message":"Authentication failed","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn what_is_done_already_is_not_done_again() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    let shown = |answer: &agentopia_tests::Response| {
        let json = answer.json();
        format!("{} {} {}", answer.status().as_u16(), json["message"], json["details"])
    };

    let nothing_to_stop = owner.command("stop").await;
    let started = owner.command("restart").await;
    owner.becomes("active").await;
    let nothing_to_start = owner.command("start").await;

    assert_snapshot!(shown(&nothing_to_stop), @r#"200 "Nothing to stop. Worker status: not active." null"#);
    assert_snapshot!(started.field("message"), @"Worker restart request sent successfully.");
    assert_snapshot!(shown(&nothing_to_start), @r#"200 "Nothing to start. Worker status: active." null"#);
    assert_eq!(owner.starts(), 1);
}

#[tokio::test]
async fn a_status_is_what_is_recorded_and_what_the_manager_says() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;

    let unconnected = owner.command("status").await;
    owner.connect().await;
    let connected = owner.command("status").await;
    owner.command("start").await;
    owner.becomes("active").await;
    let active = owner.command("status").await;

    assert_snapshot!(unconnected, @r#"
    200 OK
    {"degraded":[],"details":null,"message":"Worker status: not active.","status":"inactive"}
    "#);
    let shown = |answer: &agentopia_tests::Response| {
        let json = answer.json();
        (
            json["message"].clone(),
            json["status"].clone(),
            json["details"]["status"].clone(),
            json["degraded"].clone(),
        )
    };
    let none = json!([]);
    assert_eq!(
        shown(&connected),
        (
            json!("Worker status: not active."),
            json!("inactive"),
            Value::Null,
            none.clone()
        )
    );
    assert_eq!(
        shown(&active),
        (json!("Worker status: active."), json!("active"), json!("online"), none)
    );
    assert_eq!(active.json()["details"]["agentId"], owner.agent.id.to_string());
}

#[tokio::test]
async fn a_command_is_one_of_four_about_an_agent() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    let agent = owner.agent.id;
    let post = |body: Value| stack.post(MANAGE).bearer(&owner.user.token).json(&body);

    assert_snapshot!(post(json!({ "action": "start" })).await, @r#"
    400 Bad Request
    {"code":"missing_field","error":"agentId is required.","field":"agentId","message":"agentId is required.","request_id":"[request id]"}
    "#);
    assert_snapshot!(post(json!({ "agentId": "atlas", "action": "start" })).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"agentId is not a UUID.","field":"agentId","message":"agentId is not a UUID.","request_id":"[request id]"}
    "#);
    assert_snapshot!(post(json!({ "agentId": agent })).await, @r#"
    400 Bad Request
    {"code":"missing_field","error":"action is required.","field":"action","message":"action is required.","request_id":"[request id]"}
    "#);
    assert_snapshot!(post(json!({ "agentId": agent, "action": "pause" })).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"action must be one of start, stop, restart and status.","field":"action","message":"action must be one of start, stop, restart and status.","request_id":"[request id]"}
    "#);
    assert_snapshot!(post(json!([])).await, @r#"
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: a list, expected an object","message":"Invalid JSON payload: a list, expected an object","request_id":"[request id]"}
    "#);
    let large = post(json!({ "agentId": agent, "action": "start", "guildId": "1".repeat(5000) })).await;
    assert_snapshot!(large, @r#"
    413 Payload Too Large
    {"code":"body_too_large","error":"The body is larger than 4096 bytes.","message":"The body is larger than 4096 bytes.","request_id":"[request id]"}
    "#);
    let cut = stack
        .post(MANAGE)
        .bearer(&owner.user.token)
        .header("content-type", "application/json");
    assert_snapshot!(cut.body(r#"{"agentId""#).await, @r#"
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: EOF while parsing an object at line 1 column 10","message":"Invalid JSON payload: EOF while parsing an object at line 1 column 10","request_id":"[request id]"}
    "#);
    assert_eq!(owner.starts(), 0);
}

#[tokio::test]
async fn a_worker_that_ends_for_want_of_questions_is_not_wanted_until_it_is_started() {
    let stack = Stack::shared().await;
    let owner = Owner::active(stack).await;

    stack.worker_manager().idle_out(owner.agent.id);
    owner.becomes("inactive").await;
    let connection = owner.connection().await;
    owner.sweep_later(3600.0).await;
    owner.until_done().await;
    let starts = owner.starts();
    owner.command("start").await;
    owner.becomes("active").await;

    assert_eq!((&connection["desired_status"], starts), (&json!("inactive"), 1));
    assert_eq!(owner.connection().await["desired_status"], "active");
}

#[tokio::test]
async fn a_login_that_fails_is_the_owners_to_mend() {
    let stack = Stack::shared().await;
    for (login, status, expected) in [
        (
            Login::Unauthorized,
            "unauthorized",
            ("unauthorized", "Authentication failed."),
        ),
        (
            Login::BadIntents,
            "bad_intents",
            ("bad_intents", "Disallowed intent(s)."),
        ),
        (
            Login::Fails,
            "error",
            ("login_failed", "The gateway closed the connection."),
        ),
    ] {
        let owner = Owner::connected(stack).await;
        stack.worker_manager().set_login(owner.agent.id, login);

        let started = owner.command("start").await;
        owner.becomes(status).await;
        let connection = owner.connection().await;
        owner.sweep_later(3600.0).await;
        owner.until_done().await;

        assert_eq!(started.status(), 200, "{status}: {started}");
        assert_eq!(connection["desired_status"], "active", "{status}");
        let (code, message) = (&connection["worker_error_code"], &connection["worker_error_message"]);
        assert_eq!((code.as_str(), message.as_str()), (Some(expected.0), Some(expected.1)));
        assert_eq!(
            (owner.status().await.as_str(), owner.starts()),
            (status, 1),
            "it is left as it is"
        );

        stack.worker_manager().set_login(owner.agent.id, Login::Succeeds);
        owner.command("start").await;
        owner.becomes("active").await;
        assert_eq!(owner.connection().await["worker_error_code"], Value::Null, "{status}");
    }
}

#[tokio::test]
async fn a_worker_that_does_not_log_in_has_its_time_and_no_more() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    stack.worker_manager().set_login(owner.agent.id, Login::Hangs);

    let started = owner.command("start").await;
    owner.sweep().await;
    let early = owner.status().await;
    let worker = owner.worker();
    owner.sweep_later(3600.0).await;
    owner.becomes("error").await;
    owner.ends().await;
    let late = json!({ "leaseId": worker.lease_id, "status": "active" });
    let late = report(&owner, &worker.worker_token, &late).await;
    owner.sweep_later(3600.0).await;
    owner.until_done().await;

    assert_eq!(
        (started.field("status").as_str(), early.as_str()),
        ("activating", "activating")
    );
    let connection = owner.connection().await;
    assert_eq!(connection["worker_error_code"], "start_timed_out");
    assert_snapshot!(connection["worker_error_message"], @r#""The worker was started, and did not say in time that it is logged in.""#);
    assert_eq!(late.field("code"), "invalid_token");
    assert_eq!(
        owner.starts(),
        1,
        "what does not come up would not come up the next time"
    );
}

#[tokio::test]
async fn a_worker_that_crashes_is_restarted_after_a_pause_and_not_for_ever() {
    let stack = Stack::shared().await;
    let owner = Owner::active(stack).await;
    let manager = stack.worker_manager();

    manager.crash(owner.agent.id);
    owner.becomes("error").await;
    owner.sweep().await;
    owner.until_done().await;
    let crashed = owner.connection().await;
    assert_eq!(owner.starts(), 1, "not at once");
    assert_eq!(crashed["worker_error_code"], "worker_crashed");
    assert_snapshot!(crashed["worker_error_message"], @r#""Uncaught exception: it was asked to crash.""#);

    // How long it is left alone before each of its restarts.
    for (restarts, pause) in [(1, 10.0), (2, 60.0), (3, 300.0)] {
        owner.sweep_later(pause - 5.0).await;
        owner.until_done().await;
        assert_eq!(owner.starts(), restarts, "too early");
        owner.sweep_later(6.0).await;
        owner.becomes("active").await;
        assert_eq!(owner.starts(), restarts + 1);
        manager.crash(owner.agent.id);
        owner.becomes("error").await;
    }
    owner.sweep_later(86_400.0).await;
    owner.until_done().await;
    assert_eq!(
        (owner.status().await.as_str(), owner.starts()),
        ("error", 4),
        "it is given up"
    );

    owner.command("start").await;
    owner.becomes("active").await;
    manager.crash(owner.agent.id);
    owner.becomes("error").await;
    owner.sweep_later(11.0).await;
    owner.becomes("active").await;
    assert_eq!(
        owner.starts(),
        6,
        "who is started by his owner has all his restarts again"
    );
}

#[tokio::test]
async fn a_worker_is_started_only_so_often_a_day() {
    let stack = Stack::beside_shared(StackOptions::default().set("worker_starts_per_day", 2)).await;
    let owner = Owner::active(&stack).await;
    owner.command("stop").await;
    owner.command("start").await;
    owner.becomes("active").await;

    let refused = owner.command("restart").await;
    let status = owner.status().await;
    let long_ago = "UPDATE app.discord_starts SET since = now() - interval '25 hours' WHERE application_id = $1";
    let application = owner.application.id.to_string();
    assert_eq!(stack.db().execute(long_ago, &[&application]).await, 1);
    let restarted = owner.command("restart").await;

    assert_eq!(
        (refused.status().as_u16(), refused.field("code").as_str()),
        (429, "start_limit_reached")
    );
    assert_snapshot!(refused.field("message"), @"This worker was started too often today.");
    let pause: u32 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((86_000..=86_400).contains(&pause), "{pause}");
    assert_eq!(status, "active", "the one that runs stays");
    assert_eq!(restarted.status(), 200, "{restarted}");
}

#[tokio::test]
async fn an_agent_that_is_switched_off_is_not_started() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    let switch = "UPDATE public.agents SET active = $2 WHERE id = $1";
    let switch_bot = "UPDATE public.agent_discord_connections SET is_enabled = $2 WHERE agent_id = $1";

    stack.db().execute(switch, &[&owner.agent.id, &false]).await;
    let agent_off = owner.command("start").await;
    stack.db().execute(switch, &[&owner.agent.id, &true]).await;
    stack.db().execute(switch_bot, &[&owner.agent.id, &false]).await;
    let bot_off = owner.command("start").await;
    stack.db().execute(switch_bot, &[&owner.agent.id, &true]).await;
    owner.request(Method::DELETE, "bot-token").await;
    let no_token = owner.command("start").await;

    assert_snapshot!(agent_off, @r#"
    409 Conflict
    {"code":"agent_inactive","error":"This agent is not active.","message":"This agent is not active.","request_id":"[request id]"}
    "#);
    assert_snapshot!(bot_off, @r#"
    409 Conflict
    {"code":"connection_disabled","error":"The connection of this agent to Discord is switched off.","message":"The connection of this agent to Discord is switched off.","request_id":"[request id]"}
    "#);
    assert_snapshot!(no_token, @r#"
    400 Bad Request
    {"code":"bot_token_missing","error":"Agent is missing Discord Bot Key.","message":"Agent is missing Discord Bot Key.","request_id":"[request id]"}
    "#);
    assert_eq!((owner.status().await.as_str(), owner.starts()), ("inactive", 0));
}

#[tokio::test]
async fn a_worker_whose_bot_is_switched_off_is_told_to_stop() {
    let stack = Stack::shared().await;
    let owner = Owner::active(stack).await;
    let switch = "UPDATE public.agent_discord_connections SET is_enabled = false WHERE agent_id = $1";

    stack.db().execute(switch, &[&owner.agent.id]).await;

    owner.becomes("inactive").await;
    owner.ends().await;
}

#[tokio::test]
async fn a_report_is_one_of_a_worker_and_bounded() {
    let stack = Stack::shared().await;
    let owner = silent(stack).await;
    let worker = owner.worker();
    let with = |field: &str, value: Value| {
        let mut body = json!({ "leaseId": worker.lease_id, "status": "active" });
        body[field] = value;
        report(&owner, &worker.worker_token, &body)
    };

    assert_snapshot!(with("leaseId", Value::Null).await, @r#"
    400 Bad Request
    {"code":"missing_field","error":"leaseId is required.","field":"leaseId","message":"leaseId is required.","request_id":"[request id]"}
    "#);
    assert_snapshot!(with("leaseId", json!("1")).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"leaseId is not a UUID.","field":"leaseId","message":"leaseId is not a UUID.","request_id":"[request id]"}
    "#);
    assert_snapshot!(with("status", Value::Null).await, @r#"
    400 Bad Request
    {"code":"missing_field","error":"status is required.","field":"status","message":"status is required.","request_id":"[request id]"}
    "#);
    assert_snapshot!(with("status", json!("online")).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"status is not the status of a worker.","field":"status","message":"status is not the status of a worker.","request_id":"[request id]"}
    "#);
    assert_snapshot!(with("status", json!("connecting")).await, @r#"
    409 Conflict
    {"code":"status_refused","error":"A worker that is active cannot become activating.","message":"A worker that is active cannot become activating.","request_id":"[request id]"}
    "#);
    assert_snapshot!(with("errorCode", json!("a b")).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"errorCode must be 1 to 100 letters, digits and _.","field":"errorCode","message":"errorCode must be 1 to 100 letters, digits and _.","request_id":"[request id]"}
    "#);
    assert_snapshot!(with("report", json!("fine")).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"report must be an object.","field":"report","message":"report must be an object.","request_id":"[request id]"}
    "#);
    assert_snapshot!(with("report", json!({ "a": "x".repeat(5000) })).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"report must be at most 4096 bytes.","field":"report","message":"report must be at most 4096 bytes.","request_id":"[request id]"}
    "#);
    assert_snapshot!(with("report", json!({ "a": "x".repeat(20_000) })).await, @r#"
    413 Payload Too Large
    {"code":"body_too_large","error":"The body is larger than 16384 bytes.","message":"The body is larger than 16384 bytes.","request_id":"[request id]"}
    "#);
    let unproven = stack
        .post(&format!("{MANAGE}/report"))
        .json(&json!({ "status": "active" }))
        .await;
    assert_snapshot!(unproven, @r#"
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"missing_token","error":"Missing or invalid authorization header","message":"Missing or invalid authorization header","request_id":"[request id]"}
    "#);
    assert_eq!(owner.status().await, "active");
}

#[tokio::test]
async fn a_report_says_why_a_worker_failed_as_far_as_there_is_room() {
    let stack = Stack::shared().await;
    let owner = silent(stack).await;
    let worker = owner.worker();

    let body = json!({
        "leaseId": worker.lease_id, "status": "error", "errorCode": "shard_lost",
        "errorMessage": format!("The\u{0}\n shard {}", "x".repeat(5000)), "report": { "shards": 1 },
    });
    let told = report(&owner, &worker.worker_token, &body).await;
    let again = report(&owner, &worker.worker_token, &body).await;

    assert_snapshot!(told, @r#"
    200 OK
    {"guilds":[],"inactivity_timeout_minutes":10,"lease_seconds":180,"should_stop":true,"status":"error"}
    "#);
    assert_eq!(again.field("code"), "invalid_token", "it has ended");
    let connection = owner.connection().await;
    assert_eq!(
        (&connection["worker_status"], &connection["worker_error_code"]),
        (&json!("error"), &json!("shard_lost"))
    );
    let message = connection["worker_error_message"].as_str().unwrap();
    assert!(
        message.starts_with("The shard xxx") && message.len() == 1000,
        "{message}"
    );
    assert_eq!(connection["worker_report"], json!({ "shards": 1 }));
}

#[tokio::test]
async fn a_worker_may_say_that_it_ends() {
    let stack = Stack::shared().await;
    let owner = silent(stack).await;
    let worker = owner.worker();
    let say = |status: &str| {
        let body = json!({ "leaseId": worker.lease_id, "status": status, "errorCode": "idle" });
        report(&owner, &worker.worker_token, &body)
    };

    let ending = say("terminating").await;
    let back = say("active").await;
    let question = stack
        .post(CHAT)
        .bearer(&worker.worker_token)
        .json(&question(&owner, GUILD, CHANNEL))
        .await;
    let ended = say("inactive").await;

    assert_snapshot!(ending, @r#"
    200 OK
    {"guilds":[],"inactivity_timeout_minutes":10,"lease_seconds":180,"should_stop":true,"status":"stopping"}
    "#);
    assert_eq!(back.json(), ending.json(), "what is stopping does not come back");
    assert_eq!(
        (question.status().as_u16(), question.field("code").as_str()),
        (401, "invalid_token")
    );
    assert_snapshot!(ended, @r#"
    200 OK
    {"guilds":[],"inactivity_timeout_minutes":10,"lease_seconds":180,"should_stop":true,"status":"inactive"}
    "#);
    assert_eq!(owner.connection().await["desired_status"], "inactive");
}

/// Its machine is restarted, and it ends in good order.
#[tokio::test]
async fn a_worker_that_ends_though_it_is_wanted_is_started_again() {
    let stack = Stack::shared().await;
    let owner = silent(stack).await;
    let worker = owner.worker();

    let body = json!({ "leaseId": worker.lease_id, "status": "inactive" });
    let told = report(&owner, &worker.worker_token, &body).await;
    let ended = owner.connection().await;
    stack.worker_manager().kill(owner.agent.id);
    stack.worker_manager().speak(owner.agent.id);
    owner.sweep_later(11.0).await;
    owner.becomes("active").await;

    assert_eq!(
        (told.field("status").as_str(), &told.json()["should_stop"]),
        ("error", &json!(true))
    );
    assert_eq!(
        (&ended["worker_error_code"], &ended["desired_status"]),
        (&json!("worker_crashed"), &json!("active"))
    );
    assert_eq!(owner.starts(), 2);
}

#[tokio::test]
async fn what_its_owner_changes_reaches_a_worker_with_its_next_report() {
    let stack = Stack::shared().await;
    let owner = Owner::active(stack).await;
    let guild = |rest: Value| {
        let mut guild = json!({ "guild_id": GUILD });
        guild.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        json!({ "guilds": [guild] })
    };
    let becomes = async |what: &str, expected: BTreeMap<String, Option<Vec<String>>>| {
        eventually(what, DEADLINE, async || owner.worker().guilds == expected).await;
    };
    let only = |channels| BTreeMap::from([(GUILD.to_owned(), channels)]);

    owner.put("enabled-guilds", &guild(json!({}))).await;
    becomes("all channels", only(None)).await;
    owner
        .put(
            "enabled-guilds",
            &guild(json!({ "allowed_channel_ids": [CHANNEL, OTHER_CHANNEL] })),
        )
        .await;
    becomes(
        "two channels",
        only(Some(vec![CHANNEL.to_owned(), OTHER_CHANNEL.to_owned()])),
    )
    .await;
    owner
        .put("enabled-guilds", &guild(json!({ "is_enabled": false })))
        .await;
    becomes("no guild", BTreeMap::new()).await;
    let refused = stack
        .worker_manager()
        .say(owner.agent.id, GUILD, CHANNEL, AUTHOR, "Hello")
        .await
        .unwrap();
    let id = owner.application.id.to_string();
    let timeout = json!({
        "application_id": id, "public_key": owner.application.public_key, "inactivity_timeout_minutes": 3,
    });
    owner.put("connection", &timeout).await;

    assert_eq!((refused.status, refused.code()), (403, Some("not_allowed_here")));
    eventually("the timeout", DEADLINE, async || {
        owner.worker().inactivity_timeout_minutes == 3
    })
    .await;
    assert_eq!(owner.status().await, "active", "it was not disturbed");
}

#[tokio::test]
async fn a_workers_token_is_its_agents_and_good_while_it_is_heard_of() {
    let stack = Stack::shared().await;
    let owner = silent(stack).await;
    owner
        .put("enabled-guilds", &json!({ "guilds": [{ "guild_id": GUILD }] }))
        .await;
    let token = owner.worker().worker_token;
    let other = owner.user.agent("Other").await;
    let ask = |agent: uuid::Uuid| {
        let mut body = question(&owner, GUILD, CHANNEL);
        body["agentId"] = json!(agent);
        stack.post(CHAT).bearer(&token).json(&body)
    };

    let answered = ask(owner.agent.id).await;
    let others = ask(other.id).await;
    let overdue = "UPDATE public.agent_discord_connections SET worker_lease_expires_at = now() - interval '1 second'
                   WHERE agent_id = $1 AND guild_id IS NULL";
    stack.db().execute(overdue, &[&owner.agent.id]).await;
    let late = ask(owner.agent.id).await;

    assert_eq!(answered.status(), 200, "{answered}");
    assert_snapshot!(others, @r#"
    404 Not Found
    {"code":"agent_not_found","error":"Target agent not found","message":"Target agent not found","request_id":"[request id]"}
    "#);
    assert_snapshot!(late, @r#"
    401 Unauthorized
    www-authenticate: Bearer
    {"code":"invalid_token","error":"Authentication failed","message":"Authentication failed","request_id":"[request id]"}
    "#);
}

/// What is heard of no more is stopped by the sweep alone.
#[tokio::test]
async fn a_worker_is_stopped_whose_bot_is_taken_away() {
    let stack = Stack::shared().await;
    for what in ["application", "agent", "owner"] {
        let owner = silent(stack).await;
        let other = stack.discord().create_application().unwrap();

        match what {
            "application" => {
                let body = json!({ "application_id": other.id.to_string(), "public_key": other.public_key });
                let put = owner.put("connection", &body).await;
                let connection = &put.json()["connection"];
                assert_eq!(connection["has_bot_token"], false, "{put}");
                assert_eq!(
                    (&connection["worker_status"], &connection["desired_status"]),
                    (&json!("stopping"), &json!("inactive"))
                );
            }
            "agent" => {
                let delete = "DELETE FROM public.agents WHERE id = $1";
                assert_eq!(stack.db().execute(delete, &[&owner.agent.id]).await, 1);
            }
            _ => {
                let delete = "DELETE FROM auth.users WHERE id = $1";
                assert_eq!(stack.db().execute(delete, &[&owner.user.id]).await, 1);
            }
        }
        owner.sweep().await;

        owner.ends().await;
        if what == "application" {
            owner.becomes("inactive").await;
        }
        owner.until_done().await;
        assert_eq!(owner.starts(), 1, "{what}");
    }
}

#[tokio::test]
async fn another_application_with_its_token_is_started_when_the_worker_of_the_one_before_has_ended() {
    let stack = Stack::shared().await;
    let owner = silent(stack).await;
    let application = stack.discord().create_application().unwrap();
    let bot = stack.discord().create_bot(&application).unwrap();

    let put = owner.put("connection", &json!({ "bot_token": bot.token })).await;
    let early = owner.command("start").await;
    owner.sweep().await;
    owner.becomes("inactive").await;
    stack.worker_manager().speak(owner.agent.id);
    let started = owner.command("start").await;
    owner.becomes("active").await;

    let connection = &put.json()["connection"];
    assert_eq!(connection["application_id"], application.id.to_string());
    assert_eq!(
        (&connection["has_bot_token"], &connection["worker_status"]),
        (&json!(true), &json!("stopping"))
    );
    assert_eq!(
        (early.status().as_u16(), early.field("code").as_str()),
        (409, "worker_stopping")
    );
    assert!(early.header("retry-after").is_some(), "{early}");
    assert_eq!(started.status(), 200, "{started}");
    assert_eq!(owner.worker().bot_token, bot.token);
}

#[tokio::test]
async fn a_worker_that_is_killed_is_missed_and_started_again() {
    let stack = Stack::shared().await;
    let owner = Owner::active(stack).await;

    stack.worker_manager().kill(owner.agent.id);
    owner.sweep().await;
    let unnoticed = owner.status().await;
    owner.sweep_later(3600.0).await;
    owner.becomes("error").await;
    let missed = owner.connection().await;
    owner.sweep_later(11.0).await;
    owner.becomes("active").await;

    assert_eq!(unnoticed, "active");
    assert_eq!(missed["worker_error_code"], "worker_silent");
    assert_snapshot!(missed["worker_error_message"], @r#""The worker was running, and is not heard of any more.""#);
    assert!(owner.runs());
    eventually("it is heard of", Duration::from_secs(10), async || {
        owner.worker().reports > 0
    })
    .await;
}
