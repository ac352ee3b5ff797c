//! A message to an agent, and what one from Discord must say of itself.

use agentopia_domain::chat::{InvalidMessage, MessageText};
use agentopia_domain::ids::{AgentId, ChannelId, WorkspaceId};
use agentopia_platform::db::chat::OutsideConversation;
use agentopia_platform::error::Kind;
use agentopia_platform::{ApiError, fields};

/// The longest display name of somebody outside, in characters. Discord's are of 32.
const AUTHOR_NAME_MAX_CHARS: usize = 200;

/// A message to an agent.
#[derive(Debug)]
pub(crate) struct AgentMessage {
    pub(crate) text: MessageText,
    pub(crate) agent_id: AgentId,
    pub(crate) channel_id: Option<ChannelId>,
    pub(crate) workspace_id: Option<WorkspaceId>,
    pub(crate) outside: Option<OutsideConversation>,
}

/// A message from a Discord guild, as whoever brings it writes it.
pub(crate) struct GuildMessage<'a> {
    pub(crate) text: Option<&'a str>,
    pub(crate) agent_id: Option<&'a str>,
    pub(crate) channel_id: Option<&'a str>,
    pub(crate) guild_id: Option<&'a str>,
    pub(crate) author_id: Option<&'a str>,
    pub(crate) author_name: Option<&'a str>,
}

impl GuildMessage<'_> {
    /// Parses the fields, naming the first that is not what it must be.
    pub(crate) fn parse(&self) -> Result<AgentMessage, ApiError> {
        let agent_id = fields::required_id("agentId", self.agent_id)?;
        let text = text(self.text, "Message content is required.")?;
        let channel_id = fields::required("channelId", snowflake("channelId", self.channel_id)?)?;
        let guild_id = fields::required("guildId", snowflake("guildId", self.guild_id)?)?;

        Ok(AgentMessage {
            text,
            agent_id,
            channel_id: None,
            workspace_id: None,
            outside: Some(OutsideConversation {
                provider: "discord",
                external_channel_id: channel_id,
                external_guild_id: Some(guild_id),
                external_author_id: snowflake("authorId", self.author_id)?,
                author_name: author_name(self.author_name)?,
            }),
        })
    }
}

/// What is said.
pub(crate) fn text(message: Option<&str>, if_missing: &'static str) -> Result<MessageText, ApiError> {
    let missing = || ApiError::new(Kind::Invalid, "missing_field", if_missing);
    match MessageText::parse(message.ok_or_else(missing)?) {
        Ok(text) => Ok(text),
        Err(InvalidMessage::Empty) => Err(missing()),
        Err(error) => Err(ApiError::invalid_field("message", error)),
    }
}

/// An id of Discord's, if there is one.
pub(crate) fn snowflake(field: &str, value: Option<&str>) -> Result<Option<String>, ApiError> {
    match value.and_then(present) {
        None => Ok(None),
        Some(id) if is_snowflake(id) => Ok(Some(id.to_owned())),
        Some(_) => Err(ApiError::invalid_field(field, "is not a Discord id")),
    }
}

/// What somebody is called, if it is said.
pub(crate) fn author_name(value: Option<&str>) -> Result<Option<String>, ApiError> {
    let name = value.and_then(present);
    let name = name.map(|name| fields::text("authorName", name, 1..=AUTHOR_NAME_MAX_CHARS));
    Ok(name.transpose()?.map(str::to_owned))
}

/// An empty text is an absent one: forms send both.
pub(crate) fn present(value: &str) -> Option<&str> {
    Some(value.trim()).filter(|value| !value.is_empty())
}

/// Discord's ids are 64-bit integers as text (<https://discord.com/developers/docs/reference#snowflakes>).
pub(crate) fn is_snowflake(text: &str) -> bool {
    (17..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000-0000-4000-8000-000000000001";
    const CHANNEL: &str = "123456789012345678";
    const GUILD: &str = "223456789012345678";

    fn message() -> GuildMessage<'static> {
        GuildMessage {
            text: Some(" hi "),
            agent_id: Some(ID),
            channel_id: Some(CHANNEL),
            guild_id: Some(GUILD),
            author_id: Some("323456789012345678"),
            author_name: Some("Ada"),
        }
    }

    #[test]
    fn a_guilds_message_belongs_to_its_channel() {
        let message = message().parse().unwrap();

        let outside = message.outside.unwrap();
        assert_eq!(message.text.as_str(), "hi");
        assert_eq!((message.channel_id, message.workspace_id), (None, None));
        assert_eq!(outside.provider, "discord");
        assert_eq!(outside.external_channel_id, CHANNEL);
        assert_eq!(outside.external_guild_id.as_deref(), Some(GUILD));
        assert_eq!(outside.external_author_id.as_deref(), Some("323456789012345678"));
        assert_eq!(outside.author_name.as_deref(), Some("Ada"));
    }

    #[test]
    fn an_author_may_be_unknown() {
        let message = GuildMessage {
            author_id: Some(""),
            author_name: Some(" "),
            ..message()
        };

        let outside = message.parse().unwrap().outside.unwrap();
        assert_eq!((outside.external_author_id, outside.author_name), (None, None));
    }

    #[test]
    fn each_field_is_refused_by_its_name() {
        let longest = "é".repeat(200);
        let too_long = format!("{longest}e");
        let with = |change: &dyn Fn(&mut GuildMessage<'_>)| {
            let mut message = GuildMessage {
                author_name: Some(&longest),
                ..message()
            };
            change(&mut message);
            message.parse().map(|_| ()).map_err(|error| error.message().to_owned())
        };
        let refused = |message: &str| Err(message.to_owned());

        assert_eq!(with(&|_| ()), Ok(()));
        assert_eq!(with(&|it| it.agent_id = None), refused("agentId is required."));
        assert_eq!(with(&|it| it.agent_id = Some("me")), refused("agentId is not a UUID."));
        assert_eq!(with(&|it| it.text = None), refused("Message content is required."));
        assert_eq!(with(&|it| it.text = Some(" ")), refused("Message content is required."));
        assert_eq!(
            with(&|it| it.text = Some("a\0b")),
            refused("message contains a NUL character.")
        );
        assert_eq!(with(&|it| it.channel_id = None), refused("channelId is required."));
        assert_eq!(
            with(&|it| it.channel_id = Some(ID)),
            refused("channelId is not a Discord id.")
        );
        assert_eq!(with(&|it| it.guild_id = None), refused("guildId is required."));
        assert_eq!(with(&|it| it.guild_id = Some("")), refused("guildId is required."));
        assert_eq!(
            with(&|it| it.guild_id = Some("12345")),
            refused("guildId is not a Discord id.")
        );
        assert_eq!(
            with(&|it| it.author_id = Some("ada")),
            refused("authorId is not a Discord id.")
        );
        assert_eq!(
            with(&|it| it.author_name = Some("a\0")),
            refused("authorName contains a NUL character.")
        );
        let mut message = message();
        message.author_name = Some(&too_long);
        assert_eq!(
            message.parse().unwrap_err().message(),
            "authorName must be 1 to 200 characters."
        );
    }
}
