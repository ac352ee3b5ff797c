//! The answer to a message, whoever brings it: the turn is begun as their right demands, and from then on it is one and the same.

use agentopia_platform::caller::{User, Worker};
use agentopia_platform::db::chat::{self, BeginTurn, BegunTurn, Idempotency, InteractionProof, RateLimit};
use agentopia_platform::db::{Caller, OperationError, rate_limit_headers};
use agentopia_platform::error::Kind;
use agentopia_platform::extract::Json;
use agentopia_platform::idempotency::{replayed, request_hash};
use agentopia_platform::sse::{self, EventSender};
use agentopia_platform::{ApiError, RequestContext};
use axum::response::{IntoResponse, Response};
use futures::future::{Either, select};
use http::HeaderValue;
use serde::Serialize;
use serde_json::{Value, json};

use crate::app::App;
use crate::message::AgentMessage;
use crate::response::StartedEvent;
use crate::turn::{Listener, Turn};

/// How long a client's stream may be silent.
const PING_AFTER: std::time::Duration = std::time::Duration::from_secs(5);
/// A request that has not finished this long after its deadline is dead, and another may take its turn over.
const LEASE_SLACK_SECONDS: u64 = 30;
/// The most messages of history that are read, whatever a workspace asks for.
const HISTORY_LIMIT: u32 = 200;

/// Who has the right to a turn.
pub(crate) enum Asker<'a> {
    /// A person who signed up: their own.
    User(User),
    /// The worker of an agent's bot: the agent owner's.
    Worker(Worker),
    /// An interaction that was verified: the agent owner's.
    Interaction(InteractionProof<'a>),
}

impl Asker<'_> {
    /// Begins the turn. Returns who may finish it beside.
    async fn begin(
        self,
        app: &App,
        context: &RequestContext,
        input: &BeginTurn<'_>,
    ) -> Result<(BegunTurn, Caller), OperationError> {
        match self {
            Self::User(user) => {
                let begun = chat::begin_turn(&app.db, context, &user.caller, input).await?;
                Ok((begun, user.caller))
            }
            Self::Worker(worker) => chat::begin_worker_turn(&app.db, context, &worker.token_hash, input).await,
            Self::Interaction(proof) => chat::begin_interaction_turn(&app.db, context, &proof, input).await,
        }
    }
}

/// How a reply is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// Whole, as JSON.
    Json,
    /// As it comes, as events.
    Events,
}

/// Under which name a request is done once.
pub(crate) fn idempotency(app: &App, key: Option<String>, request: &impl Serialize) -> Idempotency {
    Idempotency {
        key,
        request_hash: Some(request_hash(request)),
        lease_seconds: app.deadline.as_secs() + LEASE_SLACK_SECONDS,
    }
}

/// Stores a message and answers with the agent's reply.
pub(crate) async fn reply(
    app: App,
    context: RequestContext,
    asker: Asker<'_>,
    message: AgentMessage,
    idempotency: Idempotency,
    form: Form,
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
    let (begun, caller) = asker.begin(&app, &context, &input).await?;

    let started = match begun {
        BegunTurn::Replayed { response } => return Ok(replay(&context, response, form).await),
        BegunTurn::Started(started) => *started,
    };
    let rate_limit = started.rate_limit;
    let turn = Turn::new(app, context.clone(), caller, started, &message);
    let mut response = match form {
        Form::Events => {
            let (events, response) = sse::channel(&context);
            agentopia_platform::spawn(stream(turn, context, events));
            response
        }
        Form::Json => Json(turn.run(&mut Silence).await?).into_response(),
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
async fn replay(context: &RequestContext, stored: Value, form: Form) -> Response {
    let response = match form {
        Form::Events => {
            let (mut events, response) = sse::channel(context);
            if let Some(text) = stored.get("reply").and_then(Value::as_str) {
                events.send("delta", &json!({ "text": text })).await;
            }
            events.send("completed", &stored).await;
            response
        }
        Form::Json => Json(stored).into_response(),
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

/// Says what is left of the limit that a request counted against.
pub(crate) fn show_rate_limit(response: &mut Response, rate_limit: &RateLimit) {
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
