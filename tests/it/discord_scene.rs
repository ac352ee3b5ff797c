//! What the tests of deferred answers have in common: an agent in a guild, somebody who asks it, sweeps, deaths, and time that is moved instead of waited
//! for.

use std::time::Duration;

use agentopia_domain::discord::answer::plan;
use agentopia_domain::discord::commands::{ACTIVATE, ASK, ASK_ABOUT, DEACTIVATE, OPTION_AGENT, OPTION_QUESTION};
use agentopia_stack::worlds::discord::{
    Application, Bot, Call, Fault, Guild, Interaction, Outcome, Person, RecordedCall, VisibleMessage,
};
use agentopia_tests::{Agent, DEADLINE, Request, Session, Stack, StackOptions, User, eventually};
use http::Method;
use serde_json::{Value, json};

use crate::discord_support::{INTERACTIONS, seconds, with};
use crate::toolbox_machines::{due_in, sweep};

/// Where owners connect bots.
pub(crate) const MANAGE: &str = "/functions/v1/manage-discord-worker";

/// A kind of job.
const ANSWER: &str = "discord_answer";

/// An application that may be asked as often as tests ask.
pub(crate) fn patient() -> StackOptions {
    StackOptions::default()
        .set("chat_user_per_minute", 6000)
        .set("chat_user_burst", 1000)
        .set("chat_agent_per_minute", 6000)
        .set("chat_agent_burst", 1000)
        .set("discord_interactions_per_minute", 6000)
        .set("discord_interactions_burst", 1000)
}

/// One that does not wait long for who is silent.
pub(crate) fn brisk() -> StackOptions {
    patient()
        .set("discord_first_byte_timeout_ms", 1500)
        .set("worker_manager_first_byte_timeout_ms", 1500)
        .set("openai_first_byte_timeout_ms", 1500)
}

/// An agent whose bot is in a guild, and somebody there.
pub(crate) struct Scene {
    pub(crate) owner: User,
    pub(crate) agent: Agent,
    pub(crate) application: Application,
    pub(crate) bot: Bot,
    pub(crate) guild: Guild,
    /// Somebody who manages the guild.
    pub(crate) person: Person,
}

impl Scene {
    /// An agent that answers at once.
    pub(crate) async fn new(stack: &Stack) -> Self {
        Self::with_model(stack, "gpt-4o-mini").await
    }

    /// An agent with this model, connected as its owner does it.
    pub(crate) async fn with_model(stack: &Stack, model: &str) -> Self {
        let scene = Self::unconnected(stack, model).await;
        for (method, rest, body) in [
            (Method::PUT, "connection", json!({ "bot_token": scene.bot.token })),
            (
                Method::PUT,
                "enabled-guilds",
                json!({ "guilds": [{ "guild_id": scene.guild.id.to_string() }] }),
            ),
            (Method::POST, "commands", json!({})),
        ] {
            let response = scene.manage(stack, method, rest).json(&body).await;
            assert_eq!(response.status(), 200, "{rest}: {response}");
        }
        scene
    }

    /// An agent that has nothing to do with the bot in the guild yet.
    pub(crate) async fn unconnected(stack: &Stack, model: &str) -> Self {
        let owner = stack.user().await;
        let agent = owner.agent("Atlas").model(model).await;
        let discord = stack.discord();
        let application = discord.create_application().unwrap();
        let guild = discord.create_guild("Home");
        discord.add_to_guild(application.id, guild.id);
        Self {
            owner,
            agent,
            bot: discord.create_bot(&application).unwrap(),
            person: discord.create_person(&guild, "Grace").who_may(Person::MANAGE_GUILD),
            application,
            guild,
        }
    }

    /// A request of the owner about the agent's bot.
    pub(crate) fn manage(&self, stack: &Stack, method: Method, rest: &str) -> Request {
        let path = format!("{MANAGE}/agents/{}/{rest}", self.agent.id);
        stack.request(method, &path).bearer(&self.owner.token)
    }

    /// Gives the agent another model.
    pub(crate) async fn set_model(&self, stack: &Stack, model: &str) {
        let statement = "UPDATE public.agents SET model = $2 WHERE id = $1";
        assert_eq!(stack.db().execute(statement, &[&self.agent.id, &model]).await, 1);
    }

    /// The person asks the agent.
    pub(crate) fn ask(&self, stack: &Stack, question: &str) -> Interaction {
        let agent = json!(self.agent.id.to_string());
        let options = [(OPTION_AGENT, agent), (OPTION_QUESTION, json!(question))];
        self.command(stack, ASK, &options)
    }

