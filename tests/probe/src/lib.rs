//! A component that does, on request, what a component may do well or badly.
//!
//! The tests of the host drive it over HTTP: each route shows one thing that the platform gives (headers, variables, outbound calls,
//! Postgres, streams) or one misdeed (a trap, a transaction left open, work after the response). Natively this crate is empty.

#[cfg(target_family = "wasm")]
mod component;
