//! The harness of the black-box tests: one stack per run, tenants for each test, requests, and what came of them.
//!
//! A test takes [`Stack::shared`], makes users, agents and workspaces of its own there, posts over HTTP to the built components, and then
//! asks the answer, the database and the worlds. Tests share one database and keep apart by their tenants; one that breaks
//! something starts a stack of its own.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in tests a panic is the report"
)]

mod background;
mod database;
mod events;
mod logs;
mod redaction;
mod request;
mod stack;
mod tenants;
mod waiting;

pub use database::{Database, Parameters, Session};
pub use events::{Event, Events};
pub use redaction::redacted;
pub use request::{Request, Response};
pub use stack::{KEYRING, Stack, StackOptions, database_url};
pub use tenants::{Agent, AgentBuilder, Channel, Team, Tool, ToolInstance, Toolbox, User, Workspace};
pub use waiting::{DEADLINE, eventually, eventually_some};
