//! What the operations of bots and the guilds of agents guarantee, whoever calls.

use futures::future::join_all;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::data_database::{AGENT, TENANT, attempt, become_user, call, count, sign_up, texts, user};
use crate::data_discord_support::{
    APPLICATION, BOT, Bots, GUILD, SECOND_AGENT, bot, hash, interaction, key, names, of, service, with,
};

/// The tenant's connections, each with all that it holds.
const ALL: &str = "SELECT t::text FROM public.agent_discord_connections AS t ORDER BY id";

/// All that the row of the tenant's bot holds.
const WHOLE: &str = "to_jsonb(agent_discord_connections)";

/// The input of `api.put_discord_connection` that the tenant's bot was connected with, without its token.
fn put(changes: &Value) -> Value {
    let input = json!({
        "agent_id": AGENT, "application_id": APPLICATION, "public_key": key(), "inactivity_timeout_minutes": null,
        "bot": null,
    });
    with(input, changes)
}

/// The input of `api.put_enabled_guilds`.
fn guilds(ids: impl IntoIterator<Item = u32>) -> Value {
    let guilds: Vec<_> = ids
        .into_iter()
        .map(|id| json!({ "guild_id": id.to_string(), "is_enabled": true }))
        .collect();
    json!({ "agent_id": AGENT, "guilds": guilds })
}

/// Users with an agent each.
async fn agents(owner: &Client, number: usize) -> Vec<(Uuid, Uuid)> {
    let mut made = Vec::new();
    for number in 0..number {
        let id = sign_up(owner, &format!("user-{number}@example.com")).await;
        let statement = "INSERT INTO public.agents (user_id, name) VALUES ($1, 'Other') RETURNING id";
        made.push((id, owner.query_one(statement, &[&id]).await.unwrap().get(0)));
    }
    made
}

#[tokio::test]
async fn a_bot_is_connected_with_its_token_and_shown_without_it() {
    let bots = Bots::new().await;
    let input = put(&json!({
        "agent_id": SECOND_AGENT, "application_id": "99", "public_key": "AB".repeat(32), "bot": bot(7),
    }));

    let state = bots.ask("put_discord_connection", &input).await.unwrap();

    let connection = &state["connection"];
    insta::assert_snapshot!(names(connection), @"agent_id application_id bot_token_set_at bot_user_id bot_username commands_registered_at created_at desired_status has_bot_token id inactivity_timeout_minutes is_enabled public_key updated_at worker_error_code worker_error_message worker_report worker_reported_at worker_status worker_status_changed_at");
    assert_eq!(
        (
            &connection["application_id"],
            &connection["public_key"],
            &connection["bot_username"]
        ),
        (&json!("99"), &json!(key()), &json!("atlas"))
    );
    assert_eq!(
        (&connection["has_bot_token"], &connection["inactivity_timeout_minutes"]),
        (&json!(true), &json!(10))
    );
    assert!(!state.to_string().contains("canary") && !state.to_string().contains(&hash(7)));
    let got = bots
        .ask("get_discord_connection", &json!({ "agent_id": SECOND_AGENT }))
        .await;
    assert_eq!(got, Ok(state));
    let stored = "SELECT concat_ws(' ', bot_token_sealed, bot_token_key_id, encode(bot_token_fingerprint, 'hex'))
                  FROM public.agent_discord_connections WHERE discord_app_id = '99'";
    assert_eq!(bots.text(stored).await, format!("canary-sealed-7 k {}", hash(7)));
}

#[tokio::test]
async fn an_agent_without_a_bot_has_a_state_without_one() {
    let bots = Bots::new().await;

    let state = bots
        .ask("get_discord_connection", &json!({ "agent_id": SECOND_AGENT }))
        .await;

    assert_eq!(state, Ok(json!({ "connection": null, "guilds": [] })));
}

