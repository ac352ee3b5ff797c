//! `DELETE …/agents/{agentId}/connection`: forgets an agent's bot, and everywhere that it was used. Its worker is stopped by the next sweep.

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::discord_connections;
use agentopia_platform::extract::Path;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use http::StatusCode;

use crate::app::App;

pub(crate) async fn delete_connection(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
) -> Result<StatusCode, ApiError> {
    discord_connections::delete_discord_connection(&app.db, &context, &user.caller, agent_id).await?;

    Ok(StatusCode::NO_CONTENT)
}
