//! The runtime of what outlives a test: each test has a runtime of its own, which ends with it.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("tests-background")
        .enable_all()
        .build()
        .unwrap()
});

/// Runs work on the runtime that lasts, and waits for it.
pub(crate) async fn run<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    RUNTIME
        .spawn(work)
        .await
        .unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}
