//! `PUT …/agents/{agentId}/connection`: connects an agent's bot.

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::discord_connections::{self, DiscordState};
use agentopia_platform::extract::{Json, JsonWithin, Path};
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use serde::Deserialize;

use super::command_worker::REQUEST_MAX_BYTES;
use crate::app::App;
use crate::bot_token::BotToken;
use crate::connect::{self, Named, Wanted};
use crate::fields::{discord_id, public_key, timeout_minutes};

/// The bot's application. With the bot's token Discord is asked whose it is: then id and key may be left out, or must be right.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct PutConnectionRequest {
    #[serde(alias = "applicationId")]
    application_id: Option<String>,
    #[serde(alias = "publicKey")]
    public_key: Option<String>,
    /// After how many minutes without a question the worker ends; 0 for never. Absent for what it was, at first 10.
    #[serde(alias = "inactivityTimeoutMinutes")]
    inactivity_timeout_minutes: Option<i32>,
    /// Absent to keep the one that is there, which is possible as long as application and key stay.
    #[serde(alias = "botToken")]
    bot_token: Option<BotToken>,
}

impl PutConnectionRequest {
    fn parse(&self) -> Result<Wanted, ApiError> {
        let application_id = match &self.application_id {
            Some(text) => Some(Named {
                field: "application_id",
                value: discord_id("application_id", text)?.to_owned(),
            }),
            None => None,
        };
        let key = match &self.public_key {
            Some(text) => Some(Named {
                field: "public_key",
                value: public_key("public_key", text)?,
            }),
            None => None,
        };
        let token = match &self.bot_token {
            Some(token) => Some(Named {
                field: "bot_token",
                value: token.parse("bot_token")?,
            }),
            None => {
                fields::required("application_id", application_id.as_ref())?;
                fields::required("public_key", key.as_ref())?;
                None
            }
        };
        Ok(Wanted {
            application_id,
            public_key: key,
            inactivity_timeout_minutes: timeout_minutes("inactivity_timeout_minutes", self.inactivity_timeout_minutes)?,
            token,
        })
    }
}

pub(crate) async fn put_connection(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
    JsonWithin(request): JsonWithin<PutConnectionRequest, REQUEST_MAX_BYTES>,
) -> Result<Json<DiscordState>, ApiError> {
    let wanted = request.parse()?;
    let opened = discord_connections::open_bot(&app.db, &context, &user.caller, agent_id, false, app.change).await?;

    let state = connect::connect(&app, &context, &user, agent_id, &opened, wanted).await?;

    Ok(Json(state))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn outcome(body: Value) -> String {
        match serde_json::from_value::<PutConnectionRequest>(body).unwrap().parse() {
            Ok(_) => "accepted".to_owned(),
            Err(error) => format!("{} {}", error.code(), error.message()),
        }
    }

    #[test]
    fn a_token_or_an_application_and_its_key_are_needed() {
        let key = "ab".repeat(32);
        let cases = [
            (json!({"bot_token": "MTIz.a.b"}), "accepted"),
            (json!({"application_id": "1", "public_key": key}), "accepted"),
            (json!({}), "missing_field application_id is required."),
            (json!({"application_id": "1"}), "missing_field public_key is required."),
            (
                json!({"application_id": "x", "bot_token": "MTIz.a.b"}),
                "invalid_field application_id is not a Discord id.",
            ),
            (
                json!({"bot_token": ""}),
                "invalid_field bot_token must be 1 to 200 visible ASCII characters.",
            ),
            (
                json!({"bot_token": "MTIz.a.b", "inactivity_timeout_minutes": -1}),
                "invalid_field inactivity_timeout_minutes must be 0 to 10080.",
            ),
        ];

        for (body, expected) in cases {
            assert_eq!(outcome(body.clone()), expected, "{body}");
        }
    }
}
