//! What runs on toolboxes: a machine for each droplet of a [`DigitalOceanWorld`], and the agent on it.
//!
//! A machine boots from the user data that its droplet was given, exchanges the bootstrap token, and then its agent reports over real HTTP and does
//! as it is told, a step each time, as long as the droplet lives. Nothing runs in its containers. User data that cloud-init would not act on, and
//! answers that make no sense, are kept as complaints.

mod agent;
mod cloud_init;
mod containers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use reqwest::Client;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::digitalocean::{DigitalOceanWorld, Droplet, Droplets, Status};
use super::server::Server;
use crate::StackError;
use agent::{Answer, Call};
use cloud_init::Boot;
use containers::Containers;

pub use containers::{Container, ContainerState};

/// How often it is looked which droplets there are.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How the world behaves.
#[derive(Debug, Clone, Copy)]
pub struct ToolboxAgentsOptions {
    /// How often agents report.
    pub pace: Pace,
    /// Which droplets have a machine.
    pub plays: Plays,
}

/// How often agents report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// This often, whatever they are told.
    Every(Duration),
    /// As they are told, and no more seldom than this.
    AsTold {
        /// The longest pause.
        at_most: Duration,
    },
}

/// Which droplets have a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plays {
    /// All that bear a toolbox's tag.
    All,
    /// Of those, the ones that were asked for by [`ToolboxAgentsWorld::play`]. The others are left to whoever shares the world.
    Chosen,
}

impl Default for ToolboxAgentsOptions {
    fn default() -> Self {
        Self {
            pace: Pace::Every(Duration::from_millis(100)),
            plays: Plays::All,
        }
    }
}

impl Pace {
    fn of(self, told: Duration) -> Duration {
        match self {
            Self::Every(pause) => pause,
            Self::AsTold { at_most } => told.min(at_most),
        }
    }
}

/// Where a machine is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its user data is none that cloud-init acts on: nothing ever happens on it.
    Dead,
    /// It has booted, and asks who it is.
    Registering,
    /// It is its toolbox.
    Reporting,
    /// Its droplet is switched off.
    Off,
    /// Its droplet is destroyed.
    Destroyed,
}

/// A machine with its agent, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolboxAgent {
    /// Its droplet.
    pub droplet_id: u64,
    /// The toolbox that its user data names; none for one that is dead.
    pub toolbox_id: Option<Uuid>,
    /// Where it is in its life.
    pub phase: Phase,
    /// What it proves itself with, once it has registered.
    pub token: Option<String>,
    /// The generation that it was last told of.
    pub generation: Option<i64>,
    /// Whether it was told that nothing is to run.
    pub is_paused: bool,
    /// How many of its reports were taken.
    pub reports: u64,
    /// The status of the last answer that it got.
    pub last_status: Option<u16>,
    /// Whether it waits for an answer.
    pub is_calling: bool,
}

/// What a toolbox was answered that asked for credentials.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Fetched {
    /// The value of a variable.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&str> {
        self.body.get("secrets")?.get(name)?.as_str()
    }

    /// The machine-readable reason of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.body.get("code")?.as_str()
    }
}

/// A stand-in for everything that runs on toolboxes.
#[derive(Debug)]
pub struct ToolboxAgentsWorld {
    state: Arc<Mutex<Agents>>,
    calls: Calls,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _server: Server,
}

impl ToolboxAgentsWorld {
    /// Starts a world of the machines of `digitalocean`, on a thread of its own.
    pub async fn start(digitalocean: &DigitalOceanWorld, options: ToolboxAgentsOptions) -> Result<Self, StackError> {
        let failed = |error: &dyn std::fmt::Display| {
            StackError::Failed(format!("the stand-in for toolboxes' agents cannot start: {error}"))
        };
        // Machines have no proxy of ours.
        let client = Client::builder().no_proxy().build().map_err(|error| failed(&error))?;
        let state = Arc::new(Mutex::new(Agents::new(options)));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(&error))?;
        let calls = Calls {
            agents: Arc::clone(&state),
            client: client.clone(),
            runtime: runtime.handle().clone(),
        };
        let router = Router::new()
            .route("/toolboxes/{toolbox}/tools/{instance}/use", post(use_tool))
            .with_state(calls.clone());
        let server = Server::start("toolbox-agents", router).await?;
        lock(&state).origin = server.origin();

