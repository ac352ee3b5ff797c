//! `GET …/toolbelt/items`: the tools that the agent has.

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::toolbelt::{self, OfAgent, ShownToolbeltItem};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;

pub(crate) async fn list_toolbelt_items(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
) -> Result<Json<Vec<ShownToolbeltItem>>, ApiError> {
    let input = OfAgent { agent_id };

    let rows = toolbelt::list_toolbelt_items(&app.db, &context, &user.caller, &input).await?;

    Ok(Json(rows))
}
