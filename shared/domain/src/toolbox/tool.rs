//! A tool instance: what should be of it, what its machine reports, and what follows.
//!
//! [`reconcile`] is the rule by which every heartbeat judges every instance. It is total and has no memory, so that a lost or repeated
//! heartbeat does no harm: the next one leads on from wherever things are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What should be of an instance: `account_tool_instances.desired_status`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// A container runs.
    Running,
    /// No container runs.
    Stopped,
    /// There is no container, and then no instance.
    Removed,
}

/// What a machine reports of an instance's container.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Observed {
    /// There is none.
    Absent,
    /// It is being made or started.
    Starting,
    /// It runs.
    Running,
    /// It is being stopped.
    Stopping,
    /// It ended in order, or was stopped.
    Stopped,
    /// It ended with an error, or cannot be started.
    Failed,
    /// It is being removed.
    Removing,
    /// The machine says something that is not known here.
    Unknown,
}

/// What an owner is shown: the part of `account_tool_instances.status_on_toolbox` that is in use.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolStatus {
    /// Its machine has not heard of it yet.
    PendingDeploy,
    /// Its container is being made.
    Deploying,
    /// Its container is being started.
    Starting,
    /// It runs.
    Running,
    /// It is being stopped.
    Stopping,
    /// It does not run, as it should be.
    Stopped,
    /// It should run and does not, or its state is unknown.
    Error,
    /// It is being removed.
    Deleting,
    /// It is gone. No row has this: it is the end of the row.
    Deleted,
}

/// What a machine is to do about an instance.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing.
    None,
    /// Make a container of this generation and start it.
    Deploy,
    /// Replace the container, which is of an older generation, by a new one, and start it.
    Replace,
    /// Start the container.
    Start,
    /// Stop the container.
    Stop,
    /// Remove the container.
    Remove,
}

/// What follows for an instance: what its owner is shown, and what its machine is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Verdict(pub ToolStatus, pub Action);

/// All desired states, for what must be total.
pub const DESIRED: [Desired; 3] = [Desired::Running, Desired::Stopped, Desired::Removed];

/// All observed states, likewise.
pub const OBSERVED: [Observed; 8] = [
    Observed::Absent,
    Observed::Starting,
    Observed::Running,
    Observed::Stopping,
    Observed::Stopped,
    Observed::Failed,
    Observed::Removing,
    Observed::Unknown,
];

/// The rule. `is_current` says whether the container is of the generation that is wanted.
///
/// A container that fails is left alone: its runtime restarts it as long as that makes sense, and a person restarts it by a new generation. What
/// is unknown is never acted on, unless it is to be removed. A container that is on its way somewhere is waited for.
#[must_use]
pub fn reconcile(desired: Desired, observed: Observed, is_current: bool) -> Verdict {
    use Observed as O;

    match (desired, observed) {
        (Desired::Running, O::Absent) => Verdict(ToolStatus::Deploying, Action::Deploy),
        (Desired::Running, O::Starting | O::Running | O::Stopped | O::Failed) if !is_current => {
            Verdict(ToolStatus::Deploying, Action::Replace)
        }
        (Desired::Running, O::Starting) => Verdict(ToolStatus::Starting, Action::None),
        (Desired::Running, O::Running) => Verdict(ToolStatus::Running, Action::None),
        (Desired::Running, O::Stopping) => Verdict(ToolStatus::Stopping, Action::None),
        (Desired::Running, O::Stopped) => Verdict(ToolStatus::Starting, Action::Start),
        (Desired::Running, O::Removing) => Verdict(ToolStatus::Deploying, Action::None),
        (Desired::Running, O::Failed | O::Unknown) | (Desired::Stopped, O::Unknown) => {
            Verdict(ToolStatus::Error, Action::None)
        }

        (Desired::Stopped, O::Starting | O::Running) => Verdict(ToolStatus::Stopping, Action::Stop),
        (Desired::Stopped, O::Stopping) => Verdict(ToolStatus::Stopping, Action::None),
        (Desired::Stopped, O::Absent | O::Stopped | O::Failed | O::Removing) => {
            Verdict(ToolStatus::Stopped, Action::None)
        }

        (Desired::Removed, O::Absent) => Verdict(ToolStatus::Deleted, Action::None),
        (Desired::Removed, O::Removing) => Verdict(ToolStatus::Deleting, Action::None),
        (Desired::Removed, O::Starting | O::Running | O::Stopping | O::Stopped | O::Failed | O::Unknown) => {
            Verdict(ToolStatus::Deleting, Action::Remove)
        }
    }
}

