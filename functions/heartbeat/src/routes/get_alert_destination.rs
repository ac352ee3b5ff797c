//! `GET /functions/v1/heartbeat/alerts`: where the caller is told of silence.

use agentopia_platform::db::alerts::{self, AlertDestination};
use agentopia_platform::extract::Json;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;

/// Which webhook it is. Its address is not told again.
pub(crate) async fn get_alert_destination(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
) -> Result<Json<AlertDestination>, ApiError> {
    let destination = alerts::get_alert_destination(&app.db, &context, &user.caller).await?;

    Ok(Json(destination))
}
