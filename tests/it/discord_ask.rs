//! `discord-interaction-handler`: what takes longer than Discord waits is deferred, and has one answer.

use std::time::Duration;

use agentopia_domain::discord::commands::{ASK, ASK_ABOUT, DEACTIVATE, commands};
use agentopia_stack::worlds::discord::{
    Acknowledged, Application, Call, Fault, Guild, Interaction, Outcome, Person, VisibleMessage, Way,
};
use agentopia_tests::{Agent, Stack, User, eventually};
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::discord_support::{INTERACTIONS, recorded};

/// A guild whose people may ask an agent.
struct Place<'a> {
    stack: &'a Stack,
    user: User,
    agent: Agent,
    application: Application,
    guild: Guild,
    person: Person,
}

impl<'a> Place<'a> {
    async fn new(stack: &'a Stack) -> Self {
        Self::with_model(stack, "gpt-4o-mini").await
    }

    /// A guild with the bot of an agent that is answered for by this model.
    async fn with_model(stack: &'a Stack, model: &str) -> Self {
        let user = stack.user().await;
        let agent = user.agent("Atlas").model(model).await;
        let discord = stack.discord();
        let application = discord.create_application().unwrap();
        let bot = discord.create_bot(&application).unwrap();
        let guild = discord.create_guild("Observatory");
        discord.add_to_guild(application.id, guild.id);
        discord.register_commands(application.id, &commands()).unwrap();
        let person = discord.create_person(&guild, "Mason");
        let place = Self {
            stack,
            user,
            agent,
            application,
            guild,
            person,
        };
        place.put("connection", &json!({ "bot_token": bot.token })).await;
        place.enable(&json!({})).await;
        place
    }

    async fn put(&self, rest: &str, body: &Value) {
        let path = format!("/functions/v1/manage-discord-worker/agents/{}/{rest}", self.agent.id);
        let request = self.stack.request(Method::PUT, &path).bearer(&self.user.token);
        let answer = request.json(body).await;
        assert_eq!(answer.status(), 200, "{answer}");
    }

    /// Says how the agent may be used in the guild.
    async fn enable(&self, how: &Value) {
        let mut guild = json!({ "guild_id": self.guild.id.to_string() });
        let how = how.as_object().unwrap().clone();
        guild.as_object_mut().unwrap().extend(how);
        self.put("enabled-guilds", &json!({ "guilds": [guild] })).await;
    }

    /// Somebody asks the agent.
    fn ask(&self, question: &str, is_ephemeral: bool) -> Interaction {
        let options = [
            ("agent", json!(self.agent.id)),
            ("question", json!(question)),
            ("ephemeral", json!(is_ephemeral)),
        ];
        let discord = self.stack.discord();
        discord
            .use_command(&self.application, &self.person, ASK, &options)
            .unwrap()
    }

    async fn deliver(&self, interaction: &Interaction) -> Outcome {
        let url = format!("{}{INTERACTIONS}", self.stack.url());
        let delivered = self.stack.discord().deliver(&self.application, &url, interaction);
        delivered.await.unwrap()
    }

    /// The messages that have come of an interaction.
    fn visible(&self, interaction: &Interaction) -> Vec<VisibleMessage> {
        self.stack.discord().visible(interaction.id)
    }

    /// The one message that there is.
    fn only(&self, interaction: &Interaction) -> VisibleMessage {
        let [message] = <[VisibleMessage; 1]>::try_from(self.visible(interaction)).unwrap();
        message
    }

    async fn sweep(&self) {
        let request = self.stack.post(&format!("{INTERACTIONS}/sweep"));
        let swept = request.bearer(self.stack.service_token()).await;
        assert_eq!(swept.status(), 200, "{swept}");
    }

    /// What is kept of an interaction: its outcome, and whether anything is that was said.
    async fn kept(&self, interaction: &Interaction) -> (Option<String>, bool) {
        let statement = "SELECT outcome, coalesce(message, answer, token_sealed) IS NOT NULL
            FROM app.discord_interactions WHERE interaction_id = $1";
        let rows = self.stack.db().rows(statement, &[&interaction.id.to_string()]).await;
        let [row] = &rows[..] else {
            panic!("{} rows", rows.len());
        };
        (row.get(0), row.get(1))
    }

