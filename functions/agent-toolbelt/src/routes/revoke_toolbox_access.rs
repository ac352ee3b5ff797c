//! `DELETE …/toolbelt/toolbox-access/{accessId}`: takes an access, and what hung on it.

use agentopia_domain::ids::{AccessId, AgentId};
use agentopia_platform::db::toolbelt::{self, RevokeToolboxAccess, ToolboxAccess};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;

pub(crate) async fn revoke_toolbox_access(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, access_id)): Path<(AgentId, AccessId)>,
) -> Result<Json<ToolboxAccess>, ApiError> {
    let input = RevokeToolboxAccess { agent_id, access_id };

    let access = toolbelt::revoke_toolbox_access(&app.db, &context, &user.caller, &input).await?;

    Ok(Json(access))
}
