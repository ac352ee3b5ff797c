//! Server-Sent Events, read one by one as they come.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::redaction::redacted;
use crate::waiting::DEADLINE;

/// An answer that is a stream of events. Dropped, the connection is closed.
#[derive(Debug)]
pub struct Events {
    response: reqwest::Response,
    unread: String,
}

/// What comes on a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A typed event with its data.
    Typed(String, Value),
    /// A comment, which keeps the connection alive.
    Comment(String),
}

impl Event {
    /// The type; `:` for a comment.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Typed(kind, _) => kind,
            Self::Comment(_) => ":",
        }
    }

    /// The data; null for a comment.
    #[must_use]
    pub fn data(&self) -> &Value {
        match self {
            Self::Typed(_, data) => data,
            Self::Comment(_) => &Value::Null,
        }
    }

    /// The data without what differs from run to run.
    #[must_use]
    pub fn redacted(&self) -> Value {
        redacted(self.data())
    }
}

impl Events {
    pub(crate) fn new(response: reqwest::Response) -> Self {
        Self {
            response,
            unread: String::new(),
        }
    }

    /// The status, with its reason.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The request's id.
    #[must_use]
    pub fn request_id(&self) -> String {
        self.headers().get("x-request-id").unwrap().to_str().unwrap().to_owned()
    }

    /// The next event or comment; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        self.next_within(DEADLINE).await
    }

    /// The next event of a type, comments and other types passed over.
    pub async fn next_of(&mut self, kind: &str) -> Event {
        loop {
            let event = self
                .next()
                .await
                .unwrap_or_else(|| panic!("the stream ended without {kind}"));
            if event.kind() == kind {
                return event;
            }
        }
    }

    /// All typed events until the end of the stream.
    pub async fn rest(mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            if matches!(event, Event::Typed(..)) {
                events.push(event);
            }
        }
        events
    }

    async fn next_within(&mut self, deadline: Duration) -> Option<Event> {
        loop {
            if let Some((event, rest)) = self.unread.split_once("\n\n") {
                let event = parse(event);
                self.unread = rest.to_owned();
                return Some(event);
            }
            let chunk = tokio::time::timeout(deadline, self.response.chunk()).await;
            match chunk.expect("an event in time").unwrap() {
                Some(bytes) => self.unread.push_str(std::str::from_utf8(&bytes).unwrap()),
                None => {
                    assert_eq!(self.unread, "", "the stream ends with an event");
                    return None;
                }
            }
        }
    }
}

/// Reads an event of exactly the form that platform writes; anything else is a fault.
fn parse(event: &str) -> Event {
    if let Some(comment) = event.strip_prefix(": ") {
        return Event::Comment(comment.to_owned());
    }
    let typed = event
        .strip_prefix("event: ")
        .and_then(|rest| rest.split_once("\ndata: "));
    let (kind, data) = typed.unwrap_or_else(|| panic!("not a typed event: {event:?}"));
    let data = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
    Event::Typed(kind.to_owned(), data)
}
