//! A request through a component, beside the operation that it comes to and beside a request that comes to nothing.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::Value;

use super::edge::{self, row};
use super::load::{self, Throughput};
use super::setup::{Bench, DURATION};
use super::statement;

/// What is compared, for as many callers as there are requests.
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
        let directly = statement::run(
            &bench.postgres.functions_url(),
            self.requests.len(),
            self.operation,
            &caller,
            &self.inputs,
        )?;
        let through = self.send(url, DURATION)?;
        let after = bench.statistics(self.component);
        let nothing = edge::get(url, self.health, DURATION)?;

        println!("  {what}");
        row("the statement, natively", &directly);
        row("through the component", &through);
        row("nothing, through the component", &nothing);
        println!(
            "  ratio to the statement {:.2}, to nothing {:.2}; one each {:.0} µs, where the statement takes {:.0} and nothing {:.0}",
            through.per_second / directly.per_second,
            through.per_second / nothing.per_second,
            microseconds(&through),
            microseconds(&directly),
            microseconds(&nothing),
        );
        if let (Some(before), Some(after)) = (before, after) {
            #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark fit a double")]
            let exchanges =
                (after.exchanges - before.exchanges) as f64 / (after.requests - before.requests).max(1) as f64;
            println!("  database exchanges per request {exchanges:.2}");
        }
        Ok(())
    }

    fn send(&self, url: &str, duration: std::time::Duration) -> anyhow::Result<Throughput> {
        load::http(url, self.requests.len(), duration, &self.requests)
    }
}

/// The machine's time for one.
fn microseconds(throughput: &Throughput) -> f64 {
    1e6 / throughput.per_second
}