    async fn is_answered(&self, interaction: &Interaction) {
        assert_eq!(self.kept(interaction).await, (Some("answered".to_owned()), false));
    }

    /// How often the model was asked what has this in it.
    fn asked(&self, text: &str) -> usize {
        self.stack.openai().received_with(text).len()
    }
}

/// What an interaction is answered with that is deferred beforehand.
fn assert_deferred(outcome: &Outcome) {
    let acknowledged = outcome.acknowledged.unwrap();
    assert_eq!((acknowledged.way, acknowledged.kind), (Way::Callback, 5), "{outcome:?}");
    assert!(acknowledged.after < Duration::from_secs(3), "{outcome:?}");
    let answer = outcome.answer.as_ref().unwrap();
    assert_eq!((answer.status, answer.is_empty), (202, true), "{outcome:?}");
}

/// The text of what is answered inline, which only who asked sees.
fn inline(outcome: &Outcome) -> String {
    let Some(Acknowledged {
        way: Way::Inline,
        kind: 4,
        ..
    }) = outcome.acknowledged
    else {
        panic!("{outcome:?}");
    };
    let body = &outcome.answer.as_ref().unwrap().body;
    assert_eq!(body["data"]["flags"], 64, "{body}");
    body["data"]["content"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_question_is_deferred_and_has_one_answer() {
    let stack = Stack::shared().await;
    let place = Place::new(stack).await;
    let question = format!("canary-of-a-question {}", place.guild.id);
    let interaction = place.ask(&question, false);

    let outcome = place.deliver(&interaction).await;

    assert_deferred(&outcome);
    let message = place.only(&interaction);
    assert_eq!(
        message.content,
        format!("You said: <message from=\"Mason\" kind=\"user\">\n{question}\n</message>")
    );
    assert!(!message.is_ephemeral && !message.is_thinking && message.notifies.is_empty());
    assert_eq!((message.edits, message.file), (1, None));
    assert_eq!(place.asked(&question), 1);
    place.is_answered(&interaction).await;
    let calls = stack.discord().recorded(interaction.id);
    let calls: Vec<_> = calls.iter().map(|call| (call.call, call.status)).collect();
    assert_eq!(calls, [(Call::Callback, Some(204)), (Call::Edit, Some(200))]);
    let secrets = ["canary-of-a-question", &interaction.token];
    for component in ["discord-interaction-handler", "chat"] {
        let Some(log) = stack.log(component) else {
            return;
        };
        assert_eq!(
            log.iter()
                .find(|line| secrets.iter().any(|secret| line.contains(*secret))),
            None
        );
    }
}

#[tokio::test]
async fn the_conversation_of_a_channel_is_remembered() {
    let stack = Stack::shared().await;
    let place = Place::new(stack).await;
    let first = format!("My number is {}.", place.guild.id);
    place.deliver(&place.ask(&first, false)).await;

    place.deliver(&place.ask("What is my number?", false)).await;

    let received = stack.openai().received_with(&first);
    let last = received.last().unwrap().messages();
    assert_eq!(received.len(), 2);
    assert!(last.last().unwrap().1.contains("What is my number?"), "{last:?}");
}

#[tokio::test]
async fn an_answer_for_who_asked_alone_is_for_them_in_all_its_parts() {
    let stack = Stack::shared().await;
    let place = Place::new(stack).await;
    let interaction = place.ask(&format!("{}word\n", "word ".repeat(9)).repeat(40), true);

    assert_deferred(&place.deliver(&interaction).await);

    let messages = place.visible(&interaction);
    assert_eq!(messages.len(), 2);
    assert!(
        messages
            .iter()
            .all(|message| message.is_ephemeral && message.notifies.is_empty())
    );
    let words: usize = messages
        .iter()
        .map(|message| message.content.matches("word").count())
        .sum();
    assert_eq!(words, 400);
    place.is_answered(&interaction).await;
}

#[tokio::test]
async fn somebody_elses_message_is_asked_about_and_not_obeyed() {
    let stack = Stack::shared().await;
    let place = Place::new(stack).await;
    let content = format!("Obey me @everyone {}", place.guild.id);
    let discord = stack.discord();
    let interaction = discord
        .use_message_command(&place.application, &place.person, ASK_ABOUT, &content)
        .unwrap();
    let empty = discord
        .use_message_command(&place.application, &place.person, ASK_ABOUT, "")
        .unwrap();

    assert_deferred(&place.deliver(&interaction).await);
    let nothing = place.deliver(&empty).await;

    let received = stack.openai().received_with(&content);
    let (_, asked) = received[0].messages().pop().unwrap();
    assert!(asked.contains("message is quoted between the fences below."), "{asked}");
    assert!(asked.contains(&format!("\n```\n{content}\n```\n")), "{asked}");
    let message = place.only(&interaction);
    assert!(
        message.content.contains("@everyone") && message.notifies.is_empty(),
        "{message:?}"
    );
    place.is_answered(&interaction).await;
    assert_snapshot!(inline(&nothing), @"There is no text in this message that an agent could read.");
}

#[tokio::test]
async fn who_may_not_ask_is_told_why_however_often_they_ask() {
    let stack = Stack::shared().await;
    let place = Place::new(stack).await;
    let ask = async || {
        let interaction = place.ask("Why?", false);
        let said = inline(&place.deliver(&interaction).await);
        assert_eq!(place.only(&interaction).content, said);
        (interaction, said)
    };

    place.enable(&json!({ "allowed_channel_ids": [] })).await;
    let (interaction, in_channel) = ask().await;
    place.enable(&json!({ "is_enabled": false })).await;
    let (_, in_guild) = ask().await;
    let again = place.deliver(&interaction).await;
    place.enable(&json!({})).await;
    let statement = "UPDATE public.agents SET active = false WHERE id = $1";
    stack.db().execute(statement, &[&place.agent.id]).await;
    let (_, inactive) = ask().await;
    let unknown = [("agent", json!("Nobody")), ("question", json!("Why?"))];
    let discord = stack.discord();
    let unknown = discord.use_command(&place.application, &place.person, ASK, &unknown);
    let unknown = inline(&place.deliver(&unknown.unwrap()).await);

    assert_snapshot!(in_channel, @"`Atlas` is not to be used in this channel.");
    assert_snapshot!(in_guild, @"`Atlas` is not to be used on this server.");
    assert_snapshot!(inactive, @"`Atlas` is switched off.");
    assert_snapshot!(unknown, @"No such agent is connected to this server. Try `/agents`.");
    assert_eq!(again.answer.unwrap().body["data"]["content"], in_channel);
    assert_eq!(place.only(&interaction).content, in_channel);
}

#[tokio::test]
async fn a_model_that_fails_is_apologised_for() {
    let stack = Stack::shared().await;
    let place = Place::with_model(stack, "stand-in-quota").await;
    let interaction = place.ask("Why?", false);

    assert_deferred(&place.deliver(&interaction).await);

    assert_snapshot!(place.only(&interaction).content, @"Sorry, `Atlas` cannot answer for now: the quota of its model's provider is spent.");
    assert_eq!(place.kept(&interaction).await, (Some("apologised".to_owned()), false));
}

#[tokio::test]
async fn a_very_long_answer_is_a_file() {
    let stack = Stack::shared().await;
    let place = Place::new(stack).await;
    let discord = stack.discord();
    let interaction = place.ask("Why?", true);
    discord.fail_call(interaction.id, Call::Callback, Fault::ServerError, 1);
    let outcome = place.deliver(&interaction).await;
    let long = "A sentence of an answer.\n".repeat(1000);
    let statement = "UPDATE app.discord_interactions SET answer = $2 WHERE interaction_id = $1";
    let values: agentopia_tests::Parameters<'_> = &[&interaction.id.to_string(), &long];
    assert_eq!(stack.db().execute(statement, values).await, 1);

    eventually("the sweep answers", Duration::from_secs(20), async || {
        place.sweep().await;
        !place.only(&interaction).is_thinking
    })
    .await;

    let acknowledged = outcome.acknowledged.unwrap();
    assert_eq!((acknowledged.way, acknowledged.kind), (Way::Inline, 5));
    let message = place.only(&interaction);
    assert!(message.is_ephemeral && message.content.starts_with("A sentence of an answer."));
    assert_eq!(message.file.as_deref(), Some(long.as_str()));
    place.is_answered(&interaction).await;
}

#[tokio::test]
async fn an_interaction_that_is_delivered_twice_has_one_answer() {
    let stack = Stack::shared().await;
    let place = Place::new(stack).await;
    let question = format!("Twice? {}", place.guild.id);
    let interaction = place.ask(&question, false);

    let (first, second) = tokio::join!(place.deliver(&interaction), place.deliver(&interaction));
    let third = place.deliver(&interaction).await;

    assert_eq!(place.asked(&question), 1);
    let message = place.only(&interaction);
    assert!(message.content.contains(&question) && message.edits == 1, "{message:?}");
    let mut statuses = [first, second].map(|outcome| outcome.answer.unwrap().status);
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 202]);
    assert_eq!(third.answer.unwrap().body, json!({ "type": 5 }));
    place.is_answered(&interaction).await;
}

