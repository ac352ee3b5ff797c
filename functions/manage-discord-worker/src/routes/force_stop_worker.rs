//! `POST …/agents/{agentId}/force-stop`: an administrator stops anybody's worker.

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::discord_workers::Mandate;
use agentopia_platform::extract::{Json, JsonWithin, Path};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use super::command_worker::{CommandWorkerResponse, OfAgentRequest, REQUEST_MAX_BYTES, message};
use crate::app::App;
use crate::fields::agent_id;
use crate::worker;

pub(crate) async fn force_stop_worker(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
) -> Result<Json<CommandWorkerResponse>, ApiError> {
    stop(&app, &context, &user, agent_id).await.map(Json)
}

/// `POST /functions/v1/admin-force-stop-worker`: the same by the path of before.
pub(crate) async fn admin_force_stop_worker(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    JsonWithin(request): JsonWithin<OfAgentRequest, REQUEST_MAX_BYTES>,
) -> Result<Json<CommandWorkerResponse>, ApiError> {
    let agent_id = agent_id(request.agent_id.as_deref())?;

    stop(&app, &context, &user, agent_id).await.map(Json)
}

/// The answer is without the bot, which is its owner's alone to see.
async fn stop(
    app: &App,
    context: &RequestContext,
    user: &caller::User,
    agent_id: AgentId,
) -> Result<CommandWorkerResponse, ApiError> {
    let mandate = Mandate::Administrator(&user.caller, app.change);
    let stopped = worker::stop(app, context, agent_id, mandate).await?;
    Ok(CommandWorkerResponse {
        message: message("stop", stopped.is_begun, stopped.status),
        status: stopped.status,
        connection: None,
        details: stopped.details,
        degraded: None,
    })
}
