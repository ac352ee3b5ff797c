//! `POST …/agents/{agentId}/commands`: sees to it that Discord has the commands of a bot's application.

use agentopia_domain::discord::commands;
use agentopia_domain::ids::AgentId;
use agentopia_platform::db::discord_connections;
use agentopia_platform::extract::{Json, JsonWithin, Path};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use serde::Serialize;
use serde_json::Value;

use super::command_worker::{OfAgentRequest, REQUEST_MAX_BYTES};
use crate::app::App;
use crate::discord::{self, TokenFrom};
use crate::fields::agent_id;

/// What Discord has from now on.
#[derive(Debug, Serialize)]
pub(crate) struct RegisterCommandsResponse {
    /// Whether it had something else.
    changed: bool,
    /// The commands, as Discord writes them.
    commands: Vec<Value>,
}

pub(crate) async fn register_commands(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
) -> Result<Json<RegisterCommandsResponse>, ApiError> {
    register(&app, &context, &user, agent_id).await.map(Json)
}

/// What clients have always been told.
#[derive(Debug, Serialize)]
pub(crate) struct RegisterAgentCommandsResponse {
    success: bool,
    message: &'static str,
}

/// `POST /functions/v1/register-agent-commands`: the same by the path of before.
pub(crate) async fn register_agent_commands(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    JsonWithin(request): JsonWithin<OfAgentRequest, REQUEST_MAX_BYTES>,
) -> Result<Json<RegisterAgentCommandsResponse>, ApiError> {
    let agent_id = agent_id(request.agent_id.as_deref())?;

    let registered = register(&app, &context, &user, agent_id).await?;

    Ok(Json(RegisterAgentCommandsResponse {
        success: true,
        message: if registered.changed {
            "Commands registered successfully."
        } else {
            "Commands are registered already."
        },
    }))
}

/// Compares before it overwrites: Discord takes 200 new commands of an application a day.
async fn register(
    app: &App,
    context: &RequestContext,
    user: &caller::User,
    agent_id: AgentId,
) -> Result<RegisterCommandsResponse, ApiError> {
    let (opened, token) = discord::open_bot(app, context, user, agent_id).await?;
    let connection = opened.connection.as_deref();
    let application_id = connection.map_or("", |connection| connection.application_id.as_str());
    let registered = discord::ask(app, context, &opened, TokenFrom::Store, || {
        app.discord.commands(context, &token, application_id)
    })
    .await?;

    let wanted = commands::to_register(&registered);
    let changed = commands::differ(&registered, &wanted);
    let commands = if changed {
        discord::ask(app, context, &opened, TokenFrom::Store, || {
            app.discord.overwrite_commands(context, &token, application_id, &wanted)
        })
        .await?
    } else {
        registered
    };
    discord_connections::note_commands_registered(&app.db, context, &user.caller, agent_id).await?;

    Ok(RegisterCommandsResponse { changed, commands })
}
