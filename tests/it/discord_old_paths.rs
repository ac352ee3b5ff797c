//! `manage-discord-worker` by the paths of before: frontends of all ages are answered in the shapes that they know, now by owners' leave alone.

use agentopia_stack::worlds::worker_manager::{Call, Fault};
use agentopia_tests::{Request, Response, Stack};
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::discord_workers_support::Owner;

/// The paths that are posted to, and those that are read.
const POSTED: [&str; 8] = [
    "update-agent-discord-token",
    "discord-connect",
    "discord-disconnect",
    "discord-get-bot-guilds",
    "update-enabled-guilds",
    "register-agent-commands",
    "get-worker-status",
    "admin-force-stop-worker",
];
const READ: [&str; 2] = ["discord-get-guild-channels", "get-enabled-guilds"];

fn path(name: &str) -> String {
    format!("/functions/v1/{name}")
}

fn post(owner: &Owner<'_>, name: &str, body: &Value) -> Request {
    owner.stack.post(&path(name)).bearer(&owner.user.token).json(body)
}

fn get(owner: &Owner<'_>, name_and_query: &str) -> Request {
    owner.stack.get(&path(name_and_query)).bearer(&owner.user.token)
}

/// What the owner is told.
fn told(answer: &Response) -> String {
    let (status, field) = (answer.status().as_u16(), answer.json()["field"].clone());
    format!("{status} {} {field}: {}", answer.field("code"), answer.field("message"))
}

#[tokio::test]
async fn each_path_has_its_method_and_its_health() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;

    for (name, other) in POSTED
        .map(|name| (name, Method::GET))
        .into_iter()
        .chain(READ.map(|name| (name, Method::POST)))
    {
        let health = stack.get(&path(&format!("{name}/health"))).await;
        let wrong = stack.request(other, &path(name)).bearer(&owner.user.token).await;

        assert_eq!(
            (health.status().as_u16(), health.field("status").as_str()),
            (200, "healthy"),
            "{name}"
        );
        assert_eq!(wrong.status(), 405, "{name}: {wrong}");
    }
}

/// It told every bot's token to whoever had one secret.
#[tokio::test]
async fn tokens_of_bots_are_told_to_nobody() {
    let stack = Stack::shared().await;
    let url = format!("{}{}", stack.url(), path("get-discord-agent-tokens"));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();

    for method in [Method::GET, Method::POST] {
        let answer = client
            .request(method, &url)
            .bearer_auth(stack.service_token())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 404);
    }
}

