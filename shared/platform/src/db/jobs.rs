//! Durable work (migrations/operations/jobs.sql).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Caller, Database, OperationError};
use crate::context::RequestContext;

const CALLER: Caller = Caller::Service { name: "heartbeat" };

/// The right to do a job, until its lease runs out. Whoever settles under a lease that was lost settles nothing.
#[derive(Clone, Debug, Deserialize)]
pub struct Job {
    /// The job.
    pub job_id: Uuid,
    /// The lease under which it is done.
    pub lease_id: Uuid,
    /// How often it had been asked for when it was claimed: if it is asked for again meanwhile, it is due again when it is settled.
    pub requested: i64,
    /// What is to be done.
    pub kind: String,
    /// To what.
    pub key: String,
    /// How often it failed, or its worker died, since it last went well.
    pub attempts: u32,
}

/// How a job is left.
#[derive(Clone, Debug)]
pub enum Settlement {
    /// It is done.
    Done,
    /// It went as far as it goes for now, and goes on after this long.
    Again(Duration),
    /// It failed, and is tried again after this long. The cause is for the operator.
    Failed {
        /// When to try again.
        after: Duration,
        /// Why.
        cause: String,
    },
    /// Nothing was tried: it is as it was, and due after this long.
    Untouched(Duration),
    /// It failed because the provider of machines has had enough. No other machine's job is claimed in that time either.
    Paused {
        /// When to try again.
        after: Duration,
        /// Why.
        cause: String,
    },
    /// It is not left: the lease is kept for this long from now.
    Keep(Duration),
}

/// A settlement as operations take it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct JobInput<'a> {
    job_id: Uuid,
    lease_id: Uuid,
    requested: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_after_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_seconds: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    untouched: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider_pause_seconds: Option<f64>,
}

impl<'a> JobInput<'a> {
    pub(super) fn new(job: &Job, settlement: &'a Settlement) -> Self {
        let mut input = Self {
            job_id: job.job_id,
            lease_id: job.lease_id,
            requested: job.requested,
            outcome: None,
            run_after_seconds: None,
            error: None,
            keep_seconds: None,
            untouched: false,
            provider_pause_seconds: None,
        };
        match settlement {
            Settlement::Done => input.outcome = Some("succeeded"),
            Settlement::Again(after) => input.run_after_seconds = Some(after.as_secs_f64()),
            Settlement::Failed { after, cause } => {
                input.run_after_seconds = Some(after.as_secs_f64());
                input.error = Some(cause);
            }
            Settlement::Untouched(after) => {
                input.run_after_seconds = Some(after.as_secs_f64());
                input.untouched = true;
            }
            Settlement::Paused { after, cause } => {
                input.run_after_seconds = Some(after.as_secs_f64());
                input.provider_pause_seconds = input.run_after_seconds;
                input.error = Some(cause);
            }
            Settlement::Keep(time) => input.keep_seconds = Some(time.as_secs()),
        }
        input
    }
}

#[derive(Serialize)]
struct ClaimJobs<'a> {
    kinds: &'a [&'a str],
    limit: u32,
    lease_seconds: u64,
}

#[derive(Deserialize)]
struct ClaimedJobs {
    jobs: Vec<Job>,
}

/// Whether the lease under which something was written still was.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Held {
    /// If not, nothing was written: another has the job.
    pub held: bool,
}

/// What was removed because it had served its time.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Pruned {
    /// Rows by table.
    pub removed: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct PruneExpired {
    limit: u32,
}

/// Takes due jobs of some kinds, those that waited longest first.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn claim_jobs(
    db: &Database,
    context: &RequestContext,
    kinds: &[&str],
    limit: u32,
    lease: Duration,
) -> Result<Vec<Job>, OperationError> {
    let input = ClaimJobs {
        kinds,
        limit,
        lease_seconds: lease.as_secs(),
    };
    let claimed: ClaimedJobs = db.call(context, "claim_jobs", &CALLER, &input).await?;
    Ok(claimed.jobs)
}

/// Leaves a job.
///
/// # Errors
///
/// If the database is unavailable; the lease runs out by itself then.
pub async fn settle_job(
    db: &Database,
    context: &RequestContext,
    job: &Job,
    settlement: &Settlement,
) -> Result<Held, OperationError> {
    db.call(context, "settle_job", &CALLER, &JobInput::new(job, settlement))
        .await
}

/// Removes a bounded number of rows that have served their time; at most once an hour, whoever asks.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn prune_expired(db: &Database, context: &RequestContext, limit: u32) -> Result<Pruned, OperationError> {
    db.call(context, "prune_expired", &CALLER, &PruneExpired { limit })
        .await
}
