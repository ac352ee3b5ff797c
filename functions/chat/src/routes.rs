//! The route table.

mod send_message;
mod send_outside_message;

use agentopia_platform::health::get_health;
use agentopia_platform::settings::SettingsError;
use axum::Router;
use axum::routing::{get, post};

use crate::app::App;

/// The function's routes.
///
/// # Errors
///
/// If a setting is missing or invalid.
pub async fn router() -> Result<Router, SettingsError> {
    let app = App::from_settings().await?;

    Ok(Router::new()
        .route("/functions/v1/chat", post(send_message::send_message))
        .route("/functions/v1/chat/health", get(get_health))
        .route(
            "/functions/v1/chat/outside",
            post(send_outside_message::send_outside_message),
        )
        .with_state(app))
}
