//! `DELETE …/agents/{agentId}/bot-token`: forgets a bot's token, and stops its worker.

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::discord_connections::DiscordState;
use agentopia_platform::extract::{Json, JsonWithin, Path};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use super::command_worker::{OfAgentRequest, REQUEST_MAX_BYTES};
use crate::app::App;
use crate::connect;
use crate::fields::agent_id;

pub(crate) async fn delete_bot_token(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
) -> Result<Json<DiscordState>, ApiError> {
    let state = connect::forget_token(&app, &context, &user, agent_id).await?;

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

    let state = connect::forget_token(&app, &context, &user, agent_id).await?;

    Ok(Json(state))
}
