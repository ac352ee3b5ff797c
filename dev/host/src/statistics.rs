//! Counts for benchmarks and tests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What each component has done since the host started.
#[derive(Clone, Debug, Default)]
pub struct Statistics {
    /// By component id.
    pub components: BTreeMap<String, ComponentStatistics>,
}

/// What one component has done since the host started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ComponentStatistics {
    /// Requests handed to the component, from clients and from other components.
    pub requests: u64,
    /// Instances made.
    pub instances: u64,
    /// How long it took on average to make one.
    pub mean_instantiation: Duration,
    /// Database connections opened.
    pub connections: u64,
    /// Statements run.
    pub statements: u64,
    /// Exchanges with the database that a request waited for: preparations and statements, and in [`PoolMode::Spin`] the cleaning of
    /// a connection before use. Opening a connection is not counted.
    ///
    /// [`PoolMode::Spin`]: crate::PoolMode::Spin
    pub exchanges: u64,
}

impl Statistics {
    /// The sum over all components; the mean is over all instances.
    pub fn total(&self) -> ComponentStatistics {
        let mut total = ComponentStatistics::default();
        let mut instantiation = Duration::ZERO;
        for component in self.components.values() {
            total.requests += component.requests;
            total.instances += component.instances;
            total.connections += component.connections;
            total.statements += component.statements;
            total.exchanges += component.exchanges;
            instantiation += component.mean_instantiation * u32::try_from(component.instances).unwrap_or(u32::MAX);
        }
        total.mean_instantiation = mean(instantiation, total.instances);
        total
    }
}

/// One component's counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: Counter,
    pub(crate) instances: Counter,
    pub(crate) instantiation_nanoseconds: Counter,
    pub(crate) connections: Counter,
    pub(crate) statements: Counter,
    pub(crate) exchanges: Counter,
}

impl Counters {
    /// What they stand at.
    pub(crate) fn read(&self) -> ComponentStatistics {
        let instances = self.instances.get();
        ComponentStatistics {
            requests: self.requests.get(),
            instances,
            mean_instantiation: mean(Duration::from_nanos(self.instantiation_nanoseconds.get()), instances),
            connections: self.connections.get(),
            statements: self.statements.get(),
            exchanges: self.exchanges.get(),
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn mean(sum: Duration, count: u64) -> Duration {
    Duration::from_nanos(
        u64::try_from(sum.as_nanos())
            .unwrap_or(u64::MAX)
            .checked_div(count)
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_is_over_all_instances() {
        let one = ComponentStatistics {
            instances: 1,
            mean_instantiation: Duration::from_micros(40),
            ..Default::default()
        };
        let three = ComponentStatistics {
            instances: 3,
            mean_instantiation: Duration::from_micros(20),
            ..one
        };
        let statistics = Statistics {
            components: [("a".into(), one), ("b".into(), three)].into(),
        };

        assert_eq!(statistics.total().instances, 4);
        assert_eq!(statistics.total().mean_instantiation, Duration::from_micros(25));
        assert_eq!(Statistics::default().total(), ComponentStatistics::default());
    }
}
