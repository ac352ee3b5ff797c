//! `POST …/tools/{instanceId}/{start,stop,restart}`: says what should be of a tool. Its machine follows with its next heartbeats.

use agentopia_domain::ids::{ToolInstanceId, ToolboxId};
use agentopia_domain::toolbox::tool::ToolCommand;
use agentopia_platform::db::tool_instances::{self, CommandToolInstance, OfToolInstance};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::{IfMatch, tagged};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use axum::response::Response;

use crate::app::App;

/// A tool of a toolbox, by the path.
type ToolPath = Path<(ToolboxId, ToolInstanceId)>;

/// Lets it run.
pub(crate) async fn start_tool_instance(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    path: ToolPath,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    command(&app, &context, &user, path, if_match, ToolCommand::Start).await
}

/// Lets it not run.
pub(crate) async fn stop_tool_instance(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    path: ToolPath,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    command(&app, &context, &user, path, if_match, ToolCommand::Stop).await
}

/// Lets it run in a new container.
pub(crate) async fn restart_tool_instance(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    path: ToolPath,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    command(&app, &context, &user, path, if_match, ToolCommand::Restart).await
}

/// Tells a tool something, and responds with what it is then.
pub(super) async fn command(
    app: &App,
    context: &RequestContext,
    user: &caller::User,
    Path((toolbox_id, instance_id)): ToolPath,
    IfMatch(if_match): IfMatch,
    command: ToolCommand,
) -> Result<Response, ApiError> {
    let input = CommandToolInstance {
        instance: OfToolInstance {
            toolbox_id,
            instance_id,
        },
        if_match,
        command,
        config: None,
        rate: app.change,
    };

    let instance = tool_instances::command_tool_instance(&app.db, context, &user.caller, &input).await?;

    Ok(tagged(instance.revision(), Json(instance)))
}
