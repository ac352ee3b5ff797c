//! Runs an application's `spin.toml` on wasmtime, as `spin up` does, as far as this application needs it.
//!
//! What a component can tell is as in Spin 4.1: routes, headers, variables, allowed hosts, calls between components, time limits,
//! instance reuse, Postgres values and errors, schedules. What it cannot tell is better where it costs nothing: connections to the database are
//! handed out clean and with their statements prepared. What is not known, a manifest's field or a component's import, is refused.
//!
//! ```no_run
//! # async fn example() -> Result<(), agentopia_host::HostError> {
//! use agentopia_host::{Host, HostOptions};
//!
//! let host = Host::start(HostOptions::new("spin.toml")).await?;
//! println!("{}", host.url());
//! host.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod allowed_hosts;
mod app;
mod bindings;
mod cron;
mod engine;
mod error;
mod host;
mod logs;
pub mod manifest;
mod options;
mod outbound;
mod postgres;
mod request;
mod router;
mod server;
mod state;
mod statistics;
mod tls;
mod variables;
mod workers;

pub use cron::TickError;
pub use error::HostError;
pub use host::Host;
pub use logs::{LogSink, MemoryLog};
pub use options::{HostOptions, InstanceReuse, PoolMode};
pub use statistics::{ComponentStatistics, Statistics};
