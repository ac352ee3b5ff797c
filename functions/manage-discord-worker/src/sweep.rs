//! The sweep: workers' due jobs done, and what the worker manager runs compared with what is wanted.
//!
//! Everything it does is written under a lease, so that it may run twice at once, die anywhere, and be repeated. It begins nothing when its
//! time is over; the next sweep does.

mod unwanted;
mod worker;

use std::time::Duration;

use agentopia_domain::retry::{Failure, RetryPolicy};
use agentopia_platform::db::jobs::{self, Job, Settlement};
use agentopia_platform::{ApiError, RequestContext, random, serve};
use futures::{StreamExt, stream};
use serde::Serialize;

use crate::app::App;

/// A worker's next step.
const WORKER: &str = "discord_worker";
/// Jobs that are claimed at once; more are when these are done.
const BATCH: u32 = 20;
/// How long a job may take until another may take it over: longer than its calls together may.
const LEASE: Duration = Duration::from_secs(120);
/// What is at work at once.
const AT_ONCE: usize = 4;
/// Nothing is begun later than this.
const BEGIN_WITHIN: Duration = Duration::from_secs(15);

/// Pauses after failures: doubled from ten seconds up to ten minutes.
const PATIENCE: RetryPolicy = RetryPolicy {
    retries: u32::MAX,
    base: Duration::from_secs(10),
    longest_pause: Duration::from_secs(600),
};

/// What a sweep did.
#[derive(Debug, Serialize)]
pub(crate) struct Swept {
    /// Workers whose job went a step.
    workers: usize,
    /// Workers that ran and that nobody wanted.
    unwanted: usize,
}

/// Sweeps once.
pub(crate) async fn sweep(app: &App, context: &RequestContext) -> Result<Swept, ApiError> {
    let jobs = jobs::claim_jobs(&app.db, context, &[WORKER], BATCH, LEASE).await?;

    // Side by side: each waits for the manager as long as it must.
    let (workers, unwanted) = futures::join!(run_all(app, context, jobs), unwanted::stop(app, context));

    Ok(Swept { workers, unwanted })
}

/// Does these jobs, and whatever else is due while there is time, batch by batch. How many there were.
async fn run_all(app: &App, context: &RequestContext, first: Vec<Job>) -> usize {
    let mut workers = 0;
    let mut batch = first;
    while !batch.is_empty() {
        workers += batch.len();
        stream::iter(batch)
            .for_each_concurrent(AT_ONCE, |job| run(app, context, job))
            .await;
        batch = claim_more(app, context).await;
    }
    workers
}

/// What else is due; nothing when time is over, or if that cannot be told.
async fn claim_more(app: &App, context: &RequestContext) -> Vec<Job> {
    if context.elapsed() > BEGIN_WITHIN {
        return Vec::new();
    }
    match jobs::claim_jobs(&app.db, context, &[WORKER], BATCH, LEASE).await {
        Ok(jobs) => jobs,
        Err(error) => {
            serve::log_best_effort(context, "jobs_not_claimed", Err(error));
            Vec::new()
        }
    }
}

/// Does a job. What fails is in the log, and the job is taken up again when its lease runs out.
async fn run(app: &App, context: &RequestContext, job: Job) {
    let result = if context.elapsed() > BEGIN_WITHIN {
        let later = Settlement::Untouched(Duration::ZERO);
        jobs::settle_job(&app.db, context, &job, &later).await.map(|_| ())
    } else {
        worker::work(app, context, &job).await
    };
    serve::log_best_effort(context, "job_not_done", result);
}

/// The pause before a job that has failed `attempts` times before is tried again.
fn pause(attempts: u32, failure: Failure) -> Duration {
    PATIENCE.pause_of_job(failure, attempts, random::fraction())
}
