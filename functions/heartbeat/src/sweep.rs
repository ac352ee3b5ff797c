//! The sweep: silence noticed, jobs done, other functions asked to do theirs, what has served its time removed.
//!
//! Everything it does is written under a lock or a lease, so that it may run twice at once, die anywhere, and be repeated. It begins no job when
//! its time is over; the next sweep does.

mod alert;
mod functions;
mod machine;

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use agentopia_domain::retry::{Failure, RetryPolicy};
use agentopia_platform::db::OperationError;
use agentopia_platform::db::alerts::{self, SweptToolboxes};
use agentopia_platform::db::jobs::{self, Job, Pruned};
use agentopia_platform::{ApiError, RequestContext, random, serve};
use futures::{StreamExt, stream};
use serde::Serialize;

use crate::app::App;

/// A machine's next step.
const MACHINE: &str = "toolbox_machine";
/// An alert to be sent.
const ALERT: &str = "alert";
/// Machines that are looked at in one sweep, each with up to four calls. Two sweeps a minute make at most 80 calls: below DigitalOcean's 250 a
/// minute and its 5,000 an hour.
const MACHINES_PER_SWEEP: u32 = 10;
const ALERTS_PER_SWEEP: u32 = 50;
/// How long a job may take until another may take it over: longer than its calls together may.
const LEASE: Duration = Duration::from_secs(120);
/// Jobs of a kind at work at once.
const AT_ONCE: usize = 4;
/// Jobs are not begun later than this.
const BEGIN_WITHIN: Duration = Duration::from_secs(15);
const PRUNE_LIMIT: u32 = 5_000;

/// Pauses after failures: doubled from ten seconds up to ten minutes.
const PATIENCE: RetryPolicy = RetryPolicy {
    retries: u32::MAX,
    base: Duration::from_secs(10),
    longest_pause: Duration::from_secs(600),
};

/// What a sweep did.
#[derive(Debug, Serialize)]
pub(crate) struct Swept {
    /// Who was found silent or back.
    toolboxes: SweptToolboxes,
    /// Machines whose job went a step.
    machines: usize,
    /// Alerts that were sent or given up, or of which that was tried.
    alerts: usize,
    /// What was removed because it had served its time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pruned: Option<Pruned>,
}

/// Sweeps once.
pub(crate) async fn sweep(app: &App, context: &RequestContext) -> Result<Swept, ApiError> {
    // First of all: what a sweep that comes late spares must be spared before anybody looks.
    let toolboxes = alerts::sweep_toolboxes(&app.db, context, &app.sweep).await;
    // Side by side: what hangs in another function must not hold up what is to be told from here.
    let (swept, ()) = futures::join!(sweep_own(app, context, toolboxes), functions::sweep(app, context));
    swept
}

/// Does what this function does itself.
async fn sweep_own(
    app: &App,
    context: &RequestContext,
    toolboxes: Result<SweptToolboxes, OperationError>,
) -> Result<Swept, ApiError> {
    let toolboxes = toolboxes?;
    let machines = jobs::claim_jobs(&app.db, context, &[MACHINE], MACHINES_PER_SWEEP, LEASE).await?;
    let due_alerts = jobs::claim_jobs(&app.db, context, &[ALERT], ALERTS_PER_SWEEP, LEASE).await?;
    let (machines_number, alerts_number) = (machines.len(), due_alerts.len());

    let brake = Brake::default();
    // Side by side: a provider that hangs must not hold up what is to be told.
    futures::join!(
        run_all(app, context, machines, &brake),
        run_all(app, context, due_alerts, &brake)
    );

    let pruned = jobs::prune_expired(&app.db, context, PRUNE_LIMIT).await;
    let pruned = pruned.map_err(|error| serve::log_best_effort(context, "prune_failed", Err(error)));
    Ok(Swept {
        toolboxes,
        machines: machines_number,
        alerts: alerts_number,
        pruned: pruned.ok().filter(|pruned| !pruned.removed.is_empty()),
    })
}

async fn run_all(app: &App, context: &RequestContext, jobs: Vec<Job>, brake: &Brake) {
    stream::iter(jobs)
        .for_each_concurrent(AT_ONCE, |job| run(app, context, job, brake))
        .await;
}

/// Does a job. What fails is in the log, and the job is taken up again when its lease runs out.
async fn run(app: &App, context: &RequestContext, job: Job, brake: &Brake) {
    if context.elapsed() > BEGIN_WITHIN {
        let later = jobs::Settlement::Untouched(Duration::ZERO);
        let left = jobs::settle_job(&app.db, context, &job, &later).await;
        serve::log_best_effort(context, "job_not_left", left.map(|_| ()));
        return;
    }
    let result = match job.kind.as_str() {
        MACHINE => machine::work(app, context, &job, brake).await,
        _ => alert::work(app, context, &job).await,
    };
    serve::log_best_effort(context, "job_not_done", result);
}

/// Stops the jobs of a sweep from asking a provider that has had enough.
#[derive(Debug, Default)]
struct Brake(Mutex<Option<Duration>>);

impl Brake {
    fn pull(&self, pause: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(pause);
    }

    /// How long to wait, if it was pulled.
    fn pause(&self) -> Option<Duration> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pause before a job that has failed `attempts` times before is tried again.
fn pause(attempts: u32, failure: Failure) -> Duration {
    PATIENCE.pause_of_job(failure, attempts, random::fraction())
}
