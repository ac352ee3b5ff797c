//! Settings: Spin variables of a component, parsed once per instance.

use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use thiserror::Error;

use crate::runtime::{self, CallLimits};

/// Why a component cannot run as it is configured. The text names the setting and never its value.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// Neither a default nor a value.
    #[error("setting `{0}` is not set")]
    Missing(&'static str),
    /// Not of the form that is asked for.
    #[error("setting `{name}` {problem}")]
    Invalid {
        /// The setting.
        name: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The provider of settings failed.
    #[error("setting `{name}` cannot be read: {cause}")]
    Unreadable {
        /// The setting.
        name: &'static str,
        /// What the provider said.
        cause: String,
    },
}

/// A setting that may be empty, as text.
///
/// # Errors
///
/// If the manifest does not give it to this component, or its provider fails.
pub async fn text(name: &'static str) -> Result<String, SettingsError> {
    match runtime::variable(name).await {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(SettingsError::Missing(name)),
        Err(cause) => Err(SettingsError::Unreadable { name, cause }),
    }
}

/// A setting that must not be empty.
///
/// # Errors
///
/// As [`text`], and if it is empty.
pub async fn required_text(name: &'static str) -> Result<String, SettingsError> {
    let value = text(name).await?;
    if value.is_empty() {
        return Err(SettingsError::Missing(name));
    }
    Ok(value)
}

/// A secret; `None` if it is empty.
///
/// # Errors
///
/// As [`text`].
pub async fn secret(name: &'static str) -> Result<Option<SecretString>, SettingsError> {
    let value = text(name).await?;
    Ok((!value.is_empty()).then(|| SecretString::from(value)))
}

/// A number or another type that is parsed from text.
///
/// # Errors
///
/// As [`text`], and if it does not parse.
pub async fn parsed<T: FromStr<Err: std::fmt::Display>>(name: &'static str) -> Result<T, SettingsError> {
    let value = required_text(name).await?;
    value.trim().parse().map_err(|error: T::Err| SettingsError::Invalid {
        name,
        problem: format!("is invalid: {error}"),
    })
}

/// A duration from a setting whose name ends in `_ms`.
///
/// # Errors
///
/// As [`parsed`].
pub async fn milliseconds(name: &'static str) -> Result<Duration, SettingsError> {
    parsed(name).await.map(Duration::from_millis)
}

/// How long calls of an outside service may take, from three settings whose names end in `_connect_timeout_ms`, `_first_byte_timeout_ms` and
/// `_between_bytes_timeout_ms`.
///
/// # Errors
///
/// As [`parsed`].
pub async fn call_limits(
    connect: &'static str,
    first_byte: &'static str,
    between_bytes: &'static str,
) -> Result<CallLimits, SettingsError> {
    Ok(CallLimits {
        connect: milliseconds(connect).await?,
        first_byte: milliseconds(first_byte).await?,
        between_bytes: milliseconds(between_bytes).await?,
    })
}
