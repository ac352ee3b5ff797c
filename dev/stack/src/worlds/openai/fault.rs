//! The ways in which the world behaves badly on request.
//!
//! | Name | What happens |
//! |---|---|
//! | `stand-in-429`, `-429-<n>`, `-429-always` | 429, `Retry-After: 1`: a conversation's first request, first n, all |
//! | `stand-in-quota` | 429 `insufficient_quota`, always |
//! | `stand-in-401` | 401 `invalid_api_key`, always |
//! | `stand-in-500`, `-500-once`, `-500-<n>` | 500: all, a conversation's first request, first n |
//! | `stand-in-503`, `-503-once`, `-503-<n>` | 503, likewise |
//! | `stand-in-context` | 400 `context_length_exceeded` |
//! | `stand-in-stall` | not a byte, for ever |
//! | `stand-in-stall-mid` | two deltas (or half a body), then silence |
//! | `stand-in-cut` | two deltas (or half a body), then the connection is cut |
//! | `stand-in-error-mid` | two deltas, then an `error` event |
//! | `stand-in-malformed` | two deltas, then an event that is not JSON (or a body that is not) |
//! | `stand-in-slow` | each delta after `slow_interval` |
//! | `stand-in-empty` | `content` is null, and nothing else |
//! | `stand-in-length` | half a reply, `finish_reason` `length` |
//! | `stand-in-filter` | no reply, `finish_reason` `content_filter` |
//! | `stand-in-odd-frames` | CRLF, comments, unknown fields, characters split between packets: all of it correct |
//!
//! A conversation is a model and the user's last message: tests that run side by side do not use up each other's
//! faults.

use super::chat::ChatRequest;
use super::refusal::Refusal;

/// A way to behave badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// 429 with `Retry-After`, for so many requests, or always.
    RateLimit(Option<u32>),
    /// 429 because the account is spent.
    Quota,
    /// 401.
    Key,
    /// 500, for so many requests, or always.
    ServerError(Option<u32>),
    /// 503, for so many requests, or always.
    Overloaded(Option<u32>),
    /// 400 because the messages are too long.
    Context,
    /// No answer.
    Stall,
    /// The beginning of an answer, then nothing.
    StallMid,
    /// The beginning of an answer, then the end of the connection.
    Cut,
    /// The beginning of an answer, then an error in its stream.
    ErrorMid,
    /// An answer that is not JSON.
    Malformed,
    /// A slow stream.
    Slow,
    /// An answer without content.
    Empty,
    /// An answer cut at the limit of tokens.
    Length,
    /// An answer withheld.
    Filter,
    /// A stream that only a correct reader reads.
    OddFrames,
}

impl Fault {
    /// What the names of faulty models begin with.
    pub const PREFIX: &'static str = "stand-in-";

    /// Reads a name, with or without the prefix.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.strip_prefix(Self::PREFIX).unwrap_or(name);
        Some(match name {
            "429" => Self::RateLimit(Some(1)),
            "quota" => Self::Quota,
            "401" => Self::Key,
            "500" => Self::ServerError(None),
            "503" => Self::Overloaded(None),
            "context" => Self::Context,
            "stall" => Self::Stall,
            "stall-mid" => Self::StallMid,
            "cut" => Self::Cut,
            "error-mid" => Self::ErrorMid,
            "malformed" => Self::Malformed,
            "slow" => Self::Slow,
            "empty" => Self::Empty,
            "length" => Self::Length,
            "filter" => Self::Filter,
            "odd-frames" => Self::OddFrames,
            _ => {
                let (status, times) = name.split_once('-')?;
                let times = match times {
                    "always" => None,
                    "once" => Some(1),
                    times => Some(times.parse().ok()?),
                };
                match status {
                    "429" => Self::RateLimit(times),
                    "500" => Self::ServerError(times),
                    "503" => Self::Overloaded(times),
                    _ => return None,
                }
            }
        })
    }

    /// The error that the fault answers with, and for how many requests of a conversation; none means all.
    pub(super) fn refusal(self, request: &ChatRequest) -> Option<(Option<u32>, Refusal)> {
        Some(match self {
            Self::RateLimit(times) => (times, Refusal::rate_limit(&request.model)),
            Self::Quota => (None, Refusal::quota()),
            Self::Key => (None, Refusal::wrong_key("sk-revoked")),
            Self::ServerError(times) => (times, Refusal::server_error()),
            Self::Overloaded(times) => (times, Refusal::overloaded()),
            Self::Context => (None, Refusal::too_long(request.window, request.window + 1)),
            Self::Stall
            | Self::StallMid
            | Self::Cut
            | Self::ErrorMid
            | Self::Malformed
            | Self::Slow
            | Self::Empty
            | Self::Length
            | Self::Filter
            | Self::OddFrames => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_how_often_a_fault_strikes() {
        for (name, expected) in [
            ("stand-in-429", Some(Fault::RateLimit(Some(1)))),
            ("stand-in-429-always", Some(Fault::RateLimit(None))),
            ("stand-in-429-3", Some(Fault::RateLimit(Some(3)))),
            ("500-once", Some(Fault::ServerError(Some(1)))),
            ("stand-in-503", Some(Fault::Overloaded(None))),
            ("stand-in-stall-mid", Some(Fault::StallMid)),
            ("stand-in-418", None),
            ("stand-in-429-often", None),
            ("gpt-4o", None),
        ] {
            assert_eq!(Fault::parse(name), expected, "{name}");
        }
    }
}
