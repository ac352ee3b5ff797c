//! `POST …/toolbelt/toolbox-access`: lets the agent use the tools of a toolbox.

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::toolbelt::{self, GrantToolboxAccess, ToolboxAccess};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;

use crate::app::App;

/// Which toolbox.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct GrantToolboxAccessRequest {
    account_tool_environment_id: Option<String>,
}

pub(crate) async fn grant_toolbox_access(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
    Json(request): Json<GrantToolboxAccessRequest>,
) -> Result<(StatusCode, Json<ToolboxAccess>), ApiError> {
    let toolbox = request.account_tool_environment_id.as_deref();
    let input = GrantToolboxAccess {
        agent_id,
        toolbox_id: fields::required_id("account_tool_environment_id", toolbox)?,
        rate: app.change,
    };

    let access = toolbelt::grant_toolbox_access(&app.db, &context, &user.caller, &input).await?;

    Ok((StatusCode::CREATED, Json(access)))
}
