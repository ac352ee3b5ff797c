//! What the operations of toolboxes, their tools and durable jobs guarantee, whoever calls.

use futures::future::join_all;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::data_database::{Database, TENANT, call, count, sign_up, texts, user};

/// The tenant's toolbox and tool in tests/data/tenant.sql.
const TOOLBOX: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_a000_0000_0000_0041);
const INSTANCE: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_a000_0000_0000_0042);

/// A toolbox that a user asks for, under limits that no test reaches by itself.
fn wanted(changes: &Value) -> Value {
    let mut input = json!({
        "id": Uuid::from_u128(u128::from(rand())), "name": "Box", "description": null, "region_slug": "fra1", "size_slug": "s",
        "image_slug": "ubuntu-22-04-x64", "max_per_user": 5, "per_minute": 6000, "burst": 100, "idempotency_key": null,
        "request_hash": "hash",
    });
    for (name, value) in changes.as_object().unwrap() {
        input[name] = value.clone();
    }
    input
}

/// A number that no other call gets.
fn rand() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// What is told to the tenant's tool, under a rule that lets it run.
fn command(changes: &Value) -> Value {
    let rule = json!({ "desired": "running", "status": "starting", "status_without_container": "pending_deploy", "new_generation": true });
    let mut input = json!({
        "toolbox_id": TOOLBOX, "instance_id": INSTANCE, "if_match": null, "command": "restart", "per_minute": 6000, "burst": 100,
        "rule": { "running": rule, "stopped": rule },
    });
    for (name, value) in changes.as_object().unwrap() {
        input[name] = value.clone();
    }
    input
}

async fn job(owner: &Client, key: &str) -> Vec<String> {
    let statement = "SELECT concat_ws(' ', coalesce(outcome, 'open'), attempts, requested,
                                      CASE WHEN run_after <= clock_timestamp() THEN 'due' ELSE 'later' END,
                                      CASE WHEN lease_id IS NOT NULL THEN 'leased' END, last_error)
                     FROM app.jobs WHERE key = $1";
    texts(owner, statement, &[&key]).await
}

#[tokio::test]
async fn concurrent_requests_do_not_pass_the_limit_together() {
    let database = Database::with_tenant().await;
    let owner = database.owner().await;
    let stranger = sign_up(&owner, "stranger@example.com").await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(database.functions().await);
    }

    let outcomes = join_all(
        clients
            .iter()
            .map(async |client| call(client, "create_toolbox", &user(stranger), &wanted(&json!({}))).await),
    )
    .await;

    let refused = outcomes
        .iter()
        .filter(|outcome| **outcome == Err("PT409 too_many_toolboxes".to_owned()))
        .count();
    assert_eq!(
        (outcomes.iter().filter(|outcome| outcome.is_ok()).count(), refused),
        (5, 5),
        "{outcomes:?}"
    );
    let made = "SELECT count(*) FROM public.account_tool_environments WHERE user_id = $1";
    assert_eq!(count(&owner, made, &[&stranger]).await, 5);
    let jobs = "SELECT count(*) FROM app.jobs AS job
                JOIN public.account_tool_environments AS toolbox ON toolbox.id::text = job.key
                WHERE toolbox.user_id = $1 AND job.kind = 'toolbox_machine' AND job.outcome IS NULL";
    assert_eq!(count(&owner, jobs, &[&stranger]).await, 5);
}

#[tokio::test]
async fn what_is_refused_leaves_nothing_behind() {
    let database = Database::with_tenant().await;
    let (owner, functions) = (database.owner().await, database.functions().await);
    let limited = wanted(&json!({ "max_per_user": 1, "idempotency_key": "a key" }));

    let refused = call(&functions, "create_toolbox", &user(TENANT), &limited).await;

    assert_eq!(refused, Err("PT409 too_many_toolboxes".to_owned()));
    let left = "SELECT (SELECT count(*) FROM app.idempotency_keys WHERE operation = 'create_toolbox')
                     + (SELECT count(*) FROM app.rate_limits WHERE key LIKE 'create_toolbox:%')
                     + (SELECT count(*) FROM app.jobs WHERE kind = 'toolbox_machine')";
    assert_eq!(count(&owner, left, &[]).await, 0);
    // The key is as good as new.
    let more = wanted(&json!({ "idempotency_key": "a key" }));
    assert_eq!(
        call(&functions, "create_toolbox", &user(TENANT), &more).await.unwrap()["replayed"],
        false
    );
}

