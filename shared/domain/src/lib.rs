#![doc = include_str!("../README.md")]

pub mod chat;
pub mod discord;
pub mod ids;
pub mod retry;
pub mod secrets;
pub mod toolbox;
