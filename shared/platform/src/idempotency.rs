//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header): a request that is repeated under its key is done once.
//!
//! Operations keep the key with a hash of what was asked, and the answer; [`replayed`] marks the answer that is given again.

use axum::extract::FromRequestParts;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::ApiError;
use crate::random;

const HEADER: HeaderName = HeaderName::from_static("idempotency-key");
const KEY_MAX_CHARS: usize = 255;

/// The name that a client gave its request, if it gave one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdempotencyKey(pub Option<String>);

impl<S> FromRequestParts<S> for IdempotencyKey
where
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(HEADER) else {
            return Ok(Self(None));
        };
        match value.to_str().ok().map(str::trim) {
            Some(key) if !key.is_empty() && key.len() <= KEY_MAX_CHARS => Ok(Self(Some(key.to_owned()))),
            _ => Err(ApiError::invalid_field(
                "Idempotency-Key",
                format_args!("must be 1 to {KEY_MAX_CHARS} printable ASCII characters"),
            )),
        }
    }
}

/// SHA-256 of what was asked, in hexadecimal: the same for the same fields in any order.
#[must_use]
pub fn request_hash(request: &impl Serialize) -> String {
    let canonical = serde_json::to_vec(request).unwrap_or_default();
    random::to_hex(&Sha256::digest(canonical))
}

/// Marks a response as the one that the same request got before.
#[must_use]
pub fn replayed(mut response: Response) -> Response {
    response.headers_mut().insert(
        HeaderName::from_static("idempotent-replayed"),
        HeaderValue::from_static("true"),
    );
    response
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    fn key(value: Option<&[u8]>) -> Result<Option<String>, ApiError> {
        let mut request = http::Request::builder();
        if let Some(value) = value {
            request = request.header(HEADER, HeaderValue::from_bytes(value).unwrap());
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        block_on(IdempotencyKey::from_request_parts(&mut parts, &())).map(|IdempotencyKey(key)| key)
    }

    #[test]
    fn a_key_is_bounded_and_printable() {
        assert_eq!(key(None).unwrap(), None);
        assert_eq!(key(Some(b" abc ")).unwrap().as_deref(), Some("abc"));
        assert_eq!(key(Some(&[b'a'; 255])).unwrap().map(|key| key.len()), Some(255));
        for wrong in [&b""[..], b"  ", &[b'a'; 256], b"caf\xc3\xa9"] {
            assert_eq!(key(Some(wrong)).unwrap_err().code(), "invalid_field", "{wrong:?}");
        }
    }

    #[test]
    fn a_hash_is_that_of_what_was_asked() {
        #[derive(Serialize)]
        struct Request {
            name: &'static str,
        }
        let hash = |name| request_hash(&Request { name });

        assert_eq!(hash("a"), hash("a"));
        assert_ne!(hash("a"), hash("b"));
        assert_eq!(hash("a").len(), 64);
    }
}
