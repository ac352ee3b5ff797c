//! Discord's HTTP API v10 (<https://discord.com/developers/docs/reference>), as far as a bot and the answers to interactions need it.
//!
//! Nothing is repeated in here, and nothing is waited for. A call whose bucket is known to be empty is not made.

pub(crate) mod message;
mod multipart;
mod rates;
pub(crate) mod refusal;
mod wire;

use std::time::Duration;

use agentopia_domain::discord::buckets::Route;
use agentopia_domain::retry::Failure;
use agentopia_platform::RequestContext;
use agentopia_platform::outbound::{self, Limits, OutboundError, OutboundResponse};
use agentopia_platform::random;
use agentopia_platform::settings::{self, SettingsError};
use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;
use url::form_urlencoded;

use refusal::Refusal;

/// The name under which calls are logged.
pub const PROVIDER: &str = "discord";

/// Discord asks each client to name itself in this form (<https://discord.com/developers/docs/reference#user-agent>).
pub(crate) const AGENT: &str = concat!(
    "DiscordBot (https://github.com/agentopia, ",
    env!("CARGO_PKG_VERSION"),
    ")"
);

/// The longest file. Guilds may allow more, and no guild allows less (<https://discord.com/developers/docs/reference#uploading-files>).
pub const FILE_MAX_BYTES: usize = 10 * 1024 * 1024;

const OBJECT_MAX_BYTES: usize = 256 * 1024;
/// 200 guilds with their features.
const GUILDS_MAX_BYTES: usize = 1024 * 1024;
/// 500 channels, each with its overwrites of permissions; or 130 commands in all languages.
const LIST_MAX_BYTES: usize = 4 * 1024 * 1024;
const GUILDS_ROWS: usize = 200;
const GUILDS_PAGES_MAX: usize = 10;
/// A snowflake is a number of 64 bits.
const SNOWFLAKE_MAX_BYTES: usize = 20;
const TOKEN_MAX_BYTES: usize = 1024;

/// Discord.
#[derive(Clone, Debug)]
pub struct Discord {
    /// Where Discord is, without a slash at the end: `https://discord.com`.
    pub origin: String,
    /// How long a call may take, part by part.
    pub limits: Limits,
}

/// An application, as its bot sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Application {
    /// Discord's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The key that Discord signs its interactions with: an Ed25519 public key in hexadecimal.
    pub verify_key: String,
    /// Its bot.
    pub bot: BotUser,
}

/// A bot.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BotUser {
    /// Discord's id of its user.
    pub id: String,
    /// Its name.
    pub username: String,
}

/// A guild that the bot is in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Guild {
    /// Discord's id of it.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What the bot may do in it: a set of bits, as a decimal number.
    pub permissions: Option<String>,
}

/// The first answer to an interaction, as it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Original {
    /// Whether it says no more than that there will be an answer.
    pub is_thinking: bool,
}

/// A message that an interaction is answered with.
#[derive(Clone, Copy, Debug)]
pub struct MessagePart<'a> {
    /// The text; what is longer than 2,000 characters is cut.
    pub content: &'a str,
    /// The one file that the message has, if any.
    pub file: Option<File<'a>>,
}

/// A file of text.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// Its name, with what tells its kind: `answer.txt`.
    pub name: &'a str,
    /// What is in it; at most [`FILE_MAX_BYTES`].
    pub text: &'a str,
}

