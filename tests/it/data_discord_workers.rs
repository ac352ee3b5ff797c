//! What the operations of bots' workers guarantee, whoever calls.

use agentopia_domain::discord::worker::WorkerStatus;
use futures::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::data_database::{AGENT, TENANT, call, count, sign_up, texts, user};
use crate::data_discord_support::{
    APPLICATION, BOT, Bots, GUILD, SECOND_AGENT, bot, hash, key, names, of, service, start, stop, with,
};

/// How the tenant's worker is.
const WORKER: &str = "concat_ws(' ', desired_status, worker_status, worker_error_code, worker_error_message,
                                CASE WHEN worker_token_hash IS NOT NULL THEN 'token' END,
                                CASE WHEN worker_lease_id IS NOT NULL THEN 'lease' END,
                                CASE WHEN worker_lease_expires_at > clock_timestamp() THEN 'holds' END)";

/// What is wanted of the tenant's worker, and how it is.
const STATUSES: &str = "desired_status || ' ' || worker_status";

/// By what the service names the place of a command in the tenant's guild.
fn place(changes: &Value) -> Value {
    let place = json!({ "guild_id": GUILD, "application_id": APPLICATION, "public_key": key(), "own_key": false });
    with(place, changes)
}

/// Connects an agent of the tenant with the application of the tenant's bot and a new token.
async fn connect(bots: &Bots, agent: Uuid, fingerprint: u8) {
    let input = json!({
        "agent_id": agent, "application_id": APPLICATION, "public_key": key(), "inactivity_timeout_minutes": null,
        "bot": bot(fingerprint),
    });
    bots.ask("put_discord_connection", &input).await.unwrap();
}

/// The settlement of a start or a stop.
fn settlement(lease: &Value, error: Option<&str>) -> Value {
    json!({ "connection_id": BOT, "lease_id": lease, "error_code": error, "error_message": error.map(|_| "Told so.") })
}

#[tokio::test]
async fn a_start_is_written_before_anybody_is_asked_for_it() {
    let bots = Bots::new().await;

    let begun = bots.start(&json!({})).await.unwrap();

    insta::assert_snapshot!(names(&begun), @"agent application_id bot_token_sealed connection_id guild_ids inactivity_timeout_minutes lease_id outcome user_id");
    assert_eq!(
        (&begun["outcome"], &begun["user_id"], &begun["connection_id"]),
        (&json!("begun"), &json!(TENANT), &json!(BOT))
    );
    assert_eq!(
        (&begun["bot_token_sealed"], &begun["guild_ids"]),
        (&json!("canary-sealed-bot-token"), &json!([GUILD]))
    );
    assert_eq!(
        begun["agent"],
        json!({ "id": AGENT, "name": "Agent", "system_instructions": "Be brief.", "assistant_instructions": null })
    );
    assert_eq!(bots.bot(WORKER).await, "active activating token lease holds");
    assert_eq!(bots.jobs("discord_worker").await, ["open 1 later"]);
    let again = bots.start(&json!({ "token_hash": hash(2) })).await.unwrap();
    assert_eq!(
        (&again["outcome"], &again["status"]),
        (&json!("unchanged"), &json!("activating"))
    );
}

#[tokio::test]
async fn of_those_who_start_at_once_one_does() {
    let bots = Bots::new().await;
    let clients = bots.clients(8).await;
    let inputs: Vec<_> = (0..8)
        .map(|number| start(&json!({ "token_hash": hash(number) })))
        .collect();
    let caller = user(TENANT);

    let outcomes = join_all(
        clients
            .iter()
            .zip(&inputs)
            .map(|(client, input)| call(client, "begin_worker_start", &caller, input)),
    )
    .await;

    let begun: Vec<_> = outcomes
        .iter()
        .flatten()
        .filter(|outcome| outcome["outcome"] == "begun")
        .collect();
    assert_eq!((begun.len(), outcomes.iter().flatten().count()), (1, 8), "{outcomes:?}");
    assert_eq!(bots.bot("worker_lease_id").await, begun[0]["lease_id"]);
    assert_eq!(bots.starts(APPLICATION).await, "1");
    assert_eq!(bots.jobs("discord_worker").await, ["open 1 later"]);
}

