//! The wire format, as far as it is used. Unknown fields are ignored.

use agentopia_domain::discord::buckets::Reach;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::message::EPHEMERAL;
use super::refusal::Refusal;
use super::{BotUser, DiscordError, Guild};

/// `GUILD_TEXT` (<https://discord.com/developers/docs/resources/channel#channel-object-channel-types>).
const GUILD_TEXT: u64 = 0;
/// `DEFERRED_CHANNEL_MESSAGE_WITH_SOURCE`
/// (<https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-response-object-interaction-callback-type>).
const DEFERRED: u8 = 5;

/// Discord's codes that are told apart (<https://discord.com/developers/docs/topics/opcodes-and-status-codes#json>).
const UNKNOWN_MESSAGE: i64 = 10_008;
const UNKNOWN_WEBHOOK: i64 = 10_015;
const UNKNOWN_INTERACTION: i64 = 10_062;
const ALREADY_ACKNOWLEDGED: i64 = 40_060;
const INVALID_WEBHOOK_TOKEN: i64 = 50_027;

/// The answer to an interaction that there will be one.
#[derive(Debug, Serialize)]
pub(super) struct Deferral {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Flags>,
}

#[derive(Debug, Serialize)]
struct Flags {
    flags: u32,
}

impl Deferral {
    pub(super) fn new(is_ephemeral: bool) -> Self {
        Self {
            kind: DEFERRED,
            data: is_ephemeral.then_some(Flags { flags: EPHEMERAL }),
        }
    }
}

/// <https://discord.com/developers/docs/resources/application#application-object>
#[derive(Debug)]
pub(super) struct Application {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) verify_key: String,
    pub(super) bot: Option<BotUser>,
}

#[derive(Debug, Deserialize)]
struct ApplicationObject {
    id: String,
    name: String,
    verify_key: String,
    bot: Option<UserObject>,
}

/// <https://discord.com/developers/docs/resources/user#user-object>
#[derive(Debug, Deserialize)]
struct UserObject {
    id: String,
    username: String,
}

#[derive(Debug, Deserialize)]
struct GuildObject {
    id: String,
    name: String,
    permissions: Option<String>,
}

/// A page of guilds, and the largest id in it.
#[derive(Debug)]
pub(super) struct GuildPage {
    pub(super) guilds: Vec<Guild>,
    pub(super) last: u64,
}

/// <https://discord.com/developers/docs/resources/channel#channel-object>
#[derive(Debug, Deserialize, Serialize)]
struct ChannelObject {
    id: String,
    name: Option<String>,
    #[serde(rename = "type")]
    kind: u64,
    position: Option<i64>,
    parent_id: Option<String>,
}

pub(super) fn application(body: &[u8]) -> Result<Application, DiscordError> {
    let application: ApplicationObject = parse(body, "an application")?;
    Ok(Application {
        id: application.id,
        name: application.name,
        verify_key: application.verify_key,
        bot: application.bot.map(BotUser::from),
    })
}

pub(super) fn user(body: &[u8]) -> Result<BotUser, DiscordError> {
    parse::<UserObject>(body, "a user").map(BotUser::from)
}

pub(super) fn guilds(body: &[u8]) -> Result<GuildPage, DiscordError> {
    let guilds: Vec<GuildObject> = parse(body, "a list of guilds")?;
    let mut last = 0;
    for guild in &guilds {
        let id = guild
            .id
            .parse::<u64>()
            .map_err(|_| DiscordError::Malformed("a guild's id is no number".to_owned()))?;
        last = last.max(id);
    }
    Ok(GuildPage {
        guilds: guilds.into_iter().map(Guild::from).collect(),
        last,
    })
}

pub(super) fn text_channels(body: &[u8]) -> Result<Vec<Value>, DiscordError> {
    let channels: Vec<ChannelObject> = parse(body, "a list of channels")?;
    let text = channels.into_iter().filter(|channel| channel.kind == GUILD_TEXT);
    text.map(|channel| serde_json::to_value(channel).map_err(|_| malformed("a list of channels")))
        .collect()
}

/// A list of objects that are passed on as they are.
pub(super) fn objects(body: &[u8]) -> Result<Vec<Value>, DiscordError> {
    let objects: Vec<serde_json::Map<String, Value>> = parse(body, "a list of objects")?;
    Ok(objects.into_iter().map(Value::Object).collect())
}

/// What a refusal means.
pub(super) fn error(refusal: &Refusal) -> DiscordError {
    if let Some(reach) = refusal.limit {
        return DiscordError::RateLimited {
            retry_after: refusal.retry_after,
            global: reach != Reach::Bucket,
            shared: refusal.shared,
            held_back: false,
        };
    }
    let named = refusal.named();
    match (refusal.status, refusal.code) {
        (408 | 504, _) => DiscordError::TimedOut,
        (500..=599, _) => DiscordError::Failed(named),
        (_, Some(ALREADY_ACKNOWLEDGED)) => DiscordError::AlreadyAcknowledged,
        (_, Some(UNKNOWN_INTERACTION)) => DiscordError::UnknownInteraction,
        (_, Some(UNKNOWN_WEBHOOK | INVALID_WEBHOOK_TOKEN)) => DiscordError::UnknownWebhook(named),
        (_, Some(UNKNOWN_MESSAGE)) => DiscordError::UnknownMessage,
        (401, _) => DiscordError::Unauthorized(named),
        (403, _) => DiscordError::Forbidden(named),
        (404, _) => DiscordError::NotFound(named),
        _ => DiscordError::Refused(named),
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], what: &str) -> Result<T, DiscordError> {
    serde_json::from_slice(body).map_err(|_| malformed(what))
}

fn malformed(what: &str) -> DiscordError {
    DiscordError::Malformed(format!("it is not {what}"))
}

impl From<UserObject> for BotUser {
    fn from(user: UserObject) -> Self {
        Self {
            id: user.id,
            username: user.username,
        }
    }
}

impl From<GuildObject> for Guild {
    fn from(guild: GuildObject) -> Self {
        Self {
            id: guild.id,
            name: guild.name,
            permissions: guild.permissions,
        }
    }
}