#[tokio::test]
async fn anothers_toolbox_is_not_found_by_any_operation_and_a_service_has_none() {
    let database = Database::with_tenant().await;
    let (owner, functions) = (database.owner().await, database.functions().await);
    let stranger = sign_up(&owner, "stranger@example.com").await;
    let of = json!({ "toolbox_id": TOOLBOX, "instance_id": INSTANCE, "if_match": null, "per_minute": 60, "burst": 10 });
    let with = |more: Value| {
        let mut input = of.clone();
        for (name, value) in more.as_object().unwrap() {
            input[name] = value.clone();
        }
        input
    };
    let all = "SELECT (SELECT jsonb_agg(t) FROM public.account_tool_environments AS t)::text
                   || (SELECT jsonb_agg(t) FROM public.account_tool_instances AS t)::text";
    let before = texts(&owner, all, &[]).await;

    for (operation, input) in [
        ("get_toolbox", of.clone()),
        ("update_toolbox", with(json!({ "set": { "name": "Mine" } }))),
        (
            "command_toolbox",
            with(json!({ "command": "delete", "transitions": { "active": "deprovisioning" } })),
        ),
        ("refresh_toolbox", of.clone()),
        ("prepare_tool_instance", of.clone()),
        (
            "create_tool_instance",
            with(json!({ "catalog_id": TOOLBOX, "name": "mine", "max_per_toolbox": 9 })),
        ),
        ("list_tool_instances", of.clone()),
        ("get_tool_instance", of.clone()),
        ("command_tool_instance", command(&json!({}))),
    ] {
        let refused = call(&functions, operation, &user(stranger), &input).await;
        assert_eq!(refused, Err("PT404 toolbox_not_found".to_owned()), "{operation}");
        let service = json!({ "kind": "service", "name": "toolboxes-user" });
        let refused = call(&functions, operation, &service, &input).await;
        assert_eq!(refused, Err("28000".to_owned()), "{operation}");
    }
    let listed = call(
        &functions,
        "list_toolboxes",
        &user(stranger),
        &json!({ "limit": 10, "cursor": null }),
    )
    .await;
    assert_eq!(listed, Ok(json!({ "rows": [], "next": null })));
    assert_eq!(texts(&owner, all, &[]).await, before);
}

#[tokio::test]
async fn no_document_has_a_column_that_its_owner_may_not_read() {
    let database = Database::with_tenant().await;
    let functions = database.functions().await;

    let toolbox = call(
        &functions,
        "get_toolbox",
        &user(TENANT),
        &json!({ "toolbox_id": TOOLBOX }),
    )
    .await
    .unwrap();
    let tool = call(
        &functions,
        "get_tool_instance",
        &user(TENANT),
        &json!({ "toolbox_id": TOOLBOX, "instance_id": INSTANCE }),
    )
    .await
    .unwrap();

    let names = |document: &Value| {
        document
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    insta::assert_snapshot!(names(&toolbox), @"created_at description desired_state do_droplet_id do_droplet_name dtma_health_details_json dtma_last_known_version generation heartbeat_grace_seconds heartbeat_period_seconds id image_slug last_heartbeat_at name provisioning_error_message public_ip_address region_slug reported_generation revision size_slug status updated_at user_id");
    insta::assert_snapshot!(names(&tool), @"account_tool_environment_id base_config_override_json config_values created_at desired_status generation id instance_error_message instance_name_on_toolbox last_heartbeat_from_dtma port_mapping_json reported_generation reported_state revision status_on_toolbox tool_catalog_id updated_at version");
}

#[tokio::test]
async fn of_two_changes_to_one_revision_one_is_made() {
    let database = Database::with_tenant().await;
    let owner = database.owner().await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(database.functions().await);
    }
    let update = |number: usize| json!({ "toolbox_id": TOOLBOX, "if_match": 1, "set": { "name": format!("Box {number}") }, "per_minute": 6000, "burst": 100 });

    let renamed = join_all(
        clients
            .iter()
            .enumerate()
            .map(async |(number, client)| call(client, "update_toolbox", &user(TENANT), &update(number)).await),
    )
    .await;
    let restarted = join_all(clients.iter().map(async |client| {
        call(
            client,
            "command_tool_instance",
            &user(TENANT),
            &command(&json!({ "if_match": 1 })),
        )
        .await
    }))
    .await;

    for outcomes in [renamed, restarted] {
        let stale = outcomes
            .iter()
            .filter(|outcome| **outcome == Err("PT412 precondition_failed".to_owned()))
            .count();
        assert_eq!((outcomes.len() - stale, stale), (1, 7), "{outcomes:?}");
    }
    let revisions = "SELECT toolbox.revision || ' ' || instance.revision
                     FROM public.account_tool_environments AS toolbox
                     JOIN public.account_tool_instances AS instance ON instance.account_tool_environment_id = toolbox.id";
    assert_eq!(texts(&owner, revisions, &[]).await, ["2 2"]);
}

