//! axum's extractors with our limits and refusals.

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use http::HeaderValue;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::error::{ApiError, Kind};

/// The largest body of a request, in bytes, unless a route says otherwise.
pub const BODY_MAX_BYTES: usize = 256 * 1024;

/// A JSON body in, or out.
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

impl<T, S> FromRequest<S> for Json<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let JsonWithin(value) = JsonWithin::<T, BODY_MAX_BYTES>::from_request(request, state).await?;
        Ok(Self(value))
    }
}

/// A JSON body in, of at most this many bytes.
#[derive(Clone, Copy, Debug)]
pub struct JsonWithin<T, const MAX_BYTES: usize>(pub T);

impl<T, S, const MAX_BYTES: usize> FromRequest<S> for JsonWithin<T, MAX_BYTES>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        expect_json(&request)?;
        let body = read_body(request, MAX_BYTES).await?;

        parse_json(&body).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response(),
            Err(error) => ApiError::internal(format!("the response does not serialize: {error}")).into_response(),
        }
    }
}

/// Old clients leave the type out; a form or a file is a mistake worth naming.
fn expect_json(request: &Request) -> Result<(), ApiError> {
    let Some(media_type) = request.headers().get(CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = media_type
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if essence == "application/json" || essence.ends_with("+json") || essence == "text/plain" {
        return Ok(());
    }
    Err(ApiError::new(
        Kind::UnsupportedMediaType,
        "unsupported_media_type",
        "The body must be JSON (application/json).",
    ))
}

/// Reads a body of at most `limit` bytes.
///
/// # Errors
///
/// 413 as soon as it is larger, 400 if the client stops sending.
pub async fn read_body(request: Request, limit: usize) -> Result<Bytes, ApiError> {
    let too_large = || {
        ApiError::new(
            Kind::TooLarge,
            "body_too_large",
            format!("The body is larger than {limit} bytes."),
        )
    };
    let announced = request
        .headers()
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }

    let mut chunks = request.into_body().into_data_stream();
    let mut body = BytesMut::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| {
            ApiError::new(Kind::Invalid, "incomplete_body", "The body ended early.").because(error.to_string())
        })?;
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        body.put(chunk);
    }
    Ok(body.freeze())
}

/// Parses JSON, naming the field at fault.
///
/// # Errors
///
/// 400 with `invalid_json` for what is not JSON or a list, with `invalid_field` for a field of another type.
pub fn parse_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    // serde takes a list for an object whose fields come in their order. No body is one.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(ApiError::new(
            Kind::Invalid,
            "invalid_json",
            "Invalid JSON payload: a list, expected an object",
        ));
    }

    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        if path == "." || !cause.is_data() {
            return invalid_json(&cause);
        }
        ApiError::invalid_field(&path, format_args!("is invalid: {}", without_position(&cause)))
    })?;
    deserializer.end().map_err(|error| invalid_json(&error))?;
    Ok(value)
}

fn invalid_json(cause: &serde_json::Error) -> ApiError {
    ApiError::new(Kind::Invalid, "invalid_json", format!("Invalid JSON payload: {cause}"))
}

/// serde_json's text without "at line 1 column 2", which says nothing to the sender of one line.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((problem, _)) => problem.to_owned(),
        None => text,
    }
}

/// Parameters of the path, parsed.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

impl<T, S> FromRequestParts<S> for Path<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let axum::extract::Path(value) =
            axum::extract::Path::from_request_parts(parts, state)
                .await
                .map_err(|error| {
                    ApiError::new(Kind::Invalid, "invalid_path", "Invalid path.").because(error.body_text())
                })?;
        Ok(Self(value))
    }
}

/// Parameters of the query, parsed. Those that are not listed are ignored.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

impl<T, S> FromRequestParts<S> for Query<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parse_query(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

/// Parses `application/x-www-form-urlencoded`, naming the parameter at fault.
fn parse_query<T: DeserializeOwned>(query: &str) -> Result<T, ApiError> {
    let pairs = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(pairs).map_err(|error| {
        let path = error.path().to_string();
        let cause = error.into_inner();
        if path == "." {
            return ApiError::new(Kind::Invalid, "invalid_query", format!("Invalid query: {cause}."));
        }
        ApiError::invalid_field(&path, format_args!("is invalid: {cause}"))
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its parsing is looked at")]
    struct Body {
        name: String,
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its parsing is looked at")]
    struct Inner {
        count: u32,
    }

    fn refusal(body: &str) -> String {
        parse_json::<Body>(body.as_bytes()).unwrap_err().message().to_owned()
    }

    #[test]
    fn a_refusal_names_the_field() {
        assert_snapshot!(refusal(r#"{"name":1}"#), @"name is invalid: invalid type: integer `1`, expected a string.");
        assert_snapshot!(refusal(r#"{"name":"a","inner":{"count":-1}}"#), @"inner.count is invalid: invalid value: integer `-1`, expected u32.");
        assert_snapshot!(refusal("{}"), @"Invalid JSON payload: missing field `name` at line 1 column 2");
        assert_snapshot!(refusal(r#"{"name":"a"} x"#), @"Invalid JSON payload: trailing characters at line 1 column 14");
        assert_snapshot!(refusal(r#"{"name":"a"#), @"Invalid JSON payload: EOF while parsing a string at line 1 column 10");
        assert_snapshot!(refusal(r#" ["a", null]"#), @"Invalid JSON payload: a list, expected an object");
        assert_snapshot!(refusal(""), @"Invalid JSON payload: EOF while parsing a value at line 1 column 0");
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its parsing is looked at")]
    struct Parameters {
        count: Option<u32>,
        name: String,
    }

    fn query_refusal(query: &str) -> String {
        let error = parse_query::<Parameters>(query).unwrap_err();
        format!("{} {}", error.code(), error.message())
    }

    #[test]
    fn a_refusal_names_the_parameter() {
        assert!(parse_query::<Parameters>("name=a&count=1&other=x").is_ok());
        assert_snapshot!(query_refusal("name=a&count=-1"), @"invalid_field count is invalid: invalid digit found in string.");
        assert_snapshot!(query_refusal("count=1"), @"invalid_query Invalid query: missing field `name`.");
        assert_snapshot!(query_refusal("name=a&name=b"), @"invalid_query Invalid query: duplicate field `name`.");
    }
}
