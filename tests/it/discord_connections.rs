//! `manage-discord-worker`: a bot is connected as Discord confirms it, its token is never told again, and its worker starts and stops.

use agentopia_tests::{Response, Stack};
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::discord_workers_support::Owner;

#[tokio::test]
async fn a_bot_is_connected_as_discord_confirms_it_and_its_token_is_never_told() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;
    let application = owner.application.id.to_string();

    let before = owner.request(Method::GET, "connection").await;
    let connected = owner
        .put(
            "connection",
            &json!({
                "application_id": application, "public_key": owner.application.public_key,
                "inactivity_timeout_minutes": 5, "bot_token": format!(" {} ", owner.bot.token),
            }),
        )
        .await;
    let after = owner.request(Method::GET, "connection").await;

    assert_snapshot!(before, @r#"
    200 OK
    {"connection":null,"guilds":[]}
    "#);
    assert_eq!((connected.status(), connected.text()), (after.status(), after.text()));
    let connection = &after.json()["connection"];
    let expected = json!({
        "application_id": application,
        "public_key": owner.application.public_key,
        "bot_user_id": owner.bot.user_id.to_string(),
        "bot_username": owner.bot.username,
        "has_bot_token": true,
        "inactivity_timeout_minutes": 5,
        "worker_status": "inactive",
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&connection[name], value, "{name}");
    }
    for answer in [&connected, &after] {
        assert!(!answer.text().contains(&owner.bot.token));
    }
    let sealed: String = stack
        .db()
        .scalar(
            "SELECT bot_token_sealed FROM public.agent_discord_connections WHERE agent_id = $1 AND guild_id IS NULL",
            &[&owner.agent.id],
        )
        .await;
    assert!(sealed.starts_with("v1.xc20p.tests-2026.") && !sealed.contains(&owner.bot.token));
    if let Some(log) = stack.log("manage-discord-worker") {
        let secret = owner.bot.token.rsplit('.').next().unwrap();
        assert!(!log.iter().any(|line| line.contains(secret)));
    }
}

