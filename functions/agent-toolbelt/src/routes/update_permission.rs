//! `PUT` and `PATCH …/permissions/{permissionId}`: changes what the request names of a permission.

use agentopia_domain::ids::{AgentId, PermissionId, ToolbeltItemId};
use agentopia_platform::db::toolbelt::{self, OfItem, UpdatePermission};
use agentopia_platform::error::Kind;
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::{IfMatch, tagged};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::put_permission::allowed;
use crate::app::App;

/// What is to change; what is absent stays.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct UpdatePermissionRequest {
    is_permitted: Option<bool>,
    is_allowed: Option<bool>,
    requires_approval: Option<bool>,
}

pub(crate) async fn update_permission(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, item_id, permission_id)): Path<(AgentId, ToolbeltItemId, PermissionId)>,
    IfMatch(if_match): IfMatch,
    Json(request): Json<UpdatePermissionRequest>,
) -> Result<Response, ApiError> {
    let is_allowed = allowed(request.is_allowed, request.is_permitted)?;
    if is_allowed.is_none() && request.requires_approval.is_none() {
        return Err(ApiError::new(
            Kind::Invalid,
            "missing_field",
            "One of is_permitted and requires_approval is required.",
        ));
    }
    let input = UpdatePermission {
        item: OfItem { agent_id, item_id },
        permission_id,
        if_match,
        is_allowed,
        requires_approval: request.requires_approval,
        rate: app.change,
    };

    let permission = toolbelt::update_permission(&app.db, &context, &user.caller, &input).await?;

    Ok(tagged(permission.revision, Json(permission)))
}
