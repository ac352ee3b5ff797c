//! `GET …/toolbelt/items/{itemId}`: one tool that the agent has.

use agentopia_domain::ids::{AgentId, ToolbeltItemId};
use agentopia_platform::db::toolbelt::{self, OfItem};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::tagged;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use axum::response::Response;

use crate::app::App;

pub(crate) async fn get_toolbelt_item(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, item_id)): Path<(AgentId, ToolbeltItemId)>,
) -> Result<Response, ApiError> {
    let input = OfItem { agent_id, item_id };

    let shown = toolbelt::get_toolbelt_item(&app.db, &context, &user.caller, &input).await?;

    Ok(tagged(shown.item.revision, Json(shown)))
}
