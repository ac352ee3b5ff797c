//! `PUT` and `PATCH …/toolbelt/items/{itemId}`: lets the agent use a tool, or not for now.

use agentopia_domain::ids::{AgentId, ToolbeltItemId};
use agentopia_platform::db::toolbelt::{self, OfItem, UpdateToolbeltItem};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::{IfMatch, tagged};
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use crate::app::App;

/// Whether the tool may be used.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct UpdateToolbeltItemRequest {
    is_active_for_agent: Option<bool>,
}

pub(crate) async fn update_toolbelt_item(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, item_id)): Path<(AgentId, ToolbeltItemId)>,
    IfMatch(if_match): IfMatch,
    Json(request): Json<UpdateToolbeltItemRequest>,
) -> Result<Response, ApiError> {
    let input = UpdateToolbeltItem {
        item: OfItem { agent_id, item_id },
        if_match,
        is_active_for_agent: fields::required("is_active_for_agent", request.is_active_for_agent)?,
        rate: app.change,
    };

    let item = toolbelt::update_toolbelt_item(&app.db, &context, &user.caller, &input).await?;

    Ok(tagged(item.revision, Json(item)))
}
