//! `POST /functions/v1/manage-discord-worker/activations`: somebody in a guild starts or stops an agent's worker, for whom the interaction
//! handler speaks.

use agentopia_domain::discord::worker::{WorkerStatus, start_transitions};
use agentopia_domain::ids::AgentId;
use agentopia_platform::db::discord_workers::{InGuild, Mandate};
use agentopia_platform::extract::{Json, JsonWithin};
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::command_worker::REQUEST_MAX_BYTES;
use crate::app::App;
use crate::fields::{agent_id, discord_id, public_key};
use crate::worker;

/// What is to be done, and from where it was asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(crate) struct CommandActivationRequest {
    agent_id: Option<String>,
    application_id: Option<String>,
    /// The key that verified the interaction.
    public_key: Option<String>,
    /// Whether it is the deployment's own.
    own_key: Option<bool>,
    guild_id: Option<String>,
    /// `activate` or `deactivate`.
    action: Option<String>,
}

/// A request of which every part is typed.
#[derive(Debug)]
struct Wanted {
    agent_id: AgentId,
    application_id: String,
    public_key: String,
    own_key: bool,
    guild_id: String,
    is_activation: bool,
}

impl CommandActivationRequest {
    fn parse(&self) -> Result<Wanted, ApiError> {
        let id =
            |field: &str, value: Option<&str>| discord_id(field, fields::required(field, value)?).map(str::to_owned);
        Ok(Wanted {
            agent_id: agent_id(self.agent_id.as_deref())?,
            application_id: id("applicationId", self.application_id.as_deref())?,
            public_key: public_key("publicKey", fields::required("publicKey", self.public_key.as_deref())?)?,
            own_key: fields::required("ownKey", self.own_key)?,
            guild_id: id("guildId", self.guild_id.as_deref())?,
            is_activation: match fields::required("action", self.action.as_deref())? {
                "activate" => true,
                "deactivate" => false,
                _ => return Err(ApiError::invalid_field("action", "must be activate or deactivate")),
            },
        })
    }
}

/// What was done.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CommandActivationResponse {
    outcome: Outcome,
    /// What the worker is seen doing.
    status: WorkerStatus,
    /// After how many minutes without a question it ends; 0 for never. Null if it was to stop.
    inactivity_timeout_minutes: Option<i32>,
    /// Who it speaks for, if it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_name: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// It was done.
    Begun,
    /// There was nothing to do.
    Unchanged,
}

impl Outcome {
    fn of(is_begun: bool) -> Self {
        if is_begun { Self::Begun } else { Self::Unchanged }
    }
}

pub(crate) async fn command_activation(
    State(app): State<App>,
    context: RequestContext,
    _handler: caller::Service,
    JsonWithin(request): JsonWithin<CommandActivationRequest, REQUEST_MAX_BYTES>,
) -> Result<Json<CommandActivationResponse>, ApiError> {
    let wanted = request.parse()?;
    let mandate = Mandate::Guild(InGuild {
        guild_id: &wanted.guild_id,
        application_id: &wanted.application_id,
        public_key: &wanted.public_key,
        own_key: wanted.own_key,
    });

    let response = if wanted.is_activation {
        let started = worker::start(&app, &context, wanted.agent_id, mandate, start_transitions(), None).await?;
        CommandActivationResponse {
            outcome: Outcome::of(started.is_begun),
            status: started.status,
            inactivity_timeout_minutes: Some(started.inactivity_timeout_minutes),
            agent_name: started.agent_name,
        }
    } else {
        let stopped = worker::stop(&app, &context, wanted.agent_id, mandate).await?;
        CommandActivationResponse {
            outcome: Outcome::of(stopped.is_begun),
            status: stopped.status,
            inactivity_timeout_minutes: None,
            agent_name: None,
        }
    };
    Ok(Json(response))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::{Value, json};

    use super::*;

    fn with(field: &str, value: Value) -> Result<Wanted, ApiError> {
        let mut body = json!({
            "agentId": "00000000-0000-4000-8000-000000000001",
            "applicationId": "1",
            "publicKey": "AB".repeat(32),
            "ownKey": false,
            "guildId": "2",
            "action": "deactivate",
        });
        body[field] = value;
        serde_json::from_value::<CommandActivationRequest>(body)
            .unwrap()
            .parse()
    }

    #[test]
    fn every_part_is_needed_and_typed() {
        let refusal = |field, value| with(field, value).unwrap_err().message().to_owned();
        let wanted = with("action", json!("activate")).unwrap();

        assert!(wanted.is_activation && !wanted.own_key);
        assert_eq!(wanted.public_key, "ab".repeat(32));
        assert!(!with("ownKey", json!(true)).unwrap().is_activation);
        assert_snapshot!(refusal("agentId", json!("x")), @"agentId is not a UUID.");
        assert_snapshot!(refusal("applicationId", json!(null)), @"applicationId is required.");
        assert_snapshot!(refusal("publicKey", json!("x")), @"publicKey must be the application's public key: 64 hexadecimal digits.");
        assert_snapshot!(refusal("ownKey", json!(null)), @"ownKey is required.");
        assert_snapshot!(refusal("guildId", json!("../x")), @"guildId is not a Discord id.");
        assert_snapshot!(refusal("action", json!("start")), @"action must be activate or deactivate.");
    }
}
