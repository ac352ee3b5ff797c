//! What the operations of heartbeats, alerts, machines and jobs guarantee, as the function `heartbeat` calls them.

use agentopia_domain::toolbox::status::contact_transitions;
use agentopia_domain::toolbox::tool;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::data_database::{Database, TENANT, call, count, sign_up, texts, user};

/// The tenant's things in tests/data/tenant.sql.
const TOOLBOX: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_a000_0000_0000_0041);
const INSTANCE: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_a000_0000_0000_0042);

/// The database with the tenant, whose toolbox is active.
struct Toolboxes {
    database: Database,
    owner: Client,
    functions: Client,
}

impl Toolboxes {
    async fn new() -> Self {
        let database = Database::with_tenant().await;
        let owner = database.owner().await;
        owner
            .batch_execute(
                "DELETE FROM app.toolbox_flips; DELETE FROM app.alerts; DELETE FROM app.jobs;
                 DELETE FROM app.machine_attempts; UPDATE app.sweep_state SET swept_at = now()",
            )
            .await
            .unwrap();
        Self {
            owner,
            functions: database.functions().await,
            database,
        }
    }

    async fn call(&self, operation: &str, input: &Value) -> Result<Value, String> {
        let caller = json!({ "kind": "service", "name": "heartbeat" });
        call(&self.functions, operation, &caller, input).await
    }

    /// The tenant's toolbox speaks, with the changes to its report.
    async fn beat(&self, changes: &Value) -> Result<Value, String> {
        let mut input = json!({
            "token_hash": hash(&self.owner, "canary-token").await, "dtma_version": null, "system_status": null,
            "sent_at": null, "generation": null, "tools": null, "per_minute": 6000, "burst": 1000,
            "contact": contact_transitions(), "rule": tool::rule(),
        });
        for (name, value) in changes.as_object().unwrap() {
            input[name] = value.clone();
        }
        self.call("record_heartbeat", &input).await
    }

    async fn sweep(&self, changes: &Value) -> Value {
        sweep(&self.functions, changes).await
    }

    async fn run(&self, statement: &str) {
        self.owner.batch_execute(statement).await.unwrap();
    }

    async fn text(&self, statement: &str) -> String {
        texts(&self.owner, statement, &[]).await.remove(0)
    }

    async fn status(&self) -> String {
        self.text(&format!(
            "SELECT status FROM public.account_tool_environments WHERE id = '{TOOLBOX}'"
        ))
        .await
    }

    async fn tool_status(&self) -> String {
        self.text(&format!(
            "SELECT status_on_toolbox FROM public.account_tool_instances WHERE id = '{INSTANCE}'"
        ))
        .await
    }

    /// Toolboxes of new owners, one each, all overdue.
    async fn overdue(&self, number: i32) {
        self.owner
            .execute(
                "WITH owners AS (
                     INSERT INTO auth.users (id, email)
                     SELECT gen_random_uuid(), 'owner-' || gen_random_uuid() || '@example.com'
                     FROM generate_series(1, $1::int)
                     RETURNING id
                 ),
                 told AS (
                     INSERT INTO app.alert_destinations (user_id, webhook_sealed, key_id, webhook_id)
                     SELECT id, 'sealed', 'a', '1' FROM owners
                 )
                 INSERT INTO public.account_tool_environments
                     (user_id, name, status, region_slug, size_slug, last_heartbeat_at, alert_after)
                 SELECT id, 'box', 'active', 'fra1', 's', now() - interval '5 minutes', now() - interval '2 minutes'
                 FROM owners",
                &[&number],
            )
            .await
            .unwrap();
    }
}

async fn sweep(functions: &Client, changes: &Value) -> Value {
    let mut input = json!({
        "limit": 10_000, "late_after_seconds": 300, "settle_seconds": 0, "mass_minimum": 10, "mass_percent": 50,
        "remind_after_seconds": 3600, "has_operator": true,
    });
    for (name, value) in changes.as_object().unwrap() {
        input[name] = value.clone();
    }
    let caller = json!({ "kind": "service", "name": "heartbeat" });
    call(functions, "sweep_toolboxes", &caller, &input).await.unwrap()
}

async fn hash(owner: &Client, token: &str) -> String {
    texts(owner, "SELECT encode(sha256($1::text::bytea), 'hex')", &[&token])
        .await
        .remove(0)
}

fn tool(state: &str) -> Value {
    json!({ "tools": [{ "id": INSTANCE, "state": state, "generation": 1, "message": null }] })
}