#[tokio::test]
async fn what_is_not_given_stays() {
    let bots = Bots::new().await;
    bots.set("inactivity_timeout_minutes = 33, commands_registered_at = now()")
        .await;
    let kept = "concat_ws(' ', bot_token_sealed, bot_token_key_id, inactivity_timeout_minutes, commands_registered_at)";
    let before = bots.bot(kept).await;

    let state = bots
        .ask(
            "put_discord_connection",
            &put(&json!({ "public_key": "AB".repeat(32) })),
        )
        .await
        .unwrap();

    assert_eq!(bots.bot(kept).await, before);
    assert_eq!(state["connection"]["has_bot_token"], true);
    assert_eq!(state["connection"]["id"], json!(BOT));
    assert_eq!(bots.jobs("discord_worker").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_new_token_of_the_same_application_takes_the_place_of_the_old_one() {
    let bots = Bots::new().await;
    let lease = bots.active().await;

    bots.ask("put_discord_connection", &put(&json!({ "bot": bot(7) })))
        .await
        .unwrap();

    assert_eq!(
        bots.bot("bot_token_sealed || ' ' || worker_status || ' ' || desired_status")
            .await,
        "canary-sealed-7 active active"
    );
    assert_eq!(
        bots.report(&lease, "active", &json!({})).await.unwrap()["should_stop"],
        false
    );
}

#[tokio::test]
async fn another_application_or_key_forgets_the_token_and_stops_the_worker() {
    let lost = "concat_ws(' ', bot_token_sealed, bot_token_key_id, bot_token_set_at, bot_user_id, bot_username,
                          encode(bot_token_fingerprint, 'hex'), commands_registered_at, '-', desired_status, worker_status)";
    for changes in [
        json!({ "application_id": "1" }),
        json!({ "public_key": "cd".repeat(32) }),
    ] {
        let bots = Bots::new().await;
        bots.active().await;
        bots.set("bot_user_id = '5', bot_username = 'atlas', commands_registered_at = now()")
            .await;

        let state = bots.ask("put_discord_connection", &put(&changes)).await.unwrap();

        assert_eq!(bots.bot(lost).await, "- inactive stopping", "{changes}");
        assert_eq!(state["connection"]["has_bot_token"], false);
        assert_eq!(bots.jobs("discord_worker").await, ["open 2 due"], "{changes}");
        // Where the agent is used it is used with the bot.
        let places = "SELECT count(*) FROM public.agent_discord_connections AS place
                      JOIN public.agent_discord_connections AS bot USING (agent_id, discord_app_id, discord_public_key)
                      WHERE place.guild_id IS NOT NULL AND bot.guild_id IS NULL";
        assert_eq!(count(&bots.owner, places, &[]).await, 1);
    }
}

#[tokio::test]
async fn the_worker_of_another_application_is_stopped_though_the_new_one_has_a_token_too() {
    let bots = Bots::new().await;
    let lease = bots.active().await;
    let changes = json!({ "application_id": "1", "bot": bot(7) });

    bots.ask("put_discord_connection", &put(&changes)).await.unwrap();

    assert_eq!(
        bots.bot("concat_ws(' ', bot_token_sealed, desired_status, worker_status, worker_lease_expires_at <= clock_timestamp())").await,
        "canary-sealed-7 inactive stopping t"
    );
    assert_eq!(bots.jobs("discord_worker").await, ["open 2 due"]);
    assert_eq!(bots.start(&json!({})).await, Err("PT409 worker_stopping".to_owned()));
    assert_eq!(
        bots.report(&lease, "active", &json!({})).await.unwrap()["should_stop"],
        true
    );
}

#[tokio::test]
async fn a_row_that_its_owner_moves_to_a_guild_is_no_bot_any_more() {
    let bots = Bots::new().await;
    bots.active().await;
    become_user(&bots.owner, TENANT).await;

    let moved = attempt(
        &bots.owner,
        "UPDATE public.agent_discord_connections SET guild_id = '77' WHERE guild_id IS NULL",
        &[],
    )
    .await;
    bots.run("COMMIT").await;

    assert_eq!(moved, Ok(1));
    let row = "concat_ws(' ', bot_token_sealed, encode(worker_token_hash, 'hex'), worker_lease_id, '-', worker_status, desired_status)";
    assert_eq!(bots.bot(row).await, "- inactive inactive");
    assert_eq!(bots.jobs("discord_worker").await, ["open 2 due"]);
    let read = bots.serve("read_worker", &json!({ "agent_id": AGENT })).await;
    assert_eq!(read, Ok(json!({ "worker": null })));
}

#[tokio::test]
async fn anothers_agent_is_not_found_by_any_operation_and_a_service_has_none() {
    let bots = Bots::new().await;
    let stranger = sign_up(&bots.owner, "stranger@example.com").await;
    let of = of(AGENT);
    let before = texts(&bots.owner, ALL, &[]).await;

    for (operation, input) in [
        ("get_discord_connection", of.clone()),
        (
            "open_bot",
            with(
                of.clone(),
                &json!({ "needs_token": false, "per_minute": 60, "burst": 9 }),
            ),
        ),
        ("put_discord_connection", put(&json!({ "bot": bot(7) }))),
        ("clear_bot_token", of.clone()),
        ("delete_discord_connection", of.clone()),
        ("put_enabled_guilds", guilds([1])),
        ("delete_enabled_guild", with(of.clone(), &json!({ "guild_id": GUILD }))),
        ("note_commands_registered", of.clone()),
    ] {
        let refused = call(&bots.functions, operation, &user(stranger), &input).await;
        assert_eq!(refused, Err("PT404 agent_not_found".to_owned()), "{operation}");
        let refused = call(&bots.functions, operation, &service(), &input).await;
        assert_eq!(refused, Err("28000".to_owned()), "{operation}");
    }
    assert_eq!(texts(&bots.owner, ALL, &[]).await, before);
    assert_eq!(
        count(
            &bots.owner,
            "SELECT count(*) FROM app.rate_limits WHERE key LIKE 'discord:%'",
            &[]
        )
        .await,
        0
    );
}

#[tokio::test]
async fn a_token_that_is_connected_elsewhere_is_refused() {
    let bots = Bots::new().await;
    let others = agents(&bots.owner, 1).await;
    let mine = put(&json!({ "agent_id": SECOND_AGENT, "application_id": "99", "bot": bot(7) }));
    bots.ask("put_discord_connection", &mine).await.unwrap();
    let told = async |caller: Uuid, input: &Value| {
        let statement = "SELECT api.put_discord_connection($1::text::jsonb, $2::text::jsonb)";
        let error = bots
            .functions
            .query_one(statement, &[&user(caller).to_string(), &input.to_string()])
            .await
            .unwrap_err();
        let error = error.as_db_error().unwrap();
        format!("{} {}", error.detail().unwrap(), error.message())
    };
    let (other, agent) = others[0];
    let older = with(bot(3), &json!({ "fingerprints": [hash(3), hash(7)] }));

    let same_application = told(
        other,
        &put(&json!({ "agent_id": agent, "application_id": "99", "bot": bot(7) })),
    )
    .await;
    let same_token = told(
        other,
        &put(&json!({ "agent_id": agent, "application_id": "55", "bot": bot(7) })),
    )
    .await;
    let older_key = told(
        other,
        &put(&json!({ "agent_id": agent, "application_id": "55", "bot": older })),
    )
    .await;
    let own = told(TENANT, &put(&json!({ "application_id": "99", "bot": bot(7) }))).await;

    insta::assert_snapshot!([same_application, same_token, older_key, own].join("\n"), @r"
    bot_token_in_use This bot is already connected to another agent.
    bot_token_in_use This bot is already connected to another agent.
    bot_token_in_use This bot is already connected to another agent.
    bot_token_in_use This bot is already connected to your agent Second agent.
    ");
    let kept = "SELECT bot_token_sealed FROM public.agent_discord_connections WHERE discord_app_id = '99'";
    assert_eq!(texts(&bots.owner, kept, &[]).await, ["canary-sealed-7"]);
    // Without a token the application is only words.
    let words = put(&json!({ "agent_id": agent, "application_id": "99" }));
    let state = call(&bots.functions, "put_discord_connection", &user(other), &words)
        .await
        .unwrap();
    assert_eq!(state["connection"]["has_bot_token"], false);
}

#[tokio::test]
async fn a_new_token_of_an_application_takes_it_from_whoever_has_a_dead_one() {
    let dead = "concat_ws(' ', bot_token_sealed, bot_token_key_id, bot_token_set_at, bot_user_id, bot_username,
                          encode(bot_token_fingerprint, 'hex'), commands_registered_at, '-', desired_status, worker_status)";
    for (worker, jobs) in [("active", vec!["open 2 due"]), ("inactive", vec!["open 1 later"])] {
        for is_own in [true, false] {
            let bots = Bots::new().await;
            let lease = bots.active().await;
            bots.set(&format!(
                "worker_status = '{worker}', bot_user_id = '5', bot_username = 'atlas', commands_registered_at = now()"
            ))
            .await;
            let (taker, agent) = match is_own {
                true => (TENANT, SECOND_AGENT),
                false => bots.copycat().await,
            };
            let caller = user(taker);
            let listed = async |id: &str| {
                let input = interaction(&json!({ "interaction_id": id, "kind": "agents" }));
                let input = with(input, &json!({ "name_prefix": "", "limit": 25 }));
                let agents = bots.serve("list_guild_agents", &input).await.unwrap()["agents"].clone();
                let agents = agents.as_array().unwrap().iter();
                agents.map(|agent| agent["name"].clone()).collect::<Vec<_>>()
            };
            assert_eq!(listed("1").await, ["Agent"]);
            let take = put(&json!({ "agent_id": agent, "bot": bot(7) }));

            let state = call(&bots.functions, "put_discord_connection", &caller, &take)
                .await
                .unwrap();

            assert_eq!(state["connection"]["has_bot_token"], true);
            assert_eq!(bots.bot(dead).await, format!("- inactive {worker}"));
            assert_eq!(bots.jobs("discord_worker").await, jobs, "{worker}");
            if worker == "active" {
                let told = bots.report(&lease, "active", &json!({})).await.unwrap();
                assert_eq!(told["should_stop"], true);
            }
            assert_eq!(bots.start(&json!({})).await, Err("PT400 bot_token_missing".to_owned()));
            // A dead token shows nobody's right; the agents of a user are used with any of his bots.
            let expected = if is_own { "Agent" } else { "Copy" };
            assert_eq!(listed("2").await, [expected]);
        }
    }
}

#[tokio::test]
async fn a_token_that_was_not_confirmed_takes_nothing() {
    let bots = Bots::new().await;
    let (copycat, copy) = bots.copycat().await;
    bots.active().await;
    let before = bots.bot(WHOLE).await;
    let words = put(&json!({ "agent_id": copy }));

    call(&bots.functions, "put_discord_connection", &user(copycat), &words)
        .await
        .unwrap();

    assert_eq!(bots.bot(WHOLE).await, before);
    // Nor does a token of another application.
    let other = put(&json!({ "agent_id": copy, "application_id": "99", "bot": bot(7) }));
    call(&bots.functions, "put_discord_connection", &user(copycat), &other)
        .await
        .unwrap();
    assert_eq!(bots.bot(WHOLE).await, before);
    assert_eq!(bots.jobs("discord_worker").await, ["open 1 later"]);
}

#[tokio::test]
async fn of_those_who_connect_one_bot_at_once_one_has_it() {
    let bots = Bots::new().await;
    let others = agents(&bots.owner, 8).await;
    let clients = bots.clients(8).await;

    for same in ["application", "token"] {
        let outcomes = join_all(clients.iter().zip(&others).enumerate().map(
            async |(number, (client, (id, agent)))| {
                let number = u8::try_from(number).unwrap();
                let (application, fingerprint) = match same {
                    "application" => (100, number),
                    _ => (200 + u32::from(number), 9),
                };
                let input = put(
                    &json!({ "agent_id": agent, "application_id": application.to_string(), "bot": bot(fingerprint) }),
                );
                call(client, "put_discord_connection", &user(*id), &input).await
            },
        ))
        .await;

        let connected = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let refused = outcomes
            .iter()
            .filter(|outcome| **outcome == Err("PT409 bot_token_in_use".to_owned()))
            .count();
        assert_eq!(connected + refused, 8, "{same}: {outcomes:?}");
        // A new token takes the application from one that was written before; the same token takes nothing.
        let (most, applications) = match same {
            "application" => (8, "100"),
            _ => (1, "20_"),
        };
        assert!((1..=most).contains(&connected), "{same}: {outcomes:?}");
        let holders = "SELECT count(*) FROM public.agent_discord_connections
                       WHERE bot_token_sealed IS NOT NULL AND discord_app_id LIKE $1";
        assert_eq!(count(&bots.owner, holders, &[&applications]).await, 1, "{same}");
    }
}

#[tokio::test]
async fn one_agent_that_is_connected_twice_at_once_has_one_bot() {
    let bots = Bots::new().await;
    let clients = bots.clients(8).await;
    let input = put(&json!({ "agent_id": SECOND_AGENT, "application_id": "99", "bot": bot(7) }));
    let caller = user(TENANT);

    let outcomes = join_all(
        clients
            .iter()
            .map(|client| call(client, "put_discord_connection", &caller, &input)),
    )
    .await;

    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let rows = "SELECT count(*) FROM public.agent_discord_connections WHERE agent_id = $1";
    assert_eq!(count(&bots.owner, rows, &[&SECOND_AGENT]).await, 1);
}

#[tokio::test]
async fn a_bot_is_opened_for_its_owner_within_a_limit() {
    let bots = Bots::new().await;
    let open = |changes: &Value| {
        with(
            json!({ "agent_id": AGENT, "needs_token": true, "per_minute": 60, "burst": 100 }),
            changes,
        )
    };

    let opened = bots.ask("open_bot", &open(&json!({}))).await.unwrap();
    let without = bots.ask("open_bot", &open(&json!({ "agent_id": SECOND_AGENT }))).await;
    let not_needed = bots
        .ask(
            "open_bot",
            &open(&json!({ "agent_id": SECOND_AGENT, "needs_token": false })),
        )
        .await
        .unwrap();
    bots.ask("clear_bot_token", &of(AGENT)).await.unwrap();
    let cleared = bots.ask("open_bot", &open(&json!({}))).await;

    assert_eq!(
        (
            &opened["user_id"],
            &opened["bot_token_sealed"],
            &opened["discord_pause_seconds"],
            &opened["connection"]["id"]
        ),
        (
            &json!(TENANT),
            &json!("canary-sealed-bot-token"),
            &Value::Null,
            &json!(BOT)
        )
    );
    assert_eq!(without, Err("PT400 connection_missing".to_owned()));
    assert_eq!(
        (&not_needed["connection"], &not_needed["bot_token_sealed"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(cleared, Err("PT400 bot_token_missing".to_owned()));
    let narrow = open(&json!({ "needs_token": false, "burst": 1 }));
    assert_eq!(
        bots.ask("open_bot", &narrow).await,
        Err("PT429 rate_limited".to_owned())
    );
}

#[tokio::test]
async fn a_cleared_token_is_gone_and_its_worker_is_stopped_by_a_job() {
    let bots = Bots::new().await;
    let clear = of(AGENT);
    bots.active().await;

    let state = bots.ask("clear_bot_token", &clear).await.unwrap();
    let again = bots.ask("clear_bot_token", &clear).await.unwrap();

    assert_eq!(
        (
            &state["connection"]["has_bot_token"],
            &state["connection"]["desired_status"]
        ),
        (&json!(false), &json!("inactive"))
    );
    assert_eq!(again["connection"]["has_bot_token"], false);
    assert_eq!(bots.jobs("discord_worker").await, ["open 2 due"]);
    assert_eq!(
        bots.bot("bot_token_sealed IS NULL AND bot_token_fingerprint IS NULL")
            .await,
        "true"
    );
    let none = bots.ask("clear_bot_token", &of(SECOND_AGENT)).await;
    assert_eq!(none, Err("PT404 connection_missing".to_owned()));
}

#[tokio::test]
async fn what_is_taken_from_a_bot_counts_towards_the_limit_of_changes() {
    for (operation, changes) in [
        ("clear_bot_token", json!({})),
        ("delete_discord_connection", json!({})),
        ("delete_enabled_guild", json!({ "guild_id": GUILD })),
    ] {
        let bots = Bots::new().await;
        let narrow = with(of(AGENT), &json!({ "per_minute": 1, "burst": 1 }));
        bots.ask("open_bot", &with(narrow.clone(), &json!({ "needs_token": false })))
            .await
            .unwrap();
        let before = texts(&bots.owner, ALL, &[]).await;

        let limited = bots.ask(operation, &with(narrow, &changes)).await;

        assert_eq!(limited, Err("PT429 rate_limited".to_owned()), "{operation}");
        assert_eq!(texts(&bots.owner, ALL, &[]).await, before, "{operation}");
    }
}

#[tokio::test]
async fn who_disconnects_a_bot_forgets_all_of_it() {
    let bots = Bots::new().await;
    let delete = of(AGENT);
    bots.active().await;

    assert_eq!(bots.ask("delete_discord_connection", &delete).await, Ok(json!({})));

    assert_eq!(texts(&bots.owner, ALL, &[]).await, Vec::<String>::new());
    assert_eq!(bots.jobs("discord_worker").await, ["open 2 due"]);
    assert_eq!(
        bots.ask("delete_discord_connection", &delete).await,
        Err("PT404 connection_missing".to_owned())
    );
}

#[tokio::test]
async fn guilds_are_put_apart_from_those_that_are_not_named() {
    let bots = Bots::new().await;
    bots.set("inactivity_timeout_minutes = 25").await;
    let put = json!({ "agent_id": AGENT, "guilds": [
        { "guild_id": "1", "is_enabled": true, "allowed_channel_ids": ["7", "8"], "inactivity_timeout_minutes": 5 },
        { "guild_id": "2", "is_enabled": false, "allowed_channel_ids": null, "inactivity_timeout_minutes": null },
        { "guild_id": "3", "is_enabled": true, "allowed_channel_ids": [], "inactivity_timeout_minutes": null },
    ]});
    let listed = |state: &Value| {
        let guilds = state["guilds"].as_array().unwrap();
        let lines = guilds.iter().map(|guild| {
            let [id, enabled, channels, minutes] = [
                "guild_id",
                "is_enabled",
                "allowed_channel_ids",
                "inactivity_timeout_minutes",
            ]
            .map(|name| guild[name].to_string());
            format!("{id} {enabled} {channels} {minutes}")
        });
        let mut lines: Vec<_> = lines.collect();
        lines.sort();
        lines.join("\n")
    };

    let state = bots.ask("put_enabled_guilds", &put).await.unwrap();

    insta::assert_snapshot!(listed(&state), @r#"
    "1" true ["7","8"] 5
    "2" false null 5
    "223456789012345678" true null 5
    "3" true [] 5
    "#);
    let change =
        json!({ "agent_id": AGENT, "guilds": [{ "guild_id": "1", "is_enabled": true, "allowed_channel_ids": null }] });
    let state = bots.ask("put_enabled_guilds", &change).await.unwrap();
    insta::assert_snapshot!(listed(&state), @r#"
    "1" true null 5
    "2" false null 5
    "223456789012345678" true null 5
    "3" true [] 5
    "#);
    let delete = with(of(AGENT), &json!({ "guild_id": "1" }));
    let state = bots.ask("delete_enabled_guild", &delete).await.unwrap();
    assert_eq!(state["guilds"].as_array().unwrap().len(), 3);
    assert_eq!(state["connection"]["id"], json!(BOT));
    assert_eq!(
        bots.ask("delete_enabled_guild", &delete).await,
        Err("PT404 guild_not_found".to_owned())
    );
    let without_bot = with(guilds([1]), &json!({ "agent_id": SECOND_AGENT }));
    assert_eq!(
        bots.ask("put_enabled_guilds", &without_bot).await,
        Err("PT400 connection_missing".to_owned())
    );
}

#[tokio::test]
async fn a_place_that_was_written_directly_is_put_with_the_bots_application_and_key() {
    let bots = Bots::new().await;
    become_user(&bots.owner, TENANT).await;
    bots.run(&format!(
        "INSERT INTO public.agent_discord_connections (user_id, agent_id, guild_id, discord_app_id, discord_public_key)
         VALUES ('{TENANT}', '{AGENT}', '1', '99', repeat('cd', 32)), ('{TENANT}', '{AGENT}', '2', '99', repeat('cd', 32));
         COMMIT"
    ))
    .await;

    bots.ask("put_enabled_guilds", &guilds([1])).await.unwrap();

    let places = "SELECT concat_ws(' ', guild_id, discord_app_id, left(discord_public_key, 4))
                  FROM public.agent_discord_connections WHERE length(guild_id) = 1 ORDER BY guild_id";
    assert_eq!(
        texts(&bots.owner, places, &[]).await,
        ["1 423456789012345678 abab", "2 99 cdcd"]
    );
}

#[tokio::test]
async fn the_last_timeout_is_that_of_the_bot_and_of_all_its_guilds() {
    let bots = Bots::new().await;
    let put = |guilds: Value| json!({ "agent_id": AGENT, "guilds": guilds });
    let guild =
        |id: &str, minutes: Value| json!({ "guild_id": id, "is_enabled": true, "inactivity_timeout_minutes": minutes });
    let minutes = "SELECT inactivity_timeout_minutes::text FROM public.agent_discord_connections GROUP BY 1";
    let lease = bots.active().await;

    let named = put(json!([
        guild("1", json!(5)),
        guild("2", json!(42)),
        guild("3", Value::Null)
    ]));
    let state = bots.ask("put_enabled_guilds", &named).await.unwrap();

    assert_eq!(state["connection"]["inactivity_timeout_minutes"], 42);
    assert_eq!(texts(&bots.owner, minutes, &[]).await, ["42"]);
    let told = bots.report(&lease, "active", &json!({})).await.unwrap();
    assert_eq!(told["inactivity_timeout_minutes"], 42);
    // Who names none leaves it.
    let unnamed = put(json!([guild("1", Value::Null), guild("4", Value::Null)]));
    bots.ask("put_enabled_guilds", &unnamed).await.unwrap();
    assert_eq!(texts(&bots.owner, minutes, &[]).await, ["42"]);
}

#[tokio::test]
async fn ids_that_are_none_are_not_stored() {
    let bots = Bots::new().await;
    let guild = |changes: &Value| json!({ "agent_id": AGENT, "guilds": [with(json!({ "guild_id": "1", "is_enabled": true }), changes)] });

    let mut refusals = Vec::new();
    for changes in [
        json!({ "guild_id": "x" }),
        json!({ "allowed_channel_ids": ["7", "x"] }),
        json!({ "allowed_channel_ids": ["7,8"] }),
        json!({ "allowed_channel_ids": ["7", null] }),
        json!({ "allowed_channel_ids": (0..101).map(|id| id.to_string()).collect::<Vec<_>>() }),
    ] {
        refusals.push(bots.ask("put_enabled_guilds", &guild(&changes)).await.unwrap_err());
    }

    insta::assert_snapshot!(refusals.join("\n"), @r"
    23514 agent_discord_connections_guild_id_check
    23514 agent_discord_connections_allowed_channel_ids_check
    23514 agent_discord_connections_allowed_channel_ids_check
    23514 agent_discord_connections_allowed_channel_ids_check
    23514 agent_discord_connections_allowed_channel_ids_check
    ");
}

#[tokio::test]
async fn concurrent_requests_do_not_pass_the_limit_of_guilds_together() {
    let bots = Bots::new().await;
    let clients = bots.clients(8).await;

    let outcomes = join_all(clients.iter().zip(0_u32..).map(async |(client, number)| {
        let ids = (1..=30).map(|id| number * 1000 + id);
        call(client, "put_enabled_guilds", &user(TENANT), &guilds(ids)).await
    }))
    .await;

    let refused = outcomes
        .iter()
        .filter(|outcome| **outcome == Err("PT409 guild_limit_reached".to_owned()))
        .count();
    assert_eq!((outcomes.len() - refused, refused), (3, 5), "{outcomes:?}");
    let stored = "SELECT count(*) FROM public.agent_discord_connections WHERE guild_id IS NOT NULL";
    assert_eq!(count(&bots.owner, stored, &[]).await, 91);
}

#[tokio::test]
async fn an_agent_that_is_being_deleted_is_waited_for_and_not_found() {
    let bots = Bots::new().await;
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let watcher = bots.database.owner().await;
    let clients = bots.clients(2).await;
    bots.owner
        .batch_execute(&format!("BEGIN; DELETE FROM public.agents WHERE id = '{AGENT}'"))
        .await
        .unwrap();

    let (guild, input) = (guilds([1]), put(&json!({ "application_id": "1" })));
    let caller = user(TENANT);
    let (first, second, ()) = tokio::join!(
        call(&clients[0], "put_enabled_guilds", &caller, &guild),
        call(&clients[1], "put_discord_connection", &caller, &input),
        async {
            while count(&watcher, waiting, &[]).await < 2 {}
            bots.run("COMMIT").await;
        },
    );

    assert_eq!(first, Err("PT404 agent_not_found".to_owned()));
    assert_eq!(second, Err("PT404 agent_not_found".to_owned()));
}

#[tokio::test]
async fn it_is_noted_that_discord_has_the_commands() {
    let bots = Bots::new().await;

    bots.ask("note_commands_registered", &json!({ "agent_id": AGENT }))
        .await
        .unwrap();

    assert_eq!(
        bots.bot("commands_registered_at > now() - interval '1 minute'").await,
        "true"
    );
    let place = "SELECT (commands_registered_at IS NULL)::text FROM public.agent_discord_connections WHERE guild_id IS NOT NULL";
    assert_eq!(bots.text(place).await, "true");
}

#[tokio::test]
async fn too_many_refusals_pause_all_that_call_discord() {
    let bots = Bots::new().await;
    let clients = bots.clients(8).await;
    let note = json!({ "limit": 10, "window_seconds": 600, "pause_seconds": 100 });
    let refused = "SELECT refused FROM (SELECT refused::bigint FROM app.discord_state) AS state";
    bots.run("SELECT app.request_job('discord_answer', 'a', 9), app.request_job('discord_worker', 'a', 9)")
        .await;
    let claim = json!({ "kinds": ["discord_answer", "discord_worker"], "limit": 9, "lease_seconds": 0 });
    let claimed = async || {
        let jobs = bots.serve("claim_jobs", &claim).await.unwrap();
        let mut kinds: Vec<_> = jobs["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job["kind"].clone())
            .collect();
        kinds.sort_by_key(ToString::to_string);
        kinds
    };

    // By users' requests and by services, at once.
    let callers = [user(TENANT), service()];
    let counted = join_all(
        clients
            .iter()
            .zip(callers.iter().cycle())
            .map(|(client, caller)| call(client, "note_invalid_request", caller, &note)),
    )
    .await;

    assert!(
        counted
            .iter()
            .all(|noted| *noted == Ok(json!({ "pause_seconds": null }))),
        "{counted:?}"
    );
    assert_eq!(count(&bots.owner, refused, &[]).await, 8);
    assert_eq!(claimed().await, ["discord_answer", "discord_worker"]);

    bots.serve("note_invalid_request", &note).await.unwrap();
    let tenth = bots.serve("note_invalid_request", &note).await.unwrap();

    assert_eq!(tenth, json!({ "pause_seconds": 100 }));
    assert_eq!(claimed().await, ["discord_worker"]);
    let opened = bots
        .ask(
            "open_bot",
            &json!({ "agent_id": AGENT, "needs_token": true, "per_minute": 60, "burst": 9 }),
        )
        .await
        .unwrap();
    assert_eq!(opened["discord_pause_seconds"], 100);

    // The window is over, and the pause is.
    bots.run("UPDATE app.discord_state SET refused_since = now() - interval '11 minutes', paused_until = now()")
        .await;
    assert_eq!(claimed().await, ["discord_answer", "discord_worker"]);
    let anew = bots.serve("note_invalid_request", &note).await.unwrap();
    assert_eq!(anew, json!({ "pause_seconds": null }));
    assert_eq!(count(&bots.owner, refused, &[]).await, 1);
}

#[tokio::test]
async fn whoever_has_discord_refuse_too_much_is_refused_before_all_are() {
    let bots = Bots::new().await;
    let (other, agent) = agents(&bots.owner, 1).await[0];
    let open = async |caller: Uuid, agent: Uuid| {
        let input = with(of(agent), &json!({ "needs_token": false }));
        call(&bots.functions, "open_bot", &user(caller), &input)
            .await
            .map(|opened| opened["discord_pause_seconds"].clone())
    };
    let refused_for = async |caller: Value, times: u32| {
        let note = json!({ "limit": 1000, "window_seconds": 600, "pause_seconds": 100, "user_id": caller });
        for _ in 0..times {
            let noted = bots.serve("note_invalid_request", &note).await;
            assert_eq!(noted, Ok(json!({ "pause_seconds": null })));
        }
    };
    let limited = Err("PT429 rate_limited".to_owned());

    refused_for(Value::Null, 11).await;
    refused_for(json!(TENANT), 9).await;
    assert_eq!(open(TENANT, AGENT).await, Ok(Value::Null));
    refused_for(json!(TENANT), 2).await;

    assert_eq!(open(TENANT, AGENT).await, limited);
    assert_eq!(open(other, agent).await, Ok(Value::Null));
    let counted = "SELECT refused::bigint FROM app.discord_state";
    assert_eq!(count(&bots.owner, counted, &[]).await, 22);

    // One is regained in a minute, and looking takes nothing.
    bots.run("UPDATE app.rate_limits SET tat = tat - interval '61 seconds' WHERE key LIKE 'discord:refused:%'")
        .await;
    for _ in 0..3 {
        assert_eq!(open(TENANT, AGENT).await, Ok(Value::Null));
    }
    refused_for(json!(TENANT), 1).await;
    assert_eq!(open(TENANT, AGENT).await, limited);
}

#[tokio::test]
async fn tokens_are_sealed_anew_if_they_are_what_was_read() {
    let bots = Bots::new().await;
    let list = async |after: Value| {
        let input = json!({ "key_id": "new", "after": after, "limit": 10 });
        bots.serve("list_bot_tokens_to_reseal", &input).await.unwrap()["rows"].clone()
    };
    let reseal = async |from: &str| {
        let rows = json!([
            { "id": BOT, "from": from, "to": "canary-new", "fingerprint": hash(4) },
            { "id": TENANT, "from": "", "to": "", "fingerprint": hash(5) },
        ]);
        let input = json!({ "key_id": "new", "rows": rows });
        bots.serve("reseal_bot_tokens", &input).await.unwrap()["resealed"].clone()
    };
    let stored = "concat_ws(' ', bot_token_sealed, bot_token_key_id, encode(bot_token_fingerprint, 'hex'))";

    let listed = list(Value::Null).await;

    assert_eq!(
        listed,
        json!([{ "id": BOT, "user_id": TENANT, "agent_id": AGENT, "sealed": "canary-sealed-bot-token" }])
    );
    assert_eq!(list(json!(BOT)).await, json!([]));
    assert_eq!(reseal("canary-of-before").await, 0);
    assert_eq!(reseal("canary-sealed-bot-token").await, 1);
    assert_eq!(list(Value::Null).await, json!([]));
    assert_eq!(bots.bot(stored).await, format!("canary-new new {}", hash(4)));
}

#[tokio::test]
async fn a_user_reseals_nothing() {
    let bots = Bots::new().await;

    for (operation, input) in [
        (
            "list_bot_tokens_to_reseal",
            json!({ "key_id": "new", "after": null, "limit": 10 }),
        ),
        ("reseal_bot_tokens", json!({ "key_id": "new", "rows": [] })),
    ] {
        assert_eq!(
            bots.ask(operation, &input).await,
            Err("42501".to_owned()),
            "{operation}"
        );
    }
}
