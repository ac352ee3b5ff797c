//! Discord's error bodies.

use std::time::Duration;

use axum::http::{HeaderName, StatusCode, header};
use serde_json::{Value, json};

use crate::worlds::answer::Answer;

const SCOPE: HeaderName = HeaderName::from_static("x-ratelimit-scope");
const GLOBAL: HeaderName = HeaderName::from_static("x-ratelimit-global");

/// An answer that is an error: `{"message", "code"}`, and `errors` by field.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) code: u32,
    message: &'static str,
    /// The path of a field of the body, with the code and the message of what is wrong with it.
    field: Option<(String, &'static str, String)>,
    /// Whether only a faulty client gets this answer.
    pub(super) is_complaint: bool,
}

impl Refusal {
    fn new(status: StatusCode, code: u32, message: &'static str) -> Self {
        Self {
            status,
            code,
            message,
            field: None,
            is_complaint: false,
        }
    }

    fn complaining(status: StatusCode, code: u32, message: &'static str) -> Self {
        Self {
            is_complaint: true,
            ..Self::new(status, code, message)
        }
    }

    /// A webhook that there is not, or no longer.
    pub(super) fn unknown_webhook() -> Self {
        Self::new(StatusCode::NOT_FOUND, 10_015, "Unknown Webhook")
    }

    /// A webhook that there is, with another token.
    pub(super) fn wrong_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, 50_027, "Invalid Webhook Token")
    }

    /// No bot's token, or a wrong one.
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, 0, "401: Unauthorized")
    }

    /// A guild that there is not.
    pub(super) fn unknown_guild() -> Self {
        Self::new(StatusCode::NOT_FOUND, 10_004, "Unknown Guild")
    }

    /// A channel that there is not, or no longer.
    pub(super) fn unknown_channel() -> Self {
        Self::new(StatusCode::NOT_FOUND, 10_003, "Unknown Channel")
    }

    /// A guild or a channel where the bot is not.
    pub(super) fn missing_access() -> Self {
        Self::new(StatusCode::FORBIDDEN, 50_001, "Missing Access")
    }

    /// A channel without messages.
    pub(super) fn not_a_text_channel() -> Self {
        Self::complaining(
            StatusCode::BAD_REQUEST,
            50_008,
            "Cannot send messages in a non-text channel",
        )
    }

    /// An application whose token this is not.
    pub(super) fn not_its_application() -> Self {
        Self::complaining(
            StatusCode::FORBIDDEN,
            20_012,
            "You are not authorized to perform this action on this application",
        )
    }

    /// Commands without the one that opens the application's Activity.
    pub(super) fn entry_point() -> Self {
        Self::complaining(
            StatusCode::BAD_REQUEST,
            50_240,
            "You cannot remove this app's Entry Point command in a bulk update operation. Please include the Entry Point command in \
             your update request or delete it separately.",
        )
    }

    /// An interaction that there is not, or whose first answer comes too late.
    pub(super) fn unknown_interaction() -> Self {
        Self::new(StatusCode::NOT_FOUND, 10_062, "Unknown interaction")
    }

    /// An interaction that has had its first answer.
    pub(super) fn acknowledged() -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            40_060,
            "Interaction has already been acknowledged.",
        )
    }

    /// A message that there is not, or no longer.
    pub(super) fn unknown_message() -> Self {
        Self::new(StatusCode::NOT_FOUND, 10_008, "Unknown Message")
    }

    /// More than is taken in one request.
    pub(super) fn too_large() -> Self {
        Self::complaining(StatusCode::PAYLOAD_TOO_LARGE, 40_005, "Request entity too large")
    }

    /// No text, or white space alone.
    pub(super) fn empty() -> Self {
        Self::complaining(StatusCode::BAD_REQUEST, 50_006, "Cannot send an empty message")
    }

    /// No JSON.
    pub(super) fn not_json() -> Self {
        Self::complaining(
            StatusCode::BAD_REQUEST,
            50_109,
            "The request body contains invalid JSON.",
        )
    }

    /// A field that is not as it must be; its path is in dots.
    pub(super) fn field(field: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            field: Some((field.into(), code, message.into())),
            ..Self::complaining(StatusCode::BAD_REQUEST, 50_035, "Invalid Form Body")
        }
    }

    /// What Discord does and the world does not.
    pub(super) fn unsupported(what: &str) -> Self {
        Self::field(
            "_stand_in",
            "STAND_IN_UNSUPPORTED",
            format!("The stand-in does not support {what}."),
        )
    }

    /// A version of the API that there is not, or no longer.
    pub(super) fn version() -> Self {
        Self::complaining(StatusCode::BAD_REQUEST, 50_041, "Invalid API version")
    }

    /// A path that there is not.
    pub(super) fn path() -> Self {
        Self::complaining(StatusCode::NOT_FOUND, 0, "404: Not Found")
    }

    /// A method that the path has not.
    pub(super) fn method() -> Self {
        Self::complaining(StatusCode::METHOD_NOT_ALLOWED, 0, "405: Method Not Allowed")
    }

    /// A fault of the service.
    pub(super) fn server_error() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, 0, "500: Internal Server Error")
    }

    /// The same again, to a client that was told already.
    pub(super) fn again(self) -> Self {
        Self {
            is_complaint: true,
            ..self
        }
    }

    /// What a client did that a correct one does not.
    pub(super) fn complaint(&self) -> String {
        match &self.field {
            Some((field, code, message)) => format!("{}: {field}: {code}: {message}", self.message),
            None => self.message.to_owned(),
        }
    }

    /// The answer.
    pub(super) fn answer(&self) -> Answer {
        let mut body = json!({ "message": self.message, "code": self.code });
        if let (Some((field, code, message)), Value::Object(body)) = (&self.field, &mut body) {
            let errors = json!({ "_errors": [{ "code": code, "message": message }] });
            let errors = field.rsplit('.').fold(errors, |errors, name| json!({ name: errors }));
            body.insert("errors".to_owned(), errors);
        }
        Answer::json(self.status, &body)
    }
}

/// What one call too many is one too many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// Of this route's calls.
    User,
    /// Of all calls.
    Global,
    /// Of what all do with the resource.
    Shared,
}

/// The answer to one call too many.
pub(super) fn limited(wait: Duration, scope: Scope) -> Answer {
    let seconds = wait.as_secs_f64();
    let rounded = (seconds * 1_000.0).ceil() / 1_000.0;
    let (name, message) = match scope {
        Scope::User => ("user", "You are being rate limited."),
        Scope::Global => ("global", "You are being rate limited."),
        Scope::Shared => ("shared", "The resource is being rate limited."),
    };
    let body = json!({ "message": message, "retry_after": rounded, "global": scope == Scope::Global });
    let answer = Answer::json(StatusCode::TOO_MANY_REQUESTS, &body)
        .with(header::RETRY_AFTER, seconds.ceil())
        .with(SCOPE, name);
    if scope == Scope::Global {
        answer.with(GLOBAL, true)
    } else {
        answer
    }
}

/// Whether an answer is to one call too many of what all do with the resource.
pub(super) fn is_shared(answer: &Answer) -> bool {
    answer.header(&SCOPE).is_some_and(|scope| scope == "shared")
}
