//! `POST /functions/v1/toolboxes-user/{toolboxId}/refresh-status`: has a machine that is being made or unmade looked at again at once.
//!
//! Nobody is called from here: what is known of a machine comes from its heartbeats and from the provider, and an address that a user could
//! have a hand in is never asked.

use agentopia_domain::ids::ToolboxId;
use agentopia_platform::db::toolboxes::{self, RefreshToolbox};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::tagged;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use axum::response::Response;

use crate::app::App;

pub(crate) async fn refresh_toolbox(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(toolbox_id): Path<ToolboxId>,
) -> Result<Response, ApiError> {
    let input = RefreshToolbox {
        toolbox_id,
        rate: app.refresh,
    };

    let toolbox = toolboxes::refresh_toolbox(&app.db, &context, &user.caller, &input).await?;

    Ok(tagged(toolbox.revision(), Json(toolbox)))
}
