//! What this function is made of, once per instance.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use agentopia_clients::digitalocean::DigitalOcean;
use agentopia_clients::discord_webhook::{DiscordWebhooks, WebhookAddress};
use agentopia_domain::toolbox::machine::Tags;
use agentopia_domain::toolbox::status::{ToolboxStatus, contact_transitions};
use agentopia_domain::toolbox::tool::{self, Rule};
use agentopia_platform::caller::{ServiceToken, TokenRefusals, UserTokens};
use agentopia_platform::db::Database;
use agentopia_platform::db::alerts::SweepToolboxes;
use agentopia_platform::functions::OtherFunctions;
use agentopia_platform::sealing::Sealing;
use agentopia_platform::settings::{self, SettingsError};
use axum::extract::FromRef;
use secrecy::ExposeSecret;

/// What machines in the field know.
const TOKEN_REFUSALS: TokenRefusals = TokenRefusals {
    missing: "Unauthorized: Missing or invalid token",
    invalid: "Unauthorized: Invalid token",
};
/// The most toolboxes that one sweep judges.
const SWEEP_LIMIT: u32 = 10_000;

/// The state of the function's router. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App(Arc<Parts>);

#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) db: Arc<Database>,
    pub(crate) sealing: Sealing,
    pub(crate) heartbeats: HeartbeatRules,
    pub(crate) machines: Machines,
    pub(crate) webhooks: DiscordWebhooks,
    /// Where the operator is told.
    pub(crate) operator: Option<WebhookAddress>,
    pub(crate) sweep: SweepToolboxes,
    /// The functions that have sweeps of their own.
    pub(crate) functions: OtherFunctions,
    user_tokens: UserTokens,
    service_token: ServiceToken,
}

/// How reports are judged, and how many are taken.
#[derive(Debug)]
pub(crate) struct HeartbeatRules {
    pub(crate) per_minute: u32,
    pub(crate) burst: u32,
    pub(crate) contact: BTreeMap<ToolboxStatus, ToolboxStatus>,
    pub(crate) rule: Rule,
}

/// Where machines come from, and what they boot with.
#[derive(Debug)]
pub(crate) struct Machines {
    /// `None` without a token: nothing is made or destroyed then.
    pub(crate) provider: Option<DigitalOcean>,
    pub(crate) tags: Tags,
    pub(crate) ssh_keys: Vec<String>,
    pub(crate) functions_url: String,
    pub(crate) agent_image: String,
}

impl App {
    pub(crate) async fn from_settings() -> Result<Self, SettingsError> {
        let db = Arc::new(Database::from_settings().await?);
        let user_tokens = UserTokens::from_settings(db.clone()).await?;
        let operator = operator().await?;

        Ok(Self(Arc::new(Parts {
            db,
            sealing: Sealing::from_settings().await?,
            heartbeats: HeartbeatRules {
                per_minute: settings::parsed("per_minute").await?,
                burst: settings::parsed("burst").await?,
                contact: contact_transitions(),
                rule: tool::rule(),
            },
            machines: Machines::from_settings().await?,
            webhooks: DiscordWebhooks::from_settings().await?,
            sweep: SweepToolboxes {
                limit: SWEEP_LIMIT,
                late_after_seconds: settings::parsed("late_after_seconds").await?,
                settle_seconds: settings::parsed("settle_seconds").await?,
                mass_minimum: settings::parsed::<NonZeroU32>("mass_minimum").await?.get(),
                mass_percent: percent("mass_percent").await?,
                remind_after_seconds: settings::parsed("remind_after_seconds").await?,
                has_operator: operator.is_some(),
            },
            operator,
            functions: OtherFunctions::from_settings().await?,
            user_tokens,
            service_token: ServiceToken::from_settings("service_token").await?,
        })))
    }
}

impl Machines {
    async fn from_settings() -> Result<Self, SettingsError> {
        let token = settings::secret("digitalocean_token").await?;
        let base_url = settings::required_text("digitalocean_origin").await?;
        let limits = settings::call_limits(
            "digitalocean_connect_timeout_ms",
            "digitalocean_first_byte_timeout_ms",
            "digitalocean_between_bytes_timeout_ms",
        )
        .await?;
        let ssh_keys = settings::text("digitalocean_ssh_key_fingerprints").await?;

        Ok(Self {
            provider: token.map(|token| DigitalOcean {
                base_url,
                token,
                limits,
            }),
            tags: Tags::new(settings::required_text("digitalocean_tag_prefix").await?),
            ssh_keys: ssh_keys
                .split(',')
                .map(|key| key.trim().to_owned())
                .filter(|key| !key.is_empty())
                .collect(),
            functions_url: settings::required_text("functions_url").await?,
            agent_image: settings::required_text("toolbox_agent_image").await?,
        })
    }
}

/// A part of a whole: 1 to 100.
async fn percent(name: &'static str) -> Result<u32, SettingsError> {
    let percent = settings::parsed(name).await?;
    if (1..=100).contains(&percent) {
        Ok(percent)
    } else {
        Err(SettingsError::Invalid {
            name,
            problem: "is not 1 to 100".to_owned(),
        })
    }
}

async fn operator() -> Result<Option<WebhookAddress>, SettingsError> {
    let name = "alert_webhook_url";
    let Some(url) = settings::secret(name).await? else {
        return Ok(None);
    };
    let address = url.expose_secret().parse().map_err(|error| SettingsError::Invalid {
        name,
        problem: format!("is no webhook: {error}"),
    })?;
    Ok(Some(address))
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
