//! `GET …/agents/{agentId}/guilds/{guildId}/channels`: the text channels of a guild, as the bot sees them.

use agentopia_domain::ids::AgentId;
use agentopia_platform::extract::{Json, Path, Query};
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;

use crate::app::App;
use crate::discord::{self, TokenFrom};
use crate::fields::{agent_id, discord_id};

pub(crate) async fn list_channels(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, guild_id)): Path<(AgentId, String)>,
) -> Result<Json<Vec<Value>>, ApiError> {
    let guild_id = discord_id("guild_id", &guild_id)?;

    list(&app, &context, &user, agent_id, guild_id).await.map(Json)
}

/// Which agent, and which guild.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListChannelsQuery {
    agent_id: Option<String>,
    guild_id: Option<String>,
}

/// `GET /functions/v1/discord-get-guild-channels`: the same by the path of before.
pub(crate) async fn list_channels_by_query(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Query(query): Query<ListChannelsQuery>,
) -> Result<Json<Vec<Value>>, ApiError> {
    let agent_id = agent_id(query.agent_id.as_deref())?;
    let guild_id = discord_id("guildId", fields::required("guildId", query.guild_id.as_deref())?)?;

    list(&app, &context, &user, agent_id, guild_id).await.map(Json)
}

async fn list(
    app: &App,
    context: &RequestContext,
    user: &caller::User,
    agent_id: AgentId,
    guild_id: &str,
) -> Result<Vec<Value>, ApiError> {
    let (opened, token) = discord::open_bot(app, context, user, agent_id).await?;
    discord::ask(app, context, &opened, TokenFrom::Store, || {
        app.discord.text_channels(context, &token, guild_id)
    })
    .await
}
