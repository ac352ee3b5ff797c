#![doc = include_str!("../README.md")]

mod activation;
mod answer;
mod app;
mod chat;
#[cfg(target_family = "wasm")]
mod component;
mod deferral;
mod functions;
mod interaction;
mod reply;
pub mod routes;
mod signature;
mod sweep;
mod text;
mod verified;
