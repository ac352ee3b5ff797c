//! `manage-discord-worker`: what is said about bots, where they may be used, and what is done when Discord does not do what is asked.

use std::time::Duration;

use agentopia_domain::discord::commands;
use agentopia_stack::worlds::discord::{Call, ChannelKind, Fault};
use agentopia_tests::{Response, Stack, StackOptions};
use futures::future::join_all;
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::discord_workers_support::Owner;

/// More often than anything is tried.
const ALWAYS: usize = 10;

/// An application that does not wait long for Discord if it is silent, and of which much may be asked.
async fn brisk() -> &'static Stack {
    static STACK: OnceCell<Stack> = OnceCell::const_new();
    let options = || {
        StackOptions::default()
            .set("discord_first_byte_timeout_ms", 400)
            .set("discord_change_per_minute", 6000)
            .set("discord_change_burst", 1000)
    };
    STACK.get_or_init(|| Stack::beside_shared(options())).await
}

/// What the owner is told.
fn told(answer: &Response) -> String {
    let pause = answer
        .header("retry-after")
        .map_or_else(String::new, |pause| format!(" (after {pause} s)"));
    let status = answer.status().as_u16();
    format!("{status} {}: {}{pause}", answer.field("code"), answer.field("message"))
}

/// The calls of an application's bot that Discord has answered since.
fn calls(owner: &Owner<'_>, since: usize) -> Vec<Call> {
    let recorded = owner.stack.discord().recorded(owner.application.id);
    recorded.iter().skip(since).map(|recorded| recorded.call).collect()
}

