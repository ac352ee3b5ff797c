//! The gateway workers of agents' bots (migrations/operations/discord_workers.sql).

use std::collections::BTreeMap;

use agentopia_domain::discord::worker::{DesiredStatus, KnownWorker, WorkerStatus};
use agentopia_domain::ids::{AgentId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::jobs::{Job, JobInput, Settlement};
use super::{Caller, Database, OperationError, Rate};
use crate::bearer::TokenHash;
use crate::context::RequestContext;

const CALLER: Caller = Caller::Service {
    name: "manage-discord-worker",
};

/// What one status leads to.
pub type Transitions = BTreeMap<WorkerStatus, WorkerStatus>;

/// Who wants a worker to start or to stop.
#[derive(Clone, Copy, Debug)]
pub enum Mandate<'a> {
    /// The agent's owner, as often as this; `None` if that was looked at before.
    Owner(&'a Caller, Option<Rate>),
    /// An administrator, who may stop any, as often as this.
    Administrator(&'a Caller, Rate),
    /// Somebody who manages a guild where the agent may be used.
    Guild(InGuild<'a>),
    /// Nobody: the platform itself, which does not change what the owner wants.
    Automatic,
}

/// From where an interaction came, and what verified it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct InGuild<'a> {
    /// The guild.
    pub guild_id: &'a str,
    /// The application.
    pub application_id: &'a str,
    /// The key, in lower-case hexadecimal.
    pub public_key: &'a str,
    /// Whether it is the deployment's own.
    pub own_key: bool,
}

/// A mandate as operations take it.
#[derive(Serialize)]
struct MandateInput<'a> {
    #[serde(flatten)]
    rate: Option<Rate>,
    #[serde(flatten)]
    place: Option<InGuild<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    force: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    automatic: bool,
}

impl<'a> Mandate<'a> {
    fn caller(&self) -> &'a Caller {
        match self {
            Self::Owner(caller, _) | Self::Administrator(caller, _) => caller,
            Self::Guild(_) | Self::Automatic => &CALLER,
        }
    }

    fn input(&self) -> MandateInput<'a> {
        MandateInput {
            rate: match self {
                Self::Owner(_, rate) => *rate,
                Self::Administrator(_, rate) => Some(*rate),
                Self::Guild(_) | Self::Automatic => None,
            },
            place: match self {
                Self::Guild(place) => Some(*place),
                _ => None,
            },
            force: matches!(self, Self::Administrator(..)),
            automatic: matches!(self, Self::Automatic),
        }
    }
}

/// Input of `api.begin_worker_start`.
#[derive(Clone, Debug, Serialize)]
pub struct BeginWorkerStart {
    /// The agent.
    pub agent_id: AgentId,
    /// From which statuses it starts.
    pub transitions: Transitions,
    /// What is stored of the worker's token.
    pub token_hash: TokenHash,
    /// How long it may take to log in.
    pub start_seconds: u32,
    /// How often a bot may be started in 24 hours.
    pub starts_per_day: u32,
}

/// Output of `api.begin_worker_start`.
#[derive(Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum BegunStart {
    /// The worker is to be started now.
    Begun(Box<WorkerToStart>),
    /// There is nothing to do: it is starting, or runs.
    Unchanged {
        /// What it is seen doing.
        status: WorkerStatus,
        /// After how many minutes without a question it ends; 0 for never.
        inactivity_timeout_minutes: i32,
    },
}

/// A worker that is to be started. It is not for debug output.
#[derive(Deserialize)]
pub struct WorkerToStart {
    /// Whose it is.
    pub user_id: UserId,
    /// The bot.
    pub connection_id: Uuid,
    /// What it reports under.
    pub lease_id: Uuid,
    /// The bot's sealed token.
    pub bot_token_sealed: String,
    /// Who it speaks for.
    pub agent: WorkersAgent,
    /// After how many minutes without a question it ends; 0 for never.
    pub inactivity_timeout_minutes: i32,
    /// The guilds in which the agent may be used.
    pub guild_ids: Vec<String>,
}

/// An agent as its worker knows it.
#[derive(Clone, Debug, Deserialize)]
pub struct WorkersAgent {
    /// What it is called.
    pub name: String,
    /// What it always is told.
    pub system_instructions: Option<String>,
    /// What it is told beside that.
    pub assistant_instructions: Option<String>,
}

#[derive(Serialize)]
struct BeginWorkerStop<'a> {
    agent_id: AgentId,
    transitions: &'a Transitions,
    stop_seconds: u32,
}

/// Output of `api.begin_worker_stop`.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum BegunStop {
    /// The worker is to be stopped now.
    Begun(WorkerToStop),
    /// There is nothing to stop.
    Unchanged {
        /// What it is seen doing.
        status: WorkerStatus,
    },
}

/// A worker that is to be stopped.
#[derive(Clone, Debug, Deserialize)]
pub struct WorkerToStop {
    /// Whose it is.
    pub user_id: UserId,
    /// The bot.
    pub connection_id: Uuid,
    /// Under what it stops.
    pub lease_id: Uuid,
}

