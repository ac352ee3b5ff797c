//! Operations of `discord-interaction-handler` (migrations/operations/discord_interactions.sql).

use std::time::Duration;

use agentopia_domain::discord::worker::WorkerStatus;
use agentopia_domain::ids::{AgentId, UserId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::jobs::{Held, Job, JobInput, Settlement};
use super::{Caller, Database, OperationError, Rate};
use crate::context::RequestContext;

/// Who calls these.
const CALLER: Caller = Caller::Service {
    name: "discord-interaction-handler",
};

/// Requests that Discord may refuse in a window until it is left alone for a while. It bans an address after 10,000 in ten minutes
/// (<https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans>), and others may call from ours.
const INVALID_REQUESTS: NoteInvalidRequest = NoteInvalidRequest {
    limit: 2_000,
    window_seconds: 600,
    pause_seconds: 600,
    user_id: None,
};

#[derive(Serialize)]
struct FindInteractionKeys<'a> {
    application_id: Option<&'a str>,
    limit: usize,
}

#[derive(Deserialize)]
struct InteractionKeys {
    keys: Vec<String>,
}

/// An interaction as it was proven.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Proven<'a> {
    /// Its id.
    pub interaction_id: &'a str,
    /// The application that it is for.
    pub application_id: &'a str,
    /// The key that verified it, in lower-case hexadecimal.
    pub public_key: &'a str,
    /// Whether that is the key of the deployment's own application.
    pub own_key: bool,
}

/// Input of `api.list_guild_agents`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ListGuildAgents<'a> {
    /// The interaction that asks.
    #[serde(flatten)]
    pub proven: Proven<'a>,
    /// What it asks for, for whoever reads the table.
    pub kind: &'static str,
    /// The guild that it comes from.
    pub guild_id: &'a str,
    /// What the names begin with, in upper or lower case.
    pub name_prefix: &'a str,
    /// How many agents at most.
    pub limit: u32,
    /// How often whoever asks may.
    #[serde(flatten)]
    pub rate: Rate,
}

/// Output of `api.list_guild_agents`.
#[derive(Clone, Debug, Deserialize)]
pub struct GuildAgents {
    /// Agents by name, as many as were asked for at most.
    pub agents: Vec<GuildAgent>,
    /// How many there are.
    pub total: u64,
}

/// An agent that is connected to a guild.
#[derive(Clone, Debug, Deserialize)]
pub struct GuildAgent {
    /// Its id.
    pub id: AgentId,
    /// Its name, as its owner wrote it.
    pub name: String,
    /// How the worker of its bot is seen doing.
    pub worker_status: WorkerStatus,
}

/// What an interaction wants that takes longer than Discord waits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrandKind {
    /// An agent is asked something.
    Ask,
    /// An agent is asked about a message.
    AskAbout,
    /// An agent's worker is to be started.
    Activate,
    /// An agent's worker is to be stopped.
    Deactivate,
}

/// Input of `api.begin_interaction`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct BeginInteraction<'a> {
    /// The interaction.
    #[serde(flatten)]
    pub proven: Proven<'a>,
    /// What it wants.
    pub kind: ErrandKind,
    /// The guild that it comes from.
    pub guild_id: &'a str,
    /// The channel that it comes from.
    pub channel_id: &'a str,
    /// Who asks, by their id at Discord.
    pub author_id: &'a str,
    /// What they are called.
    pub author_name: &'a str,
    /// The agent, by its id or else by its name; `None` for the one whose bot this is, or the only one.
    pub agent: Option<&'a str>,
    /// What is said to it.
    pub message: Option<&'a str>,
    /// Whether only who asks sees the answer.
    pub is_ephemeral: bool,
    /// The interaction's token, sealed.
    pub token_sealed: &'a str,
    /// How long the token lives.
    pub expires_seconds: u64,
    /// How long this request has for it, before a sweep takes over.
    pub lease_seconds: u64,
    /// How often whoever asks may.
    #[serde(flatten)]
    pub rate: Rate,
}

/// Output of `api.begin_interaction`.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum BegunInteraction {
    /// It is this request's to answer.
    Begun {
        /// The interaction.
        interaction: Box<OpenInteraction>,
        /// The right to answer it.
        job: Job,
        /// For how long Discord must not be called, if so.
        discord_pause_seconds: Option<f64>,
    },
    /// It is not answered but with the reason, however often it asks.
    Refused {
        /// Why.
        reason: Refusal,
        /// The agent's name, if it is known which is meant.
        agent_name: Option<String>,
    },
    /// It is being answered, or was.
    Repeated,
}

