//! The job of an agent's worker: look, let the domain say what is next, do it, write it.

use std::time::Duration;

use agentopia_domain::discord::worker::{
    KnownWorker, START_TIMED_OUT, Step, WORKER_SILENT, WorkerStatus, next_step, start_transitions,
};
use agentopia_domain::ids::AgentId;
use agentopia_platform::RequestContext;
use agentopia_platform::db::OperationError;
use agentopia_platform::db::discord_workers::{self, Mandate, RecordedWorker, WorkerChange};
use agentopia_platform::db::jobs::{self, Job, Settlement};
use agentopia_platform::log::Level;

use super::{LEASE, pause};
use crate::app::App;
use crate::worker::{self, WorkerError};

/// Steps that are taken in one go. None needs more; a job that goes round in circles ends here and is looked at again.
const STEPS: usize = 4;
/// When such a job is looked at again.
const SOON: Duration = Duration::from_secs(10);

/// Takes a worker as far as it goes for now.
pub(super) async fn work(app: &App, context: &RequestContext, job: &Job) -> Result<(), OperationError> {
    let work = Work { app, context, job };
    let Ok(agent_id) = job.key.parse::<AgentId>() else {
        context.line(Level::Error, "job_without_an_agent").emit();
        return work.leave(&Settlement::Done).await;
    };
    for _ in 0..STEPS {
        let recorded = discord_workers::read_worker(&app.db, context, agent_id).await?;
        let known = recorded.as_ref().map(KnownWorker::from);
        let step = next_step(known.as_ref());
        if let Some(settlement) = work.take(agent_id, recorded.as_ref(), known.as_ref(), step).await? {
            return work.leave(&settlement).await;
        }
    }
    work.leave(&Settlement::Again(SOON)).await
}

struct Work<'a> {
    app: &'a App,
    context: &'a RequestContext,
    job: &'a Job,
}

impl Work<'_> {
    /// Takes a step. How the job is left then; `None` to look for another at once.
    async fn take(
        &self,
        agent_id: AgentId,
        recorded: Option<&RecordedWorker>,
        known: Option<&KnownWorker>,
        step: Step,
    ) -> Result<Option<Settlement>, OperationError> {
        let (app, context) = (self.app, self.context);
        match (step, recorded) {
            (Step::Nothing, _) => Ok(Some(Settlement::Done)),
            (Step::LookAgain(time), _) => Ok(Some(Settlement::Again(time))),
            (_, None) => {
                let is_due = || worker::is_recorded(app, context, agent_id, None);
                let stopped = worker::stop_at_manager(app, context, agent_id, None, is_due).await;
                Ok(Some(match stopped {
                    Ok(_) => Settlement::Done,
                    Err(error) => self.hindered(agent_id, WorkerError::NotStopped(error)),
                }))
            }
            (Step::Stop, Some(_)) => match worker::stop(app, context, agent_id, Mandate::Automatic).await {
                Ok(_) => Ok(None),
                Err(WorkerError::Operation(error)) => Err(error),
                Err(error) => Ok(Some(self.hindered(agent_id, error))),
            },
            (Step::FailStart, Some(recorded)) => {
                let message = "The worker was started, and did not say in time that it is logged in.";
                self.give_up(agent_id, recorded, WorkerStatus::Activating, START_TIMED_OUT, message)
                    .await
            }
            (Step::Silence, Some(recorded)) => {
                let message = "The worker was running, and is not heard of any more.";
                self.give_up(agent_id, recorded, WorkerStatus::Active, WORKER_SILENT, message)
                    .await
            }
            (Step::Restart, Some(_)) => self.restart(agent_id, known).await,
        }
    }

    /// Ends what is not heard of. It is given up also if the manager cannot be told: its token is not good any more, and a start stops
    /// first what may run.
    async fn give_up(
        &self,
        agent_id: AgentId,
        recorded: &RecordedWorker,
        from: WorkerStatus,
        code: &str,
        message: &str,
    ) -> Result<Option<Settlement>, OperationError> {
        let change = WorkerChange {
            connection_id: recorded.connection_id,
            from,
            lease_id: recorded.lease_id,
            to: WorkerStatus::Error,
            error_code: Some(code),
            error_message: Some(message),
        };
        let keep = Settlement::Keep(LEASE);
        let (db, context) = (&self.app.db, self.context);
        let advanced = discord_workers::advance_worker(db, context, agent_id, self.job, &keep, Some(&change)).await?;
        if advanced.applied {
            worker::note(context, "worker_given_up", agent_id, &code);
            // Not before that is written: it would say that it ended in good order.
            let given_up = Some((WorkerStatus::Error, None));
            let is_due = || worker::is_recorded(self.app, context, agent_id, given_up);
            let stopped = worker::stop_at_manager(self.app, context, agent_id, recorded.lease_id, is_due).await;
            if let Err(error) = stopped {
                worker::note(context, "worker_not_stopped", agent_id, &error);
            }
        }
        // Another has the job, if not.
        Ok((!advanced.held).then_some(Settlement::Untouched(Duration::ZERO)))
    }

    /// Starts it again by itself. What does not succeed is tried again as often as the domain says.
    async fn restart(
        &self,
        agent_id: AgentId,
        known: Option<&KnownWorker>,
    ) -> Result<Option<Settlement>, OperationError> {
        let code = known.and_then(|known| known.error_code.as_deref());
        let transitions = start_transitions();
        let started = worker::start(self.app, self.context, agent_id, Mandate::Automatic, transitions, code).await;
        match started {
            Ok(_) | Err(WorkerError::NotStarted(_)) => Ok(None),
            Err(WorkerError::Operation(OperationError::Refused { code, extra, .. })) => {
                worker::note(self.context, "worker_not_restarted", agent_id, &code);
                let later = extra.retry_after_seconds.map(Duration::try_from_secs_f64);
                Ok(Some(match later {
                    Some(Ok(later)) => Settlement::Again(later),
                    // Whoever changes what hinders it starts it, too.
                    _ => Settlement::Done,
                }))
            }
            Err(WorkerError::Operation(error)) => Err(error),
            Err(error) => Ok(Some(self.hindered(agent_id, error))),
        }
    }

    /// How a job is left that could not be done.
    fn hindered(&self, agent_id: AgentId, error: WorkerError) -> Settlement {
        worker::note(self.context, "worker_hindered", agent_id, &error);
        Settlement::Failed {
            after: pause(self.job.attempts, error.failure()),
            cause: error.to_string(),
        }
    }

    async fn leave(&self, settlement: &Settlement) -> Result<(), OperationError> {
        jobs::settle_job(&self.app.db, self.context, self.job, settlement).await?;
        Ok(())
    }
}
