//! OpenAI's error bodies.

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use serde_json::json;

/// An answer that is an error: `{"error": {"message", "type", "param", "code"}}`.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) message: String,
    kind: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
    retry_after_seconds: Option<u64>,
    /// Whether only a faulty client gets this answer.
    pub(super) is_complaint: bool,
}

impl Refusal {
    /// An error with a message alone.
    fn new(status: StatusCode, kind: &'static str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            message,
            kind,
            param: None,
            code,
            retry_after_seconds: None,
            is_complaint: false,
        }
    }

    /// A request that a correct client does not make.
    pub(super) fn invalid(param: &str, code: Option<&'static str>, message: impl Into<String>) -> Self {
        let param = (!param.is_empty()).then(|| param.to_owned());
        Self {
            param,
            is_complaint: true,
            ..Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", code, message)
        }
    }

    /// What OpenAI does and the world does not.
    pub(super) fn unsupported(param: &str) -> Self {
        Self::invalid(
            param,
            Some("stand_in_unsupported"),
            format!("The stand-in does not support this use of '{param}'."),
        )
    }

    /// A header asks for a fault that there is not.
    pub(super) fn unknown_fault(name: &str) -> Self {
        Self::invalid(
            "",
            Some("stand_in_unsupported"),
            format!("The stand-in knows no fault '{name}'."),
        )
    }

    /// No JSON object.
    pub(super) fn not_json() -> Self {
        let message = "We could not parse the JSON body of your request. (HINT: This likely means you aren't using \
                       your HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not \
                       valid JSON.)";
        Self::invalid("", None, message)
    }

    /// A parameter that must be there is not.
    pub(super) fn missing(param: &str) -> Self {
        Self::invalid(
            param,
            Some("missing_required_parameter"),
            format!("Missing required parameter: '{param}'."),
        )
    }

    /// A parameter of another type.
    pub(super) fn wrong_type(param: &str, expected: &str, found: &serde_json::Value) -> Self {
        let found = match found {
            serde_json::Value::Null => "null",
            serde_json::Value::Bool(_) => "a boolean",
            serde_json::Value::Number(number) if number.is_f64() => "a decimal number",
            serde_json::Value::Number(_) => "an integer",
            serde_json::Value::String(_) => "a string",
            serde_json::Value::Array(_) => "an array",
            serde_json::Value::Object(_) => "an object",
        };
        let message = format!("Invalid type for '{param}': expected {expected}, but got {found} instead.");
        Self::invalid(param, Some("invalid_type"), message)
    }

    /// No key.
    pub(super) fn no_key() -> Self {
        let message = "You didn't provide an API key. You need to provide your API key in an Authorization header \
                       using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", None, message)
    }

    /// A key that is not accepted, shown as OpenAI shows it: its ends alone.
    pub(super) fn wrong_key(key: &str) -> Self {
        let ends = key
            .get(..4)
            .zip(key.len().checked_sub(4).and_then(|start| key.get(start..)));
        let shown = ends
            .map(|(first, last)| format!("{first}****{last}"))
            .unwrap_or_default();
        let message = format!(
            "Incorrect API key provided: {shown}. You can find your API key at \
                               https://platform.openai.com/account/api-keys."
        );
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_request_error",
            Some("invalid_api_key"),
            message,
        )
    }

    /// A model that there is not, or not for this key.
    pub(super) fn no_model(name: &str) -> Self {
        let message = format!("The model `{name}` does not exist or you do not have access to it.");
        Self::new(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            Some("model_not_found"),
            message,
        )
    }

    /// More text than the model reads.
    pub(super) fn too_long(window: usize, tokens: usize) -> Self {
        let message = format!(
            "This model's maximum context length is {window} tokens. However, your messages resulted in {tokens} \
                               tokens. Please reduce the length of the messages."
        );
        Self {
            param: Some("messages".to_owned()),
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "invalid_request_error",
                Some("context_length_exceeded"),
                message,
            )
        }
    }

    /// Too many requests in a minute; try again in a second.
    pub(super) fn rate_limit(model: &str) -> Self {
        let message = format!(
            "Rate limit reached for {model} in organization org-stand-in on requests per min (RPM): Limit 500, \
                               Used 500, Requested 1. Please try again in 1s."
        );
        Self {
            retry_after_seconds: Some(1),
            ..Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "requests",
                Some("rate_limit_exceeded"),
                message,
            )
        }
    }

    /// The account's money is spent; trying again does not help.
    pub(super) fn quota() -> Self {
        let message = "You exceeded your current quota, please check your plan and billing details. For more \
                       information on this error, read the docs: \
                       https://platform.openai.com/docs/guides/error-codes/api-errors.";
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "insufficient_quota",
            Some("insufficient_quota"),
            message,
        )
    }

    /// A fault of the service.
    pub(super) fn server_error() -> Self {
        let message = "The server had an error while processing your request. Sorry about that!";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", None, message)
    }

    /// The service has too much to do.
    pub(super) fn overloaded() -> Self {
        let message = "The engine is currently overloaded, please try again later.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", None, message)
    }

    /// A path that there is not.
    pub(super) fn path(method: &Method, path: &str) -> Self {
        let message = format!("Invalid URL ({method} {path})");
        Self {
            is_complaint: true,
            ..Self::new(StatusCode::NOT_FOUND, "invalid_request_error", None, message)
        }
    }

    /// A method that the path has not.
    pub(super) fn method(method: &Method, path: &str) -> Self {
        let message =
            format!("Not allowed to {method} on {path} (HINT: Perhaps you meant to use a different HTTP method?)");
        Self {
            is_complaint: true,
            ..Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", None, message)
        }
    }

    /// The error object.
    pub(super) fn body(&self) -> serde_json::Value {
        json!({ "error": { "message": self.message, "type": self.kind, "param": self.param, "code": self.code } })
    }

    /// The answer.
    pub(super) fn into_response(self) -> Response {
        let mut response = super::json(self.status, &self.body());
        if let Some(seconds) = self.retry_after_seconds {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
