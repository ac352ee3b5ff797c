//! The keyring of this deployment, by which functions seal and open tenants' secrets ([`agentopia_domain::secrets`]).

use std::sync::Arc;
use std::time::Duration;

use agentopia_domain::secrets::Keyring;
use secrecy::ExposeSecret;

use crate::error::{ApiError, Kind};
use crate::settings::{self, SettingsError};

/// The keyring, if this deployment has one. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sealing(Option<Arc<Keyring>>);

impl Sealing {
    /// From the secret setting `credential_keyring`. Where it is empty, what needs no keyring is served all the same.
    ///
    /// # Errors
    ///
    /// If the setting is missing, or is no keyring.
    pub async fn from_settings() -> Result<Self, SettingsError> {
        let name = "credential_keyring";
        let Some(text) = settings::secret(name).await? else {
            return Ok(Self(None));
        };
        let keyring = Keyring::parse(text.expose_secret()).map_err(|error| SettingsError::Invalid {
            name,
            problem: error.to_string(),
        })?;
        Ok(Self(Some(Arc::new(keyring))))
    }

    /// The keyring.
    ///
    /// # Errors
    ///
    /// 503 `sealing_unavailable` if there is none.
    pub fn keyring(&self) -> Result<&Keyring, ApiError> {
        self.0.as_deref().ok_or_else(|| {
            ApiError::new(
                Kind::Unavailable,
                "sealing_unavailable",
                "Secrets can be neither stored nor read right now.",
            )
            .because("setting `credential_keyring` is empty")
            .retry_after(Duration::from_secs(60))
        })
    }
}
