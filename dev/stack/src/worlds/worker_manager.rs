//! The worker manager: it runs a process, the worker, for each agent that is present in Discord.
//!
//! It is the manager of May 2025 as far as its callers see: the same paths, bodies and answers, and the life of processes as PM2 keeps them. There is
//! a `/status` besides, which was asked for and did not exist, and which shows a process as PM2 does, with its environment. Its workers are played: each "logs in" after a moment, reports over real HTTP with its
//! token and under its lease, asks `chat` what it [hears](WorkerManagerWorld::say), and ends as it is told or by itself. Bodies that the old
//! manager or a worker could do nothing with, and answers to workers that make no sense, are kept as complaints.

mod fault;
mod order;
mod process;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use url::form_urlencoded;
use uuid::Uuid;

use super::answer::{Answer, Delivery};
use super::connection::Connection;
use super::server::Server;
use crate::StackError;
use fault::Faults;
use order::{AgentOrder, StartOrder, StopOrder};
use process::{CHAT_LIMIT, Incoming, Order};

pub use fault::{Call, Fault};

/// The record keeps this many requests, the newest.
const RECORD_LIMIT: usize = 20_000;

/// The largest body that is read.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// How long a process that is interrupted has until it is killed, as with PM2.
const KILL_AFTER: Duration = Duration::from_millis(1600);

/// How the world behaves.
#[derive(Debug, Clone)]
pub struct WorkerManagerOptions {
    /// The only token that is accepted.
    pub token: String,
    /// How long a worker takes to log in.
    pub login_after: Duration,
    /// How often workers report.
    pub pace: Pace,
}

impl Default for WorkerManagerOptions {
    fn default() -> Self {
        Self {
            token: "stand-in".to_owned(),
            login_after: Duration::from_millis(50),
            // As often as the functions take.
            pace: Pace::Every(Duration::from_secs(1)),
        }
    }
}

/// How often workers report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// This often, whatever they are told.
    Every(Duration),
    /// Three times in the time that they may be silent, and no more seldom than this.
    AsTold {
        /// The longest pause.
        at_most: Duration,
    },
}

impl Pace {
    fn of(self, told: Duration) -> Duration {
        match self {
            Self::Every(pause) => pause,
            Self::AsTold { at_most } if told.is_zero() => at_most,
            Self::AsTold { at_most } => told.min(at_most),
        }
    }
}

/// What becomes of a worker's login at Discord's gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Login {
    /// It is logged in.
    #[default]
    Succeeds,
    /// The bot's token is wrong: it says so, and ends.
    Unauthorized,
    /// The bot lacks an intent: it says so, and ends.
    BadIntents,
    /// Nothing comes of it, and nothing is said.
    Hangs,
    /// There is no connection: it says so, and ends.
    Fails,
}

/// Where a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessStatus {
    /// It runs.
    Online,
    /// It was interrupted, and has not ended.
    Stopping,
    /// It has ended in good order.
    Stopped,
    /// It has ended with an error, or was killed.
    Errored,
}

impl ProcessStatus {
    /// PM2's word for it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Errored => "errored",
        }
    }
}

/// A worker, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Worker {
    /// Whose it is.
    pub agent_id: Uuid,
    /// The agent's bot.
    pub connection_id: Uuid,
    /// What it reports under.
    pub lease_id: Uuid,
    /// What it logs in with.
    pub bot_token: String,
    /// What it proves itself to the functions with.
    pub worker_token: String,
    /// The agent's name.
    pub agent_name: String,
    /// The agent's system instructions.
    pub system_prompt: Option<String>,
    /// The agent's assistant instructions.
    pub agent_instructions: Option<String>,
    /// After how many minutes without a question it ends, as it was told last; 0 for never.
    pub inactivity_timeout_minutes: u32,
    /// Where it finds the functions.
    pub functions_url: String,
    /// In which guilds it may answer, and in which of their channels, as it was told last; without a list in all.
    pub guilds: BTreeMap<String, Option<Vec<String>>>,
    /// Where its process is in its life.
    pub status: ProcessStatus,
    /// Whether Discord's gateway knows it.
    pub is_logged_in: bool,
    /// The status in the last report that was taken.
    pub said: Option<String>,
    /// How many of its reports were taken.
    pub reports: u64,
    /// The status of the last answer that a report got.
    pub last_answer: Option<u16>,
}

