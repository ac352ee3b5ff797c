//! Discord's stand-in, as somebody meets it who uses commands, and as an application that answers.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use agentopia_stack::worlds::discord::{Application, Call, Fault, Forgery, Guild, Interaction, Person, Way};
use agentopia_stack::worlds::{DiscordOptions, DiscordWorld};
use axum::http::{HeaderMap, StatusCode};
use insta::assert_snapshot;
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

struct Setting {
    world: DiscordWorld,
    application: Application,
    guild: Guild,
    person: Person,
}

impl Setting {
    async fn new() -> Self {
        let world = DiscordWorld::start(DiscordOptions::default()).await.unwrap();
        let application = world.create_application().unwrap();
        let guild = world.create_guild("Harbour");
        world.add_to_guild(application.id, guild.id);
        let ask = json!({
            "name": "ask", "description": "Asks an agent.",
            "options": [
                { "type": 3, "name": "agent", "description": "Whom.", "required": true, "autocomplete": true },
                { "type": 3, "name": "question", "description": "What.", "required": true, "max_length": 20 },
                { "type": 5, "name": "ephemeral", "description": "Whether only you see it." },
            ],
        });
        let activate = json!({ "name": "activate", "description": "Starts.", "default_member_permissions": "32" });
        let about = json!({ "name": "Ask about this", "type": 3 });
        world
            .register_commands(application.id, &[ask, activate, about])
            .unwrap();
        let person = world.create_person(&guild, "Mason");
        Self {
            world,
            application,
            guild,
            person,
        }
    }

    /// Somebody asks.
    fn ask(&self) -> Interaction {
        let options = [("agent", json!("Atlas")), ("question", json!("Why?"))];
        self.world
            .use_command(&self.application, &self.person, "ask", &options)
            .unwrap()
    }

    /// Somebody has asked, and is told that the bot is thinking.
    async fn deferred(&self) -> Interaction {
        let interaction = self.ask();
        let response = self.callback(&interaction, &json!({ "type": 5 })).await;
        assert_eq!(shown(response).await, "204 ");
        interaction
    }

    async fn callback(&self, interaction: &Interaction, body: &Value) -> Response {
        let path = format!("interactions/{}/{}/callback", interaction.id, interaction.token);
        self.call(Method::POST, &path, Some(body)).await.unwrap()
    }

    async fn edit(&self, interaction: &Interaction, body: &Value) -> Result<Response, reqwest::Error> {
        self.call(Method::PATCH, &original(interaction), Some(body)).await
    }

    async fn follow_up(&self, interaction: &Interaction, body: &Value) -> Response {
        self.call(Method::POST, &webhook(interaction), Some(body))
            .await
            .unwrap()
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Response, reqwest::Error> {
        let mut request = Client::new()
            .request(method, format!("{}/api/v10/{path}", self.world.origin()))
            .header("user-agent", "DiscordBot (https://example.com, 1)")
            .timeout(Duration::from_millis(500));
        if let Some(body) = body {
            request = request.json(body);
        }
        request.send().await
    }
}

fn webhook(interaction: &Interaction) -> String {
    format!("webhooks/{}/{}", interaction.application_id, interaction.token)
}

fn original(interaction: &Interaction) -> String {
    format!("{}/messages/@original", webhook(interaction))
}

fn message(content: &str) -> Value {
    json!({ "content": content, "allowed_mentions": { "parse": [] } })
}

/// The status and the body of an answer.
async fn shown(response: Response) -> String {
    let status = response.status().as_u16();
    format!("{status} {}", response.text().await.unwrap())
}

/// The URL of an application that answers every interaction alike, after a while.
async fn answering(status: StatusCode, body: &'static str, after: Duration) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/interactions", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(async move |headers: HeaderMap| {
        assert!(headers.contains_key("x-signature-ed25519"));
        tokio::time::sleep(after).await;
        (status, body)
    });
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

