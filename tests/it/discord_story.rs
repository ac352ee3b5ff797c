//! The whole story of a bot, through HTTP: connected, validated by Discord, its commands registered, its agent started, asked in each of the ways there are,
//! stopped, and disconnected.

use agentopia_domain::discord::answer::plan;
use agentopia_domain::discord::commands::{AGENTS, ASK, OPTION_AGENT, OPTION_EPHEMERAL, OPTION_QUESTION, STATUS};
use agentopia_stack::worlds::discord::{Call, Forgery, Interaction, Person, Way};
use agentopia_stack::worlds::worker_manager::ProcessStatus;
use agentopia_tests::{DEADLINE, Stack, eventually};
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::discord_scene::{MANAGE, Scene, asked, brisk, calls, long_text, texts};
use crate::discord_support::INTERACTIONS;

impl Scene {
    /// The bot, as its owner sees it.
    async fn connection(&self, stack: &Stack) -> Value {
        let response = self.manage(stack, Method::GET, "connection").await;
        assert_eq!(response.status(), 200, "{response}");
        response.json()["connection"].clone()
    }

    async fn until_worker_is(&self, stack: &Stack, status: &str) {
        eventually(&format!("the worker is {status}"), DEADLINE, async || {
            self.connection(stack).await["worker_status"] == status
        })
        .await;
    }

    /// Delivers what is answered later and in the same request; what is seen in the end.
    async fn answered(&self, stack: &Stack, interaction: &Interaction) -> Vec<String> {
        let outcome = self.deliver(stack, interaction).await;
        let first = outcome.acknowledged.unwrap();
        assert_eq!((first.way, first.kind), (Way::Callback, 5));
        let answer = outcome.answer.unwrap();
        assert!(answer.status == 202 && answer.is_empty, "{answer:?}");
        texts(&stack.discord().visible(interaction.id))
    }

    /// Delivers what is answered at once; what is seen.
    async fn told(&self, stack: &Stack, interaction: &Interaction) -> String {
        let outcome = self.deliver(stack, interaction).await;
        let first = outcome.acknowledged.unwrap();
        assert_eq!((first.way, first.kind), (Way::Inline, 4));
        texts(&stack.discord().visible(interaction.id)).join("\n")
    }

    /// The names and values of what is proposed to somebody who has typed this.
    async fn proposed(&self, stack: &Stack, typed: &str) -> Vec<Value> {
        let discord = stack.discord();
        let typing = discord
            .type_option(&self.application, &self.person, ASK, &[], (OPTION_AGENT, typed))
            .unwrap();
        self.deliver(stack, &typing).await;
        discord.choices(typing.id)
    }
}

