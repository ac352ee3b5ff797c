//! `GET …/agents/{agentId}/connection`: an agent's bot, and where it may be used.

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::discord_connections::{self, DiscordState};
use agentopia_platform::extract::{Json, Path, Query};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::fields::agent_id;

pub(crate) async fn get_connection(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
) -> Result<Json<DiscordState>, ApiError> {
    let state = discord_connections::get_discord_connection(&app.db, &context, &user.caller, agent_id).await?;

    Ok(Json(state))
}

/// Which agent.
#[derive(Debug, Deserialize)]
pub(crate) struct ListEnabledGuildsQuery {
    #[serde(rename = "agentId")]
    agent_id: Option<String>,
}

/// A guild, as frontends of before know it.
#[derive(Debug, Serialize)]
pub(crate) struct EnabledGuild {
    guild_id: String,
    is_enabled: bool,
}

/// `GET /functions/v1/get-enabled-guilds`: the guilds alone, by the path of before.
pub(crate) async fn list_enabled_guilds(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Query(query): Query<ListEnabledGuildsQuery>,
) -> Result<Json<Vec<EnabledGuild>>, ApiError> {
    let agent_id = agent_id(query.agent_id.as_deref())?;

    let state = discord_connections::get_discord_connection(&app.db, &context, &user.caller, agent_id).await?;

    let guilds = state.guilds.iter().map(|guild| EnabledGuild {
        guild_id: guild.guild_id.clone(),
        is_enabled: guild.is_enabled,
    });
    Ok(Json(guilds.collect()))
}
