//! `GET …/health`: the component is loaded, configured and answering. It touches nothing outside.

use axum::response::IntoResponse;
use http::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;

use crate::context::RequestContext;
use crate::extract::Json;

#[derive(Serialize)]
struct HealthResponse {
    status: &'static str,
    timestamp: String,
}

/// Answers `{"status":"healthy","timestamp":…}`.
pub async fn get_health(context: RequestContext) -> impl IntoResponse {
    let timestamp = context.now().to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
    (
        [(CACHE_CONTROL, HeaderValue::from_static("no-store"))],
        Json(HealthResponse {
            status: "healthy",
            timestamp,
        }),
    )
}
