//! `DELETE …/permissions/{permissionId}`: the capability is denied again.

use agentopia_domain::ids::{AgentId, PermissionId, ToolbeltItemId};
use agentopia_platform::db::toolbelt::{self, DeletePermission, OfItem, Permission};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::IfMatch;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;

pub(crate) async fn delete_permission(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, item_id, permission_id)): Path<(AgentId, ToolbeltItemId, PermissionId)>,
    IfMatch(if_match): IfMatch,
) -> Result<Json<Permission>, ApiError> {
    let input = DeletePermission {
        item: OfItem { agent_id, item_id },
        permission_id,
        if_match,
    };

    let row = toolbelt::delete_permission(&app.db, &context, &user.caller, &input).await?;

    Ok(Json(row))
}
