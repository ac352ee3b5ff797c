//! `GET /functions/v1/heartbeat/status/summary`: figures over all toolboxes, for administrators.

use agentopia_platform::db::heartbeats;
use agentopia_platform::extract::Json;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use serde_json::Value;

use crate::app::App;

/// Toolboxes by status, when the last sweep was, which jobs are due, which alerts are not delivered.
pub(crate) async fn get_summary(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
) -> Result<Json<Value>, ApiError> {
    let summary = heartbeats::read_summary(&app.db, &context, &user.caller).await?;

    Ok(Json(summary))
}
