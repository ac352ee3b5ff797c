#![doc = include_str!("../README.md")]

mod app;
#[cfg(target_family = "wasm")]
mod component;
mod configuration;
pub mod routes;
mod schema;
mod sizes;