/// What a worker was answered that asked `chat`.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Said {
    /// The agent's reply.
    #[must_use]
    pub fn reply(&self) -> Option<&str> {
        self.body.get("reply")?.as_str()
    }

    /// The machine-readable reason of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.body.get("code")?.as_str()
    }
}

impl From<Incoming> for Said {
    fn from(answer: Incoming) -> Self {
        Self {
            status: answer.status.as_u16(),
            body: answer.body,
        }
    }
}

/// A request that the world received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// What was asked.
    pub call: Call,
    /// Whose worker it was about.
    pub agent_id: Option<Uuid>,
    /// Whether it carried the token.
    pub is_authorized: bool,
}

/// A stand-in for the worker manager.
#[derive(Debug)]
pub struct WorkerManagerWorld {
    server: Server,
    state: Shared,
    client: Client,
}

impl WorkerManagerWorld {
    /// Starts a world without workers.
    pub async fn start(options: WorkerManagerOptions) -> Result<Self, StackError> {
        // No proxy is between workers and the functions. A connection that is kept belongs to the runtime that opened it, and the client is used in
        // several.
        let client = Client::builder().no_proxy().pool_max_idle_per_host(0).build();
        let client = client.map_err(|error| {
            StackError::Failed(format!("the stand-in for the worker manager cannot start: {error}"))
        })?;
        let state = Arc::new(Mutex::new(Manager::new(options)));
        let router = Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::disable())
            .with_state((Arc::clone(&state), client.clone()));
        let server = Server::start("worker-manager", router).await?;
        lock(&state).origin = server.origin();
        Ok(Self { server, state, client })
    }

    /// Where it is, without a slash at the end.
    pub fn url(&self) -> String {
        self.server.origin()
    }

    /// The token that is accepted.
    pub fn token(&self) -> String {
        self.manager().options.token.clone()
    }

    /// The last worker of each agent that ever had one, whether it runs or not.
    pub fn workers(&self) -> Vec<Worker> {
        let manager = self.manager();
        manager
            .processes
            .values()
            .map(|process| process.worker.clone())
            .collect()
    }

    /// The last worker of an agent, whether it runs or not.
    pub fn worker(&self, agent: Uuid) -> Option<Worker> {
        let manager = self.manager();
        manager.processes.get(&agent).map(|process| process.worker.clone())
    }

    /// What becomes of logins of an agent's workers that are started from now on.
    pub fn set_login(&self, agent: Uuid, login: Login) {
        self.manager().logins.insert(agent, login);
    }

    /// Has an agent's worker fail at something that nothing catches: it says so, and ends.
    pub fn crash(&self, agent: Uuid) {
        self.manager().order(agent, Order::Crash);
    }

    /// Has an agent's worker end because nobody has asked anything for long enough: it says so.
    pub fn idle_out(&self, agent: Uuid) {
        self.manager().order(agent, Order::IdleOut);
    }

    /// Interrupts an agent's worker, as the system does when its machine is restarted: it ends in good order, and says so.
    pub fn interrupt(&self, agent: Uuid) {
        self.manager().interrupt(agent);
    }

    /// Ends an agent's worker at once, without a word, as the system does when memory runs out.
    pub fn kill(&self, agent: Uuid) {
        self.manager().kill(agent);
    }

    /// Cuts an agent's workers off from the functions: they run, and nothing is heard of them.
    pub fn silence(&self, agent: Uuid) {
        self.manager().silent.insert(agent);
    }

    /// Lets an agent's workers be heard again.
    pub fn speak(&self, agent: Uuid) {
        self.manager().silent.remove(&agent);
    }

    /// Has an agent's worker hear a message in a channel, in which its bot is mentioned, and ask `chat` for the answer; also where it was told
    /// that it may not.
    pub async fn say(
        &self,
        agent: Uuid,
        guild: impl ToString,
        channel: impl ToString,
        author: impl ToString,
        text: &str,
    ) -> Result<Said, StackError> {
        let question = Question {
            guild_id: guild.to_string(),
            channel_id: channel.to_string(),
            author_id: author.to_string(),
            message: text.to_owned(),
        };
        ask(&self.state, &self.client, agent, &question)
            .await
            .map_err(StackError::Failed)
    }

    /// Makes the next `times` calls of a kind about an agent's worker fail; what is already to fail fails first. Without an agent it is all calls
    /// that no fault of an agent's own strikes, which is for a world that no other test uses.
    pub fn fail(&self, agent: impl Into<Option<Uuid>>, call: Call, fault: Fault, times: usize) {
        self.manager().faults.plan(agent.into(), call, fault, times);
    }

    /// Ends the faults that [`Self::fail`] has planned for the same.
    pub fn mend(&self, agent: impl Into<Option<Uuid>>) {
        self.manager().faults.mend(agent.into());
    }

    /// What was received, oldest first.
    pub fn requests(&self) -> Vec<Received> {
        self.manager().received.iter().cloned().collect()
    }

    /// How often a kind of call came about an agent's worker, whatever came of it.
    pub fn calls(&self, agent: Uuid, call: Call) -> usize {
        let is_meant = |received: &&Received| received.agent_id == Some(agent) && received.call == call;
        self.manager().received.iter().filter(is_meant).count()
    }

    /// Requests that a correct client does not make, and answers that make no sense to a worker.
    pub fn complaints(&self) -> Vec<String> {
        self.manager().complaints.clone()
    }

    /// Ends the world and all workers; connections to it are refused from then on.
    pub async fn stop(self) {
        drop(self);
    }

    fn manager(&self) -> MutexGuard<'_, Manager> {
        lock(&self.state)
    }
}

