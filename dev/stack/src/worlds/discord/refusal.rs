//! Discord's error bodies.

use axum::http::{HeaderName, StatusCode, header};
use serde_json::{Value, json};

use crate::worlds::answer::Answer;

const SCOPE: HeaderName = HeaderName::from_static("x-ratelimit-scope");
const GLOBAL: HeaderName = HeaderName::from_static("x-ratelimit-global");

/// An answer that is an error: `{"message", "code"}`, and `errors` by field.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    status: StatusCode,
    code: u32,
    message: &'static str,
    /// A field of the body, with the code and the message of what is wrong with it.
    field: Option<(&'static str, &'static str, String)>,
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

    /// A field that is not as it must be.
    pub(super) fn field(field: &'static str, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            field: Some((field, code, message.into())),
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
            let errors = json!({ *field: { "_errors": [{ "code": code, "message": message }] } });
            body.insert("errors".to_owned(), errors);
        }
        Answer::json(self.status, &body)
    }
}

/// The answer to one call too many.
pub(super) fn limited(seconds: f64, global: bool) -> Answer {
    let rounded = (seconds * 1_000.0).ceil() / 1_000.0;
    let body = json!({ "message": "You are being rate limited.", "retry_after": rounded, "global": global });
    let answer = Answer::json(StatusCode::TOO_MANY_REQUESTS, &body).with(header::RETRY_AFTER, seconds.ceil());
    if global {
        answer.with(SCOPE, "global").with(GLOBAL, true)
    } else {
        answer.with(SCOPE, "user")
    }
}
