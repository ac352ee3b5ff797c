//! `DELETE …/tools/{instanceId}`: takes a tool off its toolbox. It can be said again until the machine has done it.

use agentopia_domain::ids::{ToolInstanceId, ToolboxId};
use agentopia_domain::toolbox::tool::ToolCommand;
use agentopia_platform::extract::Path;
use agentopia_platform::preconditions::IfMatch;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use axum::response::Response;

use super::command_tool_instance::command;
use crate::app::App;

pub(crate) async fn remove_tool_instance(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    path: Path<(ToolboxId, ToolInstanceId)>,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    command(&app, &context, &user, path, if_match, ToolCommand::Remove).await
}
