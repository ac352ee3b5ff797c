//! What the application's other functions answer, as far as whoever asked is concerned.

use std::time::Duration;

use agentopia_platform::RequestContext;
use agentopia_platform::functions::{FunctionCall, OtherFunctions};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// How often a job may meet a fault of ours before whoever asked is told: a fault that stays is not worth fifteen minutes.
const FAULTS_ENDURED: u32 = 3;

/// A call of a function.
pub(crate) struct Call<'a, B> {
    /// The function.
    pub(crate) function: &'static str,
    /// Where in it: `/outside`.
    pub(crate) path: &'static str,
    /// What makes it the same call when it is made again.
    pub(crate) idempotency_key: Option<&'a str>,
    /// What is asked.
    pub(crate) body: &'a B,
    /// How long it may take.
    pub(crate) limit: Duration,
}

/// Why a function did not do what was asked.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum CallError {
    /// It said no.
    #[error("it refuses with {status} {code}")]
    Refused {
        status: u16,
        code: String,
        retry_after: Option<Duration>,
    },
    /// It is not known whether it was done.
    #[error("{0}")]
    Unanswered(String),
}

/// What there is instead of what was asked for.
#[derive(Debug, PartialEq)]
pub(crate) enum Unanswered {
    /// Nothing: whoever asked is told.
    Apology(String),
    /// Nothing yet: it is asked again.
    Later {
        /// When, if the function said so.
        after: Option<Duration>,
        /// Why.
        cause: String,
    },
}

#[derive(Deserialize)]
struct Envelope {
    code: String,
}

/// Makes a call, once.
pub(crate) async fn call<B: Serialize, O: DeserializeOwned>(
    functions: &OtherFunctions,
    context: &RequestContext,
    call: &Call<'_, B>,
) -> Result<O, CallError> {
    let unanswered = |cause: &str| CallError::Unanswered(cause.to_owned());
    let body = serde_json::to_vec(call.body).map_err(|_| unanswered("the question is not JSON"))?;
    let call = FunctionCall {
        function: call.function,
        path: call.path,
        idempotency_key: call.idempotency_key,
        body: body.into(),
        limit: call.limit,
    };
    let answer = functions
        .post(context, &call)
        .await
        .map_err(|error| CallError::Unanswered(error.to_string()))?;
    if answer.status.is_success() {
        return serde_json::from_slice(&answer.body).map_err(|_| unanswered("its answer is not what it should be"));
    }

    let envelope: Option<Envelope> = serde_json::from_slice(&answer.body).ok();
    Err(CallError::Refused {
        status: answer.status.as_u16(),
        code: envelope.map_or_else(|| "unknown".to_owned(), |envelope| envelope.code),
        retry_after: answer.retry_after(),
    })
}

impl CallError {
    /// Whether it is to be asked again, or else what whoever asked is told; `apology` knows by the code. `attempts` is how often the job failed before.
    pub(crate) fn judged(self, attempts: u32, apology: impl FnOnce(&str) -> String) -> Unanswered {
        let cause = self.to_string();
        let Self::Refused {
            status,
            code,
            retry_after,
        } = self
        else {
            return Unanswered::Later { after: None, cause };
        };
        let is_passing = match (status, code.as_str()) {
            (_, "turn_in_progress") => true,
            // The provider's, and not ours.
            (_, code) if code.starts_with("model_") => false,
            // An operator has to mend these.
            (_, "sealing_unavailable" | "worker_manager_unconfigured") => false,
            (status, _) if status == StatusCode::SERVICE_UNAVAILABLE => true,
            (500.., _) if !matches!(status, 502 | 504) => attempts < FAULTS_ENDURED,
            _ => false,
        };
        if is_passing {
            Unanswered::Later {
                after: retry_after,
                cause,
            }
        } else {
            Unanswered::Apology(apology(&code))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_asked_again_and_the_rest_is_told() {
        let refused = |status, code: &str| CallError::Refused {
            status,
            code: code.to_owned(),
            retry_after: Some(Duration::from_secs(7)),
        };
        let cases = [
            (refused(409, "turn_in_progress"), 9, true),
            (refused(503, "database_unavailable"), 9, true),
            (CallError::Unanswered("it was too slow".to_owned()), 9, true),
            (refused(500, "internal_error"), 2, true),
            (refused(500, "internal_error"), 3, false),
            (refused(501, "not_implemented"), 3, false),
            (refused(503, "model_quota_exhausted"), 0, false),
            (refused(502, "model_failed"), 0, false),
            (refused(504, "model_timed_out"), 0, false),
            (refused(502, "worker_manager_failed"), 0, false),
            (refused(503, "worker_manager_unconfigured"), 0, false),
            (refused(429, "rate_limited"), 0, false),
            (refused(403, "not_allowed_here"), 0, false),
            (refused(409, "agent_inactive"), 0, false),
            (refused(401, "invalid_token"), 0, false),
        ];

        for (error, attempts, later) in cases {
            let shown = format!("{error:?} {attempts}");
            let judged = error.judged(attempts, |code| format!("sorry for {code}"));
            match judged {
                Unanswered::Later { after, .. } => {
                    assert!(later, "{shown}");
                    assert!(after.is_none_or(|after| after == Duration::from_secs(7)));
                }
                Unanswered::Apology(text) => {
                    assert!(!later && text.starts_with("sorry for "), "{shown}: {text}");
                }
            }
        }
    }
}
