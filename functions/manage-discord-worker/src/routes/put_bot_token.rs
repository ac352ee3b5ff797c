//! `PUT …/agents/{agentId}/bot-token`: gives a bot its token. An agent without a bot is connected to the one that the token belongs to.

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::OperationError;
use agentopia_platform::db::discord_connections::{self, DiscordState};
use agentopia_platform::extract::{Json, JsonWithin, Path};
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::command_worker::REQUEST_MAX_BYTES;
use crate::app::App;
use crate::bot_token::BotToken;
use crate::connect::{self, Named, Wanted};
use crate::fields::agent_id;

/// The token.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct PutBotTokenRequest {
    #[serde(alias = "botToken")]
    bot_token: Option<BotToken>,
}

pub(crate) async fn put_bot_token(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
    JsonWithin(request): JsonWithin<PutBotTokenRequest, REQUEST_MAX_BYTES>,
) -> Result<Json<DiscordState>, ApiError> {
    let token = request.bot_token.as_ref();

    put(&app, &context, &user, agent_id, "bot_token", token).await.map(Json)
}

/// An agent, and its bot's token.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(crate) struct ConnectRequest {
    agent_id: Option<String>,
    bot_token: Option<BotToken>,
}

/// `POST /functions/v1/discord-connect`: the same by a path of before.
pub(crate) async fn discord_connect(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    JsonWithin(request): JsonWithin<ConnectRequest, REQUEST_MAX_BYTES>,
) -> Result<Json<DiscordState>, ApiError> {
    let agent_id = agent_id(request.agent_id.as_deref())?;
    let token = request.bot_token.as_ref();

    put(&app, &context, &user, agent_id, "botToken", token).await.map(Json)
}

/// An agent, and its bot's token; null to forget it.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct UpdateAgentDiscordTokenRequest {
    #[serde(rename = "agentId")]
    agent_id: Option<String>,
    #[serde(default, deserialize_with = "fields::nullable")]
    token: Option<Option<BotToken>>,
}

/// What clients have always been told.
#[derive(Debug, Serialize)]
pub(crate) struct UpdateAgentDiscordTokenResponse {
    message: &'static str,
}

/// `POST /functions/v1/update-agent-discord-token`: sets or forgets the token, by the path of before.
pub(crate) async fn update_agent_discord_token(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    JsonWithin(request): JsonWithin<UpdateAgentDiscordTokenRequest, REQUEST_MAX_BYTES>,
) -> Result<Json<UpdateAgentDiscordTokenResponse>, ApiError> {
    let agent_id = agent_id(request.agent_id.as_deref())?;
    let token = fields::required("token", request.token.as_ref())?;

    match token.as_ref().filter(|token| !token.is_blank()) {
        Some(token) => {
            put(&app, &context, &user, agent_id, "token", Some(token)).await?;
        }
        None => {
            match connect::forget_token(&app, &context, &user, agent_id).await {
                Ok(_) => {}
                // There is none to forget.
                Err(OperationError::Refused { code, .. }) if code == "connection_missing" => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    Ok(Json(UpdateAgentDiscordTokenResponse {
        message: "Agent token updated successfully.",
    }))
}

async fn put(
    app: &App,
    context: &RequestContext,
    user: &caller::User,
    agent_id: AgentId,
    field: &'static str,
    token: Option<&BotToken>,
) -> Result<DiscordState, ApiError> {
    let value = fields::required(field, token)?.parse(field)?;
    let opened = discord_connections::open_bot(&app.db, context, &user.caller, agent_id, false, app.change).await?;
    let wanted = Wanted::token(Named { field, value }, &opened);
    connect::connect(app, context, user, agent_id, &opened, wanted).await
}
