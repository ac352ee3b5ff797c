//! Schedules of `[[trigger.cron]]`: when a component is started, and what happens when it is.

use crate::bindings::cron::{Error, Metadata, SpinCronPre};
use crate::state::{Component, Instance};
use chrono::{DateTime, TimeDelta, Utc};
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};
use wasmtime::Store;

/// How far the clock may be turned back without a schedule noticing: waking up a little early is not a second occurrence.
const CLOCK_STEP: TimeDelta = TimeDelta::seconds(1);

/// Why a tick failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TickError {
    /// No schedule starts a component of this name.
    #[error("no schedule starts a component `{0}`")]
    UnknownComponent(String),
    /// The component says so.
    #[error("{0}")]
    Failed(String),
    /// The component trapped.
    #[error("the component trapped: {0}")]
    Trapped(String),
    /// The component took longer than [`HostOptions::tick_limit`](crate::HostOptions::tick_limit).
    #[error("the component took longer than {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The host stopped.
    #[error("the host stopped")]
    Stopped,
}

/// A component that schedules start. Its ticks come one at a time, whatever starts them.
#[derive(Clone)]
pub(crate) struct Scheduled(Arc<Inner>);

struct Inner {
    component: Arc<Component>,
    handler: SpinCronPre<Instance>,
    limit: Duration,
    alone: Mutex<()>,
}

impl Scheduled {
    /// A component, and how long one of its ticks may take.
    pub(crate) fn new(component: Arc<Component>, handler: SpinCronPre<Instance>, limit: Duration) -> Self {
        Self(Arc::new(Inner {
            component,
            handler,
            limit,
            alone: Mutex::new(()),
        }))
    }

    /// Runs one tick, after the one that is running.
    pub(crate) async fn tick(&self) -> Result<(), TickError> {
        let _alone = self.0.alone.lock().await;
        self.0.tick(now()).await
    }

    /// Runs a tick whenever the schedule says so, until stopped; a tick that is running then has as long as `grace`. What falls into
    /// another tick is left out.
    pub(crate) async fn run(self, schedule: Cron, mut stopped: watch::Receiver<bool>, grace: Duration) {
        let mut last = None;
        while let Some(due) = next(&schedule, now(), last) {
            last = Some(due);
            tokio::select! {
                () = sleep((due - now()).to_std().unwrap_or_default()) => {}
                () = stop(&mut stopped) => return,
            }
            let Ok(_alone) = self.0.alone.try_lock() else {
                tracing::debug!(component = self.0.component.id, "the previous tick is still running");
                continue;
            };
            tokio::select! {
                // Why it failed is in the log.
                _outcome = self.0.tick(now()) => {}
                () = async { stop(&mut stopped).await; sleep(grace).await } => return,
            }
        }
        tracing::warn!(
            component = self.0.component.id,
            "the schedule has no further occurrence"
        );
    }
}

impl fmt::Debug for Scheduled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Scheduled")
            .field("component", &self.0.component.id)
            .finish_non_exhaustive()
    }
}

impl Inner {
    async fn tick(&self, now: DateTime<Utc>) -> Result<(), TickError> {
        let outcome = match timeout(self.limit, self.call(now)).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(Error::Other(reason)))) => Err(TickError::Failed(reason)),
            Ok(Err(trap)) => Err(TickError::Trapped(format!("{trap:?}"))),
            Err(_) => Err(TickError::TimedOut(self.limit)),
        };
        match &outcome {
            Ok(()) => {}
            // The component has had its own say.
            Err(TickError::Failed(reason)) => {
                tracing::error!(component = self.component.id, reason, "tick failed");
            }
            Err(error) => self.component.log.line(&format!("tick failed: {error}")),
        }
        outcome
    }

    /// Calls the handler of a new instance.
    async fn call(&self, now: DateTime<Utc>) -> wasmtime::Result<Result<(), Error>> {
        let mut store = Store::new(self.handler.engine(), Instance::new(&self.component));
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let instance = self.handler.instantiate_async(&mut store).await?;
        self.component.counters.instances.add(1);
        let metadata = Metadata {
            timestamp: u64::try_from(now.timestamp()).unwrap_or_default(),
        };
        instance.call_handle_cron_event(&mut store, metadata).await
    }
}

/// Parses an expression as the cron trigger plugin does: seconds, minutes, hours, days, months, weekdays, of UTC.
pub(crate) fn parse(expression: &str) -> Result<Cron, String> {
    CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        .dom_and_dow(true)
        .build()
        .parse(expression)
        .map_err(|error| error.to_string())
}

/// The first occurrence after `now`, and after `last` should the clock have stepped back a little since then.
fn next(schedule: &Cron, now: DateTime<Utc>, last: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    let after = match last {
        Some(last) if last > now && last - now < CLOCK_STEP => last,
        _ => now,
    };
    schedule.find_next_occurrence(&after, false).ok()
}

/// Ends when the host is to stop, or is gone.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    _ = stopped.wait_for(|stopped| *stopped).await;
}

#[expect(clippy::disallowed_methods, reason = "a schedule goes by the machine's clock")]
fn now() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_have_seconds_and_no_years() {
        assert!(parse("0 */5 * * * *").is_ok());
        assert!(parse("*/5 * * * *").is_err());
        assert!(parse("0 */5 * * * * 2030").is_err());
        assert!(parse("every minute").is_err());
    }

    #[test]
    fn an_occurrence_comes_once() {
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let schedule = parse("*/30 * * * * *").unwrap();
        let rows = [
            // Now, the last occurrence, the next one.
            ("2026-11-24T10:00:01Z", None, "2026-11-24T10:00:30Z"),
            ("2026-11-24T10:00:30Z", None, "2026-11-24T10:01:00Z"),
            // Awake a little early, late, and after the clock was set back.
            (
                "2026-11-24T10:00:29.999Z",
                Some("2026-11-24T10:00:30Z"),
                "2026-11-24T10:01:00Z",
            ),
            (
                "2026-11-24T10:02:10Z",
                Some("2026-11-24T10:00:30Z"),
                "2026-11-24T10:02:30Z",
            ),
            (
                "2026-11-24T09:00:00.5Z",
                Some("2026-11-24T10:00:30Z"),
                "2026-11-24T09:00:30Z",
            ),
        ];
        for (now, last, expected) in rows {
            assert_eq!(
                next(&schedule, time(now), last.map(time)),
                Some(time(expected)),
                "{now}"
            );
        }
    }
}
