//! Stand-ins for the outside services: state, not scripts of expected calls.
//!
//! Each listens on a port of its own on 127.0.0.1, so that the functions reach it through real outbound HTTP, and
//! refuses what the real service would refuse. What it cannot make sense of it answers with an error and keeps as a
//! complaint.

pub mod digitalocean;
pub mod discord;
pub mod jwks;
pub mod openai;
pub mod toolbox_agents;
pub mod worker_manager;

mod answer;
mod connection;
mod server;

pub use digitalocean::{DigitalOceanOptions, DigitalOceanWorld};
pub use discord::{DiscordOptions, DiscordWorld};
pub use jwks::JwksWorld;
pub use openai::{OpenAiOptions, OpenAiWorld};
pub use toolbox_agents::{ToolboxAgentsOptions, ToolboxAgentsWorld};
pub use worker_manager::{WorkerManagerOptions, WorkerManagerWorld};