        let (stop, stopped) = oneshot::channel::<()>();
        let watch = watch(digitalocean.watch(), Arc::clone(&state), client);
        let thread = thread::Builder::new()
            .name("world-toolbox-agents".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = watch => {}
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_background();
            });
        Ok(Self {
            state,
            calls,
            stop: Some(stop),
            thread: Some(thread.map_err(|error| failed(&error))?),
            _server: server,
        })
    }

    /// Has the droplets played that have this text in a tag, such as a user's id. Where all are played it changes nothing.
    pub fn play(&self, text: impl ToString) {
        lock(&self.state).chosen.push(text.to_string());
    }

    /// All machines that there ever were, oldest first.
    pub fn agents(&self) -> Vec<ToolboxAgent> {
        let agents = lock(&self.state);
        agents.machines.iter().map(|(id, machine)| machine.show(*id)).collect()
    }

    /// The newest machine of a toolbox that is not destroyed.
    pub fn agent_of(&self, toolbox: Uuid) -> Option<ToolboxAgent> {
        let is_its = |agent: &ToolboxAgent| agent.toolbox_id == Some(toolbox) && agent.phase != Phase::Destroyed;
        self.agents().into_iter().rev().find(is_its)
    }

    /// The containers on the newest machine of a toolbox.
    pub fn containers(&self, toolbox: Uuid) -> Vec<Container> {
        let agents = lock(&self.state);
        agents
            .machine_of(toolbox)
            .map(|machine| machine.containers.all())
            .unwrap_or_default()
    }

    /// Asks for an agent's credentials for a tool, with the toolbox's token, as it does when the tool is used.
    pub async fn fetch_credentials(
        &self,
        toolbox: Uuid,
        agent: Uuid,
        instance: Uuid,
        capability: Option<&str>,
    ) -> Result<Fetched, StackError> {
        self.calls
            .fetch_credentials(toolbox, agent, instance, capability)
            .await
            .map_err(StackError::Failed)
    }

    /// Lets the machines of a toolbox say nothing, as if they were cut off.
    pub fn silence(&self, toolbox: Uuid) {
        self.hold(toolbox, Held::All);
    }

    /// Keeps the machines of a toolbox from registering.
    pub fn hold_registration(&self, toolbox: Uuid) {
        self.hold(toolbox, Held::Registration);
    }

    /// Lets the machines of a toolbox register, and say nothing more.
    pub fn hold_reports(&self, toolbox: Uuid) {
        self.hold(toolbox, Held::Reports);
    }

    /// Lets the machines of a toolbox speak again.
    pub fn speak(&self, toolbox: Uuid) {
        lock(&self.state).held.remove(&toolbox);
    }

    fn hold(&self, toolbox: Uuid, what: Held) {
        lock(&self.state).held.insert(toolbox, what);
    }

    /// Ends a container by itself. Whether there is one of this name.
    pub fn crash_container(&self, toolbox: Uuid, name: &str, exit_code: i64) -> bool {
        let mut agents = lock(&self.state);
        agents
            .machine_of_mut(toolbox)
            .is_some_and(|machine| machine.containers.crash(name, exit_code))
    }

    /// User data that cloud-init would not act on, and answers that make no sense to an agent.
    pub fn complaints(&self) -> Vec<String> {
        lock(&self.state).complaints.clone()
    }

    /// Ends the world, and all agents with it.
    pub async fn stop(self) {
        drop(self);
    }
}

impl Drop for ToolboxAgentsWorld {
    fn drop(&mut self) {
        // The thread waits for this channel's end.
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::warn!("the thread of toolboxes' agents failed");
        }
    }
}

/// All machines.
#[derive(Debug)]
struct Agents {
    options: ToolboxAgentsOptions,
    /// Where tools can be used, as a machine's report says.
    origin: String,
    machines: BTreeMap<u64, Machine>,
    /// Texts in tags of droplets that are played.
    chosen: Vec<String>,
    /// Toolboxes whose machines do not say everything.
    held: BTreeMap<Uuid, Held>,
    complaints: Vec<String>,
}

/// What a machine does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    All,
    Registration,
    Reports,
}

