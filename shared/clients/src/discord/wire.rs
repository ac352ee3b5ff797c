//! The wire format, as far as it is used. Unknown fields are ignored.

use agentopia_domain::discord::buckets::Reach;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::message::EPHEMERAL;
use super::refusal::Refusal;
use super::{BotUser, DiscordError, Guild, Original};

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

/// `LOADING`: an interaction is being answered (<https://discord.com/developers/docs/resources/message#message-object-message-flags>).
const LOADING: u64 = 1 << 7;

#[derive(Deserialize)]
struct OriginalMessage {
    /// Without one it is no message.
    #[serde(rename = "id")]
    _id: String,
    #[serde(default)]
    flags: u64,
}

/// The first answer to an interaction.
pub(super) fn original(body: &[u8]) -> Result<Original, DiscordError> {
    let message: OriginalMessage = parse(body, "a message")?;
    Ok(Original {
        is_thinking: message.flags & LOADING != 0,
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
        // It is not Discord that says so but what stands before it, and it may be there the next time.
        (404, None) => DiscordError::Failed(named),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;
    use insta::{assert_json_snapshot, assert_snapshot};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_application_is_read_with_or_without_its_bot() {
        let key = "1e0a356058d627ca38a5c8c9648818061d49e49bd9da9e3ab17d98ad4d6bc2f8";
        let with = format!(
            r#"{{"id":"172150183260323840","name":"Baba O-Riley","icon":null,"description":"Test","bot_public":true,"verify_key":"{key}",
            "bot":{{"id":"172150183260323840","username":"Baba","discriminator":"0000","avatar":null,"bot":true}}}}"#
        );
        let without = format!(r#"{{"id":"172150183260323840","name":"Baba O-Riley","verify_key":"{key}"}}"#);

        let read = application(with.as_bytes()).unwrap();
        assert_eq!(
            (read.id.as_str(), read.name.as_str()),
            ("172150183260323840", "Baba O-Riley")
        );
        assert_eq!(read.verify_key, key);
        let bot = BotUser {
            id: "172150183260323840".to_owned(),
            username: "Baba".to_owned(),
        };
        assert_eq!(read.bot.as_ref(), Some(&bot));
        assert_eq!(application(without.as_bytes()).unwrap().bot, None);
        assert_eq!(
            user(br#"{"id":"172150183260323840","username":"Baba","mfa_enabled":true}"#),
            Ok(bot)
        );
    }

    #[test]
    fn guilds_are_read_with_where_the_next_page_begins() {
        let body = br#"[{"id":"80351110224678912","name":"1337 Krew","owner":true,"permissions":"36953089","features":["NEWS"]},
            {"id":"9","name":"small","permissions":null}]"#;

        let page = guilds(body).unwrap();

        assert_eq!(page.last, 80_351_110_224_678_912);
        let read: Vec<_> = page
            .guilds
            .iter()
            .map(|guild| (&*guild.id, &*guild.name, guild.permissions.as_deref()))
            .collect();
        assert_eq!(
            read,
            [
                ("80351110224678912", "1337 Krew", Some("36953089")),
                ("9", "small", None)
            ]
        );
    }

    #[test]
    fn text_channels_are_told_from_others_and_are_little() {
        let body = br#"[
            {"id":"1","type":4,"name":"Text","position":0,"permission_overwrites":[]},
            {"id":"2","type":0,"name":"general","position":6,"parent_id":"1","topic":"24/7","nsfw":true,"permission_overwrites":[{"id":"3"}]},
            {"id":"4","type":2,"name":"voice","position":7,"bitrate":64000},
            {"id":"5","type":0,"name":"alone","position":8,"parent_id":null}]"#;

        assert_json_snapshot!(text_channels(body).unwrap(), @r#"
        [
          {
            "id": "2",
            "name": "general",
            "parent_id": "1",
            "position": 6,
            "type": 0
          },
          {
            "id": "5",
            "name": "alone",
            "parent_id": null,
            "position": 8,
            "type": 0
          }
        ]
        "#);
    }

    #[test]
    fn what_is_not_what_the_api_says_is_malformed_and_not_repeated() {
        let body = br#"[{"canary":1}, 2]"#;

        let errors = [
            application(body).err().unwrap(),
            user(body).err().unwrap(),
            guilds(body).err().unwrap(),
            guilds(br#"[{"id":"canary","name":""}]"#).err().unwrap(),
            text_channels(body).err().unwrap(),
            objects(body).err().unwrap(),
        ];

        assert_snapshot!(errors.map(|error| error.to_string()).join("\n"), @"
        Discord's answer is malformed: it is not an application
        Discord's answer is malformed: it is not a user
        Discord's answer is malformed: it is not a list of guilds
        Discord's answer is malformed: a guild's id is no number
        Discord's answer is malformed: it is not a list of channels
        Discord's answer is malformed: it is not a list of objects
        ");
    }

    #[test]
    fn an_answer_to_come_is_told_from_one_that_is_there() {
        let cases = [
            (r#"{"id":"1","content":"","flags":128}"#, Ok(true)),
            (r#"{"id":"1","content":"","flags":192}"#, Ok(true)),
            (r#"{"id":"1","content":"Yes.","flags":64}"#, Ok(false)),
            (r#"{"id":"1","content":"Yes."}"#, Ok(false)),
            ("{}", Err(malformed("a message"))),
            ("[]", Err(malformed("a message"))),
            (r#"{"id":"1","flags":-1}"#, Err(malformed("a message"))),
        ];

        for (body, expected) in cases {
            let is_thinking = original(body.as_bytes()).map(|original| original.is_thinking);
            assert_eq!(is_thinking, expected, "{body}");
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let limited = |seconds: Option<u64>, global| DiscordError::RateLimited {
            retry_after: seconds.map(Duration::from_secs),
            global,
            shared: false,
            held_back: false,
        };
        let cases = [
            (
                400,
                r#"{"message":"Interaction has already been acknowledged.","code":40060}"#,
                DiscordError::AlreadyAcknowledged,
            ),
            (
                404,
                r#"{"message":"Unknown interaction","code":10062}"#,
                DiscordError::UnknownInteraction,
            ),
            (
                404,
                r#"{"message":"Unknown Webhook","code":10015}"#,
                DiscordError::UnknownWebhook("404 10015".into()),
            ),
            (
                401,
                r#"{"message":"Invalid Webhook Token","code":50027}"#,
                DiscordError::UnknownWebhook("401 50027".into()),
            ),
            (
                404,
                r#"{"message":"Unknown Message","code":10008}"#,
                DiscordError::UnknownMessage,
            ),
            (
                404,
                r#"{"message":"Unknown Guild","code":10004}"#,
                DiscordError::NotFound("404 10004".into()),
            ),
            (
                404,
                r#"{"message":"404: Not Found","code":0}"#,
                DiscordError::NotFound("404 0".into()),
            ),
            (404, "<html>not here</html>", DiscordError::Failed("404 no code".into())),
            (
                401,
                r#"{"message":"401: Unauthorized","code":0}"#,
                DiscordError::Unauthorized("401 0".into()),
            ),
            (
                403,
                r#"{"message":"Missing Access","code":50001}"#,
                DiscordError::Forbidden("403 50001".into()),
            ),
            (403, "<html>banned</html>", limited(None, true)),
            (429, r#"{"retry_after":2.0,"global":false}"#, limited(Some(2), false)),
            (429, r#"{"retry_after":2.0,"global":true}"#, limited(Some(2), true)),
            (
                400,
                r#"{"message":"Invalid Form Body","code":50035}"#,
                DiscordError::Refused("400 50035".into()),
            ),
            (413, "", DiscordError::Refused("413 no code".into())),
            (302, "", DiscordError::Refused("302 no code".into())),
            (408, "", DiscordError::TimedOut),
            (504, "", DiscordError::TimedOut),
            (
                500,
                r#"{"message":"500: Internal Server Error","code":0}"#,
                DiscordError::Failed("500 0".into()),
            ),
            // What failed on Discord's side may have been done, whatever the code.
            (502, r#"{"code":10062}"#, DiscordError::Failed("502 10062".into())),
        ];

        for (status, body, expected) in cases {
            let refusal = Refusal::new(status, &HeaderMap::new(), body.as_bytes());
            assert_eq!(error(&refusal), expected, "{status} {body}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bodies_do_not_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _any = (application(&body), user(&body), original(&body));
            let _lists = (guilds(&body), text_channels(&body), objects(&body));
        }
    }
}
