//! `POST /functions/v1/chat`: says something, and has an agent answer.

mod request;

use agentopia_platform::caller;
use agentopia_platform::db::chat::{self, BeginTurn, BegunTurn, Idempotency, PostMessage, PostedMessage, RateLimit};
use agentopia_platform::db::rate_limit_headers;
use agentopia_platform::error::Kind;
use agentopia_platform::extract::Json;
use agentopia_platform::idempotency::{IdempotencyKey, replayed, request_hash};
use agentopia_platform::sse::{self, EventSender};
use agentopia_platform::{ApiError, RequestContext};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures::future::{Either, select};
use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

pub(crate) use self::request::AgentMessage;
use self::request::{ChannelMessage, SendMessageRequest, Wanted};
use crate::app::App;
use crate::response::{StartedEvent, saved_message};
use crate::turn::{Listener, Turn};

/// How long a client's stream may be silent.
const PING_AFTER: std::time::Duration = std::time::Duration::from_secs(5);
/// A request that has not finished this long after its deadline is dead, and another may take its turn over.
const LEASE_SLACK_SECONDS: u64 = 30;
/// The most messages of history that are read, whatever a workspace asks for.
const HISTORY_LIMIT: u32 = 200;

/// Stores the user's message and, if an agent is named, answers with that agent's reply: as JSON, or as events if the client accepts them.
pub(crate) async fn send_message(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    IdempotencyKey(key): IdempotencyKey,
    headers: HeaderMap,
    Json(request): Json<SendMessageRequest>,
) -> Result<Response, ApiError> {
    let idempotency = Idempotency {
        key,
        request_hash: Some(request_hash(&request)),
        lease_seconds: app.deadline.as_secs() + LEASE_SLACK_SECONDS,
    };

    match request.parse()? {
        Wanted::Reply(message) => reply(app, context, user, message, idempotency, accepts_events(&headers)).await,
        Wanted::Storage(message) => store(&app, &context, &user, &message, idempotency).await,
    }
}

async fn store(
    app: &App,
    context: &RequestContext,
    user: &caller::User,
    message: &ChannelMessage,
    idempotency: Idempotency,
) -> Result<Response, ApiError> {
    let input = PostMessage {
        channel_id: message.channel_id,
        workspace_id: message.workspace_id,
        message: message.text.as_str(),
        user_per_minute: app.limits.user_per_minute,
        user_burst: app.limits.user_burst,
        idempotency,
    };
    let posted = chat::post_message(&app.db, context, &user.caller, &input).await?;

    match posted {
        PostedMessage::Stored { message, rate_limit } => {
            let mut response = Json(saved_message(&message)).into_response();
            show_rate_limit(&mut response, &rate_limit);
            Ok(response)
        }
        PostedMessage::Replayed { message } => Ok(replayed(Json(saved_message(&message)).into_response())),
    }
}

async fn reply(
    app: App,
    context: RequestContext,
    user: caller::User,
    message: AgentMessage,
    idempotency: Idempotency,
    as_events: bool,
) -> Result<Response, ApiError> {
    let input = BeginTurn {
        agent_id: message.agent_id,
        channel_id: message.channel_id,
        workspace_id: message.workspace_id,
        outside: message.outside.clone(),
        message: message.text.as_str(),
        history_limit: HISTORY_LIMIT,
        limits: app.limits,
        idempotency,
    };
    let begun = chat::begin_turn(&app.db, &context, &user.caller, &input).await?;

    let started = match begun {
        BegunTurn::Replayed { response } => return Ok(replay(&context, response, as_events).await),
        BegunTurn::Started(started) => *started,
    };
    let rate_limit = started.rate_limit;
    let turn = Turn::new(app, context.clone(), user.caller, started, &message);
    let mut response = if as_events {
        let (events, response) = sse::channel(&context);
        agentopia_platform::spawn(stream(turn, context, events));
        response
    } else {
        Json(turn.run(&mut Silence).await?).into_response()
    };
    show_rate_limit(&mut response, &rate_limit);
    Ok(response)
}

