//! Who is calling: extractors that refuse the unproven before a handler's body runs.

mod jwt;
mod user;

pub use user::{User, UserTokens};
