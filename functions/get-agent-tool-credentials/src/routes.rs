//! The route table.

mod get_credentials;

use agentopia_platform::health::get_health;
use agentopia_platform::settings::SettingsError;
use axum::Router;
use axum::routing::{get, post};

use crate::app::App;

/// The function's paths: its own, and the one by which machines in the field call it.
const PATHS: [&str; 2] = [
    "/functions/v1/get-agent-tool-credentials",
    "/functions/v1/dtma/get-agent-tool-credentials",
];

/// The function's routes.
///
/// # Errors
///
/// If a setting is missing or invalid.
pub async fn router() -> Result<Router, SettingsError> {
    let app = App::from_settings().await?;

    let routes = PATHS.iter().fold(Router::new(), |routes, path| {
        routes
            .route(path, post(get_credentials::get_credentials))
            .route(&format!("{path}/health"), get(get_health))
    });
    Ok(routes.with_state(app))
}
