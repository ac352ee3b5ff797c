//! What a toolbox's agent reports: ours, and the agents before it, whose fields are all optional.

use std::collections::HashSet;

use agentopia_domain::ids::ToolInstanceId;
use agentopia_domain::toolbox::report::observed_state;
use agentopia_platform::db::heartbeats::ReportedTool;
use agentopia_platform::{ApiError, fields};
use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;
use serde_json::Value;

const VERSION_MAX_CHARS: usize = 100;
const STATE_MAX_CHARS: usize = 100;
const MESSAGE_MAX_CHARS: usize = 1000;
const SYSTEM_STATUS_MAX_BYTES: usize = 16 * 1024;
/// More than a toolbox can have.
const TOOLS_MAX: usize = 200;

/// A report. Fields that are not known are ignored: agents of all ages send some.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct ReportHeartbeatRequest {
    /// The version of the agent.
    dtma_version: Option<String>,
    /// What it measured: processor, memory, disk.
    system_status: Option<Value>,
    /// Its containers. All of them: one that is not listed is not there.
    tool_statuses: Option<Vec<ToolReport>>,
    /// The machine's own time, RFC 3339.
    sent_at: Option<String>,
    /// The generation of the last answer that it has heard.
    generation: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
struct ToolReport {
    /// One without an id is not ours.
    account_tool_instance_id: Option<String>,
    status_on_toolbox: Option<String>,
    /// The generation that the container was made for.
    generation: Option<i64>,
    /// How it ended, if it did.
    exit_code: Option<i64>,
    /// Why it is as it is.
    message: Option<String>,
    /// Where older agents put the two above.
    runtime_details: Option<Value>,
}

/// A report of which every part is bounded and typed.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) version: Option<String>,
    pub(super) system_status: Option<Value>,
    pub(super) tools: Option<Vec<ReportedTool>>,
    pub(super) sent_at: Option<DateTime<Utc>>,
    pub(super) generation: Option<i64>,
}

impl ReportHeartbeatRequest {
    /// Parses the report.
    pub(super) fn parse(self) -> Result<Report, ApiError> {
        if let Some(version) = &self.dtma_version {
            fields::text("dtma_version", version, 0..=VERSION_MAX_CHARS)?;
        }
        let sent_at = self.sent_at.as_deref().map(|text| {
            DateTime::parse_from_rfc3339(text)
                .map(|time| time.to_utc())
                .ok()
                // No machine's clock, and not all of them are times to the database.
                .filter(|time| (1970..=9999).contains(&time.year()))
                .ok_or_else(|| ApiError::invalid_field("sent_at", "is not a time of RFC 3339"))
        });

        Ok(Report {
            version: self.dtma_version,
            system_status: self.system_status.map(system_status).transpose()?.flatten(),
            tools: self.tool_statuses.map(tools).transpose()?,
            sent_at: sent_at.transpose()?,
            generation: self.generation,
        })
    }
}

fn system_status(value: Value) -> Result<Option<Value>, ApiError> {
    const FIELD: &str = "system_status";

    match &value {
        Value::Null => return Ok(None),
        Value::Object(_) => {}
        _ => return Err(ApiError::invalid_field(FIELD, "is not an object")),
    }
    let text = value.to_string();
    if text.len() > SYSTEM_STATUS_MAX_BYTES {
        return Err(ApiError::invalid_field(
            FIELD,
            format_args!("is larger than {SYSTEM_STATUS_MAX_BYTES} bytes"),
        ));
    }
    // What the database cannot hold in JSON. In its text a back-slash before it would be doubled.
    if text.replace(r"\\", "").contains(r"\u0000") {
        return Err(ApiError::invalid_field(FIELD, "contains a NUL character"));
    }
    Ok(Some(value))
}

