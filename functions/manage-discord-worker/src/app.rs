//! What this function is made of, once per instance.

use std::sync::Arc;

use agentopia_clients::discord::Discord;
use agentopia_clients::worker_manager::WorkerManager;
use agentopia_platform::caller::{ServiceToken, TokenRefusals, UserTokens};
use agentopia_platform::db::{Database, Rate};
use agentopia_platform::sealing::Sealing;
use agentopia_platform::settings::{self, SettingsError};
use axum::extract::FromRef;

/// What workers are told.
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
    pub(crate) sealing: Sealing,
    pub(crate) discord: Discord,
    /// Who runs the workers; `None` without a token: none is started or stopped then.
    pub(crate) manager: Option<WorkerManager>,
    pub(crate) workers: WorkerRules,
    /// How often a user may change a bot, or have it looked at.
    pub(crate) change: Rate,
    user_tokens: UserTokens,
    service_token: ServiceToken,
}

/// How workers are run.
#[derive(Debug)]
pub(crate) struct WorkerRules {
    /// Where they find the functions.
    pub(crate) functions_url: String,
    /// How long one may take to log in.
    pub(crate) start_seconds: u32,
    /// How long one that runs may be silent.
    pub(crate) lease_seconds: u32,
    /// How long one may take to end.
    pub(crate) stop_seconds: u32,
    /// How often a bot's may be started in 24 hours.
    pub(crate) starts_per_day: u32,
}

impl App {
    pub(crate) async fn from_settings() -> Result<Self, SettingsError> {
        let db = Arc::new(Database::from_settings().await?);

        Ok(Self(Arc::new(Parts {
            user_tokens: UserTokens::from_settings(db.clone()).await?,
            db,
            sealing: Sealing::from_settings().await?,
            discord: Discord::from_settings().await?,
            manager: manager().await?,
            workers: WorkerRules {
                functions_url: settings::required_text("functions_url").await?,
                start_seconds: settings::parsed("worker_start_seconds").await?,
                lease_seconds: settings::parsed("worker_lease_seconds").await?,
                stop_seconds: settings::parsed("worker_stop_seconds").await?,
                starts_per_day: settings::parsed("worker_starts_per_day").await?,
            },
            change: Rate {
                per_minute: settings::parsed("change_per_minute").await?,
                burst: settings::parsed("change_burst").await?,
            },
            service_token: ServiceToken::from_settings("service_token").await?,
        })))
    }
}

async fn manager() -> Result<Option<WorkerManager>, SettingsError> {
    let name = "worker_manager_url";
    let Some(token) = settings::secret("worker_manager_token").await? else {
        return Ok(None);
    };
    let limits = settings::call_limits(
        "worker_manager_connect_timeout_ms",
        "worker_manager_first_byte_timeout_ms",
        "worker_manager_between_bytes_timeout_ms",
    )
    .await?;
    let manager = WorkerManager::new(&settings::required_text(name).await?, token, limits);
    let manager = manager.map_err(|error| SettingsError::Invalid {
        name,
        problem: error.to_string(),
    })?;
    Ok(Some(manager))
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
