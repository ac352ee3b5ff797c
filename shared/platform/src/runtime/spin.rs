//! The seam in a component: Spin's interfaces.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use http_body_util::{BodyExt, Full};
use spin_sdk::pg::{Connection, DbValue, Error, ParameterValue, PgError, QueryError};
use spin_sdk::wasip3::http::types::{ErrorCode, RequestOptions};
use spin_sdk::wasip3::http_compat::RequestOptionsExtension;

use super::{CallLimits, DatabaseError, IncomingBody, QueryFailure, SendFailure};

pub(crate) async fn variable(name: &str) -> Result<Option<String>, String> {
    match spin_sdk::variables::get(name).await {
        Ok(value) => Ok(Some(value)),
        Err(spin_sdk::variables::Error::Undefined(_)) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// Runs a statement whose two parameters are text and whose one row has one column of text.
pub(crate) async fn query(url: &str, statement: &str, parameters: [String; 2]) -> Result<String, QueryFailure> {
    #[expect(clippy::disallowed_methods, reason = "this is where platform opens connections")]
    let connection = Connection::open(url).await.map_err(failure)?;
    let parameters: Vec<ParameterValue> = parameters.into_iter().map(ParameterValue::Str).collect();
    let mut answer = connection.query(statement, parameters).await.map_err(failure)?;
    let mut first = None;
    while let Some(row) = answer.rows().next().await {
        first = first.or_else(|| row.into_iter().next());
    }
    answer.result().await.map_err(failure)?;

    match first {
        Some(DbValue::Str(text)) => Ok(text),
        Some(DbValue::DbNull) => Ok("null".to_owned()),
        Some(_) => Err(QueryFailure::Unreadable("the result is not text".to_owned())),
        None => Err(QueryFailure::Unreadable("there is no result".to_owned())),
    }
}

fn failure(error: Error) -> QueryFailure {
    match error {
        Error::PgError(PgError::QueryFailed(QueryError::DbError(error))) => {
            let mut failure = DatabaseError {
                code: error.code,
                message: error.message,
                detail: error.detail,
                ..DatabaseError::default()
            };
            for (name, value) in error.extras {
                match name.as_str() {
                    "hint" => failure.hint = Some(value),
                    "constraint" => failure.constraint = Some(value),
                    _ => {}
                }
            }
            QueryFailure::Database(failure)
        }
        Error::PgError(PgError::ConnectionFailed(cause) | PgError::QueryFailed(QueryError::Text(cause))) => {
            QueryFailure::Unreachable(cause)
        }
        other => QueryFailure::Unreadable(other.to_string()),
    }
}

pub(crate) async fn send(
    request: http::Request<Bytes>,
    limits: CallLimits,
) -> Result<http::Response<IncomingBody>, SendFailure> {
    let options = RequestOptions::new();
    let nanoseconds = |limit: Duration| u64::try_from(limit.as_nanos()).ok();
    options
        .set_connect_timeout(nanoseconds(limits.connect))
        .and(options.set_first_byte_timeout(nanoseconds(limits.first_byte)))
        .and(options.set_between_bytes_timeout(nanoseconds(limits.between_bytes)))
        .map_err(|error| SendFailure::Denied(format!("{error:?}")))?;
    let mut request = request.map(Full::new);
    request.extensions_mut().insert(RequestOptionsExtension(options));

    let response = nudged(spin_sdk::http::send(request)).await.map_err(send_failure)?;

    Ok(response.map(|body| {
        let chunks = body.into_data_stream().map(|chunk| chunk.map_err(send_failure));
        Box::pin(chunks) as IncomingBody
    }))
}

/// Asks to be polled again after the first poll of `work`: wit-bindgen 0.57 polls what that spawned, here the writer of the request's
/// body, only on the next event, and where everything else waits for the response there is none.
async fn nudged<T>(work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    let mut is_first = true;
    poll_fn(|context| {
        let poll = work.as_mut().poll(context);
        if std::mem::take(&mut is_first) {
            context.waker().wake_by_ref();
        }
        poll
    })
    .await
}

fn send_failure(code: ErrorCode) -> SendFailure {
    match code {
        ErrorCode::ConnectionTimeout | ErrorCode::ConnectionReadTimeout | ErrorCode::HttpResponseTimeout => {
            SendFailure::TimedOut
        }
        ErrorCode::HttpRequestDenied | ErrorCode::HttpRequestUriInvalid => SendFailure::Denied(code.to_string()),
        other => SendFailure::Broken(other.to_string()),
    }
}

/// Waits.
pub async fn sleep(duration: Duration) {
    spin_sdk::time::sleep(duration).await;
}

/// Lets a future run beside the response that is being sent. It is dropped with the instance soon after that response ends.
pub fn spawn(work: impl Future<Output = ()> + 'static) {
    spin_sdk::wasip3::spawn(work);
}

#[expect(clippy::disallowed_methods, reason = "this is where the edge reads the clock")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}