#[tokio::test]
async fn what_discord_does_not_confirm_is_refused_by_its_field() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;
    let other = stack.discord().create_application().unwrap();
    let put = |body: Value| owner.put("connection", &body);

    let wrong_application = put(json!({ "application_id": other.id.to_string(), "bot_token": owner.bot.token })).await;
    let wrong_key = put(json!({ "public_key": other.public_key, "bot_token": owner.bot.token })).await;
    stack.discord().revoke_bot(owner.application.id);
    let revoked = put(json!({ "bot_token": owner.bot.token })).await;
    let no_token = put(json!({ "application_id": "1" })).await;

    assert_snapshot!(wrong_application, @r#"
    422 Unprocessable Entity
    {"code":"application_mismatch","error":"application_id is not the application that the bot's token belongs to.","field":"application_id","message":"application_id is not the application that the bot's token belongs to.","request_id":"[request id]"}
    "#);
    assert_snapshot!(wrong_key, @r#"
    422 Unprocessable Entity
    {"code":"application_mismatch","error":"public_key is not the key of the application that the bot's token belongs to.","field":"public_key","message":"public_key is not the key of the application that the bot's token belongs to.","request_id":"[request id]"}
    "#);
    assert_snapshot!(revoked, @r#"
    422 Unprocessable Entity
    {"code":"bot_token_rejected","error":"bot_token is not accepted by Discord.","field":"bot_token","message":"bot_token is not accepted by Discord.","request_id":"[request id]"}
    "#);
    assert_snapshot!(no_token, @r#"
    400 Bad Request
    {"code":"missing_field","error":"public_key is required.","field":"public_key","message":"public_key is required.","request_id":"[request id]"}
    "#);
    assert_eq!(
        owner.request(Method::GET, "connection").await.json()["connection"],
        Value::Null
    );
}

#[tokio::test]
async fn one_bot_serves_one_agent() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;
    let other = Owner {
        bot: owner.bot.clone(),
        ..Owner::new(stack).await
    };

    let first = owner.connect().await;
    let second = other.connect().await;

    assert_eq!(first.status(), 200, "{first}");
    assert_snapshot!(second, @r#"
    409 Conflict
    {"code":"bot_token_in_use","error":"This bot is already connected to another agent.","message":"This bot is already connected to another agent.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn nobody_else_sees_or_changes_a_bot() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;
    owner.connect().await;
    let stranger = Owner {
        user: stack.user().await,
        ..Owner::new(stack).await
    };
    let stranger = Owner {
        agent: owner.agent.clone(),
        ..stranger
    };

    let answers = [
        stranger.request(Method::GET, "connection").await,
        stranger.connect().await,
        stranger.request(Method::DELETE, "connection").await,
        stranger
            .put("bot-token", &json!({ "bot_token": stranger.bot.token }))
            .await,
        stranger.request(Method::DELETE, "bot-token").await,
        stranger.request(Method::GET, "guilds").await,
        stranger.request(Method::GET, "guilds/1/channels").await,
        stranger
            .put("enabled-guilds", &json!({ "guilds": [{ "guild_id": "1" }] }))
            .await,
        stranger.request(Method::DELETE, "enabled-guilds/1").await,
        stranger.request(Method::POST, "commands").await,
        stranger.command("start").await,
        stranger.command("stop").await,
        stranger.command("restart").await,
        stranger.command("status").await,
    ];
    let forced = stranger.request(Method::POST, "force-stop").await;

    for answer in answers {
        assert_eq!(
            (answer.status().as_u16(), answer.field("code").as_str()),
            (404, "agent_not_found"),
            "{answer}"
        );
    }
    assert_snapshot!(forced, @r#"
    403 Forbidden
    {"code":"admin_required","error":"Only administrators may do this.","message":"Only administrators may do this.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_worker_starts_restarts_with_a_new_token_and_stops() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;
    let unconnected = owner.command("start").await;
    owner.connect().await;

    let started = owner.command("start").await;
    owner.becomes("active").await;
    let again = owner.command("start").await;
    let status = owner.command("status").await;
    let bot = stack.discord().create_bot(&owner.application).unwrap();
    let replaced = owner.put("bot-token", &json!({ "bot_token": bot.token })).await;
    owner.becomes("active").await;
    let worker = stack.worker_manager().worker(owner.agent.id).unwrap();
    let stopped = owner.command("stop").await;

    assert_snapshot!(unconnected, @r#"
    400 Bad Request
    {"code":"connection_missing","error":"Discord connection record missing for agent.","message":"Discord connection record missing for agent.","request_id":"[request id]"}
    "#);
    let message = |answer: &Response| {
        let json = answer.json();
        format!("{} {} {}", answer.status().as_u16(), json["status"], json["message"])
    };
    assert_snapshot!(started.field("message"), @"Worker start request sent successfully.");
    assert_eq!(
        started.json()["connection"]["application_id"],
        owner.application.id.to_string()
    );
    assert_snapshot!(message(&again), @r#"200 "active" "Nothing to start. Worker status: active.""#);
    assert_snapshot!(message(&status), @r#"200 "active" "Worker status: active.""#);
    assert_eq!(status.json()["degraded"], json!([]));
    assert_eq!(replaced.status(), 200, "{replaced}");
    assert_eq!(worker.bot_token, bot.token);
    assert_snapshot!(message(&stopped), @r#"200 "inactive" "Worker stop request sent successfully.""#);
    assert_eq!(owner.status().await, "inactive");
    for answer in [started, again, status, replaced, stopped] {
        for secret in [&owner.bot.token, &bot.token, &worker.worker_token] {
            assert!(!answer.text().contains(secret.as_str()));
        }
    }
}

#[tokio::test]
async fn guilds_channels_and_commands_are_those_of_the_bot() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;
    owner.connect().await;
    let (joined, foreign) = (
        stack.discord().create_guild("Home"),
        stack.discord().create_guild("Away"),
    );
    stack.discord().add_to_guild(owner.application.id, joined.id);

    let enabled = owner
        .put(
            "enabled-guilds",
            &json!({ "guilds": [{ "guild_id": foreign.id.to_string(), "allowed_channel_ids": ["7"] }] }),
        )
        .await;
    let guilds = owner.request(Method::GET, "guilds").await;
    let channels = owner
        .request(Method::GET, &format!("guilds/{}/channels", joined.id))
        .await;
    let first = owner.request(Method::POST, "commands").await;
    let second = owner.request(Method::POST, "commands").await;
    let forgotten = owner
        .request(Method::DELETE, &format!("enabled-guilds/{}", foreign.id))
        .await;

    assert_eq!(enabled.status(), 200, "{enabled}");
    let seen: Vec<_> = guilds
        .json()
        .as_array()
        .unwrap()
        .iter()
        .map(|guild| {
            (
                guild["guild_id"].clone(),
                guild["is_member"].clone(),
                guild["is_enabled"].clone(),
            )
        })
        .collect();
    assert_eq!(
        seen,
        [
            (json!(joined.id.to_string()), json!(true), json!(false)),
            (json!(foreign.id.to_string()), json!(false), json!(true))
        ]
    );
    assert_eq!(channels.json()[0]["id"], joined.general.to_string());
    assert_eq!(
        (&first.json()["changed"], &second.json()["changed"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        first.json()["commands"].as_array().unwrap().len(),
        stack.discord().commands(owner.application.id).len()
    );
    assert_eq!(forgotten.json()["guilds"], json!([]));
}

#[tokio::test]
async fn paths_of_before_answer_as_they_did() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;
    let (agent, guild) = (owner.agent.id, stack.discord().create_guild("Home"));
    stack.discord().add_to_guild(owner.application.id, guild.id);
    let post = |name: &str, body: Value| {
        let path = format!("/functions/v1/{name}");
        stack.post(&path).bearer(&owner.user.token).json(&body)
    };
    let get = |name: &str| {
        let path = format!("/functions/v1/{name}");
        stack.get(&path).bearer(&owner.user.token)
    };
    let of_agent = json!({ "agentId": agent });

    let no_guilds = post("discord-get-bot-guilds", of_agent.clone()).await;
    let enabled = post(
        "update-enabled-guilds",
        json!({
            "agentId": agent,
            "enabledGuilds": [{
                "guild_id": guild.id.to_string(), "is_enabled": true, "discord_app_id": owner.application.id.to_string(),
                "discord_public_key": owner.application.public_key, "inactivity_timeout_minutes": 10,
            }],
        }),
    )
    .await;
    let token = post(
        "update-agent-discord-token",
        json!({ "agentId": agent, "token": owner.bot.token }),
    )
    .await;
    let guilds = post("discord-get-bot-guilds", of_agent.clone()).await;
    let channels = get(&format!(
        "discord-get-guild-channels?agentId={agent}&guildId={}",
        guild.id
    ))
    .await;
    let listed = get(&format!("get-enabled-guilds?agentId={agent}")).await;
    let commands = post("register-agent-commands", of_agent.clone()).await;
    let status = post("get-worker-status", of_agent.clone()).await;
    let forced = post("admin-force-stop-worker", of_agent.clone()).await;
    let cleared = post("update-agent-discord-token", json!({ "agentId": agent, "token": null })).await;

    assert_eq!(no_guilds.json(), json!([]));
    assert_snapshot!(enabled, @r#"
    200 OK
    {"message":"Guild enablement status updated successfully."}
    "#);
    assert_snapshot!(token, @r#"
    200 OK
    {"message":"Agent token updated successfully."}
    "#);
    assert_eq!(guilds.json(), json!([{ "id": guild.id.to_string(), "name": "Home" }]));
    assert_eq!(channels.json()[0]["id"], guild.general.to_string());
    assert_eq!(
        listed.json(),
        json!([{ "guild_id": guild.id.to_string(), "is_enabled": true }])
    );
    assert_snapshot!(commands, @r#"
    200 OK
    {"message":"Commands registered successfully.","success":true}
    "#);
    assert_eq!(status.json()["status"], "inactive");
    assert_eq!(
        (forced.status().as_u16(), forced.field("code").as_str()),
        (403, "admin_required")
    );
    assert_snapshot!(cleared, @r#"
    200 OK
    {"message":"Agent token updated successfully."}
    "#);
    let state = owner.request(Method::GET, "connection").await.json();
    assert_eq!(state["connection"]["has_bot_token"], false);
}