/// The rule as data: by what is desired, what is observed, and whether that is `current` or `stale`.
pub type Rule = BTreeMap<Desired, BTreeMap<Observed, BTreeMap<&'static str, Verdict>>>;

/// [`reconcile`], written out for an operation that applies it to rows.
#[must_use]
pub fn rule() -> Rule {
    let verdicts = |desired, observed| {
        BTreeMap::from([
            ("current", reconcile(desired, observed, true)),
            ("stale", reconcile(desired, observed, false)),
        ])
    };
    let by_observed = |desired| {
        OBSERVED
            .into_iter()
            .map(|observed| (observed, verdicts(desired, observed)))
            .collect()
    };
    DESIRED
        .into_iter()
        .map(|desired| (desired, by_observed(desired)))
        .collect()
}

/// What an owner tells an instance.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolCommand {
    /// Let it run.
    Start,
    /// Let it not run.
    Stop,
    /// Let it run in a new container.
    Restart,
    /// Let it run with another configuration, if it runs.
    Configure,
    /// Take it off the toolbox.
    Remove,
}

/// What a command makes of an instance, until its machine reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct Commanded {
    /// What is desired from then on.
    pub desired: Desired,
    /// What its owner is shown, if it has a container; as before, if `None`.
    pub status: Option<ToolStatus>,
    /// The same, if it has none.
    pub status_without_container: Option<ToolStatus>,
    /// Whether a container that exists is out of date by this.
    pub new_generation: bool,
}

/// What a command makes of an instance of which `desired` is desired; `None` where it makes no sense. Repeating one changes nothing more,
/// except that a restart is one each time.
#[must_use]
pub fn after_command(desired: Desired, command: ToolCommand) -> Option<Commanded> {
    let commanded = |desired, status, status_without_container, new_generation| {
        Some(Commanded {
            desired,
            status,
            status_without_container,
            new_generation,
        })
    };
    match (command, desired) {
        (ToolCommand::Remove, _) => commanded(
            Desired::Removed,
            Some(ToolStatus::Deleting),
            Some(ToolStatus::Deleting),
            false,
        ),
        (_, Desired::Removed) => None,
        (ToolCommand::Start, Desired::Running) | (ToolCommand::Stop, Desired::Stopped) => {
            commanded(desired, None, None, false)
        }
        (ToolCommand::Start, Desired::Stopped) => commanded(
            Desired::Running,
            Some(ToolStatus::Starting),
            Some(ToolStatus::PendingDeploy),
            false,
        ),
        (ToolCommand::Stop, Desired::Running) => commanded(
            Desired::Stopped,
            Some(ToolStatus::Stopping),
            Some(ToolStatus::Stopped),
            false,
        ),
        (ToolCommand::Restart, _) | (ToolCommand::Configure, Desired::Running) => commanded(
            Desired::Running,
            Some(ToolStatus::Deploying),
            Some(ToolStatus::PendingDeploy),
            true,
        ),
        (ToolCommand::Configure, Desired::Stopped) => commanded(Desired::Stopped, None, None, true),
    }
}

