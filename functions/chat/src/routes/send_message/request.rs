//! What clients send: the union of what the web frontend and the Discord worker ever sent.

use std::str::FromStr;

use agentopia_domain::chat::MessageText;
use agentopia_domain::ids::{AgentId, ChannelId, WorkspaceId};
use agentopia_platform::ApiError;
use agentopia_platform::db::chat::OutsideConversation;
use agentopia_platform::error::Kind;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The body of the request. Unknown fields are ignored, since old clients send some.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(crate) struct SendMessageRequest {
    /// What is said.
    message: Option<String>,
    /// Who is to answer; nobody if absent.
    agent_id: Option<String>,
    /// The channel's UUID, or the id of a Discord channel; a direct conversation if absent.
    channel_id: Option<String>,
    /// The workspace's UUID; the channel's own if absent.
    workspace_id: Option<String>,
    /// What the workspace's page calls the workspace.
    room_id: Option<String>,
    /// The id of the Discord guild.
    guild_id: Option<String>,
    /// The id of the Discord user who speaks.
    author_id: Option<String>,
}

/// What a request wants.
pub(crate) enum Wanted {
    /// An agent's reply.
    Reply(AgentMessage),
    /// Only that the message is stored.
    Storage(ChannelMessage),
}

/// A message to an agent.
pub(crate) struct AgentMessage {
    pub(crate) text: MessageText,
    pub(crate) agent_id: AgentId,
    pub(crate) channel_id: Option<ChannelId>,
    pub(crate) workspace_id: Option<WorkspaceId>,
    pub(crate) outside: Option<OutsideConversation>,
}

/// A message to a channel.
pub(crate) struct ChannelMessage {
    pub(crate) text: MessageText,
    pub(crate) channel_id: ChannelId,
    pub(crate) workspace_id: Option<WorkspaceId>,
}

/// Where a message goes.
enum Place {
    Direct,
    Channel(ChannelId),
    Outside(OutsideConversation),
}

impl SendMessageRequest {
    /// Parses the fields, naming the first that is not what it must be.
    pub(crate) fn parse(&self) -> Result<Wanted, ApiError> {
        let text = self.message.as_deref().map(MessageText::parse);
        let workspace = present(&self.workspace_id).map(|id| ("workspaceId", id));
        let workspace = workspace.or(present(&self.room_id).map(|id| ("roomId", id)));
        let workspace_id = workspace
            .map(|(field, id)| parse_uuid(field, id))
            .transpose()?
            .map(WorkspaceId);
        let place = self.place()?;

        let Some(agent) = present(&self.agent_id) else {
            let (Some(text), false) = (text, matches!(place, Place::Direct)) else {
                return Err(missing("Message content and Channel ID are required."));
            };
            let Place::Channel(channel_id) = place else {
                return Err(ApiError::invalid_field(
                    "channelId",
                    "must be a UUID if no agent is asked",
                ));
            };
            let text = text.map_err(|error| invalid_message(error, "Message content and Channel ID are required."))?;
            return Ok(Wanted::Storage(ChannelMessage {
                text,
                channel_id,
                workspace_id,
            }));
        };

        let agent_id = AgentId(parse_uuid("agentId", agent)?);
        let required = "Message content is required.";
        let text = text
            .ok_or_else(|| missing(required))?
            .map_err(|error| invalid_message(error, required))?;
        let (channel_id, outside) = match place {
            Place::Direct => (None, None),
            Place::Channel(id) => (Some(id), None),
            Place::Outside(conversation) => (None, Some(conversation)),
        };
        Ok(Wanted::Reply(AgentMessage {
            text,
            agent_id,
            channel_id,
            workspace_id,
            outside,
        }))
    }

    fn place(&self) -> Result<Place, ApiError> {
        let Some(channel) = present(&self.channel_id) else {
            return Ok(Place::Direct);
        };
        if is_snowflake(channel) {
            return Ok(Place::Outside(OutsideConversation {
                provider: "discord",
                external_channel_id: channel.to_owned(),
                external_guild_id: snowflake("guildId", &self.guild_id)?,
                external_author_id: snowflake("authorId", &self.author_id)?,
            }));
        }
        match Uuid::from_str(channel) {
            Ok(id) => Ok(Place::Channel(ChannelId(id))),
            Err(_) => Err(ApiError::invalid_field(
                "channelId",
                "is neither a UUID nor the id of a Discord channel",
            )),
        }
    }
}

/// An empty id is an absent one: forms send both.
fn present(field: &Option<String>) -> Option<&str> {
    field.as_deref().map(str::trim).filter(|value| !value.is_empty())
}