#[tokio::test]
async fn each_body_names_an_agent() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;

    for name in POSTED {
        for (body, code) in [
            (json!({}), "missing_field"),
            (json!({ "agentId": "atlas" }), "invalid_field"),
            (json!({ "agentId": 7 }), "invalid_field"),
        ] {
            let refused = post(&owner, name, &body).await;
            let seen = (refused.status().as_u16(), refused.field("code"), refused.field("field"));
            assert_eq!(seen, (400, code.to_owned(), "agentId".to_owned()), "{name} {body}");
        }
        let no_object = post(&owner, name, &json!([])).await;
        assert_eq!(no_object.field("code"), "invalid_json", "{name}");
    }
    for name in READ {
        let missing = get(&owner, name).await;
        let wrong = get(&owner, &format!("{name}?agentId=atlas")).await;
        assert_eq!(
            told(&missing),
            r#"400 missing_field "agentId": agentId is required."#,
            "{name}"
        );
        assert_eq!(
            told(&wrong),
            r#"400 invalid_field "agentId": agentId is not a UUID."#,
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_token_is_set_and_forgotten_as_before() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;
    let agent = owner.agent.id;
    let set = |token: Value| {
        let body = json!({ "agentId": agent, "token": token });
        post(&owner, "update-agent-discord-token", &body)
    };
    let has_token = async || owner.connection().await["has_bot_token"].clone();

    let nothing_to_forget = set(Value::Null).await;
    let missing = post(&owner, "update-agent-discord-token", &json!({ "agentId": agent })).await;
    let number = set(json!(7)).await;
    let no_token = set(json!("a b")).await;
    let unknown = set(json!("MTIz.GaBcDe.unknown")).await;
    let set_one = set(json!(format!(" {}\n", owner.bot.token))).await;
    let is_set = has_token().await;
    let blank = set(json!(" ")).await;

    let message = json!({ "message": "Agent token updated successfully." });
    for answer in [&nothing_to_forget, &set_one, &blank] {
        assert_eq!((answer.status().as_u16(), answer.json()), (200, message.clone()));
    }
    assert_snapshot!(told(&missing), @r#"400 missing_field "token": token is required."#);
    assert_snapshot!(told(&number), @r#"400 invalid_field "token": token is invalid: invalid type: integer `7`, expected a string."#);
    assert_snapshot!(told(&no_token), @r#"400 invalid_field "token": token must be 1 to 200 visible ASCII characters."#);
    assert_snapshot!(told(&unknown), @r#"422 bot_token_rejected "token": token is not accepted by Discord."#);
    assert_eq!((is_set, has_token().await), (json!(true), json!(false)));
}

#[tokio::test]
async fn a_bot_is_connected_and_disconnected_as_before() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;
    let agent = json!({ "agentId": owner.agent.id });
    let with = |token: Value| json!({ "agentId": owner.agent.id, "botToken": token });

    let early = post(&owner, "discord-disconnect", &agent).await;
    let missing = post(&owner, "discord-connect", &agent).await;
    let unknown = post(&owner, "discord-connect", &with(json!("MTIz.GaBcDe.unknown"))).await;
    let connected = post(&owner, "discord-connect", &with(json!(owner.bot.token))).await;
    let disconnected = post(&owner, "discord-disconnect", &agent).await;

    assert_snapshot!(told(&early), @"404 connection_missing null: Discord connection record missing for agent.");
    assert_snapshot!(told(&missing), @r#"400 missing_field "botToken": botToken is required."#);
    assert_snapshot!(told(&unknown), @r#"422 bot_token_rejected "botToken": botToken is not accepted by Discord."#);
    for (answer, has_token) in [(connected, true), (disconnected, false)] {
        assert_eq!(answer.status(), 200, "{answer}");
        let connection = &answer.json()["connection"];
        assert_eq!(connection["has_bot_token"], has_token, "{answer}");
        assert_eq!(connection["application_id"], owner.application.id.to_string());
        assert!(!answer.text().contains(&owner.bot.token));
    }
}

#[tokio::test]
async fn guilds_and_channels_are_discords_as_before() {
    let stack = Stack::shared().await;
    let owner = Owner::connected(stack).await;
    let home = stack.discord().create_guild("Home");
    stack.discord().add_to_guild(owner.application.id, home.id);
    let agent = owner.agent.id;
    let channels = |query: &str| get(&owner, &format!("discord-get-guild-channels?agentId={agent}{query}"));

    let guilds = post(&owner, "discord-get-bot-guilds", &json!({ "agentId": agent })).await;
    let listed = channels(&format!("&guildId={}", home.id)).await;
    let missing = channels("").await;
    let wrong = channels("&guildId=home").await;
    let elsewhere = channels("&guildId=77").await;
    stack.discord().revoke_bot(owner.application.id);
    let revoked = post(&owner, "discord-get-bot-guilds", &json!({ "agentId": agent })).await;

    assert_eq!(guilds.json(), json!([{ "id": home.id.to_string(), "name": "Home" }]));
    assert_eq!(
        (&listed.json()[0]["id"], &listed.json()[0]["type"]),
        (&json!(home.general.to_string()), &json!(0))
    );
    assert_snapshot!(told(&missing), @r#"400 missing_field "guildId": guildId is required."#);
    assert_snapshot!(told(&wrong), @r#"400 invalid_field "guildId": guildId is not a Discord id."#);
    assert_eq!(elsewhere.field("code"), "discord_not_found", "{elsewhere}");
    assert_snapshot!(told(&revoked), @"409 bot_token_rejected null: Discord does not accept the bot's token any more. Please set the present one.");
}

#[tokio::test]
async fn guilds_are_enabled_as_before_and_more_than_one() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;
    let agent = owner.agent.id;
    let update = |guilds: Value| {
        let body = json!({ "agentId": agent, "enabledGuilds": guilds });
        post(&owner, "update-enabled-guilds", &body)
    };
    let guild = |id: &str, is_enabled: bool, application: Option<&str>| {
        json!({
            "guild_id": id, "is_enabled": is_enabled, "discord_app_id": application,
            "discord_public_key": application.map(|_| &owner.application.public_key), "inactivity_timeout_minutes": null,
        })
    };
    let id = owner.application.id.to_string();

    let unconnected = update(json!([guild("77", true, None)])).await;
    let missing = post(&owner, "update-enabled-guilds", &json!({ "agentId": agent })).await;
    let nameless = update(json!([guild("77", true, Some(&id)), {}])).await;
    let no_id = update(json!([guild("home", true, Some(&id))])).await;
    let no_key = update(json!([{ "guild_id": "77", "discord_app_id": id, "discord_public_key": "ab" }])).await;
    let updated = update(json!([guild("77", true, Some(&id)), guild("78", false, Some(&id))])).await;
    let choice =
        json!({ "guilds": [{ "guild_id": "77", "allowed_channel_ids": ["7"], "inactivity_timeout_minutes": 3 }] });
    owner.put("enabled-guilds", &choice).await;
    let again = update(json!([guild("77", false, None), guild("78", true, None)])).await;
    let listed = get(&owner, &format!("get-enabled-guilds?agentId={agent}")).await;

    let message = json!({ "message": "Guild enablement status updated successfully." });
    assert_snapshot!(told(&unconnected), @"400 connection_missing null: Discord connection record missing for agent.");
    assert_snapshot!(told(&missing), @r#"400 missing_field "enabledGuilds": enabledGuilds is required."#);
    assert_snapshot!(told(&nameless), @r#"400 missing_field "enabledGuilds[1].guild_id": enabledGuilds[1].guild_id is required."#);
    assert_snapshot!(told(&no_id), @r#"400 invalid_field "enabledGuilds[0].guild_id": enabledGuilds[0].guild_id is not a Discord id."#);
    assert_snapshot!(told(&no_key), @r#"400 invalid_field "enabledGuilds[0].discord_public_key": enabledGuilds[0].discord_public_key must be the application's public key: 64 hexadecimal digits."#);
    for answer in [&updated, &again] {
        assert_eq!((answer.status().as_u16(), answer.json()), (200, message.clone()));
    }
    let mut listed: Vec<_> = listed.json().as_array().unwrap().iter().map(Value::to_string).collect();
    listed.sort();
    let expected = [
        r#"{"guild_id":"77","is_enabled":false}"#,
        r#"{"guild_id":"78","is_enabled":true}"#,
    ];
    assert_eq!(listed, expected);
    let guilds = owner.request(Method::GET, "connection").await.json()["guilds"].clone();
    let kept = guilds
        .as_array()
        .unwrap()
        .iter()
        .find(|guild| guild["guild_id"] == "77")
        .unwrap();
    assert_eq!(
        (&kept["allowed_channel_ids"], &kept["inactivity_timeout_minutes"]),
        (&json!(["7"]), &json!(3))
    );
}

#[tokio::test]
async fn commands_are_registered_as_before() {
    let stack = Stack::shared().await;
    let owner = Owner::new(stack).await;
    let register = || post(&owner, "register-agent-commands", &json!({ "agentId": owner.agent.id }));

    let unconnected = register().await;
    owner.connect().await;
    let first = register().await;
    let second = register().await;
    owner.request(Method::DELETE, "bot-token").await;
    let no_token = register().await;

    assert_snapshot!(told(&unconnected), @"400 connection_missing null: Discord connection record missing for agent.");
    assert_snapshot!(first, @r#"
    200 OK
    {"message":"Commands registered successfully.","success":true}
    "#);
    assert_snapshot!(second, @r#"
    200 OK
    {"message":"Commands are registered already.","success":true}
    "#);
    assert_snapshot!(told(&no_token), @"400 bot_token_missing null: Agent is missing Discord Bot Key.");
}

#[tokio::test]
async fn a_status_is_told_as_before_also_without_the_manager() {
    let stack = Stack::shared().await;
    let owner = Owner::active(stack).await;
    let ask = || post(&owner, "get-worker-status", &json!({ "agentId": owner.agent.id }));

    let status = ask().await;
    stack
        .worker_manager()
        .fail(owner.agent.id, Call::Status, Fault::Status(500), 1);
    let degraded = ask().await;

    let shown = |answer: &Response| {
        let json = answer.json();
        let status = answer.status().as_u16();
        format!(
            "{status} {} {} {}",
            json["status"], json["details"]["status"], json["degraded"]
        )
    };
    assert_snapshot!(shown(&status), @r#"200 "active" "online" []"#);
    assert_snapshot!(shown(&degraded), @r#"200 "active" null ["worker_manager"]"#);
}
