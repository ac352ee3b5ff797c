//! The route table.

mod create_toolbelt_item;
mod delete_credential;
mod delete_permission;
mod delete_toolbelt_item;
mod get_toolbelt_item;
mod grant_toolbox_access;
mod list_agent_audit;
mod list_credentials;
mod list_permissions;
mod list_toolbelt_items;
mod list_toolbox_access;
mod put_permission;
mod revoke_toolbox_access;
mod store_credential;
mod update_credential;
mod update_permission;
mod update_toolbelt_item;

use agentopia_platform::health::get_health;
use agentopia_platform::settings::SettingsError;
use axum::Router;
use axum::routing::{delete, get, post, put};

use crate::app::App;

/// The function's routes.
///
/// # Errors
///
/// If a setting is missing or invalid.
pub async fn router() -> Result<Router, SettingsError> {
    let app = App::from_settings().await?;

    let item = Router::new()
        .route(
            "/",
            get(get_toolbelt_item::get_toolbelt_item)
                .put(update_toolbelt_item::update_toolbelt_item)
                .patch(update_toolbelt_item::update_toolbelt_item)
                .delete(delete_toolbelt_item::delete_toolbelt_item),
        )
        .route(
            "/credentials",
            post(store_credential::store_credential).get(list_credentials::list_credentials),
        )
        .route(
            "/credentials/{credential_id}",
            put(update_credential::update_credential)
                .patch(update_credential::update_credential)
                .delete(delete_credential::delete_credential),
        )
        .route(
            "/permissions",
            post(put_permission::create_permission)
                .put(put_permission::put_permission)
                .get(list_permissions::list_permissions),
        )
        .route(
            "/permissions/{permission_id}",
            put(update_permission::update_permission)
                .patch(update_permission::update_permission)
                .delete(delete_permission::delete_permission),
        );
    let toolbelt = Router::new()
        .route(
            "/toolbox-access",
            post(grant_toolbox_access::grant_toolbox_access).get(list_toolbox_access::list_toolbox_access),
        )
        .route(
            "/toolbox-access/{access_id}",
            delete(revoke_toolbox_access::revoke_toolbox_access),
        )
        .route(
            "/items",
            post(create_toolbelt_item::create_toolbelt_item).get(list_toolbelt_items::list_toolbelt_items),
        )
        .nest("/items/{item_id}", item)
        .route("/audit", get(list_agent_audit::list_agent_audit));

    Ok(Router::new()
        .route("/functions/v1/agent-toolbelt/health", get(get_health))
        .nest("/functions/v1/agent-toolbelt/agents/{agent_id}/toolbelt", toolbelt)
        .with_state(app))
}