/// Why a call did not do what was asked. Where there is a text, it is the status and Discord's code
/// (<https://discord.com/developers/docs/topics/opcodes-and-status-codes#json>): Discord's words may repeat what was sent.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum DiscordError {
    /// Too many calls.
    #[error("Discord limits the rate")]
    RateLimited {
        /// When the next may come, if that is known.
        retry_after: Option<Duration>,
        /// Whether more is meant than calls like this one.
        global: bool,
        /// Whether it was others who called too often. Discord does not hold that against us.
        shared: bool,
        /// Whether the call was not made at all, as an earlier answer had told what would come of it.
        held_back: bool,
    },
    /// The bot's token is wrong.
    #[error("Discord does not accept the token: {0}")]
    Unauthorized(String),
    /// The bot may not do this.
    #[error("Discord does not allow it: {0}")]
    Forbidden(String),
    /// The interaction has had its first answer.
    #[error("the interaction has been acknowledged already")]
    AlreadyAcknowledged,
    /// The interaction was not acknowledged in time, or there is none.
    #[error("Discord does not know the interaction")]
    UnknownInteraction,
    /// The interaction's token is over. Whoever uses it all the same is banned in the end.
    #[error("the interaction's token is over: {0}")]
    UnknownWebhook(String),
    /// There is no such message; it may have been deleted.
    #[error("Discord does not know the message")]
    UnknownMessage,
    /// There is no such thing.
    #[error("Discord does not have it: {0}")]
    NotFound(String),
    /// Discord does not take this.
    #[error("Discord refused: {0}")]
    Refused(String),
    /// Discord failed, or what stands before it does not find it.
    #[error("Discord failed: {0}")]
    Failed(String),
    /// A time limit passed.
    #[error("Discord was too slow")]
    TimedOut,
    /// There was no connection, or it broke.
    #[error("the connection to Discord broke: {0}")]
    Broken(String),
    /// The request cannot be sent as things are set up.
    #[error("the request cannot be sent: {0}")]
    Unsendable(String),
    /// What arrived is not what the API says.
    #[error("Discord's answer is malformed: {0}")]
    Malformed(String),
}

