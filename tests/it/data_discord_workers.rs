//! What the operations of bots' workers guarantee, whoever calls.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::data_database::{AGENT, TENANT, call, count, sign_up, user};
use crate::data_discord_support::{
    APPLICATION, BOT, Bots, GUILD, SECOND_AGENT, hash, key, names, service, start, stop, with,
};

/// How the tenant's worker is.
const WORKER: &str = "concat_ws(' ', desired_status, worker_status, worker_error_code, worker_error_message,
                                CASE WHEN worker_token_hash IS NOT NULL THEN 'token' END,
                                CASE WHEN worker_lease_id IS NOT NULL THEN 'lease' END,
                                CASE WHEN worker_lease_expires_at > clock_timestamp() THEN 'holds' END)";

/// By what the service names the place of a command in the tenant's guild.
fn place(changes: &Value) -> Value {
    let place = json!({ "guild_id": GUILD, "application_id": APPLICATION, "public_key": key(), "own_key": false });
    with(place, changes)
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
    assert_eq!(bots.bot("worker_starts").await, "1");
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
    assert_eq!(bots.bot("worker_starts || ' ' || worker_status").await, "2 error");

    bots.set("worker_starts_since = worker_starts_since - interval '24 hours'")
        .await;
    assert_eq!(bots.start(&limit).await.unwrap()["outcome"], "begun");
    assert_eq!(bots.bot("worker_starts").await, "1");
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
    for (status, reported) in [
        ("activating", "activating"),
        ("activating", "active"),
        ("active", "active"),
        ("active", "activating"),
        ("active", "stopping"),
        ("active", "inactive"),
        ("active", "error"),
        ("activating", "unauthorized"),
        ("activating", "bad_intents"),
        ("stopping", "active"),
        ("stopping", "error"),
        ("stopping", "inactive"),
        ("active", "running"),
    ] {
        let bots = Bots::new().await;
        let lease = bots.start(&json!({})).await.unwrap()["lease_id"].clone();
        bots.set(&format!("worker_status = '{status}', worker_lease_expires_at = now()"))
            .await;
        bots.run("DELETE FROM app.jobs").await;
        let told = json!({ "error_code": null, "error_message": "It said so." });
        let answer = match bots.report(&lease, reported, &told).await {
            Ok(answer) => format!("stop: {}", answer["should_stop"]),
            Err(refusal) => refusal,
        };
        let jobs = bots.jobs("discord_worker").await.join(" ");
        found.push(format!(
            "{status}, {reported}: {}; {answer}; {jobs}",
            bots.bot(WORKER).await
        ));
    }

    insta::assert_snapshot!(found.join("\n"), @r"
    activating, activating: active activating token lease; stop: false; 
    activating, active: active active token lease holds; stop: false; 
    active, active: active active token lease holds; stop: false; 
    active, activating: active active token lease; PT409 status_refused; 
    active, stopping: active stopping token lease; stop: true; 
    active, inactive: inactive inactive; stop: true; 
    active, error: active error worker_crashed It said so.; stop: true; open 1 due
    activating, unauthorized: active unauthorized unauthorized It said so.; stop: true; 
    activating, bad_intents: active bad_intents bad_intents It said so.; stop: true; 
    stopping, active: active stopping token lease; stop: true; 
    stopping, error: inactive inactive; stop: true; 
    stopping, inactive: inactive inactive; stop: true; 
    active, running: active active token lease; PT409 status_refused;
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
    let too_much = json!({ "report": { "said": "x".repeat(9000) } });
    assert_eq!(
        bots.report(&lease, "active", &too_much).await,
        Err("23514 agent_discord_connections_worker_report_check".to_owned())
    );
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
        bots.set("worker_status = 'error'").await;
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
    bots.set("worker_status = 'error'").await;
    assert_eq!(find().await, json!(listed));
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
            json!({ "token_hash": hash(1), "lease_id": lease, "status": "error", "transitions": {}, "lease_seconds": 1 }),
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