#[tokio::test]
async fn an_answer_that_was_left_is_found_by_a_sweep_and_given_once() {
    let stack = Stack::shared().await;
    let place = Place::new(stack).await;
    let discord = stack.discord();
    let question = format!("Left? {}", place.guild.id);
    let interaction = place.ask(&question, false);
    // It is done, and we do not hear of it: the answer to the request says the same again.
    discord.fail_call(interaction.id, Call::Callback, Fault::DoneAndFailed, 1);

    let outcome = place.deliver(&interaction).await;
    eventually("the sweep answers", Duration::from_secs(20), async || {
        place.sweep().await;
        !place.only(&interaction).is_thinking
    })
    .await;
    place.sweep().await;

    assert_eq!(outcome.answer.unwrap().body, json!({ "type": 5 }));
    assert_eq!(place.asked(&question), 1);
    assert!(place.only(&interaction).content.contains(&question));
    place.is_answered(&interaction).await;
}

#[tokio::test]
async fn who_cannot_be_answered_any_more_is_told_in_the_channel_once() {
    let stack = Stack::shared().await;
    let place = Place::new(stack).await;
    let discord = stack.discord();
    let expired = async |is_ephemeral, change: &str| {
        let interaction = place.ask("Why?", is_ephemeral);
        discord.fail_call(interaction.id, Call::Callback, Fault::ServerError, 1);
        place.deliver(&interaction).await;
        discord.expire(interaction.id);
        let statement = format!("UPDATE app.discord_interactions SET {change} WHERE interaction_id = $1");
        stack.db().execute(&statement, &[&interaction.id.to_string()]).await;
        eventually("it is over", Duration::from_secs(20), async || {
            place.sweep().await;
            place.kept(&interaction).await == (Some("expired".to_owned()), false)
        })
        .await;
        place.sweep().await;
        assert_eq!(discord.recorded(interaction.id).len(), 1, "the token is not used");
    };

    expired(false, "expires_at = now()").await;
    expired(true, "expires_at = now()").await;
    expired(false, "expires_at = now(), is_doubtful = true").await;
    expired(false, "expires_at = now(), answer = 'Because.', parts_begun = 1").await;

    let told = discord.channel_messages(place.guild.general);
    let told: Vec<_> = told
        .iter()
        .map(|message| (&*message.content, message.notifies.len()))
        .collect();
    let to_who_asked = format!(
        "<@{}>: Sorry, `Atlas` could not be reached in time. Please ask again.",
        place.person.id
    );
    let to_whoever_asked = "Sorry, a request to `Atlas` could not be answered in time. Please ask again.";
    assert_eq!(told, [(&*to_who_asked, 0), (to_whoever_asked, 0)]);
}

