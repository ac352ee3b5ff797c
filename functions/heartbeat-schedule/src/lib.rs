#![doc = include_str!("../README.md")]

#[cfg(target_family = "wasm")]
mod component;
pub mod log;
pub mod settings;
pub mod tick;
