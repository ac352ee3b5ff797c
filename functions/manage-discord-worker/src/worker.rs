//! A worker is started and stopped: what is written before and after, and the worker manager asked in between.
//!
//! The manager runs one worker for each agent, and leaves one that runs as it is. So a start stops what may run first: it has another token and
//! another lease, and would never be heard. Both may be repeated, as long as what is recorded is what they were begun for: another worker may have been
//! started since. A start that may have been done is followed by a stop if it is given up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use agentopia_clients::worker_manager::{ManagerError, StartWorker, WorkerManager};
use agentopia_domain::discord::worker::{START_TIMED_OUT, WorkerStatus, stop_transitions};
use agentopia_domain::ids::AgentId;
use agentopia_domain::retry::{Failure, RetryPolicy};
use agentopia_domain::secrets::Keyring;
use agentopia_platform::bearer::WorkerToken;
use agentopia_platform::db::OperationError;
use agentopia_platform::db::discord_workers::{
    self, BeginWorkerStart, BegunStart, BegunStop, Mandate, RecordedWorker, SettleWorker, Transitions, WorkerToStart,
};
use agentopia_platform::error::Kind;
use agentopia_platform::log::Level;
use agentopia_platform::{ApiError, RequestContext, random, serve, sleep};
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use crate::app::App;
use crate::bot_token::{self, Unreadable};

/// How the manager is asked again.
const PATIENCE: RetryPolicy = RetryPolicy {
    retries: 2,
    base: Duration::from_millis(500),
    longest_pause: Duration::from_secs(5),
};
/// No call is repeated later than this after the first.
const REPEAT_WITHIN: Duration = Duration::from_secs(15);
/// When it is worth asking again for what the operator has to mend.
const UNCONFIGURED_RETRY: Duration = Duration::from_secs(60);
/// The same for what is just being done by somebody else.
pub(crate) const BUSY_RETRY: Duration = Duration::from_secs(5);

/// How a start went.
#[derive(Clone, Debug)]
pub(crate) struct Started {
    /// Whether one was begun; otherwise there was nothing to do.
    pub(crate) is_begun: bool,
    /// What the worker is seen doing.
    pub(crate) status: WorkerStatus,
    /// After how many minutes without a question it ends; 0 for never.
    pub(crate) inactivity_timeout_minutes: i32,
    /// Who it speaks for; `None` if there was nothing to do.
    pub(crate) agent_name: Option<String>,
    /// What of the manager's answer is shown; null if it was not asked.
    pub(crate) details: Value,
}

/// How a stop went.
#[derive(Clone, Debug)]
pub(crate) struct Stopped {
    /// Whether one was begun; otherwise there was nothing to do.
    pub(crate) is_begun: bool,
    /// What the worker is seen doing.
    pub(crate) status: WorkerStatus,
    /// What of the manager's answer is shown; null if it was not asked, or the worker ended before it answered.
    pub(crate) details: Value,
}

/// Why a worker was not started or not stopped.
#[derive(Debug, Error)]
pub(crate) enum WorkerError {
    #[error(transparent)]
    Operation(#[from] OperationError),
    #[error("no worker manager is configured")]
    Unconfigured,
    #[error("{}", .0.message())]
    Sealing(ApiError),
    #[error("the worker was not started: {0}")]
    NotStarted(LaunchError),
    #[error("the worker was not stopped: {0}")]
    NotStopped(ManagerError),
}

/// Why a start that was begun came to nothing.
#[derive(Debug, Error)]
pub(crate) enum LaunchError {
    #[error(transparent)]
    BotToken(#[from] Unreadable),
    #[error("{error}")]
    Manager {
        /// What the manager did.
        error: ManagerError,
        /// Whether the worker may run all the same.
        may_run: bool,
    },
    #[error("it was stopped meanwhile")]
    Stopped,
    #[error("it was started once more meanwhile")]
    Superseded,
}

impl From<ManagerError> for LaunchError {
    fn from(error: ManagerError) -> Self {
        Self::Manager { error, may_run: false }
    }
}

impl WorkerError {
    /// Whether the same may succeed soon.
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::NotStarted(error) => error.failure(),
            Self::NotStopped(error) => error.failure(),
            Self::Operation(_) => Failure::Transient { retry_after: None },
            Self::Unconfigured | Self::Sealing(_) => Failure::Transient {
                retry_after: Some(UNCONFIGURED_RETRY),
            },
        }
    }
}

