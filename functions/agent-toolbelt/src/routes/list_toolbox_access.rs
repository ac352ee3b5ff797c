//! `GET …/toolbelt/toolbox-access`: the toolboxes whose tools the agent may use.

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::toolbelt::{self, ListedToolboxAccess, OfAgent};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;

pub(crate) async fn list_toolbox_access(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
) -> Result<Json<Vec<ListedToolboxAccess>>, ApiError> {
    let input = OfAgent { agent_id };

    let rows = toolbelt::list_toolbox_access(&app.db, &context, &user.caller, &input).await?;

    Ok(Json(rows))
}
