#![doc = include_str!("../README.md")]

pub mod digitalocean;
pub mod discord;
pub mod discord_webhook;
pub mod openai;
pub mod sse;
pub mod worker_manager;
