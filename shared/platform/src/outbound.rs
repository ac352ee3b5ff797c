//! HTTP to outside services: every call has limits, a size cap where it is read whole, and one log line.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures::future::{Either, select};
use futures::{FutureExt, StreamExt};
use http::{HeaderMap, StatusCode};

use crate::context::RequestContext;
use crate::log::{Level, milliseconds};
use crate::runtime::{self, CallLimits, IncomingBody, SendFailure};

pub use crate::runtime::{CallLimits as Limits, SendFailure as OutboundError};

/// A response from outside. Dropping it closes the connection and writes the call's log line.
pub struct OutboundResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    body: IncomingBody,
    log: CallLog,
}

/// What is known of a call so far; written when it ends, however it ends.
struct CallLog {
    context: RequestContext,
    service: &'static str,
    started: Instant,
    first_byte: Option<Duration>,
    status: Option<StatusCode>,
    bytes: u64,
    failure: Option<String>,
}

/// Sends a request to `service` (the name is for the log).
///
/// # Errors
///
/// If no response's head came within the limits.
pub async fn send(
    context: &RequestContext,
    service: &'static str,
    mut request: http::Request<Bytes>,
    limits: CallLimits,
) -> Result<OutboundResponse, SendFailure> {
    if let Ok(traceparent) = context.traceparent().parse() {
        request.headers_mut().insert("traceparent", traceparent);
    }
    let mut log = CallLog {
        context: context.clone(),
        service,
        started: Instant::now(),
        first_byte: None,
        status: None,
        bytes: 0,
        failure: None,
    };

    match runtime::send(request, limits).await {
        Ok(response) => {
            let (parts, body) = response.into_parts();
            log.first_byte = Some(log.started.elapsed());
            log.status = Some(parts.status);
            Ok(OutboundResponse {
                status: parts.status,
                headers: parts.headers,
                body,
                log,
            })
        }
        Err(failure) => {
            log.failure = Some(failure.to_string());
            Err(failure)
        }
    }
}

impl OutboundResponse {
    /// The next chunk of the body; `None` at its end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, SendFailure>> {
        let chunk = self.body.next().await;
        match &chunk {
            Some(Ok(bytes)) => self.log.bytes += bytes.len() as u64,
            Some(Err(failure)) => self.log.failure = Some(failure.to_string()),
            None => {}
        }
        chunk
    }

    /// The whole body, if it is no longer than `limit` bytes.
    ///
    /// # Errors
    ///
    /// If it is longer, or breaks off.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, SendFailure> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await {
            let chunk = chunk?;
            if body.len() + chunk.len() > limit {
                self.log.failure = Some("body too large".to_owned());
                return Err(SendFailure::Broken(format!("the body is larger than {limit} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

impl Drop for CallLog {
    fn drop(&mut self) {
        let level = if self.failure.is_some() {
            Level::Warn
        } else {
            Level::Info
        };
        self.context
            .line(level, "outbound")
            .with("service", self.service)
            .with_some("status", self.status.map(|status| status.as_u16()))
            .with_some("first_byte_ms", self.first_byte.map(milliseconds))
            .with("ms", milliseconds(self.started.elapsed()))
            .with("bytes", self.bytes)
            .with_some("cause", self.failure.take())
            .emit();
    }
}

/// Runs `work` for at most `limit`; `None` if it takes longer, and then it is dropped.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let work = std::pin::pin!(work.fuse());
    let timer = std::pin::pin!(runtime::sleep(limit).fuse());
    match select(work, timer).await {
        Either::Left((result, _)) => Some(result),
        Either::Right(_) => None,
    }
}
