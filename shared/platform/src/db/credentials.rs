//! Operations of `get-agent-tool-credentials` (migrations/operations/credentials.sql).

use agentopia_domain::ids::{AgentId, CredentialId, ToolInstanceId, ToolbeltItemId, ToolboxId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Caller, Database, OperationError};
use crate::bearer::TokenHash;
use crate::context::RequestContext;

/// Who asks.
const SERVICE: Caller = Caller::Service {
    name: "get-agent-tool-credentials",
};

/// Input of `api.release_credentials`.
#[derive(Clone, Debug, Serialize)]
pub struct ReleaseCredentials<'a> {
    /// The proof of the toolbox.
    pub token_hash: &'a TokenHash,
    /// The agent that uses the tool.
    pub agent_id: AgentId,
    /// The tool, as it is deployed on the toolbox.
    pub instance_id: ToolInstanceId,
    /// What the agent is about to do with it, if that is said.
    pub capability: Option<&'a str>,
    /// How often this may be done.
    #[serde(flatten)]
    pub limit: ToolboxLimit,
}

/// How often a toolbox may ask.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ToolboxLimit {
    /// Requests per minute.
    pub per_minute: u32,
    /// Requests at once.
    pub burst: u32,
}

/// Output of `api.release_credentials`: whose secrets these are, and for which variables.
#[derive(Debug, Deserialize)]
pub struct ReleasedCredentials {
    /// The toolbox that asks.
    pub toolbox_id: ToolboxId,
    /// Who owns the toolbox, the agent and the tool.
    pub user_id: UserId,
    /// The agent.
    pub agent_id: AgentId,
    /// The tool in the agent's toolbelt.
    pub item_id: ToolbeltItemId,
    /// What the tool asks for, in the catalog's order.
    pub secrets: Vec<ReleasedSecret>,
}

/// A variable that a tool asks for.
#[derive(Debug, Deserialize)]
pub struct ReleasedSecret {
    /// The environment variable's name.
    pub name: String,
    /// Whether the tool works without it.
    pub is_optional: bool,
    /// The credential for it; there is always one unless it is optional.
    pub credential: Option<SealedCredential>,
}

/// A credential as it is stored.
#[derive(Debug, Deserialize)]
pub struct SealedCredential {
    /// Its id.
    pub id: CredentialId,
    /// The sealed secret.
    pub sealed: String,
}

/// Input of `api.log_credentials_not_opened`.
#[derive(Clone, Debug, Serialize)]
pub struct CredentialsNotOpened<'a> {
    /// The toolbox that asked.
    pub toolbox_id: ToolboxId,
    /// Who owns it.
    pub user_id: UserId,
    /// The agent.
    pub agent_id: AgentId,
    /// The tool in the agent's toolbelt.
    pub item_id: ToolbeltItemId,
    /// What the agent was about to do.
    pub capability: Option<&'a str>,
    /// What was not handed out.
    pub credentials: &'a [CredentialId],
}

/// Takes from the toolbox's limit, checks that this agent's use of this tool on this toolbox is allowed now, and hands out what the tool asks
/// for, which is in the audit log from then on.
///
/// # Errors
///
/// 401 `invalid_token`; 429 `rate_limited`; 404 `tool_not_available`; 403 `capability_denied`, `capability_requires_approval`; 409
/// `credential_missing`.
pub async fn release_credentials(
    db: &Database,
    context: &RequestContext,
    input: &ReleaseCredentials<'_>,
) -> Result<ReleasedCredentials, OperationError> {
    db.call(context, "release_credentials", &SERVICE, input).await
}

/// Writes into the audit log which of the credentials that were released were not handed out.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn log_credentials_not_opened(
    db: &Database,
    context: &RequestContext,
    input: &CredentialsNotOpened<'_>,
) -> Result<(), OperationError> {
    let _nothing: Value = db.call(context, "log_credentials_not_opened", &SERVICE, input).await?;
    Ok(())
}
