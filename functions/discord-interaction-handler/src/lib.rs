#![doc = include_str!("../README.md")]

mod app;
#[cfg(target_family = "wasm")]
mod component;
mod interaction;
mod reply;
pub mod routes;
mod signature;
mod verified;
