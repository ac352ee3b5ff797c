//! The text that a person sends.

use serde::Serialize;
use thiserror::Error;

/// The longest message that is accepted, in characters (Unicode scalar values).
pub const MESSAGE_MAX_CHARS: usize = 32_000;

/// A message's text: trimmed, not empty, no longer than [`MESSAGE_MAX_CHARS`], and storable (no NUL).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct MessageText(String);

/// Why a text is not a message.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum InvalidMessage {
    /// Nothing is left after trimming.
    #[error("is empty")]
    Empty,
    /// More than [`MESSAGE_MAX_CHARS`] characters.
    #[error("is longer than {MESSAGE_MAX_CHARS} characters")]
    TooLong,
    /// Contains U+0000, which Postgres cannot store in text.
    #[error("contains a NUL character")]
    Nul,
}

impl MessageText {
    /// Parses what a client sent.
    ///
    /// # Errors
    ///
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidMessage> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidMessage::Empty);
        }
        if text.contains('\0') {
            return Err(InvalidMessage::Nul);
        }
        if text.chars().count() > MESSAGE_MAX_CHARS {
            return Err(InvalidMessage::TooLong);
        }

        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_trimmed() {
        assert_eq!(MessageText::parse("  hi\n").unwrap().as_str(), "hi");
    }

    #[test]
    fn what_is_not_a_message_is_refused_with_the_reason() {
        let longest = "é".repeat(MESSAGE_MAX_CHARS);
        let cases = [
            ("", Err(InvalidMessage::Empty)),
            (" \n\t ", Err(InvalidMessage::Empty)),
            ("a\0b", Err(InvalidMessage::Nul)),
            (longest.as_str(), Ok(())),
            (&format!("{longest}e"), Err(InvalidMessage::TooLong)),
        ];

        for (text, expected) in cases {
            let result = MessageText::parse(text).map(|_| ());
            assert_eq!(result, expected, "{} characters", text.chars().count());
        }
    }
}
