//! What the tests of `manage-discord-worker` have in common.

use std::time::Duration;

use agentopia_stack::worlds::discord::{Application, Bot};
use agentopia_tests::{Agent, Request, Response, Stack, User, eventually};
use http::Method;
use serde_json::{Value, json};

/// The route.
pub(crate) const MANAGE: &str = "/functions/v1/manage-discord-worker";

/// An agent, and a bot that it can be connected to.
pub(crate) struct Owner<'a> {
    pub(crate) stack: &'a Stack,
    pub(crate) user: User,
    pub(crate) agent: Agent,
    pub(crate) application: Application,
    pub(crate) bot: Bot,
}

impl<'a> Owner<'a> {
    /// A new user's.
    pub(crate) async fn new(stack: &'a Stack) -> Self {
        let user = stack.user().await;
        let agent = user.agent("Atlas").await;
        let application = stack.discord().create_application().unwrap();
        let bot = stack.discord().create_bot(&application).unwrap();
        Self {
            stack,
            user,
            agent,
            application,
            bot,
        }
    }

    /// A request about the agent.
    pub(crate) fn request(&self, method: Method, rest: &str) -> Request {
        let path = format!("{MANAGE}/agents/{}/{rest}", self.agent.id);
        self.stack.request(method, &path).bearer(&self.user.token)
    }

    /// A request that says how it is to be.
    pub(crate) fn put(&self, rest: &str, body: &Value) -> Request {
        self.request(Method::PUT, rest).json(body)
    }

    /// Connects the agent to the bot.
    pub(crate) async fn connect(&self) -> Response {
        self.put("connection", &json!({ "bot_token": self.bot.token })).await
    }

    /// A command to the worker.
    pub(crate) fn command(&self, action: &str) -> Request {
        let body = json!({ "agentId": self.agent.id, "action": action, "guildId": "1" });
        self.stack.post(MANAGE).bearer(&self.user.token).json(&body)
    }

    /// What the worker is seen doing.
    pub(crate) async fn status(&self) -> String {
        let state = self.request(Method::GET, "connection").await.json();
        state["connection"]["worker_status"].as_str().unwrap().to_owned()
    }

    /// Waits until it is seen doing this.
    pub(crate) async fn becomes(&self, status: &str) {
        eventually(status, Duration::from_secs(10), async || self.status().await == status).await;
    }

    /// The bot, as its owner sees it.
    pub(crate) async fn connection(&self) -> Value {
        self.request(Method::GET, "connection").await.json()["connection"].clone()
    }

    /// Lets the time go by until which the worker must be heard of, or until which it is left alone, and has the sweep look.
    pub(crate) async fn sweep_later(&self, seconds: f64) -> Response {
        let later = "UPDATE public.agent_discord_connections
            SET worker_lease_expires_at = worker_lease_expires_at - make_interval(secs => $2),
                worker_status_changed_at = worker_status_changed_at - make_interval(secs => $2)
            WHERE agent_id = $1 AND guild_id IS NULL";
        self.stack.db().execute(later, &[&self.agent.id, &seconds]).await;
        let due = "UPDATE app.jobs SET run_after = now() WHERE kind = 'discord_worker' AND key = $1::text";
        self.stack.db().execute(due, &[&self.agent.id.to_string()]).await;
        self.sweep().await
    }

    /// Has what is due done.
    pub(crate) async fn sweep(&self) -> Response {
        let swept = self.stack.post(&format!("{MANAGE}/sweep"));
        let swept = swept.bearer(self.stack.service_token()).json(&json!({})).await;
        assert_eq!(swept.status(), 200, "{swept}");
        swept
    }
}
