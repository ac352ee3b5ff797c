//! Operations of `chat` (migrations/operations/chat.sql).

use agentopia_domain::ids::{AgentId, ChannelId, LeaseId, MessageId, TurnId, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Caller, Database, OperationError};
use crate::context::RequestContext;

/// How often a caller may start something.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CallerLimits {
    /// Turns per minute of a user.
    pub user_per_minute: u32,
    /// Turns of a user at once.
    pub user_burst: u32,
    /// Turns per minute of an agent.
    pub agent_per_minute: u32,
    /// Turns of an agent at once.
    pub agent_burst: u32,
}

/// The name under which a client repeats a request without repeating its effect.
#[derive(Clone, Debug, Serialize)]
pub struct Idempotency {
    /// What the client called it.
    #[serde(rename = "idempotency_key")]
    pub key: Option<String>,
    /// SHA-256 of what was asked, in hexadecimal.
    pub request_hash: Option<String>,
    /// How long the request may take before another may take over.
    pub lease_seconds: u64,
}

/// A conversation outside of Agentopia.
#[derive(Clone, Debug, Serialize)]
pub struct OutsideConversation {
    /// Which service: `discord`.
    pub provider: &'static str,
    /// The channel's id there.
    pub external_channel_id: String,
    /// The guild's id there.
    pub external_guild_id: Option<String>,
    /// Who speaks, by their id there.
    pub external_author_id: Option<String>,
}

/// Input of `api.begin_turn`.
#[derive(Clone, Debug, Serialize)]
pub struct BeginTurn<'a> {
    /// The agent that is to answer.
    pub agent_id: AgentId,
    /// The channel, if the turn takes place in one.
    pub channel_id: Option<ChannelId>,
    /// The workspace, if the client names one.
    pub workspace_id: Option<WorkspaceId>,
    /// The outside conversation, if the turn takes place in one.
    pub outside: Option<OutsideConversation>,
    /// What is said.
    pub message: &'a str,
    /// The most history messages to return.
    pub history_limit: u32,
    /// How often this may be done.
    #[serde(flatten)]
    pub limits: CallerLimits,
    /// Under which name it is done.
    #[serde(flatten)]
    pub idempotency: Idempotency,
}

/// Output of `api.begin_turn`.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum BegunTurn {
    /// The same request was answered before.
    Replayed {
        /// That answer.
        response: Value,
    },
    /// The user's message is stored, and this request holds the turn.
    Started(Box<StartedTurn>),
}

/// A turn that this request holds.
#[derive(Debug, Deserialize)]
pub struct StartedTurn {
    /// The turn.
    pub turn_id: TurnId,
    /// The right to finish it.
    pub lease_id: LeaseId,
    /// The user's message as it was stored.
    pub user_message: StoredMessage,
    /// Where it takes place.
    pub conversation: ConversationRow,
    /// The agent that is to answer.
    pub agent: AgentRow,
    /// The workspace, if there is one.
    pub workspace: Option<WorkspaceRow>,
    /// What was said before, from old to new.
    pub history: Vec<HistoryRow>,
    /// The caller's display name.
    pub author_name: Option<String>,
    /// What is left of the caller's limit.
    pub rate_limit: RateLimit,
}

/// A message that is in the database.
#[derive(Clone, Debug, Deserialize)]
pub struct StoredMessage {
    /// Its id.
    pub id: MessageId,
    /// When it was stored, ISO 8601.
    pub created_at: String,
}

/// Where a turn takes place.
#[derive(Clone, Debug, Deserialize)]
pub struct ConversationRow {
    /// What kind of place.
    pub kind: ConversationKind,
}

/// What kind of place a conversation is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum ConversationKind {
    /// A channel of a workspace.
    Channel,
    /// One user and one agent.
    Direct,
    /// A channel of another service.
    Outside,
}

/// An agent as its owner set it up.
#[derive(Clone, Debug, Deserialize)]
pub struct AgentRow {
    /// Its id.
    pub id: AgentId,
    /// Its display name.
    pub name: String,
    /// What it is told first.
    pub system_instructions: Option<String>,
    /// How it should answer.
    pub assistant_instructions: Option<String>,
    /// Its manner.
    pub personality: Option<String>,
    /// The model; the default setting if absent.
    pub model: Option<String>,
    /// The sampling temperature, 0 to 2; the provider's default if absent.
    pub temperature: Option<f64>,
    /// The most tokens of an answer; the default setting if absent.
    pub max_output_tokens: Option<u32>,
}

/// A workspace.
#[derive(Clone, Debug, Deserialize)]
pub struct WorkspaceRow {
    /// Its display name.
    pub name: String,
    /// Tokens of prompt and answer together.
    pub context_window_token_limit: u32,
    /// Who is in it.
    pub members: Vec<MemberRow>,
}

/// A member of a workspace.
#[derive(Clone, Debug, Deserialize)]
pub struct MemberRow {
    /// `user`, `agent` or `team`.
    pub kind: MemberKindRow,
    /// The display name.
    pub name: Option<String>,
    /// The role.
    pub role: String,
}

