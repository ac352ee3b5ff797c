//! What turns for people whom only Discord knows guarantee: the agent's owner has them, where the agent may be used.

use serde_json::{Value, json};

use crate::data_database::{AGENT, TENANT, call, count, texts, user};
use crate::data_discord_support::{APPLICATION, Bots, GUILD, SECOND_AGENT, hash, key, of, with};

/// The input of a turn in the tenant's guild, with what proves a worker and an interaction.
fn turn(changes: &Value) -> Value {
    let input = json!({
        "agent_id": AGENT, "message": "Hello", "history_limit": 20, "lease_seconds": 60, "idempotency_key": null,
        "request_hash": "hash", "user_per_minute": 600, "user_burst": 100, "agent_per_minute": 600, "agent_burst": 100,
        "outside": outside(&json!({})), "token_hash": hash(1), "application_id": APPLICATION, "public_key": key(),
        "own_key": false,
    });
    with(input, changes)
}

/// Who speaks where.
fn outside(changes: &Value) -> Value {
    let outside = json!({
        "provider": "discord", "external_channel_id": "7", "external_guild_id": GUILD, "external_author_id": "8",
        "author_name": "Ada",
    });
    with(outside, changes)
}

/// Both ways to a turn.
const BOTH: [&str; 2] = ["begin_interaction_turn", "begin_worker_turn"];

async fn messages(bots: &Bots) -> i64 {
    count(
        &bots.owner,
        "SELECT count(*) FROM public.chat_messages WHERE content = 'Hello'",
        &[],
    )
    .await
}

#[tokio::test]
async fn the_owner_of_the_agent_has_the_turn_and_finishes_it() {
    for operation in BOTH {
        let bots = Bots::new().await;
        bots.active().await;

        let begun = bots.serve(operation, &turn(&json!({}))).await.unwrap();

        assert_eq!(
            (&begun["outcome"], &begun["owner_id"], &begun["conversation"]["kind"]),
            (&json!("started"), &json!(TENANT), &json!("outside"))
        );
        let said = "SELECT concat_ws(' ', sender_kind, sender_external_id, sender_name, sender_user_id)
                    FROM public.chat_messages WHERE content = 'Hello'";
        assert_eq!(texts(&bots.owner, said, &[]).await, ["outside 8 Ada"]);
        let reply = json!({
            "turn_id": begun["turn_id"], "lease_id": begun["lease_id"], "content": "Hi", "is_partial": false,
            "metadata": {}, "response": { "reply": "Hi" }, "model": "model", "provider": "openai", "input_tokens": 3,
            "output_tokens": 2, "milliseconds": 10,
        });
        call(&bots.functions, "complete_turn", &user(TENANT), &reply)
            .await
            .unwrap();
        let paid =
            "SELECT count(*) FROM app.usage_records WHERE user_id = $1 AND outcome = 'completed' AND model = 'model'";
        assert_eq!(count(&bots.owner, paid, &[&TENANT]).await, 1, "{operation}");
    }
}

#[tokio::test]
async fn a_turn_with_a_key_is_had_once() {
    let bots = Bots::new().await;
    bots.active().await;

    for operation in BOTH {
        let input = turn(&json!({ "idempotency_key": operation }));
        bots.serve(operation, &input).await.unwrap();
        let again = bots.serve(operation, &input).await;
        assert_eq!(again, Err("PT409 turn_in_progress".to_owned()), "{operation}");
    }

    bots.run(
        "UPDATE app.idempotency_keys SET status = 'completed', response = '{\"reply\": \"Hi\"}'
         WHERE key IN ('begin_interaction_turn', 'begin_worker_turn')",
    )
    .await;
    for operation in BOTH {
        let replayed = bots
            .serve(operation, &turn(&json!({ "idempotency_key": operation })))
            .await;
        assert_eq!(
            replayed,
            Ok(json!({ "outcome": "replayed", "response": { "reply": "Hi" }, "owner_id": TENANT }))
        );
    }
    assert_eq!(messages(&bots).await, 2);
}