    /// The person asks the agent about a message.
    pub(crate) fn ask_about(&self, stack: &Stack, message: &str) -> Interaction {
        let discord = stack.discord();
        discord
            .use_message_command(&self.application, &self.person, ASK_ABOUT, message)
            .unwrap()
    }

    /// The person starts the agent.
    pub(crate) fn activate(&self, stack: &Stack) -> Interaction {
        self.command(stack, ACTIVATE, &[(OPTION_AGENT, json!(self.agent.id.to_string()))])
    }

    /// The person stops the agent.
    pub(crate) fn deactivate(&self, stack: &Stack) -> Interaction {
        self.command(stack, DEACTIVATE, &[(OPTION_AGENT, json!(self.agent.id.to_string()))])
    }

    /// The person uses a command.
    pub(crate) fn command(&self, stack: &Stack, name: &str, options: &[(&str, Value)]) -> Interaction {
        let discord = stack.discord();
        discord
            .use_command(&self.application, &self.person, name, options)
            .unwrap()
    }

    /// Delivers an interaction as Discord does.
    pub(crate) async fn deliver(&self, stack: &Stack, interaction: &Interaction) -> Outcome {
        let url = format!("{}{INTERACTIONS}", stack.url());
        let delivered = stack.discord().deliver(&self.application, &url, interaction).await;
        delivered.unwrap()
    }

    /// The request that delivers an interaction, which nobody waits for.
    pub(crate) fn delivery(&self, stack: &Stack, interaction: &Interaction) -> Request {
        let (timestamp, body) = (seconds(0), interaction.body.to_string());
        let signature = self.application.sign(&timestamp, body.as_bytes());
        with(stack, &signature, &timestamp).body(body)
    }

    /// Delivers an interaction that Discord is told of by the answer alone, as it does not take the callback: what follows is left to a sweep.
    pub(crate) async fn leave(&self, stack: &Stack, interaction: &Interaction) {
        let discord = stack.discord();
        discord.fail_call(interaction.id, Call::Callback, Fault::ServerError, 1);
        let outcome = self.deliver(stack, interaction).await;
        assert_eq!(outcome.acknowledged.map(|first| first.kind), Some(5), "{outcome:?}");
        assert!(self.is_thinking(stack, interaction));
    }

    /// Whether all that is to be seen is that the bot is thinking.
    pub(crate) fn is_thinking(&self, stack: &Stack, interaction: &Interaction) -> bool {
        let visible = stack.discord().visible(interaction.id);
        matches!(visible.as_slice(), [message] if message.is_thinking)
    }

    /// What the agent has replied to who said this; it did so once.
    pub(crate) async fn reply(&self, stack: &Stack, said: &str) -> String {
        let statement = "SELECT reply.content
            FROM public.chat_messages AS reply
            JOIN public.chat_messages AS said ON said.id = reply.reply_to_message_id
            WHERE reply.sender_agent_id = $1 AND strpos(said.content, $2) > 0";
        stack.db().scalar(statement, &[&self.agent.id, &said]).await
    }

    /// All of the agent's reply to who said this is to be seen, once and as it should be.
    pub(crate) async fn check_answer(&self, stack: &Stack, interaction: &Interaction, said: &str, case: &str) {
        let reply = self.reply(stack, said).await;
        let visible = stack.discord().visible(interaction.id);
        assert_eq!(texts(&visible), plan(&reply).parts, "{case}");
        assert!(visible.iter().all(|message| message.file.is_none()), "{case}");
        self.check_is_over(stack, interaction, "answered", case).await;
    }

    /// All of the agent's reply is to be seen in a file, after so many messages that came with it.
    pub(crate) async fn check_file(
        &self,
        stack: &Stack,
        interaction: &Interaction,
        said: &str,
        more: usize,
        case: &str,
    ) {
        let reply = self.reply(stack, said).await;
        let visible = stack.discord().visible(interaction.id);
        let (first, rest) = visible.split_first().unwrap();
        assert_eq!(first.file.as_deref(), Some(reply.as_str()), "{case}");
        assert!(
            first.content.ends_with("The whole answer is in the attached file.*"),
            "{case}: {}",
            first.content
        );
        assert_eq!(texts(rest), plan(&reply).parts[1..=more], "{case}");
        assert!(rest.iter().all(|message| message.file.is_none()), "{case}");
        self.check_is_over(stack, interaction, "answered", case).await;
    }