#[tokio::test]
async fn asking_twice_for_a_job_is_asking_once() {
    let database = Database::with_tenant().await;
    let owner = database.owner().await;
    let ask = "SELECT app.request_job('test', 'a', 3, clock_timestamp() + make_interval(secs => $1))";

    for (seconds, expected) in [
        (60.0, "open 0 1 later"),
        (600.0, "open 0 2 later"),
        (0.0, "open 0 3 due"),
        (600.0, "open 0 4 due"),
    ] {
        owner.query_one(ask, &[&seconds]).await.unwrap();
        assert_eq!(job(&owner, "a").await, [expected]);
    }
}

#[tokio::test]
async fn a_job_that_is_asked_for_while_it_is_at_work_is_due_again() {
    let database = Database::with_tenant().await;
    let (owner, functions) = (database.owner().await, database.functions().await);
    let service = json!({ "kind": "service", "name": "heartbeat" });
    owner
        .batch_execute("SELECT app.request_job('test', 'a', 3)")
        .await
        .unwrap();
    let claim = json!({ "kinds": ["test"], "limit": 10, "lease_seconds": 60 });
    let claimed = call(&functions, "claim_jobs", &service, &claim).await.unwrap();
    let lease = &claimed["jobs"][0];

    owner
        .batch_execute("SELECT app.request_job('test', 'a', 3)")
        .await
        .unwrap();
    assert_eq!(
        call(&functions, "claim_jobs", &service, &claim).await.unwrap()["jobs"],
        json!([])
    );
    let settle = json!({
        "job_id": lease["job_id"], "lease_id": lease["lease_id"], "requested": lease["requested"], "outcome": "succeeded",
    });
    let settled = call(&functions, "settle_job", &service, &settle).await.unwrap();

    assert_eq!(settled, json!({ "held": true }));
    assert_eq!(job(&owner, "a").await, ["open 0 2 due"]);
    let next = call(&functions, "claim_jobs", &service, &claim).await.unwrap()["jobs"][0].clone();
    let settle = json!({
        "job_id": next["job_id"], "lease_id": next["lease_id"], "requested": next["requested"], "outcome": "succeeded",
    });
    call(&functions, "settle_job", &service, &settle).await.unwrap();
    assert_eq!(job(&owner, "a").await, ["succeeded 0 2 due"]);
    // And what is done can be asked for anew.
    owner
        .batch_execute("SELECT app.request_job('test', 'a', 3)")
        .await
        .unwrap();
    assert_eq!(job(&owner, "a").await, ["open 0 3 due"]);
}

#[tokio::test]
async fn who_lost_a_lease_settles_nothing() {
    let database = Database::with_tenant().await;
    let (owner, functions) = (database.owner().await, database.functions().await);
    let service = json!({ "kind": "service", "name": "heartbeat" });
    owner
        .batch_execute("SELECT app.request_job('test', 'a', 3)")
        .await
        .unwrap();
    let claim = json!({ "kinds": ["test"], "limit": 10, "lease_seconds": 60 });
    let first = call(&functions, "claim_jobs", &service, &claim).await.unwrap()["jobs"][0].clone();
    let settle = |lease: &Value| {
        json!({
            "job_id": lease["job_id"], "lease_id": lease["lease_id"], "requested": lease["requested"], "outcome": "succeeded",
        })
    };

    // It dies; its lease runs out, and another takes over.
    owner
        .batch_execute("UPDATE app.jobs SET lease_expires_at = now() - interval '1 second' WHERE kind = 'test'")
        .await
        .unwrap();
    let second = call(&functions, "claim_jobs", &service, &claim).await.unwrap()["jobs"][0].clone();
    let late = call(&functions, "settle_job", &service, &settle(&first)).await.unwrap();

    assert_eq!((&second["job_id"], &second["attempts"]), (&first["job_id"], &json!(1)));
    assert_ne!(second["lease_id"], first["lease_id"]);
    assert_eq!(late, json!({ "held": false }));
    assert_eq!(job(&owner, "a").await, ["open 1 1 due leased"]);
    let settled = call(&functions, "settle_job", &service, &settle(&second))
        .await
        .unwrap();
    assert_eq!(settled, json!({ "held": true }));
    assert_eq!(job(&owner, "a").await, ["succeeded 0 1 due"]);
    let twice = call(&functions, "settle_job", &service, &settle(&second))
        .await
        .unwrap();
    assert_eq!(twice, json!({ "held": false }));
}