#[tokio::test]
async fn what_a_connection_cannot_be_is_named() {
    let stack = brisk().await;
    let owner = Owner::new(stack).await;
    let put = |body: Value| owner.put("connection", &body);
    let (id, key) = (owner.application.id.to_string(), owner.application.public_key.clone());

    let refusals = [
        put(json!({})).await,
        put(json!({ "application_id": id })).await,
        put(json!({ "application_id": "atlas", "public_key": key })).await,
        put(json!({ "application_id": id, "public_key": "ab" })).await,
        put(json!({ "bot_token": "" })).await,
        put(json!({ "bot_token": "a b" })).await,
        put(json!({ "bot_token": "a".repeat(201) })).await,
        put(json!({ "bot_token": 7 })).await,
        put(json!({ "bot_token": owner.bot.token, "inactivity_timeout_minutes": -1 })).await,
        put(json!({ "bot_token": owner.bot.token, "inactivity_timeout_minutes": 10_081 })).await,
        put(json!({ "bot_token": "a".repeat(5000) })).await,
        put(json!("token")).await,
        owner.put("bot-token", &json!({})).await,
        owner.put("bot-token", &json!({ "bot_token": null })).await,
        owner.put("bot-token", &json!({ "bot_token": " " })).await,
    ];

    let fields = refusals.iter().map(|answer| {
        let field = answer.json()["field"].as_str().unwrap_or("-").to_owned();
        format!("{field}: {}", told(answer))
    });
    assert_snapshot!(fields.collect::<Vec<_>>().join("\n"), @r#"
    application_id: 400 missing_field: application_id is required.
    public_key: 400 missing_field: public_key is required.
    application_id: 400 invalid_field: application_id is not a Discord id.
    public_key: 400 invalid_field: public_key must be the application's public key: 64 hexadecimal digits.
    bot_token: 400 invalid_field: bot_token must be 1 to 200 visible ASCII characters.
    bot_token: 400 invalid_field: bot_token must be 1 to 200 visible ASCII characters.
    bot_token: 400 invalid_field: bot_token must be 1 to 200 visible ASCII characters.
    bot_token: 400 invalid_field: bot_token is invalid: invalid type: integer `7`, expected a string.
    inactivity_timeout_minutes: 400 invalid_field: inactivity_timeout_minutes must be 0 to 10080.
    inactivity_timeout_minutes: 400 invalid_field: inactivity_timeout_minutes must be 0 to 10080.
    -: 413 body_too_large: The body is larger than 4096 bytes.
    -: 400 invalid_json: Invalid JSON payload: invalid type: string "token", expected an object at line 1 column 7
    bot_token: 400 missing_field: bot_token is required.
    bot_token: 400 missing_field: bot_token is required.
    bot_token: 400 invalid_field: bot_token must be 1 to 200 visible ASCII characters.
    "#);
    assert_eq!(owner.connection().await, Value::Null);
    assert_eq!(calls(&owner, 0), [], "Discord was not asked");
}

#[tokio::test]
async fn an_owner_is_told_what_discord_did_and_nothing_is_stored() {
    // What reaches further than one bot's bucket holds back the others of an application, too.
    let apart = [
        Stack::beside_shared(StackOptions::default()).await,
        Stack::beside_shared(StackOptions::default()).await,
    ];
    let brisk = brisk().await;
    let case = async |stack: &Stack, fault: Fault| {
        let owner = Owner::new(stack).await;
        stack
            .discord()
            .fail_call(owner.application.id, Call::Any, fault, ALWAYS);

        let refused = owner.connect().await;

        let told = format!("{fault:?}: {}", told(&refused));
        assert!(!refused.text().contains(&owner.bot.token), "{told}");
        assert_eq!(owner.connection().await, Value::Null, "{told}");
        stack.discord().mend(owner.application.id);
        told
    };
    let wait = Duration::from_secs(77);

    let told = join_all([
        case(brisk, Fault::ServerError),
        case(
            brisk,
            Fault::RateLimited {
                retry_after: wait,
                global: false,
            },
        ),
        case(
            &apart[0],
            Fault::RateLimited {
                retry_after: wait,
                global: true,
            },
        ),
        case(brisk, Fault::SharedLimit(wait)),
        case(&apart[1], Fault::Banned(wait)),
        case(brisk, Fault::Blocked),
        case(brisk, Fault::Malformed),
        case(brisk, Fault::Silence),
        case(brisk, Fault::Break),
    ])
    .await;

    assert_snapshot!(told.join("\n"), @r#"
    ServerError: 502 discord_failed: Discord did not answer as it should.
    RateLimited { retry_after: 77s, global: false }: 429 discord_rate_limited: Discord limits how often it is asked. (after 77 s)
    RateLimited { retry_after: 77s, global: true }: 503 discord_rate_limited: Discord limits how often it is asked. (after 77 s)
    SharedLimit(77s): 429 discord_rate_limited: Discord limits how often it is asked. (after 77 s)
    Banned(77s): 503 discord_rate_limited: Discord limits how often it is asked. (after 77 s)
    Blocked: 503 discord_rate_limited: Discord limits how often it is asked. (after 5 s)
    Malformed: 502 discord_failed: Discord did not answer as it should.
    Silence: 504 discord_timed_out: Discord did not answer in time.
    Break: 502 discord_unreachable: Discord cannot be reached.
    "#);
}

#[tokio::test]
async fn what_fails_once_is_asked_again() {
    let stack = brisk().await;
    let soon = Duration::from_millis(300);
    for fault in [
        Fault::ServerError,
        Fault::Silence,
        Fault::Drop,
        Fault::RateLimited {
            retry_after: soon,
            global: false,
        },
    ] {
        let owner = Owner::new(stack).await;
        stack
            .discord()
            .fail_call(owner.application.id, Call::Application, fault, 1);

        let connected = owner.connect().await;

        assert_eq!(connected.status(), 200, "{fault:?}: {connected}");
    }
}

#[tokio::test]
async fn a_token_that_discord_has_dropped_is_the_owners_to_set_anew() {
    let stack = brisk().await;
    let owner = Owner::connected(stack).await;
    stack.discord().revoke_bot(owner.application.id);

    let refusals = [
        owner.request(Method::GET, "guilds").await,
        owner.request(Method::GET, "guilds/1/channels").await,
        owner.request(Method::POST, "commands").await,
    ];
    let bot = stack.discord().create_bot(&owner.application).unwrap();
    let replaced = owner.put("bot-token", &json!({ "bot_token": bot.token })).await;
    let guilds = owner.request(Method::GET, "guilds").await;

    for refused in refusals {
        let expected =
            "409 bot_token_rejected: Discord does not accept the bot's token any more. Please set the present one.";
        assert_eq!(told(&refused), expected);
    }
    assert_eq!((replaced.status(), guilds.json()), (http::StatusCode::OK, json!([])));
}

#[tokio::test]
async fn a_bot_is_one_agents_and_a_second_is_told_whose_if_that_is_its_owners_own() {
    let stack = brisk().await;
    let owner = Owner::connected(stack).await;
    let own = Owner {
        user: owner.user.clone(),
        agent: owner.user.agent("Hermes").await,
        bot: owner.bot.clone(),
        ..Owner::new(stack).await
    };
    let strangers = Owner {
        bot: owner.bot.clone(),
        ..Owner::new(stack).await
    };

    let own_refused = own.connect().await;
    let strangers_refused = strangers.connect().await;
    owner.request(Method::DELETE, "bot-token").await;
    let connected = own.connect().await;

    assert_snapshot!(told(&own_refused), @"409 bot_token_in_use: This bot is already connected to your agent Atlas.");
    assert_snapshot!(told(&strangers_refused), @"409 bot_token_in_use: This bot is already connected to another agent.");
    assert_eq!(connected.status(), 200, "{connected}");
}

/// Discord has dropped the token of before, which proves nothing any more.
#[tokio::test]
async fn a_bot_goes_to_whoever_shows_its_present_token() {
    let stack = brisk().await;
    let owner = Owner::connected(stack).await;
    let renewed = stack.discord().create_bot(&owner.application).unwrap();
    let other = Owner {
        bot: renewed,
        ..Owner::new(stack).await
    };

    let connected = other.connect().await;

    assert_eq!(connected.status(), 200, "{connected}");
    assert_eq!(
        connected.json()["connection"]["application_id"],
        owner.application.id.to_string()
    );
    let before = owner.connection().await;
    assert_eq!(
        (&before["has_bot_token"], &before["desired_status"]),
        (&json!(false), &json!("inactive"))
    );
}

#[tokio::test]
async fn a_token_goes_with_the_application_and_the_key_that_discord_confirmed() {
    let stack = brisk().await;
    let owner = Owner::connected(stack).await;
    owner
        .put("enabled-guilds", &json!({ "guilds": [{ "guild_id": "77" }] }))
        .await;
    let other = stack.discord().create_application().unwrap();
    let (id, key) = (owner.application.id.to_string(), owner.application.public_key.clone());
    let other_bot = stack.discord().create_bot(&other).unwrap();

    let same = owner
        .put(
            "connection",
            &json!({ "application_id": id, "public_key": key.to_uppercase() }),
        )
        .await;
    let mistaken = owner.put("bot-token", &json!({ "bot_token": other_bot.token })).await;
    let other_key = owner
        .put(
            "connection",
            &json!({ "application_id": id, "public_key": other.public_key }),
        )
        .await;
    let connected = owner.put("connection", &json!({ "bot_token": owner.bot.token })).await;

    assert_eq!(same.json()["connection"]["has_bot_token"], true, "{same}");
    assert_snapshot!(told(&mistaken), @"422 application_mismatch: bot_token is of another application than the one that the agent is connected to.");
    assert_eq!(other_key.json()["connection"]["has_bot_token"], false, "{other_key}");
    assert_eq!(other_key.json()["connection"]["bot_user_id"], Value::Null);
    let connection = &connected.json()["connection"];
    assert_eq!(
        (&connection["has_bot_token"], &connection["public_key"]),
        (&json!(true), &json!(key))
    );
    let keys = "SELECT DISTINCT discord_public_key FROM public.agent_discord_connections WHERE agent_id = $1";
    assert_eq!(
        stack.db().column::<String>(keys, &[&owner.agent.id]).await,
        [key],
        "its guilds follow"
    );
}

#[tokio::test]
async fn what_is_forgotten_is_gone() {
    let stack = brisk().await;
    let owner = Owner::connected(stack).await;
    owner
        .put("enabled-guilds", &json!({ "guilds": [{ "guild_id": "77" }] }))
        .await;

    let cleared = owner.request(Method::DELETE, "bot-token").await;
    let guilds = owner.request(Method::GET, "guilds").await;
    let deleted = owner.request(Method::DELETE, "connection").await;
    let again = owner.request(Method::DELETE, "connection").await;
    let no_token = owner.request(Method::DELETE, "bot-token").await;
    let no_guilds = owner.request(Method::GET, "guilds").await;

    assert_eq!(cleared.json()["connection"]["has_bot_token"], false, "{cleared}");
    assert_eq!(cleared.json()["guilds"].as_array().unwrap().len(), 1, "the guilds stay");
    assert_snapshot!(told(&guilds), @"400 bot_token_missing: Agent is missing Discord Bot Key.");
    assert_snapshot!(deleted, @"204 No Content");
    assert_snapshot!(told(&again), @"404 connection_missing: Discord connection record missing for agent.");
    assert_snapshot!(told(&no_token), @"404 connection_missing: Discord connection record missing for agent.");
    assert_snapshot!(told(&no_guilds), @"400 connection_missing: Discord connection record missing for agent.");
    let left = "SELECT count(*) FROM public.agent_discord_connections WHERE agent_id = $1";
    assert_eq!(stack.db().scalar::<i64>(left, &[&owner.agent.id]).await, 0);
}

#[tokio::test]
async fn all_guilds_are_listed_page_by_page() {
    let stack = brisk().await;
    let owner = Owner::connected(stack).await;
    let discord = stack.discord();
    let joined: Vec<_> = (0..201)
        .map(|number| discord.create_guild(&format!("Guild {number}")))
        .collect();
    for guild in &joined {
        discord.add_to_guild(owner.application.id, guild.id);
    }
    let before = discord.recorded(owner.application.id).len();

    let listed = owner.request(Method::GET, "guilds").await;

    let ids = |listed: &Value| {
        let mut ids: Vec<_> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|guild| guild["guild_id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    let mut expected: Vec<_> = joined.iter().map(|guild| guild.id.to_string()).collect();
    expected.sort();
    assert_eq!(ids(&listed.json()), expected);
    assert_eq!(calls(&owner, before), [Call::Guilds, Call::Guilds]);
    assert!(listed.json()[0]["permissions"].is_string(), "{}", listed.json()[0]);
}

#[tokio::test]
async fn text_channels_are_listed_of_guilds_that_the_bot_is_in() {
    let stack = brisk().await;
    let owner = Owner::connected(stack).await;
    let discord = stack.discord();
    let (home, away) = (discord.create_guild("Home"), discord.create_guild("Away"));
    discord.add_to_guild(owner.application.id, home.id);
    let kinds = [
        ChannelKind::Voice,
        ChannelKind::Category,
        ChannelKind::Announcement,
        ChannelKind::Forum,
        ChannelKind::Text,
    ];
    let made = kinds.map(|kind| discord.create_channel(home.id, "made", kind));

    let listed = owner
        .request(Method::GET, &format!("guilds/{}/channels", home.id))
        .await;
    let elsewhere = owner
        .request(Method::GET, &format!("guilds/{}/channels", away.id))
        .await;
    let no_id = owner.request(Method::GET, "guilds/home/channels").await;

    let mut seen: Vec<_> = listed
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|channel| channel["id"].clone())
        .collect();
    seen.sort_by_key(Value::to_string);
    let mut expected = [json!(home.general.to_string()), json!(made[4].to_string())];
    expected.sort_by_key(Value::to_string);
    assert_eq!(seen, expected);
    let mut fields: Vec<_> = listed.json()[0].as_object().unwrap().keys().cloned().collect();
    fields.sort();
    assert_eq!(fields.join(" "), "id name parent_id position type");
    assert_snapshot!(told(&elsewhere), @"403 discord_forbidden: Discord does not allow the bot to do this.");
    assert_snapshot!(told(&no_id), @"400 invalid_field: guild_id is not a Discord id.");
}

#[tokio::test]
async fn commands_are_compared_before_they_are_written() {
    let stack = brisk().await;
    let owner = Owner::connected(stack).await;
    let discord = stack.discord();
    let before = discord.recorded(owner.application.id).len();

    let first = owner.request(Method::POST, "commands").await;
    let registered_at = owner.connection().await["commands_registered_at"].clone();
    let after_first = calls(&owner, before).len();
    let second = owner.request(Method::POST, "commands").await;
    let after_second = calls(&owner, before).len();
    discord
        .register_commands(
            owner.application.id,
            &[json!({ "name": "ping", "description": "Pong", "type": 1 })],
        )
        .unwrap();
    let third = owner.request(Method::POST, "commands").await;

    let changed = [&first, &second, &third].map(|answer| answer.json()["changed"].clone());
    assert_eq!(changed, [json!(true), json!(false), json!(true)]);
    assert!(registered_at.is_string());
    let calls = calls(&owner, before);
    assert_eq!(calls[..after_first], [Call::Commands, Call::OverwriteCommands]);
    assert_eq!(calls[after_first..after_second], [Call::Commands]);
    assert_eq!(calls[after_second..], [Call::Commands, Call::OverwriteCommands]);
    assert!(!commands::differ(
        &discord.commands(owner.application.id),
        &commands::commands()
    ));
}

#[tokio::test]
async fn what_a_guild_cannot_be_is_named() {
    let stack = brisk().await;
    let owner = Owner::new(stack).await;
    let put = |body: Value| owner.put("enabled-guilds", &body);
    let one = |guild: Value| put(json!({ "guilds": [{ "guild_id": "1" }, guild] }));
    let many = vec![json!({ "guild_id": "1" }); 101];

    let unconnected = put(json!({ "guilds": [{ "guild_id": "1" }] })).await;
    owner.connect().await;
    let refusals = [
        put(json!({})).await,
        put(json!({ "guilds": many })).await,
        one(json!({})).await,
        one(json!({ "guild_id": "home" })).await,
        one(json!({ "guild_id": "1" })).await,
        one(json!({ "guild_id": "2", "allowed_channel_ids": ["7", "general"] })).await,
        one(json!({ "guild_id": "2", "allowed_channel_ids": vec!["7"; 101] })).await,
        one(json!({ "guild_id": "2", "inactivity_timeout_minutes": 10_081 })).await,
        one(json!(7)).await,
        owner.request(Method::DELETE, "enabled-guilds/home").await,
        owner.request(Method::DELETE, "enabled-guilds/77").await,
    ];

    assert_snapshot!(told(&unconnected), @"400 connection_missing: Discord connection record missing for agent.");
    let fields = refusals.iter().map(|answer| {
        let field = answer.json()["field"].as_str().unwrap_or("-").to_owned();
        format!("{field}: {}", told(answer))
    });
    assert_snapshot!(fields.collect::<Vec<_>>().join("\n"), @r#"
    guilds: 400 missing_field: guilds is required.
    guilds: 400 invalid_field: guilds must be at most 100 guilds.
    guilds[1].guild_id: 400 missing_field: guilds[1].guild_id is required.
    guilds[1].guild_id: 400 invalid_field: guilds[1].guild_id is not a Discord id.
    guilds[1].guild_id: 400 invalid_field: guilds[1].guild_id is named twice.
    guilds[1].allowed_channel_ids[1]: 400 invalid_field: guilds[1].allowed_channel_ids[1] is not a Discord id.
    guilds[1].allowed_channel_ids: 400 invalid_field: guilds[1].allowed_channel_ids must be at most 100 channels.
    guilds[1].inactivity_timeout_minutes: 400 invalid_field: guilds[1].inactivity_timeout_minutes must be 0 to 10080.
    guilds[1]: 400 invalid_field: guilds[1] is invalid: invalid type: integer `7`, expected an object.
    guild_id: 400 invalid_field: guild_id is not a Discord id.
    -: 404 guild_not_found: The agent is not connected to this server.
    "#);
    assert_eq!(
        owner.request(Method::GET, "connection").await.json()["guilds"],
        json!([]),
        "all or nothing"
    );
}

#[tokio::test]
async fn guilds_that_are_not_named_stay_as_they_are_and_there_are_a_hundred_at_most() {
    let stack = brisk().await;
    let owner = Owner::connected(stack).await;
    let hundred: Vec<_> = (1..=100)
        .map(|id| json!({ "guild_id": id.to_string(), "allowed_channel_ids": ["7"] }))
        .collect();

    let all = owner.put("enabled-guilds", &json!({ "guilds": hundred })).await;
    let one_more = owner
        .put("enabled-guilds", &json!({ "guilds": [{ "guild_id": "101" }] }))
        .await;
    let changed = json!({ "guilds": [{ "guild_id": "2", "is_enabled": false, "inactivity_timeout_minutes": 0 }] });
    let changed = owner.put("enabled-guilds", &changed).await;
    let forgotten = owner.request(Method::DELETE, "enabled-guilds/3").await;
    let instead = owner
        .put("enabled-guilds", &json!({ "guilds": [{ "guild_id": "101" }] }))
        .await;

    assert_eq!(all.json()["guilds"].as_array().unwrap().len(), 100, "{}", all.status());
    assert_snapshot!(told(&one_more), @"409 guild_limit_reached: An agent may be used in 100 servers at most.");
    let guild = |state: &Response, id: &str| {
        let guilds = state.json()["guilds"].clone();
        guilds
            .as_array()
            .unwrap()
            .iter()
            .find(|guild| guild["guild_id"] == id)
            .cloned()
            .unwrap_or_default()
    };
    let shown = |guild: Value| {
        let fields = ["is_enabled", "allowed_channel_ids", "inactivity_timeout_minutes"];
        fields.map(|field| guild[field].clone())
    };
    // There is one worker for all, and so one time after which it ends.
    assert_eq!(shown(guild(&changed, "1")), [json!(true), json!(["7"]), json!(0)]);
    assert_eq!(shown(guild(&changed, "2")), [json!(false), Value::Null, json!(0)]);
    assert_eq!(guild(&forgotten, "3"), Value::Null);
    assert_eq!(shown(guild(&instead, "101")), [json!(true), Value::Null, json!(0)]);
}

#[tokio::test]
async fn an_owner_may_ask_only_so_often() {
    let options = StackOptions::default()
        .set("discord_change_per_minute", 1)
        .set("discord_change_burst", 2);
    let stack = Stack::beside_shared(options).await;
    let owner = Owner::connected(&stack).await;
    let other = Owner::new(&stack).await;

    owner.request(Method::GET, "guilds").await;
    let refused = [
        owner.request(Method::GET, "guilds").await,
        owner.connect().await,
        owner.request(Method::POST, "commands").await,
        owner.put("enabled-guilds", &json!({ "guilds": [] })).await,
        owner.command("start").await,
        owner.command("status").await,
    ];

    for answer in refused {
        assert_eq!(
            (answer.status().as_u16(), answer.field("code").as_str()),
            (429, "rate_limited"),
            "{answer}"
        );
        let pause: u32 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&pause), "{answer}");
    }
    assert_eq!(
        owner.request(Method::GET, "connection").await.status(),
        200,
        "looking is free"
    );
    assert_eq!(other.connect().await.status(), 200, "others are not held up");
}
