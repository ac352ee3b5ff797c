//! A request through a component, beside the operation that it comes to and beside a request that comes to nothing.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::Value;

use super::edge::{self, row};
use super::load::{self, Throughput};
use super::setup::{Bench, DURATION};
use super::{processor, statement};

/// Callers at once.
pub(crate) const CALLERS: usize = 32;

/// What is compared, each caller with its share of the requests.
pub(crate) struct Comparison {
    pub(crate) component: &'static str,
    /// The component's route without work.
    pub(crate) health: &'static str,
    pub(crate) operation: &'static str,
    /// What the component sends with each of the requests.
    pub(crate) inputs: Vec<Value>,
    pub(crate) requests: Vec<Request<Full<Bytes>>>,
}

impl Comparison {
    /// Measures, and prints the table of `what`.
    pub(crate) fn measure(&self, bench: &Bench, what: &str) -> anyhow::Result<()> {
        let url = bench.application.url();
        let caller = statement::service(self.component);

        // Instances and connections are warm when it counts, and the rows are as they will be.
        self.send(url, DURATION / 5)?;
        let before = bench.statistics(self.component);
        let directly = Measured::with(bench, || {
            let url = bench.postgres.functions_url();
            statement::run(&url, CALLERS, self.operation, &caller, &self.inputs)
        })?;
        let through = Measured::with(bench, || self.send(url, DURATION))?;
        let after = bench.statistics(self.component);
        let nothing = Measured::with(bench, || edge::get(url, self.health, DURATION))?;

        println!("  {what}");
        row("the statement, natively", &directly.throughput);
        row("through the component", &through.throughput);
        row("nothing, through the component", &nothing.throughput);
        println!(
            "  ratio to the statement {:.2}, to nothing {:.2}",
            through.throughput.per_second / directly.throughput.per_second,
            through.throughput.per_second / nothing.throughput.per_second,
        );
        println!(
            "  processor time for one: Postgres {} natively and {} through the component; component and host {}, for nothing {}",
            microseconds(directly.postgres),
            microseconds(through.postgres),
            microseconds(through.throughput.processor),
            microseconds(nothing.throughput.processor),
        );
        if let (Some(before), Some(after)) = (before, after) {
            #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark fit a double")]
            let exchanges =
                (after.exchanges - before.exchanges) as f64 / (after.requests - before.requests).max(1) as f64;
            println!("  database exchanges per request {exchanges:.2}");
        }
        Ok(())
    }

    fn send(&self, url: &str, duration: Duration) -> anyhow::Result<Throughput> {
        load::http(url, CALLERS, duration, &self.requests)
    }
}

/// What a run showed, and the processor time that Postgres used for one.
struct Measured {
    throughput: Throughput,
    postgres: Option<Duration>,
}

impl Measured {
    fn with(bench: &Bench, run: impl FnOnce() -> anyhow::Result<Throughput>) -> anyhow::Result<Self> {
        let ticks = || bench.postgres.pid().and_then(processor::server_ticks);
        let before = ticks();
        let throughput = run()?;
        let postgres = before
            .zip(ticks())
            .map(|(before, after)| processor::each(after.saturating_sub(before), throughput.answered));
        Ok(Self { throughput, postgres })
    }
}

fn microseconds(duration: Option<Duration>) -> String {
    duration.map_or_else(
        || "unknown".to_owned(),
        |duration| format!("{:.0} µs", duration.as_secs_f64() * 1e6),
    )
}
