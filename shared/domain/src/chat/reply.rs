//! What a model answered.

use serde::{Deserialize, Serialize};

/// Why a model stopped.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FinishReason {
    /// It had said what it wanted to say.
    Stop,
    /// It reached the limit of output tokens.
    Length,
    /// The provider withheld the rest.
    ContentFilter,
    /// The connection broke, stalled or ran out of time before the model was done.
    Interrupted,
    /// Something this version does not know.
    Other,
}

/// Tokens that a turn used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input_tokens: u32,
    /// Tokens of the answer.
    pub output_tokens: u32,
}

/// A model's answer to a turn.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// The text. Not empty.
    pub text: String,
    /// Why it ends where it ends.
    pub finish_reason: FinishReason,
    /// What the provider says it used; `None` if the answer was cut before it said so.
    pub usage: Option<Usage>,
}

impl Reply {
    /// Whether the answer is only the beginning of one.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.finish_reason == FinishReason::Interrupted
    }
}
