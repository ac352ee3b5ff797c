//! Temporary.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "in tests a panic is the report"
)]
#[path = "../it/host_pool.rs"]
mod host_pool;
