//! `DELETE …/agents/{agentId}/bot-token`: forgets a bot's token. Its worker is stopped by the next sweep.

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::discord_connections::{self, DiscordState};
use agentopia_platform::extract::{Json, JsonWithin, Path};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use super::command_worker::{OfAgentRequest, REQUEST_MAX_BYTES};
use crate::app::App;
use crate::fields::agent_id;

pub(crate) async fn delete_bot_token(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
) -> Result<Json<DiscordState>, ApiError> {
    let state = discord_connections::clear_bot_token(&app.db, &context, &user.caller, agent_id).await?;

    Ok(Json(state))
}

/// `POST /functions/v1/discord-disconnect`: the same by a path of before.
pub(crate) async fn discord_disconnect(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    JsonWithin(request): JsonWithin<OfAgentRequest, REQUEST_MAX_BYTES>,
) -> Result<Json<DiscordState>, ApiError> {
    let agent_id = agent_id(request.agent_id.as_deref())?;

    let state = discord_connections::clear_bot_token(&app.db, &context, &user.caller, agent_id).await?;

    Ok(Json(state))
}
