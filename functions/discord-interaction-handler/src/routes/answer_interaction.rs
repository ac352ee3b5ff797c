//! `POST /functions/v1/discord-interaction-handler`: an interaction that Discord delivers, and its answer.

use agentopia_platform::db::discord_interactions::{self, GuildAgents, ListGuildAgents};
use agentopia_platform::extract::Json;
use agentopia_platform::{ApiError, RequestContext};
use axum::extract::State;
use serde_json::Value;

use crate::app::App;
use crate::interaction::Asked;
use crate::reply::{CHOICES_MAX, LISTED_MAX, Reply};
use crate::verified::VerifiedInteraction;

pub(crate) async fn answer_interaction(
    State(app): State<App>,
    context: RequestContext,
    verified: VerifiedInteraction,
) -> Result<Json<Value>, ApiError> {
    let reply = match verified.interaction.asked() {
        Asked::Ping => Reply::Pong,
        Asked::Agents { guild_id } => {
            let agents = list_agents(&app, &context, &verified, "agents", guild_id, "", LISTED_MAX).await?;
            Reply::agents(&agents)
        }
        Asked::Status { guild_id } => {
            let agents = list_agents(&app, &context, &verified, "status", guild_id, "", LISTED_MAX).await?;
            Reply::status(&agents)
        }
        Asked::Choices { guild_id, typed } => {
            let agents = list_agents(&app, &context, &verified, "choices", guild_id, typed, CHOICES_MAX).await?;
            Reply::choices(&agents)
        }
        Asked::NoChoices => Reply::Choices(Vec::new()),
        Asked::CommandOutsideOfGuild => Reply::outside_of_guild(),
        Asked::UnknownCommand => Reply::unknown_command(),
        Asked::Unknown => Reply::unknown_interaction(),
    };

    Ok(Json(reply.into_json()))
}

async fn list_agents(
    app: &App,
    context: &RequestContext,
    verified: &VerifiedInteraction,
    kind: &'static str,
    guild_id: &str,
    name_prefix: &str,
    limit: u32,
) -> Result<GuildAgents, ApiError> {
    let input = ListGuildAgents {
        interaction_id: verified.interaction.id.as_str(),
        application_id: verified.interaction.application_id.as_str(),
        public_key: verified.key.as_str(),
        kind,
        guild_id,
        name_prefix,
        limit,
    };
    Ok(discord_interactions::list_guild_agents(&app.db, context, &input).await?)
}
