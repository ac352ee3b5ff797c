#![doc = include_str!("../README.md")]

pub mod openai;
pub mod sse;