/// What lets one call.
#[derive(Clone, Copy)]
enum Authority<'a> {
    /// A bot's token, in a header.
    Bot(&'a SecretString),
    /// An interaction's token, which is in the path.
    Interaction(&'a SecretString),
}

/// A request, and what it draws on. It has no `Debug`: the address of a call for an interaction is a secret.
struct Call {
    route: Route,
    request: http::Request<Bytes>,
}

/// A request's body and its media type.
struct Body {
    content_type: String,
    bytes: Bytes,
}

/// Where Discord is, and how long its calls may take.
pub(crate) async fn address_from_settings() -> Result<(String, Limits), SettingsError> {
    let limits = settings::call_limits(
        "discord_connect_timeout_ms",
        "discord_first_byte_timeout_ms",
        "discord_between_bytes_timeout_ms",
    );
    Ok((settings::required_text("discord_origin").await?, limits.await?))
}

impl Discord {
    /// From the settings `discord_origin` and `discord_…_timeout_ms`.
    ///
    /// # Errors
    ///
    /// If one of them is missing or invalid.
    pub async fn from_settings() -> Result<Self, SettingsError> {
        let (origin, limits) = address_from_settings().await?;
        Ok(Self { origin, limits })
    }

    /// The application that a bot's token belongs to.
    ///
    /// # Errors
    ///
    /// If it cannot be told.
    pub async fn application(&self, context: &RequestContext, bot: &SecretString) -> Result<Application, DiscordError> {
        let authority = Authority::Bot(bot);
        let call = self.call(
            Method::GET,
            "GET /applications/@me",
            "",
            "applications/@me",
            authority,
            None,
        )?;
        let application = wire::application(&self.read(context, call, OBJECT_MAX_BYTES).await?)?;
        let bot = match application.bot {
            Some(bot) => bot,
            None => {
                let call = self.call(Method::GET, "GET /users/@me", "", "users/@me", authority, None)?;
                wire::user(&self.read(context, call, OBJECT_MAX_BYTES).await?)?
            }
        };

        Ok(Application {
            id: application.id,
            name: application.name,
            verify_key: application.verify_key,
            bot,
        })
    }

    /// All guilds that a bot is in, by their ids.
    ///
    /// # Errors
    ///
    /// If not all of them can be told, which includes that there are more than 2,000.
    pub async fn guilds(&self, context: &RequestContext, bot: &SecretString) -> Result<Vec<Guild>, DiscordError> {
        let mut guilds = Vec::new();
        let mut after = 0;
        for _page in 0..GUILDS_PAGES_MAX {
            let path = format!("users/@me/guilds?limit={GUILDS_ROWS}&after={after}");
            let call = self.call(
                Method::GET,
                "GET /users/@me/guilds",
                "",
                &path,
                Authority::Bot(bot),
                None,
            )?;
            let page = wire::guilds(&self.read(context, call, GUILDS_MAX_BYTES).await?)?;
            let count = page.guilds.len();
            guilds.extend(page.guilds);
            if count < GUILDS_ROWS {
                return Ok(guilds);
            }
            if page.last <= after {
                return Err(DiscordError::Malformed("the next page is the same one".to_owned()));
            }
            after = page.last;
        }
        Err(DiscordError::Malformed(format!(
            "there are more than {} guilds",
            GUILDS_ROWS * GUILDS_PAGES_MAX
        )))
    }

    /// A guild's text channels: Discord's objects, with `id`, `name`, `type` (0), `position` and `parent_id` alone.
    ///
    /// # Errors
    ///
    /// If they cannot be told.
    pub async fn text_channels(
        &self,
        context: &RequestContext,
        bot: &SecretString,
        guild_id: &str,
    ) -> Result<Vec<Value>, DiscordError> {
        let guild_id = snowflake("guild", guild_id)?;
        let path = format!("guilds/{guild_id}/channels");
        let call = self.call(
            Method::GET,
            "GET /guilds/{guild_id}/channels",
            guild_id,
            &path,
            Authority::Bot(bot),
            None,
        )?;
        wire::text_channels(&self.read(context, call, LIST_MAX_BYTES).await?)
    }

    /// An application's global commands, as Discord has them.
    ///
    /// # Errors
    ///
    /// If they cannot be told.
    pub async fn commands(
        &self,
        context: &RequestContext,
        bot: &SecretString,
        application_id: &str,
    ) -> Result<Vec<Value>, DiscordError> {
        let application_id = snowflake("application", application_id)?;
        let path = format!("applications/{application_id}/commands?with_localizations=true");
        let call = self.call(
            Method::GET,
            "GET /applications/{application_id}/commands",
            "",
            &path,
            Authority::Bot(bot),
            None,
        )?;
        wire::objects(&self.read(context, call, LIST_MAX_BYTES).await?)
    }

    /// Puts these commands in the place of all global ones of an application. Those that are new count against a limit of 200 a day.
    ///
    /// # Errors
    ///
    /// If there is no answer that they are registered. Asking again does no harm.
    pub async fn overwrite_commands(
        &self,
        context: &RequestContext,
        bot: &SecretString,
        application_id: &str,
        commands: &[Value],
    ) -> Result<Vec<Value>, DiscordError> {
        let application_id = snowflake("application", application_id)?;
        let path = format!("applications/{application_id}/commands");
        let call = self.call(
            Method::PUT,
            "PUT /applications/{application_id}/commands",
            "",
            &path,
            Authority::Bot(bot),
            Some(json(&commands)?),
        )?;
        wire::objects(&self.read(context, call, LIST_MAX_BYTES).await?)
    }

    /// Writes a message into a channel, as the bot. It mentions nobody.
    ///
    /// Discord takes one message of each `nonce` (at most 25 characters) within a few minutes: sent again so soon, it is not there twice.
    ///
    /// # Errors
    ///
    /// If there is no answer that it is in the channel.
    pub async fn create_message(
        &self,
        context: &RequestContext,
        bot: &SecretString,
        channel_id: &str,
        content: &str,
        nonce: &str,
    ) -> Result<(), DiscordError> {
        let call = self.channel_message(bot, channel_id, content, nonce)?;
        self.make(context, call).await
    }

    /// Answers an interaction with "thinking…", which [`Self::edit_original`] replaces later.
    ///
    /// # Errors
    ///
    /// If there is no answer that it was taken. If [`DiscordError::is_ambiguous`], it may have been.
    pub async fn defer(
        &self,
        context: &RequestContext,
        interaction_id: &str,
        token: &SecretString,
        ephemeral: bool,
    ) -> Result<(), DiscordError> {
        let call = self.deferral(interaction_id, token, ephemeral)?;
        self.make(context, call).await
    }

    /// Looks at the first answer to an interaction.
    ///
    /// # Errors
    ///
    /// If it cannot be told; [`DiscordError::UnknownWebhook`] if there is none.
    pub async fn original(
        &self,
        context: &RequestContext,
        application_id: &str,
        token: &SecretString,
    ) -> Result<Original, DiscordError> {
        let application_id = snowflake("application", application_id)?;
        let path = format!("webhooks/{application_id}/{}/messages/@original", segment(token)?);
        let call = self.call(
            Method::GET,
            "GET /webhooks/{application_id}/{token}/messages/@original",
            application_id,
            &path,
            Authority::Interaction(token),
            None,
        )?;
        wire::original(&self.read(context, call, OBJECT_MAX_BYTES).await?)
    }

    /// Makes the first answer to an interaction be this message: its text, and its file alone. Doing it again does no harm.
    ///
    /// # Errors
    ///
    /// If there is no answer that it was taken.
    pub async fn edit_original(
        &self,
        context: &RequestContext,
        application_id: &str,
        token: &SecretString,
        part: &MessagePart<'_>,
    ) -> Result<(), DiscordError> {
        let call = self.edit(application_id, token, part)?;
        self.make(context, call).await
    }

    /// Sends a further message to an interaction. It mentions nobody.
    ///
    /// # Errors
    ///
    /// If there is no answer that it is there. If [`DiscordError::is_ambiguous`], it may be, and sent again it would be there twice.
    pub async fn follow_up(
        &self,
        context: &RequestContext,
        application_id: &str,
        token: &SecretString,
        content: &str,
        ephemeral: bool,
    ) -> Result<(), DiscordError> {
        let call = self.further_message(application_id, token, content, ephemeral)?;
        self.make(context, call).await
    }

    fn channel_message(
        &self,
        bot: &SecretString,
        channel_id: &str,
        content: &str,
        nonce: &str,
    ) -> Result<Call, DiscordError> {
        let channel_id = snowflake("channel", channel_id)?;
        let content = message::cut(content);
        let path = format!("channels/{channel_id}/messages");
        self.call(
            Method::POST,
            "POST /channels/{channel_id}/messages",
            channel_id,
            &path,
            Authority::Bot(bot),
            Some(json(&message::Message::new(&content).once(nonce))?),
        )
    }

    fn deferral(&self, interaction_id: &str, token: &SecretString, ephemeral: bool) -> Result<Call, DiscordError> {
        let interaction_id = snowflake("interaction", interaction_id)?;
        let path = format!("interactions/{interaction_id}/{}/callback", segment(token)?);
        self.call(
            Method::POST,
            "POST /interactions/{interaction_id}/{token}/callback",
            interaction_id,
            &path,
            Authority::Interaction(token),
            Some(json(&wire::Deferral::new(ephemeral))?),
        )
    }

    fn edit(&self, application_id: &str, token: &SecretString, part: &MessagePart<'_>) -> Result<Call, DiscordError> {
        let application_id = snowflake("application", application_id)?;
        let path = format!("webhooks/{application_id}/{}/messages/@original", segment(token)?);
        self.call(
            Method::PATCH,
            "PATCH /webhooks/{application_id}/{token}/messages/@original",
            application_id,
            &path,
            Authority::Interaction(token),
            Some(edit_body(part)?),
        )
    }

    fn further_message(
        &self,
        application_id: &str,
        token: &SecretString,
        content: &str,
        ephemeral: bool,
    ) -> Result<Call, DiscordError> {
        let application_id = snowflake("application", application_id)?;
        let content = message::cut(content);
        let path = format!("webhooks/{application_id}/{}", segment(token)?);
        self.call(
            Method::POST,
            "POST /webhooks/{application_id}/{token}",
            application_id,
            &path,
            Authority::Interaction(token),
            Some(json(&message::Message::new(&content).ephemeral(ephemeral))?),
        )
    }

    /// A call below `/api/v10/`. Its `resource` is what heads the path and has limits of its own.
    fn call(
        &self,
        method: Method,
        name: &'static str,
        resource: &str,
        path: &str,
        authority: Authority<'_>,
        body: Option<Body>,
    ) -> Result<Call, DiscordError> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}/api/v10/{path}", self.origin))
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT);
        if let Authority::Bot(token) = authority {
            let mut token = HeaderValue::try_from(format!("Bot {}", token.expose_secret()))
                .map_err(|_| DiscordError::Unsendable("the bot's token is not a header value".to_owned()))?;
            token.set_sensitive(true);
            request = request.header(AUTHORIZATION, token);
        }
        let bytes = match body {
            Some(body) => {
                request = request.header(CONTENT_TYPE, body.content_type);
                body.bytes
            }
            None => Bytes::new(),
        };
        // The builder's error may show the path, and with it the token.
        let request = request
            .body(bytes)
            .map_err(|_| DiscordError::Unsendable("the address is not a URL".to_owned()))?;

        let (Authority::Bot(token) | Authority::Interaction(token)) = authority;
        Ok(Call {
            route: rates::route(name, token, resource),
            request,
        })
    }

    /// Makes a call whose answer is that it was taken, and nothing else that counts.
    async fn make(&self, context: &RequestContext, call: Call) -> Result<(), DiscordError> {
        self.send(context, call).await.map(drop)
    }

    /// Makes a call, and reads what it yields.
    async fn read(&self, context: &RequestContext, call: Call, limit: usize) -> Result<Bytes, DiscordError> {
        Ok(self.send(context, call).await?.bytes(limit).await?)
    }

    async fn send(&self, context: &RequestContext, call: Call) -> Result<OutboundResponse, DiscordError> {
        rates::take(call.route)?;
        let response = outbound::send(context, PROVIDER, call.request, self.limits).await?;
        rates::note(call.route, &response.headers);
        if response.status.is_success() {
            return Ok(response);
        }

        let refusal = Refusal::read(response).await;
        rates::refuse(call.route, &refusal);
        Err(wire::error(&refusal))
    }
}