#[tokio::test]
async fn a_job_that_fails_too_often_is_given_up() {
    let database = Database::with_tenant().await;
    let (owner, functions) = (database.owner().await, database.functions().await);
    let service = json!({ "kind": "service", "name": "heartbeat" });
    owner
        .batch_execute("SELECT app.request_job('test', 'a', 2)")
        .await
        .unwrap();
    let claim = json!({ "kinds": ["test"], "limit": 10, "lease_seconds": 60 });

    for expected in ["open 1 1 later no luck", "failed 2 1 later no luck"] {
        owner
            .batch_execute("UPDATE app.jobs SET run_after = clock_timestamp()")
            .await
            .unwrap();
        let lease = call(&functions, "claim_jobs", &service, &claim).await.unwrap()["jobs"][0].clone();
        let settle = json!({
            "job_id": lease["job_id"], "lease_id": lease["lease_id"], "requested": lease["requested"], "error": "no luck",
            "run_after_seconds": 30,
        });
        call(&functions, "settle_job", &service, &settle).await.unwrap();
        assert_eq!(job(&owner, "a").await, [expected]);
    }
}

#[tokio::test]
async fn two_who_claim_at_once_do_not_claim_the_same() {
    let database = Database::with_tenant().await;
    let owner = database.owner().await;
    let service = json!({ "kind": "service", "name": "heartbeat" });
    owner
        .batch_execute("SELECT app.request_job('test', number::text, 3) FROM generate_series(1, 40) AS number")
        .await
        .unwrap();
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(database.functions().await);
    }
    let claim = json!({ "kinds": ["test"], "limit": 8, "lease_seconds": 60 });

    let claimed = join_all(
        clients
            .iter()
            .map(async |client| call(client, "claim_jobs", &service, &claim).await.unwrap()),
    )
    .await;

    let mut keys: Vec<String> = claimed
        .iter()
        .flat_map(|claimed| claimed["jobs"].as_array().unwrap())
        .map(|job| job["key"].as_str().unwrap().to_owned())
        .collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!((all, keys.len()), (32, 32));
}

#[tokio::test]
async fn a_toolbox_without_a_machine_leaves_no_job_behind() {
    let database = Database::with_tenant().await;
    let owner = database.owner().await;
    owner
        .execute(
            "UPDATE app.machine_attempts SET ended_at = now() WHERE toolbox_id = $1",
            &[&TOOLBOX],
        )
        .await
        .unwrap();

    owner
        .execute("DELETE FROM auth.users WHERE id = $1", &[&TENANT])
        .await
        .unwrap();

    assert_eq!(
        count(
            &owner,
            "SELECT count(*) FROM app.jobs WHERE kind = 'toolbox_machine'",
            &[]
        )
        .await,
        0
    );
}

#[tokio::test]
async fn what_the_provider_offers_is_fetched_by_one_and_kept_by_a_service_alone() {
    let database = Database::with_tenant().await;
    let (owner, functions) = (database.owner().await, database.functions().await);
    let service = json!({ "kind": "service", "name": "toolboxes-user" });
    let read = json!({ "name": "sizes", "fresh_seconds": 3600, "retry_seconds": 30 });
    let store = json!({ "name": "sizes", "document": [{ "slug": "s" }] });
    let ask = async || {
        call(&functions, "read_provider_options", &user(TENANT), &read)
            .await
            .unwrap()
    };

    assert_eq!(ask().await, json!({ "document": null, "fetch": true }));
    let by_user = call(&functions, "store_provider_options", &user(TENANT), &store).await;
    assert_eq!(by_user, Err("42501".to_owned()));
    call(&functions, "store_provider_options", &service, &store)
        .await
        .unwrap();
    let kept = json!([{ "slug": "s" }]);
    assert_eq!(ask().await, json!({ "document": kept, "fetch": false }));
    owner.batch_execute("UPDATE app.provider_options SET fetched_at = now() - interval '1 hour', attempted_at = now() - interval '31 s' WHERE name = 'sizes'").await.unwrap();
    assert_eq!(ask().await, json!({ "document": kept, "fetch": true }));
    assert_eq!(ask().await, json!({ "document": kept, "fetch": false }));
    let unknown = json!({ "name": "images", "fresh_seconds": 3600, "retry_seconds": 30 });
    let refused = call(&functions, "read_provider_options", &user(TENANT), &unknown).await;
    assert_eq!(refused, Err("23514 provider_options_name_check".to_owned()));
}
