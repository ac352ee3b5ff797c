//! What clients are sent: a superset of what each of them reads.

use agentopia_domain::chat::{FinishReason, Reply};
use agentopia_domain::ids::{AgentId, MessageId, TurnId};
use agentopia_platform::db::chat::StoredMessage;
use serde::Serialize;
use serde_json::Value;

use crate::turn::{Charged, Turn};

/// The answer to a turn. The database adds `agentMessageId` when it stores the agent's message.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReplyResponse<'a> {
    /// The reply's text, as later pages of the frontend read it.
    message: &'a str,
    /// The reply's text, as earlier pages and the Discord worker read it.
    reply: &'a str,
    agent_id: AgentId,
    agent_name: &'a str,
    agent: AgentSummary<'a>,
    turn_id: TurnId,
    user_message_id: MessageId,
    model: &'a str,
    finish_reason: FinishReason,
    /// Whether the reply is only the beginning of one.
    partial: bool,
    usage: UsageSummary,
}

#[derive(Serialize)]
struct AgentSummary<'a> {
    id: AgentId,
    name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UsageSummary {
    input_tokens: u32,
    output_tokens: u32,
    total_tokens: u32,
    /// Whether these are our estimate, because the provider did not say.
    estimated: bool,
}

/// The first event of a stream: the user's message is stored, and the agent is being asked.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartedEvent<'a> {
    turn_id: TurnId,
    user_message_id: MessageId,
    agent: AgentSummary<'a>,
}

/// The answer to a message that no agent answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SavedMessageResponse {
    success: bool,
    message: &'static str,
    user_message_id: MessageId,
}

impl<'a> From<&'a Turn> for StartedEvent<'a> {
    fn from(turn: &'a Turn) -> Self {
        let started = turn.started();
        Self {
            turn_id: started.turn_id,
            user_message_id: started.user_message.id,
            agent: AgentSummary {
                id: started.agent.id,
                name: &started.agent.name,
            },
        }
    }
}

/// The answer to a turn, as it is stored and sent.
pub(crate) fn reply_response(turn: &Turn, reply: &Reply, charged: Charged) -> Value {
    let started = turn.started();
    let response = ReplyResponse {
        message: &reply.text,
        reply: &reply.text,
        agent_id: started.agent.id,
        agent_name: &started.agent.name,
        agent: AgentSummary {
            id: started.agent.id,
            name: &started.agent.name,
        },
        turn_id: started.turn_id,
        user_message_id: started.user_message.id,
        model: turn.model(),
        finish_reason: reply.finish_reason,
        partial: reply.is_partial(),
        usage: UsageSummary {
            input_tokens: charged.usage.input_tokens,
            output_tokens: charged.usage.output_tokens,
            total_tokens: charged.usage.input_tokens.saturating_add(charged.usage.output_tokens),
            estimated: charged.estimated,
        },
    };
    serde_json::to_value(response).unwrap_or_default()
}

/// The answer to a message that was only stored.
pub(crate) fn saved_message(message: &StoredMessage) -> SavedMessageResponse {
    SavedMessageResponse {
        success: true,
        message: "Message saved.",
        user_message_id: message.id,
    }
}