impl DiscordError {
    /// Whether what was asked for may have been done all the same.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        matches!(
            self,
            Self::Failed(_) | Self::TimedOut | Self::Broken(_) | Self::Malformed(_)
        )
    }

    /// Whether the same call may succeed when it is made again.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::RateLimited { retry_after, .. } => Failure::Transient {
                retry_after: *retry_after,
            },
            Self::Failed(_) | Self::TimedOut | Self::Broken(_) | Self::Unsendable(_) => {
                Failure::Transient { retry_after: None }
            }
            Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::AlreadyAcknowledged
            | Self::UnknownInteraction
            | Self::UnknownWebhook(_)
            | Self::UnknownMessage
            | Self::NotFound(_)
            | Self::Refused(_)
            | Self::Malformed(_) => Failure::Permanent,
        }
    }

    /// Whether Discord counts it: who has 10,000 of these in 10 minutes is shut out
    /// (<https://discord.com/developers/docs/topics/rate-limits#invalid-request-limit-aka-cloudflare-bans>).
    #[must_use]
    pub fn is_invalid_request(&self) -> bool {
        match self {
            Self::RateLimited { shared, held_back, .. } => !shared && !held_back,
            Self::Unauthorized(_) | Self::Forbidden(_) => true,
            // An interaction's token that is wrong is a 401 as well, and one that is over a 404, which is not counted.
            Self::UnknownWebhook(named) => named.starts_with("401"),
            _ => false,
        }
    }
}