type Shared = Arc<Mutex<Manager>>;

/// All that there is.
#[derive(Debug)]
struct Manager {
    options: WorkerManagerOptions,
    /// Where it is, as a worker's report says.
    origin: String,
    processes: BTreeMap<Uuid, Process>,
    last_run: u64,
    logins: BTreeMap<Uuid, Login>,
    /// Agents whose workers are cut off.
    silent: BTreeSet<Uuid>,
    faults: Faults,
    received: VecDeque<Received>,
    complaints: Vec<String>,
}

/// A process.
#[derive(Debug)]
struct Process {
    worker: Worker,
    order: StartOrder,
    /// Which process it is, of all that ever were.
    run: u64,
    orders: mpsc::UnboundedSender<Order>,
    task: AbortHandle,
    /// Closed when it has ended, however it ended.
    ended: watch::Receiver<()>,
    asked_at: Instant,
    told_lease: Duration,
}

/// What somebody says in a channel.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Question {
    guild_id: String,
    channel_id: String,
    author_id: String,
    message: String,
}

/// What a request asks for.
enum Task {
    Start(Box<StartOrder>),
    Stop(StopOrder),
    Restart(Uuid),
    Status(Uuid),
    List,
}

/// What of a request is a manager's business, or what it is answered at once.
enum Verdict {
    Do(Task, Option<Fault>),
    Answer(Answer, Delivery),
}

impl Manager {
    fn new(options: WorkerManagerOptions) -> Self {
        Self {
            options,
            origin: String::new(),
            processes: BTreeMap::new(),
            last_run: 0,
            logins: BTreeMap::new(),
            silent: BTreeSet::new(),
            faults: Faults::default(),
            received: VecDeque::new(),
            complaints: Vec::new(),
        }
    }

    fn complain(&mut self, agent: Uuid, what: &str) {
        self.complaints.push(format!("worker of {agent}: {what}"));
    }

    /// The process of an agent, if it still is that one.
    fn process_mut(&mut self, agent: Uuid, run: u64) -> Option<&mut Process> {
        self.processes.get_mut(&agent).filter(|process| process.run == run)
    }

    fn order(&self, agent: Uuid, order: Order) {
        let process = self.processes.get(&agent);
        if process.is_none_or(|process| process.orders.send(order).is_err()) {
            tracing::debug!(%agent, ?order, "there is no worker to be told");
        }
    }

    fn kill(&mut self, agent: Uuid) {
        if let Some(process) = self.processes.get_mut(&agent).filter(|process| process.is_up()) {
            process.task.abort();
            process.worker.status = ProcessStatus::Errored;
            process.worker.is_logged_in = false;
        }
    }

