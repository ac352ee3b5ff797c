//! Applications as Discord knows them, their bots and the tokens of these.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};

use super::application::Application;
use super::ids::{Ids, token};
use super::refusal::Refusal;
use crate::StackError;
use crate::worlds::answer::Answer;

/// A bot, as its developer sees it once, when its token is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bot {
    /// The application that it belongs to.
    pub application_id: u64,
    /// The id of its user.
    pub user_id: u64,
    /// Its name.
    pub username: String,
    /// Its password.
    pub token: String,
}

/// All applications.
#[derive(Debug, Default)]
pub(super) struct Bots {
    by_application: BTreeMap<u64, Registered>,
}

/// An application with what belongs to it.
#[derive(Debug)]
struct Registered {
    public_key: String,
    user_id: u64,
    token: Option<String>,
}

impl Bots {
    pub(super) fn register(&mut self, application: &Application, ids: &mut Ids) {
        let registered = Registered {
            public_key: application.public_key.clone(),
            user_id: ids.snowflake(),
            token: None,
        };
        self.by_application.insert(application.id, registered);
    }

    /// Makes the token of an application's bot; the one before is worth nothing from then on.
    pub(super) fn reset_token(&mut self, application: u64, prefix: &str) -> Result<Bot, StackError> {
        let registered = self
            .by_application
            .get_mut(&application)
            .ok_or_else(|| StackError::Failed(format!("there is no application {application}")))?;
        let user = STANDARD_NO_PAD.encode(registered.user_id.to_string());
        let token = format!("{user}.{}.{}", token("", 6)?, token(prefix, 38)?);
        registered.token = Some(token.clone());
        Ok(Bot {
            application_id: application,
            user_id: registered.user_id,
            username: username(application),
            token,
        })
    }

    /// Makes the token of an application's bot worth nothing.
    pub(super) fn revoke_token(&mut self, application: u64) {
        if let Some(registered) = self.by_application.get_mut(&application) {
            registered.token = None;
        }
    }

    pub(super) fn knows(&self, application: u64) -> bool {
        self.by_application.contains_key(&application)
    }

    /// The application whose bot has sent a request.
    pub(super) fn authenticate(&self, headers: &HeaderMap) -> Result<u64, Refusal> {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = authorization.and_then(|value| value.strip_prefix("Bot "));
        let found = token.and_then(|token| {
            let has_token = |(_, registered): &(&u64, &Registered)| registered.token.as_deref() == Some(token);
            self.by_application.iter().find(has_token)
        });
        found.map(|(id, _)| *id).ok_or_else(Refusal::unauthorized)
    }

    /// The user of an application's bot.
    pub(super) fn user(&self, application: u64) -> Value {
        let id = self.by_application.get(&application).map_or(0, |known| known.user_id);
        json!({
            "id": id.to_string(), "username": username(application), "discriminator": "0", "global_name": null,
            "avatar": null, "banner": null, "accent_color": null, "bot": true, "public_flags": 0, "flags": 0,
        })
    }

    /// `GET /users/@me`
    pub(super) fn show_user(&self, application: u64) -> Answer {
        let mut user = self.user(application);
        if let Value::Object(user) = &mut user {
            let own = [
                ("mfa_enabled", json!(true)),
                ("verified", json!(true)),
                ("email", json!(null)),
                ("locale", json!("en-US")),
            ];
            user.extend(own.map(|(name, value)| (name.to_owned(), value)));
        }
        Answer::json(StatusCode::OK, &user)
    }

    /// `GET /applications/@me`
    pub(super) fn show_application(&self, application: u64, guilds: usize) -> Answer {
        let key = self.by_application.get(&application).map(|known| &*known.public_key);
        let shown = json!({
            "id": application.to_string(),
            "name": username(application),
            "icon": null,
            "description": "",
            "summary": "",
            "type": null,
            "is_monetized": false,
            "is_verified": false,
            "hook": true,
            "bot": self.user(application),
            "bot_public": true,
            "bot_require_code_grant": false,
            "verify_key": key,
            "flags": 0,
            "approximate_guild_count": guilds,
            "interactions_endpoint_url": null,
            "integration_types_config": { "0": {} },
            "owner": { "id": "53908232506183680", "username": "mason", "discriminator": "0", "avatar": null, "public_flags": 0 },
            "team": null,
        });
        Answer::json(StatusCode::OK, &shown)
    }
}

fn username(application: u64) -> String {
    format!("bot-{application}")
}