impl From<OutboundError> for DiscordError {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::TimedOut => Self::TimedOut,
            OutboundError::Denied(cause) => Self::Unsendable(cause),
            OutboundError::Broken(cause) => Self::Broken(cause),
        }
    }
}

fn json(body: &impl Serialize) -> Result<Body, DiscordError> {
    let bytes = serde_json::to_vec(body).map_err(|_| DiscordError::Unsendable("the body is not JSON".to_owned()))?;
    Ok(Body {
        content_type: "application/json".to_owned(),
        bytes: bytes.into(),
    })
}

/// The body of an edit: JSON, or, with a file, a form with that JSON and the file in it.
fn edit_body(part: &MessagePart<'_>) -> Result<Body, DiscordError> {
    let content = message::cut(part.content);
    let names: Vec<&str> = part.file.iter().map(|file| file.name).collect();
    let body = json(&message::Message::new(&content).with_files(&names))?;
    let Some(file) = part.file else {
        return Ok(body);
    };
    if file.text.len() > FILE_MAX_BYTES {
        return Err(DiscordError::Refused(format!(
            "the file is larger than {FILE_MAX_BYTES} bytes"
        )));
    }

    let boundary = multipart::boundary(&body.bytes, file.text, random::hex::<16>);
    Ok(Body {
        content_type: format!("multipart/form-data; boundary={boundary}"),
        bytes: multipart::form(&boundary, &body.bytes, file.name, file.text),
    })
}

