#![doc = include_str!("../README.md")]

mod app;
#[cfg(target_family = "wasm")]
mod component;
mod message;
mod reply;
mod response;
pub mod routes;
mod turn;
