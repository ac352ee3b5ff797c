//! DigitalOcean's error bodies.

use axum::http::StatusCode;
use serde_json::json;

use crate::worlds::answer::Answer;

/// An answer that is an error: `{"id", "message"}`.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    status: StatusCode,
    id: &'static str,
    pub(super) message: String,
    /// Whether only a faulty client gets this answer.
    pub(super) is_complaint: bool,
}

impl Refusal {
    fn new(status: StatusCode, id: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            id,
            message: message.into(),
            is_complaint: false,
        }
    }

    /// What cannot be had: whoever chose it is told.
    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable_entity", message)
    }

    /// What a correct client does not ask for.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self {
            is_complaint: true,
            ..Self::unprocessable(message)
        }
    }

    /// What DigitalOcean does and the world does not.
    pub(super) fn unsupported(what: &str) -> Self {
        Self {
            is_complaint: true,
            ..Self::new(
                StatusCode::BAD_REQUEST,
                "bad_request",
                format!("The stand-in does not support {what}."),
            )
        }
    }

    /// No token, or another one.
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unable to authenticate you.")
    }

    /// A token without the right to do this.
    pub(super) fn forbidden() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "You are not authorized to perform this operation",
        )
    }

    /// A droplet that there is not.
    pub(super) fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "The resource you requested could not be found.",
        )
    }

    /// A path that there is not.
    pub(super) fn path() -> Self {
        Self {
            is_complaint: true,
            ..Self::not_found()
        }
    }

    /// A droplet in the middle of something else.
    pub(super) fn pending() -> Self {
        Self::unprocessable("Droplet already has a pending event.")
    }

    /// More requests than a minute or an hour allows.
    pub(super) fn too_many() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "API rate limit exceeded.",
        )
    }

    /// A fault of the service.
    pub(super) fn server_error() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "Unexpected server-side error",
        )
    }

    /// The service has no time.
    pub(super) fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "service_unavailable",
            "The service is temporarily unavailable.",
        )
    }

    /// The answer.
    pub(super) fn answer(&self) -> Answer {
        Answer::json(self.status, &json!({ "id": self.id, "message": self.message }))
    }
}