#[tokio::test]
async fn a_heartbeat_is_answered_with_what_should_run() {
    let boxes = Toolboxes::new().await;

    let answer = boxes.beat(&tool("running")).await.unwrap();

    assert_eq!(answer["toolbox_id"], json!(TOOLBOX));
    assert_eq!(answer["user_id"], json!(TENANT));
    assert_eq!((&answer["generation"], &answer["paused"]), (&json!(1), &json!(false)));
    assert_eq!(
        answer["tools"],
        json!([{
            "account_tool_instance_id": INSTANCE, "instance_name_on_toolbox": "browser-1", "desired": "running",
            "action": "none", "generation": 1, "image": "registry.example.com/browser", "image_tag": "1.0.0",
            "image_digest": null, "environment": {}, "resources": null,
        }])
    );
    assert_eq!(boxes.tool_status().await, "running");
}

#[tokio::test]
async fn unknown_and_foreign_tokens_are_refused() {
    let boxes = Toolboxes::new().await;

    let refused = boxes.beat(&json!({ "token_hash": "00" })).await;

    assert_eq!(refused, Err("PT401 invalid_token".to_owned()));
    let spoken = "SELECT count(*) FROM public.account_tool_environments WHERE last_heartbeat_at IS NOT NULL";
    assert_eq!(count(&boxes.owner, spoken, &[]).await, 0);
}

#[tokio::test]
async fn a_toolbox_moves_its_own_tools_alone() {
    let boxes = Toolboxes::new().await;
    let stranger = sign_up(&boxes.owner, "stranger@example.com").await;
    let statement = "WITH box AS (
            INSERT INTO public.account_tool_environments (user_id, name, status, region_slug, size_slug, token_hash)
            VALUES ($1, 'Other', 'active', 'fra1', 's', sha256('another-token')) RETURNING id
        )
        SELECT id FROM box";
    boxes.owner.query_one(statement, &[&stranger]).await.unwrap();
    let before = boxes
        .text("SELECT t::text FROM public.account_tool_instances AS t")
        .await;

    let mut report = tool("dead");
    report["token_hash"] = hash(&boxes.owner, "another-token").await.into();
    let answer = boxes.beat(&report).await.unwrap();

    assert_eq!(answer["tools"], json!([]));
    assert_eq!(
        boxes
            .text("SELECT t::text FROM public.account_tool_instances AS t")
            .await,
        before
    );
}

#[tokio::test]
async fn a_report_that_was_overtaken_proves_life_and_nothing_else() {
    let boxes = Toolboxes::new().await;
    let report = |state: &str, sent_at: &str| {
        let mut report = tool(state);
        report["sent_at"] = sent_at.into();
        report["system_status"] = json!({ "sent": sent_at });
        report
    };
    boxes.beat(&report("running", "2030-01-01T00:00:10Z")).await.unwrap();
    let last = "SELECT last_heartbeat_at::text FROM public.account_tool_environments WHERE token_hash IS NOT NULL";
    let spoke = boxes.text(last).await;

    boxes.beat(&report("failed", "2030-01-01T00:00:09Z")).await.unwrap();

    assert_eq!(boxes.tool_status().await, "running");
    assert!(boxes.text(last).await > spoke);
    let status = "SELECT dtma_health_details_json ->> 'sent' FROM public.account_tool_environments
                  WHERE token_hash IS NOT NULL";
    assert_eq!(boxes.text(status).await, "2030-01-01T00:00:10Z");
    // A clock that was set back is believed.
    boxes.beat(&report("failed", "2026-01-01T00:00:00Z")).await.unwrap();
    assert_eq!(boxes.tool_status().await, "error");
}

#[tokio::test]
async fn tools_follow_what_should_be() {
    let boxes = Toolboxes::new().await;
    let cases = [
        // desired, generation, reported, then: status, action
        ("running", 1, "absent", "deploying", "deploy"),
        ("running", 1, "running", "running", "none"),
        ("running", 2, "running", "deploying", "replace"),
        ("running", 1, "stopped", "starting", "start"),
        ("running", 1, "failed", "error", "none"),
        ("running", 1, "unknown", "error", "none"),
        ("stopped", 1, "running", "stopping", "stop"),
        ("stopped", 1, "stopped", "stopped", "none"),
        ("removed", 1, "running", "deleting", "remove"),
    ];

    for (desired, generation, reported, status, action) in cases {
        boxes
            .run(&format!(
                "UPDATE public.account_tool_instances SET desired_status = '{desired}', generation = {generation}"
            ))
            .await;

        let answer = boxes.beat(&tool(reported)).await.unwrap();

        assert_eq!(
            answer["tools"][0]["action"], action,
            "{desired} {generation} {reported}"
        );
        assert_eq!(boxes.tool_status().await, status, "{desired} {generation} {reported}");
    }
}

