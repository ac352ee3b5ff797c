//! `PUT …/agents/{agentId}/enabled-guilds`: says where an agent may be used.

use std::collections::HashSet;

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::discord_connections::{self, DiscordState, GuildChoice};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::connect::{self, Named, Wanted};
use crate::fields::{agent_id, discord_id, public_key, timeout_minutes};

/// The most guilds of a request, as of an agent.
const GUILDS_MAX: usize = 100;
/// The most channels of a guild.
const CHANNELS_MAX: usize = 100;

/// Guilds; those that are not named stay as they are.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct PutEnabledGuildsRequest {
    guilds: Option<Vec<GuildRequest>>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
struct GuildRequest {
    #[serde(alias = "guildId")]
    guild_id: Option<String>,
    /// True if absent.
    #[serde(alias = "isEnabled")]
    is_enabled: Option<bool>,
    /// Null or absent for every channel; none for no channel.
    #[serde(alias = "allowedChannelIds")]
    allowed_channel_ids: Option<Vec<String>>,
    /// The bot's, in all guilds. Null or absent for what it was.
    #[serde(alias = "inactivityTimeoutMinutes")]
    inactivity_timeout_minutes: Option<i32>,
}

pub(crate) async fn put_enabled_guilds(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
    Json(request): Json<PutEnabledGuildsRequest>,
) -> Result<Json<DiscordState>, ApiError> {
    let guilds = fields::required("guilds", request.guilds)?;
    let choices = choices("guilds", &guilds)?;
    discord_connections::open_bot(&app.db, &context, &user.caller, agent_id, false, app.change).await?;

    let state = discord_connections::put_enabled_guilds(&app.db, &context, &user.caller, agent_id, &choices).await?;

    Ok(Json(state))
}

/// Guilds, as frontends of before send them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(crate) struct UpdateEnabledGuildsRequest {
    agent_id: Option<String>,
    enabled_guilds: Option<Vec<OldGuildRequest>>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
struct OldGuildRequest {
    #[serde(flatten)]
    guild: GuildRequest,
    discord_app_id: Option<String>,
    discord_public_key: Option<String>,
}

/// What clients have always been told.
#[derive(Debug, Serialize)]
pub(crate) struct UpdateEnabledGuildsResponse {
    message: &'static str,
}

/// `POST /functions/v1/update-enabled-guilds`: the same by the path of before. An agent without a bot is connected to the application that the
/// guilds name; what they do not name stays as it is.
pub(crate) async fn update_enabled_guilds(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Json(request): Json<UpdateEnabledGuildsRequest>,
) -> Result<Json<UpdateEnabledGuildsResponse>, ApiError> {
    let field = "enabledGuilds";
    let agent_id = agent_id(request.agent_id.as_deref())?;
    let old = fields::required(field, request.enabled_guilds)?;
    let application = application(&old)?;
    let guilds: Vec<_> = old.into_iter().map(|old| old.guild).collect();
    let mut choices = choices(field, &guilds)?;

    let opened = discord_connections::open_bot(&app.db, &context, &user.caller, agent_id, false, app.change).await?;
    if opened.connection.is_none()
        && let Some(wanted) = application
    {
        connect::connect(&app, &context, &user, agent_id, &opened, wanted).await?;
    }
    let state = discord_connections::get_discord_connection(&app.db, &context, &user.caller, agent_id).await?;
    for choice in &mut choices {
        if let Some(known) = state.guilds.iter().find(|known| known.guild_id == choice.guild_id) {
            choice.allowed_channel_ids = choice
                .allowed_channel_ids
                .take()
                .or_else(|| known.allowed_channel_ids.clone());
        }
    }
    discord_connections::put_enabled_guilds(&app.db, &context, &user.caller, agent_id, &choices).await?;

    Ok(Json(UpdateEnabledGuildsResponse {
        message: "Guild enablement status updated successfully.",
    }))
}

/// What guilds are to be, each named once.
fn choices(field: &str, guilds: &[GuildRequest]) -> Result<Vec<GuildChoice>, ApiError> {
    if guilds.len() > GUILDS_MAX {
        let problem = format_args!("must be at most {GUILDS_MAX} guilds");
        return Err(ApiError::invalid_field(field, problem));
    }
    let mut named = HashSet::new();
    guilds
        .iter()
        .enumerate()
        .map(|(index, guild)| {
            let choice = choice(&format!("{field}[{index}]"), guild)?;
            if named.insert(choice.guild_id.clone()) {
                Ok(choice)
            } else {
                let field = format!("{field}[{index}].guild_id");
                Err(ApiError::invalid_field(&field, "is named twice"))
            }
        })
        .collect()
}

fn choice(path: &str, guild: &GuildRequest) -> Result<GuildChoice, ApiError> {
    let field = format!("{path}.guild_id");
    let guild_id = discord_id(&field, fields::required(&field, guild.guild_id.as_deref())?)?;
    let allowed_channel_ids = guild.allowed_channel_ids.as_deref();
    Ok(GuildChoice {
        guild_id: guild_id.to_owned(),
        is_enabled: guild.is_enabled.unwrap_or(true),
        allowed_channel_ids: allowed_channel_ids
            .map(|ids| channels(&format!("{path}.allowed_channel_ids"), ids))
            .transpose()?,
        inactivity_timeout_minutes: timeout_minutes(
            &format!("{path}.inactivity_timeout_minutes"),
            guild.inactivity_timeout_minutes,
        )?,
    })
}