fn parse_uuid(field: &str, value: &str) -> Result<Uuid, ApiError> {
    Uuid::from_str(value).map_err(|_| ApiError::invalid_field(field, "is not a UUID"))
}

fn snowflake(field: &str, value: &Option<String>) -> Result<Option<String>, ApiError> {
    match present(value) {
        None => Ok(None),
        Some(id) if is_snowflake(id) => Ok(Some(id.to_owned())),
        Some(_) => Err(ApiError::invalid_field(field, "is not a Discord id")),
    }
}

/// Discord's ids are 64-bit integers as text (<https://discord.com/developers/docs/reference#snowflakes>).
fn is_snowflake(text: &str) -> bool {
    (17..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn missing(message: &'static str) -> ApiError {
    ApiError::new(Kind::Invalid, "missing_field", message)
}

fn invalid_message(error: agentopia_domain::chat::InvalidMessage, if_empty: &'static str) -> ApiError {
    match error {
        agentopia_domain::chat::InvalidMessage::Empty => missing(if_empty),
        other => ApiError::invalid_field("message", other),
    }
}

#[cfg(test)]
mod tests {
    use agentopia_platform::idempotency::request_hash;
    use serde_json::{Value, json};

    use super::*;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    fn parse(body: Value) -> Result<Wanted, ApiError> {
        serde_json::from_value::<SendMessageRequest>(body).unwrap().parse()
    }

    fn refusal(body: Value) -> String {
        match parse(body) {
            Err(error) => error.message().to_owned(),
            Ok(_) => "accepted".to_owned(),
        }
    }

    #[test]
    fn refusals_follow_the_table() {
        let cases = [
            (json!({}), "Message content and Channel ID are required."),
            (json!({"message": "hi"}), "Message content and Channel ID are required."),
            (
                json!({"message": " ", "channelId": ID}),
                "Message content and Channel ID are required.",
            ),
            (json!({"agentId": ID}), "Message content is required."),
            (json!({"agentId": ID, "message": "\n"}), "Message content is required."),
            (
                json!({"agentId": ID, "message": "a\u{0}b"}),
                "message contains a NUL character.",
            ),
            (json!({"agentId": "me", "message": "hi"}), "agentId is not a UUID."),
            (
                json!({"agentId": ID, "message": "hi", "roomId": "x"}),
                "roomId is not a UUID.",
            ),
            (
                json!({"agentId": ID, "message": "hi", "workspaceId": "x"}),
                "workspaceId is not a UUID.",
            ),
            (
                json!({"agentId": ID, "message": "hi", "channelId": "general"}),
                "channelId is neither a UUID nor the id of a Discord channel.",
            ),
            (
                json!({"agentId": ID, "message": "hi", "channelId": "123456789012345678", "guildId": "x"}),
                "guildId is not a Discord id.",
            ),
            (
                json!({"message": "hi", "channelId": "123456789012345678"}),
                "channelId must be a UUID if no agent is asked.",
            ),
            (json!({"message": "hi", "channelId": ID, "agentId": null}), "accepted"),
            (json!({"message": "hi", "channelId": ID, "agentId": ""}), "accepted"),
            (
                json!({"message": "hi", "agentId": ID, "roomId": ID, "authorId": "anything", "extra": 1}),
                "accepted",
            ),
        ];

        for (body, expected) in cases {
            assert_eq!(refusal(body.clone()), expected, "{body}");
        }
    }

    #[test]
    fn a_discord_channel_is_an_outside_conversation() {
        let wanted = parse(json!({
            "agentId": ID, "message": "hi", "channelId": "123456789012345678",
            "guildId": "223456789012345678", "authorId": "323456789012345678",
        }));

        let Ok(Wanted::Reply(message)) = wanted else {
            panic!("not a message to an agent")
        };
        let outside = message.outside.unwrap();
        assert_eq!(outside.external_channel_id, "123456789012345678");
        assert_eq!(outside.external_guild_id.as_deref(), Some("223456789012345678"));
        assert_eq!(outside.external_author_id.as_deref(), Some("323456789012345678"));
        assert_eq!(message.channel_id, None);
    }

    #[test]
    fn the_same_fields_hash_alike() {
        let hash = |text: &str| request_hash(&serde_json::from_str::<SendMessageRequest>(text).unwrap());

        assert_eq!(
            hash(r#"{"message":"a","agentId":"b"}"#),
            hash(r#"{ "agentId": "b", "message": "a" }"#)
        );
        assert_ne!(
            hash(r#"{"message":"a","agentId":"b"}"#),
            hash(r#"{"message":"a","agentId":"c"}"#)
        );
    }
}
