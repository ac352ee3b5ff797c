//! `ETag` and `If-Match` (RFC 9110, 8.8.3 and 13.1.1): a change that names the state that it is made for.
//!
//! A row's state is its revision, a number that only grows, and its tag is that number in quotes. Operations take the revision that a
//! request names as `if_match`, compare it in the statement that makes the change, and refuse another with 412.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::{ETAG, IF_MATCH};
use http::request::Parts;

use crate::error::ApiError;

/// What no row has as its revision: named by a tag that is none of ours, it matches nothing.
const NO_REVISION: i64 = 0;

/// What a change asks of what it changes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Precondition {
    /// Nothing.
    Nothing,
    /// That there is one, of whatever revision.
    Exists,
    /// That it has this revision.
    Revision(i64),
}

impl Precondition {
    /// The revision that it must have.
    #[must_use]
    pub const fn revision(self) -> Option<i64> {
        match self {
            Self::Revision(revision) => Some(revision),
            Self::Nothing | Self::Exists => None,
        }
    }

    /// Whether there must be one. Without a precondition a change may also make it.
    #[must_use]
    pub fn must_exist(self) -> bool {
        self != Self::Nothing
    }
}

/// The revision that a change is made for; `None` if any will do. For operations on what must be there anyway.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IfMatch(pub Option<i64>);

impl<S> FromRequestParts<S> for IfMatch
where
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let precondition = Precondition::from_request_parts(parts, state).await?;
        Ok(Self(precondition.revision()))
    }
}

impl<S> FromRequestParts<S> for Precondition
where
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let mut lines = parts.headers.get_all(IF_MATCH).iter().peekable();
        if lines.peek().is_none() {
            return Ok(Self::Nothing);
        }
        let lines: Option<Vec<&str>> = lines.map(|line| line.to_str().ok()).collect();
        let malformed = || ApiError::invalid_field("If-Match", "is neither * nor a list of entity tags");
        lines.and_then(|lines| parse(&lines.join(","))).ok_or_else(malformed)
    }
}

/// Reads the header's value. Of several tags the greatest counts: whoever was shown that revision cannot meet an older one.
fn parse(value: &str) -> Option<Precondition> {
    if value.trim() == "*" {
        return Some(Precondition::Exists);
    }
    let mut greatest = None;
    let mut rest = value;
    loop {
        // An empty element of a list is allowed and means nothing (RFC 9110, 5.6.1).
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return greatest.map(Precondition::Revision);
        }
        let (revision, after) = tag(rest)?;
        greatest = greatest.max(Some(revision));
        rest = after.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

/// The revision of the first tag, and what follows it.
fn tag(text: &str) -> Option<(i64, &str)> {
    let (is_weak, quoted) = match text.strip_prefix("W/") {
        Some(quoted) => (true, quoted),
        None => (false, text),
    };
    let (opaque, rest) = quoted.strip_prefix('"')?.split_once('"')?;
    if !opaque.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    // A weak tag never matches where the comparison is strong, and another's tag never does.
    let revision = opaque.parse().ok().filter(|_| !is_weak && is_canonical(opaque));
    Some((revision.unwrap_or(NO_REVISION), rest))
}

/// Whether a number is written as we write it: tags are compared as text.
fn is_canonical(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0')
}

/// The tag of a revision.
#[must_use]
pub fn etag(revision: i64) -> HeaderValue {
    HeaderValue::try_from(format!("\"{revision}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"0\""))
}

/// A response that shows a row, with the tag of the row's revision.
pub fn tagged(revision: i64, response: impl IntoResponse) -> Response {
    let mut response = response.into_response();
    response.headers_mut().insert(ETAG, etag(revision));
    response
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    fn if_match(lines: &[&[u8]]) -> Result<Option<i64>, ApiError> {
        let mut request = http::Request::builder();
        for line in lines {
            request = request.header(IF_MATCH, HeaderValue::from_bytes(line).unwrap());
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        block_on(IfMatch::from_request_parts(&mut parts, &())).map(|IfMatch(revision)| revision)
    }

    #[test]
    fn a_change_names_a_revision_or_takes_any() {
        let cases: [(&[&[u8]], Option<i64>); 12] = [
            (&[], None),
            (&[b"*"], None),
            (&[b" * "], None),
            (&[b"\"3\""], Some(3)),
            (&[b"\"3\", \"5\" ,\"4\""], Some(5)),
            (&[b"\"3\"", b"\"5\""], Some(5)),
            (&[b", \"3\",,"], Some(3)),
            (&[b"W/\"3\""], Some(NO_REVISION)),
            (&[b"\"abc,def\""], Some(NO_REVISION)),
            (&[b"\"03\""], Some(NO_REVISION)),
            (&[b"\"\""], Some(NO_REVISION)),
            (&[b"\"99999999999999999999\""], Some(NO_REVISION)),
        ];

        for (lines, expected) in cases {
            assert_eq!(if_match(lines).unwrap(), expected, "{lines:?}");
        }
    }

    #[test]
    fn any_is_not_none() {
        let precondition = |value: Option<&str>| {
            let request = http::Request::builder();
            let request = value
                .into_iter()
                .fold(request, |request, value| request.header(IF_MATCH, value));
            let mut parts = request.body(()).unwrap().into_parts().0;
            block_on(Precondition::from_request_parts(&mut parts, &())).unwrap()
        };

        let [absent, any, one] = [None, Some("*"), Some("\"3\"")].map(precondition);

        assert_eq!(
            [absent, any, one],
            [Precondition::Nothing, Precondition::Exists, Precondition::Revision(3)]
        );
        assert_eq!([absent, any, one].map(Precondition::must_exist), [false, true, true]);
    }

    #[test]
    fn what_is_no_list_of_tags_is_refused() {
        let cases: [&[u8]; 9] = [
            b"",
            b",",
            b"3",
            b"\"3",
            b"\"3\" \"4\"",
            b"\"3\", *",
            b"\"a b\"",
            b"w/\"3\"",
            b"\"\xe9\"",
        ];

        for value in cases {
            let error = if_match(&[value]).unwrap_err();

            assert_eq!((error.status().as_u16(), error.code()), (400, "invalid_field"));
            assert_eq!(
                error.message(),
                "If-Match is neither * nor a list of entity tags.",
                "{value:?}"
            );
        }
    }

    #[test]
    fn a_tag_that_was_sent_names_its_revision() {
        for revision in [1, 17, i64::MAX] {
            let response = tagged(revision, "a row");

            let tag = response.headers()[ETAG].clone();
            assert_eq!(tag, format!("\"{revision}\""));
            assert_eq!(if_match(&[tag.as_bytes()]).unwrap(), Some(revision));
        }
    }
}
