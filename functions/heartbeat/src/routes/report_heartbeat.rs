//! `POST /functions/v1/heartbeat`: a toolbox says that it is alive and what runs on it, and is told what should.

mod request;

use agentopia_platform::db::heartbeats::{self, DesiredToolbox, RecordHeartbeat};
use agentopia_platform::extract::{Json, JsonWithin};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::Value;

use self::request::ReportHeartbeatRequest;
use crate::app::App;

/// The largest report, in bytes.
const REPORT_MAX_BYTES: usize = 64 * 1024;

/// What should be on the toolbox. What is not listed should not be there.
#[derive(Debug, Serialize)]
pub(crate) struct ReportHeartbeatResponse {
    toolbox_id: String,
    /// Counts the changes of what follows; to be sent with the next report.
    generation: i64,
    /// Its owner wants nothing to run.
    paused: bool,
    /// When to report next.
    heartbeat_interval_seconds: u32,
    /// The tools, each with what is to be done about it.
    tools: Vec<Value>,
}

/// Records a report, and answers with what should run; without a body to who prefers that (RFC 7240).
pub(crate) async fn report_heartbeat(
    State(app): State<App>,
    context: RequestContext,
    toolbox: caller::Toolbox,
    headers: HeaderMap,
    JsonWithin(report): JsonWithin<ReportHeartbeatRequest, REPORT_MAX_BYTES>,
) -> Result<Response, ApiError> {
    let desired = record(&app, &context, &toolbox, report).await?;

    if preference(&headers) == Some(Preference::Minimal) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(Json(ReportHeartbeatResponse::from(desired)).into_response())
}

/// The same for the agents before ours, which expect no body; with one to who prefers that.
pub(crate) async fn report_heartbeat_briefly(
    State(app): State<App>,
    context: RequestContext,
    toolbox: caller::Toolbox,
    headers: HeaderMap,
    JsonWithin(report): JsonWithin<ReportHeartbeatRequest, REPORT_MAX_BYTES>,
) -> Result<Response, ApiError> {
    let desired = record(&app, &context, &toolbox, report).await?;

    if preference(&headers) == Some(Preference::Representation) {
        return Ok(Json(ReportHeartbeatResponse::from(desired)).into_response());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn record(
    app: &App,
    context: &RequestContext,
    toolbox: &caller::Toolbox,
    report: ReportHeartbeatRequest,
) -> Result<DesiredToolbox, ApiError> {
    let report = report.parse()?;
    let input = RecordHeartbeat {
        token_hash: &toolbox.token_hash,
        dtma_version: report.version.as_deref(),
        system_status: report.system_status.as_ref(),
        sent_at: report.sent_at,
        generation: report.generation,
        tools: report.tools.as_deref(),
        per_minute: app.heartbeats.per_minute,
        burst: app.heartbeats.burst,
        contact: &app.heartbeats.contact,
        rule: &app.heartbeats.rule,
    };
    let desired = heartbeats::record_heartbeat(&app.db, context, &input).await?;
    context.set_tenant(desired.user_id);
    Ok(desired)
}

impl From<DesiredToolbox> for ReportHeartbeatResponse {
    fn from(desired: DesiredToolbox) -> Self {
        Self {
            toolbox_id: desired.toolbox_id.to_string(),
            generation: desired.generation,
            paused: desired.paused,
            heartbeat_interval_seconds: desired.heartbeat_interval_seconds,
            tools: desired.tools,
        }
    }
}

/// What `Prefer: return=…` asks for (RFC 7240, section 4.2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Preference {
    Minimal,
    Representation,
}

fn preference(headers: &HeaderMap) -> Option<Preference> {
    headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split([',', ';']))
        .find_map(|preference| match preference.trim().to_ascii_lowercase().as_str() {
            "return=minimal" => Some(Preference::Minimal),
            "return=representation" => Some(Preference::Representation),
            _ => None,
        })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_preference_is_one_of_two() {
        let cases = [
            ("return=minimal", Some(Preference::Minimal)),
            (
                "respond-async, Return=Representation; foo",
                Some(Preference::Representation),
            ),
            ("return=everything", None),
            ("", None),
        ];

        for (value, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert("prefer", HeaderValue::from_static(value));
            assert_eq!(preference(&headers), expected, "{value}");
        }
    }
}