#[tokio::test]
async fn a_removed_tool_goes_when_its_container_is_gone_and_takes_what_hung_on_it() {
    let boxes = Toolboxes::new().await;
    boxes
        .run("UPDATE public.account_tool_instances SET desired_status = 'removed'")
        .await;

    // Saying nothing of containers is not saying that there are none.
    let silent = boxes.beat(&json!({})).await.unwrap();
    assert_eq!(silent["tools"].as_array().unwrap().len(), 1);
    let answer = boxes.beat(&json!({ "tools": [] })).await.unwrap();

    assert_eq!(answer["tools"], json!([]));
    for table in [
        "account_tool_instances",
        "agent_toolbelt_items",
        "agent_tool_credentials",
    ] {
        let rows = format!("SELECT count(*) FROM public.{table}");
        assert_eq!(count(&boxes.owner, &rows, &[]).await, 0, "{table}");
    }
}

#[tokio::test]
async fn on_a_paused_toolbox_nothing_should_run_and_silence_is_no_news() {
    let boxes = Toolboxes::new().await;
    boxes
        .run(
            "UPDATE public.account_tool_environments
             SET status = 'paused', desired_state = 'paused', alert_after = now() - interval '1 hour'",
        )
        .await;

    let answer = boxes.beat(&tool("running")).await.unwrap();

    assert_eq!(
        (&answer["paused"], &answer["tools"][0]["desired"]),
        (&json!(true), &json!("stopped"))
    );
    assert_eq!(answer["tools"][0]["action"], "stop");
    assert_eq!(boxes.status().await, "paused");
    assert_eq!(boxes.sweep(&json!({})).await["silent"], 0);
}

#[tokio::test]
async fn a_toolbox_is_limited() {
    let boxes = Toolboxes::new().await;
    let limits = json!({ "per_minute": 1, "burst": 2 });

    assert!(boxes.beat(&limits).await.is_ok());
    assert!(boxes.beat(&limits).await.is_ok());
    assert_eq!(boxes.beat(&limits).await, Err("PT429 rate_limited".to_owned()));
}

#[tokio::test]
async fn a_bootstrap_token_is_good_once_and_again_for_its_claim() {
    let boxes = Toolboxes::new().await;
    boxes
        .run("UPDATE public.account_tool_environments SET status = 'provisioning', token_hash = NULL")
        .await;
    let bootstrap = hash(&boxes.owner, "canary-bootstrap-token").await;
    let register = |claim: Option<&'static str>, token: &'static str| {
        let (boxes, bootstrap) = (&boxes, &bootstrap);
        async move {
            let claim = match claim {
                Some(claim) => Some(hash(&boxes.owner, claim).await),
                None => None,
            };
            let input = json!({
                "bootstrap_hash": bootstrap, "claim_hash": claim, "token_hash": hash(&boxes.owner, token).await,
            });
            boxes.call("register_machine", &input).await
        }
    };
    let refused = Err("PT401 invalid_token".to_owned());

    assert_eq!(
        register(Some("mine"), "first").await.unwrap()["toolbox_id"],
        json!(TOOLBOX)
    );
    assert_eq!(register(Some("theirs"), "stolen").await, refused);
    assert_eq!(register(None, "stolen").await, refused);
    // The answer was lost.
    assert!(register(Some("mine"), "second").await.is_ok());
    let beat = json!({ "token_hash": hash(&boxes.owner, "first").await });
    assert_eq!(boxes.beat(&beat).await, refused);
    let beat = json!({ "token_hash": hash(&boxes.owner, "second").await });
    assert!(boxes.beat(&beat).await.is_ok());
    assert_eq!(boxes.status().await, "active");
    assert_eq!(register(Some("mine"), "third").await, refused);
}

#[tokio::test]
async fn a_bootstrap_token_runs_out_and_without_a_claim_is_good_once() {
    let boxes = Toolboxes::new().await;
    let bootstrap = hash(&boxes.owner, "canary-bootstrap-token").await;
    let input = json!({ "bootstrap_hash": bootstrap, "claim_hash": null, "token_hash": hash(&boxes.owner, "a").await });

    boxes
        .run("UPDATE public.account_tool_environments SET bootstrap_expires_at = now()")
        .await;
    assert_eq!(
        boxes.call("register_machine", &input).await,
        Err("PT401 invalid_token".to_owned())
    );
    boxes
        .run("UPDATE public.account_tool_environments SET bootstrap_expires_at = now() + interval '1 minute'")
        .await;
    assert!(boxes.call("register_machine", &input).await.is_ok());
    assert_eq!(
        boxes.call("register_machine", &input).await,
        Err("PT401 invalid_token".to_owned())
    );
}