/// Why an interaction is not answered.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// No agent is meant.
    AgentUnknown,
    /// Several may be.
    AgentAmbiguous,
    /// The agent is not to be used in this guild.
    AgentNotEnabled,
    /// The agent is not to be used in this channel.
    ChannelNotAllowed,
    /// The agent is switched off.
    AgentInactive,
}

/// An interaction that is to be answered.
#[derive(Clone, Debug, Deserialize)]
pub struct OpenInteraction {
    /// Our id of it, which is the key of its job.
    pub id: Uuid,
    /// Discord's id of it.
    pub interaction_id: String,
    /// The application that it is for.
    pub application_id: String,
    /// The key that verified it.
    pub public_key: String,
    /// Whether that is the key of the deployment's own application.
    pub own_key: bool,
    /// What it wants.
    pub kind: ErrandKind,
    /// The agent's owner.
    pub user_id: UserId,
    /// The agent.
    pub agent_id: AgentId,
    /// What the agent is called, as its owner wrote it.
    pub agent_name: String,
    /// Where it was asked.
    pub guild_id: String,
    /// Where in the guild.
    pub channel_id: String,
    /// Who asked, by their id at Discord.
    pub author_id: String,
    /// What they are called.
    pub author_name: String,
    /// What was said.
    pub message: Option<String>,
    /// Whether only who asked sees the answer.
    pub is_ephemeral: bool,
    /// The token by which it is answered, sealed.
    pub token_sealed: String,
    /// How long ago it came, in seconds, as of this reading.
    pub seconds_old: f64,
    /// How long the token lives, in seconds, as of this reading; 0 or less when it is over.
    pub seconds_left: f64,
    /// What it is answered with, if that is known.
    pub answer: Option<Answer>,
    /// How many parts of the answer were about to be sent.
    pub parts_begun: u32,
    /// How many Discord has taken.
    pub parts_sent: u32,
    /// Whether something may be visible of which Discord said nothing.
    pub is_doubtful: bool,
    /// The bot of the application, if the agent's owner has stored its token.
    pub bot: Option<SealedBot>,
}

/// A bot's token as it is stored.
#[derive(Clone, Debug, Deserialize)]
pub struct SealedBot {
    /// The agent whose bot it is.
    pub agent_id: AgentId,
    /// The token, sealed.
    pub token_sealed: String,
}

/// What an interaction is answered with.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Answer {
    /// The text.
    pub text: String,
    /// Whether it says that there is no answer.
    pub is_apology: bool,
}

#[derive(Serialize)]
struct ReadInteraction {
    id: Uuid,
}

#[derive(Deserialize)]
struct ReadInteractionOutput {
    interaction: Option<OpenInteraction>,
}

/// The lease under which an interaction is written.
#[derive(Serialize)]
struct JobLease {
    job_id: Uuid,
    lease_id: Uuid,
}

impl From<&Job> for JobLease {
    fn from(job: &Job) -> Self {
        Self {
            job_id: job.job_id,
            lease_id: job.lease_id,
        }
    }
}

#[derive(Serialize)]
struct WriteInteractionAnswer<'a> {
    id: Uuid,
    job: JobLease,
    text: &'a str,
    is_apology: bool,
    lease_seconds: u64,
}

#[derive(Deserialize)]
struct WrittenAnswer {
    held: bool,
    answer: Option<Answer>,
}

/// How far the answer has come. Parts count from 1, which is the response to the interaction; those after it are messages of their own.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Progress {
    /// How many were about to be sent.
    pub parts_begun: u32,
    /// How many Discord has taken.
    pub parts_sent: u32,
    /// Whether something may be visible of which Discord said nothing.
    pub is_doubtful: bool,
}

#[derive(Serialize)]
struct NoteInteractionParts {
    id: Uuid,
    job: JobLease,
    #[serde(flatten)]
    progress: Progress,
    lease_seconds: u64,
}

/// What became of an interaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InteractionOutcome {
    /// The answer is there.
    Answered,
    /// It was said that there is none.
    Apologised,
    /// The token had ended before.
    Expired,
    /// Discord does not know the interaction any more.
    Gone,
}

impl InteractionOutcome {
    /// The outcome as it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Apologised => "apologised",
            Self::Expired => "expired",
            Self::Gone => "gone",
        }
    }
}

#[derive(Serialize)]
struct SettleInteraction<'a> {
    id: Uuid,
    job: JobInput<'a>,
    outcome: Option<&'static str>,
    is_doubtful: bool,
}

#[derive(Serialize)]
struct NoteInvalidRequest {
    limit: u32,
    window_seconds: u32,
    pause_seconds: u32,
    user_id: Option<UserId>,
}

