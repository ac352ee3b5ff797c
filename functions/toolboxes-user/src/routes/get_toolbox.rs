//! `GET /functions/v1/toolboxes-user/{toolboxId}`: one toolbox.

use agentopia_domain::ids::ToolboxId;
use agentopia_platform::db::toolboxes::{self, OfToolbox};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::tagged;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use axum::response::Response;

use crate::app::App;

pub(crate) async fn get_toolbox(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(toolbox_id): Path<ToolboxId>,
) -> Result<Response, ApiError> {
    let toolbox = toolboxes::get_toolbox(&app.db, &context, &user.caller, &OfToolbox { toolbox_id }).await?;

    Ok(tagged(toolbox.revision(), Json(toolbox)))
}
