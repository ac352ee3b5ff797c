//! Silence noticed, and told (migrations/operations/alerts.sql).

use agentopia_domain::ids::UserId;
use agentopia_domain::toolbox::alert::{AlertEntry, AlertKind};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::jobs::{Held, Job, JobInput, Settlement};
use super::{Caller, Database, OperationError};
use crate::context::RequestContext;

const CALLER: Caller = Caller::Service { name: "heartbeat" };

/// Input of `api.sweep_toolboxes`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SweepToolboxes {
    /// The most toolboxes that are judged at once.
    pub limit: u32,
    /// A sweep that comes this long after the last one is late.
    pub late_after_seconds: u64,
    /// For how long flips are collected before it is decided whom to tell of them.
    pub settle_seconds: u64,
    /// From how many toolboxes on a silence is one of many.
    pub mass_minimum: u32,
    /// And from which part of those that speak.
    pub mass_percent: u32,
    /// How often an owner is told again.
    pub remind_after_seconds: u64,
    /// Whether there is an operator to tell of many.
    pub has_operator: bool,
}

/// Output of `api.sweep_toolboxes`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum SweptToolboxes {
    /// Another sweep is looking.
    Busy,
    /// This one has looked.
    Swept {
        /// Whether it was late, and gave everybody more time.
        is_late: bool,
        /// To how many.
        postponed: u64,
        /// How many have fallen silent.
        silent: u64,
        /// How many have returned.
        returned: u64,
        /// Of how many owners were told again.
        reminded: u64,
        /// Whether the silence was one of many.
        is_mass: bool,
        /// How many alerts were decided on.
        alerts: u64,
    },
}

/// Output of `api.begin_alert`.
#[derive(Clone, Debug, Deserialize)]
pub struct BegunAlert {
    /// Whom to tell; the operator if there is none.
    pub user_id: Option<UserId>,
    /// What.
    pub kind: AlertKind,
    /// Of which toolboxes; the first ones.
    pub entries: Vec<AlertEntry>,
    /// Of how many.
    pub total: u64,
    /// Where the owner is told, if there is such a place.
    pub destination: Option<SealedDestination>,
    /// Whether it may have been sent before.
    pub in_doubt: bool,
}

/// Where an owner is told.
#[derive(Clone, Debug, Deserialize)]
pub struct SealedDestination {
    /// The address of the webhook, sealed for its owner.
    pub webhook_sealed: String,
}

/// How sending went.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertOutcome {
    /// It arrived.
    Delivered,
    /// It did not, for certain.
    NotSent,
    /// Nobody knows.
    InDoubt,
    /// It never will.
    GivenUp,
}

#[derive(Serialize)]
struct BeginAlert {
    alert_id: Uuid,
    lease: Lease,
}

#[derive(Serialize)]
struct Lease {
    job_id: Uuid,
    lease_id: Uuid,
}

#[derive(Serialize)]
struct SettleAlert<'a> {
    alert_id: Uuid,
    outcome: AlertOutcome,
    reason: Option<&'a str>,
    disable_destination: bool,
    job: JobInput<'a>,
}

/// Where an owner is told, as the owner sees it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AlertDestination {
    /// Whether there is one.
    pub configured: bool,
    /// Discord's id of the webhook.
    pub webhook_id: Option<String>,
    /// Since when it is not called any more, because Discord does not know it.
    pub disabled_at: Option<DateTime<Utc>>,
}

/// Input of `api.put_alert_destination`.
#[derive(Clone, Debug, Serialize)]
pub struct PutAlertDestination<'a> {
    /// The address, sealed for the owner.
    pub sealed: &'a str,
    /// The key under which it is.
    pub key_id: &'a str,
    /// Discord's id of the webhook.
    pub webhook_id: String,
    /// Changes per minute of a user.
    pub per_minute: u32,
    /// Changes of a user at once.
    pub burst: u32,
}

#[derive(Serialize)]
struct Nothing {}

/// Notices who has fallen silent or returned, and decides whom to tell.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn sweep_toolboxes(
    db: &Database,
    context: &RequestContext,
    input: &SweepToolboxes,
) -> Result<SweptToolboxes, OperationError> {
    db.call(context, "sweep_toolboxes", &CALLER, input).await
}

/// Takes an alert to send it; `None` if there is nothing to send.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn begin_alert(
    db: &Database,
    context: &RequestContext,
    alert_id: Uuid,
    job: &Job,
) -> Result<Option<BegunAlert>, OperationError> {
    let input = BeginAlert {
        alert_id,
        lease: Lease {
            job_id: job.job_id,
            lease_id: job.lease_id,
        },
    };
    db.call(context, "begin_alert", &CALLER, &input).await
}

/// Writes how sending an alert went, and leaves its job.
///
/// # Errors
///
/// If the database is unavailable.
#[expect(clippy::too_many_arguments, reason = "the first two are what every operation takes")]
pub async fn settle_alert(
    db: &Database,
    context: &RequestContext,
    alert_id: Uuid,
    job: &Job,
    outcome: AlertOutcome,
    reason: Option<&str>,
    disable_destination: bool,
    settlement: &Settlement,
) -> Result<Held, OperationError> {
    let input = SettleAlert {
        alert_id,
        outcome,
        reason,
        disable_destination,
        job: JobInput::new(job, settlement),
    };
    db.call(context, "settle_alert", &CALLER, &input).await
}

/// Where the user is told.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn get_alert_destination(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
) -> Result<AlertDestination, OperationError> {
    db.call(context, "get_alert_destination", caller, &Nothing {}).await
}

/// Has the user told there.
///
/// # Errors
///
/// 429 `rate_limited`; or if the database is unavailable.
pub async fn put_alert_destination(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &PutAlertDestination<'_>,
) -> Result<AlertDestination, OperationError> {
    db.call(context, "put_alert_destination", caller, input).await
}

/// Has the user told nowhere.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn delete_alert_destination(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
) -> Result<AlertDestination, OperationError> {
    db.call(context, "delete_alert_destination", caller, &Nothing {}).await
}