impl LaunchError {
    fn failure(&self) -> Failure {
        match self {
            Self::BotToken(_) => Failure::Permanent,
            Self::Manager { error, .. } => error.failure(),
            Self::Stopped | Self::Superseded => Failure::Transient {
                retry_after: Some(BUSY_RETRY),
            },
        }
    }

    /// What the owner is told.
    fn told(&self) -> ApiError {
        match self {
            Self::BotToken(error) => error.told(),
            Self::Manager { error, .. } => manager_refusal("The worker was not started", error),
            Self::Stopped => ApiError::new(
                Kind::Conflict,
                "worker_stopping",
                "The worker was stopped while it was starting.",
            )
            .retry_after(BUSY_RETRY),
            Self::Superseded => ApiError::new(
                Kind::Conflict,
                "worker_superseded",
                "The worker was started once more while it was starting.",
            )
            .retry_after(BUSY_RETRY),
        }
    }

    fn may_run(&self) -> bool {
        matches!(self, Self::Manager { may_run: true, .. })
    }
}

impl From<WorkerError> for ApiError {
    fn from(error: WorkerError) -> Self {
        match error {
            WorkerError::Operation(error) => error.into(),
            WorkerError::Unconfigured => Self::new(
                Kind::Unavailable,
                "worker_manager_unconfigured",
                "This deployment has no worker manager. Its operator has to set one up.",
            )
            .retry_after(UNCONFIGURED_RETRY),
            WorkerError::Sealing(error) => error,
            WorkerError::NotStarted(error) => error.told(),
            WorkerError::NotStopped(error) => manager_refusal("The worker was not stopped", &error),
        }
    }
}

/// What is told of a manager that did not do what was asked.
fn manager_refusal(what: &str, error: &ManagerError) -> ApiError {
    let (kind, code) = match error {
        ManagerError::TimedOut => (Kind::GatewayTimeout, "worker_manager_timed_out"),
        ManagerError::Broken(_) | ManagerError::Unsendable(_) => (Kind::BadGateway, "worker_manager_unreachable"),
        ManagerError::RateLimited { .. }
        | ManagerError::Unauthorized
        | ManagerError::NotFound
        | ManagerError::Refused(_) => (Kind::BadGateway, "worker_manager_refused"),
        ManagerError::Failed(_) | ManagerError::Malformed(_) => (Kind::BadGateway, "worker_manager_failed"),
    };
    let told = match error {
        // Where it is, and why it cannot be reached, is the operator's to know.
        ManagerError::Broken(_) | ManagerError::Unsendable(_) => "the worker manager cannot be reached".to_owned(),
        ManagerError::Malformed(_) => "the worker manager did not answer as it should".to_owned(),
        error => error.to_string(),
    };
    let message = format!("{what}: {}.", told.trim_end_matches('.'));
    let refusal = ApiError::new(kind, code, message).because(error.to_string());
    match error.failure() {
        Failure::Transient {
            retry_after: Some(pause),
        } => refusal.retry_after(pause),
        _ => refusal,
    }
}

