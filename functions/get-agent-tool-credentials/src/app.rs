//! What this function is made of, once per instance.

use std::sync::Arc;

use agentopia_platform::caller::TokenRefusals;
use agentopia_platform::db::Database;
use agentopia_platform::db::credentials::ToolboxLimit;
use agentopia_platform::sealing::Sealing;
use agentopia_platform::settings::{self, SettingsError};
use axum::extract::FromRef;

/// What machines in the field know.
const TOKEN_REFUSALS: TokenRefusals = TokenRefusals {
    missing: "Unauthorized: Missing or invalid DTMA token",
    invalid: "Unauthorized: Invalid DTMA token",
};

/// The state of the function's router. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) db: Arc<Database>,
    pub(crate) sealing: Sealing,
    pub(crate) limit: ToolboxLimit,
}

impl App {
    pub(crate) async fn from_settings() -> Result<Self, SettingsError> {
        Ok(Self {
            db: Arc::new(Database::from_settings().await?),
            sealing: Sealing::from_settings().await?,
            limit: ToolboxLimit {
                per_minute: settings::parsed("per_minute").await?,
                burst: settings::parsed("burst").await?,
            },
        })
    }
}

impl FromRef<App> for TokenRefusals {
    fn from_ref(_app: &App) -> Self {
        TOKEN_REFUSALS
    }
}