#[tokio::test]
async fn a_bot_is_connected_asked_and_disconnected() {
    let stack = &Stack::of_its_own(brisk()).await;
    let discord = stack.discord();
    let scene = &Scene::unconnected(stack, "gpt-4o-mini").await;
    let (agent, general) = (scene.agent.id, scene.guild.general);
    let url = format!("{}{INTERACTIONS}", stack.url());

    // Nobody is believed whose application is not connected; not even Discord.
    scene.application.validate_endpoint(&url).await.unwrap_err();

    // The owner shows the bot's token, and Discord says whose it is.
    let connected = scene
        .manage(stack, Method::PUT, "connection")
        .json(&json!({ "bot_token": scene.bot.token, "inactivity_timeout_minutes": 30 }))
        .await;
    assert_eq!(connected.status(), 200, "{connected}");
    let connection = scene.connection(stack).await;
    assert_eq!(connection["application_id"], scene.application.id.to_string());
    assert_eq!(connection["public_key"], scene.application.public_key);
    assert_eq!(connection["worker_status"], "inactive");

    // Discord accepts the one URL, as it does when a developer saves it and now and then after that.
    scene.application.validate_endpoint(&url).await.unwrap();
    let ping =
        json!({ "id": "1", "application_id": scene.application.id.to_string(), "type": 1, "token": "t", "version": 1 });
    for forgery in Forgery::ALL {
        let forged = scene.application.forge(&url, &ping, forgery).await.unwrap();
        assert_eq!(forged.status, 401, "{forgery:?}");
    }

    // Its commands are registered, once.
    let registered = scene.manage(stack, Method::POST, "commands").json(&json!({})).await;
    assert_eq!(registered.json()["changed"], true, "{registered}");
    let again = scene.manage(stack, Method::POST, "commands").json(&json!({})).await;
    assert_eq!(again.json()["changed"], false, "{again}");
    let puts = discord.recorded(scene.application.id);
    let puts = puts.iter().filter(|call| call.call == Call::OverwriteCommands).count();
    assert_eq!(puts, 1);

    // In a guild where it is not enabled it answers nobody.
    let interaction = scene.ask(stack, "Are you there?");
    assert_snapshot!(scene.told(stack, &interaction).await, @"No such agent is connected to this server. Try `/agents`.");
    let guilds = scene.manage(stack, Method::GET, "guilds").await.json();
    assert_eq!(guilds[0]["guild_id"], scene.guild.id.to_string());
    let channels = scene
        .manage(stack, Method::GET, &format!("guilds/{}/channels", scene.guild.id))
        .await;
    assert_eq!(channels.json()[0]["id"], general.to_string());
    let enabled = scene
        .manage(stack, Method::PUT, "enabled-guilds")
        .json(&json!({ "guilds": [{ "guild_id": scene.guild.id.to_string(), "allowed_channel_ids": [general.to_string()] }] }))
        .await;
    assert_eq!(enabled.status(), 200, "{enabled}");
    let agents = scene.command(stack, AGENTS, &[]);
    assert_snapshot!(scene.told(stack, &agents).await, @"
    Agents on this server:
    - `Atlas`
    ");
    let expected = json!({ "name": "Atlas", "value": agent.to_string() });
    assert_eq!(scene.proposed(stack, "at").await, [expected]);
    assert_eq!(scene.proposed(stack, "b").await, [] as [Value; 0]);

    // Whoever manages the guild starts the agent, and nobody else can.
    let guest = Person {
        permissions: Person::EVERYBODY,
        ..scene.person.clone()
    };
    discord
        .use_command(&scene.application, &guest, "activate", &[])
        .unwrap_err();
    let activate = scene.activate(stack);
    assert_snapshot!(scene.answered(stack, &activate).await.join("\n"), @"`Atlas` is starting. It stops by itself after 30 minutes without a question.");
    scene.until_worker_is(stack, "active").await;
    let worker = stack.worker_manager().worker(agent).unwrap();
    assert_eq!(
        (worker.bot_token.as_str(), worker.inactivity_timeout_minutes),
        (scene.bot.token.as_str(), 30)
    );
    let activate = scene.activate(stack);
    assert_snapshot!(scene.answered(stack, &activate).await.join("\n"), @"`Atlas` is active already. It stops by itself after 30 minutes without a question.");
    let status = scene.command(stack, STATUS, &[]);
    assert_snapshot!(scene.told(stack, &status).await, @"
    Agents on this server, and how they are doing:
    - `Atlas`: active
    ");

    // A model that takes longer than Discord waits: one answer all the same.
    scene.set_model(stack, "stand-in-slow").await;
    let question = format!("What takes so long? {}", "Think about it. ".repeat(16));
    let slow = scene.ask(stack, &question);
    let answer = scene.answered(stack, &slow).await;
    let edited = calls(stack, &slow, Call::Edit).remove(0);
    assert!(edited.after.as_secs_f64() > 3.0, "{edited:?}");
    assert_eq!(answer, [scene.reply(stack, "What takes so long?").await]);
    scene.set_model(stack, "gpt-4o-mini").await;

    // Only who has asked sees an answer that is for them alone.
    let alone = [
        (OPTION_AGENT, json!("atlas")),
        (OPTION_QUESTION, json!("Who sees this?")),
        (OPTION_EPHEMERAL, json!(true)),
    ];
    let alone = scene.command(stack, ASK, &alone);
    assert_eq!(scene.answered(stack, &alone).await.len(), 1);
    assert!(discord.visible(alone.id)[0].is_ephemeral);

    // A message is asked about, and the answer is a long one.
    let message = long_text("somebody");
    let about = scene.ask_about(stack, &message);
    let answer = scene.answered(stack, &about).await;
    assert_eq!(answer.len(), 3);
    assert_eq!(answer, plan(&scene.reply(stack, "10 of what somebody").await).parts);

    // The worker hears its bot mentioned, and knows what was said in the channel before.
    let guild = scene.guild.id;
    let mention = stack
        .worker_manager()
        .say(agent, guild, general, scene.person.id, "And who are you?")
        .await
        .unwrap();
    assert_eq!(mention.status, 200, "{mention:?}");
    assert!(mention.reply().unwrap().contains("And who are you?"));
    assert_eq!(asked(stack, "And who are you?"), 1);
    let shown = stack.openai().received_with("And who are you?").remove(0);
    assert!(shown.body.to_string().contains("Who sees this?"));

    // In another channel it is silent.
    let other = scene.person.in_channel(discord.create_channel(
        guild,
        "off-topic",
        agentopia_stack::worlds::discord::ChannelKind::Text,
    ));
    let options = [
        (OPTION_AGENT, json!(agent.to_string())),
        (OPTION_QUESTION, json!("And here?")),
    ];
    let elsewhere = discord.use_command(&scene.application, &other, ASK, &options).unwrap();
    assert_snapshot!(scene.told(stack, &elsewhere).await, @"`Atlas` is not to be used in this channel.");

    // It is stopped, and answers questions still, but no mention.
    let deactivate = scene.deactivate(stack);
    assert_snapshot!(scene.answered(stack, &deactivate).await.join("\n"), @"`Atlas` is stopping. It can be started again with `/activate`.");
    scene.until_worker_is(stack, "inactive").await;
    assert_eq!(
        stack.worker_manager().worker(agent).unwrap().status,
        ProcessStatus::Stopped
    );
    let chat = stack
        .post("/functions/v1/chat")
        .bearer(&worker.worker_token)
        .json(&json!({
            "agentId": agent, "message": "And now?", "channelId": general.to_string(), "guildId": guild.to_string(),
            "authorId": scene.person.id.to_string(),
        }))
        .await;
    assert_eq!(chat.status(), 401, "{chat}");
    let last = scene.ask(stack, "And at last?");
    assert_eq!(
        scene.answered(stack, &last).await,
        [scene.reply(stack, "And at last?").await]
    );

    // It is disconnected, and nobody is believed any more.
    let disconnected = scene.manage(stack, Method::DELETE, "connection").await;
    assert!(disconnected.status().is_success(), "{disconnected}");
    assert_eq!(scene.connection(stack).await, Value::Null);
    scene.application.validate_endpoint(&url).await.unwrap_err();
    let command = json!({ "agentId": agent, "action": "start", "guildId": guild.to_string() });
    let start = stack.post(MANAGE).bearer(&scene.owner.token).json(&command).await;
    assert_eq!(start.field("code"), "connection_missing", "{start}");

    assert_eq!(discord.complaints(), Vec::<String>::new());
    assert_eq!(stack.worker_manager().complaints(), Vec::<String>::new());
    assert_eq!(stack.openai().complaints(), Vec::<String>::new());
}