/// An input with the mandate that it is under.
#[derive(Serialize)]
struct Under<'a, T> {
    #[serde(flatten)]
    input: T,
    #[serde(flatten)]
    mandate: MandateInput<'a>,
}

/// How starting or stopping a worker ended. Nothing is written if the lease is another's by now.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SettleWorker<'a> {
    /// The bot.
    pub connection_id: Uuid,
    /// The lease under which it was begun.
    pub lease_id: Uuid,
    /// Why it failed, for programs; `None` if it did not.
    pub error_code: Option<&'a str>,
    /// The same for people.
    pub error_message: Option<&'a str>,
}

#[derive(Deserialize)]
struct Settled {
    status: WorkerStatus,
}

/// Input of `api.report_worker`.
#[derive(Clone, Debug, Serialize)]
pub struct ReportWorker<'a> {
    /// The proof.
    pub token_hash: &'a TokenHash,
    /// The lease that it was started under.
    pub lease_id: Uuid,
    /// What it says that it is doing.
    pub status: WorkerStatus,
    /// What each report makes of each status.
    pub transitions: &'a BTreeMap<WorkerStatus, Transitions>,
    /// Until when the next report must come.
    pub lease_seconds: u32,
    /// Why it failed, for programs.
    pub error_code: Option<&'a str>,
    /// The same for people.
    pub error_message: Option<&'a str>,
    /// What else it says of itself: an object.
    pub report: Option<&'a Value>,
    /// How often it may.
    #[serde(flatten)]
    pub rate: Rate,
}

/// Output of `api.report_worker`.
#[derive(Clone, Debug, Deserialize)]
pub struct ReportedWorker {
    /// What it is seen doing from now on.
    pub status: WorkerStatus,
    /// Whether it is to end.
    pub should_stop: bool,
    /// Until when the next report must come.
    pub lease_seconds: u32,
    /// After how many minutes without a question it ends; 0 for never.
    pub inactivity_timeout_minutes: i32,
    /// Where it may answer.
    pub guilds: Vec<WorkersGuild>,
}

/// A guild in which a worker may answer.
#[derive(Clone, Debug, Deserialize)]
pub struct WorkersGuild {
    /// Discord's id.
    pub guild_id: String,
    /// In which channels; `None` for all.
    pub allowed_channel_ids: Option<Vec<String>>,
}

#[derive(Serialize)]
struct OfAgent {
    agent_id: AgentId,
}

#[derive(Deserialize)]
struct ReadWorker {
    worker: Option<RecordedWorker>,
}

/// A worker as it is recorded.
#[derive(Clone, Debug, Deserialize)]
pub struct RecordedWorker {
    /// The bot.
    pub connection_id: Uuid,
    /// Whose it is.
    pub user_id: UserId,
    /// Under what its status holds.
    pub lease_id: Option<Uuid>,
    desired_status: DesiredStatus,
    /// What it is seen doing.
    pub worker_status: WorkerStatus,
    is_overdue: bool,
    has_token: bool,
    restarts: u32,
    /// Why it is in its status, if that is a failure.
    pub error_code: Option<String>,
    seconds_in_status: u64,
    seconds_left: u64,
}

impl From<&RecordedWorker> for KnownWorker {
    fn from(worker: &RecordedWorker) -> Self {
        Self {
            desired: worker.desired_status,
            status: worker.worker_status,
            is_overdue: worker.is_overdue,
            has_token: worker.has_token,
            restarts: worker.restarts,
            error_code: worker.error_code.clone(),
            seconds_in_status: worker.seconds_in_status,
            seconds_left: worker.seconds_left,
        }
    }
}

/// A change of a worker's status, if it still is as it was read.
#[derive(Clone, Debug, Serialize)]
pub struct WorkerChange<'a> {
    /// The bot.
    pub connection_id: Uuid,
    /// The status that it must have.
    pub from: WorkerStatus,
    /// The lease that it must have.
    pub lease_id: Option<Uuid>,
    /// The status that it gets.
    pub to: WorkerStatus,
    /// Why, for programs.
    pub error_code: Option<&'a str>,
    /// The same for people.
    pub error_message: Option<&'a str>,
}

#[derive(Serialize)]
struct AdvanceWorker<'a> {
    agent_id: AgentId,
    job: JobInput<'a>,
    change: Option<&'a WorkerChange<'a>>,
}

/// How a step was taken.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Advanced {
    /// Whether the lease of the job still was; if not, nothing was written.
    pub held: bool,
    /// Whether the worker was as the change needs it; if not, the change was not written.
    pub applied: bool,
}

#[derive(Deserialize, Serialize)]
struct Agents {
    agent_ids: Vec<AgentId>,
}

