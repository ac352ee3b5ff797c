//! What belongs to one request.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use agentopia_domain::ids::UserId;
use axum::extract::FromRequestParts;
use chrono::{DateTime, Utc};
use http::request::Parts;

use crate::error::ApiError;
use crate::log::{Level, Line, milliseconds};
use crate::{random, runtime};

/// The ids, the clock and the tenant of the request being served. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    function: &'static str,
    method: http::Method,
    request_id: String,
    trace_id: String,
    started: Instant,
    route: OnceLock<String>,
    tenant: OnceLock<UserId>,
}

impl RequestContext {
    pub(crate) fn new(function: &'static str, parts: &Parts) -> Self {
        let traceparent = parts.headers.get("traceparent").and_then(|value| value.to_str().ok());
        Self(Arc::new(Inner {
            function,
            method: parts.method.clone(),
            request_id: random::hex::<16>(),
            trace_id: traceparent
                .and_then(trace_id)
                .map_or_else(random::hex::<16>, str::to_owned),
            started: Instant::now(),
            route: OnceLock::new(),
            tenant: OnceLock::new(),
        }))
    }

    /// This request's id: in its response's `x-request-id`, in its error's body, in each of its log lines.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        runtime::now()
    }

    /// How long this request has been served.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.0.started.elapsed()
    }

    /// A W3C `traceparent` for a call made for this request, with a span of its own.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.0.trace_id, random::hex::<8>())
    }

    /// Notes whose request this is. The first proof counts.
    pub fn set_tenant(&self, tenant: UserId) {
        let _first_counts = self.0.tenant.set(tenant);
    }

    pub(crate) fn set_route(&self, route: &str) {
        let _first_counts = self.0.route.set(route.to_owned());
    }

    /// A log line with what identifies this request.
    #[must_use]
    pub fn line(&self, level: Level, event: &'static str) -> Line {
        Line::new(level, event)
            .with("function", self.0.function)
            .with("request_id", self.0.request_id.as_str())
            .with("trace_id", self.0.trace_id.as_str())
            .with_some("tenant", self.0.tenant.get().map(ToString::to_string))
    }

    /// The one line of this request, at its end.
    pub(crate) fn log_request(&self, status: u16, error: Option<&ApiError>) {
        self.request_line(status)
            .with_some("code", error.map(ApiError::code))
            .with_some("cause", error.and_then(ApiError::cause))
            .emit();
    }

    /// The one line of a request that was answered by a stream, when the stream ends.
    pub(crate) fn log_stream(&self, status: u16, client_left: bool) {
        self.request_line(status)
            .with("stream", true)
            .with("client_left", client_left)
            .emit();
    }

    fn request_line(&self, status: u16) -> Line {
        let level = if status >= 500 { Level::Error } else { Level::Info };
        self.line(level, "request")
            .with("method", self.0.method.as_str())
            .with_some("route", self.0.route.get().cloned())
            .with("status", status)
            .with("ms", milliseconds(self.elapsed()))
    }
}

/// The trace id of a W3C `traceparent` (<https://www.w3.org/TR/trace-context/#traceparent-header>), if it is valid.
fn trace_id(traceparent: &str) -> Option<&str> {
    let mut fields = traceparent.split('-');
    let (version, trace, parent, flags) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let known = is_hex(version, 2) && version != "ff" && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
    let not_zero = |text: &str| text.bytes().any(|byte| byte != b'0');

    (known && not_zero(trace) && not_zero(parent)).then_some(trace)
}

impl<S: Sync> FromRequestParts<S> for RequestContext {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| ApiError::internal("the request has no context"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_followed_only_if_it_is_valid() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let cases = [
            (format!("00-{trace}-00f067aa0ba902b7-01"), Some(trace)),
            (format!("01-{trace}-00f067aa0ba902b7-01-later"), Some(trace)),
            (format!("ff-{trace}-00f067aa0ba902b7-01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            (format!("00-{trace}-0000000000000000-01"), None),
            (format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()), None),
            ("00-abc".to_owned(), None),
            (String::new(), None),
        ];

        for (header, expected) in cases {
            assert_eq!(trace_id(&header), expected, "{header}");
        }
    }
}