fn channels(field: &str, ids: &[String]) -> Result<Vec<String>, ApiError> {
    if ids.len() > CHANNELS_MAX {
        let problem = format_args!("must be at most {CHANNELS_MAX} channels");
        return Err(ApiError::invalid_field(field, problem));
    }
    ids.iter()
        .enumerate()
        .map(|(index, id)| discord_id(&format!("{field}[{index}]"), id).map(str::to_owned))
        .collect()
}

/// The application that the guilds name, which is the first one that has an id and a key.
fn application(guilds: &[OldGuildRequest]) -> Result<Option<Wanted>, ApiError> {
    for (index, guild) in guilds.iter().enumerate() {
        if let (Some(id), Some(key)) = (&guild.discord_app_id, &guild.discord_public_key) {
            let id = discord_id(&format!("enabledGuilds[{index}].discord_app_id"), id)?;
            let key = public_key(&format!("enabledGuilds[{index}].discord_public_key"), key)?;
            return Ok(Some(Wanted {
                application_id: Some(Named {
                    field: "discord_app_id",
                    value: id.to_owned(),
                }),
                public_key: Some(Named {
                    field: "discord_public_key",
                    value: key,
                }),
                inactivity_timeout_minutes: None,
                token: None,
            }));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::{Value, json};

    use super::*;

    fn parse(guilds: Value) -> Result<Vec<GuildChoice>, ApiError> {
        let guilds: Vec<GuildRequest> = serde_json::from_value(guilds).unwrap();
        choices("guilds", &guilds)
    }

    fn refusal(guilds: Value) -> String {
        parse(guilds).unwrap_err().message().to_owned()
    }

    #[test]
    fn a_guild_is_enabled_everywhere_unless_it_says_otherwise() {
        let choices = parse(json!([
            {"guild_id": "1"},
            {"guild_id": "2", "is_enabled": false, "allowed_channel_ids": ["7", "8"], "inactivity_timeout_minutes": 0},
            {"guild_id": "3", "allowed_channel_ids": []},
        ]))
        .unwrap();

        let choice = |id: &str, is_enabled, channels: Option<&[&str]>, minutes| GuildChoice {
            guild_id: id.to_owned(),
            is_enabled,
            allowed_channel_ids: channels.map(|ids| ids.iter().map(|id| (*id).to_owned()).collect()),
            inactivity_timeout_minutes: minutes,
        };
        assert_eq!(
            choices,
            [
                choice("1", true, None, None),
                choice("2", false, Some(&["7", "8"]), Some(0)),
                choice("3", true, Some(&[]), None)
            ]
        );
    }

    #[test]
    fn what_a_guild_cannot_be_is_named() {
        let many = vec![json!({"guild_id": "1"}); GUILDS_MAX + 1];
        let channels = vec!["1"; CHANNELS_MAX + 1];

        assert_snapshot!(refusal(json!(many)), @"guilds must be at most 100 guilds.");
        assert_snapshot!(refusal(json!([{}])), @"guilds[0].guild_id is required.");
        assert_snapshot!(refusal(json!([{"guild_id": "x"}])), @"guilds[0].guild_id is not a Discord id.");
        assert_snapshot!(refusal(json!([{"guild_id": "1"}, {"guild_id": "1"}])), @"guilds[1].guild_id is named twice.");
        assert_snapshot!(refusal(json!([{"guild_id": "1", "allowed_channel_ids": ["2", "x"]}])), @"guilds[0].allowed_channel_ids[1] is not a Discord id.");
        assert_snapshot!(refusal(json!([{"guild_id": "1", "allowed_channel_ids": channels}])), @"guilds[0].allowed_channel_ids must be at most 100 channels.");
        assert_snapshot!(refusal(json!([{"guild_id": "1", "inactivity_timeout_minutes": 20000}])), @"guilds[0].inactivity_timeout_minutes must be 0 to 10080.");
    }

    #[test]
    fn an_application_is_the_first_that_has_a_key() {
        let key = "AB".repeat(32);
        let parse = |guilds: Value| application(&serde_json::from_value::<Vec<OldGuildRequest>>(guilds).unwrap());

        let wanted = parse(json!([
            {"guild_id": "1", "discord_app_id": "5", "discord_public_key": null},
            {"guild_id": "2", "discord_app_id": "6", "discord_public_key": key},
        ]));

        let wanted = wanted.unwrap().unwrap();
        assert_eq!(wanted.application_id.unwrap().value, "6");
        assert_eq!(wanted.public_key.unwrap().value, "ab".repeat(32));
        assert!(parse(json!([{"guild_id": "1"}])).unwrap().is_none());
        let wrong = parse(json!([{"guild_id": "1", "discord_app_id": "5", "discord_public_key": "x"}]));
        let Err(error) = wrong else {
            unreachable!("it is no key")
        };
        assert_eq!(error.envelope("id")["field"], "enabledGuilds[0].discord_public_key");
    }
}
