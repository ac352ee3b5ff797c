//! The life of a bot's gateway worker: which status follows from what its owner asks and what it reports, and what is to be done about it when time goes by.
//!
//! What should be (`desired_status`) is written by the owner, what is (`worker_status`) by starts, stops and the worker's reports. The statuses of a worker
//! that is starting, running or stopping hold for a time only: who is not heard of by then is given up by [`next_step`], which has no memory, so that whoever
//! dies between two steps is followed by another who looks again.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The error code of a worker that did not come up in time.
pub const START_TIMED_OUT: &str = "start_timed_out";
/// The error code of a worker that was running and is not heard of any more.
pub const WORKER_SILENT: &str = "worker_silent";
/// The error code of a worker that said itself that it crashed.
pub const WORKER_CRASHED: &str = "worker_crashed";

/// How long a worker that fell silent or crashed is left alone before each of its restarts. There are no more than these: the owner is asked then.
pub const RESTART_PAUSES: [Duration; 3] = [
    Duration::from_secs(10),
    Duration::from_secs(60),
    Duration::from_secs(300),
];

/// A status that is about to end is not looked at more often than this.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// What a worker is seen doing: `agent_discord_connections.worker_status`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkerStatus {
    /// None runs.
    Inactive,
    /// The worker manager was asked for one, or it logs in.
    Activating,
    /// It is logged in at Discord's gateway.
    Active,
    /// It was asked to stop.
    Stopping,
    /// It did not come up, fell silent, or failed; the error code says which.
    Error,
    /// Discord refuses its bot's token.
    Unauthorized,
    /// Its bot lacks an intent that it asks for.
    BadIntents,
}

/// What its owner wants: `agent_discord_connections.desired_status`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DesiredStatus {
    /// That it runs.
    Active,
    /// That it does not.
    Inactive,
}

/// A text that is no worker's status.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("is not the status of a worker")]
pub struct UnknownStatus;

/// What is recorded of an agent's worker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownWorker {
    /// What its owner wants.
    pub desired: DesiredStatus,
    /// What it is seen doing.
    pub status: WorkerStatus,
    /// Whether it should have been heard of by now.
    pub is_overdue: bool,
    /// Whether there is a bot's token to start it with.
    pub has_token: bool,
    /// How often it was restarted by itself since its owner last started it.
    pub restarts: u32,
    /// Why it is in its status, if that is a failure.
    pub error_code: Option<String>,
    /// For how long it has been in its status.
    pub seconds_in_status: u64,
    /// For how long its status may last without news.
    pub seconds_left: u64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing is left to do until somebody asks for something.
    Nothing,
    /// Look again after this long.
    LookAgain(Duration),
    /// Stop it as its owner would, whatever it is doing; if there is no record of it any more, tell the worker manager alone.
    Stop,
    /// It did not come up: stop it at the worker manager, and record [`START_TIMED_OUT`].
    FailStart,
    /// It is not heard of any more: stop it at the worker manager, and record [`WORKER_SILENT`].
    Silence,
    /// Start it again by itself.
    Restart,
}

impl WorkerStatus {
    /// All statuses, for what must be total.
    pub const ALL: [Self; 7] = [
        Self::Inactive,
        Self::Activating,
        Self::Active,
        Self::Stopping,
        Self::Error,
        Self::Unauthorized,
        Self::BadIntents,
    ];

    /// The status as it is stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Activating => "activating",
            Self::Active => "active",
            Self::Stopping => "stopping",
            Self::Error => "error",
            Self::Unauthorized => "unauthorized",
            Self::BadIntents => "bad_intents",
        }
    }

    /// Whether no worker runs, and none will come up by this start.
    fn is_down(self) -> bool {
        matches!(
            self,
            Self::Inactive | Self::Error | Self::Unauthorized | Self::BadIntents
        )
    }

    /// The status after a report of the worker whose lease it is; `None` where the report makes no sense. One that was asked to stop is not brought back by
    /// what it says meanwhile, and one that stopped with a failure has stopped.
    fn after_report(self, reported: Self) -> Option<Self> {
        match (self, reported) {
            (Self::Activating, _) => Some(reported),
            (Self::Active, Self::Activating) => None,
            (Self::Active, _) => Some(reported),
            (Self::Stopping, Self::Activating | Self::Active | Self::Stopping) => Some(Self::Stopping),
            (Self::Stopping, _) => Some(Self::Inactive),
            _ => None,
        }
    }
}

impl fmt::Display for WorkerStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for WorkerStatus {
    type Err = UnknownStatus;