/// Starts an agent's worker, from the statuses that the transitions name. If it fails the worker is in `error`, with the reason; if it may
/// succeed soon and there is a code `to_restart` it keeps that, under which the sweep tries again.
pub(crate) async fn start(
    app: &App,
    context: &RequestContext,
    agent_id: AgentId,
    mandate: Mandate<'_>,
    transitions: Transitions,
    to_restart: Option<&str>,
) -> Result<Started, WorkerError> {
    let manager = app.manager.as_ref().ok_or(WorkerError::Unconfigured)?;
    let keyring = app.sealing.keyring().map_err(WorkerError::Sealing)?;
    let token = WorkerToken::generate();
    let input = BeginWorkerStart {
        agent_id,
        transitions,
        token_hash: token.hash_hex(),
        start_seconds: app.workers.start_seconds,
        starts_per_day: app.workers.starts_per_day,
    };
    let worker = match discord_workers::begin_worker_start(&app.db, context, &mandate, &input).await? {
        BegunStart::Begun(worker) => worker,
        BegunStart::Unchanged {
            status,
            inactivity_timeout_minutes,
        } => {
            return Ok(Started {
                is_begun: false,
                status,
                inactivity_timeout_minutes,
                agent_name: None,
                details: Value::Null,
            });
        }
    };
    context.set_tenant(worker.user_id);

    let mut settle = SettleWorker {
        connection_id: worker.connection_id,
        lease_id: worker.lease_id,
        error_code: None,
        error_message: None,
    };
    let details = match launch(app, context, manager, keyring, agent_id, &worker, &token).await {
        Ok(details) => details,
        Err(error) => {
            note(context, "worker_not_started", agent_id, &error);
            let told = error.told();
            let is_passing = matches!(error.failure(), Failure::Transient { .. });
            settle.error_code = Some(to_restart.filter(|_| is_passing).unwrap_or(told.code()));
            settle.error_message = Some(told.message());
            let settled = discord_workers::settle_worker_start(&app.db, context, &settle).await;
            if matches!(settled, Ok(WorkerStatus::Active)) {
                // It has spoken for itself.
                return Ok(started(&worker, WorkerStatus::Active, Value::Null));
            }
            // The sweep ends a start that nothing is heard of.
            serve::log_best_effort(context, "worker_start_not_settled", settled.map(|_| ()));
            // Not before that is written: it would say that it ended in good order.
            if error.may_run() {
                stop_best_effort(context, manager, agent_id, worker.lease_id).await;
            }
            return Err(WorkerError::NotStarted(error));
        }
    };

    // Its first report says that it runs. Until then there is nothing to write.
    let recorded = discord_workers::read_worker(&app.db, context, agent_id).await?;
    let is_up = recorded.as_ref().is_some_and(|recorded| {
        recorded.lease_id == Some(worker.lease_id)
            && matches!(recorded.worker_status, WorkerStatus::Activating | WorkerStatus::Active)
    });
    if !is_up {
        // Whoever ended it may have done so before the manager had it.
        stop_best_effort(context, manager, agent_id, worker.lease_id).await;
    }
    match after_launch(recorded.as_ref(), worker.lease_id) {
        Ok(status) => Ok(started(&worker, status, details)),
        Err(error) => {
            note(context, "worker_not_started", agent_id, &error);
            Err(WorkerError::NotStarted(error))
        }
    }
}

/// What a worker is seen doing that the manager has started, if it is one that is looked for.
fn after_launch(recorded: Option<&RecordedWorker>, lease_id: Uuid) -> Result<WorkerStatus, LaunchError> {
    let Some(recorded) = recorded else {
        return Err(LaunchError::Stopped);
    };
    match recorded.worker_status {
        WorkerStatus::Activating | WorkerStatus::Active if recorded.lease_id != Some(lease_id) => {
            Err(LaunchError::Superseded)
        }
        WorkerStatus::Inactive | WorkerStatus::Stopping => Err(LaunchError::Stopped),
        WorkerStatus::Error if recorded.error_code.as_deref() == Some(START_TIMED_OUT) => {
            Err(ManagerError::TimedOut.into())
        }
        // The others are its own words.
        status => Ok(status),
    }
}

fn started(worker: &WorkerToStart, status: WorkerStatus, details: Value) -> Started {
    Started {
        is_begun: true,
        status,
        inactivity_timeout_minutes: worker.inactivity_timeout_minutes,
        agent_name: Some(worker.agent.name.clone()),
        details,
    }
}

/// Has the manager run a worker.
async fn launch(
    app: &App,
    context: &RequestContext,
    manager: &WorkerManager,
    keyring: &Keyring,
    agent_id: AgentId,
    worker: &WorkerToStart,
    token: &WorkerToken,
) -> Result<Value, LaunchError> {
    let bot_token = bot_token::open(keyring, worker.user_id, agent_id, &worker.bot_token_sealed)?;
    let asked = StartWorker {
        agent_id,
        connection_id: worker.connection_id,
        lease_id: worker.lease_id,
        bot_token: &bot_token,
        worker_token: token.expose(),
        agent_name: &worker.agent.name,
        system_prompt: worker.agent.system_instructions.as_deref(),
        agent_instructions: worker.agent.assistant_instructions.as_deref(),
        inactivity_timeout_minutes: worker.inactivity_timeout_minutes,
        functions_url: &app.workers.functions_url,
        guild_ids: &worker.guild_ids,
    };

    let begun = Some((WorkerStatus::Activating, Some(worker.lease_id)));
    let is_due = || is_recorded(app, context, agent_id, begun);
    patiently(context, || manager.stop(context, agent_id, None), is_due).await?;
    let may_run = AtomicBool::new(false);
    let start = || async {
        let started = manager.start(context, &asked).await;
        may_run.fetch_or(
            started.as_ref().is_err_and(ManagerError::is_ambiguous),
            Ordering::Relaxed,
        );
        started
    };
    let started = patiently(context, start, is_due).await;
    started.map_err(|error| LaunchError::Manager {
        error,
        may_run: may_run.into_inner(),
    })
}