    /// Nothing is left to do about an interaction, nothing of it is kept that is secret, and a sweep leaves it alone.
    pub(crate) async fn check_is_over(&self, stack: &Stack, interaction: &Interaction, outcome: &str, case: &str) {
        let row = "SELECT format('%s %s', outcome, num_nonnulls(message, answer, token_sealed))
            FROM app.discord_interactions WHERE interaction_id = $1";
        let row: String = stack.db().scalar(row, &[&interaction.id.to_string()]).await;
        assert_eq!(row, format!("{outcome} 0"), "{case}");
        let discord = stack.discord();
        let before = (discord.recorded(interaction.id), discord.visible(interaction.id));
        sweep(stack).await;
        let after = (discord.recorded(interaction.id), discord.visible(interaction.id));
        assert_eq!(after, before, "{case}: it is left alone");
        assert!(after.1.iter().all(|message| message.notifies.is_empty()), "{case}");
    }
}

/// The texts of messages, none of which says that the bot is thinking.
pub(crate) fn texts(visible: &[VisibleMessage]) -> Vec<String> {
    let text = |message: &VisibleMessage| {
        assert!(!message.is_thinking, "{visible:?}");
        message.content.clone()
    };
    visible.iter().map(text).collect()
}

/// The calls of a kind about an interaction.
pub(crate) fn calls(stack: &Stack, interaction: &Interaction, call: Call) -> Vec<RecordedCall> {
    let mut calls = stack.discord().recorded(interaction.id);
    calls.retain(|recorded| recorded.call == call);
    calls
}

/// How often a model was asked what somebody has just said.
pub(crate) fn asked(stack: &Stack, said: &str) -> usize {
    let received = stack.openai().received_with(said);
    let is_last = |messages: Vec<(String, String)>| messages.last().is_some_and(|(_, text)| text.contains(said));
    received.iter().filter(|request| is_last(request.messages())).count()
}

/// A text whose answer takes three messages, which has `mark` in it.
pub(crate) fn long_text(mark: &str) -> String {
    let line = |number| format!("{number} of what {mark} has to say, which is much and is said slowly.");
    let lines: Vec<_> = (10..).map(line).take(3900 / line(10).len()).collect();
    lines.join("\n")
}

/// The outcome of an interaction, if it is over.
pub(crate) async fn outcome(stack: &Stack, interaction: &Interaction) -> Option<String> {
    let statement = "SELECT outcome FROM app.discord_interactions WHERE interaction_id = $1";
    let outcomes: Vec<Option<String>> = stack.db().column(statement, &[&interaction.id.to_string()]).await;
    outcomes.into_iter().next().flatten()
}

/// Has an interaction that was left be taken up by the next sweep, whenever it would be.
pub(crate) async fn make_due(stack: &Stack, interaction: &Interaction) {
    let statement = "UPDATE app.jobs SET run_after = clock_timestamp()
        WHERE kind = $2 AND outcome IS NULL AND lease_id IS NULL
          AND key IN (SELECT id::text FROM app.discord_interactions WHERE interaction_id = $1)";
    stack
        .db()
        .execute(statement, &[&interaction.id.to_string(), &ANSWER])
        .await;
}

/// Ends the leases of whoever has died over an interaction, in `chat` as well.
pub(crate) async fn end_leases(stack: &Stack, interaction: &Interaction) {
    end_job_lease(stack, interaction).await;
    let turns = "UPDATE app.idempotency_keys SET lease_expires_at = clock_timestamp()
        WHERE starts_with(key, 'interaction:' || $1)";
    stack.db().execute(turns, &[&interaction.id.to_string()]).await;
}

/// Ends the lease of whoever answers an interaction.
pub(crate) async fn end_job_lease(stack: &Stack, interaction: &Interaction) {
    let statement = "UPDATE app.jobs SET lease_expires_at = clock_timestamp()
        WHERE kind = $2 AND lease_id IS NOT NULL
          AND key IN (SELECT id::text FROM app.discord_interactions WHERE interaction_id = $1)";
    let id = interaction.id.to_string();
    stack.db().execute(statement, &[&id, &ANSWER]).await;
}

/// Waits until a part of an answer is about to be sent.
pub(crate) async fn until_part(stack: &Stack, interaction: &Interaction, part: i32, case: &str) {
    let statement = "SELECT parts_begun FROM app.discord_interactions WHERE interaction_id = $1";
    eventually(case, DEADLINE, async || {
        let begun: Vec<i32> = stack.db().column(statement, &[&interaction.id.to_string()]).await;
        begun.first() == Some(&part)
    })
    .await;
}

/// When an interaction that was left is taken up, from now on.
pub(crate) async fn answer_due_in(stack: &Stack, interaction: &Interaction) -> Option<Duration> {
    let statement = "SELECT id::text FROM app.discord_interactions WHERE interaction_id = $1";
    let key: String = stack.db().scalar(statement, &[&interaction.id.to_string()]).await;
    due_in(stack, ANSWER, &key).await
}