const AT_ONCE: Duration = Duration::ZERO;

#[tokio::test]
async fn a_command_is_posted_as_it_was_used() {
    let setting = Setting::new().await;

    let interaction = setting.ask();

    let body = &interaction.body;
    assert_eq!(
        (&body["type"], &body["data"]["name"], &body["context"]),
        (&json!(2), &json!("ask"), &json!(0))
    );
    assert_eq!(body["id"], interaction.id.to_string());
    assert_eq!(body["application_id"], setting.application.id.to_string());
    assert_eq!(body["token"], interaction.token);
    assert_eq!(body["guild_id"], setting.guild.id.to_string());
    assert_eq!(body["channel_id"], setting.guild.general.to_string());
    assert_eq!(body["member"]["user"]["id"], setting.person.id.to_string());
    assert_eq!(
        body["data"]["id"],
        setting.world.commands(setting.application.id)[0]["id"]
    );
    assert_eq!(
        body["data"]["options"][1],
        json!({ "type": 3, "name": "question", "value": "Why?" })
    );
}

#[tokio::test]
async fn what_a_command_does_not_allow_nobody_can_do() {
    let setting = Setting::new().await;
    let Setting {
        world,
        application,
        person,
        ..
    } = &setting;
    let elsewhere = world.create_person(&world.create_guild("Inland"), "Erin");
    let (agent, question) = (("agent", json!("Atlas")), ("question", json!("Why?")));
    let refused = |person: &Person, name: &str, options: &[(&str, Value)]| {
        world
            .use_command(application, person, name, options)
            .unwrap_err()
            .to_string()
    };

    let refusals = [
        refused(person, "status", &[]),
        refused(person, "activate", &[]),
        refused(&elsewhere, "ask", &[]),
        refused(&person.in_channel(1), "ask", &[]),
        refused(person, "ask", std::slice::from_ref(&agent)),
        refused(person, "ask", &[agent.clone(), ("question", json!("a".repeat(21)))]),
        refused(
            person,
            "ask",
            &[agent.clone(), question.clone(), ("ephemeral", json!("yes"))],
        ),
        refused(person, "ask", &[agent, question, ("mood", json!("good"))]),
    ];

    assert_snapshot!(refusals.join("\n"), @r#"
    Mason cannot do that: there is no command 'status'
    Mason cannot do that: the command 'activate' is not for everybody
    Erin cannot do that: the application is not in the guild
    Mason cannot do that: there is no such channel
    Mason cannot do that: the option "question" must be given
    Mason cannot do that: the option 'question' is not like that
    Mason cannot do that: the option 'ephemeral' is not like that
    Mason cannot do that: there is no option 'mood'
    "#);
    let manager = person.who_may(Person::MANAGE_GUILD);
    assert!(world.use_command(application, &manager, "activate", &[]).is_ok());
}

#[tokio::test]
async fn a_message_and_what_is_typed_are_posted_too() {
    let setting = Setting::new().await;
    let Setting {
        world,
        application,
        person,
        ..
    } = &setting;

    let about = world
        .use_message_command(application, person, "Ask about this", "Look")
        .unwrap();
    let typed = world
        .type_option(application, person, "ask", &[], ("agent", "at"))
        .unwrap();

    let target = about.body["data"]["target_id"].as_str().unwrap();
    assert_eq!(about.body["data"]["resolved"]["messages"][target]["content"], "Look");
    assert_eq!(typed.body["type"], 4);
    let options = json!([{ "type": 3, "name": "agent", "value": "at", "focused": true }]);
    assert_eq!(typed.body["data"]["options"], options);
    assert!(
        world
            .type_option(application, person, "ask", &[], ("question", "a"))
            .is_err()
    );
}

#[tokio::test]
async fn an_inline_answer_is_seen() {
    let setting = Setting::new().await;
    let body = r#"{"type":4,"data":{"content":"Here.","flags":64,"allowed_mentions":{"parse":[]}}}"#;
    let url = answering(StatusCode::OK, body, AT_ONCE).await;
    let interaction = setting.ask();

    let outcome = setting
        .world
        .deliver(&setting.application, &url, &interaction)
        .await
        .unwrap();

    let acknowledged = outcome.acknowledged.unwrap();
    assert_eq!((acknowledged.way, acknowledged.kind), (Way::Inline, 4));
    let [seen] = setting.world.visible(interaction.id).try_into().unwrap();
    assert_eq!(
        (seen.content.as_str(), seen.is_ephemeral, seen.is_thinking),
        ("Here.", true, false)
    );
    assert!(!setting.world.has_failed(interaction.id));
    let again = setting
        .world
        .deliver(&setting.application, &url, &interaction)
        .await
        .unwrap();
    assert_eq!(again.acknowledged, Some(acknowledged));
    assert_eq!(
        (setting.world.visible(interaction.id).len(), setting.world.complaints()),
        (1, vec![])
    );
}

#[tokio::test]
async fn choices_are_offered() {
    let setting = Setting::new().await;
    let Setting {
        world,
        application,
        person,
        ..
    } = &setting;
    let typed = world
        .type_option(application, person, "ask", &[], ("agent", "at"))
        .unwrap();
    let body = r#"{"type":8,"data":{"choices":[{"name":"Atlas","value":"1"}]}}"#;
    let url = answering(StatusCode::OK, body, AT_ONCE).await;

    world.deliver(application, &url, &typed).await.unwrap();

    assert_eq!(world.choices(typed.id), [json!({ "name": "Atlas", "value": "1" })]);
    assert_eq!(world.visible(typed.id), []);
}

#[tokio::test]
async fn a_deferred_answer_is_filled_in_and_followed() {
    let setting = Setting::new().await;
    let url = answering(StatusCode::ACCEPTED, "", Duration::from_millis(300)).await;
    let interaction = setting.ask();
    let deliver = setting.world.deliver(&setting.application, &url, &interaction);
    let answer = async {
        setting
            .callback(&interaction, &json!({ "type": 5, "data": { "flags": 64 } }))
            .await;
        let [thinking] = setting.world.visible(interaction.id).try_into().unwrap();
        let edited = setting.edit(&interaction, &message("one")).await.unwrap();
        let followed = setting.follow_up(&interaction, &message("two")).await;
        (thinking, edited.status(), followed.status())
    };

    let (outcome, (thinking, edited, followed)) = tokio::join!(deliver, answer);

    let outcome = outcome.unwrap();
    let acknowledged = outcome.acknowledged.unwrap();
    assert_eq!((acknowledged.way, acknowledged.kind), (Way::Callback, 5));
    assert_eq!(outcome.answer.unwrap().status, 202);
    assert!(thinking.is_thinking && thinking.is_ephemeral);
    assert_eq!((edited, followed), (StatusCode::OK, StatusCode::OK));
    let [one, two] = setting.world.visible(interaction.id).try_into().unwrap();
    assert_eq!((one.content.as_str(), one.edits, one.is_ephemeral), ("one", 1, true));
    assert_eq!((two.content.as_str(), two.edits, two.is_ephemeral), ("two", 0, false));
    assert_eq!(setting.world.complaints(), Vec::<String>::new());
    let recorded = setting.world.recorded(interaction.id);
    let recorded: Vec<_> = recorded.iter().map(|call| (call.call, call.status)).collect();
    let expected = [(Call::Callback, 204), (Call::Edit, 200), (Call::FollowUp, 200)];
    assert_eq!(recorded, expected.map(|(call, status)| (call, Some(status))));
}

#[tokio::test]
async fn discord_hangs_up_once_it_has_the_first_answer_if_it_is_told_to() {
    let setting = Setting::new().await;
    let url = answering(StatusCode::ACCEPTED, "", Duration::from_secs(60)).await;
    let interaction = setting.ask();
    let deliver = setting
        .world
        .deliver_and_hang_up(&setting.application, &url, &interaction);
    let deferral = json!({ "type": 5 });

    let (outcome, _) = tokio::join!(deliver, setting.callback(&interaction, &deferral));

    let outcome = outcome.unwrap();
    assert!(outcome.acknowledged.is_some() && outcome.answer.is_none());
}

#[tokio::test]
async fn the_first_answer_comes_within_three_seconds_or_not_at_all() {
    let setting = Setting::new().await;
    let url = answering(StatusCode::OK, r#"{"type":5}"#, Duration::from_secs(60)).await;
    let interaction = setting.ask();
    let started = std::time::Instant::now();

    let outcome = setting
        .world
        .deliver(&setting.application, &url, &interaction)
        .await
        .unwrap();
    let late = setting.callback(&interaction, &json!({ "type": 5 })).await;

    let elapsed = started.elapsed();
    assert!((3..4).contains(&elapsed.as_secs()), "{elapsed:?}");
    assert!(outcome.acknowledged.is_none() && outcome.answer.is_none());
    assert!(setting.world.has_failed(interaction.id));
    assert_snapshot!(shown(late).await, @r#"404 {"code":10062,"message":"Unknown interaction"}"#);
    assert_eq!(setting.world.visible(interaction.id), []);
}

#[tokio::test]
async fn there_is_one_first_answer() {
    let setting = Setting::new().await;
    let interaction = setting.deferred().await;
    let url = answering(StatusCode::OK, r#"{"type":5}"#, AT_ONCE).await;

    let second = setting.callback(&interaction, &json!({ "type": 5 })).await;
    setting
        .world
        .deliver(&setting.application, &url, &interaction)
        .await
        .unwrap();
    let repeated = setting.world.complaints();
    let url = answering(StatusCode::OK, r#"{"type":4,"data":{"content":"a"}}"#, AT_ONCE).await;
    setting
        .world
        .deliver(&setting.application, &url, &interaction)
        .await
        .unwrap();

    assert_snapshot!(shown(second).await, @r#"400 {"code":40060,"message":"Interaction has already been acknowledged."}"#);
    assert_eq!((setting.world.visible(interaction.id).len(), repeated), (1, vec![]));
    assert_eq!(setting.world.complaints().len(), 1);
}

#[tokio::test]
async fn first_answers_that_discord_does_not_take_are_refused() {
    let setting = Setting::new().await;
    let Setting {
        world,
        application,
        person,
        ..
    } = &setting;
    let typed = world
        .type_option(application, person, "ask", &[], ("agent", "at"))
        .unwrap();
    let asked = setting.ask();
    let many: Vec<_> = (0..26)
        .map(|number| json!({ "name": format!("{number}"), "value": "a" }))
        .collect();
    let mut refusals = Vec::new();

    for (interaction, body) in [
        (&asked, json!({ "type": 1 })),
        (&asked, json!({ "type": 8, "data": { "choices": [] } })),
        (&asked, json!({ "type": 9 })),
        (&asked, json!({ "type": 4 })),
        (&asked, json!({ "type": 4, "data": { "content": "é".repeat(2001) } })),
        (&asked, json!({ "type": 4, "data": { "content": "a", "flags": 4 } })),
        (&asked, json!({ "type": 5, "data": { "content": "a" } })),
        (&asked, json!({ "type": 5, "flags": 64 })),
        (&typed, json!({ "type": 5 })),
        (&typed, json!({ "type": 8 })),
        (&typed, json!({ "type": 8, "data": { "choices": many } })),
        (
            &typed,
            json!({ "type": 8, "data": { "choices": [{ "name": "a".repeat(101), "value": "a" }] } }),
        ),
    ] {
        refusals.push(shown(setting.callback(interaction, &body).await).await);
    }

    assert_snapshot!(refusals.join("\n"), @r#"
    400 {"code":50035,"errors":{"type":{"_errors":[{"code":"INTERACTION_APPLICATION_COMMAND_INVALID_TYPE","message":"Type 1 is no answer to an interaction of type 2."}]}},"message":"Invalid Form Body"}
    400 {"code":50035,"errors":{"type":{"_errors":[{"code":"INTERACTION_APPLICATION_COMMAND_INVALID_TYPE","message":"Type 8 is no answer to an interaction of type 2."}]}},"message":"Invalid Form Body"}
    400 {"code":50035,"errors":{"_stand_in":{"_errors":[{"code":"STAND_IN_UNSUPPORTED","message":"The stand-in does not support answers of type 9."}]}},"message":"Invalid Form Body"}
    400 {"code":50006,"message":"Cannot send an empty message"}
    400 {"code":50035,"errors":{"content":{"_errors":[{"code":"BASE_TYPE_MAX_LENGTH","message":"Must be 2000 or fewer in length."}]}},"message":"Invalid Form Body"}
    400 {"code":50035,"errors":{"_stand_in":{"_errors":[{"code":"STAND_IN_UNSUPPORTED","message":"The stand-in does not support the flags 4 of a message."}]}},"message":"Invalid Form Body"}
    400 {"code":50035,"errors":{"_stand_in":{"_errors":[{"code":"STAND_IN_UNSUPPORTED","message":"The stand-in does not support 'content' of a deferral."}]}},"message":"Invalid Form Body"}
    400 {"code":50035,"errors":{"_stand_in":{"_errors":[{"code":"STAND_IN_UNSUPPORTED","message":"The stand-in does not support 'flags', which no answer has."}]}},"message":"Invalid Form Body"}
    400 {"code":50035,"errors":{"type":{"_errors":[{"code":"INTERACTION_APPLICATION_COMMAND_INVALID_TYPE","message":"Type 5 is no answer to an interaction of type 4."}]}},"message":"Invalid Form Body"}
    400 {"code":50035,"errors":{"data":{"choices":{"_errors":[{"code":"LIST_TYPE_CONVERT","message":"Only iterables may be used in a ListType"}]}}},"message":"Invalid Form Body"}
    400 {"code":50035,"errors":{"data":{"choices":{"_errors":[{"code":"BASE_TYPE_BAD_LENGTH","message":"Must be between 0 and 25 in length."}]}}},"message":"Invalid Form Body"}
    400 {"code":50035,"errors":{"data":{"choices":{"0":{"name":{"_errors":[{"code":"BASE_TYPE_BAD_LENGTH","message":"Must be between 1 and 100 in length."}]}}}}},"message":"Invalid Form Body"}
    "#);
    assert_eq!(world.complaints().len(), refusals.len());
    assert!(
        world
            .complaints()
            .iter()
            .all(|complaint| !complaint.contains(&asked.token))
    );
    assert_eq!(
        (world.acknowledged(asked.id), world.acknowledged(typed.id)),
        (None, None)
    );
}

#[tokio::test]
async fn a_webhook_is_good_from_the_first_answer_for_fifteen_minutes() {
    let setting = Setting::new().await;
    let edit = async |interaction: &Interaction| {
        let response = setting.edit(interaction, &message("a")).await.unwrap();
        shown(response).await
    };
    let (early, old, ended, lost) = (
        setting.ask(),
        setting.deferred().await,
        setting.deferred().await,
        setting.deferred().await,
    );

    setting.world.age(old.id, Duration::from_secs(890));
    let in_time = edit(&old).await;
    setting.world.age(old.id, Duration::from_secs(10));
    setting.world.expire(ended.id);
    setting.world.forget(lost.id);
    let unknown = Interaction {
        token: "a".repeat(180),
        ..old.clone()
    };

    assert!(in_time.starts_with("200 "), "{in_time}");
    let is_over = r#"401 {"code":50027,"message":"Invalid Webhook Token"}"#;
    for interaction in [&old, &ended, &unknown] {
        assert_eq!(edit(interaction).await, is_over);
    }
    let is_none = r#"404 {"code":10015,"message":"Unknown Webhook"}"#;
    for interaction in [&early, &lost] {
        assert_eq!(edit(interaction).await, is_none);
    }
    assert_eq!(setting.world.complaints(), Vec::<String>::new());
    edit(&lost).await;
    assert_eq!(setting.world.complaints().len(), 1, "it was called again");
    assert_eq!(setting.world.invalid_requests_of(setting.application.id), 3);
}

#[tokio::test]
async fn a_message_that_is_deleted_is_gone() {
    let setting = Setting::new().await;
    let interaction = setting.deferred().await;
    let call = async |method| {
        let response = setting.call(method, &original(&interaction), None).await.unwrap();
        shown(response).await
    };

    let before: Value = setting
        .call(Method::GET, &original(&interaction), None)
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let deleted = call(Method::DELETE).await;
    let after = call(Method::GET).await;

    assert_eq!(before["flags"], 128);
    assert_eq!(deleted, "204 ");
    assert_snapshot!(after, @r#"404 {"code":10008,"message":"Unknown Message"}"#);
    assert_eq!(setting.world.visible(interaction.id), []);
}

#[tokio::test]
async fn what_follows_a_deferral_takes_its_place() {
    let setting = Setting::new().await;
    let interaction = setting.deferred().await;
    let mut ephemeral = message("one");
    ephemeral["flags"] = json!(64);

    setting.follow_up(&interaction, &ephemeral).await;
    setting.follow_up(&interaction, &ephemeral).await;

    let [first, second] = setting.world.visible(interaction.id).try_into().unwrap();
    assert_eq!((first.is_ephemeral, first.edits), (false, 1));
    assert!(second.is_ephemeral);
    assert_eq!(setting.world.complaints().len(), 1);
}

#[tokio::test]
async fn a_long_answer_comes_as_a_file() {
    let setting = Setting::new().await;
    let interaction = setting.deferred().await;
    let payload = r#"{"content":"See the file.","allowed_mentions":{"parse":[]},"attachments":[{"id":0}]}"#;
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"payload_json\"\r\nContent-Type: application/json\r\n\r\n{payload}\r\n\
        --b\r\nContent-Disposition: form-data; name=\"files[0]\"; filename=\"answer.md\"\r\n\r\n{}\r\n--b--\r\n",
        "é".repeat(5000)
    );

    let response = Client::new()
        .patch(format!("{}/api/v10/{}", setting.world.origin(), original(&interaction)))
        .header("user-agent", "DiscordBot (https://example.com, 1)")
        .header("content-type", "multipart/form-data; boundary=b")
        .body(body)
        .send()
        .await
        .unwrap();
    let with_file = setting.world.visible(interaction.id);
    setting.edit(&interaction, &message("Here.")).await.unwrap();

    assert_eq!(response.status(), StatusCode::OK);
    let [seen] = with_file.try_into().unwrap();
    assert_eq!(
        (seen.content.as_str(), seen.file),
        ("See the file.", Some("é".repeat(5000)))
    );
    let [kept] = setting.world.visible(interaction.id).try_into().unwrap();
    assert_eq!(
        (kept.content.as_str(), kept.file.is_some(), kept.edits),
        ("Here.", true, 2)
    );
    assert_eq!(setting.world.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn calls_fail_by_interaction_and_kind() {
    let setting = Setting::new().await;
    let (one, other) = (setting.deferred().await, setting.deferred().await);
    let edits = async |fault| {
        setting.world.fail_call(one.id, Call::Edit, fault, 1);
        let answer = setting.edit(&one, &message("a")).await;
        let seen = setting.world.visible(one.id);
        let status = answer.map(|response| response.status().as_u16());
        (status.map_err(|error| error.is_timeout()), seen[0].edits)
    };

    assert_eq!(edits(Fault::ServerError).await, (Ok(500), 0));
    assert_eq!(edits(Fault::Silence).await, (Err(true), 0));
    assert_eq!(edits(Fault::Break).await, (Err(false), 0));
    assert_eq!(edits(Fault::DoneAndFailed).await, (Ok(500), 1));
    assert_eq!(edits(Fault::Stall).await, (Err(true), 2));
    assert_eq!(edits(Fault::Drop).await, (Err(false), 3));
    assert_eq!(edits(Fault::Delayed(Duration::from_millis(50))).await, (Ok(200), 4));
    assert_eq!(edits(Fault::Late(Duration::from_millis(50))).await, (Ok(200), 5));
    assert_eq!(edits(Fault::Late(Duration::from_millis(700))).await, (Err(true), 5));
    let done = async {
        while setting.world.visible(one.id)[0].edits < 6 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(10), done).await;
    done.expect("it is done all the same");
    assert_eq!(setting.world.visible(one.id)[0].edits, 6, "and once");
    setting
        .world
        .fail_call(setting.application.id, Call::Any, Fault::ServerError, 1);
    let beside = setting.edit(&other, &message("a")).await.unwrap();
    assert_eq!(beside.status(), 500);
}

#[tokio::test]
async fn a_message_that_may_notify_somebody_is_complained_of() {
    let setting = Setting::new().await;
    let interaction = setting.deferred().await;

    setting
        .edit(&interaction, &json!({ "content": "@everyone" }))
        .await
        .unwrap();
    setting
        .follow_up(
            &interaction,
            &json!({ "content": "<@1>", "allowed_mentions": { "parse": ["users"] } }),
        )
        .await;

    let notified: Vec<_> = setting
        .world
        .visible(interaction.id)
        .into_iter()
        .flat_map(|seen| seen.notifies)
        .collect();
    assert_eq!(notified, ["<@1>"]);
    assert_eq!(setting.world.complaints().len(), 2);
}

#[tokio::test]
async fn each_interaction_has_a_bucket() {
    let setting = Setting::new().await;
    setting
        .world
        .limit_calls(setting.application.id, Call::Edit, (1, Duration::from_secs(60)));
    let (one, other) = (setting.deferred().await, setting.deferred().await);
    let mut statuses = Vec::new();

    for interaction in [&one, &one, &other] {
        let response = setting.edit(interaction, &message("a")).await.unwrap();
        let remaining = response.headers()["x-ratelimit-remaining"].clone();
        statuses.push((response.status().as_u16(), remaining));
    }

    let none = "0".parse::<axum::http::HeaderValue>().unwrap();
    assert_eq!(statuses, [(200, none.clone()), (429, none.clone()), (200, none)]);
    assert_eq!(setting.world.visible(one.id)[0].edits, 1);
}

#[tokio::test]
async fn forged_interactions_are_no_ones() {
    let setting = Setting::new().await;
    let interaction = setting.ask();
    let (sent, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(async move |headers: HeaderMap, body: String| {
        let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let signed = (header("x-signature-ed25519"), header("x-signature-timestamp"));
        sent.send((signed, body)).unwrap();
        StatusCode::UNAUTHORIZED
    });
    tokio::spawn(axum::serve(listener, router).into_future());

    for forgery in Forgery::ALL {
        let refused = setting
            .application
            .forge(&url, &interaction.body, forgery)
            .await
            .unwrap();
        let ((signature, timestamp), body) = seen.recv().await.unwrap();

        assert_eq!(refused.status, 401);
        let is_signed = timestamp
            .as_ref()
            .is_some_and(|timestamp| signature.as_ref() == Some(&setting.application.sign(timestamp, body.as_bytes())));
        assert_eq!(is_signed, matches!(forgery, Forgery::Stale(_)), "{forgery:?}");
    }
}
