#![doc = include_str!("../README.md")]

mod app;
#[cfg(target_family = "wasm")]
mod component;
mod response;
pub mod routes;
mod turn;