/// What a droplet is when it has booted.
#[derive(Debug)]
struct Machine {
    hostname: String,
    /// What it was told; `None` if that is nothing to boot from.
    boot: Option<Boot>,
    /// The secret that it made itself.
    claim: String,
    token: Option<String>,
    generation: Option<i64>,
    is_paused: bool,
    told_interval: Duration,
    containers: Containers,
    reports: u64,
    last_status: Option<u16>,
    is_calling: bool,
    /// How its droplet was seen last.
    droplet: Option<Status>,
}

impl Agents {
    fn new(options: ToolboxAgentsOptions) -> Self {
        Self {
            options,
            origin: String::new(),
            machines: BTreeMap::new(),
            chosen: Vec::new(),
            held: BTreeMap::new(),
            complaints: Vec::new(),
        }
    }

    fn complain(&mut self, droplet_id: u64, what: &str) {
        self.complaints.push(format!("droplet {droplet_id}: {what}"));
    }

    /// Whether a droplet has a machine here.
    fn plays(&self, droplet: &Droplet) -> bool {
        let has = |text: &str| droplet.tags.iter().any(|tag| tag.contains(text));
        has(":tb:") && (self.options.plays == Plays::All || self.chosen.iter().any(|text| has(text)))
    }

    /// Boots what is new, and notes what is gone. Returns which machines are switched on.
    fn look(&mut self, droplets: &[Droplet]) -> Vec<u64> {
        let mut running = Vec::new();
        for machine in self.machines.values_mut() {
            machine.droplet = None;
        }
        for droplet in droplets {
            if droplet.status == Status::New || !self.plays(droplet) {
                continue;
            }
            if !self.machines.contains_key(&droplet.id) {
                self.boot(droplet);
            }
            if let Some(machine) = self.machines.get_mut(&droplet.id) {
                machine.droplet = Some(droplet.status);
                if droplet.status == Status::Active && machine.boot.is_some() {
                    running.push(droplet.id);
                }
            }
        }
        running
    }

    fn boot(&mut self, droplet: &Droplet) {
        let boot = Boot::read(&droplet.user_data).map_err(|problem| self.complain(droplet.id, &problem));
        let claim = claim().map_err(|problem| self.complain(droplet.id, &problem));
        let machine = Machine {
            hostname: droplet.name.clone(),
            boot: boot.ok().filter(|_| claim.is_ok()),
            claim: claim.unwrap_or_default(),
            token: None,
            generation: None,
            is_paused: false,
            told_interval: Duration::ZERO,
            containers: Containers::default(),
            reports: 0,
            last_status: None,
            is_calling: false,
            droplet: Some(droplet.status),
        };
        self.machines.insert(droplet.id, machine);
    }

    /// The newest machine of a toolbox that is not destroyed.
    fn machine_of(&self, toolbox: Uuid) -> Option<&Machine> {
        self.machines.values().rev().find(|machine| machine.is_of(toolbox))
    }

    fn machine_of_mut(&mut self, toolbox: Uuid) -> Option<&mut Machine> {
        self.machines.values_mut().rev().find(|machine| machine.is_of(toolbox))
    }

    fn credentials_call(&self, toolbox: Uuid, agent: Uuid, instance: Uuid, capability: Option<&str>) -> Option<Call> {
        let machine = self.machine_of(toolbox)?;
        Some(Call {
            url: format!("{}/get-agent-tool-credentials", machine.boot.as_ref()?.functions_url),
            token: machine.token.clone()?,
            body: json!({
                "agentId": agent,
                "accountToolInstanceId": instance,
                "capabilityName": capability,
            }),
        })
    }
}

impl Machine {
    fn is_of(&self, toolbox: Uuid) -> bool {
        self.droplet.is_some() && self.boot.as_ref().is_some_and(|boot| boot.toolbox_id == toolbox)
    }

    fn show(&self, droplet_id: u64) -> ToolboxAgent {
        let phase = match (self.droplet, &self.boot, &self.token) {
            (None, ..) => Phase::Destroyed,
            (Some(_), None, _) => Phase::Dead,
            (Some(Status::Off), ..) => Phase::Off,
            (Some(_), _, None) => Phase::Registering,
            (Some(_), _, Some(_)) => Phase::Reporting,
        };
        ToolboxAgent {
            droplet_id,
            toolbox_id: self.boot.as_ref().map(|boot| boot.toolbox_id),
            phase,
            token: self.token.clone(),
            generation: self.generation,
            is_paused: self.is_paused,
            reports: self.reports,
            last_status: self.last_status,
            is_calling: self.is_calling,
        }
    }
}

