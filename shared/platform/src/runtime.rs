//! The seam between this crate and the platform beneath it.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod spin;

#[cfg(not(target_family = "wasm"))]
pub(crate) use native::{now, query, send, variable};
#[cfg(not(target_family = "wasm"))]
pub use native::{sleep, spawn};
#[cfg(target_family = "wasm")]
pub(crate) use spin::{now, query, send, variable};
#[cfg(target_family = "wasm")]
pub use spin::{sleep, spawn};

/// The body of a response from outside, chunk by chunk.
pub(crate) type IncomingBody = Pin<Box<dyn Stream<Item = Result<Bytes, SendFailure>> + Send>>;

/// How long an outside call may take, part by part.
#[derive(Clone, Copy, Debug)]
pub struct CallLimits {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until the response's head is there, connecting included.
    pub first_byte: Duration,
    /// Between two chunks of the response's body.
    pub between_bytes: Duration,
}

/// Why an outside call did not get a response, or not all of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SendFailure {
    /// A time limit passed.
    TimedOut,
    /// The component may not call this address, or the address is not one.
    Denied(String),
    /// The connection could not be made, or broke.
    Broken(String),
}

impl fmt::Display for SendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out"),
            Self::Denied(cause) => write!(f, "denied: {cause}"),
            Self::Broken(cause) => write!(f, "broken: {cause}"),
        }
    }
}

/// Why a statement returned nothing.
#[cfg_attr(not(target_family = "wasm"), expect(dead_code, reason = "only Spin answers"))]
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum QueryFailure {
    /// Postgres answered with an error.
    Database(DatabaseError),
    /// Postgres could not be asked, or the connection broke: whether the statement was committed is unknown.
    Unreachable(String),
    /// What came back is not what was asked for.
    Unreadable(String),
}

/// An error that Postgres reported, in the terms of its protocol.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct DatabaseError {
    /// `SQLSTATE`.
    pub(crate) code: String,
    /// The primary message.
    pub(crate) message: String,
    /// `DETAIL`.
    pub(crate) detail: Option<String>,
    /// `HINT`.
    pub(crate) hint: Option<String>,
    /// The violated constraint.
    pub(crate) constraint: Option<String>,
}