/// Begins a start: the bot's worker is activating from now on, under a lease and a token of its own.
///
/// # Errors
///
/// 404 `agent_not_found`; 400 `connection_missing`, `bot_token_missing`; 409 `agent_inactive`, `connection_disabled`, `worker_stopping`; 429
/// `rate_limited`, `start_limit_reached`; or if the database is unavailable.
pub async fn begin_worker_start(
    db: &Database,
    context: &RequestContext,
    mandate: &Mandate<'_>,
    input: &BeginWorkerStart,
) -> Result<BegunStart, OperationError> {
    let input = Under {
        input,
        mandate: mandate.input(),
    };
    db.call(context, "begin_worker_start", mandate.caller(), &input).await
}

/// Ends a start. Returns what the worker is seen doing: a report of its own may have come before.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn settle_worker_start(
    db: &Database,
    context: &RequestContext,
    input: &SettleWorker<'_>,
) -> Result<WorkerStatus, OperationError> {
    let settled: Settled = db.call(context, "settle_worker_start", &CALLER, input).await?;
    Ok(settled.status)
}

/// Begins a stop: the bot's worker is stopping from now on, and its token good for its last report alone.
///
/// # Errors
///
/// 404 `agent_not_found`; 400 `connection_missing`; 403 `admin_required`; 429 `rate_limited`; or if the database is unavailable.
pub async fn begin_worker_stop(
    db: &Database,
    context: &RequestContext,
    mandate: &Mandate<'_>,
    agent_id: AgentId,
    transitions: &Transitions,
    stop_seconds: u32,
) -> Result<BegunStop, OperationError> {
    let input = Under {
        input: BeginWorkerStop {
            agent_id,
            transitions,
            stop_seconds,
        },
        mandate: mandate.input(),
    };
    db.call(context, "begin_worker_stop", mandate.caller(), &input).await
}

/// Ends a stop. With an error the worker stays stopping, and its job goes on. Returns what it is seen doing.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn settle_worker_stop(
    db: &Database,
    context: &RequestContext,
    input: &SettleWorker<'_>,
) -> Result<WorkerStatus, OperationError> {
    let settled: Settled = db.call(context, "settle_worker_stop", &CALLER, input).await?;
    Ok(settled.status)
}

/// Records what a worker says of itself, and tells it what it may do.
///
/// # Errors
///
/// 401 `invalid_token`; 409 `lease_lost`, `status_refused`; 400 `invalid_field`; 429 `rate_limited`; or if the database is unavailable.
pub async fn report_worker(
    db: &Database,
    context: &RequestContext,
    input: &ReportWorker<'_>,
) -> Result<ReportedWorker, OperationError> {
    db.call(context, "report_worker", &CALLER, input).await
}

/// Reads what is recorded of an agent's worker.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn read_worker(
    db: &Database,
    context: &RequestContext,
    agent_id: AgentId,
) -> Result<Option<RecordedWorker>, OperationError> {
    let read: ReadWorker = db.call(context, "read_worker", &CALLER, &OfAgent { agent_id }).await?;
    Ok(read.worker)
}

/// Writes a step, and leaves the job or keeps it, at once.
///
/// # Errors
///
/// If the database is unavailable; whether it was written may be unknown then.
pub async fn advance_worker(
    db: &Database,
    context: &RequestContext,
    agent_id: AgentId,
    job: &Job,
    settlement: &Settlement,
    change: Option<&WorkerChange<'_>>,
) -> Result<Advanced, OperationError> {
    let input = AdvanceWorker {
        agent_id,
        job: JobInput::new(job, settlement),
        change,
    };
    db.call(context, "advance_worker", &CALLER, &input).await
}

/// Of the agents whose workers run somewhere, those whose workers should not.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn find_unwanted_workers(
    db: &Database,
    context: &RequestContext,
    agent_ids: Vec<AgentId>,
) -> Result<Vec<AgentId>, OperationError> {
    let found: Agents = db
        .call(context, "find_unwanted_workers", &CALLER, &Agents { agent_ids })
        .await?;
    Ok(found.agent_ids)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn input(mandate: Mandate<'_>) -> String {
        let input = Under {
            input: OfAgent {
                agent_id: AgentId(Uuid::from_u128(1)),
            },
            mandate: mandate.input(),
        };
        serde_json::to_string(&input).unwrap()
    }

    #[test]
    fn a_mandate_is_part_of_the_input() {
        let place = InGuild {
            guild_id: "1",
            application_id: "2",
            public_key: "ab",
            own_key: false,
        };
        let rate = Rate {
            per_minute: 3,
            burst: 4,
        };

        assert_snapshot!(input(Mandate::Owner(&CALLER, Some(rate))), @r#"{"agent_id":"00000000-0000-0000-0000-000000000001","per_minute":3,"burst":4}"#);
        assert_snapshot!(input(Mandate::Administrator(&CALLER, rate)), @r#"{"agent_id":"00000000-0000-0000-0000-000000000001","per_minute":3,"burst":4,"force":true}"#);
        assert_snapshot!(input(Mandate::Guild(place)), @r#"{"agent_id":"00000000-0000-0000-0000-000000000001","guild_id":"1","application_id":"2","public_key":"ab","own_key":false}"#);
        assert_snapshot!(input(Mandate::Automatic), @r#"{"agent_id":"00000000-0000-0000-0000-000000000001","automatic":true}"#);
    }
}
