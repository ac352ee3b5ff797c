//! Answers, and the ways in which they reach the client or do not.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::Value;

use super::connection::Connection;

/// An answer before it is sent.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// Whether an answer reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    /// It does.
    Whole,
    /// The connection is dropped instead.
    Dropped,
    /// The connection stays, and nothing comes.
    Withheld,
}

impl Answer {
    /// An answer without a body.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        }
    }

    /// An answer in JSON.
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        Self {
            body: body.to_string().into(),
            ..Self::empty(status)
        }
        .with(header::CONTENT_TYPE, "application/json")
    }

    /// An answer of something that stands before the service.
    pub(super) fn page(status: StatusCode, text: &'static str) -> Self {
        Self {
            body: Bytes::from_static(text.as_bytes()),
            ..Self::empty(status)
        }
        .with(header::CONTENT_TYPE, "text/html")
    }

    /// The status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// A header that was added.
    pub(super) fn header(&self, name: &HeaderName) -> Option<&HeaderValue> {
        self.headers.get(name)
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: HeaderName, value: impl ToString) -> Self {
        if let Ok(value) = HeaderValue::from_str(&value.to_string()) {
            self.headers.insert(name, value);
        }
        self
    }

    /// The response, if there is to be one; else this does not end before the client gives up.
    pub(super) async fn deliver(self, delivery: Delivery, connection: &Connection) -> Response {
        match delivery {
            Delivery::Whole => {}
            Delivery::Dropped => connection.drop_it(),
            Delivery::Withheld => std::future::pending().await,
        }
        (self.status, self.headers, Body::from(self.body)).into_response()
    }
}
