//! OpenAI's API, as far as this application speaks it: chat completions, embeddings, models.
//!
//! Replies are computed from the request: text echoes the last message of the user, `call:<tool> {…}` in that message
//! calls the tool with these arguments, usage counts the words. Requests are checked as OpenAI checks them, against
//! the [API reference](https://platform.openai.com/docs/api-reference/chat) and what the service is known to answer. A
//! model named after a [fault] behaves badly in that way, so that a test chooses a fault by an agent's row.

mod chat;
mod embeddings;
pub mod fault;
mod models;
mod refusal;
mod stream;
mod text;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::Value;

use super::server::Server;
use crate::StackError;
use chat::ChatRequest;
use fault::Fault;
use refusal::Refusal;

/// What a reply begins with if the world is to be told from the real service.
pub const ANNOUNCEMENT: &str = "[stand-in for OpenAI: no OPENAI_API_KEY is set]";

/// The header that asks for a fault whatever the model.
pub const FAULT_HEADER: &str = "x-stand-in-fault";

/// The record keeps this many requests, the newest.
const RECORD_LIMIT: usize = 20_000;

/// OpenAI takes larger bodies too; ours never sends one.
const BODY_LIMIT_BYTES: usize = 32 * 1024 * 1024;

/// How the world behaves with every request.
#[derive(Debug, Clone)]
pub struct OpenAiOptions {
    /// Whether replies say that they are a stand-in's.
    pub announce: bool,
    /// The only key that is accepted; without it any key is, except `invalid`.
    pub api_key: Option<String>,
    /// The time before each delta of a stream. A whole reply takes as long as its deltas would.
    pub delta_interval: Duration,
    /// As `delta_interval`, for the model `stand-in-slow`.
    pub slow_interval: Duration,
    /// Replies of exactly so many deltas, whatever was asked.
    pub reply_deltas: Option<usize>,
}

impl Default for OpenAiOptions {
    fn default() -> Self {
        Self {
            announce: false,
            api_key: None,
            delta_interval: Duration::ZERO,
            slow_interval: Duration::from_millis(50),
            reply_deltas: None,
        }
    }
}

/// A request that the world received.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The method, such as `POST`.
    pub method: String,
    /// The path and query.
    pub path: String,
    /// The headers by lower-case name, without `authorization`.
    pub headers: Vec<(String, String)>,
    /// Whether it carried a key that is accepted.
    pub is_authorized: bool,
    /// The body; null if it was empty or no JSON.
    pub body: Value,
}

impl Received {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value.as_str())
    }

    /// The messages of a chat completion, each as its role and its text.
    pub fn messages(&self) -> Vec<(String, String)> {
        let messages = self.body.get("messages").and_then(Value::as_array);
        messages
            .into_iter()
            .flatten()
            .map(|message| (text::string(message.get("role")), text::content(message.get("content"))))
            .collect()
    }
}

/// A stand-in for OpenAI.
#[derive(Debug)]
pub struct OpenAiWorld {
    server: Server,
    state: Arc<Shared>,
}

impl OpenAiWorld {
    /// Starts a world with nothing in its record.
    pub async fn start(options: OpenAiOptions) -> Result<Self, StackError> {
        let state = Arc::new(Shared {
            options,
            ..Shared::default()
        });
        let router = Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&state));
        Ok(Self {
            server: Server::start("openai", router).await?,
            state,
        })
    }

    /// The base of the API, such as `http://127.0.0.1:4000/v1`.
    pub fn url(&self) -> String {
        format!("{}/v1", self.origin())
    }

    /// The origin, without the path.
    pub fn origin(&self) -> String {
        self.server.origin()
    }

    /// What was received, oldest first.
    pub fn received(&self) -> Vec<Received> {
        self.state.received().iter().cloned().collect()
    }

    /// What was received with `text` anywhere in the body: a test that shares the world finds its own by a text of its
    /// own.
    pub fn received_with(&self, text: &str) -> Vec<Received> {
        self.state
            .received()
            .iter()
            .filter(|request| request.body.to_string().contains(text))
            .cloned()
            .collect()
    }

    /// Requests that a correct client does not make: unknown paths, malformed or unsupported bodies.
    pub fn complaints(&self) -> Vec<String> {
        self.state.complaints().clone()
    }

    /// Ends the world; connections to it are refused from then on.
    pub async fn stop(self) {
        drop(self);
    }
}

/// What the handlers see.
#[derive(Debug, Default)]
struct Shared {
    options: OpenAiOptions,
    received: Mutex<VecDeque<Received>>,
    complaints: Mutex<Vec<String>>,
    /// How often each fault has struck each conversation.
    strikes: Mutex<HashMap<(Fault, String), u32>>,
    requests: AtomicU64,
}