    /// Finds what a request asks for.
    fn receive(&mut self, parts: &Parts, body: &[u8]) -> Verdict {
        let call = match (parts.method.as_str(), parts.uri.path()) {
            ("GET", "/") => {
                let banner = Answer::page(StatusCode::OK, "Worker manager (stand-in)");
                return Verdict::Answer(banner, Delivery::Whole);
            }
            ("POST", "/start-worker") => Call::Start,
            ("POST", "/stop-worker") => Call::Stop,
            ("POST", "/restart-worker") => Call::Restart,
            ("GET", "/status") => Call::Status,
            ("GET", "/list-workers") => Call::List,
            (method, path) => {
                self.complaints.push(format!("{method} {path}: there is no such route"));
                let unknown = Answer::page(StatusCode::NOT_FOUND, "<pre>Cannot do this</pre>");
                return Verdict::Answer(unknown, Delivery::Whole);
            }
        };
        let agent = match call {
            Call::Status => agent_in_query(parts),
            _ => order::agent_of(body),
        };
        let refused = self.check_token(&parts.headers);
        if self.received.len() == RECORD_LIMIT {
            self.received.pop_front();
        }
        self.received.push_back(Received {
            call,
            agent_id: agent,
            is_authorized: refused.is_none(),
        });
        if let Some(refused) = refused {
            return Verdict::Answer(refused, Delivery::Whole);
        }

        let fault = self.faults.strike(agent, call);
        if let Some(fault) = fault.filter(|fault| !fault.is_done()) {
            let (answer, delivery) = strike(fault, body);
            return Verdict::Answer(answer, delivery);
        }
        match read(call, agent, parts, body) {
            Ok(task) => Verdict::Do(task, fault),
            Err(problem) => {
                self.complaints
                    .push(format!("{} {}: {problem}", parts.method, parts.uri.path()));
                Verdict::Answer(error(StatusCode::BAD_REQUEST, &problem), Delivery::Whole)
            }
        }
    }

    /// The refusal of a request without the token.
    fn check_token(&self, headers: &HeaderMap) -> Option<Answer> {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        match value.and_then(|value| value.strip_prefix("Bearer ")) {
            None => Some(error(
                StatusCode::UNAUTHORIZED,
                "Missing or malformed authorization header",
            )),
            Some(token) if token != self.options.token => Some(error(StatusCode::FORBIDDEN, "Invalid secret key")),
            Some(_) => None,
        }
    }

    /// Starts a worker, or leaves the one that runs. Must be called in the runtime where workers live.
    fn start(&mut self, state: &Shared, client: &Client, order: StartOrder) -> Answer {
        let agent = order.agent_id;
        if self.processes.get(&agent).is_some_and(Process::is_up) {
            return message(&format!("Worker worker-{agent} is already running."));
        }
        let is_same_bot = |process: &&Process| process.is_up() && process.worker.bot_token == order.bot_token;
        if let Some(other) = self
            .processes
            .values()
            .find(is_same_bot)
            .map(|process| process.worker.agent_id)
        {
            self.complain(agent, &format!("the worker of {other} is logged in with the same bot"));
        }

        self.last_run += 1;
        let run = self.last_run;
        let (orders, received) = mpsc::unbounded_channel();
        let (end, ended) = watch::channel(());
        let life = process::live(Arc::clone(state), agent, run, received, client.clone());
        let task = tokio::spawn(async move {
            life.await;
            drop(end);
        });
        let process = Process {
            worker: Worker::of(&order),
            order,
            run,
            orders,
            task: task.abort_handle(),
            ended,
            asked_at: Instant::now(),
            told_lease: Duration::ZERO,
        };
        self.processes.insert(agent, process);
        message(&format!("Worker worker-{agent} started."))
    }

    /// Interrupts a worker; what is closed when it has ended.
    fn interrupt(&mut self, agent: Uuid) -> Option<watch::Receiver<()>> {
        let process = self.processes.get_mut(&agent).filter(|process| process.is_up())?;
        process.worker.status = ProcessStatus::Stopping;
        if process.orders.send(Order::Stop).is_err() {
            tracing::debug!(%agent, "the worker ends anyway");
        }
        Some(process.ended.clone())
    }

    /// Whether a stop is meant for a worker that was there before.
    fn runs_under_another(&self, order: &StopOrder) -> bool {
        let process = self.processes.get(&order.agent_id);
        let meant = order.lease_id;
        process.is_some_and(|process| process.is_up() && meant.is_some_and(|lease| lease != process.worker.lease_id))
    }