/// Runs a turn for a client that listens to events. The client may leave; the turn goes on.
async fn stream(turn: Turn, context: RequestContext, mut events: EventSender) {
    events.send("started", &StartedEvent::from(&turn)).await;
    let outcome = turn.run(&mut Events(&mut events)).await;
    match outcome {
        Ok(response) if response.get("partial") == Some(&Value::Bool(true)) => {
            let error = ApiError::new(
                Kind::BadGateway,
                "reply_interrupted",
                "The reply was interrupted. What arrived is stored.",
            );
            events.note_failure(error.status().as_u16());
            events
                .send("error", &error_event(&error, &context, Some(&response)))
                .await;
        }
        Ok(response) => events.send("completed", &response).await,
        Err(error) => {
            events.note_failure(error.status().as_u16());
            events.send("error", &error_event(&error, &context, None)).await;
        }
    }
}

/// The envelope, with the status that a plain response would have had and what is stored all the same.
fn error_event(error: &ApiError, context: &RequestContext, stored: Option<&Value>) -> Value {
    let mut event = error.envelope(context.request_id());
    if let Some(fields) = event.as_object_mut() {
        fields.insert("status".to_owned(), error.status().as_u16().into());
        if let Some(seconds) = error.retry_after_seconds() {
            fields.insert("retryAfter".to_owned(), seconds.into());
        }
        if let Some(response) = stored {
            fields.insert("response".to_owned(), response.clone());
        }
    }
    event
}

/// The answer that the same request got before, in the form that is asked for now.
async fn replay(context: &RequestContext, stored: Value, as_events: bool) -> Response {
    let response = if as_events {
        let (mut events, response) = sse::channel(context);
        if let Some(text) = stored.get("reply").and_then(Value::as_str) {
            events.send("delta", &json!({ "text": text })).await;
        }
        events.send("completed", &stored).await;
        response
    } else {
        Json(stored).into_response()
    };
    replayed(response)
}

/// Nobody listens while the answer comes.
struct Silence;

impl Listener for Silence {
    async fn hears(&mut self, _text: &str) {}

    async fn waits_for<T: Send>(&mut self, work: impl Future<Output = T> + Send) -> T {
        work.await
    }
}

/// A client listens to events.
struct Events<'a>(&'a mut EventSender);

impl Listener for Events<'_> {
    async fn hears(&mut self, text: &str) {
        self.0.send("delta", &json!({ "text": text })).await;
    }

    async fn waits_for<T: Send>(&mut self, work: impl Future<Output = T> + Send) -> T {
        let mut work = Box::pin(work);
        loop {
            match select(work, Box::pin(agentopia_platform::sleep(PING_AFTER))).await {
                Either::Left((done, _)) => return done,
                Either::Right((_, unfinished)) => {
                    work = unfinished;
                    self.0.ping().await;
                }
            }
        }
    }
}

fn accepts_events(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value.split(',').any(|range| {
                range
                    .split(';')
                    .next()
                    .is_some_and(|essence| essence.trim().eq_ignore_ascii_case("text/event-stream"))
            })
        })
}

fn show_rate_limit(response: &mut Response, rate_limit: &RateLimit) {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates"
    )]
    let reset = rate_limit.reset_seconds.ceil() as u64;
    for (name, value) in rate_limit_headers("user", rate_limit.limit, rate_limit.remaining, reset) {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_sent_to_those_who_accept_them() {
        let cases = [
            ("text/event-stream", true),
            ("application/json, Text/Event-Stream;q=0.9", true),
            ("*/*", false),
            ("application/json", false),
            ("text/event-streams", false),
        ];

        for (accept, expected) in cases {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(accepts_events(&headers), expected, "{accept}");
        }
    }
}
