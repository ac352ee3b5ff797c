//! A request to the application, and its answer.

use std::fmt;
use std::pin::Pin;

use anyhow::ensure;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use reqwest::Body;
use serde_json::Value;

use crate::events::Events;
use crate::redaction::redacted;
use crate::waiting::DEADLINE;

/// Headers that a snapshot of an answer shows.
const SHOWN_HEADERS: [&str; 5] = [
    "allow",
    "www-authenticate",
    "retry-after",
    "ratelimit-policy",
    "idempotent-replayed",
];

/// A request that is being put together; awaiting it sends it and reads the whole answer.
#[must_use]
#[derive(Debug)]
pub struct Request(reqwest::RequestBuilder);

impl Request {
    pub(crate) fn new(method: Method, url: &str) -> Self {
        // A client of its own: a shared one would keep connections that belong to another test's runtime.
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(3 * DEADLINE)
            .build()
            .unwrap();
        Self(client.request(method, url))
    }

    /// Adds a header; the same name twice makes two headers.
    pub fn header<V>(self, name: &str, value: V) -> Self
    where
        HeaderValue: TryFrom<V>,
        <HeaderValue as TryFrom<V>>::Error: Into<http::Error>,
    {
        Self(self.0.header(HeaderName::try_from(name).unwrap(), value))
    }

    /// Proves who is calling.
    pub fn bearer(self, token: &str) -> Self {
        self.header(AUTHORIZATION.as_str(), format!("Bearer {token}"))
    }

    /// Names the request, so that it can be repeated.
    pub fn idempotency_key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// A JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.header(CONTENT_TYPE.as_str(), "application/json")
            .body(body.to_string())
    }

    /// Any body, of a length that is said.
    pub fn body(self, body: impl Into<Body>) -> Self {
        Self(self.0.body(body))
    }

    /// A body whose length is not said: it is sent in chunks.
    pub fn chunked_body(self, chunks: Vec<Vec<u8>>) -> Self {
        let chunks = chunks.into_iter().map(Ok::<_, std::convert::Infallible>);
        Self(self.0.body(Body::wrap_stream(futures::stream::iter(chunks))))
    }

    /// Sends it, accepting events, and returns when the answer's head is there.
    pub async fn events(self) -> Events {
        let response = self
            .header(ACCEPT.as_str(), "text/event-stream")
            .0
            .send()
            .await
            .unwrap();
        Events::new(response)
    }

    /// Sends it, for tests that end the application meanwhile: it is an error if the connection breaks, or if the host answers for a component
    /// that it has ended.
    pub async fn attempt(self) -> anyhow::Result<Response> {
        Response::read(self.0.send().await?).await
    }
}

impl IntoFuture for Request {
    type Output = Response;
    type IntoFuture = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.attempt().await.unwrap() })
    }
}

/// An answer, read to its end. Shown, it is its status, the headers that say something, and its body.
#[derive(Clone, Debug)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Response {
    async fn read(response: reqwest::Response) -> anyhow::Result<Self> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await?.to_vec();
        ensure!(
            status != StatusCode::INTERNAL_SERVER_ERROR || !body.is_empty(),
            "the host answers in the function's place"
        );
        let response = Self { status, headers, body };
        response.check_promises();
        Ok(response)
    }

    /// The status, with its reason.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The body as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A field of the body that is text.
    #[must_use]
    pub fn field(&self, name: &str) -> String {
        self.json()
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_else(|| panic!("no text {name}: {self}"))
            .to_owned()
    }

    /// The body without what differs from run to run.
    #[must_use]
    pub fn redacted(&self) -> Value {
        redacted(&self.json())
    }

    /// The request's id.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.header("x-request-id").unwrap()
    }

    /// What every answer of every function keeps to.
    fn check_promises(&self) {
        assert_eq!(self.request_id().len(), 32, "{self}");
        assert_eq!(self.header("access-control-allow-origin"), Some("*"), "{self}");
        if matches!(self.status.as_u16(), 204 | 304) {
            assert!(
                self.body.is_empty() && self.header("content-length").is_none(),
                "{self}"
            );
            return;
        }
        assert!(self.header("content-type").is_some(), "{self}");
        assert_eq!(
            self.header("content-length"),
            Some(self.body.len().to_string().as_str()),
            "{self}"
        );
        if !self.status.is_success() {
            let body = self.json();
            assert_eq!(body.get("error"), body.get("message"), "{self}");
            assert_eq!(
                body.get("request_id").and_then(Value::as_str),
                Some(self.request_id()),
                "{self}"
            );
        }
    }
}

impl fmt::Display for Response {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}", self.status)?;
        for name in SHOWN_HEADERS {
            if let Some(value) = self.header(name) {
                writeln!(formatter, "{name}: {value}")?;
            }
        }
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(body) => write!(formatter, "{}", redacted(&body)),
            Err(_) => write!(formatter, "{}", self.text()),
        }
    }
}
