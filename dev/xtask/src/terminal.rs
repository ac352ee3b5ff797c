//! Progress on stderr, so that stdout carries answers alone.

use std::time::Instant;

use agentopia_stack::Progress;

/// Shows each step on a line of its own.
pub(crate) struct Terminal;

impl Progress for Terminal {
    fn step(&self, text: &str) {
        eprintln!("· {text}");
    }
}

/// Runs one step of a sequence, and says how long it took.
pub(crate) async fn timed<T>(name: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let began = Instant::now();
    let result = work.await;
    let mark = if result.is_ok() { "✓" } else { "✗" };
    eprintln!("{mark} {name} ({:.1} s)", began.elapsed().as_secs_f64());
    result
}
