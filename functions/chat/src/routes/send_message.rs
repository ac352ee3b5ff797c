//! `POST /functions/v1/chat`: says something, and has an agent answer.

mod request;

use agentopia_platform::caller::UserOrWorker;
use agentopia_platform::db::Caller;
use agentopia_platform::db::chat::{self, PostMessage, PostedMessage};
use agentopia_platform::extract::Json;
use agentopia_platform::idempotency::{IdempotencyKey, replayed};
use agentopia_platform::{ApiError, RequestContext};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::ACCEPT;

use self::request::{ChannelMessage, SendMessageRequest, Wanted};
use crate::app::App;
use crate::reply::{Asker, Form, idempotency, reply, show_rate_limit};
use crate::response::saved_message;

/// Stores the message of a user or of a worker and, if an agent is named, answers with that agent's reply: as JSON, or as events if the client accepts them.
pub(crate) async fn send_message(
    State(app): State<App>,
    context: RequestContext,
    caller: UserOrWorker,
    IdempotencyKey(key): IdempotencyKey,
    headers: HeaderMap,
    Json(request): Json<SendMessageRequest>,
) -> Result<Response, ApiError> {
    let idempotency = idempotency(&app, key, &request);
    let form = if accepts_events(&headers) {
        Form::Events
    } else {
        Form::Json
    };

    match caller {
        UserOrWorker::Worker(worker) => {
            let message = request.parse_from_worker()?;
            reply(app, context, Asker::Worker(worker), message, idempotency, form).await
        }
        UserOrWorker::User(user) => match request.parse()? {
            Wanted::Reply(message) => reply(app, context, Asker::User(user), message, idempotency, form).await,
            Wanted::Storage(message) => store(&app, &context, &user.caller, &message, idempotency).await,
        },
    }
}

async fn store(
    app: &App,
    context: &RequestContext,
    user: &Caller,
    message: &ChannelMessage,
    idempotency: chat::Idempotency,
) -> Result<Response, ApiError> {
    let input = PostMessage {
        channel_id: message.channel_id,
        workspace_id: message.workspace_id,
        message: message.text.as_str(),
        user_per_minute: app.limits.user_per_minute,
        user_burst: app.limits.user_burst,
        idempotency,
    };
    let posted = chat::post_message(&app.db, context, user, &input).await?;

    match posted {
        PostedMessage::Stored { message, rate_limit } => {
            let mut response = Json(saved_message(&message)).into_response();
            show_rate_limit(&mut response, &rate_limit);
            Ok(response)
        }
        PostedMessage::Replayed { message } => Ok(replayed(Json(saved_message(&message)).into_response())),
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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
