//! The route table.

mod delete_alert_destination;
mod get_alert_destination;
mod get_summary;
mod list_liveness;
mod put_alert_destination;
mod register_machine;
mod report_heartbeat;
mod sweep_toolboxes;

use agentopia_platform::health::get_health;
use agentopia_platform::settings::SettingsError;
use axum::Router;
use axum::routing::{get, post};

use crate::app::App;

/// The function's path.
const PATH: &str = "/functions/v1/heartbeat";
/// The one by which the agents before ours call it. A heartbeat there is answered as they expect it.
const OLD_PATH: &str = "/functions/v1/dtma/heartbeat";

/// The function's routes.
///
/// # Errors
///
/// If a setting is missing or invalid.
pub async fn router() -> Result<Router, SettingsError> {
    let app = App::from_settings().await?;

    let alerts = get(get_alert_destination::get_alert_destination)
        .put(put_alert_destination::put_alert_destination)
        .delete(delete_alert_destination::delete_alert_destination);
    Ok(Router::new()
        .route(PATH, post(report_heartbeat::report_heartbeat))
        .route(OLD_PATH, post(report_heartbeat::report_heartbeat_briefly))
        .route(&format!("{PATH}/register"), post(register_machine::register_machine))
        .route(&format!("{PATH}/sweep"), post(sweep_toolboxes::sweep_toolboxes))
        .route(&format!("{PATH}/status"), get(list_liveness::list_liveness))
        .route(&format!("{PATH}/status/summary"), get(get_summary::get_summary))
        .route(&format!("{PATH}/alerts"), alerts)
        .route(&format!("{PATH}/health"), get(get_health))
        .route(&format!("{OLD_PATH}/health"), get(get_health))
        .with_state(app))
}