#[tokio::test]
async fn what_cannot_start_is_refused_and_stays() {
    let mut refusals = Vec::new();
    for preparation in [
        "DELETE FROM public.agent_discord_connections",
        "UPDATE public.agent_discord_connections
         SET bot_token_sealed = NULL, bot_token_fingerprint = NULL, bot_token_key_id = NULL",
        "UPDATE public.agents SET active = false",
        "UPDATE public.agent_discord_connections SET is_enabled = false",
        "UPDATE public.agent_discord_connections SET worker_status = 'stopping'",
    ] {
        let bots = Bots::new().await;
        bots.run(preparation).await;
        refusals.push(bots.start(&json!({})).await.unwrap_err());

        assert_eq!(bots.jobs("discord_worker").await, Vec::<String>::new());
        let wanted = "SELECT count(*) FROM public.agent_discord_connections WHERE desired_status = 'active'";
        assert_eq!(count(&bots.owner, wanted, &[]).await, 0);
    }

    insta::assert_snapshot!(refusals.join("\n"), @r"
    PT400 connection_missing
    PT400 bot_token_missing
    PT409 agent_inactive
    PT409 connection_disabled
    PT409 worker_stopping
    ");
}

#[tokio::test]
async fn a_worker_is_commanded_by_its_owner_or_where_it_may_be_used() {
    let bots = Bots::new().await;
    let (_, copy) = bots.copycat().await;
    let stranger = sign_up(&bots.owner, "stranger@example.com").await;
    let not_found = Err("PT404 agent_not_found".to_owned());

    for (operation, input) in [
        ("begin_worker_start", start(&json!({}))),
        ("begin_worker_stop", stop(&json!({}))),
    ] {
        let refused = call(&bots.functions, operation, &user(stranger), &input).await;
        assert_eq!(refused, not_found, "{operation}");
        for changes in [
            json!({}),
            place(&json!({ "guild_id": "1" })),
            place(&json!({ "application_id": "1" })),
            place(&json!({ "public_key": "cd".repeat(32) })),
            place(&json!({ "agent_id": SECOND_AGENT })),
            // Whoever copies an application and its key has shown no token.
            place(&json!({ "agent_id": copy })),
        ] {
            let refused = bots.serve(operation, &with(input.clone(), &changes)).await;
            assert_eq!(refused, not_found, "{operation} {changes}");
        }
        let forced = call(
            &bots.functions,
            operation,
            &user(stranger),
            &with(input.clone(), &json!({ "force": true })),
        )
        .await;
        assert_eq!(forced, Err("PT403 admin_required".to_owned()), "{operation}");
    }
    assert_eq!(bots.bot(WORKER).await, "inactive inactive");

    let started = bots
        .serve("begin_worker_start", &start(&place(&json!({}))))
        .await
        .unwrap();
    assert_eq!(started["outcome"], "begun");
    bots.run(&format!(
        "INSERT INTO public.user_roles (user_id, role_id) SELECT '{stranger}', id FROM public.roles WHERE name = 'admin'"
    ))
    .await;
    let forced = call(
        &bots.functions,
        "begin_worker_stop",
        &user(stranger),
        &stop(&json!({ "force": true })),
    )
    .await
    .unwrap();
    assert_eq!(
        (&forced["outcome"], &forced["user_id"]),
        (&json!("begun"), &json!(TENANT))
    );
}

#[tokio::test]
async fn the_place_of_a_copy_counts_under_the_deployments_own_key_alone() {
    let bots = Bots::new().await;
    let (_, copy) = bots.copycat().await;
    let input = start(&place(&json!({ "agent_id": copy, "own_key": true })));

    let refused = bots.serve("begin_worker_start", &input).await;

    assert_eq!(refused, Err("PT400 bot_token_missing".to_owned()));
}

#[tokio::test]
async fn commands_of_users_have_a_limit_if_they_bring_one() {
    let bots = Bots::new().await;
    let limit = json!({ "per_minute": 1, "burst": 1 });

    bots.stop(&limit).await.unwrap();

    assert_eq!(bots.start(&limit).await, Err("PT429 rate_limited".to_owned()));
    assert_eq!(bots.bot(WORKER).await, "inactive inactive");
}

#[tokio::test]
async fn a_bot_is_logged_in_so_many_times_a_day() {
    let bots = Bots::new().await;
    let limit = json!({ "starts_per_day": 2 });
    for _ in 0..2 {
        bots.start(&limit).await.unwrap();
        bots.set("worker_status = 'error'").await;
    }

    assert_eq!(bots.start(&limit).await, Err("PT429 start_limit_reached".to_owned()));
    assert_eq!(bots.starts(APPLICATION).await, "2");
    assert_eq!(bots.bot("worker_status").await, "error");

    bots.run("UPDATE app.discord_starts SET since = since - interval '24 hours'")
        .await;
    assert_eq!(bots.start(&limit).await.unwrap()["outcome"], "begun");
    assert_eq!(bots.starts(APPLICATION).await, "1");
}

#[tokio::test]
async fn the_starts_of_an_application_count_whichever_connection_it_is() {
    let bots = Bots::new().await;
    let starts = |agent| json!({ "agent_id": agent, "starts_per_day": 2 });
    bots.start(&starts(AGENT)).await.unwrap();
    bots.set("worker_status = 'error'").await;

    bots.ask("delete_discord_connection", &of(AGENT)).await.unwrap();
    connect(&bots, AGENT, 7).await;
    assert_eq!(bots.start(&starts(AGENT)).await.unwrap()["outcome"], "begun");
    assert_eq!(bots.starts(APPLICATION).await, "2");
    bots.run("UPDATE public.agent_discord_connections SET worker_status = 'error' WHERE guild_id IS NULL")
        .await;
    let limited = Err("PT429 start_limit_reached".to_owned());
    assert_eq!(bots.start(&starts(AGENT)).await, limited);

    connect(&bots, SECOND_AGENT, 8).await;
    assert_eq!(bots.start(&starts(SECOND_AGENT)).await, limited);
    bots.run("DELETE FROM public.agents WHERE name = 'Agent'").await;
    assert_eq!(bots.start(&starts(SECOND_AGENT)).await, limited);
    assert_eq!(bots.starts(APPLICATION).await, "2");
}

#[tokio::test]
async fn a_bot_is_started_when_its_worker_at_another_agent_has_ended() {
    let mut found = Vec::new();
    for status in [
        "activating",
        "active",
        "stopping",
        "inactive",
        "error",
        "unauthorized",
        "bad_intents",
    ] {
        let bots = Bots::new().await;
        bots.active().await;
        bots.set(&format!("worker_status = '{status}'")).await;
        connect(&bots, SECOND_AGENT, 7).await;
        let second = json!({ "agent_id": SECOND_AGENT, "token_hash": hash(2) });
        let wanted = "SELECT desired_status FROM public.agent_discord_connections
                      WHERE agent_id <> $1 AND guild_id IS NULL";

        let outcome = match bots.start(&second).await {
            Ok(begun) => begun["outcome"].to_string(),
            Err(refusal) => refusal,
        };

        let wanted = texts(&bots.owner, wanted, &[&AGENT]).await.join(" ");
        found.push(format!(
            "{status}: {outcome}, {wanted}, {}",
            bots.starts(APPLICATION).await
        ));
    }

    insta::assert_snapshot!(found.join("\n"), @r#"
    activating: PT409 worker_stopping, inactive, 1
    active: PT409 worker_stopping, inactive, 1
    stopping: PT409 worker_stopping, inactive, 1
    inactive: "begun", active, 2
    error: "begun", active, 2
    unauthorized: "begun", active, 2
    bad_intents: "begun", active, 2
    "#);
}

#[tokio::test]
async fn what_nobody_asked_for_is_done_only_to_what_needs_it() {
    let mut found = Vec::new();
    for desired in ["active", "inactive"] {
        for status in WorkerStatus::ALL {
            let bots = Bots::new().await;
            bots.active().await;
            let columns = format!("desired_status = '{desired}', worker_status = '{status}'");
            let mut outcomes = Vec::new();
            for (operation, input) in [
                ("begin_worker_start", start(&json!({ "token_hash": hash(2) }))),
                ("begin_worker_stop", stop(&json!({}))),
            ] {
                bots.set(&columns).await;
                bots.run("DELETE FROM app.jobs").await;
                let before = bots.bot("worker_lease_id || ' ' || worker_lease_expires_at").await;
                let automatic = with(input, &json!({ "automatic": true }));

                outcomes.push(match bots.serve(operation, &automatic).await {
                    Ok(answer) if answer["outcome"] == "begun" => bots.bot(STATUSES).await,
                    Ok(answer) => {
                        assert_eq!(
                            (&answer["outcome"], &answer["status"]),
                            (&json!("unchanged"), &json!(status))
                        );
                        "-".to_owned()
                    }
                    Err(refusal) => refusal,
                });

                if outcomes.last().is_some_and(|outcome| outcome == "-") {
                    assert_eq!(bots.bot(STATUSES).await, format!("{desired} {status}"));
                    let after = bots.bot("worker_lease_id || ' ' || worker_lease_expires_at").await;
                    assert_eq!(after, before, "{operation} {desired} {status}");
                }
                // The job that does it looks again by itself.
                assert_eq!(bots.jobs("discord_worker").await, Vec::<String>::new());
            }
            found.push(format!("{desired} {status}: {}", outcomes.join(", ")));
        }
    }

    insta::assert_snapshot!(found.join("\n"), @r"
    active inactive: -, -
    active activating: -, -
    active active: -, -
    active stopping: PT409 worker_stopping, active stopping
    active error: active activating, -
    active unauthorized: -, -
    active bad_intents: -, -
    inactive inactive: -, -
    inactive activating: -, inactive stopping
    inactive active: -, inactive stopping
    inactive stopping: PT409 worker_stopping, inactive stopping
    inactive error: -, inactive stopping
    inactive unauthorized: -, inactive stopping
    inactive bad_intents: -, inactive stopping
    ");
}

#[tokio::test]
async fn a_start_that_failed_ends_there_if_it_is_the_present_one() {
    let bots = Bots::new().await;
    let first = bots.start(&json!({})).await.unwrap()["lease_id"].clone();
    let settle = async |lease: &Value, error: Option<&str>| {
        bots.serve("settle_worker_start", &settlement(lease, error))
            .await
            .unwrap()["status"]
            .clone()
    };

    assert_eq!(settle(&first, None).await, "activating");
    assert_eq!(settle(&json!(TENANT), Some("manager_failed")).await, "activating");
    assert_eq!(bots.bot(WORKER).await, "active activating token lease holds");
    assert_eq!(settle(&first, Some("manager_failed")).await, "error");
    assert_eq!(bots.bot(WORKER).await, "active error manager_failed Told so.");

    let second = bots.active().await;
    // It answered late, and the worker runs.
    assert_eq!(settle(&second, Some("manager_timed_out")).await, "active");
    assert_eq!(bots.bot(WORKER).await, "active active token lease holds");
    bots.run("DELETE FROM public.agents").await;
    assert_eq!(settle(&second, Some("manager_failed")).await, "inactive");
}

#[tokio::test]
async fn a_report_counts_with_the_token_and_the_lease_of_the_worker_started_last() {
    let bots = Bots::new().await;
    let first = bots.start(&json!({})).await.unwrap()["lease_id"].clone();
    bots.set("worker_status = 'error'").await;
    let second = bots.start(&json!({ "token_hash": hash(2) })).await.unwrap()["lease_id"].clone();
    let report = async |lease: &Value, token: u8| {
        bots.report(lease, "active", &json!({ "token_hash": hash(token) }))
            .await
    };

    assert_eq!(report(&first, 1).await, Err("PT401 invalid_token".to_owned()));
    assert_eq!(report(&second, 1).await, Err("PT401 invalid_token".to_owned()));
    assert_eq!(report(&first, 2).await, Err("PT409 lease_lost".to_owned()));
    assert_eq!(report(&Value::Null, 2).await, Err("PT409 lease_lost".to_owned()));
    assert_eq!(
        bots.bot("worker_status || ' ' || (worker_reported_at IS NULL)").await,
        "activating true"
    );
    let reported = report(&second, 2).await.unwrap();
    assert_eq!(
        reported,
        json!({
            "status": "active", "should_stop": false, "lease_seconds": 180, "inactivity_timeout_minutes": 10,
            "guilds": [{ "guild_id": GUILD, "allowed_channel_ids": null }],
        })
    );
}

#[tokio::test]
async fn a_worker_becomes_what_it_reports_where_that_makes_sense() {
    let mut found = Vec::new();
    for (desired, status, reported) in [
        ("active", "activating", "activating"),
        ("active", "activating", "active"),
        ("active", "active", "active"),
        ("active", "active", "activating"),
        ("active", "active", "stopping"),
        ("active", "active", "inactive"),
        ("inactive", "active", "inactive"),
        ("active", "active", "error"),
        ("active", "activating", "unauthorized"),
        ("active", "activating", "bad_intents"),
        ("inactive", "stopping", "active"),
        ("inactive", "stopping", "error"),
        ("inactive", "stopping", "inactive"),
        ("active", "stopping", "inactive"),
        ("active", "active", "running"),
    ] {
        let bots = Bots::new().await;
        let lease = bots.start(&json!({})).await.unwrap()["lease_id"].clone();
        bots.set(&format!(
            "desired_status = '{desired}', worker_status = '{status}', worker_lease_expires_at = now()"
        ))
        .await;
        bots.run("DELETE FROM app.jobs").await;
        let told = json!({ "error_code": null, "error_message": "It said so." });
        let answer = match bots.report(&lease, reported, &told).await {
            Ok(answer) => format!("stop: {}", answer["should_stop"]),
            Err(refusal) => refusal,
        };
        let worker = bots.bot(WORKER).await;
        let jobs = bots.jobs("discord_worker").await;
        let told = [vec![worker, answer], jobs].concat().join("; ");
        found.push(format!("{desired} {status}, {reported}: {told}"));
    }

    insta::assert_snapshot!(found.join("\n"), @r"
    active activating, activating: active activating token lease; stop: false
    active activating, active: active active token lease holds; stop: false
    active active, active: active active token lease holds; stop: false
    active active, activating: active active token lease; PT409 status_refused
    active active, stopping: active stopping token lease; stop: true
    active active, inactive: active error worker_crashed It said so.; stop: true; open 1 due
    inactive active, inactive: inactive inactive; stop: true
    active active, error: active error worker_crashed It said so.; stop: true; open 1 due
    active activating, unauthorized: active unauthorized unauthorized It said so.; stop: true
    active activating, bad_intents: active bad_intents bad_intents It said so.; stop: true
    inactive stopping, active: inactive stopping token lease; stop: true
    inactive stopping, error: inactive inactive; stop: true
    inactive stopping, inactive: inactive inactive; stop: true
    active stopping, inactive: active error worker_crashed It said so.; stop: true; open 1 due
    active active, running: active active token lease; PT409 status_refused
    ");
}

#[tokio::test]
async fn what_every_report_moves_is_neither_a_change_nor_logged() {
    let bots = Bots::new().await;
    let lease = bots.active().await;
    let traces = "SELECT concat_ws(' ', (SELECT count(*) FROM app.audit_log), updated_at, worker_status_changed_at)
                  FROM public.agent_discord_connections WHERE guild_id IS NULL";
    let before = bots.text(traces).await;
    let deadline = bots.bot("worker_lease_expires_at").await;

    bots.report(&lease, "active", &json!({ "report": { "guilds": 3 } }))
        .await
        .unwrap();
    bots.report(&lease, "active", &json!({})).await.unwrap();

    assert_eq!(bots.text(traces).await, before);
    assert!(bots.bot("worker_lease_expires_at").await > deadline);
    assert_eq!(bots.bot("worker_report").await, r#"{"guilds": 3}"#);
}

#[tokio::test]
async fn a_report_is_bounded_as_it_is_written_out() {
    let bots = Bots::new().await;
    let lease = bots.active().await;
    let refused = Err("PT400 invalid_field".to_owned());

    for report in [json!({ "said": "x".repeat(9000) }), json!({ "counts": vec![0; 3000] })] {
        let told = bots.report(&lease, "active", &json!({ "report": report })).await;
        assert_eq!(told, refused);
    }
    assert_eq!(bots.bot("worker_report IS NULL").await, "true");
    let longest = json!({ "said": "x".repeat(8192 - r#"{"said": ""}"#.len()) });
    bots.report(&lease, "active", &json!({ "report": longest }))
        .await
        .unwrap();
    assert_eq!(bots.bot("octet_length(worker_report::text)").await, "8192");
}

#[tokio::test]
async fn a_worker_reports_so_often_a_minute() {
    let bots = Bots::new().await;
    let lease = bots.active().await;
    let often = json!({ "per_minute": 1, "burst": 1 });
    bots.run("DELETE FROM app.rate_limits").await;

    bots.report(&lease, "active", &often).await.unwrap();

    let limited = Err("PT429 rate_limited".to_owned());
    assert_eq!(bots.report(&lease, "error", &often).await, limited);
    assert_eq!(bots.bot(WORKER).await, "active active token lease holds");
}

#[tokio::test]
async fn a_worker_that_ends_is_wanted_still_unless_nobody_spoke_to_it_or_it_is_switched_off() {
    let mut found = Vec::new();
    for (is_enabled, code) in [
        (true, json!(null)),
        (true, json!("idle")),
        (true, json!("terminated")),
        (false, json!(null)),
        (false, json!("idle")),
    ] {
        let bots = Bots::new().await;
        let lease = bots.active().await;
        bots.set(&format!("is_enabled = {is_enabled}")).await;
        bots.run("DELETE FROM app.jobs").await;

        let told = bots
            .report(&lease, "inactive", &json!({ "error_code": code }))
            .await
            .unwrap();

        let worker = bots.bot(WORKER).await;
        assert_eq!(
            (&told["should_stop"], json!(worker.split(' ').nth(1))),
            (&json!(true), told["status"].clone())
        );
        let jobs = bots.jobs("discord_worker").await;
        let told = [vec![worker], jobs].concat().join("; ");
        found.push(format!("{is_enabled} {code}: {told}"));
    }

    insta::assert_snapshot!(found.join("\n"), @r#"
    true null: active error worker_crashed; open 1 due
    true "idle": inactive inactive
    true "terminated": active error worker_crashed; open 1 due
    false null: inactive inactive
    false "idle": inactive inactive
    "#);
}

#[tokio::test]
async fn a_stop_that_nobody_wanted_is_a_crash_and_mended() {
    let bots = Bots::new().await;
    let lease = bots.active().await;
    bots.report(&lease, "stopping", &json!({})).await.unwrap();
    assert_eq!(bots.bot(WORKER).await, "active stopping token lease holds");
    let automatic = json!({ "automatic": true });
    let begun = bots.serve("begin_worker_stop", &stop(&automatic)).await.unwrap();
    assert_eq!((&begun["outcome"], &begun["lease_id"]), (&json!("begun"), &lease));
    let settle = async |error: Option<&str>| {
        bots.serve("settle_worker_stop", &settlement(&lease, error))
            .await
            .unwrap()["status"]
            .clone()
    };

    assert_eq!(settle(Some("manager_failed")).await, "stopping");
    assert_eq!(
        bots.bot(WORKER).await,
        "active stopping manager_failed Told so. token lease holds"
    );
    assert_eq!(settle(None).await, "error");

    assert_eq!(bots.bot(WORKER).await, "active error worker_crashed");
    let again = bots.serve("begin_worker_start", &start(&automatic)).await.unwrap();
    assert_eq!(again["outcome"], "begun");
}

#[tokio::test]
async fn an_active_report_puts_its_job_off_until_silence_would_be_noticed() {
    let put_off = "SELECT (run_after = worker_lease_expires_at)::text FROM app.jobs, public.agent_discord_connections
                   WHERE kind = 'discord_worker' AND guild_id IS NULL";
    for (what, preparation, expected) in [
        ("waiting", "SELECT 1", "true"),
        (
            "due",
            "UPDATE app.jobs SET run_after = now() - interval '1 minute'",
            "true",
        ),
        (
            "leased",
            "UPDATE app.jobs SET lease_id = gen_random_uuid(), lease_expires_at = now() + interval '1 minute'",
            "false",
        ),
        (
            "settled",
            "UPDATE app.jobs SET outcome = 'succeeded', finished_at = now()",
            "false",
        ),
        (
            "not wanted",
            "UPDATE public.agent_discord_connections SET desired_status = 'inactive'",
            "false",
        ),
        (
            "switched off",
            "UPDATE public.agent_discord_connections SET is_enabled = false",
            "false",
        ),
    ] {
        let bots = Bots::new().await;
        let lease = bots.active().await;
        bots.run("UPDATE app.jobs SET run_after = now() + interval '10 seconds'")
            .await;
        bots.run(preparation).await;

        bots.report(&lease, "active", &json!({})).await.unwrap();

        assert_eq!(bots.text(put_off).await, expected, "{what}");
    }
}

#[tokio::test]
async fn a_job_of_something_else_is_not_put_off() {
    let bots = Bots::new().await;
    let lease = bots.active().await;
    bots.run(&format!(
        "SELECT app.request_job('discord_worker', '{SECOND_AGENT}', 9), app.request_job('discord_answer', '{AGENT}', 9)"
    ))
    .await;

    bots.report(&lease, "active", &json!({})).await.unwrap();

    let due = "SELECT count(*) FROM app.jobs WHERE run_after <= clock_timestamp()";
    assert_eq!(count(&bots.owner, due, &[]).await, 2);
}

#[tokio::test]
async fn a_late_sweep_gives_active_workers_their_lease_once_more() {
    let bots = Bots::new().await;
    bots.active().await;
    let sweep = async |last: &str| {
        bots.run(&format!(
            "UPDATE app.sweep_state SET swept_at = now() - interval '{last}'"
        ))
        .await;
        let input = json!({
            "limit": 100, "late_after_seconds": 300, "settle_seconds": 0, "mass_minimum": 10, "mass_percent": 50,
            "remind_after_seconds": 3600, "has_operator": true,
        });
        bots.serve("sweep_toolboxes", &input).await.unwrap();
        bots.bot("round(extract(epoch FROM worker_lease_expires_at - now()) / 10) * 10")
            .await
    };
    let silent = "worker_reported_at = now() - interval '300 seconds',
                  worker_lease_expires_at = now() - interval '120 seconds'";

    bots.set(silent).await;
    assert_eq!(sweep("1 minute").await, "-120", "somebody listened");
    assert_eq!(sweep("1 hour").await, "180");

    // Once in a row.
    bots.set(silent).await;
    assert_eq!(sweep("1 hour").await, "-120");
    for status in ["activating", "stopping", "error"] {
        bots.set(&format!("worker_status = '{status}'")).await;
        bots.run("UPDATE app.sweep_state SET was_late = false").await;
        assert_eq!(sweep("1 hour").await, "-120", "{status}");
    }
    bots.set(
        "worker_status = 'active', worker_reported_at = now(), worker_lease_expires_at = now() + interval '60 seconds'",
    )
    .await;
    bots.run("UPDATE app.sweep_state SET was_late = false").await;
    assert_eq!(sweep("1 hour").await, "60", "it is not overdue");
}

#[tokio::test]
async fn a_start_has_its_time_however_often_it_is_reported() {
    let bots = Bots::new().await;
    let lease = bots.start(&json!({})).await.unwrap()["lease_id"].clone();
    let deadline = bots.bot("worker_lease_expires_at").await;

    bots.report(&lease, "activating", &json!({})).await.unwrap();

    assert_eq!(bots.bot("worker_lease_expires_at").await, deadline);
}

#[tokio::test]
async fn a_worker_whose_connection_is_switched_off_is_told_to_stop() {
    let bots = Bots::new().await;
    let lease = bots.active().await;

    bots.set("is_enabled = false").await;

    assert_eq!(
        bots.report(&lease, "active", &json!({})).await.unwrap()["should_stop"],
        true
    );
}

#[tokio::test]
async fn restarts_are_counted_until_it_went_well_for_a_while() {
    let bots = Bots::new().await;
    let automatic = start(&json!({ "automatic": true }));
    for expected in ["1", "2"] {
        bots.set("desired_status = 'active', worker_status = 'error'").await;
        bots.serve("begin_worker_start", &automatic).await.unwrap();
        assert_eq!(bots.bot("worker_restarts").await, expected);
    }
    let lease = json!(bots.bot("worker_lease_id").await);

    bots.report(&lease, "active", &json!({})).await.unwrap();
    bots.report(&lease, "active", &json!({})).await.unwrap();
    assert_eq!(bots.bot("worker_restarts").await, "2");
    bots.set("worker_status_changed_at = now() - interval '10 minutes'")
        .await;
    bots.report(&lease, "active", &json!({})).await.unwrap();
    assert_eq!(bots.bot("worker_restarts").await, "0");

    // Whoever starts it by hand begins to count anew.
    bots.set("worker_restarts = 3, worker_status = 'error'").await;
    bots.start(&json!({})).await.unwrap();
    assert_eq!(bots.bot("worker_restarts").await, "0");
}

#[tokio::test]
async fn a_stop_is_written_before_anybody_is_asked_for_it() {
    let bots = Bots::new().await;
    let lease = bots.active().await;
    let settle = async |lease: &Value, error: Option<&str>| {
        bots.serve("settle_worker_stop", &settlement(lease, error))
            .await
            .unwrap()["status"]
            .clone()
    };

    let begun = bots.stop(&json!({})).await.unwrap();

    assert_eq!(
        begun,
        json!({ "outcome": "begun", "user_id": TENANT, "connection_id": BOT, "lease_id": lease })
    );
    assert_eq!(bots.bot(WORKER).await, "inactive stopping token lease holds");
    assert_eq!(bots.jobs("discord_worker").await, ["open 2 later"]);
    let told = bots.report(&lease, "active", &json!({})).await.unwrap();
    assert_eq!(
        (&told["status"], &told["should_stop"]),
        (&json!("stopping"), &json!(true))
    );
    // It goes on as long as it is not known to have stopped.
    assert_eq!(settle(&lease, Some("manager_failed")).await, "stopping");
    assert_eq!(
        bots.bot(WORKER).await,
        "inactive stopping manager_failed Told so. token lease holds"
    );
    assert_eq!(bots.stop(&json!({})).await.unwrap()["lease_id"], lease);
    assert_eq!(settle(&json!(TENANT), None).await, "stopping");
    assert_eq!(settle(&lease, None).await, "inactive");
    assert_eq!(bots.bot(WORKER).await, "inactive inactive");
    assert_eq!(
        bots.report(&lease, "active", &json!({})).await,
        Err("PT401 invalid_token".to_owned())
    );
    let again = bots.stop(&json!({})).await;
    assert_eq!(again, Ok(json!({ "outcome": "unchanged", "status": "inactive" })));
}

#[tokio::test]
async fn an_automatic_stop_leaves_what_the_owner_wants() {
    let bots = Bots::new().await;
    bots.active().await;
    bots.set("worker_status = 'stopping'").await;
    let automatic = |agent| stop(&json!({ "automatic": true, "agent_id": agent }));

    bots.serve("begin_worker_stop", &automatic(AGENT)).await.unwrap();
    let of_none = bots.serve("begin_worker_stop", &automatic(SECOND_AGENT)).await;

    assert_eq!(bots.bot(WORKER).await, "active stopping token lease holds");
    assert_eq!(of_none, Ok(json!({ "outcome": "unchanged", "status": "inactive" })));
    let asked = bots.stop(&json!({ "agent_id": SECOND_AGENT })).await;
    assert_eq!(asked, Err("PT400 connection_missing".to_owned()));
}

#[tokio::test]
async fn a_stop_and_reports_at_once_end_in_a_stop() {
    let bots = Bots::new().await;
    let lease = bots.active().await;
    let clients = bots.clients(1).await;
    let input = stop(&json!({}));
    let caller = user(TENANT);
    let nothing = json!({});

    let (stopped, _reported) = tokio::join!(
        call(&clients[0], "begin_worker_stop", &caller, &input),
        join_all((0..8).map(|_| bots.report(&lease, "active", &nothing))),
    );

    assert_eq!(stopped.unwrap()["outcome"], "begun");
    assert_eq!(
        bots.bot("worker_status || ' ' || desired_status").await,
        "stopping inactive"
    );
}

#[tokio::test]
async fn what_is_known_of_a_worker_is_read_for_its_job() {
    let bots = Bots::new().await;
    let read = async || bots.serve("read_worker", &json!({ "agent_id": AGENT })).await.unwrap()["worker"].clone();
    let lease = bots.active().await;

    let known = read().await;

    insta::assert_snapshot!(names(&known), @"connection_id desired_status error_code has_token is_overdue lease_id restarts seconds_in_status seconds_left user_id worker_status");
    assert_eq!(
        (
            &known["lease_id"],
            &known["worker_status"],
            &known["has_token"],
            &known["is_overdue"]
        ),
        (&lease, &json!("active"), &json!(true), &json!(false))
    );
    assert!(known["seconds_left"].as_i64().unwrap() > 170);
    bots.set("worker_lease_expires_at = now(), worker_status_changed_at = now() - interval '65 seconds'")
        .await;
    let known = read().await;
    assert_eq!(
        (
            &known["is_overdue"],
            &known["seconds_left"],
            &known["seconds_in_status"]
        ),
        (&json!(true), &json!(0), &json!(65))
    );
}

#[tokio::test]
async fn a_job_moves_a_worker_that_still_is_as_it_saw_it_and_under_its_lease_alone() {
    let bots = Bots::new().await;
    let lease = bots.active().await;
    bots.run("UPDATE app.jobs SET run_after = now()").await;
    let claim = json!({ "kinds": ["discord_worker"], "limit": 9, "lease_seconds": 60 });
    let job = bots.serve("claim_jobs", &claim).await.unwrap()["jobs"][0].clone();
    let advance = async |job: Value, lease: &Value| {
        let change = json!({
            "connection_id": BOT, "from": "active", "lease_id": lease, "to": "error", "error_code": "worker_silent",
            "error_message": "It is not heard of.",
        });
        let input = json!({ "agent_id": AGENT, "job": job, "change": change });
        bots.serve("advance_worker", &input).await.unwrap()
    };
    let keep = json!({ "job_id": job["job_id"], "lease_id": job["lease_id"], "keep_seconds": 600 });
    let settled = json!({
        "job_id": job["job_id"], "lease_id": job["lease_id"], "requested": job["requested"], "outcome": "succeeded",
    });
    let lost = with(settled.clone(), &json!({ "lease_id": TENANT }));

    assert_eq!(
        advance(keep.clone(), &lease).await,
        json!({ "held": true, "applied": false }),
        "it was heard of"
    );
    bots.set("worker_lease_expires_at = now()").await;
    assert_eq!(advance(lost, &lease).await, json!({ "held": false, "applied": false }));
    assert_eq!(
        advance(keep, &json!(TENANT)).await,
        json!({ "held": true, "applied": false }),
        "it was started anew"
    );
    assert_eq!(bots.bot(WORKER).await, "active active token lease");
    let kept = "SELECT count(*) FROM app.jobs WHERE lease_expires_at > now() + interval '5 minutes'";
    assert_eq!(count(&bots.owner, kept, &[]).await, 1);

    assert_eq!(
        advance(settled.clone(), &lease).await,
        json!({ "held": true, "applied": true })
    );

    assert_eq!(bots.bot(WORKER).await, "active error worker_silent It is not heard of.");
    assert_eq!(bots.jobs("discord_worker").await, ["succeeded 1 due"]);
    assert_eq!(
        advance(settled, &lease).await,
        json!({ "held": false, "applied": false })
    );
}

#[tokio::test]
async fn workers_that_nobody_wants_are_found() {
    let bots = Bots::new().await;
    let listed = [AGENT, SECOND_AGENT, TENANT];
    let find = async || {
        let found = bots
            .serve("find_unwanted_workers", &json!({ "agent_ids": listed }))
            .await
            .unwrap();
        found["agent_ids"].clone()
    };

    assert_eq!(find().await, json!(listed));
    bots.active().await;
    assert_eq!(find().await, json!([SECOND_AGENT, TENANT]));
    bots.stop(&json!({})).await.unwrap();
    assert_eq!(find().await, json!([SECOND_AGENT, TENANT]), "it is being stopped");
    // What is found is not running, whether it is wanted or not: the next one is started anew.
    for desired in ["active", "inactive"] {
        for status in ["inactive", "error", "unauthorized", "bad_intents"] {
            bots.set(&format!("desired_status = '{desired}', worker_status = '{status}'"))
                .await;
            assert_eq!(find().await, json!(listed), "{desired} {status}");
        }
    }
}

#[tokio::test]
async fn whoever_takes_the_bot_from_a_worker_asks_for_its_job() {
    for (statement, expected) in [
        ("DELETE FROM auth.users", vec!["open 2 due"]),
        ("DELETE FROM public.agents", vec!["open 2 due"]),
        (
            "DELETE FROM public.agent_discord_connections WHERE guild_id IS NULL",
            vec!["open 2 due"],
        ),
        (
            "DELETE FROM public.agent_discord_connections WHERE guild_id IS NOT NULL",
            vec!["open 1 later"],
        ),
        (
            "UPDATE public.agent_discord_connections SET worker_status = 'inactive';
             DELETE FROM public.agent_discord_connections",
            vec!["open 1 later"],
        ),
    ] {
        let bots = Bots::new().await;
        bots.active().await;

        bots.run(statement).await;

        assert_eq!(bots.jobs("discord_worker").await, expected, "{statement}");
    }
}

#[tokio::test]
async fn no_user_speaks_for_a_worker_or_its_job() {
    let bots = Bots::new().await;
    let lease = bots.active().await;
    let before = bots.bot(WORKER).await;
    let job = json!({ "job_id": TENANT, "lease_id": TENANT, "requested": 1, "outcome": "succeeded" });

    for (operation, input) in [
        ("settle_worker_start", settlement(&lease, Some("x"))),
        ("settle_worker_stop", settlement(&lease, None)),
        (
            "report_worker",
            json!({
                "token_hash": hash(1), "lease_id": lease, "status": "error", "transitions": {}, "lease_seconds": 1,
                "per_minute": 60, "burst": 9,
            }),
        ),
        ("read_worker", json!({ "agent_id": AGENT })),
        (
            "advance_worker",
            json!({ "agent_id": AGENT, "job": job, "change": null }),
        ),
    ] {
        assert_eq!(
            bots.ask(operation, &input).await,
            Err("42501".to_owned()),
            "{operation}"
        );
    }
    // Nor does a user start what is another's by saying that it is automatic.
    let stranger = sign_up(&bots.owner, "stranger@example.com").await;
    let automatic = start(&with(place(&json!({})), &json!({ "automatic": true })));
    let refused = call(&bots.functions, "begin_worker_start", &user(stranger), &automatic).await;
    assert_eq!(refused, Err("PT404 agent_not_found".to_owned()));
    assert_eq!(bots.bot(WORKER).await, before);
    let served = call(
        &bots.functions,
        "read_worker",
        &service(),
        &json!({ "agent_id": AGENT }),
    )
    .await;
    assert_eq!(served.unwrap()["worker"]["worker_status"], "active");
}
