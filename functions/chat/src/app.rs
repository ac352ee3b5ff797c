//! What this function is made of, once per instance.

use std::sync::Arc;
use std::time::Duration;

use agentopia_clients::openai::OpenAi;
use agentopia_platform::caller::{ServiceToken, TokenRefusals, UserTokens};
use agentopia_platform::db::Database;
use agentopia_platform::db::chat::CallerLimits;
use agentopia_platform::settings::{self, SettingsError};
use axum::extract::FromRef;

/// What a worker is told is what a user is told.
const TOKEN_REFUSALS: TokenRefusals = TokenRefusals {
    missing: "Missing or invalid authorization header",
    invalid: "Authentication failed",
};

/// The state of the function's router. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) db: Arc<Database>,
    user_tokens: UserTokens,
    service_token: ServiceToken,
    pub(crate) model: OpenAi,
    pub(crate) default_model: String,
    pub(crate) max_output_tokens: u32,
    /// How long a turn may take, from its request on.
    pub(crate) deadline: Duration,
    pub(crate) limits: CallerLimits,
}

impl App {
    pub(crate) async fn from_settings() -> Result<Self, SettingsError> {
        let db = Arc::new(Database::from_settings().await?);
        let user_tokens = UserTokens::from_settings(db.clone()).await?;
        let model = OpenAi {
            base_url: settings::required_text("openai_base_url").await?,
            api_key: settings::secret("openai_api_key")
                .await?
                .ok_or(SettingsError::Missing("openai_api_key"))?,
            limits: settings::call_limits(
                "openai_connect_timeout_ms",
                "openai_first_byte_timeout_ms",
                "openai_between_bytes_timeout_ms",
            )
            .await?,
        };

        Ok(Self(Arc::new(Parts {
            db,
            user_tokens,
            service_token: ServiceToken::from_settings("service_token").await?,
            model,
            default_model: settings::required_text("openai_default_model").await?,
            max_output_tokens: settings::parsed("max_output_tokens").await?,
            deadline: settings::milliseconds("deadline_ms").await?,
            limits: CallerLimits {
                user_per_minute: settings::parsed("user_per_minute").await?,
                user_burst: settings::parsed("user_burst").await?,
                agent_per_minute: settings::parsed("agent_per_minute").await?,
                agent_burst: settings::parsed("agent_burst").await?,
            },
        })))
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl FromRef<App> for UserTokens {
    fn from_ref(app: &App) -> Self {
        app.user_tokens.clone()
    }
}

impl FromRef<App> for ServiceToken {
    fn from_ref(app: &App) -> Self {
        app.service_token.clone()
    }
}

impl FromRef<App> for TokenRefusals {
    fn from_ref(_app: &App) -> Self {
        TOKEN_REFUSALS
    }
}
