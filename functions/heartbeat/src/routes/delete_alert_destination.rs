//! `DELETE /functions/v1/heartbeat/alerts`: the caller is told nowhere.

use agentopia_platform::db::alerts::{self, AlertDestination};
use agentopia_platform::extract::Json;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;

/// Forgets the webhook.
pub(crate) async fn delete_alert_destination(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
) -> Result<Json<AlertDestination>, ApiError> {
    let destination = alerts::delete_alert_destination(&app.db, &context, &user.caller).await?;

    Ok(Json(destination))
}
