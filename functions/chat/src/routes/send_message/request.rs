//! What clients send: the union of what the web frontend and the Discord worker ever sent.

use std::str::FromStr;

use agentopia_domain::chat::MessageText;
use agentopia_domain::ids::{AgentId, ChannelId, WorkspaceId};
use agentopia_platform::ApiError;
use agentopia_platform::db::chat::OutsideConversation;
use agentopia_platform::error::Kind;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::message::{self, AgentMessage, GuildMessage, is_snowflake, snowflake};

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
    /// What they are called in the guild.
    #[serde(skip_serializing_if = "Option::is_none")]
    author_name: Option<String>,
}

/// What a request wants.
pub(crate) enum Wanted {
    /// An agent's reply.
    Reply(AgentMessage),
    /// Only that the message is stored.
    Storage(ChannelMessage),
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
    /// Parses the fields as a user's, naming the first that is not what it must be.
    pub(crate) fn parse(&self) -> Result<Wanted, ApiError> {
        let workspace = present(&self.workspace_id).map(|id| ("workspaceId", id));
        let workspace = workspace.or(present(&self.room_id).map(|id| ("roomId", id)));
        let workspace_id = workspace
            .map(|(field, id)| parse_uuid(field, id))
            .transpose()?
            .map(WorkspaceId);
        let place = self.place()?;
        let text = self.message.as_deref();

        let Some(agent) = present(&self.agent_id) else {
            let required = "Message content and Channel ID are required.";
            let (Some(text), false) = (text, matches!(place, Place::Direct)) else {
                return Err(ApiError::new(Kind::Invalid, "missing_field", required));
            };
            let Place::Channel(channel_id) = place else {
                return Err(ApiError::invalid_field(
                    "channelId",
                    "must be a UUID if no agent is asked",
                ));
            };
            return Ok(Wanted::Storage(ChannelMessage {
                text: message::text(Some(text), required)?,
                channel_id,
                workspace_id,
            }));
        };

        let agent_id = AgentId(parse_uuid("agentId", agent)?);
        let text = message::text(text, "Message content is required.")?;
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

    /// Parses the fields as those of a Discord worker, whose messages come from a guild's channels alone.
    pub(crate) fn parse_from_worker(&self) -> Result<AgentMessage, ApiError> {
        let message = GuildMessage {
            text: self.message.as_deref(),
            agent_id: self.agent_id.as_deref(),
            channel_id: self.channel_id.as_deref(),
            guild_id: self.guild_id.as_deref(),
            author_id: self.author_id.as_deref(),
            author_name: self.author_name.as_deref(),
        };
        message.parse()
    }

    fn place(&self) -> Result<Place, ApiError> {
        let Some(channel) = present(&self.channel_id) else {
            return Ok(Place::Direct);
        };
        if is_snowflake(channel) {
            return Ok(Place::Outside(OutsideConversation {
                provider: "discord",
                external_channel_id: channel.to_owned(),
                external_guild_id: snowflake("guildId", self.guild_id.as_deref())?,
                external_author_id: snowflake("authorId", self.author_id.as_deref())?,
                author_name: message::author_name(self.author_name.as_deref())?,
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

fn present(field: &Option<String>) -> Option<&str> {
    field.as_deref().and_then(message::present)
}

fn parse_uuid(field: &str, value: &str) -> Result<Uuid, ApiError> {
    Uuid::from_str(value).map_err(|_| ApiError::invalid_field(field, "is not a UUID"))
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
    fn a_worker_speaks_in_a_guild_alone() {
        let parse = |body: Value| {
            let request: SendMessageRequest = serde_json::from_value(body).unwrap();
            request
                .parse_from_worker()
                .map_err(|error| error.envelope("id")["field"].clone())
        };

        let message = parse(json!({
            "agentId": ID, "message": "hi", "channelId": "123456789012345678", "guildId": "223456789012345678",
            "authorId": "323456789012345678", "authorName": "Ada", "workspaceId": ID, "roomId": "x",
        }));
        let message = message.unwrap();
        assert_eq!(message.outside.unwrap().author_name.as_deref(), Some("Ada"));
        assert_eq!((message.channel_id, message.workspace_id), (None, None));

        for (field, body) in [
            (json!("agentId"), json!({ "message": "hi" })),
            (Value::Null, json!({ "agentId": ID })),
            (json!("channelId"), json!({ "agentId": ID, "message": "hi" })),
            (
                json!("channelId"),
                json!({ "agentId": ID, "message": "hi", "channelId": ID }),
            ),
            (
                json!("guildId"),
                json!({ "agentId": ID, "message": "hi", "channelId": "123456789012345678" }),
            ),
        ] {
            assert_eq!(parse(body.clone()).unwrap_err(), field, "{body}");
        }
    }

    #[test]
    fn a_request_that_names_no_author_hashes_as_ever() {
        let request: SendMessageRequest = serde_json::from_value(json!({ "message": "a", "agentId": "b" })).unwrap();

        assert_eq!(
            serde_json::to_string(&request).unwrap(),
            r#"{"message":"a","agentId":"b","channelId":null,"workspaceId":null,"roomId":null,"guildId":null,"authorId":null}"#
        );
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