/// Sweeps, without the pauses between, until an interaction is over.
pub(crate) async fn sweep_until_over(stack: &Stack, interaction: &Interaction, case: &str) {
    eventually(&format!("{case}: it is over"), DEADLINE, async || {
        make_due(stack, interaction).await;
        sweep(stack).await;
        outcome(stack, interaction).await.is_some()
    })
    .await;
}

/// Sweeps until an interaction is over, whenever it is due and not before.
pub(crate) async fn sweep_when_due(stack: &Stack, interaction: &Interaction, case: &str) {
    eventually(&format!("{case}: it is over"), DEADLINE, async || {
        if answer_due_in(stack, interaction).await == Some(Duration::ZERO) {
            sweep(stack).await;
        }
        outcome(stack, interaction).await.is_some()
    })
    .await;
}

/// Lets an interaction's fifteen minutes pass.
pub(crate) async fn let_expire(stack: &Stack, interaction: &Interaction) {
    stack.discord().age(interaction.id, Duration::from_secs(15 * 60));
    let statement = "UPDATE app.discord_interactions SET expires_at = expires_at - interval '15 minutes'
        WHERE interaction_id = $1";
    let written = stack.db().execute(statement, &[&interaction.id.to_string()]).await;
    assert_eq!(written, 1);
}

/// Delivers an interaction, and ends the application over it as soon as `has_come` says so, as the death of its process would. Another is there, which has
/// heard of nothing.
pub(crate) async fn die_over(
    stack: Stack,
    scene: &Scene,
    interaction: &Interaction,
    case: &str,
    mut has_come: impl AsyncFnMut(&Stack) -> bool,
) -> Stack {
    let other = stack.beside(patient()).await;
    let delivered = tokio::spawn(scene.delivery(&stack, interaction).attempt());
    eventually(case, DEADLINE, async || has_come(&stack).await).await;

    stack.kill().await;
    let delivered = delivered.await.unwrap().map(|response| response.to_string());
    assert!(delivered.is_err(), "{case}: the request has died: {delivered:?}");
    other
}

/// A place in the database where statements about one interaction wait.
pub(crate) struct Gate {
    name: String,
    key: i64,
    holder: Session,
}

impl Gate {
    /// Holds what inserts or updates an interaction's row, if this holds of it.
    pub(crate) async fn close(stack: &Stack, interaction: &Interaction, event: &str, condition: &str) -> Self {
        let (name, key) = (
            format!("gate_{}", interaction.id),
            i64::try_from(interaction.id).unwrap(),
        );
        let holder = stack.as_role("none", &Value::Null).await;
        holder.query("SELECT pg_advisory_xact_lock($1)", &[&key]).await.unwrap();
        let make = format!(
            "CREATE FUNCTION app.{name}() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN PERFORM pg_advisory_xact_lock_shared({key}); RETURN NEW; END $$"
        );
        stack.db().execute(&make, &[]).await;
        let hold = format!(
            "CREATE TRIGGER {name} BEFORE {event} ON app.discord_interactions FOR EACH ROW
             WHEN (NEW.interaction_id = '{}' AND ({condition})) EXECUTE FUNCTION app.{name}()",
            interaction.id
        );
        stack.db().execute(&hold, &[]).await;
        Self { name, key, holder }
    }

    /// Whether somebody waits there.
    pub(crate) async fn is_reached(&self, stack: &Stack) -> bool {
        !self.waiting(stack).await.is_empty()
    }

    /// Lets through who waits.
    pub(crate) async fn open(self, stack: &Stack) {
        self.holder.batch_execute("ROLLBACK").await.unwrap();
        self.remove(stack).await;
    }

    /// Opens it when who waits there is dead: what it said last is not done.
    pub(crate) async fn open_after_death(self, stack: &Stack) {
        for process in self.waiting(stack).await {
            let ended: bool = stack
                .db()
                .scalar("SELECT pg_terminate_backend($1, 5000)", &[&process])
                .await;
            assert!(ended);
        }
        self.holder.batch_execute("ROLLBACK").await.unwrap();
        self.remove(stack).await;
    }

    /// The backends that wait there.
    async fn waiting(&self, stack: &Stack) -> Vec<i32> {
        let statement = "SELECT pid FROM pg_locks
            WHERE locktype = 'advisory' AND NOT granted AND (classid::bigint << 32 | objid::bigint) = $1";
        stack.db().column(statement, &[&self.key]).await
    }

    async fn remove(&self, stack: &Stack) {
        let statement = format!("DROP FUNCTION app.{}() CASCADE", self.name);
        stack.db().execute(&statement, &[]).await;
    }
}
