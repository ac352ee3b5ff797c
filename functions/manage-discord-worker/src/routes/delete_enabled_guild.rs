//! `DELETE …/agents/{agentId}/enabled-guilds/{guildId}`: forgets a guild, where the agent may not be used from then on.

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::discord_connections::{self, DiscordState};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;
use crate::fields::discord_id;

pub(crate) async fn delete_enabled_guild(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, guild_id)): Path<(AgentId, String)>,
) -> Result<Json<DiscordState>, ApiError> {
    let guild_id = discord_id("guild_id", &guild_id)?;

    let caller = &user.caller;
    let state =
        discord_connections::delete_enabled_guild(&app.db, &context, caller, agent_id, guild_id, app.change).await?;

    Ok(Json(state))
}
