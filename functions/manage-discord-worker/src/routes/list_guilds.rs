//! `GET …/agents/{agentId}/guilds`: the guilds that a bot is in, and those where it may be used.

use std::collections::BTreeMap;

use agentopia_clients::discord::Guild;
use agentopia_domain::ids::AgentId;
use agentopia_platform::db::discord_connections::{self, NamedGuild, Shown};
use agentopia_platform::extract::{Json, JsonWithin, Path};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use serde::Serialize;

use super::command_worker::{OfAgentRequest, REQUEST_MAX_BYTES};
use crate::app::App;
use crate::discord::{self, TokenFrom};
use crate::fields::agent_id;

/// A guild.
#[derive(Debug, Serialize)]
pub(crate) struct ListedGuild {
    guild_id: String,
    /// What it is called; null if the bot is not in it.
    name: Option<String>,
    /// What the bot may do there, as Discord writes it.
    permissions: Option<String>,
    /// Whether the bot is in it.
    is_member: bool,
    /// Whether the agent may be used there.
    is_enabled: bool,
    /// In which channels; null for all.
    allowed_channel_ids: Option<Vec<String>>,
    /// Null if its owner has not named the guild.
    inactivity_timeout_minutes: Option<i32>,
}

pub(crate) async fn list_guilds(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
) -> Result<Json<Vec<ListedGuild>>, ApiError> {
    let (opened, token) = discord::open_bot(&app, &context, &user, agent_id).await?;
    let joined = discord::ask(&app, &context, &opened, TokenFrom::Store, || {
        app.discord.guilds(&context, &token)
    })
    .await?;

    let state = discord_connections::get_discord_connection(&app.db, &context, &user.caller, agent_id).await?;

    Ok(Json(merged(joined, &state.guilds)))
}

/// A guild, as frontends of before know it.
#[derive(Debug, Serialize)]
pub(crate) struct BotGuild {
    id: String,
    name: String,
}

/// `POST /functions/v1/discord-get-bot-guilds`: the guilds that the bot is in alone, by the path of before; none without a token.
pub(crate) async fn list_guilds_briefly(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    JsonWithin(request): JsonWithin<OfAgentRequest, REQUEST_MAX_BYTES>,
) -> Result<Json<Vec<BotGuild>>, ApiError> {
    let agent_id = agent_id(request.agent_id.as_deref())?;
    let state = discord_connections::get_discord_connection(&app.db, &context, &user.caller, agent_id).await?;
    if !state.connection.is_some_and(|connection| connection.has_bot_token) {
        return Ok(Json(Vec::new()));
    }
    let (opened, token) = discord::open_bot(&app, &context, &user, agent_id).await?;

    let joined = discord::ask(&app, &context, &opened, TokenFrom::Store, || {
        app.discord.guilds(&context, &token)
    })
    .await?;

    let guilds = joined.into_iter().map(|guild| BotGuild {
        id: guild.id,
        name: guild.name,
    });
    Ok(Json(guilds.collect()))
}

/// The guilds that the bot is in, as Discord lists them, and then those that its owner has named beside.
fn merged(joined: Vec<Guild>, named: &[Shown<NamedGuild>]) -> Vec<ListedGuild> {
    let mut named: BTreeMap<&str, &NamedGuild> =
        named.iter().map(|guild| (guild.guild_id.as_str(), &**guild)).collect();
    let mut listed: Vec<_> = joined
        .into_iter()
        .map(|guild| {
            let choice = named.remove(guild.id.as_str());
            ListedGuild {
                name: Some(guild.name),
                permissions: guild.permissions,
                is_member: true,
                ..ListedGuild::chosen(guild.id, choice)
            }
        })
        .collect();
    let left = named.into_iter();
    listed.extend(left.map(|(id, choice)| ListedGuild::chosen(id.to_owned(), Some(choice))));
    listed
}

impl ListedGuild {
    /// A guild as its owner sees it, without what Discord says.
    fn chosen(guild_id: String, choice: Option<&NamedGuild>) -> Self {
        Self {
            guild_id,
            name: None,
            permissions: None,
            is_member: false,
            is_enabled: choice.is_some_and(|choice| choice.is_enabled),
            allowed_channel_ids: choice.and_then(|choice| choice.allowed_channel_ids.clone()),
            inactivity_timeout_minutes: choice.map(|choice| choice.inactivity_timeout_minutes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(guild_id: &str, is_enabled: bool) -> Shown<NamedGuild> {
        let document = serde_json::json!({
            "guild_id": guild_id, "is_enabled": is_enabled, "allowed_channel_ids": ["7"], "inactivity_timeout_minutes": 5,
        });
        serde_json::from_str(&document.to_string()).unwrap()
    }

    #[test]
    fn guilds_are_merged_by_id() {
        let guild = |id: &str| Guild {
            id: id.to_owned(),
            name: format!("guild {id}"),
            permissions: Some("8".to_owned()),
        };

        let listed = merged(
            vec![guild("3"), guild("1")],
            &[named("9", true), named("1", true), named("2", false)],
        );

        let seen: Vec<_> = listed
            .iter()
            .map(|guild| (guild.guild_id.as_str(), guild.is_member, guild.is_enabled))
            .collect();
        assert_eq!(
            seen,
            [
                ("3", true, false),
                ("1", true, true),
                ("2", false, false),
                ("9", false, true)
            ]
        );
        assert_eq!(listed[0].inactivity_timeout_minutes, None);
        assert_eq!(listed[1].name.as_deref(), Some("guild 1"));
        assert_eq!(listed[3].allowed_channel_ids.as_deref(), Some(&["7".to_owned()][..]));
    }
}
