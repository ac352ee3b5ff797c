//! What the tests of `discord-interaction-handler` have in common.

use std::time::{SystemTime, UNIX_EPOCH};

use agentopia_stack::worlds::discord::Application;
use agentopia_tests::{Agent, Request, Response, Stack, User};
use serde_json::{Value, json};

/// The route.
pub(crate) const INTERACTIONS: &str = "/functions/v1/discord-interaction-handler";

/// A payload of tests/data/discord.
macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!("../data/discord/", $name, ".json"))
    };
}
pub(crate) use recorded;

/// An application that a user's agents are connected to, and a guild of its own.
pub(crate) struct Bot<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) user: User,
    pub(crate) application: Application,
    pub(crate) guild: String,
}

impl<'a> Bot<'a> {
    /// An application and a guild that nobody is connected to.
    pub(crate) async fn new(stack: &'a Stack) -> Self {
        Self {
            stack,
            user: stack.user().await,
            application: stack.discord().create_application().unwrap(),
            guild: stack.discord().new_id().to_string(),
        }
    }

    /// The same guild with another user's application.
    pub(crate) async fn another(&self) -> Self {
        Self {
            guild: self.guild.clone(),
            ..Self::new(self.stack).await
        }
    }

    /// A new agent, connected to the guild. The first one has the application's bot.
    pub(crate) async fn agent(&self, name: &str) -> Agent {
        let agent = self.user.agent(name).await;
        self.show_token(&agent).await;
        let key = self.application.public_key.clone();
        connect(self.stack, &self.user, &agent, &self.guild, self.application.id, &key).await;
        agent
    }

    /// Makes the application's bot be an agent's, unless it is another's, as if its owner had shown its token. The token does not open.
    pub(crate) async fn show_token(&self, agent: &Agent) {
        let statement = "INSERT INTO public.agent_discord_connections
                (user_id, agent_id, discord_app_id, discord_public_key, bot_token_sealed, bot_token_key_id, bot_token_fingerprint)
            VALUES ($1, $2, $3, $4, 'sealed', 'tests', uuid_send(gen_random_uuid()))
            ON CONFLICT (discord_app_id) WHERE bot_token_sealed IS NOT NULL DO NOTHING";
        let application = self.application.id.to_string();
        let values: agentopia_tests::Parameters<'_> =
            &[&self.user.id, &agent.id, &application, &self.application.public_key];
        self.stack.db().execute(statement, values).await;
    }

    /// A recorded interaction, as if it were a new one of this application in this guild.
    pub(crate) fn interaction(&self, recorded: &str) -> Value {
        let mut interaction: Value = serde_json::from_str(recorded).unwrap();
        interaction["id"] = json!(self.stack.discord().new_id().to_string());
        interaction["application_id"] = json!(self.application.id.to_string());
        if interaction.get("guild_id").is_some() {
            interaction["guild_id"] = json!(self.guild);
        }
        interaction
    }

    /// What somebody sees who has typed this.
    pub(crate) async fn choices(&self, typed: &str) -> Vec<String> {
        let mut interaction = self.interaction(recorded!("autocomplete_agent"));
        interaction["data"]["options"][0]["value"] = json!(typed);
        let answer = self.deliver(&interaction).await.json();
        assert_eq!(answer["type"], 8, "{answer}");
        let choices = answer["data"]["choices"].as_array().unwrap();
        choices
            .iter()
            .map(|choice| choice["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// What is said to somebody who uses `/agents`.
    pub(crate) async fn agents(&self) -> String {
        let interaction = self.interaction(recorded!("command_agents"));
        said(&self.deliver(&interaction).await)
    }

    /// Delivers an interaction as Discord does.
    pub(crate) fn deliver(&self, interaction: &Value) -> Request {
        self.signed(&seconds(0), &interaction.to_string())
    }

    /// A body that is signed as of a time.
    pub(crate) fn signed(&self, timestamp: &str, body: &str) -> Request {
        let signature = self.application.sign(timestamp, body.as_bytes());
        with(self.stack, &signature, timestamp).body(body.to_owned())
    }
}

/// A request with these headers.
pub(crate) fn with(stack: &Stack, signature: &str, timestamp: &str) -> Request {
    stack
        .post(INTERACTIONS)
        .header("content-type", "application/json")
        .header("x-signature-ed25519", signature)
        .header("x-signature-timestamp", timestamp)
}

/// The message of an answer, which is for who asked alone and notifies nobody.
pub(crate) fn said(answer: &Response) -> String {
    let json = answer.json();
    assert_eq!(answer.status(), 200, "{answer}");
    assert_eq!(
        (&json["type"], &json["data"]["flags"]),
        (&json!(4), &json!(64)),
        "{answer}"
    );
    assert_eq!(json["data"]["allowed_mentions"], json!({ "parse": [] }), "{answer}");
    json["data"]["content"].as_str().unwrap().to_owned()
}

/// A timestamp so many seconds from now.
#[expect(clippy::disallowed_methods, reason = "a signature is as of the time of day")]
pub(crate) fn seconds(from_now: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    now.checked_add_signed(from_now).unwrap().to_string()
}

/// Connects an agent to a guild, as its owner does in the frontend: with any application and key.
pub(crate) async fn connect(stack: &Stack, user: &User, agent: &Agent, guild: &str, application: u64, key: &str) {
    let statement = "INSERT INTO public.agent_discord_connections
            (user_id, agent_id, guild_id, discord_app_id, discord_public_key)
        VALUES ($1, $2, $3, $4, $5)";
    let application = application.to_string();
    let values: agentopia_tests::Parameters<'_> = &[&user.id, &agent.id, &guild, &application, &key];
    assert_eq!(stack.db().execute(statement, values).await, 1);
}
