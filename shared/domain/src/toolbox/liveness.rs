//! Whether a toolbox lives, from its last contact: as Healthchecks does it (<https://healthchecks.io/docs/>), by a period and a grace.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::status::ToolboxStatus;

/// How a toolbox is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Liveness {
    /// It has never spoken.
    New,
    /// It spoke within its period.
    Up,
    /// Its period is over, its grace is not.
    Late,
    /// It has fallen silent.
    Down,
    /// Nobody expects it to speak.
    Paused,
}

/// The liveness of a toolbox. A silence that the sweep has not noticed yet is one all the same.
#[must_use]
pub fn liveness(
    status: ToolboxStatus,
    last_contact: Option<DateTime<Utc>>,
    period: Duration,
    grace: Duration,
    now: DateTime<Utc>,
) -> Liveness {
    match (status, last_contact) {
        (
            ToolboxStatus::Paused
            | ToolboxStatus::ErrorProvisioning
            | ToolboxStatus::Deprovisioning
            | ToolboxStatus::ErrorDeprovisioning,
            _,
        ) => Liveness::Paused,
        (_, None) | (ToolboxStatus::PendingProvision, _) => Liveness::New,
        (ToolboxStatus::Unresponsive, _) => Liveness::Down,
        (_, Some(last_contact)) => {
            // A contact from the future is one of now: the clocks of two hosts differ.
            let silent_for = (now - last_contact).to_std().unwrap_or_default();
            if silent_for <= period {
                Liveness::Up
            } else if silent_for <= period + grace {
                Liveness::Late
            } else {
                Liveness::Down
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn liveness_follows_the_table() {
        let now = DateTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let ago = |seconds: i64| Some(now - chrono::TimeDelta::seconds(seconds));
        let cases = [
            (ToolboxStatus::PendingProvision, None, Liveness::New),
            (ToolboxStatus::AwaitingHeartbeat, None, Liveness::New),
            (ToolboxStatus::Active, ago(-5), Liveness::Up),
            (ToolboxStatus::Active, ago(60), Liveness::Up),
            (ToolboxStatus::Active, ago(61), Liveness::Late),
            (ToolboxStatus::Active, ago(180), Liveness::Late),
            (ToolboxStatus::Active, ago(181), Liveness::Down),
            (ToolboxStatus::Unresponsive, ago(1), Liveness::Down),
            (ToolboxStatus::Paused, ago(9999), Liveness::Paused),
            (ToolboxStatus::Deprovisioning, ago(1), Liveness::Paused),
        ];

        for (status, last_contact, expected) in cases {
            let found = liveness(
                status,
                last_contact,
                Duration::from_secs(60),
                Duration::from_secs(120),
                now,
            );
            assert_eq!(found, expected, "{status:?} {last_contact:?}");
        }
    }
}
