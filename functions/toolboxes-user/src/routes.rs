//! The route table.

mod command_tool_instance;
mod command_toolbox;
mod create_tool_instance;
mod create_toolbox;
mod delete_toolbox;
mod get_tool_instance;
mod get_toolbox;
mod list_provider_options;
mod list_tool_instances;
mod list_toolboxes;
mod refresh_toolbox;
mod remove_tool_instance;
mod update_tool_instance;
mod update_toolbox;

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

    let toolbox = Router::new()
        .route(
            "/",
            get(get_toolbox::get_toolbox)
                .put(update_toolbox::update_toolbox)
                .patch(update_toolbox::update_toolbox)
                .delete(delete_toolbox::delete_toolbox),
        )
        .route("/pause", post(command_toolbox::pause_toolbox))
        .route("/resume", post(command_toolbox::resume_toolbox))
        .route("/redeploy", post(command_toolbox::redeploy_toolbox))
        .route("/refresh-status", post(refresh_toolbox::refresh_toolbox));
    let tools = Router::new()
        .route(
            "/",
            post(create_tool_instance::create_tool_instance).get(list_tool_instances::list_tool_instances),
        )
        .route(
            "/{instance_id}",
            get(get_tool_instance::get_tool_instance)
                .patch(update_tool_instance::update_tool_instance)
                .delete(remove_tool_instance::remove_tool_instance),
        )
        .route("/{instance_id}/start", post(command_tool_instance::start_tool_instance))
        .route("/{instance_id}/stop", post(command_tool_instance::stop_tool_instance))
        .route(
            "/{instance_id}/restart",
            post(command_tool_instance::restart_tool_instance),
        );
    let options = Router::new()
        .route("/regions", get(list_provider_options::list_regions))
        .route("/sizes", get(list_provider_options::list_sizes));

    Ok(Router::new()
        .route("/functions/v1/toolboxes-user/health", get(get_health))
        .route(
            "/functions/v1/toolboxes-user",
            post(create_toolbox::create_toolbox).get(list_toolboxes::list_toolboxes),
        )
        .nest("/functions/v1/toolboxes-user/options", options.clone())
        .nest("/functions/v1/toolboxes-user/{toolbox_id}", toolbox)
        .nest("/functions/v1/toolboxes-user/{toolbox_id}/tools", tools.clone())
        .route("/functions/v1/toolbox-tools/health", get(get_health))
        .nest("/functions/v1/toolbox-tools/{toolbox_id}/tools", tools)
        .route("/functions/v1/digitalocean-options/health", get(get_health))
        .nest("/functions/v1/digitalocean-options", options)
        .with_state(app))
}
