//! Operations of `chat` (migrations/operations/chat.sql).

use agentopia_domain::ids::{AgentId, ChannelId, LeaseId, MessageId, TurnId, UserId, WorkspaceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Caller, Database, OperationError};
use crate::bearer::TokenHash;
use crate::context::RequestContext;

/// Who begins turns that no user begins.
const CALLER: Caller = Caller::Service { name: "chat" };

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
    /// What they are called there.
    pub author_name: Option<String>,
}

/// What verified the interaction that brings a message.
#[derive(Clone, Debug, Serialize)]
pub struct InteractionProof<'a> {
    /// The application that was asked, by its id at Discord.
    pub application_id: String,
    /// The key that the interaction was signed with, in lower-case hexadecimal.
    pub public_key: &'a str,
    /// Whether that is the deployment's own key, rather than a connection's.
    pub own_key: bool,
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

/// Input of `api.begin_worker_turn`.
#[derive(Serialize)]
struct BeginWorkerTurn<'a> {
    token_hash: &'a TokenHash,
    #[serde(flatten)]
    turn: &'a BeginTurn<'a>,
}

/// Input of `api.begin_interaction_turn`.
#[derive(Serialize)]
struct BeginInteractionTurn<'a> {
    #[serde(flatten)]
    proof: &'a InteractionProof<'a>,
    #[serde(flatten)]
    turn: &'a BeginTurn<'a>,
}

/// Output of the operations that begin a turn for somebody who is no user.
#[derive(Deserialize)]
struct OwnersTurn {
    owner_id: UserId,
    #[serde(flatten)]
    begun: BegunTurn,
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

/// Admits a turn that a Discord worker brings, as [`begin_turn`] does, in an outside conversation of its agent's. The caller who finishes the turn is the
/// agent's owner, as the operation names them.
///
/// # Errors
///
/// As [`begin_turn`]; 401 `invalid_token` if no worker that may speak has the token, 404 `agent_not_found` if it is another agent's, 403 `not_allowed_here`
/// where the owner does not allow the agent.
pub async fn begin_worker_turn(
    db: &Database,
    context: &RequestContext,
    token_hash: &TokenHash,
    turn: &BeginTurn<'_>,
) -> Result<(BegunTurn, Caller), OperationError> {
    let input = BeginWorkerTurn { token_hash, turn };
    owners_turn(db, context, "begin_worker_turn", &input).await
}

/// Admits a turn that a verified interaction brings, as [`begin_worker_turn`] does.
///
/// # Errors
///
/// As [`begin_turn`]; 403 `not_allowed_here` where the owner does not allow the agent, to this application and under this key.
pub async fn begin_interaction_turn(
    db: &Database,
    context: &RequestContext,
    proof: &InteractionProof<'_>,
    turn: &BeginTurn<'_>,
) -> Result<(BegunTurn, Caller), OperationError> {
    let input = BeginInteractionTurn { proof, turn };
    owners_turn(db, context, "begin_interaction_turn", &input).await
}

async fn owners_turn(
    db: &Database,
    context: &RequestContext,
    operation: &'static str,
    input: &impl Serialize,
) -> Result<(BegunTurn, Caller), OperationError> {
    let OwnersTurn { owner_id, begun } = db.call(context, operation, &CALLER, input).await?;
    context.set_tenant(owner_id);
    Ok((begun, Caller::owner_named_by_operation(owner_id)))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    fn turn() -> BeginTurn<'static> {
        BeginTurn {
            agent_id: ID.parse().unwrap(),
            channel_id: None,
            workspace_id: None,
            outside: Some(OutsideConversation {
                provider: "discord",
                external_channel_id: "123456789012345678".to_owned(),
                external_guild_id: Some("223456789012345678".to_owned()),
                external_author_id: Some("323456789012345678".to_owned()),
                author_name: Some("Ada".to_owned()),
            }),
            message: "hi",
            history_limit: 200,
            limits: CallerLimits {
                user_per_minute: 30,
                user_burst: 10,
                agent_per_minute: 60,
                agent_burst: 20,
            },
            idempotency: Idempotency {
                key: None,
                request_hash: None,
                lease_seconds: 90,
            },
        }
    }

    #[test]
    fn a_turn_that_no_user_begins_says_beside_what_proves_it() {
        let turn = turn();
        let token_hash = TokenHash::of("agt_wk_");
        let proof = InteractionProof {
            application_id: "1001".to_owned(),
            public_key: "ab",
            own_key: true,
        };
        let with = |fields: Value| {
            let mut input = serde_json::to_value(&turn).unwrap();
            let all = input.as_object_mut().unwrap();
            all.extend(fields.as_object().unwrap().clone());
            input
        };

        let worker = BeginWorkerTurn {
            token_hash: &token_hash,
            turn: &turn,
        };
        let interaction = BeginInteractionTurn {
            proof: &proof,
            turn: &turn,
        };

        assert_eq!(
            serde_json::to_value(&worker).unwrap(),
            with(json!({ "token_hash": token_hash }))
        );
        assert_eq!(
            serde_json::to_value(&interaction).unwrap(),
            with(json!({ "application_id": "1001", "public_key": "ab", "own_key": true }))
        );
    }

    #[test]
    fn the_owner_is_read_from_beside_either_outcome() {
        let replayed = json!({ "outcome": "replayed", "owner_id": ID, "response": { "reply": "hello" } });
        let started = json!({
            "outcome": "started", "owner_id": ID, "turn_id": ID, "lease_id": ID,
            "user_message": { "id": ID, "created_at": "2026-01-01T00:00:00Z" },
            "conversation": { "kind": "outside", "id": ID },
            "agent": { "id": ID, "name": "Atlas", "temperature": 0.5, "max_output_tokens": 100 },
            "workspace": null,
            "history": [{ "sender_kind": "outside", "sender_id": "323456789012345678", "content": "hi" }],
            "author_name": null,
            "rate_limit": { "limit": 30, "remaining": 29, "reset_seconds": 2.0 },
        });

        let replayed: OwnersTurn = serde_json::from_str(&replayed.to_string()).unwrap();
        let started: OwnersTurn = serde_json::from_str(&started.to_string()).unwrap();

        assert_eq!(replayed.owner_id.to_string(), ID);
        assert!(matches!(replayed.begun, BegunTurn::Replayed { response } if response["reply"] == "hello"));
        let BegunTurn::Started(turn) = started.begun else {
            panic!("not a turn")
        };
        assert_eq!(
            (turn.agent.max_output_tokens, turn.rate_limit.remaining),
            (Some(100), 29)
        );
    }
}