/// Stops an agent's worker, and tells what it says of that. If it fails the worker is stopping still, and the sweep goes on.
pub(crate) async fn stop(
    app: &App,
    context: &RequestContext,
    agent_id: AgentId,
    mandate: Mandate<'_>,
) -> Result<Stopped, WorkerError> {
    // Without a manager nothing runs that the sweep would have to wait for.
    if app.manager.is_none() && !matches!(mandate, Mandate::Automatic) {
        return Err(WorkerError::Unconfigured);
    }
    let transitions = stop_transitions();
    let seconds = app.workers.stop_seconds;
    let begun = discord_workers::begin_worker_stop(&app.db, context, &mandate, agent_id, &transitions, seconds).await?;
    let worker = match begun {
        BegunStop::Begun(worker) => worker,
        BegunStop::Unchanged { status } => {
            return Ok(Stopped {
                is_begun: false,
                status,
                details: Value::Null,
            });
        }
    };

    let mut settle = SettleWorker {
        connection_id: worker.connection_id,
        lease_id: worker.lease_id,
        error_code: None,
        error_message: None,
    };
    let begun = Some((WorkerStatus::Stopping, Some(worker.lease_id)));
    let is_due = || is_recorded(app, context, agent_id, begun);
    match stop_at_manager(app, context, agent_id, None, is_due).await {
        Ok(details) => Ok(Stopped {
            is_begun: true,
            status: discord_workers::settle_worker_stop(&app.db, context, &settle).await?,
            details,
        }),
        Err(error) => {
            note(context, "worker_not_stopped", agent_id, &error);
            let told = manager_refusal("The worker was not stopped", &error);
            settle.error_code = Some(told.code());
            settle.error_message = Some(told.message());
            match discord_workers::settle_worker_stop(&app.db, context, &settle).await {
                Ok(WorkerStatus::Stopping) => {}
                // It has ended by its own account.
                Ok(status) => {
                    return Ok(Stopped {
                        is_begun: true,
                        status,
                        details: Value::Null,
                    });
                }
                Err(error) => serve::log_best_effort(context, "worker_stop_not_settled", Err(error)),
            }
            Err(WorkerError::NotStopped(error))
        }
    }
}

/// Has the manager end what it runs for an agent, if it runs anything; under a lease only if it is the one that was started under it. It is asked
/// again as long as that is due. Without a manager nothing runs.
pub(crate) async fn stop_at_manager<D>(
    app: &App,
    context: &RequestContext,
    agent_id: AgentId,
    lease_id: Option<Uuid>,
    is_due: impl Fn() -> D,
) -> Result<Value, ManagerError>
where
    D: Future<Output = bool>,
{
    match &app.manager {
        Some(manager) => patiently(context, || manager.stop(context, agent_id, lease_id), is_due).await,
        None => Ok(Value::Null),
    }
}

/// The same, once, where nobody waits for how it went.
async fn stop_best_effort(context: &RequestContext, manager: &WorkerManager, agent_id: AgentId, lease_id: Uuid) {
    if let Err(error) = manager.stop(context, agent_id, Some(lease_id)).await {
        note(context, "worker_not_stopped", agent_id, &error);
    }
}

/// Whether this status and lease are what is recorded of an agent's worker, or nothing is. If that cannot be told they are not: the sweep tries again.
pub(crate) async fn is_recorded(
    app: &App,
    context: &RequestContext,
    agent_id: AgentId,
    expected: Option<(WorkerStatus, Option<Uuid>)>,
) -> bool {
    match discord_workers::read_worker(&app.db, context, agent_id).await {
        Ok(recorded) => recorded.map(|worker| (worker.worker_status, worker.lease_id)) == expected,
        Err(error) => {
            note(context, "worker_not_read", agent_id, &error);
            false
        }
    }
}

/// Asks the manager, and asks again where that may help and still is due.
async fn patiently<F, D>(
    context: &RequestContext,
    call: impl Fn() -> F,
    is_due: impl Fn() -> D,
) -> Result<Value, ManagerError>
where
    F: Future<Output = Result<Value, ManagerError>>,
    D: Future<Output = bool>,
{
    let until = context.elapsed() + REPEAT_WITHIN;
    let mut attempt = 0;
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let time_left = until.saturating_sub(context.elapsed());
        let Some(pause) = PATIENCE.pause(error.failure(), attempt, time_left, random::fraction()) else {
            return Err(error);
        };
        sleep(pause).await;
        if !is_due().await {
            return Err(error);
        }
        attempt += 1;
    }
}

