//! What this function is made of, once per instance.

use std::sync::Arc;
use std::time::Duration;

use agentopia_clients::discord::Discord;
use agentopia_platform::caller::ServiceToken;
use agentopia_platform::db::{Database, Rate};
use agentopia_platform::functions::OtherFunctions;
use agentopia_platform::sealing::Sealing;
use agentopia_platform::settings::{self, SettingsError};
use axum::extract::FromRef;

use crate::signature::PublicKey;

/// What answering takes beside the model: three seconds until Discord knows, what `chat` needs to store a reply, and the messages.
const BESIDE_THE_MODEL: Duration = Duration::from_secs(45);

/// The state of the function's router. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) db: Arc<Database>,
    /// The key of this deployment's own application, if it has one.
    pub(crate) own_key: Option<PublicKey>,
    pub(crate) sealing: Sealing,
    pub(crate) discord: Discord,
    /// The functions that this one calls.
    pub(crate) functions: OtherFunctions,
    /// How long a turn of `chat` may take.
    pub(crate) chat_deadline: Duration,
    /// How often whoever asks may.
    pub(crate) rate: Rate,
    service_token: ServiceToken,
}

impl App {
    pub(crate) async fn from_settings() -> Result<Self, SettingsError> {
        Ok(Self(Arc::new(Parts {
            db: Arc::new(Database::from_settings().await?),
            own_key: own_key().await?,
            sealing: Sealing::from_settings().await?,
            discord: Discord::from_settings().await?,
            functions: OtherFunctions::from_settings().await?,
            chat_deadline: settings::milliseconds("chat_deadline_ms").await?,
            rate: Rate {
                per_minute: settings::parsed("per_minute").await?,
                burst: settings::parsed("burst").await?,
            },
            service_token: ServiceToken::from_settings("service_token").await?,
        })))
    }

    /// How long one may be at an answer, until another takes over: the one place that says so.
    pub(crate) fn lease(&self) -> Duration {
        self.chat_deadline.saturating_add(BESIDE_THE_MODEL)
    }
}

async fn own_key() -> Result<Option<PublicKey>, SettingsError> {
    let name = "public_key";
    let text = settings::text(name).await?;
    if text.is_empty() {
        return Ok(None);
    }
    let key = PublicKey::parse(&text).ok_or_else(|| SettingsError::Invalid {
        name,
        problem: "is no public key of an application: 64 hexadecimal digits".to_owned(),
    })?;
    Ok(Some(key))
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<App> for ServiceToken {
    fn from_ref(app: &App) -> Self {
        app.service_token.clone()
    }
}
