//! Agents' bots on Discord, as their owners set them up (migrations/operations/discord_connections.sql).
//!
//! Each of these refuses with 404 `agent_not_found` an agent that is not the caller's.

use std::ops::Deref;

use agentopia_domain::discord::worker::{DesiredStatus, WorkerStatus};
use agentopia_domain::ids::{AgentId, UserId};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Caller, Database, OperationError, Rate};
use crate::context::RequestContext;

/// A document that is passed on as the database wrote it, and of which some is looked at.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct Shown<T> {
    document: Box<RawValue>,
    #[serde(skip)]
    looked_at: T,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Shown<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Box::<RawValue>::deserialize(deserializer)?;
        let looked_at = serde_json::from_str(document.get()).map_err(D::Error::custom)?;
        Ok(Self { document, looked_at })
    }
}

impl<T> Deref for Shown<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.looked_at
    }
}

/// A bot, and where it may be used.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct DiscordState {
    /// The bot; `None` if the agent has none.
    pub connection: Option<Shown<Connection>>,
    /// The guilds that its owner has named, oldest first.
    pub guilds: Vec<Shown<NamedGuild>>,
}

/// What of a bot is looked at.
#[derive(Clone, Debug, Deserialize)]
pub struct Connection {
    /// Discord's id of its application.
    pub application_id: String,
    /// The key under which Discord signs the application's interactions, in lower-case hexadecimal.
    pub public_key: String,
    /// Whether its token is stored.
    pub has_bot_token: bool,
    /// What its owner wants its worker to do.
    pub desired_status: DesiredStatus,
    /// What its worker is seen doing.
    pub worker_status: WorkerStatus,
}

/// What of a guild is looked at.
#[derive(Clone, Debug, Deserialize)]
pub struct NamedGuild {
    /// Discord's id.
    pub guild_id: String,
    /// Whether the agent may be used there.
    pub is_enabled: bool,
    /// In which channels; `None` for all.
    pub allowed_channel_ids: Option<Vec<String>>,
    /// After how many minutes without a question the bot's worker ends; 0 for never.
    pub inactivity_timeout_minutes: i32,
}

#[derive(Serialize)]
struct OfAgent {
    agent_id: AgentId,
}

#[derive(Serialize)]
struct ForgetBot {
    agent_id: AgentId,
    #[serde(flatten)]
    rate: Rate,
}

#[derive(Serialize)]
struct OpenBot {
    agent_id: AgentId,
    needs_token: bool,
    #[serde(flatten)]
    rate: Rate,
}

/// Output of `api.open_bot`.
#[derive(Deserialize)]
pub struct OpenedBot {
    /// Whose it is.
    pub user_id: UserId,
    /// The bot; `None` if the agent has none.
    pub connection: Option<Shown<Connection>>,
    /// Its sealed token, if there is one.
    pub bot_token_sealed: Option<String>,
    /// For how long Discord is not to be called.
    pub discord_pause_seconds: Option<u32>,
}

/// Input of `api.put_discord_connection`.
#[derive(Clone, Debug, Serialize)]
pub struct PutDiscordConnection<'a> {
    /// The agent.
    pub agent_id: AgentId,
    /// Discord's id of the application.
    pub application_id: &'a str,
    /// The application's key, in hexadecimal.
    pub public_key: &'a str,
    /// After how many minutes without a question its worker ends; 0 for never, `None` for what it was.
    pub inactivity_timeout_minutes: Option<i32>,
    /// The bot whose token Discord has confirmed; `None` keeps the one that is there, if it is of this application and key.
    pub bot: Option<ConfirmedBot>,
}

/// A bot whose token Discord has confirmed.
#[derive(Clone, Debug, Serialize)]
pub struct ConfirmedBot {
    /// Discord's id of it.
    pub user_id: String,
    /// What it is called.
    pub username: String,
    /// Its sealed token.
    pub token_sealed: String,
    /// The key that sealed it.
    pub key_id: String,
    /// Its keyed hashes in lower-case hexadecimal, that of the newest key first.
    pub fingerprints: Vec<String>,
}

#[derive(Serialize)]
struct PutEnabledGuilds<'a> {
    agent_id: AgentId,
    guilds: &'a [GuildChoice],
}

/// What an owner says of a guild.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct GuildChoice {
    /// Discord's id of it.
    pub guild_id: String,
    /// Whether the agent may be used there.
    pub is_enabled: bool,
    /// In which channels; `None` for all.
    pub allowed_channel_ids: Option<Vec<String>>,
    /// After how many minutes without a question the bot's worker ends, here and elsewhere: it is one; 0 for never, `None` for what it was.
    pub inactivity_timeout_minutes: Option<i32>,
}

