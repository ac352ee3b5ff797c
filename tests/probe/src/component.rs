//! The routes.

mod database;
mod outbound;

use bytes::Bytes;
use futures::SinkExt;
use http::{Method, StatusCode};
use serde_json::{Value, json};
use spin_sdk::http::{BoxBody, FullBody, Request, Response, body, body::IncomingBodyExt, box_body};
use spin_sdk::{http_service, variables};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a route answers.
pub(crate) type Answer = http::Response<BoxBody>;

/// A random number that tells one instance from another.
static INSTANCE: OnceLock<u64> = OnceLock::new();

/// How many requests this instance has begun.
static REQUESTS: AtomicU64 = AtomicU64::new(0);

/// Answers one request.
#[http_service]
async fn handle(request: Request) -> Answer {
    REQUESTS.fetch_add(1, Ordering::Relaxed);
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();

    match (method, path.trim_start_matches("/probe")) {
        (_, "/echo") => echo(request).await,
        (_, "/stream-echo") => stream_echo(request),
        (_, "/headers") => headers(&request),
        (_, "/environment") => environment(),
        (_, "/instance") => instance(),
        (_, "/trap") => trap(&query).await,
        (_, "/spin") => spin(&query),
        (_, "/sleep") => sleep(&query).await,
        (_, "/log") => log(&query).await,
        (_, "/stream") => stream(&query),
        (_, "/outbound") => outbound::call(request, &query).await,
        (_, "/relay") => outbound::relay(&query).await,
        (_, "/abandon") => outbound::abandon(&query).await,
        (Method::POST, "/query") => database::query(request).await,
        (Method::POST, "/begin-and-return") => database::begin(request, false).await,
        (Method::POST, "/begin-and-trap") => database::begin(request, true).await,
        (Method::POST, "/after-response") => database::after_response(request, &query).await,
        (_, "/in-transaction") => database::in_transaction().await,
        (_, path) => match path.strip_prefix("/variables/") {
            Some(name) => variable(name).await,
            None => json_answer(StatusCode::NOT_FOUND, &json!({ "unknown": path })),
        },
    }
}

/// The value of `name=` in a query string, as it stands.
pub(crate) fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

/// The number in `name=`, or a default.
pub(crate) fn number(query: &str, name: &str, default: u64) -> u64 {
    parameter(query, name)
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// A JSON answer with its length.
pub(crate) fn json_answer(status: StatusCode, value: &Value) -> Answer {
    whole(status, "application/json", Bytes::from(value.to_string()))
}

/// Reads a request's body as JSON.
pub(crate) async fn json_body(request: Request) -> Value {
    let bytes = request.into_body().bytes().await.unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}

fn whole(status: StatusCode, content_type: &str, bytes: Bytes) -> Answer {
    let length = bytes.len();
    let mut answer = Response::new(box_body(FullBody::new(bytes)));
    *answer.status_mut() = status;
    if let Ok(value) = content_type.parse() {
        answer.headers_mut().insert(http::header::CONTENT_TYPE, value);
    }
    answer.headers_mut().insert(http::header::CONTENT_LENGTH, length.into());
    answer
}

async fn echo(request: Request) -> Answer {
    let bytes = request.into_body().bytes().await.unwrap_or_default();
    whole(StatusCode::OK, "application/octet-stream", bytes)
}

/// Sends each piece of the request's body back as it comes.
fn stream_echo(request: Request) -> Answer {
    use futures::StreamExt;

    let mut incoming = request.into_body().stream();
    let (mut out, body) = body::stream::<Bytes>();
    spin_sdk::wasip3::spawn(async move {
        while let Some(Ok(chunk)) = incoming.next().await {
            if out.send(chunk).await.is_err() {
                break;
            }
        }
    });
    Response::new(box_body(body))
}

fn headers(request: &Request) -> Answer {
    let headers: Vec<_> = request
        .headers()
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    json_answer(
        StatusCode::OK,
        &json!({ "uri": request.uri().to_string(), "headers": headers }),
    )
}

fn environment() -> Answer {
    let variables: Vec<_> = std::env::vars().map(|(name, value)| json!([name, value])).collect();
    let arguments: Vec<_> = std::env::args().collect();
    let socket = std::net::TcpStream::connect("127.0.0.1:9").map_err(|error| error.kind().to_string());
    let file = std::fs::read("/etc/hostname").map_err(|error| error.kind().to_string());
    json_answer(
        StatusCode::OK,
        &json!({
            "variables": variables,
            "arguments": arguments,
            "socket": socket.err(),
            "file": file.err(),
        }),
    )
}

fn instance() -> Answer {
    let id = INSTANCE.get_or_init(spin_sdk::wasip3::random::random::get_random_u64);
    json_answer(
        StatusCode::OK,
        &json!({ "instance": format!("{id:016x}"), "requests": REQUESTS.load(Ordering::Relaxed) }),
    )
}

/// Traps, after `ms` milliseconds.
#[expect(clippy::panic, reason = "trapping is what this route is for")]
async fn trap(query: &str) -> Answer {
    spin_sdk::time::sleep(Duration::from_millis(number(query, "ms", 0))).await;
    panic!("trapped on request")
}

/// Computes without ever yielding for about `ms` milliseconds, or for ever.
fn spin(query: &str) -> Answer {
    let deadline =
        parameter(query, "ms").map(|_| std::time::Instant::now() + Duration::from_millis(number(query, "ms", 0)));
    let mut turns = 0_u64;
    while deadline.is_none_or(|deadline| std::time::Instant::now() < deadline) {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
    json_answer(StatusCode::OK, &json!({ "turns": turns }))
}

async fn sleep(query: &str) -> Answer {
    spin_sdk::time::sleep(Duration::from_millis(number(query, "ms", 0))).await;
    instance()
}

/// Writes `lines` lines to stdout and as many to stderr, after `ms` milliseconds.
#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "writing to the log is what this route is for"
)]
async fn log(query: &str) -> Answer {
    spin_sdk::time::sleep(Duration::from_millis(number(query, "ms", 0))).await;
    let text = parameter(query, "text").unwrap_or("line");
    for index in 0..number(query, "lines", 1) {
        println!("{text} {index}");
        eprint!("{text} ");
        eprintln!("error {index}");
    }
    json_answer(StatusCode::OK, &Value::Null)
}

/// Sends `chunks` chunks, `ms` milliseconds apart; once the client has left, logs it.
#[expect(clippy::print_stdout, reason = "the log is what outlives the client")]
fn stream(query: &str) -> Answer {
    let chunks = number(query, "chunks", 3);
    let pause = Duration::from_millis(number(query, "ms", 0));
    let (mut out, body) = body::stream::<Bytes>();
    spin_sdk::wasip3::spawn(async move {
        for index in 0..chunks {
            if out.send(Bytes::from(format!("chunk {index}\n"))).await.is_err() {
                println!("client left at chunk {index}");
                return;
            }
            spin_sdk::time::sleep(pause).await;
        }
        println!("stream finished");
    });
    Response::new(box_body(body))
}

async fn variable(name: &str) -> Answer {
    match variables::get(name).await {
        Ok(value) => json_answer(StatusCode::OK, &json!({ "value": value })),
        Err(error) => {
            let (kind, text) = match error {
                variables::Error::InvalidName(text) => ("invalid_name", text),
                variables::Error::Undefined(text) => ("undefined", text),
                variables::Error::Provider(text) => ("provider", text),
                variables::Error::Other(text) => ("other", text),
            };
            json_answer(StatusCode::OK, &json!({ "error": kind, "text": text }))
        }
    }
}
