#![doc = include_str!("../README.md")]

#[cfg(target_family = "wasm")]
mod component;
pub mod routes;
