//! The ways in which a webhook behaves badly on request.

use std::time::Duration;

/// A way to behave badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 429, for this webhook or for all that the client calls.
    RateLimited {
        /// When the next call may come.
        retry_after: Duration,
        /// Whether all calls are meant.
        global: bool,
    },
    /// 429 of what stands before Discord: a page of HTML with `Retry-After`.
    Banned(Duration),
    /// 403 of what stands before Discord: a page of HTML.
    Blocked,
    /// 500, and the message is not taken.
    ServerError,
    /// The message is taken, and no answer comes.
    Stall,
    /// The message is taken, and the connection is dropped instead of an answer.
    Drop,
    /// The message is taken, and the answer is 500.
    DoneAndFailed,
    /// The message is taken, and the answer is no message.
    Malformed,
    /// The message is not taken, and no answer comes.
    Silence,
}
