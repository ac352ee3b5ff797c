#![doc = include_str!("../README.md")]

mod app;
mod bot_token;
#[cfg(target_family = "wasm")]
mod component;
mod connect;
mod discord;
mod fields;
pub mod routes;
mod sweep;
mod worker;
