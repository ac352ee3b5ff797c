//! The route table.

mod command_activation;
mod command_worker;
mod delete_bot_token;
mod delete_connection;
mod delete_enabled_guild;
mod force_stop_worker;
mod get_connection;
mod list_channels;
mod list_guilds;
mod put_bot_token;
mod put_connection;
mod put_enabled_guilds;
mod register_commands;
mod report_worker;
mod sweep_workers;

use agentopia_platform::health::get_health;
use agentopia_platform::settings::SettingsError;
use axum::Router;
use axum::routing::{delete, get, post, put};

use crate::app::App;

/// The function's path.
const PATH: &str = "/functions/v1/manage-discord-worker";

/// The function's routes.
///
/// # Errors
///
/// If a setting is missing or invalid.
pub async fn router() -> Result<Router, SettingsError> {
    let app = App::from_settings().await?;

    let bot = Router::new()
        .route(
            "/connection",
            get(get_connection::get_connection)
                .put(put_connection::put_connection)
                .delete(delete_connection::delete_connection),
        )
        .route(
            "/bot-token",
            put(put_bot_token::put_bot_token).delete(delete_bot_token::delete_bot_token),
        )
        .route("/guilds", get(list_guilds::list_guilds))
        .route("/guilds/{guild_id}/channels", get(list_channels::list_channels))
        .route("/enabled-guilds", put(put_enabled_guilds::put_enabled_guilds))
        .route(
            "/enabled-guilds/{guild_id}",
            delete(delete_enabled_guild::delete_enabled_guild),
        )
        .route("/commands", post(register_commands::register_commands))
        .route("/force-stop", post(force_stop_worker::force_stop_worker));

    Ok(Router::new()
        .route(PATH, post(command_worker::command_worker))
        .nest(&format!("{PATH}/agents/{{agent_id}}"), bot)
        .route(&format!("{PATH}/report"), post(report_worker::report_worker))
        .route(
            &format!("{PATH}/activations"),
            post(command_activation::command_activation),
        )
        .route(&format!("{PATH}/sweep"), post(sweep_workers::sweep_workers))
        .route(&format!("{PATH}/health"), get(get_health))
        .merge(old_routes())
        .with_state(app))
}

/// The paths by which frontends of all ages call this.
fn old_routes() -> Router<App> {
    let routes = [
        (
            "update-agent-discord-token",
            post(put_bot_token::update_agent_discord_token),
        ),
        ("discord-connect", post(put_bot_token::discord_connect)),
        ("discord-disconnect", post(delete_bot_token::discord_disconnect)),
        ("discord-get-bot-guilds", post(list_guilds::list_guilds_briefly)),
        ("discord-get-guild-channels", get(list_channels::list_channels_by_query)),
        ("get-enabled-guilds", get(get_connection::list_enabled_guilds)),
        ("update-enabled-guilds", post(put_enabled_guilds::update_enabled_guilds)),
        (
            "register-agent-commands",
            post(register_commands::register_agent_commands),
        ),
        ("get-worker-status", post(command_worker::get_worker_status)),
        (
            "admin-force-stop-worker",
            post(force_stop_worker::admin_force_stop_worker),
        ),
    ];
    routes.into_iter().fold(Router::new(), |router, (name, route)| {
        router
            .route(&format!("/functions/v1/{name}"), route)
            .route(&format!("/functions/v1/{name}/health"), get(get_health))
    })
}
