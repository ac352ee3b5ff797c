//! The route table.

use agentopia_platform::settings::SettingsError;
use agentopia_platform::unwritten;
use axum::Router;

/// The function's routes.
///
/// # Errors
///
/// None: the function has no settings yet.
pub async fn router() -> Result<Router, SettingsError> {
    Ok(unwritten::router(&[
        "/functions/v1/heartbeat",
        "/functions/v1/dtma/heartbeat",
    ]))
}
