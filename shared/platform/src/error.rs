//! Refusals and failures as clients see them.
//!
//! Errors below the edge (domain, clients, operations) have enums of their own and know no status codes. Here each becomes an [`ApiError`], and
//! [`ApiError::status`] is the one place that decides the status. The body is
//! `{"error", "message", "code", "request_id"}`, with `field` where one input is at fault; `error` and `message` carry the same text, because old clients read
//! either. A 5xx says nothing about the inside: its cause goes to the log under the same request id.

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// What kind of refusal or failure. A code tells programs more; the kind decides the status.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Malformed or invalid input.
    Invalid,
    /// No proof of who is calling, or a wrong one.
    Unauthenticated,
    /// Proven, but not allowed; only where the object's existence is no secret.
    Forbidden,
    /// Absent, or not the caller's.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The state of things does not allow it.
    Conflict,
    /// It was changed since the state that the client names.
    PreconditionFailed,
    /// The body is too large.
    TooLarge,
    /// The body is not JSON by its media type.
    UnsupportedMediaType,
    /// Well-formed, but contradicts what is known.
    Unprocessable,
    /// Too many requests.
    RateLimited,
    /// A fault of ours.
    Internal,
    /// An outside service failed.
    BadGateway,
    /// Something needed is not there right now.
    Unavailable,
    /// An outside service was too slow.
    GatewayTimeout,
}

/// A refusal or failure on its way to the client.
#[derive(Clone, Debug)]
pub struct ApiError(Box<Details>);

#[derive(Clone, Debug)]
struct Details {
    kind: Kind,
    code: Cow<'static, str>,
    message: Cow<'static, str>,
    field: Option<String>,
    retry_after: Option<Duration>,
    headers: Vec<(&'static str, String)>,
    cause: Option<String>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a str,
    message: &'a str,
    code: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<&'a str>,
}

impl ApiError {
    /// An error with a stable `code` (snake_case) for programs and a `message` for people.
    pub fn new(kind: Kind, code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Details {
            kind,
            code: code.into(),
            message: message.into(),
            field: None,
            retry_after: None,
            headers: Vec::new(),
            cause: None,
        }))
    }

    /// An input field that is not what it must be; the message begins with the field's name.
    pub fn invalid_field(field: &str, problem: impl std::fmt::Display) -> Self {
        let mut error = Self::new(Kind::Invalid, "invalid_field", format!("{field} {problem}."));
        error.0.field = Some(field.to_owned());
        error
    }

    /// No or wrong proof of who is calling.
    pub fn unauthenticated(code: &'static str, message: &'static str) -> Self {
        Self::new(Kind::Unauthenticated, code, message)
    }

    /// A fault of ours. The cause is for the log alone.
    pub fn internal(cause: impl Into<String>) -> Self {
        Self::new(Kind::Internal, "internal_error", "Internal server error").because(cause)
    }

    /// The database cannot be asked right now.
    pub fn database_unavailable(cause: impl Into<String>) -> Self {
        Self::new(
            Kind::Unavailable,
            "database_unavailable",
            "The service is temporarily unavailable. Please try again.",
        )
        .because(cause)
        .retry_after(Duration::from_secs(1))
    }

    /// Adds what only the log may know.
    #[must_use]
    pub fn because(mut self, cause: impl Into<String>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// Says the same in other words.
    #[must_use]
    pub fn saying(mut self, message: impl Into<Cow<'static, str>>) -> Self {
        self.0.message = message.into();
        self
    }

    /// Adds the input field at fault.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Adds when it is worth trying again.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.0.retry_after = Some(pause);
        self
    }

    /// Adds a response header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: String) -> Self {
        self.0.headers.push((name, value));
        self
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The text for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// When it is worth trying again, in whole seconds.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.0.retry_after.map(|pause| {
            u64::try_from(pause.as_millis().div_ceil(1000))
                .unwrap_or(u64::MAX)
                .max(1)
        })
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The status of each kind.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.0.kind {
            Kind::Invalid => StatusCode::BAD_REQUEST,
            Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::NotFound => StatusCode::NOT_FOUND,
            Kind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Kind::BadGateway => StatusCode::BAD_GATEWAY,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Kind::GatewayTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The envelope as JSON.
    #[must_use]
    pub fn envelope(&self, request_id: &str) -> serde_json::Value {
        serde_json::to_value(Envelope {
            error: &self.0.message,
            message: &self.0.message,
            code: &self.0.code,
            request_id,
            field: self.0.field.as_deref(),
        })
        .unwrap_or_default()
    }

    /// The response, whose body names the request.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        let mut response = Response::new(self.envelope(request_id).to_string().into());
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after_seconds() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.0.kind == Kind::Unauthenticated {
            headers.insert("www-authenticate", HeaderValue::from_static("Bearer"));
        }
        for (name, value) in &self.0.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(*name, value);
            }
        }
        response
    }
}

/// Inside a router an error is a bare status that carries itself; [`crate::serve`] renders it with the request's id.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn the_envelope_says_the_same_under_error_and_message() {
        let error = ApiError::invalid_field("agentId", "is not a UUID");

        assert_snapshot!(
            error.envelope("r1"),
            @r#"{"code":"invalid_field","error":"agentId is not a UUID.","field":"agentId","message":"agentId is not a UUID.","request_id":"r1"}"#
        );
    }

    #[test]
    fn a_cause_stays_inside() {
        let error = ApiError::internal("password of the database");

        let response = error.render("r1");

        assert_eq!(response.status(), 500);
        assert!(!error.envelope("r1").to_string().contains("password"));
    }

    #[test]
    fn a_pause_is_rounded_up_to_a_second() {
        let error = ApiError::database_unavailable("down").retry_after(Duration::from_millis(1200));

        assert_eq!(error.retry_after_seconds(), Some(2));
    }
}