impl From<Answer> for Fetched {
    fn from(answer: Answer) -> Self {
        Self {
            status: answer.status.as_u16(),
            body: answer.body,
        }
    }
}

/// Starts an agent for each machine that is switched on, and ends it with the machine.
async fn watch(droplets: Droplets, agents: Arc<Mutex<Agents>>, client: Client) {
    let mut tasks: BTreeMap<u64, AbortHandle> = BTreeMap::new();
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let running = lock(&agents).look(&droplets.now());
        tasks.retain(|id, task| {
            let is_on = running.contains(id);
            if !is_on {
                task.abort();
            }
            is_on
        });
        for id in running {
            tasks.entry(id).or_insert_with(|| {
                let agent = agent::live(Arc::clone(&agents), id, client.clone());
                tokio::spawn(agent).abort_handle()
            });
        }
    }
}

/// Calls that agents make when they are asked to.
#[derive(Debug, Clone)]
struct Calls {
    agents: Arc<Mutex<Agents>>,
    client: Client,
    /// All are made there: a connection that is kept belongs to the runtime that opened it.
    runtime: Handle,
}

impl Calls {
    async fn fetch_credentials(
        &self,
        toolbox: Uuid,
        agent: Uuid,
        instance: Uuid,
        capability: Option<&str>,
    ) -> Result<Fetched, String> {
        let call = lock(&self.agents)
            .credentials_call(toolbox, agent, instance, capability)
            .ok_or_else(|| format!("no machine is registered as {toolbox}"))?;
        let client = self.client.clone();
        let sent = self.runtime.spawn(async move { call.send(&client).await });
        match sent.await {
            Ok(Some(answer)) => Ok(Fetched::from(answer)),
            Ok(None) => Err("the functions did not answer".to_owned()),
            Err(error) => Err(format!("the call broke off: {error}")),
        }
    }
}

/// Which agent uses a tool, and for what.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UseTool {
    agent_id: Uuid,
    capability_name: Option<String>,
}

/// `POST /toolboxes/{toolbox}/tools/{instance}/use`: has a toolbox fetch credentials for a tool that runs on it, as it does to use it. Answers with
/// the names of the variables and the length of what is in them, which stays here.
async fn use_tool(
    State(calls): State<Calls>,
    Path((toolbox, instance)): Path<(Uuid, Uuid)>,
    Json(request): Json<UseTool>,
) -> (StatusCode, Json<Value>) {
    let runs = lock(&calls.agents)
        .machine_of(toolbox)
        .is_some_and(|machine| machine.containers.is_running(instance));
    if !runs {
        let answer = json!({ "error": "no such tool runs on this toolbox" });
        return (StatusCode::CONFLICT, Json(answer));
    }
    let capability = request.capability_name.as_deref();
    let fetched = match calls
        .fetch_credentials(toolbox, request.agent_id, instance, capability)
        .await
    {
        Ok(fetched) => fetched,
        Err(problem) => return (StatusCode::BAD_GATEWAY, Json(json!({ "error": problem }))),
    };
    let shown = match fetched.body.get("secrets").and_then(Value::as_object) {
        Some(secrets) => {
            let length = |(name, value): (&String, &Value)| (name.clone(), json!(value.as_str().map(str::len)));
            json!({ "variables": secrets.iter().map(length).collect::<Map<_, _>>() })
        }
        None => fetched.body,
    };
    let status = StatusCode::from_u16(fetched.status).unwrap_or(StatusCode::BAD_GATEWAY);
    (status, Json(shown))
}

/// A secret as the script makes it: 32 random bytes in hexadecimal digits.
fn claim() -> Result<String, String> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|error| format!("there is no randomness for a claim: {error}"))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn lock(agents: &Mutex<Agents>) -> MutexGuard<'_, Agents> {
    agents.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time on the machines.
#[expect(
    clippy::disallowed_methods,
    reason = "a stand-in for machines that have clocks of their own"
)]
fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
