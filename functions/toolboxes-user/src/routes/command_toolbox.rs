//! `POST /functions/v1/toolboxes-user/{toolboxId}/{pause,resume,redeploy}`: says what should be of a toolbox.

use agentopia_domain::ids::ToolboxId;
use agentopia_domain::toolbox::status::ToolboxCommand;
use agentopia_platform::db::Rate;
use agentopia_platform::db::toolboxes::{self, CommandToolbox};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::{IfMatch, tagged};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use axum::response::Response;

use crate::app::App;

/// Stops all tools and keeps the machine.
pub(crate) async fn pause_toolbox(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(toolbox_id): Path<ToolboxId>,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    let rate = app.change;
    command(&app, &context, &user, toolbox_id, if_match, ToolboxCommand::Pause, rate).await
}

/// Runs them again.
pub(crate) async fn resume_toolbox(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(toolbox_id): Path<ToolboxId>,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    let rate = app.change;
    command(
        &app,
        &context,
        &user,
        toolbox_id,
        if_match,
        ToolboxCommand::Resume,
        rate,
    )
    .await
}

/// Makes another machine for the same tools, and destroys the one that there is.
pub(crate) async fn redeploy_toolbox(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(toolbox_id): Path<ToolboxId>,
    if_match: IfMatch,
) -> Result<Response, ApiError> {
    let rate = app.create;
    command(
        &app,
        &context,
        &user,
        toolbox_id,
        if_match,
        ToolboxCommand::Redeploy,
        rate,
    )
    .await
}

async fn command(
    app: &App,
    context: &RequestContext,
    user: &caller::User,
    toolbox_id: ToolboxId,
    IfMatch(if_match): IfMatch,
    command: ToolboxCommand,
    rate: Rate,
) -> Result<Response, ApiError> {
    let input = CommandToolbox {
        toolbox_id,
        if_match,
        command,
        rate,
    };

    let toolbox = toolboxes::command_toolbox(&app.db, context, &user.caller, &input).await?;

    Ok(tagged(toolbox.revision(), Json(toolbox)))
}
