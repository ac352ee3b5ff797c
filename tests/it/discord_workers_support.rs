//! What the tests of `manage-discord-worker` have in common.

use std::time::Duration;

use agentopia_stack::worlds::discord::{Application, Bot};
use agentopia_stack::worlds::worker_manager::{Call, ProcessStatus, Worker};
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

    /// A new user's whose bot is connected.
    pub(crate) async fn connected(stack: &'a Stack) -> Self {
        let owner = Self::new(stack).await;
        let connected = owner.connect().await;
        assert_eq!(connected.status(), 200, "{connected}");
        owner
    }

    /// A new user's whose worker runs.
    pub(crate) async fn active(stack: &'a Stack) -> Self {
        let owner = Self::connected(stack).await;
        let started = owner.command("start").await;
        assert_eq!(started.status(), 200, "{started}");
        owner.becomes("active").await;
        owner
    }

    /// The worker that the manager started last.
    pub(crate) fn worker(&self) -> Worker {
        self.stack.worker_manager().worker(self.agent.id).unwrap()
    }

    /// Whether the manager runs a worker.
    pub(crate) fn runs(&self) -> bool {
        let worker = self.stack.worker_manager().worker(self.agent.id);
        worker.is_some_and(|worker| worker.status == ProcessStatus::Online)
    }

    /// Waits until the manager runs none.
    pub(crate) async fn ends(&self) {
        eventually("no worker runs", Duration::from_secs(10), async || !self.runs()).await;
    }

    /// How often the manager was asked to start one.
    pub(crate) fn starts(&self) -> usize {
        self.stack.worker_manager().calls(self.agent.id, Call::Start)
    }

    /// Waits until a sweep, whoever's, has done what is due.
    pub(crate) async fn until_done(&self) {
        let due = "SELECT count(*) FROM app.jobs
            WHERE kind = 'discord_worker' AND key = $1 AND outcome IS NULL AND run_after <= clock_timestamp()";
        eventually("nothing is due", Duration::from_secs(10), async || {
            self.stack.db().scalar::<i64>(due, &[&self.agent.id.to_string()]).await == 0
        })
        .await;
    }
}
