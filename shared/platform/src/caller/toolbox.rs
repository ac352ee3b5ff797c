//! `caller::Toolbox` and `caller::Bootstrap`: a machine, by the hash of the token that it presents.
//!
//! The form is checked here, so that what cannot be a token costs no statement; whose token it is, the operation finds out in the same
//! statement that does the work, and refuses with 401 `invalid_token` what it does not know.

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use super::bearer;
use crate::bearer::{BootstrapToken, TokenHash, ToolboxToken};
use crate::error::ApiError;

/// What a function says to a machine that does not prove itself. The machines in the field know the texts.
#[derive(Clone, Copy, Debug)]
pub struct TokenRefusals {
    /// There is no bearer token, or more than one header.
    pub missing: &'static str,
    /// It does not have the form of a token.
    pub invalid: &'static str,
}

/// The agent of a toolbox, which presents a token of the right form.
#[derive(Clone, Debug)]
pub struct Toolbox {
    /// The proof, for operations: they look the toolbox up by it.
    pub token_hash: TokenHash,
}

/// A machine at its first contact, which presents a bootstrap token of the right form.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// The proof, for the one operation that takes it.
    pub token_hash: TokenHash,
}

impl<S> FromRequestParts<S> for Toolbox
where
    S: Send + Sync,
    TokenRefusals: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let token_hash = presented(parts, TokenRefusals::from_ref(state), ToolboxToken::hash_presented)?;
        Ok(Self { token_hash })
    }
}

impl<S> FromRequestParts<S> for Bootstrap
where
    S: Send + Sync,
    TokenRefusals: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let token_hash = presented(parts, TokenRefusals::from_ref(state), BootstrapToken::hash_presented)?;
        Ok(Self { token_hash })
    }
}

pub(super) fn presented(
    parts: &Parts,
    refusals: TokenRefusals,
    hash: impl FnOnce(&str) -> Option<TokenHash>,
) -> Result<TokenHash, ApiError> {
    let token = bearer(parts).ok_or_else(|| ApiError::unauthenticated("missing_token", refusals.missing))?;
    hash(token).ok_or_else(|| {
        ApiError::unauthenticated("invalid_token", refusals.invalid).because("not a token of a known form")
    })
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use http::header::AUTHORIZATION;

    use super::*;

    const REFUSALS: TokenRefusals = TokenRefusals {
        missing: "missing",
        invalid: "invalid",
    };

    fn parts(headers: &[&str]) -> Parts {
        let mut request = http::Request::builder();
        for header in headers {
            request = request.header(AUTHORIZATION, *header);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn toolbox(headers: &[&str]) -> Result<TokenHash, ApiError> {
        let toolbox = block_on(Toolbox::from_request_parts(&mut parts(headers), &REFUSALS))?;
        Ok(toolbox.token_hash)
    }

    #[test]
    fn a_machine_is_known_by_the_hash_of_its_token() {
        let token = ToolboxToken::generate();
        let bootstrap = BootstrapToken::generate();
        let header = format!("Bearer {}", bootstrap.expose());

        assert_eq!(
            toolbox(&[&format!("bearer  {}", token.expose())]).unwrap(),
            token.hash_hex()
        );
        let machine = block_on(Bootstrap::from_request_parts(&mut parts(&[&header]), &REFUSALS)).unwrap();
        assert_eq!(machine.token_hash, bootstrap.hash_hex());
        assert_eq!(toolbox(&[&header]).unwrap_err().code(), "invalid_token");
    }

    #[test]
    fn without_one_token_nobody_is_known() {
        let one = format!("Bearer {}", ToolboxToken::generate().expose());
        let cases = [
            (vec![], "missing_token", "missing"),
            (vec!["Bearer "], "missing_token", "missing"),
            (vec!["Basic abc"], "missing_token", "missing"),
            (vec![one.as_str(), one.as_str()], "missing_token", "missing"),
            (vec!["Bearer abc"], "invalid_token", "invalid"),
        ];

        for (headers, code, message) in cases {
            let error = toolbox(&headers).unwrap_err();

            assert_eq!(
                (error.status().as_u16(), error.code(), error.message()),
                (401, code, message)
            );
        }
    }
}