    fn from_str(text: &str) -> Result<Self, UnknownStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(UnknownStatus)
    }
}

/// The status that a worker reports, also in the words of workers that were built before this.
#[must_use]
pub fn parse_reported(text: &str) -> Option<WorkerStatus> {
    match text {
        "connecting" => Some(WorkerStatus::Activating),
        "terminating" => Some(WorkerStatus::Stopping),
        _ => text.parse().ok(),
    }
}

/// A status for people, to be said of a bot or its worker: "Atlas: not active".
#[must_use]
pub fn in_words(status: WorkerStatus) -> &'static str {
    match status {
        WorkerStatus::Inactive => "not active",
        WorkerStatus::Activating => "starting",
        WorkerStatus::Active => "active",
        WorkerStatus::Stopping => "stopping",
        WorkerStatus::Error => "failed",
        WorkerStatus::Unauthorized => "Discord refuses its bot's token",
        WorkerStatus::BadIntents => "its bot lacks an intent",
    }
}

/// From which statuses a start leads where, as an operation applies it.
#[must_use]
pub fn start_transitions() -> BTreeMap<WorkerStatus, WorkerStatus> {
    towards(WorkerStatus::Activating, WorkerStatus::is_down)
}

/// From which statuses a restart leads where, once the worker manager has stopped what ran.
#[must_use]
pub fn restart_transitions() -> BTreeMap<WorkerStatus, WorkerStatus> {
    towards(WorkerStatus::Activating, |from| from != WorkerStatus::Stopping)
}

/// From which statuses a stop leads where. A stop that got stuck can be asked for again, and what failed may still run.
#[must_use]
pub fn stop_transitions() -> BTreeMap<WorkerStatus, WorkerStatus> {
    towards(WorkerStatus::Stopping, |from| from != WorkerStatus::Inactive)
}

/// From which statuses which report leads where.
#[must_use]
pub fn report_transitions() -> BTreeMap<WorkerStatus, BTreeMap<WorkerStatus, WorkerStatus>> {
    let after = |from: WorkerStatus| -> BTreeMap<WorkerStatus, WorkerStatus> {
        WorkerStatus::ALL
            .into_iter()
            .filter_map(|reported| Some((reported, from.after_report(reported)?)))
            .collect()
    };
    WorkerStatus::ALL
        .into_iter()
        .map(|from| (from, after(from)))
        .filter(|(_, reports)| !reports.is_empty())
        .collect()
}

fn towards(to: WorkerStatus, may: impl Fn(WorkerStatus) -> bool) -> BTreeMap<WorkerStatus, WorkerStatus> {
    WorkerStatus::ALL
        .into_iter()
        .filter(|from| may(*from))
        .map(|from| (from, to))
        .collect()
}

/// What to do next about a worker. `None` is one that there is no record of any more, connection, agent, owner and all.
#[must_use]
pub fn next_step(worker: Option<&KnownWorker>) -> Step {
    use WorkerStatus as S;

    let Some(worker) = worker else { return Step::Stop };
    match (worker.status, worker.desired) {
        (S::Inactive, _) => Step::Nothing,
        (S::Stopping, _) => worker.once_overdue(Step::Stop),
        // Its token or its connection was taken away.
        (_, DesiredStatus::Inactive) => Step::Stop,
        (S::Activating, DesiredStatus::Active) => worker.once_overdue(Step::FailStart),
        (S::Active, DesiredStatus::Active) => worker.once_overdue(Step::Silence),
        (S::Error, DesiredStatus::Active) => worker.recovery(),
        (S::Unauthorized | S::BadIntents, DesiredStatus::Active) => Step::Nothing,
    }
}

impl KnownWorker {
    fn once_overdue(&self, step: Step) -> Step {
        if self.is_overdue {
            step
        } else {
            Step::LookAgain(Duration::from_secs(self.seconds_left).max(SHORTEST_PAUSE))
        }
    }

    /// What ran before may run again. What did not come up would hardly come up the next time.
    fn recovery(&self) -> Step {
        let may_pass = matches!(self.error_code.as_deref(), Some(WORKER_SILENT | WORKER_CRASHED));
        let pause = usize::try_from(self.restarts)
            .ok()
            .and_then(|restarts| RESTART_PAUSES.get(restarts))
            .filter(|_| may_pass && self.has_token);
        let Some(pause) = pause else { return Step::Nothing };
        match pause.saturating_sub(Duration::from_secs(self.seconds_in_status)) {
            Duration::ZERO => Step::Restart,
            rest => Step::LookAgain(rest),
        }
    }
}