#[tokio::test]
async fn silence_is_noticed_once_and_told_once() {
    let boxes = Toolboxes::new().await;
    boxes.beat(&json!({})).await.unwrap();
    assert_eq!(boxes.sweep(&json!({})).await["silent"], 0);
    boxes
        .run("UPDATE public.account_tool_environments SET alert_after = now() - interval '1 minute'")
        .await;
    let due = boxes
        .text("SELECT alert_after::text FROM public.account_tool_environments WHERE alert_after IS NOT NULL")
        .await;

    let first = boxes.sweep(&json!({})).await;
    let second = boxes.sweep(&json!({})).await;

    assert_eq!((&first["silent"], &first["alerts"]), (&json!(1), &json!(1)));
    assert_eq!((&second["silent"], &second["alerts"]), (&json!(0), &json!(0)));
    assert_eq!(boxes.status().await, "unresponsive");
    // The flip is of when it fell silent, and not of when that was noticed.
    assert_eq!(boxes.text("SELECT at::text FROM app.toolbox_flips").await, due);
    assert_eq!(boxes.text("SELECT kind FROM app.alerts").await, "silent");
    assert_eq!(
        count(&boxes.owner, "SELECT count(*) FROM app.jobs WHERE kind = 'alert'", &[]).await,
        1
    );
}

#[tokio::test]
async fn a_return_is_told_to_whom_the_silence_was() {
    let boxes = Toolboxes::new().await;
    boxes.beat(&json!({})).await.unwrap();
    boxes
        .run("UPDATE public.account_tool_environments SET alert_after = now() - interval '1 minute'")
        .await;
    boxes.sweep(&json!({})).await;

    boxes.beat(&json!({})).await.unwrap();
    let swept = boxes.sweep(&json!({})).await;

    assert_eq!((&swept["returned"], &swept["alerts"]), (&json!(1), &json!(1)));
    assert_eq!(boxes.status().await, "active");
    let told = texts(
        &boxes.owner,
        "SELECT kind || ' ' || user_id FROM app.alerts ORDER BY created_at",
        &[],
    )
    .await;
    assert_eq!(told, [format!("silent {TENANT}"), format!("returned {TENANT}")]);
}

#[tokio::test]
async fn who_is_told_nowhere_raises_no_alert() {
    let boxes = Toolboxes::new().await;
    boxes
        .run(
            "DELETE FROM app.alert_destinations;
             UPDATE public.account_tool_environments SET alert_after = now() - interval '1 minute'",
        )
        .await;

    let silent = boxes.sweep(&json!({})).await;
    boxes.beat(&json!({})).await.unwrap();
    let returned = boxes.sweep(&json!({})).await;

    assert_eq!((&silent["silent"], &silent["alerts"]), (&json!(1), &json!(0)));
    assert_eq!((&returned["returned"], &returned["alerts"]), (&json!(1), &json!(0)));
    let undecided = "SELECT count(*) FROM app.toolbox_flips WHERE processed_at IS NULL";
    assert_eq!(count(&boxes.owner, undecided, &[]).await, 0);
}

#[tokio::test]
async fn owners_are_reminded() {
    let boxes = Toolboxes::new().await;
    boxes
        .run("UPDATE public.account_tool_environments SET alert_after = now() - interval '1 minute'")
        .await;
    boxes.sweep(&json!({})).await;
    assert_eq!(boxes.sweep(&json!({})).await["reminded"], 0);
    boxes
        .run("UPDATE public.account_tool_environments SET remind_after = now() - interval '1 second'")
        .await;

    let swept = boxes.sweep(&json!({})).await;

    assert_eq!((&swept["reminded"], &swept["alerts"]), (&json!(1), &json!(1)));
    assert_eq!(boxes.sweep(&json!({})).await["reminded"], 0);
    let kinds = texts(&boxes.owner, "SELECT kind FROM app.alerts ORDER BY created_at", &[]).await;
    assert_eq!(kinds, ["silent", "reminder"]);
}

#[tokio::test]
async fn many_at_once_are_one_alert_to_the_operator() {
    let boxes = Toolboxes::new().await;
    boxes.overdue(1000).await;

    let swept = boxes.sweep(&json!({})).await;

    assert_eq!(
        (&swept["silent"], &swept["is_mass"], &swept["alerts"]),
        (&json!(1000), &json!(true), &json!(1))
    );
    let alert = "SELECT kind || ' ' || total || ' ' || jsonb_array_length(entries) || ' ' || coalesce(user_id::text, 'operator')
                 FROM app.alerts";
    assert_eq!(boxes.text(alert).await, "mass_silence 1000 20 operator");
}