#[derive(Serialize)]
struct DeleteEnabledGuild<'a> {
    agent_id: AgentId,
    guild_id: &'a str,
    #[serde(flatten)]
    rate: Rate,
}

/// Reads an agent's bot and where it may be used.
///
/// # Errors
///
/// 404 `agent_not_found`; or if the database is unavailable.
pub async fn get_discord_connection(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    agent_id: AgentId,
) -> Result<DiscordState, OperationError> {
    db.call(context, "get_discord_connection", caller, &OfAgent { agent_id })
        .await
}

/// Admits a request that changes a bot, or for which Discord or the worker manager is asked about one.
///
/// # Errors
///
/// 429 `rate_limited`, also where Discord has refused too much that was asked for this user; 404 `agent_not_found`; if a token is needed 400 `connection_missing` and `bot_token_missing`; or if the database is
/// unavailable.
pub async fn open_bot(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    agent_id: AgentId,
    needs_token: bool,
    rate: Rate,
) -> Result<OpenedBot, OperationError> {
    let input = OpenBot {
        agent_id,
        needs_token,
        rate,
    };
    db.call(context, "open_bot", caller, &input).await
}

/// Connects an agent's bot.
///
/// # Errors
///
/// 409 `bot_token_in_use`, 404 `agent_not_found`; or if the database is unavailable.
pub async fn put_discord_connection(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &PutDiscordConnection<'_>,
) -> Result<DiscordState, OperationError> {
    db.call(context, "put_discord_connection", caller, input).await
}

/// Forgets a bot's token; its worker is not wanted any more.
///
/// # Errors
///
/// 404 `agent_not_found`, `connection_missing`; 429 `rate_limited`; or if the database is unavailable.
pub async fn clear_bot_token(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    agent_id: AgentId,
    rate: Rate,
) -> Result<DiscordState, OperationError> {
    let input = ForgetBot { agent_id, rate };
    db.call(context, "clear_bot_token", caller, &input).await
}

/// Forgets a bot, and everywhere that it was used.
///
/// # Errors
///
/// 404 `agent_not_found`, `connection_missing`; 429 `rate_limited`; or if the database is unavailable.
pub async fn delete_discord_connection(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    agent_id: AgentId,
    rate: Rate,
) -> Result<(), OperationError> {
    let input = ForgetBot { agent_id, rate };
    let _nothing: Value = db.call(context, "delete_discord_connection", caller, &input).await?;
    Ok(())
}

/// Says where an agent may be used. Guilds that are not named stay as they are; each is named once.
///
/// # Errors
///
/// 404 `agent_not_found`, 400 `connection_missing`, 409 `guild_limit_reached`; or if the database is unavailable.
pub async fn put_enabled_guilds(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    agent_id: AgentId,
    guilds: &[GuildChoice],
) -> Result<DiscordState, OperationError> {
    let input = PutEnabledGuilds { agent_id, guilds };
    db.call(context, "put_enabled_guilds", caller, &input).await
}

/// Forgets a guild.
///
/// # Errors
///
/// 404 `agent_not_found`, `guild_not_found`; 429 `rate_limited`; or if the database is unavailable.
pub async fn delete_enabled_guild(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    agent_id: AgentId,
    guild_id: &str,
    rate: Rate,
) -> Result<DiscordState, OperationError> {
    let input = DeleteEnabledGuild {
        agent_id,
        guild_id,
        rate,
    };
    db.call(context, "delete_enabled_guild", caller, &input).await
}

/// Notes that Discord has the commands of a bot's application.
///
/// # Errors
///
/// 404 `agent_not_found`; or if the database is unavailable.
pub async fn note_commands_registered(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    agent_id: AgentId,
) -> Result<(), OperationError> {
    let _nothing: Value = db
        .call(context, "note_commands_registered", caller, &OfAgent { agent_id })
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_passed_on_as_it_was_written() {
        let text = r#"{"connection":{"application_id": "1", "public_key": "ab", "has_bot_token": false, "desired_status": "active", "worker_status": "bad_intents", "later": 0.10},"guilds":[]}"#;

        let state: DiscordState = serde_json::from_str(text).unwrap();

        assert_eq!(
            state.connection.as_ref().map(|connection| connection.worker_status),
            Some(WorkerStatus::BadIntents)
        );
        assert_eq!(serde_json::to_string(&state).unwrap(), text);
    }
}
