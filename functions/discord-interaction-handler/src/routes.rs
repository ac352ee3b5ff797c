//! The route table.

mod answer_interaction;
mod sweep_interactions;

use agentopia_platform::health::get_health;
use agentopia_platform::settings::SettingsError;
use axum::Router;
use axum::routing::{get, post};

use crate::app::App;

/// The function's path.
const PATH: &str = "/functions/v1/discord-interaction-handler";

/// The function's routes.
///
/// # Errors
///
/// If a setting is missing or invalid.
pub async fn router() -> Result<Router, SettingsError> {
    let app = App::from_settings().await?;

    Ok(Router::new()
        .route(PATH, post(answer_interaction::answer_interaction))
        .route(&format!("{PATH}/sweep"), post(sweep_interactions::sweep_interactions))
        .route(&format!("{PATH}/health"), get(get_health))
        .with_state(app))
}
