//! `DELETE …/toolbelt/items/{itemId}`: takes a tool from the toolbelt, with its credentials and permissions.

use agentopia_domain::ids::{AgentId, ToolbeltItemId};
use agentopia_platform::db::toolbelt::{self, DeleteToolbeltItem, OfItem, ToolbeltItem};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::IfMatch;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;

pub(crate) async fn delete_toolbelt_item(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, item_id)): Path<(AgentId, ToolbeltItemId)>,
    IfMatch(if_match): IfMatch,
) -> Result<Json<ToolbeltItem>, ApiError> {
    let input = DeleteToolbeltItem {
        item: OfItem { agent_id, item_id },
        if_match,
    };

    let item = toolbelt::delete_toolbelt_item(&app.db, &context, &user.caller, &input).await?;

    Ok(Json(item))
}