/// A line about a worker that is not as it should be.
pub(crate) fn note(context: &RequestContext, event: &'static str, agent_id: AgentId, cause: &impl ToString) {
    context
        .line(Level::Warn, event)
        .with("agent", agent_id.to_string())
        .with("cause", cause.to_string())
        .emit();
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    fn told(error: ManagerError) -> String {
        let error = ApiError::from(WorkerError::NotStarted(error.into()));
        let pause = error.retry_after_seconds();
        let pause = pause.map_or_else(String::new, |seconds| format!(" (after {seconds} s)"));
        format!(
            "{} {}: {}{pause}",
            error.status().as_u16(),
            error.code(),
            error.message()
        )
    }

    #[test]
    fn what_the_manager_did_is_told_and_where_it_is_is_not() {
        let retry_after = Some(Duration::from_secs(7));

        assert_snapshot!(told(ManagerError::RateLimited { retry_after }), @"502 worker_manager_refused: The worker was not started: the worker manager limits the rate. (after 7 s)");
        assert_snapshot!(told(ManagerError::Unauthorized), @"502 worker_manager_refused: The worker was not started: the worker manager does not accept the token.");
        assert_snapshot!(told(ManagerError::Refused("400 agentName is required.".to_owned())), @"502 worker_manager_refused: The worker was not started: the worker manager refused: 400 agentName is required.");
        assert_snapshot!(told(ManagerError::Failed("500".to_owned())), @"502 worker_manager_failed: The worker was not started: the worker manager failed: 500.");
        assert_snapshot!(told(ManagerError::Malformed("expected value".to_owned())), @"502 worker_manager_failed: The worker was not started: the worker manager did not answer as it should.");
        assert_snapshot!(told(ManagerError::TimedOut), @"504 worker_manager_timed_out: The worker was not started: the worker manager was too slow.");
        assert_snapshot!(told(ManagerError::Broken("refused by 10.0.0.1".to_owned())), @"502 worker_manager_unreachable: The worker was not started: the worker manager cannot be reached.");
    }

    #[test]
    fn what_happened_to_a_worker_while_it_was_started_is_told() {
        let lease_id = Uuid::from_u128(1);
        let outcome = |status: &str, lease: Value, code: Value| {
            let recorded: RecordedWorker = serde_json::from_value(json!({
                "connection_id": lease_id, "user_id": lease_id, "lease_id": lease, "desired_status": "active",
                "worker_status": status, "is_overdue": false, "has_token": true, "restarts": 0, "error_code": code,
                "seconds_in_status": 0, "seconds_left": 0,
            }))
            .unwrap();
            match after_launch(Some(&recorded), lease_id) {
                Ok(status) => status.to_string(),
                Err(error) => ApiError::from(WorkerError::NotStarted(error)).code().to_owned(),
            }
        };
        let (ours, others) = (json!(lease_id), json!(Uuid::from_u128(2)));
        let cases = [
            (outcome("activating", ours.clone(), Value::Null), "activating"),
            (outcome("active", ours.clone(), Value::Null), "active"),
            (outcome("activating", others.clone(), Value::Null), "worker_superseded"),
            (outcome("active", others, Value::Null), "worker_superseded"),
            (outcome("stopping", ours, Value::Null), "worker_stopping"),
            (outcome("inactive", Value::Null, Value::Null), "worker_stopping"),
            (
                outcome("error", Value::Null, json!("start_timed_out")),
                "worker_manager_timed_out",
            ),
            (outcome("error", Value::Null, json!("login_failed")), "error"),
            (
                outcome("unauthorized", Value::Null, json!("unauthorized")),
                "unauthorized",
            ),
            (outcome("bad_intents", Value::Null, json!("bad_intents")), "bad_intents"),
        ];

        for (outcome, expected) in cases {
            assert_eq!(outcome, expected);
        }
        assert!(matches!(after_launch(None, lease_id), Err(LaunchError::Stopped)));
    }

    #[test]
    fn without_a_manager_the_operator_is_asked_for() {
        let error = ApiError::from(WorkerError::Unconfigured);

        assert_eq!(
            (error.status().as_u16(), error.code()),
            (503, "worker_manager_unconfigured")
        );
    }
}
