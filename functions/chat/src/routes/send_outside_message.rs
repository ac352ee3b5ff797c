//! `POST /functions/v1/chat/outside`: another function of ours has an agent answer somebody in a Discord guild, whose interaction it has verified.

use agentopia_platform::db::chat::InteractionProof;
use agentopia_platform::extract::Json;
use agentopia_platform::idempotency::IdempotencyKey;
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::message::{GuildMessage, snowflake};
use crate::reply::{Asker, Form, idempotency, reply};

/// An Ed25519 public key in hexadecimal.
const PUBLIC_KEY_CHARS: usize = 64;

/// The body of the request.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "an object")]
pub(crate) struct SendOutsideMessageRequest {
    /// Who is to answer.
    agent_id: Option<String>,
    /// What is said.
    message: Option<String>,
    /// The id of the Discord channel.
    channel_id: Option<String>,
    /// The id of the Discord guild.
    guild_id: Option<String>,
    /// The id of the Discord user who speaks.
    author_id: Option<String>,
    /// What they are called in the guild.
    author_name: Option<String>,
    /// The id of the Discord application that was asked.
    application_id: Option<String>,
    /// The key that the interaction was signed with, in lower-case hexadecimal.
    public_key: Option<String>,
    /// Whether that is the deployment's own key, under which connections count without a bot's token.
    #[serde(default)]
    own_key: bool,
}

/// Stores the message and answers with the agent's reply, as a turn of the agent's owner, who must allow the agent there.
pub(crate) async fn send_outside_message(
    State(app): State<App>,
    context: RequestContext,
    _handler: caller::Service,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<SendOutsideMessageRequest>,
) -> Result<Response, ApiError> {
    let message = request.message().parse()?;
    let proof = request.proof()?;
    let idempotency = idempotency(&app, key, &request);

    reply(
        app,
        context,
        Asker::Interaction(proof),
        message,
        idempotency,
        Form::Json,
    )
    .await
}

impl SendOutsideMessageRequest {
    fn message(&self) -> GuildMessage<'_> {
        GuildMessage {
            text: self.message.as_deref(),
            agent_id: self.agent_id.as_deref(),
            channel_id: self.channel_id.as_deref(),
            guild_id: self.guild_id.as_deref(),
            author_id: self.author_id.as_deref(),
            author_name: self.author_name.as_deref(),
        }
    }

    fn proof(&self) -> Result<InteractionProof<'_>, ApiError> {
        let application_id = snowflake("applicationId", self.application_id.as_deref())?;
        let public_key = fields::required("publicKey", self.public_key.as_deref())?;
        if !is_public_key(public_key) {
            return Err(ApiError::invalid_field(
                "publicKey",
                format_args!("is not {PUBLIC_KEY_CHARS} lower-case hexadecimal digits"),
            ));
        }
        Ok(InteractionProof {
            application_id: fields::required("applicationId", application_id)?,
            public_key,
            own_key: self.own_key,
        })
    }
}

fn is_public_key(text: &str) -> bool {
    text.len() == PUBLIC_KEY_CHARS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(changes: Value) -> Result<SendOutsideMessageRequest, serde_json::Error> {
        let mut body = json!({
            "agentId": "00000000-0000-4000-8000-000000000001",
            "message": "hi",
            "channelId": "123456789012345678",
            "guildId": "223456789012345678",
            "authorId": "323456789012345678",
            "authorName": "Ada",
            "applicationId": "423456789012345678",
            "publicKey": "ab".repeat(32),
        });
        let fields = body.as_object_mut().unwrap();
        fields.extend(changes.as_object().unwrap().clone());
        serde_json::from_value(body)
    }

    #[test]
    fn what_proves_an_interaction_is_checked() {
        let proof = |changes| {
            let request = request(changes).unwrap();
            let proof = request.proof();
            proof
                .map(|proof| (proof.application_id, proof.own_key))
                .map_err(|error| error.message().to_owned())
        };
        let not_a_key = Err("publicKey is not 64 lower-case hexadecimal digits.".to_owned());

        assert_eq!(proof(json!({})), Ok(("423456789012345678".to_owned(), false)));
        assert_eq!(
            proof(json!({ "ownKey": true })),
            Ok(("423456789012345678".to_owned(), true))
        );
        assert_eq!(
            proof(json!({ "applicationId": null })),
            Err("applicationId is required.".to_owned())
        );
        assert_eq!(
            proof(json!({ "applicationId": "x" })),
            Err("applicationId is not a Discord id.".to_owned())
        );
        assert_eq!(
            proof(json!({ "publicKey": null })),
            Err("publicKey is required.".to_owned())
        );
        assert_eq!(proof(json!({ "publicKey": "ab".repeat(31) })), not_a_key);
        assert_eq!(proof(json!({ "publicKey": "AB".repeat(32) })), not_a_key);
        assert_eq!(proof(json!({ "publicKey": "zz".repeat(32) })), not_a_key);
    }

    #[test]
    fn what_is_not_expected_is_refused() {
        assert!(request(json!({ "workspaceId": "x" })).is_err());
        assert!(request(json!({ "ownKey": "yes" })).is_err());
    }
}