    fn describe(&self, agent: Uuid) -> Option<Value> {
        self.processes.get(&agent).map(Process::describe)
    }
}

impl Process {
    fn is_up(&self) -> bool {
        matches!(self.worker.status, ProcessStatus::Online | ProcessStatus::Stopping)
    }

    fn show(&self) -> Value {
        json!({
            "name": format!("worker-{}", self.worker.agent_id),
            "status": self.worker.status.as_str(),
            "cpu": 0.1,
            "memory": 92_000_000,
            "agentId": self.worker.agent_id,
            "connectionDbId": self.worker.connection_id,
        })
    }

    /// With its environment, in which its secrets are.
    fn describe(&self) -> Value {
        let mut description = self.show();
        if let Value::Object(fields) = &mut description {
            let environment = json!({
                "status": self.worker.status.as_str(),
                "restart_time": 0,
                "env": { "DISCORD_BOT_TOKEN": self.worker.bot_token, "WORKER_TOKEN": self.worker.worker_token },
            });
            fields.insert("pm2_env".to_owned(), environment);
        }
        description
    }
}

impl Worker {
    fn of(order: &StartOrder) -> Self {
        Self {
            agent_id: order.agent_id,
            connection_id: order.connection_db_id,
            lease_id: order.lease_id,
            bot_token: order.bot_token.clone(),
            worker_token: order.worker_token.clone(),
            agent_name: order.agent_name.clone(),
            system_prompt: order.system_prompt.clone(),
            agent_instructions: order.agent_instructions.clone(),
            inactivity_timeout_minutes: order.inactivity_timeout,
            functions_url: order.functions_url.clone(),
            guilds: order.guild_ids.iter().map(|id| (id.clone(), None)).collect(),
            status: ProcessStatus::Online,
            is_logged_in: false,
            said: None,
            reports: 0,
            last_answer: None,
        }
    }
}

/// Reads what a request asks for; the error says what is wrong with it.
fn read(call: Call, agent: Option<Uuid>, parts: &Parts, body: &[u8]) -> Result<Task, String> {
    let is_json = is_json(&parts.headers);
    Ok(match call {
        Call::Start => {
            let order: StartOrder = order::read(is_json, body)?;
            order.check()?;
            Task::Start(Box::new(order))
        }
        Call::Stop => Task::Stop(order::read(is_json, body)?),
        Call::Restart => Task::Restart(order::read::<AgentOrder>(is_json, body)?.agent_id),
        Call::Status => Task::Status(agent.ok_or("agent_id is missing or no UUID")?),
        Call::List | Call::Any => Task::List,
    })
}

fn agent_in_query(parts: &Parts) -> Option<Uuid> {
    form_urlencoded::parse(parts.uri.query()?.as_bytes())
        .find(|(name, _)| name == "agent_id")?
        .1
        .parse()
        .ok()
}

/// Does what a request asks.
async fn perform(state: &Shared, client: &Client, task: Task) -> Answer {
    match task {
        Task::Start(order) => lock(state).start(state, client, *order),
        Task::Stop(order) => {
            let agent = order.agent_id;
            if lock(state).runs_under_another(&order) {
                return message(&format!("Worker worker-{agent} runs under another lease."));
            }
            // It is a success also where there is nothing to stop.
            stop(state, agent).await;
            message(&format!("Worker worker-{agent} stopped."))
        }
        Task::Restart(agent) => {
            let order = lock(state).processes.get(&agent).map(|process| process.order.clone());
            match order {
                Some(order) => {
                    stop(state, agent).await;
                    lock(state).start(state, client, order)
                }
                None => error(StatusCode::NOT_FOUND, "Worker not found"),
            }
        }
        Task::Status(agent) => match lock(state).describe(agent) {
            Some(described) => Answer::json(StatusCode::OK, &described),
            None => error(StatusCode::NOT_FOUND, "Worker not found"),
        },
        Task::List => {
            let shown: Vec<_> = lock(state).processes.values().map(Process::show).collect();
            Answer::json(StatusCode::OK, &json!(shown))
        }
    }
}

/// Ends a worker: it is interrupted, and killed if that is not enough.
async fn stop(state: &Shared, agent: Uuid) {
    let interrupted = lock(state).interrupt(agent);
    let Some(mut ended) = interrupted else { return };
    // The channel carries nothing: its end is awaited.
    if tokio::time::timeout(KILL_AFTER, ended.changed()).await.is_err() {
        lock(state).kill(agent);
    }
}

