//! How a tick ends.

use std::time::Duration;

use crate::settings::SettingsError;

/// What the sweep answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `x-request-id`, by which the function's log can be searched.
    pub request_id: Option<String>,
}

/// Why a tick failed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TickError {
    /// A variable is missing or invalid.
    #[error("{0}")]
    Misconfigured(#[from] SettingsError),
    /// There is an answer, and it is not a success.
    #[error("the sweep answered {}", .0.status)]
    Refused(Answer),
    /// There was no answer in time. The sweep may be going on all the same.
    #[error("the sweep did not answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The request could not be sent, or its answer not be read.
    #[error("the sweep could not be asked: {0}")]
    Unreachable(String),
}

impl Answer {
    /// Whether the sweep was done.
    ///
    /// # Errors
    ///
    /// If the answer is not a success.
    pub fn judge(self) -> Result<Self, TickError> {
        if (200..300).contains(&self.status) {
            Ok(self)
        } else {
            Err(TickError::Refused(self))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_is_an_answer_and_anything_else_a_failure() {
        for (status, done) in [
            (200, true),
            (204, true),
            (199, false),
            (302, false),
            (401, false),
            (500, false),
        ] {
            let answer = Answer {
                status,
                request_id: None,
            };

            let judged = answer.clone().judge();

            let expected = if done {
                Ok(answer)
            } else {
                Err(TickError::Refused(answer))
            };
            assert_eq!(judged, expected);
        }
    }
}
