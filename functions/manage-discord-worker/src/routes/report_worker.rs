//! `POST /functions/v1/manage-discord-worker/report`: a worker says what it is doing, and is told whether to go on and where it may answer.

use agentopia_domain::discord::worker::{WorkerStatus, parse_reported, report_transitions};
use agentopia_platform::db::Rate;
use agentopia_platform::db::discord_workers::{self, ReportWorker, ReportedWorker, WorkersGuild};
use agentopia_platform::extract::{Json, JsonWithin};
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::app::App;

const REQUEST_MAX_BYTES: usize = 16 * 1024;
const CODE_MAX_CHARS: usize = 100;
const MESSAGE_MAX_CHARS: usize = 1000;
const REPORT_MAX_BYTES: usize = 4 * 1024;
/// How often a worker may report: what is silent for a third of its lease and reports what happens besides is far below.
const REPORTS: Rate = Rate {
    per_minute: 60,
    burst: 20,
};

/// What a worker reports.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(crate) struct ReportWorkerRequest {
    /// The lease that it was started under.
    lease_id: Option<String>,
    /// One of the statuses of a worker, also `connecting` and `terminating`.
    status: Option<String>,
    /// Why it failed, for programs: letters, digits and `_`.
    error_code: Option<String>,
    /// The same for people.
    error_message: Option<String>,
    /// What else it says of itself: an object.
    report: Option<Value>,
}

/// A report of which every part is bounded and typed.
#[derive(Debug)]
struct Report {
    lease_id: Uuid,
    status: WorkerStatus,
    error_code: Option<String>,
    error_message: Option<String>,
    report: Option<Value>,
}

impl ReportWorkerRequest {
    fn parse(self) -> Result<Report, ApiError> {
        let lease_id = fields::required_id("leaseId", self.lease_id.as_deref())?;
        let status = fields::required("status", self.status.as_deref())?;
        let status = parse_reported(status.trim())
            .ok_or_else(|| ApiError::invalid_field("status", "is not the status of a worker"))?;
        Ok(Report {
            lease_id,
            status,
            error_code: self.error_code.map(error_code).transpose()?,
            error_message: self.error_message.as_deref().and_then(error_message),
            report: self.report.and_then(|value| report(value).transpose()).transpose()?,
        })
    }
}

fn error_code(code: String) -> Result<String, ApiError> {
    let is_code = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if (1..=CODE_MAX_CHARS).contains(&code.len()) && code.bytes().all(is_code) {
        Ok(code)
    } else {
        let problem = format_args!("must be 1 to {CODE_MAX_CHARS} letters, digits and _");
        Err(ApiError::invalid_field("errorCode", problem))
    }
}

/// A text of whatever length, as much as is kept of it.
fn error_message(text: &str) -> Option<String> {
    let kept = text
        .trim()
        .chars()
        .filter(|character| !character.is_control())
        .take(MESSAGE_MAX_CHARS);
    Some(kept.collect::<String>()).filter(|text| !text.is_empty())
}

fn report(value: Value) -> Result<Option<Value>, ApiError> {
    match value {
        Value::Null => Ok(None),
        Value::Object(_) => {
            let text = value.to_string();
            if text.len() > REPORT_MAX_BYTES {
                let problem = format_args!("must be at most {REPORT_MAX_BYTES} bytes");
                return Err(ApiError::invalid_field("report", problem));
            }
            // As JSON writes it: Postgres has none.
            if text.contains("\\u0000") {
                return Err(ApiError::invalid_field("report", "contains a NUL character"));
            }
            Ok(Some(value))
        }
        _ => Err(ApiError::invalid_field("report", "must be an object")),
    }
}

/// What a worker is told.
#[derive(Debug, Serialize)]
pub(crate) struct ReportWorkerResponse {
    /// What it is seen doing from now on.
    status: WorkerStatus,
    /// Whether it is to end.
    should_stop: bool,
    /// Until when the next report must come.
    lease_seconds: u32,
    /// After how many minutes without a question it ends; 0 for never.
    inactivity_timeout_minutes: i32,
    /// Where it may answer.
    guilds: Vec<GuildResponse>,
}

