//! The seam where there is no Spin: time passes, and everything else is refused.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{CallLimits, IncomingBody, QueryFailure, SendFailure};

const NO_SPIN: &str = "there is no Spin here";

pub(crate) async fn variable(_name: &str) -> Result<Option<String>, String> {
    Err(NO_SPIN.to_owned())
}

pub(crate) async fn query(_url: &str, _statement: &str, _parameters: [String; 2]) -> Result<String, QueryFailure> {
    Err(QueryFailure::Unreachable(NO_SPIN.to_owned()))
}

pub(crate) async fn send(
    _request: http::Request<Bytes>,
    _limits: CallLimits,
) -> Result<http::Response<IncomingBody>, SendFailure> {
    Err(SendFailure::Broken(NO_SPIN.to_owned()))
}

/// Waits.
pub async fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

/// Runs a future to its end on this thread.
pub fn spawn(work: impl Future<Output = ()> + 'static) {
    futures::executor::block_on(work);
}

#[expect(clippy::disallowed_methods, reason = "this is where the edge reads the clock")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