impl Shared {
    fn received(&self) -> MutexGuard<'_, VecDeque<Received>> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complaints(&self) -> MutexGuard<'_, Vec<String>> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the key is accepted.
    fn authorize(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let value = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let key = value.strip_prefix("Bearer ").unwrap_or_default().trim();
        match &self.options.api_key {
            _ if key.is_empty() => Err(Refusal::no_key()),
            Some(expected) if expected != key => Err(Refusal::wrong_key(key)),
            None if key == "invalid" => Err(Refusal::wrong_key(key)),
            _ => Ok(()),
        }
    }

    /// Keeps a request in the record.
    fn record(&self, received: Received) {
        let mut record = self.received();
        if record.len() == RECORD_LIMIT {
            record.pop_front();
        }
        record.push_back(received);
    }

    /// Whether a fault that strikes the first few requests of a conversation strikes this one.
    fn strikes(&self, fault: Fault, conversation: &str, limit: u32) -> bool {
        let mut strikes = self.strikes.lock().unwrap_or_else(PoisonError::into_inner);
        let count = strikes.entry((fault, conversation.to_owned())).or_default();
        *count += 1;
        *count <= limit
    }
}

/// Answers any request.
async fn answer(State(state): State<Arc<Shared>>, request: Request) -> Response {
    let number = state.requests.fetch_add(1, Ordering::Relaxed) + 1;
    let (parts, body) = request.into_parts();
    let body = match axum::body::to_bytes(body, BODY_LIMIT_BYTES).await {
        Ok(body) => body,
        Err(error) => {
            tracing::debug!(%error, "a request to the stand-in broke off");
            return StatusCode::BAD_REQUEST.into_response();
        }
    };
    let authorized = state.authorize(&parts.headers);
    state.record(Received {
        method: parts.method.to_string(),
        path: parts.uri.to_string(),
        headers: shown(&parts.headers),
        is_authorized: authorized.is_ok(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });

    let answered = match authorized {
        Ok(()) => route(&state, &parts.method, parts.uri.path(), &parts.headers, &body, number).await,
        Err(refusal) => Err(refusal),
    };
    let mut response = answered.unwrap_or_else(|refusal| {
        if refusal.is_complaint {
            state
                .complaints()
                .push(format!("{} {}: {}", parts.method, parts.uri.path(), refusal.message));
        }
        refusal.into_response()
    });
    if let Ok(id) = HeaderValue::from_str(&format!("req_stand_in_{number}")) {
        response.headers_mut().insert("x-request-id", id);
    }
    response
}

/// Finds what a path means.
async fn route(
    state: &Shared,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &Bytes,
    number: u64,
) -> Result<Response, Refusal> {
    match (method.as_str(), path) {
        ("POST", "/v1/chat/completions") => complete(state, headers, body, number).await,
        ("POST", "/v1/embeddings") => embeddings::embed(&parse(body)?),
        ("GET", "/v1/models") => Ok(models::list()),
        ("GET", _) if path.starts_with("/v1/models/") => {
            let name = path.trim_start_matches("/v1/models/");
            models::PLAIN
                .iter()
                .find(|model| model.name == name)
                .map(models::show)
                .ok_or_else(|| Refusal::no_model(name))
        }
        (_, "/v1/chat/completions" | "/v1/embeddings" | "/v1/models") => Err(Refusal::method(method, path)),
        _ => Err(Refusal::path(method, path)),
    }
}

/// `POST /v1/chat/completions`
async fn complete(state: &Shared, headers: &HeaderMap, body: &Bytes, number: u64) -> Result<Response, Refusal> {
    let body = parse(body)?;
    let (model, by_model) = models::find(&body)?;
    let fault = match headers
        .get(FAULT_HEADER)
        .map(|value| value.to_str().unwrap_or_default())
    {
        Some(name) => Some(Fault::parse(name).ok_or_else(|| Refusal::unknown_fault(name))?),
        None => by_model,
    };
    let request = ChatRequest::parse(&body, model)?;

    if let Some(fault) = fault {
        if let Some((limit, refusal)) = fault.refusal(&request) {
            let conversation = format!("{}\n{}", request.model, request.question);
            if limit.is_none_or(|limit| state.strikes(fault, &conversation, limit)) {
                return Err(refusal);
            }
        }
        if fault == Fault::Stall {
            std::future::pending::<()>().await;
        }
    }
    let reply = request.reply(&state.options, fault);
    Ok(stream::respond(&request, reply, &state.options, fault, number))
}

/// Reads a JSON object.
fn parse(body: &[u8]) -> Result<Value, Refusal> {
    serde_json::from_slice::<Value>(body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(Refusal::not_json)
}

/// The headers for the record.
fn shown(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| *name != header::AUTHORIZATION)
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect()
}

/// A JSON answer.
fn json(status: StatusCode, body: &Value) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        Body::from(body.to_string()),
    )
        .into_response()
}

/// The time of an answer, in seconds since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "a stand-in for a service that has a clock of its own"
)]
fn now() -> i64 {
    chrono::Utc::now().timestamp()
}