#[derive(Debug, Serialize)]
struct GuildResponse {
    guild_id: String,
    /// In which channels; null for all.
    allowed_channel_ids: Option<Vec<String>>,
}

pub(crate) async fn report_worker(
    State(app): State<App>,
    context: RequestContext,
    worker: caller::Worker,
    JsonWithin(request): JsonWithin<ReportWorkerRequest, REQUEST_MAX_BYTES>,
) -> Result<Json<ReportWorkerResponse>, ApiError> {
    let report = request.parse()?;
    let transitions = report_transitions();
    let input = ReportWorker {
        token_hash: &worker.token_hash,
        lease_id: report.lease_id,
        status: report.status,
        transitions: &transitions,
        lease_seconds: app.workers.lease_seconds,
        error_code: report.error_code.as_deref(),
        error_message: report.error_message.as_deref(),
        report: report.report.as_ref(),
        rate: REPORTS,
    };

    let reported = discord_workers::report_worker(&app.db, &context, &input).await?;

    Ok(Json(reported.into()))
}

impl From<ReportedWorker> for ReportWorkerResponse {
    fn from(reported: ReportedWorker) -> Self {
        Self {
            status: reported.status,
            should_stop: reported.should_stop,
            lease_seconds: reported.lease_seconds,
            inactivity_timeout_minutes: reported.inactivity_timeout_minutes,
            guilds: reported.guilds.into_iter().map(GuildResponse::from).collect(),
        }
    }
}

impl From<WorkersGuild> for GuildResponse {
    fn from(guild: WorkersGuild) -> Self {
        Self {
            guild_id: guild.guild_id,
            allowed_channel_ids: guild.allowed_channel_ids,
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    const LEASE: &str = "00000000-0000-4000-8000-000000000001";

    fn parse(body: Value) -> Result<Report, ApiError> {
        serde_json::from_value::<ReportWorkerRequest>(body).unwrap().parse()
    }

    fn refusal(body: Value) -> String {
        parse(body).unwrap_err().message().to_owned()
    }

    #[test]
    fn a_report_is_bounded_and_typed() {
        let report = parse(json!({
            "leaseId": LEASE,
            "status": "connecting",
            "errorCode": "worker_crashed",
            "errorMessage": format!(" a\nb{}", "x".repeat(2000)),
            "report": {"shards": 1},
        }))
        .unwrap();

        assert_eq!(report.status, WorkerStatus::Activating);
        assert_eq!(report.error_code.as_deref(), Some("worker_crashed"));
        let message = report.error_message.unwrap();
        assert!(message.starts_with("abx") && message.len() == MESSAGE_MAX_CHARS);
        assert_eq!(report.report, Some(json!({"shards": 1})));
    }

    #[test]
    fn nothing_but_lease_and_status_is_needed() {
        let report = parse(json!({
            "leaseId": LEASE, "status": "active", "errorMessage": " ", "report": null,
        }));

        let report = report.unwrap();
        assert_eq!(report.status, WorkerStatus::Active);
        assert_eq!(
            (report.error_code, report.error_message, report.report),
            (None, None, None)
        );
    }

    #[test]
    fn what_a_report_cannot_be_is_named() {
        let with = |field: &str, value: Value| {
            let mut body = json!({"leaseId": LEASE, "status": "active"});
            body[field] = value;
            refusal(body)
        };

        assert_snapshot!(with("leaseId", json!(null)), @"leaseId is required.");
        assert_snapshot!(with("leaseId", json!("x")), @"leaseId is not a UUID.");
        assert_snapshot!(with("status", json!(null)), @"status is required.");
        assert_snapshot!(with("status", json!("online")), @"status is not the status of a worker.");
        assert_snapshot!(with("errorCode", json!("a b")), @"errorCode must be 1 to 100 letters, digits and _.");
        assert_snapshot!(with("report", json!([])), @"report must be an object.");
        assert_snapshot!(with("report", json!({"a": "x".repeat(5000)})), @"report must be at most 4096 bytes.");
        assert_snapshot!(with("report", json!({"a": "\u{0}"})), @"report contains a NUL character.");
    }
}