fn tools(reports: Vec<ToolReport>) -> Result<Vec<ReportedTool>, ApiError> {
    if reports.len() > TOOLS_MAX {
        return Err(ApiError::invalid_field(
            "tool_statuses",
            format_args!("has more than {TOOLS_MAX} entries"),
        ));
    }
    let mut seen = HashSet::new();
    let mut tools = Vec::new();
    for (position, report) in reports.into_iter().enumerate() {
        let field = |name: &str| format!("tool_statuses[{position}].{name}");
        let Some(id) = report.account_tool_instance_id.as_deref().filter(|id| !id.is_empty()) else {
            continue;
        };
        let id: ToolInstanceId = id
            .parse()
            .map_err(|_| ApiError::invalid_field(&field("account_tool_instance_id"), "is not a UUID"))?;
        if !seen.insert(id) {
            return Err(ApiError::invalid_field(
                &field("account_tool_instance_id"),
                "is there already",
            ));
        }
        let state = fields::required(&field("status_on_toolbox"), report.status_on_toolbox.as_deref())?;
        fields::text(&field("status_on_toolbox"), state, 0..=STATE_MAX_CHARS)?;

        let detail = |name: &str| report.runtime_details.as_ref().and_then(|details| details.get(name));
        let exit_code = report.exit_code.or_else(|| detail("exit_code").and_then(Value::as_i64));
        let message = report
            .message
            .as_deref()
            .or_else(|| detail("error").and_then(Value::as_str));
        tools.push(ReportedTool {
            id,
            state: observed_state(state, exit_code),
            generation: report.generation,
            message: message.map(shown).filter(|message| !message.is_empty()),
        });
    }
    Ok(tools)
}

/// A machine's words, as they can be stored and shown.
fn shown(message: &str) -> String {
    message
        .chars()
        .map(|character| if character == '\0' { ' ' } else { character })
        .take(MESSAGE_MAX_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use agentopia_domain::toolbox::tool::Observed;
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    fn parse(report: Value) -> Result<Report, ApiError> {
        serde_json::from_value::<ReportHeartbeatRequest>(report)
            .unwrap()
            .parse()
    }

    fn refusal(report: Value) -> String {
        parse(report).unwrap_err().message().to_owned()
    }

    #[test]
    fn an_empty_report_is_a_report() {
        let report = parse(json!({ "a_field_of_next_year": 1, "system_status": null })).unwrap();

        assert!(report.tools.is_none() && report.system_status.is_none() && report.version.is_none());
    }

    #[test]
    fn a_report_of_the_older_shape_is_understood() {
        let report = parse(json!({
            "dtma_version": "0.1.0",
            "system_status": { "cpu_load_percent": 1.5 },
            "tool_statuses": [
                { "account_tool_instance_id": ID, "instance_name_on_toolbox": "a", "status_on_toolbox": "exited",
                  "runtime_details": { "exit_code": 1, "error": "no such file" } },
                { "instance_name_on_toolbox": "not ours", "status_on_toolbox": "running" },
            ],
        }));

        let tools = report.unwrap().tools.unwrap();
        assert_eq!(tools.len(), 1);
        assert_eq!(
            (tools[0].state, tools[0].message.as_deref()),
            (Observed::Failed, Some("no such file"))
        );
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_by_its_field() {
        assert_snapshot!(refusal(json!({ "dtma_version": "a".repeat(101) })), @"dtma_version must be 0 to 100 characters.");
        assert_snapshot!(refusal(json!({ "sent_at": "yesterday" })), @"sent_at is not a time of RFC 3339.");
        assert_snapshot!(refusal(json!({ "sent_at": "0000-01-01T00:00:00Z" })), @"sent_at is not a time of RFC 3339.");
        assert_snapshot!(refusal(json!({ "system_status": [] })), @"system_status is not an object.");
        assert_snapshot!(refusal(json!({ "system_status": { "a": "x\u{0}y" } })), @"system_status contains a NUL character.");
        assert!(parse(json!({ "system_status": { "a": "\\u0000" } })).is_ok());
        assert_snapshot!(refusal(json!({ "system_status": { "a": "x".repeat(20_000) } })), @"system_status is larger than 16384 bytes.");
        assert_snapshot!(
            refusal(json!({ "tool_statuses": [{ "account_tool_instance_id": "x", "status_on_toolbox": "running" }] })),
            @"tool_statuses[0].account_tool_instance_id is not a UUID."
        );
        assert_snapshot!(
            refusal(json!({ "tool_statuses": [{ "account_tool_instance_id": ID }] })),
            @"tool_statuses[0].status_on_toolbox is required."
        );
        let twice = json!({ "account_tool_instance_id": ID, "status_on_toolbox": "running" });
        assert_snapshot!(
            refusal(json!({ "tool_statuses": [twice, twice] })),
            @"tool_statuses[1].account_tool_instance_id is there already."
        );
        let many = vec![json!({}); 201];
        assert_snapshot!(refusal(json!({ "tool_statuses": many })), @"tool_statuses has more than 200 entries.");
    }
}
