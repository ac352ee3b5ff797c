//! What this function is made of, once per instance.

use std::sync::Arc;

use agentopia_clients::digitalocean::DigitalOcean;
use agentopia_platform::caller::UserTokens;
use agentopia_platform::db::{Database, Rate};
use agentopia_platform::settings::{self, SettingsError};
use axum::extract::FromRef;

use crate::sizes::OfferedSizes;

/// The state of the function's router. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) db: Arc<Database>,
    user_tokens: UserTokens,
    /// Who has the machines; `None` without a token.
    pub(crate) provider: Option<DigitalOcean>,
    /// How many toolboxes a user may have.
    pub(crate) max_per_user: u32,
    /// Which sizes of machines may be asked for.
    pub(crate) sizes: OfferedSizes,
    /// How many tools a toolbox may have.
    pub(crate) tools_max_per_toolbox: u32,
    /// How often a user may ask for a machine.
    pub(crate) create: Rate,
    /// How often a user may change toolboxes, and tools.
    pub(crate) change: Rate,
    /// How often a user may have a machine looked at.
    pub(crate) refresh: Rate,
}

impl App {
    pub(crate) async fn from_settings() -> Result<Self, SettingsError> {
        let db = Arc::new(Database::from_settings().await?);
        let provider = match settings::secret("digitalocean_token").await? {
            Some(token) => Some(DigitalOcean {
                base_url: settings::required_text("digitalocean_origin").await?,
                token,
                limits: settings::call_limits(
                    "digitalocean_connect_timeout_ms",
                    "digitalocean_first_byte_timeout_ms",
                    "digitalocean_between_bytes_timeout_ms",
                )
                .await?,
            }),
            None => None,
        };

        Ok(Self(Arc::new(Parts {
            user_tokens: UserTokens::from_settings(db.clone()).await?,
            db,
            provider,
            max_per_user: settings::parsed("max_per_user").await?,
            sizes: OfferedSizes::parse(&settings::text("sizes").await?),
            tools_max_per_toolbox: settings::parsed("tools_max_per_toolbox").await?,
            create: rate("create_per_minute", "create_burst").await?,
            change: rate("change_per_minute", "change_burst").await?,
            refresh: rate("refresh_per_minute", "refresh_burst").await?,
        })))
    }
}

async fn rate(per_minute: &'static str, burst: &'static str) -> Result<Rate, SettingsError> {
    Ok(Rate {
        per_minute: settings::parsed(per_minute).await?,
        burst: settings::parsed(burst).await?,
    })
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
