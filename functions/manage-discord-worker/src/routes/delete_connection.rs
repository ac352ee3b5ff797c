//! `DELETE …/agents/{agentId}/connection`: forgets an agent's bot and everywhere that it was used, and stops its worker.

use agentopia_domain::ids::AgentId;
use agentopia_platform::extract::Path;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use http::StatusCode;

use crate::app::App;
use crate::connect;

pub(crate) async fn delete_connection(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
) -> Result<StatusCode, ApiError> {
    connect::forget(&app, &context, &user, agent_id).await?;

    Ok(StatusCode::NO_CONTENT)
}