#[tokio::test]
async fn who_asks_too_often_is_asked_to_wait() {
    let options = agentopia_tests::StackOptions::default()
        .set("discord_interactions_per_minute", 1)
        .set("discord_interactions_burst", 1);
    let stack = Stack::beside_shared(options).await;
    let place = Place::new(&stack).await;

    let first = place.deliver(&place.ask("Why?", false)).await;
    let second = place.deliver(&place.ask("Why?", false)).await;
    let discord = stack.discord();
    let typing = [("question", json!("Why?"))];
    let typed = discord.type_option(&place.application, &place.person, ASK, &typing, ("agent", "At"));
    let choices = place.deliver(&typed.unwrap()).await;

    assert_deferred(&first);
    assert_snapshot!(inline(&second), @"Sorry, that is more than I can take at once. Please try again in a moment.");
    let choices = choices.answer.unwrap().body;
    assert_eq!(
        choices["data"]["choices"][0]["name"], "Atlas",
        "typing has a limit of its own: {choices}"
    );
    drop(place);
    stack.kill().await;
}

#[tokio::test]
async fn a_worker_is_started_and_stopped_for_those_who_manage_the_guild() {
    let stack = Stack::shared().await;
    let place = Place::new(stack).await;
    let manager = place.person.who_may(Person::MANAGE_GUILD);
    let agent = [("agent", json!(place.agent.id))];
    let discord = stack.discord();
    let command = async |name: &str| {
        let interaction = discord.use_command(&place.application, &manager, name, &agent).unwrap();
        assert_deferred(&place.deliver(&interaction).await);
        place.is_answered(&interaction).await;
        place.only(&interaction).content
    };
    let status = async || -> String {
        let statement = "SELECT worker_status FROM public.agent_discord_connections
            WHERE agent_id = $1 AND guild_id IS NULL";
        stack.db().scalar(statement, &[&place.agent.id]).await
    };

    let started = command("activate").await;
    eventually("the worker is active", Duration::from_secs(10), async || {
        status().await == "active"
    })
    .await;
    let again = command("activate").await;
    let stopped = command(DEACTIVATE).await;
    eventually("the worker is gone", Duration::from_secs(10), async || {
        status().await == "inactive"
    })
    .await;

    assert_snapshot!(started, @"`Atlas` is starting. It stops by itself after 10 minutes without a question.");
    assert_snapshot!(again, @"`Atlas` is active already. It stops by itself after 10 minutes without a question.");
    assert_snapshot!(stopped, @"`Atlas` is stopping. It can be started again with `/activate`.");
    assert!(
        discord
            .use_command(&place.application, &place.person, "activate", &agent)
            .is_err()
    );
}