/// What kind of member.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberKindRow {
    /// A person.
    User,
    /// An agent.
    Agent,
    /// A team.
    Team,
}

/// A message that was said before.
#[derive(Clone, Debug, Deserialize)]
pub struct HistoryRow {
    /// Who said it: what kind.
    pub sender_kind: SenderKind,
    /// Who said it: the user's or agent's UUID, if it still exists, or the id that another service gives to a person.
    pub sender_id: Option<String>,
    /// Who said it: the display name.
    pub sender_name: Option<String>,
    /// What was said.
    pub content: String,
}

/// What kind of sender.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum SenderKind {
    /// A person who signed up.
    User,
    /// An agent.
    Agent,
    /// A person elsewhere.
    Outside,
    /// The platform.
    System,
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct RateLimit {
    /// Requests per minute.
    pub limit: u32,
    /// How many may follow at once.
    pub remaining: u32,
    /// When all may follow at once again.
    pub reset_seconds: f64,
}

/// What a turn cost.
#[derive(Clone, Debug, Serialize)]
pub struct TurnCost<'a> {
    /// The model.
    pub model: &'a str,
    /// Who serves it.
    pub provider: &'static str,
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
    /// How long it took.
    pub milliseconds: u64,
}

/// Input of `api.complete_turn`.
#[derive(Clone, Debug, Serialize)]
pub struct CompleteTurn<'a> {
    /// The turn.
    pub turn_id: TurnId,
    /// The right to finish it.
    pub lease_id: LeaseId,
    /// What the agent said.
    pub content: &'a str,
    /// Whether that is only the beginning of an answer.
    pub is_partial: bool,
    /// What is stored with the message.
    pub metadata: Value,
    /// What it cost.
    #[serde(flatten)]
    pub cost: TurnCost<'a>,
    /// The answer to the client, to be given again to the same request.
    pub response: Value,
}

/// Output of `api.complete_turn`.
#[derive(Debug, Deserialize)]
pub struct CompletedTurn {
    /// The answer to the client, with the id of the agent's message.
    pub response: Value,
}

/// Input of `api.fail_turn`.
#[derive(Clone, Debug, Serialize)]
pub struct FailTurn<'a> {
    /// The turn.
    pub turn_id: TurnId,
    /// The right to finish it.
    pub lease_id: LeaseId,
    /// Why it failed.
    pub error_code: &'a str,
    /// What it cost.
    #[serde(flatten)]
    pub cost: TurnCost<'a>,
}

/// Input of `api.post_message`.
#[derive(Clone, Debug, Serialize)]
pub struct PostMessage<'a> {
    /// The channel.
    pub channel_id: ChannelId,
    /// The workspace, if the client names one.
    pub workspace_id: Option<WorkspaceId>,
    /// What is said.
    pub message: &'a str,
    /// Messages per minute of a user.
    pub user_per_minute: u32,
    /// Messages of a user at once.
    pub user_burst: u32,
    /// Under which name it is done.
    #[serde(flatten)]
    pub idempotency: Idempotency,
}

/// Output of `api.post_message`.
#[derive(Debug, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum PostedMessage {
    /// It is stored.
    Stored {
        /// The message.
        message: StoredMessage,
        /// What is left of the caller's limit.
        rate_limit: RateLimit,
    },
    /// The same request stored it before.
    Replayed {
        /// The message.
        message: StoredMessage,
    },
}

/// Admits a turn, stores the user's message, and returns what the model is to be shown.
///
/// # Errors
///
/// 404 `agent_not_found`, `channel_not_found`, `workspace_not_found`; 409 `agent_inactive`, `turn_in_progress`; 422
/// `idempotency_key_reused`; 429 `rate_limited`.
pub async fn begin_turn(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &BeginTurn<'_>,
) -> Result<BegunTurn, OperationError> {
    db.call(context, "begin_turn", caller, input).await
}

/// Stores the agent's message, the cost, and the answer to give to the same request again. Repeating it is harmless.
///
/// # Errors
///
/// 409 `turn_superseded` if another request has taken the turn over; 404 `conversation_gone`.
pub async fn complete_turn(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &CompleteTurn<'_>,
) -> Result<CompletedTurn, OperationError> {
    db.call(context, "complete_turn", caller, input).await
}

/// Gives the turn up, so that the same request can be tried again.
///
/// # Errors
///
/// As [`complete_turn`].
pub async fn fail_turn(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &FailTurn<'_>,
) -> Result<(), OperationError> {
    let _nothing: Value = db.call(context, "fail_turn", caller, input).await?;
    Ok(())
}

/// Stores a message to which no agent answers.
///
/// # Errors
///
/// 404 `channel_not_found`; 409 `turn_in_progress`; 422 `idempotency_key_reused`; 429 `rate_limited`.
pub async fn post_message(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &PostMessage<'_>,
) -> Result<PostedMessage, OperationError> {
    db.call(context, "post_message", caller, input).await
}