#[derive(Deserialize)]
struct NotedInvalidRequest {
    pause_seconds: Option<f64>,
}

impl OpenInteraction {
    /// How long the token lives, as of the reading.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds_left).unwrap_or_default()
    }

    /// How long the token has been over, as of this reading; zero while it lives.
    #[must_use]
    pub fn time_over(&self) -> Duration {
        Duration::try_from_secs_f64(-self.seconds_left).unwrap_or_default()
    }

    /// How long ago it came, as of this reading.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::try_from_secs_f64(self.seconds_old).unwrap_or_default()
    }
}

/// The distinct keys, in lower-case hexadecimal, under which an application's interactions may be signed. Without an application there are none, and it is the
/// same statement.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn find_interaction_keys(
    db: &Database,
    context: &RequestContext,
    application_id: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, OperationError> {
    let input = FindInteractionKeys { application_id, limit };
    let found: InteractionKeys = db.call(context, "find_interaction_keys", &CALLER, &input).await?;
    Ok(found.keys)
}

/// The agents that are connected to a guild by an application and a key; for an interaction that asks again, what it was told first.
///
/// # Errors
///
/// 429 `rate_limited`; or if the database is unavailable.
pub async fn list_guild_agents(
    db: &Database,
    context: &RequestContext,
    input: &ListGuildAgents<'_>,
) -> Result<GuildAgents, OperationError> {
    db.call(context, "list_guild_agents", &CALLER, input).await
}

/// Opens an interaction that is answered later, and takes its job.
///
/// # Errors
///
/// 429 `rate_limited`; or if the database is unavailable.
pub async fn begin_interaction(
    db: &Database,
    context: &RequestContext,
    input: &BeginInteraction<'_>,
) -> Result<BegunInteraction, OperationError> {
    db.call(context, "begin_interaction", &CALLER, input).await
}

/// An interaction by our id; `None` if it is finished or gone.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn read_interaction(
    db: &Database,
    context: &RequestContext,
    id: Uuid,
) -> Result<Option<OpenInteraction>, OperationError> {
    let read: ReadInteractionOutput = db
        .call(context, "read_interaction", &CALLER, &ReadInteraction { id })
        .await?;
    Ok(read.interaction)
}

/// Writes what an interaction is answered with, and keeps the lease for this long. Returns what was written first, which counts; `None` if the lease was lost.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn write_interaction_answer(
    db: &Database,
    context: &RequestContext,
    id: Uuid,
    job: &Job,
    answer: &Answer,
    lease: Duration,
) -> Result<Option<Answer>, OperationError> {
    let input = WriteInteractionAnswer {
        id,
        job: job.into(),
        text: &answer.text,
        is_apology: answer.is_apology,
        lease_seconds: lease.as_secs(),
    };
    let written: WrittenAnswer = db.call(context, "write_interaction_answer", &CALLER, &input).await?;
    Ok(written.answer.filter(|_| written.held))
}

/// Writes how far an answer has come, and keeps the lease for this long.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn note_interaction_parts(
    db: &Database,
    context: &RequestContext,
    id: Uuid,
    job: &Job,
    progress: Progress,
    lease: Duration,
) -> Result<Held, OperationError> {
    let input = NoteInteractionParts {
        id,
        job: job.into(),
        progress,
        lease_seconds: lease.as_secs(),
    };
    db.call(context, "note_interaction_parts", &CALLER, &input).await
}

/// Leaves an interaction's job. With an outcome it is finished, and what was said and the token are forgotten.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn settle_interaction(
    db: &Database,
    context: &RequestContext,
    id: Uuid,
    job: &Job,
    settlement: &Settlement,
    outcome: Option<InteractionOutcome>,
    is_doubtful: bool,
) -> Result<Held, OperationError> {
    let input = SettleInteraction {
        id,
        job: JobInput::new(job, settlement),
        outcome: outcome.map(InteractionOutcome::as_str),
        is_doubtful,
    };
    db.call(context, "settle_interaction", &CALLER, &input).await
}

/// Counts a request that Discord has refused, over all functions, and against the user for whom it was sent, if there is one. Returns for how long
/// Discord is not to be called, if there were too many.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn note_invalid_request(
    db: &Database,
    context: &RequestContext,
    user_id: Option<UserId>,
) -> Result<Option<Duration>, OperationError> {
    let input = NoteInvalidRequest {
        user_id,
        ..INVALID_REQUESTS
    };
    let noted: NotedInvalidRequest = db.call(context, "note_invalid_request", &CALLER, &input).await?;
    Ok(noted
        .pause_seconds
        .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default()))
}
