//! `DELETE /functions/v1/toolboxes-user/{toolboxId}`: has the machine destroyed and the toolbox forgotten. It can be said again.

use agentopia_domain::ids::ToolboxId;
use agentopia_domain::toolbox::status::ToolboxCommand;
use agentopia_platform::db::toolboxes::{self, CommandToolbox};
use agentopia_platform::extract::Path;
use agentopia_platform::preconditions::IfMatch;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use http::StatusCode;

use crate::app::App;

pub(crate) async fn delete_toolbox(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(toolbox_id): Path<ToolboxId>,
    IfMatch(if_match): IfMatch,
) -> Result<StatusCode, ApiError> {
    let input = CommandToolbox {
        toolbox_id,
        if_match,
        command: ToolboxCommand::Delete,
        rate: app.change,
    };

    toolboxes::command_toolbox(&app.db, &context, &user.caller, &input).await?;

    Ok(StatusCode::NO_CONTENT)
}
