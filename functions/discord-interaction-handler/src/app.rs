//! What this function is made of, once per instance.

use std::sync::Arc;

use agentopia_platform::db::Database;
use agentopia_platform::settings::{self, SettingsError};

use crate::signature::PublicKey;

/// The state of the function's router. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) db: Arc<Database>,
    /// The key of this deployment's own application, if it has one.
    pub(crate) own_key: Option<PublicKey>,
}

impl App {
    pub(crate) async fn from_settings() -> Result<Self, SettingsError> {
        Ok(Self {
            db: Arc::new(Database::from_settings().await?),
            own_key: own_key().await?,
        })
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
