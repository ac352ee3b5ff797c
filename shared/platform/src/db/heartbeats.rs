//! What machines say, and what is said of them (migrations/operations/heartbeats.sql).

use std::collections::BTreeMap;

use agentopia_domain::ids::{ToolInstanceId, ToolboxId, UserId};
use agentopia_domain::toolbox::status::ToolboxStatus;
use agentopia_domain::toolbox::tool::{Observed, Rule};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Caller, Database, OperationError};
use crate::bearer::TokenHash;
use crate::context::RequestContext;
use crate::page::CreatedCursor;

const CALLER: Caller = Caller::Service { name: "heartbeat" };

/// Input of `api.register_machine`.
#[derive(Clone, Debug, Serialize)]
pub struct RegisterMachine {
    /// The proof.
    pub bootstrap_hash: TokenHash,
    /// What the machine may repeat its exchange with.
    pub claim_hash: Option<TokenHash>,
    /// What is stored of the toolbox's own token.
    pub token_hash: TokenHash,
}

/// Output of `api.register_machine`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct RegisteredMachine {
    /// The toolbox that the machine is.
    pub toolbox_id: ToolboxId,
    /// How often it is to speak.
    pub heartbeat_interval_seconds: u32,
}

/// Input of `api.record_heartbeat`.
#[derive(Clone, Debug, Serialize)]
pub struct RecordHeartbeat<'a> {
    /// The proof.
    pub token_hash: &'a TokenHash,
    /// The version of the agent.
    pub dtma_version: Option<&'a str>,
    /// What the agent measured.
    pub system_status: Option<&'a Value>,
    /// The machine's own time.
    pub sent_at: Option<DateTime<Utc>>,
    /// The generation that the machine has heard of.
    pub generation: Option<i64>,
    /// Its containers; `None` if it says nothing of them.
    pub tools: Option<&'a [ReportedTool]>,
    /// Heartbeats per minute of a toolbox.
    pub per_minute: u32,
    /// Heartbeats of a toolbox at once.
    pub burst: u32,
    /// What contact makes of each status.
    pub contact: &'a BTreeMap<ToolboxStatus, ToolboxStatus>,
    /// How tools are judged.
    pub rule: &'a Rule,
}

/// A container as it is reported.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedTool {
    /// The instance.
    pub id: ToolInstanceId,
    /// Its state.
    pub state: Observed,
    /// The generation that it was made for.
    pub generation: Option<i64>,
    /// What the machine says of it.
    pub message: Option<String>,
}

/// Output of `api.record_heartbeat`: what should run.
#[derive(Clone, Debug, Deserialize)]
pub struct DesiredToolbox {
    /// The toolbox that spoke.
    pub toolbox_id: ToolboxId,
    /// Whose it is.
    pub user_id: UserId,
    /// Counts the changes of what should run.
    pub generation: i64,
    /// Whether its owner has paused it.
    pub paused: bool,
    /// How often it is to speak.
    pub heartbeat_interval_seconds: u32,
    /// What should run, and what is to be done about it.
    pub tools: Vec<Value>,
}

#[derive(Serialize)]
struct ReadLiveness<'a> {
    limit: u32,
    cursor: Option<&'a CreatedCursor>,
    all: bool,
    summary: bool,
}

/// What liveness is told from.
#[derive(Clone, Debug, Deserialize)]
pub struct ContactRow {
    /// The toolbox.
    pub id: ToolboxId,
    /// Whose it is.
    pub user_id: UserId,
    /// What its owner calls it.
    pub name: Option<String>,
    /// Where it is in its life.
    pub status: ToolboxStatus,
    /// When it last spoke.
    pub last_heartbeat_at: Option<DateTime<Utc>>,
    /// How often it is to speak.
    pub heartbeat_period_seconds: u32,
    /// How long it may be late.
    pub heartbeat_grace_seconds: u32,
    /// When its silence will be noticed.
    pub alert_after: Option<DateTime<Utc>>,
    /// Since when it is silent.
    pub silent_since: Option<DateTime<Utc>>,
}

/// Output of `api.read_liveness`.
#[derive(Clone, Debug, Deserialize)]
pub struct LivenessPage {
    /// The database's time.
    pub now: DateTime<Utc>,
    /// A page of toolboxes, newest first.
    pub rows: Vec<ContactRow>,
    /// Where the next page begins.
    pub next: Option<CreatedCursor>,
    /// Figures over all, if they were asked for.
    pub summary: Option<Value>,
}

/// Exchanges a bootstrap token.
///
/// # Errors
///
/// 401 `invalid_token` if it is unknown, used or out of date; or if the database is unavailable.
pub async fn register_machine(
    db: &Database,
    context: &RequestContext,
    input: &RegisterMachine,
) -> Result<RegisteredMachine, OperationError> {
    db.call(context, "register_machine", &CALLER, input).await
}

/// Records that a machine has spoken, and tells what should run on it.
///
/// # Errors
///
/// 401 `invalid_token`, 429 `rate_limited`; or if the database is unavailable.
pub async fn record_heartbeat(
    db: &Database,
    context: &RequestContext,
    input: &RecordHeartbeat<'_>,
) -> Result<DesiredToolbox, OperationError> {
    db.call(context, "record_heartbeat", &CALLER, input).await
}

/// Reads how toolboxes are doing: the user's, or all, for administrators.
///
/// # Errors
///
/// 403 `not_an_operator`; or if the database is unavailable.
pub async fn read_liveness(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    limit: u32,
    cursor: Option<&CreatedCursor>,
    all: bool,
) -> Result<LivenessPage, OperationError> {
    let input = ReadLiveness {
        limit,
        cursor,
        all,
        summary: false,
    };
    db.call(context, "read_liveness", caller, &input).await
}

/// Reads figures over all toolboxes, for administrators.
///
/// # Errors
///
/// 403 `not_an_operator`; or if the database is unavailable.
pub async fn read_summary(db: &Database, context: &RequestContext, caller: &Caller) -> Result<Value, OperationError> {
    let input = ReadLiveness {
        limit: 1,
        cursor: None,
        all: true,
        summary: true,
    };
    let page: LivenessPage = db.call(context, "read_liveness", caller, &input).await?;
    Ok(page.summary.unwrap_or_default())
}