#[tokio::test]
async fn those_that_fall_silent_over_a_minute_are_told_together() {
    let boxes = Toolboxes::new().await;
    let settling = json!({ "settle_seconds": 60 });
    let mut alerts = Vec::new();
    for number in [83, 500, 417] {
        boxes.overdue(number).await;
        alerts.push(boxes.sweep(&settling).await["alerts"].clone());
        // Half a minute goes by.
        boxes
            .run("UPDATE app.toolbox_flips SET noticed_at = noticed_at - interval '31 seconds'")
            .await;
    }

    let last = boxes.sweep(&settling).await;

    assert_eq!(
        alerts,
        [0, 0, 1].map(Value::from),
        "the third sweep finds one that has settled"
    );
    assert_eq!(last["alerts"], 0);
    let told = "SELECT kind || ' ' || total FROM app.alerts";
    assert_eq!(boxes.text(told).await, "mass_silence 1000");
}

#[tokio::test]
async fn a_schedule_that_is_always_late_notices_silence_all_the_same() {
    let boxes = Toolboxes::new().await;
    let late = "UPDATE app.sweep_state SET swept_at = now() - interval '10 minutes'";
    boxes.overdue(1).await;
    boxes.run(late).await;
    let first = boxes.sweep(&json!({})).await;
    let due = "UPDATE public.account_tool_environments SET alert_after = now() - interval '1 second'
               WHERE alert_after IS NOT NULL";
    boxes.run(due).await;
    boxes.run(late).await;

    let second = boxes.sweep(&json!({})).await;

    assert_eq!((&first["is_late"], &first["silent"]), (&json!(true), &json!(0)));
    assert_eq!((&second["is_late"], &second["silent"]), (&json!(false), &json!(1)));
}

#[tokio::test]
async fn an_owner_and_a_machines_job_do_not_wait_for_each_other_for_ever() {
    let boxes = Toolboxes::new().await;
    boxes
        .run("SELECT app.request_machine_job(id) FROM public.account_tool_environments")
        .await;
    let claim = json!({ "kinds": ["toolbox_machine"], "limit": 10, "lease_seconds": 60 });
    let job = boxes.call("claim_jobs", &claim).await.unwrap()["jobs"][0].clone();
    let step = json!({
        "toolbox_id": TOOLBOX, "change": { "kind": "note", "message": null },
        "job": { "job_id": job["job_id"], "lease_id": job["lease_id"], "requested": job["requested"], "keep_seconds": 60 },
    });
    let delete = json!({
        "toolbox_id": TOOLBOX, "if_match": null, "command": "delete", "per_minute": 6000, "burst": 1000,
        "transitions": { "active": "deprovisioning", "deprovisioning": "deprovisioning" },
    });
    let owner = boxes.database.functions().await;

    for _ in 0..40 {
        let tenant = user(TENANT);
        let (stepped, deleted) = futures::join!(
            boxes.call("advance_machine", &step),
            call(&owner, "command_toolbox", &tenant, &delete)
        );
        assert_eq!(stepped.unwrap()["held"], true);
        deleted.unwrap();
    }
}