#[tokio::test]
async fn nobody_speaks_where_the_owner_does_not_let_the_agent_be_used() {
    let places = "UPDATE public.agent_discord_connections SET ";
    let mut found = Vec::new();
    for (what, preparation, changes) in [
        (
            "another guild",
            "",
            json!({ "outside": outside(&json!({ "external_guild_id": "1" })) }),
        ),
        (
            "no guild",
            "",
            json!({ "outside": outside(&json!({ "external_guild_id": null })) }),
        ),
        (
            "a guild that is switched off",
            "is_enabled = false WHERE guild_id IS NOT NULL",
            json!({}),
        ),
        (
            "another channel",
            "allowed_channel_ids = '{6}' WHERE guild_id IS NOT NULL",
            json!({}),
        ),
        (
            "no channel",
            "allowed_channel_ids = '{}' WHERE guild_id IS NOT NULL",
            json!({}),
        ),
        ("another agent", "", json!({ "agent_id": SECOND_AGENT })),
        ("an agent that is none", "", json!({ "agent_id": TENANT })),
    ] {
        let bots = Bots::new().await;
        bots.active().await;
        if !preparation.is_empty() {
            bots.run(&format!("{places}{preparation}")).await;
        }
        let mut line = what.to_owned();
        for operation in BOTH {
            line = format!("{line}; {}", bots.serve(operation, &turn(&changes)).await.unwrap_err());
        }
        assert_eq!(messages(&bots).await, 0, "{what}");
        found.push(line);
    }

    insta::assert_snapshot!(found.join("\n"), @r"
    another guild; PT403 not_allowed_here; PT403 not_allowed_here
    no guild; PT403 not_allowed_here; PT403 not_allowed_here
    a guild that is switched off; PT403 not_allowed_here; PT403 not_allowed_here
    another channel; PT403 not_allowed_here; PT403 not_allowed_here
    no channel; PT403 not_allowed_here; PT403 not_allowed_here
    another agent; PT403 not_allowed_here; PT404 agent_not_found
    an agent that is none; PT403 not_allowed_here; PT404 agent_not_found
    ");
}

#[tokio::test]
async fn an_inactive_agent_is_not_spoken_to() {
    let bots = Bots::new().await;
    bots.active().await;
    bots.run("UPDATE public.agents SET active = false").await;

    for operation in BOTH {
        let refused = bots.serve(operation, &turn(&json!({}))).await;
        assert_eq!(refused, Err("PT409 agent_inactive".to_owned()), "{operation}");
    }
}

#[tokio::test]
async fn an_interaction_counts_with_the_application_and_the_key_that_its_owner_has_proven() {
    let bots = Bots::new().await;
    let (copycat, copy) = bots.copycat().await;
    let refused = Err("PT403 not_allowed_here".to_owned());
    let begin = async |changes: &Value| bots.serve("begin_interaction_turn", &turn(changes)).await;

    assert_eq!(begin(&json!({ "application_id": "1" })).await, refused);
    assert_eq!(begin(&json!({ "public_key": "cd".repeat(32) })).await, refused);
    assert_eq!(begin(&json!({ "agent_id": copy })).await, refused);
    assert_eq!(messages(&bots).await, 0);
    let own = begin(&json!({ "agent_id": copy, "own_key": true })).await.unwrap();
    assert_eq!(own["owner_id"], json!(copycat));
    bots.ask("clear_bot_token", &of(AGENT)).await.unwrap();
    assert_eq!(begin(&json!({})).await, refused);
}

#[tokio::test]
async fn a_workers_token_is_good_while_its_worker_is_wanted_and_heard_of() {
    let mut found = Vec::new();
    for (what, columns) in [
        ("active", "worker_status = 'active'"),
        ("activating", "worker_status = 'activating'"),
        ("its lease has run out", "worker_lease_expires_at = clock_timestamp()"),
        ("without a lease", "worker_lease_expires_at = NULL"),
        ("stopping", "worker_status = 'stopping'"),
        ("error", "worker_status = 'error'"),
        ("unauthorized", "worker_status = 'unauthorized'"),
        ("inactive", "worker_status = 'inactive'"),
        ("not wanted", "desired_status = 'inactive'"),
        ("switched off", "is_enabled = false"),
        ("started anew", "worker_token_hash = sha256('another')"),
        ("another application", "discord_app_id = '1'"),
    ] {
        let bots = Bots::new().await;
        bots.active().await;
        bots.set(columns).await;
        let begun = bots.serve("begin_worker_turn", &turn(&json!({}))).await;
        found.push(format!(
            "{what}: {}",
            begun.map_or_else(|code| code, |_| "begun".to_owned())
        ));
    }

    insta::assert_snapshot!(found.join("\n"), @r"
    active: begun
    activating: begun
    its lease has run out: PT401 invalid_token
    without a lease: PT401 invalid_token
    stopping: PT401 invalid_token
    error: PT401 invalid_token
    unauthorized: PT401 invalid_token
    inactive: PT401 invalid_token
    not wanted: PT401 invalid_token
    switched off: PT401 invalid_token
    started anew: PT401 invalid_token
    another application: PT401 invalid_token
    ");
}

#[tokio::test]
async fn a_stop_takes_the_workers_word_at_once() {
    let bots = Bots::new().await;
    bots.active().await;

    bots.stop(&json!({})).await.unwrap();

    let refused = bots.serve("begin_worker_turn", &turn(&json!({}))).await;
    assert_eq!(refused, Err("PT401 invalid_token".to_owned()));
    // Commands are no matter of the worker's.
    assert!(bots.serve("begin_interaction_turn", &turn(&json!({}))).await.is_ok());
}

#[tokio::test]
async fn the_owners_limits_are_those_of_the_turn() {
    for operation in BOTH {
        let bots = Bots::new().await;
        bots.active().await;
        let narrow = turn(&json!({ "user_per_minute": 1, "user_burst": 1 }));

        bots.serve(operation, &narrow).await.unwrap();

        assert_eq!(
            bots.serve(operation, &narrow).await,
            Err("PT429 rate_limited".to_owned()),
            "{operation}"
        );
        let own = with(narrow, &json!({ "outside": null }));
        assert_eq!(bots.ask("begin_turn", &own).await, Err("PT429 rate_limited".to_owned()));
    }
}

#[tokio::test]
async fn no_user_speaks_as_somebody_outside() {
    let bots = Bots::new().await;
    bots.active().await;

    for operation in BOTH {
        let refused = bots.ask(operation, &turn(&json!({}))).await;
        assert_eq!(refused, Err("42501".to_owned()), "{operation}");
    }
    assert_eq!(messages(&bots).await, 0);
}
