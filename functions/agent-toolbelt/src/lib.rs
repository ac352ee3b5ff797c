#![doc = include_str!("../README.md")]

mod app;
#[cfg(target_family = "wasm")]
mod component;
mod credential_value;
pub mod routes;
