#![doc = include_str!("../README.md")]

pub mod bearer;
pub mod caller;
pub mod context;
pub mod db;
pub mod error;
pub mod extract;
pub mod fields;
pub mod functions;
pub mod health;
pub mod idempotency;
pub mod log;
pub mod outbound;
pub mod page;
pub mod preconditions;
pub mod random;
mod runtime;
pub mod sealing;
pub mod serve;
pub mod settings;
pub mod sse;

pub use context::RequestContext;
pub use error::ApiError;
pub use runtime::{sleep, spawn};
pub use serve::Function;
