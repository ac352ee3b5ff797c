//! `GET …/{toolboxId}/tools`: the tools of a toolbox, newest first. There is a bounded number of them.

use agentopia_domain::ids::ToolboxId;
use agentopia_platform::db::row::Row;
use agentopia_platform::db::tool_instances;
use agentopia_platform::db::toolboxes::OfToolbox;
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;

pub(crate) async fn list_tool_instances(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(toolbox_id): Path<ToolboxId>,
) -> Result<Json<Vec<Row>>, ApiError> {
    let input = OfToolbox { toolbox_id };

    let rows = tool_instances::list_tool_instances(&app.db, &context, &user.caller, &input).await?;

    Ok(Json(rows))
}
