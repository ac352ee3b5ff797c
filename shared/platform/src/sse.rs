//! Server-Sent Events to a client (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::SinkExt;
use futures::StreamExt;
use futures::channel::mpsc;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http_body::Frame;
use http_body_util::StreamBody;
use serde::Serialize;

use crate::context::RequestContext;

/// How many events may wait for a slow client before the sender waits too.
const QUEUE: usize = 64;

/// Marks a response whose request is not over when its head is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streaming;

/// The sending end of a stream of events. Dropping it ends the stream and writes the request's log line.
#[derive(Debug)]
pub struct EventSender {
    context: RequestContext,
    events: mpsc::Sender<Bytes>,
    client_left: bool,
    status: u16,
}

/// A stream of events: the end to send on, and the response to return.
#[must_use]
pub fn channel(context: &RequestContext) -> (EventSender, Response) {
    let (events, queue) = mpsc::channel(QUEUE);
    let body = StreamBody::new(queue.map(|event| Ok::<_, std::convert::Infallible>(Frame::data(event))));

    let mut response = Body::new(body).into_response();
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // Nginx would collect the stream otherwise.
    response
        .headers_mut()
        .insert("x-accel-buffering", HeaderValue::from_static("no"));
    response.extensions_mut().insert(Streaming);

    (
        EventSender {
            context: context.clone(),
            events,
            client_left: false,
            status: 200,
        },
        response,
    )
}

impl EventSender {
    /// Sends a typed event whose data is one line of JSON. A client that has left is not an error: what is done for it goes on.
    pub async fn send(&mut self, event: &str, data: &impl Serialize) {
        let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
        self.write(format!("event: {event}\ndata: {data}\n\n")).await;
    }

    /// Sends a comment, which keeps proxies and clients from giving up on a silent stream.
    pub async fn ping(&mut self) {
        self.write(": ping\n\n".to_owned()).await;
    }

    /// Notes for the log that the stream, though its status was 200, carried an error of this status.
    pub fn note_failure(&mut self, status: u16) {
        self.status = status;
    }

    async fn write(&mut self, frame: String) {
        if !self.client_left {
            self.client_left = self.events.send(frame.into()).await.is_err();
        }
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.context.log_stream(self.status, self.client_left);
    }
}