/// Has a worker ask `chat`.
async fn ask(state: &Shared, client: &Client, agent: Uuid, question: &Question) -> Result<Said, String> {
    let call = lock(state).next_question(agent, question)?;
    let answer = call.send(client, CHAT_LIMIT).await;
    answer.map(Said::from).ok_or_else(|| "chat did not answer".to_owned())
}

/// Answers any request.
async fn answer(
    State((state, client)): State<(Shared, Client)>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = match axum::body::to_bytes(body, BODY_LIMIT_BYTES).await {
        Ok(body) => body,
        Err(error) => {
            tracing::debug!(%error, "a request to the stand-in broke off");
            return StatusCode::BAD_REQUEST.into_response();
        }
    };
    if let Some(agent) = is_saying(&parts) {
        let answer = hear(&state, &client, agent, &body).await;
        return answer.deliver(Delivery::Whole, &connection).await;
    }

    let verdict = lock(&state).receive(&parts, &body);
    let (answer, delivery) = match verdict {
        Verdict::Answer(answer, delivery) => (answer, delivery),
        Verdict::Do(task, fault) => {
            let done = perform(&state, &client, task).await;
            match fault {
                Some(fault) => strike(fault, &body),
                None => (done, Delivery::Whole),
            }
        }
    };
    answer.deliver(delivery, &connection).await
}

/// Whether somebody says something in a channel, who is no client of a manager: `POST /workers/<agent>/say`.
fn is_saying(parts: &Parts) -> Option<Uuid> {
    let agent = parts.uri.path().strip_prefix("/workers/")?.strip_suffix("/say")?;
    agent.parse().ok().filter(|_| parts.method == "POST")
}

/// `POST /workers/<agent>/say`: what [`WorkerManagerWorld::say`] does, for other processes. Takes
/// `{"guildId", "channelId", "authorId", "message"}`, and answers as `chat` does.
async fn hear(state: &Shared, client: &Client, agent: Uuid, body: &[u8]) -> Answer {
    let question = match serde_json::from_slice(body) {
        Ok(question) => question,
        Err(problem) => return error(StatusCode::BAD_REQUEST, &problem.to_string()),
    };
    match ask(state, client, agent, &question).await {
        Ok(said) => {
            let status = StatusCode::from_u16(said.status).unwrap_or(StatusCode::BAD_GATEWAY);
            Answer::json(status, &said.body)
        }
        Err(problem) => error(StatusCode::CONFLICT, &problem),
    }
}

/// The answer that a fault makes of any.
fn strike(fault: Fault, body: &[u8]) -> (Answer, Delivery) {
    let failed = |message: &str| error(StatusCode::INTERNAL_SERVER_ERROR, message);
    match fault {
        Fault::Status(status) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (error(status, "The stand-in was asked to refuse."), Delivery::Whole)
        }
        Fault::RateLimited(wait) => {
            let answer = error(StatusCode::TOO_MANY_REQUESTS, "Too many requests");
            let answer = match wait {
                Some(wait) => answer.with(header::RETRY_AFTER, wait.as_secs()),
                None => answer,
            };
            (answer, Delivery::Whole)
        }
        Fault::Babble => {
            let message = format!("pm2 failed with {}", String::from_utf8_lossy(body));
            (failed(&message), Delivery::Whole)
        }
        Fault::DoneAndFailed => (failed("pm2 failed"), Delivery::Whole),
        Fault::Malformed => (Answer::page(StatusCode::OK, "<html>It works!</html>"), Delivery::Whole),
        Fault::Stall | Fault::Silence => (Answer::empty(StatusCode::OK), Delivery::Withheld),
        Fault::Drop | Fault::Break => (Answer::empty(StatusCode::OK), Delivery::Dropped),
    }
}

fn message(text: &str) -> Answer {
    Answer::json(StatusCode::OK, &json!({ "message": text }))
}

fn error(status: StatusCode, text: &str) -> Answer {
    Answer::json(status, &json!({ "error": text }))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
}

fn lock(manager: &Mutex<Manager>) -> MutexGuard<'_, Manager> {
    manager.lock().unwrap_or_else(PoisonError::into_inner)
}
