//! Who is calling: extractors that refuse the unproven before a handler's body runs.

mod jwt;
mod service;
mod toolbox;
mod user;
mod worker;

pub use service::{Service, ServiceToken};
pub use toolbox::{Bootstrap, TokenRefusals, Toolbox};
pub use user::{User, UserTokens};
pub use worker::{UserOrWorker, Worker};

use http::header::AUTHORIZATION;
use http::request::Parts;

/// The token of `Authorization: Bearer …` (RFC 6750), if there is exactly one such header.
fn bearer(parts: &Parts) -> Option<&str> {
    let mut values = parts.headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (values.next().is_none() && scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
