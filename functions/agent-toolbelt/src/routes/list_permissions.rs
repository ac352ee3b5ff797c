//! `GET …/toolbelt/items/{itemId}/permissions`: what the agent may do with a tool.

use agentopia_domain::ids::{AgentId, ToolbeltItemId};
use agentopia_platform::db::toolbelt::{self, OfItem, Permission};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;

pub(crate) async fn list_permissions(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, item_id)): Path<(AgentId, ToolbeltItemId)>,
) -> Result<Json<Vec<Permission>>, ApiError> {
    let input = OfItem { agent_id, item_id };

    let rows = toolbelt::list_permissions(&app.db, &context, &user.caller, &input).await?;

    Ok(Json(rows))
}