/// An id of Discord's, which may stand in a path.
fn snowflake<'a>(what: &str, id: &'a str) -> Result<&'a str, DiscordError> {
    let is_snowflake = (1..=SNOWFLAKE_MAX_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
    is_snowflake
        .then_some(id)
        .ok_or_else(|| DiscordError::Unsendable(format!("the id of the {what} is not a number of Discord's")))
}

/// An interaction's token, as a segment of a path.
fn segment(token: &SecretString) -> Result<String, DiscordError> {
    let token = token.expose_secret();
    let is_segment = (1..=TOKEN_MAX_BYTES).contains(&token.len()) && !token.starts_with('.');
    is_segment
        .then(|| form_urlencoded::byte_serialize(token.as_bytes()).collect())
        .ok_or_else(|| DiscordError::Unsendable("the interaction's token is none".to_owned()))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    const APPLICATION: &str = "816437322781949970";
    const INTERACTION: &str = "846462639134605312";

    fn client() -> Discord {
        Discord {
            origin: "https://discord.example".to_owned(),
            limits: Limits {
                connect: Duration::from_secs(1),
                first_byte: Duration::from_secs(1),
                between_bytes: Duration::from_secs(1),
            },
        }
    }

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    /// A request, as it goes over the wire, as far as it is text.
    fn shown(call: Result<Call, DiscordError>) -> String {
        let (head, body) = call.map(|call| call.request.into_parts()).unwrap();
        let header = |name| head.headers.get(name).map_or("-", |value| value.to_str().unwrap());
        format!(
            "{} {}\n{} {}\n{}",
            head.method,
            head.uri,
            header(AUTHORIZATION),
            header(CONTENT_TYPE),
            std::str::from_utf8(&body).unwrap()
        )
    }

    #[test]
    fn an_interaction_is_deferred_by_its_callback() {
        let deferral = |ephemeral| client().deferral(INTERACTION, &secret("aW50_Zx-9="), ephemeral);

        assert_snapshot!(shown(deferral(false)), @r#"
        POST https://discord.example/api/v10/interactions/846462639134605312/aW50_Zx-9%3D/callback
        - application/json
        {"type":5}
        "#);
        assert_snapshot!(shown(deferral(true)), @r#"
        POST https://discord.example/api/v10/interactions/846462639134605312/aW50_Zx-9%3D/callback
        - application/json
        {"type":5,"data":{"flags":64}}
        "#);
    }

    #[test]
    fn an_edit_leaves_the_message_with_what_it_names_and_nothing_else() {
        let part = MessagePart {
            content: "It is @everyone's",
            file: None,
        };

        assert_snapshot!(shown(client().edit(APPLICATION, &secret("aW50"), &part)), @r#"
        PATCH https://discord.example/api/v10/webhooks/816437322781949970/aW50/messages/@original
        - application/json
        {"content":"It is @everyone's","allowed_mentions":{"parse":[]},"attachments":[]}
        "#);
    }

    #[test]
    fn a_file_goes_in_a_form() {
        let part = MessagePart {
            content: "Its beginning",
            file: Some(File {
                name: "answer.txt",
                text: "All of it: \u{1f389}\r\n--agentopia-0\r\n",
            }),
        };

        let call = client().edit(APPLICATION, &secret("aW50"), &part);

        let shown = shown(call);
        let (_, boundary) = shown.lines().nth(1).unwrap().split_once("boundary=").unwrap();
        assert_eq!(shown.matches(boundary).count(), 4);
        assert_snapshot!(shown.replace(boundary, "[boundary]"), @r#"
        PATCH https://discord.example/api/v10/webhooks/816437322781949970/aW50/messages/@original
        - multipart/form-data; boundary=[boundary]
        --[boundary]
        Content-Disposition: form-data; name="payload_json"
        Content-Type: application/json

        {"content":"Its beginning","allowed_mentions":{"parse":[]},"attachments":[{"id":0,"filename":"answer.txt"}]}
        --[boundary]
        Content-Disposition: form-data; name="files[0]"; filename="answer.txt"
        Content-Type: text/plain; charset=utf-8

        All of it: 🎉
        --agentopia-0

        --[boundary]--
        "#);
    }

    #[test]
    fn a_file_that_no_guild_takes_is_refused() {
        let text = "a".repeat(FILE_MAX_BYTES + 1);
        let part = |text| MessagePart {
            content: "Its beginning",
            file: Some(File {
                name: "answer.txt",
                text,
            }),
        };

        assert!(matches!(edit_body(&part(&text)), Err(DiscordError::Refused(_))));
        assert!(edit_body(&part(&text[1..])).is_ok());
    }

    #[test]
    fn further_messages_may_be_for_one_reader() {
        let further = |ephemeral| client().further_message(APPLICATION, &secret("aW50"), "And more", ephemeral);

        assert_snapshot!(shown(further(false)), @r#"
        POST https://discord.example/api/v10/webhooks/816437322781949970/aW50
        - application/json
        {"content":"And more","allowed_mentions":{"parse":[]}}
        "#);
        assert_snapshot!(shown(further(true)), @r#"
        POST https://discord.example/api/v10/webhooks/816437322781949970/aW50
        - application/json
        {"content":"And more","allowed_mentions":{"parse":[]},"flags":64}
        "#);
    }

    #[test]
    fn a_message_of_the_bot_is_taken_once() {
        let call = client().channel_message(&secret("MTk4.Cl2F"), "41771983423143937", "Too late", INTERACTION);

        assert_snapshot!(shown(call), @r#"
        POST https://discord.example/api/v10/channels/41771983423143937/messages
        Bot MTk4.Cl2F application/json
        {"content":"Too late","allowed_mentions":{"parse":[]},"nonce":"846462639134605312","enforce_nonce":true}
        "#);
    }

    #[test]
    fn long_texts_are_cut() {
        let text = "word ".repeat(1000);
        let part = MessagePart {
            content: &text,
            file: None,
        };
        let token = secret("aW50");

        for call in [
            client().edit(APPLICATION, &token, &part),
            client().further_message(APPLICATION, &token, &text, true),
            client().channel_message(&token, APPLICATION, &text, "1"),
        ] {
            let body = call.map(|call| call.request.into_body()).unwrap();
            let message: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(message["content"], message::cut(&text));
        }
    }

    #[test]
    fn ids_and_tokens_do_not_lead_elsewhere() {
        let token = secret("aW50");
        for id in ["", "1/..", "@me", "123456789012345678901", "-1", "１"] {
            let calls = [
                client().deferral(id, &token, false),
                client().further_message(id, &token, "hello", false),
                client().channel_message(&token, id, "hello", "1"),
            ];
            for call in calls {
                assert!(matches!(call.err(), Some(DiscordError::Unsendable(_))), "{id}");
            }
        }
        for (token, expected) in [
            ("a/../b?c#d", Some("a%2F..%2Fb%3Fc%23d")),
            ("a\r\nb", Some("a%0D%0Ab")),
            ("..", None),
            ("", None),
        ] {
            let segment = segment(&secret(token)).ok();
            assert_eq!(segment.as_deref(), expected, "{token}");
        }
    }

    #[test]
    fn no_token_is_shown() {
        let broken = Discord {
            origin: "https://discord example".to_owned(),
            ..client()
        };
        let errors = [
            broken.deferral(INTERACTION, &secret("canary"), false).err().unwrap(),
            client()
                .channel_message(&secret("canary\n"), "1", "hello", "1")
                .err()
                .unwrap(),
            client().deferral("canary", &secret("canary"), false).err().unwrap(),
            segment(&secret(&format!(".canary{}", "a".repeat(2000)))).err().unwrap(),
        ];

        for error in errors {
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
        let call = client().channel_message(&secret("canary"), "1", "hello", "1");
        assert!(!format!("{:?}", call.map(|call| call.request).unwrap()).contains("canary"));
    }

    #[test]
    fn what_may_have_been_done_and_what_counts_against_us_is_told() {
        let transient = |retry_after| Failure::Transient { retry_after };
        let after = Some(Duration::from_secs(2));
        let limited = |shared, held_back| DiscordError::RateLimited {
            retry_after: after,
            global: false,
            shared,
            held_back,
        };
        let cases = [
            (limited(false, false), false, transient(after), true),
            (limited(true, false), false, transient(after), false),
            (limited(false, true), false, transient(after), false),
            (
                DiscordError::Unauthorized("401 0".into()),
                false,
                Failure::Permanent,
                true,
            ),
            (
                DiscordError::Forbidden("403 50001".into()),
                false,
                Failure::Permanent,
                true,
            ),
            (DiscordError::AlreadyAcknowledged, false, Failure::Permanent, false),
            (DiscordError::UnknownInteraction, false, Failure::Permanent, false),
            (
                DiscordError::UnknownWebhook("401 50027".into()),
                false,
                Failure::Permanent,
                true,
            ),
            (
                DiscordError::UnknownWebhook("404 10015".into()),
                false,
                Failure::Permanent,
                false,
            ),
            (DiscordError::UnknownMessage, false, Failure::Permanent, false),
            (
                DiscordError::NotFound("404 10004".into()),
                false,
                Failure::Permanent,
                false,
            ),
            (
                DiscordError::Refused("400 50035".into()),
                false,
                Failure::Permanent,
                false,
            ),
            (
                DiscordError::Malformed("it is not a user".into()),
                true,
                Failure::Permanent,
                false,
            ),
            (DiscordError::Failed("500 0".into()), true, transient(None), false),
            (OutboundError::TimedOut.into(), true, transient(None), false),
            (
                OutboundError::Broken("reset".into()).into(),
                true,
                transient(None),
                false,
            ),
            (
                OutboundError::Denied("host".into()).into(),
                false,
                transient(None),
                false,
            ),
        ];

        for (error, is_ambiguous, failure, is_invalid) in cases {
            assert_eq!(
                (error.is_ambiguous(), error.failure(), error.is_invalid_request()),
                (is_ambiguous, failure, is_invalid),
                "{error}"
            );
        }
    }
}
