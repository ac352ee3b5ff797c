//! Operations of `discord-interaction-handler` (migrations/operations/discord_interactions.sql).

use agentopia_domain::ids::AgentId;
use serde::{Deserialize, Serialize};

use super::{Caller, Database, OperationError};
use crate::context::RequestContext;

/// Who calls these.
const CALLER: Caller = Caller::Service {
    name: "discord-interaction-handler",
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

/// Input of `api.list_guild_agents`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ListGuildAgents<'a> {
    /// The interaction that asks.
    pub interaction_id: &'a str,
    /// The application that it is for.
    pub application_id: &'a str,
    /// The key that verified it, in lower-case hexadecimal.
    pub public_key: &'a str,
    /// What it asks for, for whoever reads the table.
    pub kind: &'static str,
    /// The guild that it comes from.
    pub guild_id: &'a str,
    /// What the names begin with, in upper or lower case.
    pub name_prefix: &'a str,
    /// How many agents at most.
    pub limit: u32,
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
    pub worker_status: String,
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
/// If the database is unavailable.
pub async fn list_guild_agents(
    db: &Database,
    context: &RequestContext,
    input: &ListGuildAgents<'_>,
) -> Result<GuildAgents, OperationError> {
    db.call(context, "list_guild_agents", &CALLER, input).await
}