#[tokio::test]
async fn while_the_provider_has_had_enough_no_machine_is_looked_at() {
    let boxes = Toolboxes::new().await;
    boxes
        .run(
            "SELECT app.request_machine_job(id) FROM public.account_tool_environments;
             INSERT INTO app.jobs (kind, key) VALUES ('alert', 'another')",
        )
        .await;
    let claim = json!({ "kinds": ["toolbox_machine"], "limit": 10, "lease_seconds": 60 });
    let job = boxes.call("claim_jobs", &claim).await.unwrap()["jobs"][0].clone();
    let limited = json!({
        "toolbox_id": TOOLBOX, "change": null,
        "job": {
            "job_id": job["job_id"], "lease_id": job["lease_id"], "requested": job["requested"], "error": "429",
            "run_after_seconds": 600, "provider_pause_seconds": 600,
        },
    });

    boxes.call("advance_machine", &limited).await.unwrap();
    // Its owner is impatient.
    boxes
        .run("SELECT app.request_machine_job(id) FROM public.account_tool_environments")
        .await;

    assert_eq!(boxes.call("claim_jobs", &claim).await.unwrap()["jobs"], json!([]));
    let alerts = json!({ "kinds": ["alert"], "limit": 10, "lease_seconds": 60 });
    assert_eq!(
        boxes.call("claim_jobs", &alerts).await.unwrap()["jobs"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    boxes
        .run("UPDATE app.sweep_state SET provider_paused_until = now()")
        .await;
    assert_eq!(
        boxes.call("claim_jobs", &claim).await.unwrap()["jobs"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn few_of_many_are_their_owners_business() {
    let boxes = Toolboxes::new().await;
    boxes.overdue(12).await;
    boxes.overdue(30).await;
    boxes
        .run(
            "UPDATE public.account_tool_environments SET alert_after = now() + interval '1 minute'
             WHERE id IN (SELECT id FROM public.account_tool_environments WHERE alert_after IS NOT NULL LIMIT 30)",
        )
        .await;

    let swept = boxes.sweep(&json!({})).await;

    assert_eq!(
        (&swept["silent"], &swept["is_mass"], &swept["alerts"]),
        (&json!(12), &json!(false), &json!(12))
    );
}

#[tokio::test]
async fn without_an_operator_owners_are_told_of_many_too() {
    let boxes = Toolboxes::new().await;
    boxes.overdue(20).await;

    let swept = boxes.sweep(&json!({ "has_operator": false })).await;

    assert_eq!((&swept["is_mass"], &swept["alerts"]), (&json!(false), &json!(20)));
}

#[tokio::test]
async fn a_late_sweep_accuses_nobody() {
    let boxes = Toolboxes::new().await;
    boxes.overdue(50).await;
    boxes
        .run("UPDATE app.sweep_state SET swept_at = now() - interval '1 hour'")
        .await;

    let late = boxes.sweep(&json!({})).await;
    let next = boxes.sweep(&json!({})).await;

    assert_eq!(
        (&late["is_late"], &late["silent"], &late["postponed"]),
        (&json!(true), &json!(0), &json!(50))
    );
    assert_eq!((&next["is_late"], &next["silent"]), (&json!(false), &json!(0)));
}

#[tokio::test]
async fn two_sweeps_at_once_do_the_work_once() {
    let boxes = Toolboxes::new().await;
    boxes.overdue(200).await;

    let mut connections = Vec::new();
    for _ in 0..4 {
        connections.push(boxes.database.functions().await);
    }
    let alone = json!({ "has_operator": false });

    let both = futures::future::join_all(connections.iter().map(|connection| sweep(connection, &alone))).await;

    let sum = |field: &str| both.iter().filter_map(|swept| swept[field].as_u64()).sum::<u64>();
    assert_eq!((sum("silent"), sum("alerts")), (200, 200));
    assert_eq!(
        count(&boxes.owner, "SELECT count(*) FROM app.toolbox_flips", &[]).await,
        200
    );
}

#[tokio::test]
async fn an_alert_is_sent_under_its_lease_and_known_to_be_in_doubt() {
    let boxes = Toolboxes::new().await;
    boxes
        .run("UPDATE public.account_tool_environments SET alert_after = now() - interval '1 minute'")
        .await;
    boxes.sweep(&json!({})).await;
    let claim = json!({ "kinds": ["alert"], "limit": 10, "lease_seconds": 60 });
    let job = boxes.call("claim_jobs", &claim).await.unwrap()["jobs"][0].clone();
    let begin = |job: &Value| json!({ "alert_id": job["key"], "lease": { "job_id": job["job_id"], "lease_id": job["lease_id"] } });

    let first = boxes.call("begin_alert", &begin(&job)).await.unwrap();
    assert_eq!((&first["kind"], &first["in_doubt"]), (&json!("silent"), &json!(false)));
    assert_eq!(
        first["destination"],
        json!({ "webhook_sealed": "canary-sealed-webhook" })
    );

    // The sender dies; its lease runs out.
    boxes
        .run("UPDATE app.jobs SET lease_expires_at = now() - interval '1 second'")
        .await;
    let taken = boxes.call("claim_jobs", &claim).await.unwrap()["jobs"][0].clone();
    assert_eq!((&taken["attempts"], &taken["job_id"]), (&json!(1), &job["job_id"]));
    assert_eq!(boxes.call("begin_alert", &begin(&job)).await.unwrap(), Value::Null);
    let second = boxes.call("begin_alert", &begin(&taken)).await.unwrap();
    assert_eq!(second["in_doubt"], true);

    let settle = |job: &Value, outcome: &str| {
        json!({
            "alert_id": job["key"], "outcome": outcome, "reason": null, "disable_destination": false,
            "job": { "job_id": job["job_id"], "lease_id": job["lease_id"], "requested": job["requested"], "outcome": "succeeded" },
        })
    };
    assert_eq!(
        boxes.call("settle_alert", &settle(&job, "given_up")).await.unwrap()["held"],
        false
    );
    assert_eq!(
        boxes.call("settle_alert", &settle(&taken, "delivered")).await.unwrap()["held"],
        true
    );
    assert_eq!(boxes.call("claim_jobs", &claim).await.unwrap()["jobs"], json!([]));
    let delivered = "SELECT count(*) FROM app.alerts WHERE delivered_at IS NOT NULL AND given_up IS NULL";
    assert_eq!(count(&boxes.owner, delivered, &[]).await, 1);
}

#[tokio::test]
async fn liveness_over_all_is_for_administrators() {
    let boxes = Toolboxes::new().await;
    let stranger = sign_up(&boxes.owner, "stranger@example.com").await;
    let input = |all: bool| json!({ "limit": 10, "cursor": null, "all": all, "summary": all });

    let own = call(&boxes.functions, "read_liveness", &user(TENANT), &input(false))
        .await
        .unwrap();
    let none = call(&boxes.functions, "read_liveness", &user(stranger), &input(false))
        .await
        .unwrap();
    let refused = call(&boxes.functions, "read_liveness", &user(stranger), &input(true)).await;
    boxes
        .run(&format!(
            "INSERT INTO public.user_roles (user_id, role_id) SELECT '{stranger}', id FROM public.roles WHERE name = 'admin'"
        ))
        .await;
    let all = call(&boxes.functions, "read_liveness", &user(stranger), &input(true))
        .await
        .unwrap();

    assert_eq!(own["rows"][0]["id"], json!(TOOLBOX));
    assert_eq!(none["rows"], json!([]));
    assert_eq!(refused, Err("PT403 not_an_operator".to_owned()));
    assert_eq!(all["rows"][0]["id"], json!(TOOLBOX));
    assert_eq!(all["summary"]["toolboxes"], json!({ "active": 1 }));
}

#[tokio::test]
async fn what_has_served_its_time_is_removed_and_nothing_else() {
    let boxes = Toolboxes::new().await;
    boxes
        .run(
            "UPDATE app.idempotency_keys SET expires_at = now() - interval '1 second';
             INSERT INTO app.rate_limits (key, tat) VALUES ('old', now() - interval '2 days');
             INSERT INTO app.jobs (kind, key, outcome, finished_at) VALUES
                 ('alert', 'old', 'succeeded', now() - interval '8 days'), ('alert', 'new', 'succeeded', now());
             INSERT INTO app.jobs (kind, key) VALUES ('alert', 'waiting');
             INSERT INTO app.discord_interactions (interaction_id, application_id, public_key, kind, response, created_at)
             SELECT id, '1', repeat('a', 64), 'agents', '{}', now() - age
             FROM (VALUES ('11', interval '59 minutes'), ('12', interval '61 minutes')) AS interaction (id, age);
             INSERT INTO app.discord_starts (application_id, since, starts)
             VALUES ('1', now() - interval '23 hours 59 minutes', 9), ('2', now() - interval '24 hours', 9)",
        )
        .await;

    let pruned = boxes.call("prune_expired", &json!({ "limit": 100 })).await.unwrap();
    let again = boxes.call("prune_expired", &json!({ "limit": 100 })).await.unwrap();

    assert_eq!(
        pruned["removed"],
        json!({
            "idempotency_keys": 1, "rate_limits": 1, "jobs": 1, "machine_attempts": 0, "alerts": 0, "discord_interactions": 1,
            "discord_starts": 1, "toolbox_flips": 0,
        })
    );
    assert_eq!(again["removed"], json!({}));
    let left = texts(&boxes.owner, "SELECT key FROM app.jobs ORDER BY key", &[]).await;
    assert_eq!(left, ["new", "waiting"]);
    let counted = "SELECT application_id FROM app.discord_starts ORDER BY application_id";
    assert_eq!(texts(&boxes.owner, counted, &[]).await, ["1", "423456789012345678"]);
}

#[tokio::test]
async fn a_machines_steps_are_taken_under_its_lease() {
    let boxes = Toolboxes::new().await;
    boxes
        .run(
            "UPDATE public.account_tool_environments
             SET status = 'pending_provision', last_heartbeat_at = NULL, do_droplet_id = NULL, public_ip_address = NULL,
                 token_hash = NULL;
             SELECT app.request_machine_job(id) FROM public.account_tool_environments",
        )
        .await;
    let claim = json!({ "kinds": ["toolbox_machine"], "limit": 10, "lease_seconds": 60 });
    let job = boxes.call("claim_jobs", &claim).await.unwrap()["jobs"][0].clone();
    assert_eq!(boxes.call("claim_jobs", &claim).await.unwrap()["jobs"], json!([]));
    let attempt = Uuid::from_u128(7);
    let advance = |lease: &Value, change: Value, keep: bool| {
        let mut input = json!({
            "toolbox_id": TOOLBOX, "change": change,
            "job": { "job_id": job["job_id"], "lease_id": lease, "requested": job["requested"] },
        });
        if keep {
            input["job"]["keep_seconds"] = 60.into();
        }
        input
    };
    let begin = json!({
        "kind": "begin_attempt", "attempt_id": attempt, "boot_seconds": 600,
        "bootstrap_token_hash": hash(&boxes.owner, "boot").await,
    });

    let stranger = advance(&json!(Uuid::from_u128(9)), begin.clone(), true);
    assert_eq!(
        boxes.call("advance_machine", &stranger).await.unwrap(),
        json!({ "held": false, "applied": false })
    );
    assert_eq!(boxes.status().await, "pending_provision");

    let own = &job["lease_id"];
    let taken = json!({ "held": true, "applied": true });
    assert_eq!(
        boxes.call("advance_machine", &advance(own, begin, true)).await.unwrap(),
        taken
    );
    let known = boxes
        .call("read_machine", &json!({ "toolbox_id": TOOLBOX }))
        .await
        .unwrap();
    assert_eq!(known["toolbox"]["status"], "provisioning");
    assert_eq!(
        (&known["toolbox"]["attempts_made"], &known["attempts"][0]["id"]),
        (&json!(1), &json!(attempt))
    );

    let adopt = json!({ "kind": "adopt", "attempt_id": attempt, "droplet_id": 99, "droplet_name": "toolbox-a" });
    assert_eq!(
        boxes.call("advance_machine", &advance(own, adopt, true)).await.unwrap(),
        taken
    );

    // It has spoken before its address was known: what it said is not overwritten.
    boxes
        .run("UPDATE public.account_tool_environments SET status = 'active', last_heartbeat_at = now()")
        .await;
    let address = json!({ "kind": "address", "attempt_id": attempt, "address": "203.0.113.9" });
    assert_eq!(
        boxes
            .call("advance_machine", &advance(own, address, true))
            .await
            .unwrap(),
        taken
    );
    assert_eq!(boxes.status().await, "active");

    // It is asked for again while it is at work: it is due again when it is left.
    boxes
        .run("SELECT app.request_machine_job(id) FROM public.account_tool_environments")
        .await;
    let mut done = advance(own, Value::Null, false);
    done["job"]["outcome"] = "succeeded".into();
    assert_eq!(boxes.call("advance_machine", &done).await.unwrap(), taken);
    assert_eq!(
        boxes.call("claim_jobs", &claim).await.unwrap()["jobs"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn a_machine_outlives_its_owner_in_the_jobs() {
    let boxes = Toolboxes::new().await;
    boxes
        .run(&format!(
            "INSERT INTO app.machine_attempts (id, toolbox_id, user_id, droplet_id, boot_deadline)
             VALUES (gen_random_uuid(), '{TOOLBOX}', '{TENANT}', 4711, now())"
        ))
        .await;

    boxes
        .run(&format!("DELETE FROM auth.users WHERE id = '{TENANT}'"))
        .await;

    let claim = json!({ "kinds": ["toolbox_machine"], "limit": 10, "lease_seconds": 60 });
    let jobs = boxes.call("claim_jobs", &claim).await.unwrap();
    assert_eq!(jobs["jobs"][0]["key"], json!(TOOLBOX));
    let known = boxes
        .call("read_machine", &json!({ "toolbox_id": TOOLBOX }))
        .await
        .unwrap();
    assert_eq!((&known["toolbox"], &known["owner_id"]), (&Value::Null, &json!(TENANT)));
    assert_eq!(known["attempts"][0]["droplet_id"], 4711);
}

#[tokio::test]
async fn no_user_calls_what_machines_and_schedules_call() {
    let boxes = Toolboxes::new().await;
    let destination = json!({ "sealed": "s", "key_id": "a", "webhook_id": "1", "per_minute": 60, "burst": 10 });
    let kept = call(&boxes.functions, "put_alert_destination", &user(TENANT), &destination)
        .await
        .unwrap();
    assert_eq!(
        kept,
        json!({ "configured": true, "webhook_id": "1", "disabled_at": null })
    );
    let service = boxes.call("put_alert_destination", &destination).await;
    assert_eq!(service, Err("28000".to_owned()));

    // A user's role has no right on what they touch, whatever is asked.
    for (operation, input) in [
        (
            "claim_jobs",
            json!({ "kinds": ["alert"], "limit": 1, "lease_seconds": 1 }),
        ),
        (
            "sweep_toolboxes",
            json!({ "limit": 1, "late_after_seconds": 1, "settle_seconds": 0, "mass_minimum": 1, "mass_percent": 1, "remind_after_seconds": 1, "has_operator": true }),
        ),
        ("prune_expired", json!({ "limit": 1 })),
        ("read_machine", json!({ "toolbox_id": TOOLBOX })),
        ("record_heartbeat", json!({ "token_hash": "00" })),
        (
            "register_machine",
            json!({ "bootstrap_hash": "00", "claim_hash": null, "token_hash": "00" }),
        ),
    ] {
        let refused = call(&boxes.functions, operation, &user(TENANT), &input).await;
        assert_eq!(refused, Err("42501".to_owned()), "{operation}");
    }
}