/// A command written out for an operation that applies it to a row.
#[must_use]
pub fn command_rule(command: ToolCommand) -> BTreeMap<Desired, Commanded> {
    DESIRED
        .into_iter()
        .filter_map(|desired| Some((desired, after_command(desired, command)?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    /// The whole rule, a line per case.
    #[test]
    fn the_rule_is_the_table() {
        let mut lines = Vec::new();
        for desired in DESIRED {
            for observed in OBSERVED {
                for (is_current, age) in [(true, "current"), (false, "stale")] {
                    let Verdict(status, action) = reconcile(desired, observed, is_current);
                    lines.push(format!(
                        "{} + {} {age} -> {}, {}",
                        name(desired),
                        name(observed),
                        name(status),
                        name(action)
                    ));
                }
            }
        }

        assert_snapshot!(lines.join("\n"));
    }

    /// As the database and the machines know it.
    fn name(value: impl Serialize) -> String {
        serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
    }

    #[test]
    fn the_rule_as_data_is_the_rule() {
        let rule = serde_json::to_value(rule()).unwrap();

        assert_eq!(
            rule["running"]["absent"]["current"],
            serde_json::json!(["deploying", "deploy"])
        );
        assert_eq!(
            rule["running"]["running"]["stale"],
            serde_json::json!(["deploying", "replace"])
        );
        assert_eq!(
            rule["removed"]["absent"]["stale"],
            serde_json::json!(["deleted", "none"])
        );
        assert_eq!(rule.as_object().unwrap().len(), DESIRED.len());
    }

    /// A machine that does as it is told, one step a heartbeat.
    fn obey(observed: Observed, is_current: bool, action: Action) -> (Observed, bool) {
        match (action, observed) {
            (Action::Deploy | Action::Replace | Action::Start, _) => (Observed::Starting, true),
            (Action::Stop, _) => (Observed::Stopping, is_current),
            (Action::Remove, _) => (Observed::Removing, is_current),
            (Action::None, Observed::Starting) => (Observed::Running, is_current),
            (Action::None, Observed::Stopping) => (Observed::Stopped, is_current),
            (Action::None, Observed::Removing) => (Observed::Absent, is_current),
            (Action::None, unchanged) => (unchanged, is_current),
        }
    }

    #[test]
    fn whatever_is_there_converges() {
        for desired in DESIRED {
            for observed in OBSERVED {
                for is_current in [true, false] {
                    let stuck = matches!(observed, Observed::Unknown) && desired != Desired::Removed
                        || matches!(
                            (desired, observed, is_current),
                            (Desired::Running, Observed::Failed, true)
                        );
                    let (mut state, mut current) = (observed, is_current);
                    for _ in 0..6 {
                        (state, current) = obey(state, current, reconcile(desired, state, current).1);
                    }

                    let Verdict(status, action) = reconcile(desired, state, current);
                    let expected = match desired {
                        _ if stuck => ToolStatus::Error,
                        Desired::Running => ToolStatus::Running,
                        Desired::Stopped => ToolStatus::Stopped,
                        Desired::Removed => ToolStatus::Deleted,
                    };
                    assert_eq!(
                        (status, action),
                        (expected, Action::None),
                        "{desired:?} {observed:?} {is_current}"
                    );
                }
            }
        }
    }

    #[test]
    fn commands_say_what_should_be() {
        let desired =
            |from, command| after_command(from, command).map(|commanded| (commanded.desired, commanded.new_generation));
        let cases = [
            (Desired::Stopped, ToolCommand::Start, Some((Desired::Running, false))),
            (Desired::Running, ToolCommand::Start, Some((Desired::Running, false))),
            (Desired::Running, ToolCommand::Stop, Some((Desired::Stopped, false))),
            (Desired::Stopped, ToolCommand::Stop, Some((Desired::Stopped, false))),
            (Desired::Running, ToolCommand::Restart, Some((Desired::Running, true))),
            (Desired::Stopped, ToolCommand::Restart, Some((Desired::Running, true))),
            (Desired::Running, ToolCommand::Configure, Some((Desired::Running, true))),
            (Desired::Stopped, ToolCommand::Configure, Some((Desired::Stopped, true))),
            (Desired::Removed, ToolCommand::Start, None),
            (Desired::Removed, ToolCommand::Restart, None),
            (Desired::Removed, ToolCommand::Configure, None),
            (Desired::Removed, ToolCommand::Remove, Some((Desired::Removed, false))),
            (Desired::Running, ToolCommand::Remove, Some((Desired::Removed, false))),
        ];

        for (from, command, expected) in cases {
            assert_eq!(desired(from, command), expected, "{from:?} {command:?}");
        }
        assert_eq!(command_rule(ToolCommand::Stop).len(), 2);
        assert_eq!(command_rule(ToolCommand::Remove).len(), 3);
    }
}
