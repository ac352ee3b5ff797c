//! `GET …/toolbelt/items/{itemId}/credentials`: the credentials for a tool, without their secrets.

use agentopia_domain::ids::{AgentId, ToolbeltItemId};
use agentopia_platform::db::toolbelt::{self, Credential, OfItem};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;

pub(crate) async fn list_credentials(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, item_id)): Path<(AgentId, ToolbeltItemId)>,
) -> Result<Json<Vec<Credential>>, ApiError> {
    let input = OfItem { agent_id, item_id };

    let rows = toolbelt::list_credentials(&app.db, &context, &user.caller, &input).await?;

    Ok(Json(rows))
}
