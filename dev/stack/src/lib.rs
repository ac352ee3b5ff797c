//! The local stack: Postgres, migrations, demo data, tokens, and stand-in worlds for the outside services.
//!
//! `cargo xtask up`, the black-box tests and the benchmarks are all built on this crate. It knows nothing of Wasm: it
//! prepares what the application needs around it, on a machine that may have nothing installed but Rust and Python.

mod database;
mod error;
mod progress;
mod secrets;

pub mod demo;
pub mod migrate;
pub mod postgres;
pub mod reseal;
pub mod token;
pub mod worlds;

pub use error::StackError;
pub use migrate::migrate;
pub use postgres::{Health, Postgres, PostgresOptions};
pub use progress::{Progress, Quiet};
pub use reseal::reseal;
pub use secrets::Secrets;
