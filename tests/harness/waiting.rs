//! Waiting for a state: never for a time.

use std::time::{Duration, Instant};

/// How long a test waits for what must come, unless it says otherwise.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a state is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// Waits until `condition` holds.
///
/// # Panics
///
/// With `what`, if it does not come to hold within `deadline`.
pub async fn eventually(what: &str, deadline: Duration, condition: impl AsyncFnMut() -> bool) {
    let mut condition = condition;
    eventually_some(what, deadline, async || condition().await.then_some(())).await;
}

/// Waits until there is something, and returns it.
///
/// # Panics
///
/// With `what`, if nothing is there within `deadline`.
pub async fn eventually_some<T>(what: &str, deadline: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            began.elapsed() < deadline,
            "waited {} s in vain: {what}",
            deadline.as_secs()
        );
        tokio::time::sleep(INTERVAL).await;
    }
}
