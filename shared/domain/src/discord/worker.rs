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

/// From which statuses a restart leads where, once the worker manager has stopped what ran. What is just starting is left to come up: two starts at
/// once would end each other's worker.
#[must_use]
pub fn restart_transitions() -> BTreeMap<WorkerStatus, WorkerStatus> {
    towards(WorkerStatus::Activating, |from| {
        !matches!(from, WorkerStatus::Activating | WorkerStatus::Stopping)
    })
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

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;
    use proptest::prelude::*;

    use super::*;

    fn known(status: WorkerStatus) -> KnownWorker {
        KnownWorker {
            desired: DesiredStatus::Active,
            status,
            is_overdue: false,
            has_token: true,
            restarts: 0,
            error_code: None,
            seconds_in_status: 0,
            seconds_left: 40,
        }
    }

    fn failed(code: &str, restarts: u32, seconds_in_status: u64) -> KnownWorker {
        KnownWorker {
            restarts,
            error_code: Some(code.to_owned()),
            seconds_in_status,
            ..known(WorkerStatus::Error)
        }
    }

    const fn look_again(seconds: u64) -> Step {
        Step::LookAgain(Duration::from_secs(seconds))
    }

    #[test]
    fn a_status_reads_as_it_is_written() {
        for status in WorkerStatus::ALL {
            assert_eq!(status.to_string().parse(), Ok(status));
            assert_eq!(serde_json::to_value(status).unwrap(), status.as_str());
        }
        assert_eq!("Active".parse::<WorkerStatus>(), Err(UnknownStatus));
    }

    #[test]
    fn older_workers_are_understood() {
        for (text, expected) in [
            ("connecting", Some(WorkerStatus::Activating)),
            ("terminating", Some(WorkerStatus::Stopping)),
            ("bad_intents", Some(WorkerStatus::BadIntents)),
            ("running", None),
            ("", None),
        ] {
            assert_eq!(parse_reported(text), expected, "{text}");
        }
    }

    #[test]
    fn starts_and_stops_lead_where_the_table_says() {
        assert_json_snapshot!(start_transitions(), @r#"
        {
          "inactive": "activating",
          "error": "activating",
          "unauthorized": "activating",
          "bad_intents": "activating"
        }
        "#);
        assert_json_snapshot!(restart_transitions(), @r#"
        {
          "inactive": "activating",
          "active": "activating",
          "error": "activating",
          "unauthorized": "activating",
          "bad_intents": "activating"
        }
        "#);
        assert_json_snapshot!(stop_transitions(), @r#"
        {
          "activating": "stopping",
          "active": "stopping",
          "stopping": "stopping",
          "error": "stopping",
          "unauthorized": "stopping",
          "bad_intents": "stopping"
        }
        "#);
    }

    #[test]
    fn reports_lead_where_the_table_says() {
        assert_json_snapshot!(report_transitions(), @r#"
        {
          "activating": {
            "inactive": "inactive",
            "activating": "activating",
            "active": "active",
            "stopping": "stopping",
            "error": "error",
            "unauthorized": "unauthorized",
            "bad_intents": "bad_intents"
          },
          "active": {
            "inactive": "inactive",
            "active": "active",
            "stopping": "stopping",
            "error": "error",
            "unauthorized": "unauthorized",
            "bad_intents": "bad_intents"
          },
          "stopping": {
            "inactive": "inactive",
            "activating": "stopping",
            "active": "stopping",
            "stopping": "stopping",
            "error": "inactive",
            "unauthorized": "inactive",
            "bad_intents": "inactive"
          }
        }
        "#);
    }

    #[test]
    fn each_status_has_its_step() {
        let overdue = |status| KnownWorker {
            is_overdue: true,
            seconds_left: 0,
            ..known(status)
        };
        let unwanted = |status| KnownWorker {
            desired: DesiredStatus::Inactive,
            has_token: false,
            ..known(status)
        };
        let cases = [
            ("nothing runs", known(WorkerStatus::Inactive), Step::Nothing),
            ("starts", known(WorkerStatus::Activating), look_again(40)),
            ("does not come up", overdue(WorkerStatus::Activating), Step::FailStart),
            ("runs", known(WorkerStatus::Active), look_again(40)),
            ("is silent", overdue(WorkerStatus::Active), Step::Silence),
            ("stops", known(WorkerStatus::Stopping), look_again(40)),
            ("does not stop", overdue(WorkerStatus::Stopping), Step::Stop),
            ("was never wanted", unwanted(WorkerStatus::Inactive), Step::Nothing),
            ("starts unwanted", unwanted(WorkerStatus::Activating), Step::Stop),
            ("runs unwanted", unwanted(WorkerStatus::Active), Step::Stop),
            ("stops unwanted", unwanted(WorkerStatus::Stopping), look_again(40)),
            ("failed unwanted", unwanted(WorkerStatus::Error), Step::Stop),
            ("refused unwanted", unwanted(WorkerStatus::Unauthorized), Step::Stop),
            ("refused", known(WorkerStatus::Unauthorized), Step::Nothing),
            ("lacks an intent", known(WorkerStatus::BadIntents), Step::Nothing),
            ("failed unheard", known(WorkerStatus::Error), Step::Nothing),
            ("did not start", failed(START_TIMED_OUT, 0, 9000), Step::Nothing),
            ("fell silent", failed(WORKER_SILENT, 0, 3), look_again(7)),
            ("was silent", failed(WORKER_SILENT, 0, 10), Step::Restart),
            ("crashed again", failed(WORKER_CRASHED, 1, 10), look_again(50)),
            ("and is started", failed(WORKER_CRASHED, 1, 61), Step::Restart),
            ("and crashed again", failed(WORKER_CRASHED, 2, 61), look_again(239)),
            ("and that was that", failed(WORKER_CRASHED, 3, 9000), Step::Nothing),
            (
                "its time is up within this second",
                KnownWorker {
                    seconds_left: 0,
                    ..known(WorkerStatus::Active)
                },
                look_again(1),
            ),
        ];

        for (name, worker, expected) in cases {
            assert_eq!(next_step(Some(&worker)), expected, "{name}");
        }
        assert_eq!(next_step(None), Step::Stop);
    }

    fn any_worker() -> impl Strategy<Value = KnownWorker> {
        let codes = [
            None,
            Some(START_TIMED_OUT),
            Some(WORKER_SILENT),
            Some(WORKER_CRASHED),
            Some("other"),
        ];
        (
            any::<bool>(),
            prop::sample::select(WorkerStatus::ALL.to_vec()),
            any::<bool>(),
            any::<bool>(),
            prop_oneof![0..5_u32, any::<u32>()],
            prop::sample::select(codes.to_vec()),
            prop_oneof![0..400_u64, any::<u64>()],
            prop_oneof![0..400_u64, any::<u64>()],
        )
            .prop_map(
                |(wanted, status, is_overdue, has_token, restarts, code, in_status, left)| KnownWorker {
                    desired: if wanted {
                        DesiredStatus::Active
                    } else {
                        DesiredStatus::Inactive
                    },
                    status,
                    is_overdue,
                    has_token,
                    restarts,
                    error_code: code.map(str::to_owned),
                    seconds_in_status: in_status,
                    seconds_left: left,
                },
            )
    }

    /// What can happen to a worker between two looks at it.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        TimePasses(u64),
        Reports(WorkerStatus),
        OwnerStarts,
        OwnerStops,
        TokenIsTaken,
        ConnectionIsDeleted,
        /// Whoever looked at it died before doing anything.
        LookIsLost,
        Looked,
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            3 => (0..400_u64).prop_map(Event::TimePasses),
            3 => prop::sample::select(WorkerStatus::ALL.to_vec()).prop_map(Event::Reports),
            2 => Just(Event::OwnerStarts),
            1 => Just(Event::OwnerStops),
            1 => Just(Event::TokenIsTaken),
            1 => Just(Event::ConnectionIsDeleted),
            1 => Just(Event::LookIsLost),
            6 => Just(Event::Looked),
        ]
    }

    const LEASE_SECONDS: u64 = 90;

    /// A worker as it is recorded, and what the worker manager runs.
    #[derive(Debug)]
    struct Simulation {
        worker: Option<KnownWorker>,
        is_run: bool,
        restarts_since_start: u32,
    }

    impl Simulation {
        fn enter(&mut self, status: WorkerStatus, error_code: Option<&str>) {
            if let Some(worker) = &mut self.worker {
                worker.status = status;
                worker.error_code = error_code.map(str::to_owned);
                worker.is_overdue = false;
                worker.seconds_in_status = 0;
                worker.seconds_left = LEASE_SECONDS;
            }
        }

        fn start(&mut self, transitions: &BTreeMap<WorkerStatus, WorkerStatus>, by_owner: bool) {
            let Some(worker) = &mut self.worker else { return };
            let Some(to) = transitions.get(&worker.status).copied().filter(|_| worker.has_token) else {
                return;
            };
            if by_owner {
                worker.desired = DesiredStatus::Active;
                worker.restarts = 0;
                self.restarts_since_start = 0;
            } else {
                worker.restarts += 1;
                self.restarts_since_start += 1;
            }
            self.enter(to, None);
            self.is_run = true;
        }

        fn stop(&mut self) {
            let from = self.worker.as_ref().map(|worker| worker.status);
            if let Some(to) = from.and_then(|from| stop_transitions().get(&from).copied()) {
                self.enter(to, None);
            }
            // The worker manager is told, and what it says is recorded.
            self.is_run = false;
            self.enter(WorkerStatus::Inactive, None);
        }

        fn happens(&mut self, event: Event) {
            match event {
                Event::LookIsLost => {}
                Event::TimePasses(seconds) => {
                    if let Some(worker) = &mut self.worker {
                        worker.seconds_in_status += seconds;
                        worker.seconds_left = worker.seconds_left.saturating_sub(seconds);
                        let holds_for_a_time = matches!(
                            worker.status,
                            WorkerStatus::Activating | WorkerStatus::Active | WorkerStatus::Stopping
                        );
                        worker.is_overdue = holds_for_a_time && worker.seconds_left == 0;
                    }
                }
                Event::Reports(reported) if self.is_run => {
                    let from = self.worker.as_ref().map(|worker| worker.status);
                    let to = from.and_then(|from| report_transitions().get(&from)?.get(&reported).copied());
                    if let Some(to) = to {
                        self.enter(to, (to == WorkerStatus::Error).then_some(WORKER_CRASHED));
                        self.is_run &= !to.is_down();
                    }
                }
                Event::Reports(_) => {}
                Event::OwnerStarts => self.start(&start_transitions(), true),
                Event::OwnerStops => {
                    let from = self.worker.as_ref().map(|worker| worker.status);
                    if let Some(to) = from.and_then(|from| stop_transitions().get(&from).copied()) {
                        self.enter(to, None);
                    }
                    if let Some(worker) = &mut self.worker {
                        worker.desired = DesiredStatus::Inactive;
                    }
                }
                Event::TokenIsTaken => {
                    if let Some(worker) = &mut self.worker {
                        worker.has_token = false;
                        worker.desired = DesiredStatus::Inactive;
                    }
                }
                Event::ConnectionIsDeleted => self.worker = None,
                Event::Looked => {
                    self.look();
                }
            }
        }

        /// Does what is to be done next. Returns whether nothing is.
        fn look(&mut self) -> bool {
            match next_step(self.worker.as_ref()) {
                Step::Nothing => return true,
                Step::LookAgain(pause) => self.happens(Event::TimePasses(pause.as_secs())),
                Step::Stop => {
                    self.stop();
                    return self.worker.is_none();
                }
                Step::FailStart => {
                    self.is_run = false;
                    self.enter(WorkerStatus::Error, Some(START_TIMED_OUT));
                }
                Step::Silence => {
                    self.is_run = false;
                    self.enter(WorkerStatus::Error, Some(WORKER_SILENT));
                }
                Step::Restart => {
                    self.start(&start_transitions(), false);
                    assert!(self.is_run, "a restart starts nothing: {self:?}");
                }
            }
            false
        }
    }

    proptest! {
        #[test]
        fn what_may_change_by_itself_is_looked_at_again(worker in any_worker()) {
            let step = next_step(Some(&worker));

            let holds_for_a_time = matches!(
                worker.status,
                WorkerStatus::Activating | WorkerStatus::Active | WorkerStatus::Stopping
            );
            prop_assert!(!(holds_for_a_time && step == Step::Nothing));
            prop_assert!(!(worker.is_overdue && holds_for_a_time && matches!(step, Step::LookAgain(_))));
            if let Step::LookAgain(pause) = step {
                prop_assert!(pause >= SHORTEST_PAUSE);
            }
        }

        #[test]
        fn what_would_fail_again_is_not_restarted(worker in any_worker()) {
            if next_step(Some(&worker)) == Step::Restart {
                prop_assert_eq!(worker.status, WorkerStatus::Error);
                prop_assert_eq!(worker.desired, DesiredStatus::Active);
                prop_assert!(worker.has_token && worker.restarts < 3);
            }
        }

        #[test]
        fn whatever_happens_it_settles(events in prop::collection::vec(event(), 0..60)) {
            let mut world = Simulation {
                worker: Some(known(WorkerStatus::Inactive)), is_run: false, restarts_since_start: 0,
            };
            for event in events {
                world.happens(event);
                prop_assert!(world.restarts_since_start <= 3);
            }

            // The worker is not heard of any more.
            let is_settled = (0..30).any(|_| world.look());

            prop_assert!(is_settled && !world.is_run, "{:?}", world);
            prop_assert!(world.worker.is_none_or(|worker| worker.status.is_down()));
        }
    }
}
