//! The sweep: interactions whose request died, or was left by it, are answered while their tokens live, and whoever asked is told when that is over.

use std::time::Duration;

use agentopia_platform::db::OperationError;
use agentopia_platform::db::discord_interactions::read_interaction;
use agentopia_platform::db::jobs::{self, Job, Settlement};
use agentopia_platform::log::Level;
use agentopia_platform::{ApiError, RequestContext, serve};
use futures::{StreamExt, stream};
use serde::Serialize;

use crate::answer::{Answering, Budget};
use crate::app::App;

/// An interaction that is to be answered; the key is ours of it.
const ANSWER: &str = "discord_answer";
const PER_SWEEP: u32 = 48;
/// Answers at work at once.
const AT_ONCE: usize = 16;
/// Answers are not begun later than this, so that the sweep ends before whoever asked for it stops waiting.
const BEGIN_WITHIN: Duration = Duration::from_secs(15);

/// What a sweep did.
#[derive(Debug, Serialize)]
pub(crate) struct Swept {
    /// Interactions whose answer went as far as it came.
    interactions: usize,
}

/// Sweeps once.
pub(crate) async fn sweep(app: &App, context: &RequestContext) -> Result<Swept, ApiError> {
    let budget = Budget::of_sweep(app, context);
    let jobs = jobs::claim_jobs(&app.db, context, &[ANSWER], PER_SWEEP, app.lease()).await?;
    let interactions = jobs.len();

    stream::iter(jobs)
        .for_each_concurrent(AT_ONCE, |job| run(app, context, job, budget))
        .await;
    Ok(Swept { interactions })
}

/// Does a job. What fails is in the log, and the job is taken up again when its lease runs out.
async fn run(app: &App, context: &RequestContext, job: Job, budget: Budget) {
    let result = work(app, context, &job, budget).await;
    serve::log_best_effort(context, "interaction_not_answered", result);
}

/// Answers an interaction, if there still is something to answer.
async fn work(app: &App, context: &RequestContext, job: &Job, budget: Budget) -> Result<(), OperationError> {
    if context.elapsed() > BEGIN_WITHIN {
        let later = Settlement::Untouched(Duration::ZERO);
        return jobs::settle_job(&app.db, context, job, &later).await.map(drop);
    }
    let Ok(id) = job.key.parse() else {
        context.line(Level::Error, "job_without_an_interaction").emit();
        return jobs::settle_job(&app.db, context, job, &Settlement::Done)
            .await
            .map(drop);
    };
    let read_at = context.elapsed();
    let Some(interaction) = read_interaction(&app.db, context, id).await? else {
        return jobs::settle_job(&app.db, context, job, &Settlement::Done)
            .await
            .map(drop);
    };
    Answering::new(app, context, job, budget, interaction, read_at, false)
        .run()
        .await
}
