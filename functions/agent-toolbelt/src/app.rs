//! What this function is made of, once per instance.

use std::sync::Arc;

use agentopia_platform::caller::UserTokens;
use agentopia_platform::db::{Database, Rate};
use agentopia_platform::sealing::Sealing;
use agentopia_platform::settings::{self, SettingsError};
use axum::extract::FromRef;

/// The state of the function's router. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) db: Arc<Database>,
    pub(crate) sealing: Sealing,
    /// How often a user may change toolbelts.
    pub(crate) change: Rate,
    user_tokens: UserTokens,
}

impl App {
    pub(crate) async fn from_settings() -> Result<Self, SettingsError> {
        let db = Arc::new(Database::from_settings().await?);
        Ok(Self {
            user_tokens: UserTokens::from_settings(db.clone()).await?,
            sealing: Sealing::from_settings().await?,
            change: Rate {
                per_minute: settings::parsed("change_per_minute").await?,
                burst: settings::parsed("change_burst").await?,
            },
            db,
        })
    }
}

impl FromRef<App> for UserTokens {
    fn from_ref(app: &App) -> Self {
        app.user_tokens.clone()
    }
}