#[tokio::test]
async fn the_sweep_is_for_the_deployment_alone() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let sweep = || stack.post(&format!("{INTERACTIONS}/sweep"));

    assert_eq!(sweep().await.status(), 401);
    assert_eq!(sweep().bearer(&user.token).await.status(), 401);
    assert_eq!(sweep().bearer(stack.service_token()).await.status(), 200);
}

#[tokio::test]
async fn recorded_commands_are_answered_as_those_that_are_made() {
    let stack = Stack::shared().await;
    let place = Place::new(stack).await;
    for recorded in [
        recorded!("command_ask"),
        recorded!("command_ask_ephemeral"),
        recorded!("message_command_ask"),
        recorded!("command_activate"),
        recorded!("command_deactivate"),
    ] {
        let mut payload: Value = serde_json::from_str(recorded).unwrap();
        payload["guild_id"] = json!(place.guild.id.to_string());
        payload["channel_id"] = json!(place.guild.general.to_string());
        if let Some(agent) = payload.pointer_mut("/data/options/0/value") {
            *agent = json!(place.agent.id);
        }
        let interaction = stack.discord().mint(&place.application, &payload).unwrap();

        assert_deferred(&place.deliver(&interaction).await);

        let message = place.only(&interaction);
        assert!(!message.is_thinking && message.edits == 1, "{message:?}");
        place.is_answered(&interaction).await;
    }
}
