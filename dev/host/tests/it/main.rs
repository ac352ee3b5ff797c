//! The host driven over HTTP, with the probe component of `tests/probe` as the application.
//!
//! What needs a database is in the project's own tests, which have one.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod headers;
mod instances;
mod lifecycle;
mod outbound;
mod plugin;
mod routes;
mod schedule;
mod streams;
mod support;
mod variables;
