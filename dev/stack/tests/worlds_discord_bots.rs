//! Discord's stand-in over HTTP, as a bot meets it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use agentopia_domain::discord::commands;
use agentopia_stack::worlds::discord::{Application, Bot, Call, ChannelKind, Fault};
use agentopia_stack::worlds::{DiscordOptions, DiscordWorld};
use insta::assert_snapshot;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

struct Setting {
    world: DiscordWorld,
    application: Application,
    bot: Bot,
}

impl Setting {
    async fn new() -> Self {
        let world = DiscordWorld::start(DiscordOptions {
            token_prefix: "canary-".to_owned(),
            ..DiscordOptions::default()
        })
        .await
        .unwrap();
        let application = world.create_application().unwrap();
        let bot = world.create_bot(&application).unwrap();
        Self {
            world,
            application,
            bot,
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Response {
        call(&self.world, &self.bot.token, method, path, body).await.unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.call(Method::GET, path, None).await;
        assert_eq!(response.status(), 200, "{path}");
        response.json().await.unwrap()
    }
}

async fn call(
    world: &DiscordWorld,
    token: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Response, reqwest::Error> {
    let mut request = Client::new()
        .request(method, format!("{}/api/v10/{path}", world.origin()))
        .header("user-agent", "DiscordBot (https://example.com, 1)")
        .header("authorization", format!("Bot {token}"))
        .timeout(Duration::from_millis(500));
    if let Some(body) = body {
        request = request.json(body);
    }
    request.send().await
}

/// The status and the body of an answer.
async fn shown(response: Response) -> String {
    let status = response.status().as_u16();
    format!("{status} {}", response.text().await.unwrap())
}

fn names(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_bot_learns_whose_it_is() {
    let setting = Setting::new().await;
    let guild = setting.world.create_guild("Harbour");
    setting.world.add_to_guild(setting.application.id, guild.id);

    let user = setting.get("users/@me").await;
    let application = setting.get("applications/@me").await;

    assert_eq!(
        (&user["id"], &user["bot"]),
        (&json!(setting.bot.user_id.to_string()), &json!(true))
    );
    assert_eq!(application["id"], setting.application.id.to_string());
    assert_eq!(application["verify_key"], setting.application.public_key);
    assert_eq!(application["bot"]["id"], user["id"]);
    assert_eq!(application["approximate_guild_count"], 1);
}

#[tokio::test]
async fn a_token_that_was_reset_is_wrong() {
    let setting = Setting::new().await;
    let later = setting.world.create_bot(&setting.application).unwrap();
    let ask = async |token: &str| {
        let response = call(&setting.world, token, Method::GET, "users/@me", None)
            .await
            .unwrap();
        shown(response).await
    };

    let first = ask(&setting.bot.token).await;
    let none = ask("").await;
    let second = ask(&later.token).await;
    setting.world.revoke_bot(setting.application.id);
    let revoked = ask(&later.token).await;

    let refusal = r#"401 {"code":0,"message":"401: Unauthorized"}"#;
    assert_eq!([first, none, revoked], [refusal; 3]);
    assert!(second.starts_with("200 "), "{second}");
    assert!(later.token.rsplit_once('.').unwrap().1.starts_with("canary-"));
    assert_eq!(
        (setting.world.invalid_requests(), setting.world.complaints()),
        (3, vec![])
    );
}

#[tokio::test]
async fn guilds_come_in_pages() {
    let setting = Setting::new().await;
    let mut guilds: Vec<_> = (0..3)
        .map(|number| setting.world.create_guild(&format!("Guild {number}")))
        .collect();
    for guild in &guilds {
        setting.world.add_to_guild(setting.application.id, guild.id);
    }
    setting.world.create_guild("Elsewhere");
    setting
        .world
        .remove_from_guild(setting.application.id, guilds.remove(1).id);

    let all = setting.get("users/@me/guilds?limit=200&after=0").await;
    let first = setting.get("users/@me/guilds?limit=1").await;
    let after = format!("users/@me/guilds?limit=1&after={}", first[0]["id"].as_str().unwrap());
    let second = setting.get(&after).await;

    assert_eq!(names(&all), ["Guild 0", "Guild 2"]);
    assert_eq!((names(&first), names(&second)), (vec!["Guild 0"], vec!["Guild 2"]));
    let mut refusals = Vec::new();
    for query in ["limit=0", "limit=201", "limit=all", "after=x"] {
        let response = setting
            .call(Method::GET, &format!("users/@me/guilds?{query}"), None)
            .await;
        refusals.push(shown(response).await);
    }
    assert_snapshot!(refusals.join("\n"), @r#"
    400 {"code":50035,"errors":{"limit":{"_errors":[{"code":"NUMBER_TYPE_MIN","message":"int value should be greater than or equal to 1."}]}},"message":"Invalid Form Body"}
    400 {"code":50035,"errors":{"limit":{"_errors":[{"code":"NUMBER_TYPE_MAX","message":"int value should be less than or equal to 200."}]}},"message":"Invalid Form Body"}
    400 {"code":50035,"errors":{"limit":{"_errors":[{"code":"NUMBER_TYPE_COERCE","message":"Value \"all\" is not int."}]}},"message":"Invalid Form Body"}
    400 {"code":50035,"errors":{"after":{"_errors":[{"code":"NUMBER_TYPE_COERCE","message":"Value \"x\" is not snowflake."}]}},"message":"Invalid Form Body"}
    "#);
}

#[tokio::test]
async fn channels_are_shown_to_who_is_in_the_guild() {
    let setting = Setting::new().await;
    let (guild, other) = (
        setting.world.create_guild("Harbour"),
        setting.world.create_guild("Inland"),
    );
    setting.world.add_to_guild(setting.application.id, guild.id);
    setting.world.create_channel(guild.id, "voices", ChannelKind::Voice);
    let gone = setting.world.create_channel(guild.id, "gone", ChannelKind::Text);
    setting.world.delete_channel(gone);

    let channels = setting.get(&format!("guilds/{}/channels", guild.id)).await;
    let elsewhere = setting
        .call(Method::GET, &format!("guilds/{}/channels", other.id), None)
        .await;
    let nowhere = setting.call(Method::GET, "guilds/1/channels", None).await;

    assert_eq!(names(&channels), ["general", "voices"]);
    assert_eq!(channels[0]["id"], guild.general.to_string());
    assert_eq!((&channels[0]["type"], &channels[1]["type"]), (&json!(0), &json!(2)));
    assert_snapshot!(shown(elsewhere).await, @r#"403 {"code":50001,"message":"Missing Access"}"#);
    assert_snapshot!(shown(nowhere).await, @r#"404 {"code":10004,"message":"Unknown Guild"}"#);
    assert_eq!(setting.world.invalid_requests_of(setting.application.id), 1);
}

#[tokio::test]
async fn commands_are_overwritten_and_shown() {
    let setting = Setting::new().await;
    let path = format!("applications/{}/commands", setting.application.id);
    let commands = json!([{ "name": "ask", "description": "Asks.", "name_localizations": { "de": "fragen" } }]);

    let put = setting.call(Method::PUT, &path, Some(&commands)).await;
    let put: Value = put.json().await.unwrap();
    let short = setting.get(&path).await;
    let full = setting.get(&format!("{path}?with_localizations=true")).await;

    assert_eq!(put, full);
    assert_eq!(json!(setting.world.commands(setting.application.id)), full);
    assert_eq!(full[0]["name_localizations"]["de"], "fragen");
    assert_eq!(short[0].get("name_localizations"), None);
    let mut refusals = Vec::new();
    for (path, body) in [
        (path.as_str(), json!([{ "name": "Ask", "description": "Asks." }])),
        ("applications/1/commands", json!([])),
    ] {
        let response = setting.call(Method::PUT, path, Some(&body)).await;
        refusals.push(shown(response).await);
    }
    assert_snapshot!(refusals.join("\n"), @r#"
    400 {"code":50035,"errors":{"0":{"name":{"_errors":[{"code":"APPLICATION_COMMAND_INVALID_NAME","message":"Command name is invalid"}]}}},"message":"Invalid Form Body"}
    403 {"code":20012,"message":"You are not authorized to perform this action on this application"}
    "#);
    assert_eq!(json!(setting.world.commands(setting.application.id)), full);
}

#[tokio::test]
async fn what_the_application_registers_is_taken_as_it_is() {
    let setting = Setting::new().await;
    let path = format!("applications/{}/commands", setting.application.id);
    setting.world.enable_activity(setting.application.id);
    let before = setting.world.commands(setting.application.id);
    let wanted = commands::to_register(&before);

    let put = setting.call(Method::PUT, &path, Some(&json!(wanted))).await;

    assert_eq!(shown(put).await.split_once(' ').unwrap().0, "200");
    let registered = setting.world.commands(setting.application.id);
    assert_eq!(registered.len(), wanted.len());
    assert!(commands::differ(&before, &wanted) && !commands::differ(&registered, &wanted));
    assert_eq!(setting.world.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_message_with_a_nonce_is_written_once() {
    let setting = Setting::new().await;
    let guild = setting.world.create_guild("Harbour");
    setting.world.add_to_guild(setting.application.id, guild.id);
    let path = format!("channels/{}/messages", guild.general);
    let message = json!({
        "content": "It is over.", "nonce": "1", "enforce_nonce": true, "allowed_mentions": { "parse": [] },
    });

    let first: Value = setting
        .call(Method::POST, &path, Some(&message))
        .await
        .json()
        .await
        .unwrap();
    let again: Value = setting
        .call(Method::POST, &path, Some(&message))
        .await
        .json()
        .await
        .unwrap();

    let [kept] = setting.world.channel_messages(guild.general).try_into().unwrap();
    assert_eq!(
        (kept.content.as_str(), kept.id.to_string()),
        ("It is over.", first["id"].as_str().unwrap().to_owned())
    );
    assert_eq!(first["id"], again["id"]);
    assert_eq!(setting.world.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_bot_may_not_write_is_refused() {
    let setting = Setting::new().await;
    let (guild, other) = (
        setting.world.create_guild("Harbour"),
        setting.world.create_guild("Inland"),
    );
    setting.world.add_to_guild(setting.application.id, guild.id);
    let heading = setting.world.create_channel(guild.id, "heading", ChannelKind::Category);
    let message = json!({ "content": "Hello", "allowed_mentions": { "parse": [] } });
    let mut refusals = Vec::new();

    for (channel, body) in [
        (1, message.clone()),
        (other.general, message.clone()),
        (heading, message),
        (guild.general, json!({ "content": "é".repeat(2001) })),
        (guild.general, json!({ "content": "Hello", "flags": 64 })),
    ] {
        let path = format!("channels/{channel}/messages");
        let response = setting.call(Method::POST, &path, Some(&body)).await;
        refusals.push(shown(response).await);
    }
    let loud = json!({ "content": "Hello" });
    setting
        .call(
            Method::POST,
            &format!("channels/{}/messages", guild.general),
            Some(&loud),
        )
        .await;

    assert_snapshot!(refusals.join("\n"), @r#"
    404 {"code":10003,"message":"Unknown Channel"}
    403 {"code":50001,"message":"Missing Access"}
    400 {"code":50008,"message":"Cannot send messages in a non-text channel"}
    400 {"code":50035,"errors":{"content":{"_errors":[{"code":"BASE_TYPE_MAX_LENGTH","message":"Must be 2000 or fewer in length."}]}},"message":"Invalid Form Body"}
    400 {"code":50035,"errors":{"_stand_in":{"_errors":[{"code":"STAND_IN_UNSUPPORTED","message":"The stand-in does not support 'flags' of a message."}]}},"message":"Invalid Form Body"}
    "#);
    assert_eq!(setting.world.channel_messages(guild.general).len(), 1);
    let complaints = setting.world.complaints();
    assert_eq!(complaints.len(), 4, "{complaints:?}");
    assert!(
        complaints
            .last()
            .unwrap()
            .ends_with("a message does not say that it mentions nobody")
    );
}

#[tokio::test]
async fn a_bucket_is_described_and_ends() {
    let setting = Setting::new().await;
    let minute = Duration::from_secs(60);
    setting
        .world
        .limit_calls(setting.application.id, Call::User, (1, minute));

    let first = setting.call(Method::GET, "users/@me", None).await;
    let second = setting.call(Method::GET, "users/@me", None).await;
    setting.world.limit_globally(setting.application.id, (0, minute));
    let global = setting.call(Method::GET, "applications/@me", None).await;

    assert_eq!(
        (
            &first.headers()["x-ratelimit-limit"],
            &first.headers()["x-ratelimit-remaining"]
        ),
        (&"1".parse().unwrap(), &"0".parse().unwrap())
    );
    assert_eq!(
        first.headers()["x-ratelimit-bucket"],
        second.headers()["x-ratelimit-bucket"]
    );
    let wait: f64 = first.headers()["x-ratelimit-reset-after"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(wait > 50.0 && wait <= 60.0, "{wait}");
    assert_eq!(
        (
            second.status().as_u16(),
            second.headers()["x-ratelimit-scope"].to_str().unwrap()
        ),
        (429, "user")
    );
    assert_eq!(global.headers()["x-ratelimit-scope"], "global");
    let body: Value = global.json().await.unwrap();
    assert_eq!(
        (&body["global"], &body["message"]),
        (&json!(true), &json!("You are being rate limited."))
    );
    assert_eq!(setting.world.invalid_requests_of(setting.application.id), 2);
}

#[tokio::test]
async fn a_bots_calls_fail_as_planned_and_are_recorded() {
    let setting = Setting::new().await;
    let id = setting.application.id;
    let shared = Fault::SharedLimit(Duration::from_secs(7));
    for fault in [shared, Fault::Blocked, Fault::Silence, Fault::Break] {
        setting.world.fail_call(id, Call::User, fault, 1);
    }

    let beside = setting.get("applications/@me").await;
    let mut answers = Vec::new();
    for _ in 0..5 {
        let answer = call(&setting.world, &setting.bot.token, Method::GET, "users/@me", None).await;
        let answer = answer.map(|response| {
            (
                response.status().as_u16(),
                response.headers().get("retry-after").cloned(),
            )
        });
        answers.push(answer.map_err(|error| error.is_timeout()));
    }

    assert_eq!(beside["id"], id.to_string());
    let wait = Some("7".parse().unwrap());
    assert_eq!(
        answers,
        [Ok((429, wait)), Ok((403, None)), Err(true), Err(false), Ok((200, None))]
    );
    assert_eq!(setting.world.invalid_requests_of(id), 1);
    let recorded = setting.world.recorded(id);
    let recorded: Vec<_> = recorded
        .iter()
        .map(|call| (call.call, call.status, call.is_done))
        .collect();
    assert_eq!(
        recorded,
        [
            (Call::Application, Some(200), true),
            (Call::User, Some(429), false),
            (Call::User, Some(403), false),
            (Call::User, None, false),
            (Call::User, None, false),
            (Call::User, Some(200), true),
        ]
    );
}
