//! How an agent's answer to an interaction is laid out in messages.

use super::split::{MESSAGE_MAX_CHARS, split_message};

/// The most messages of one answer. What is longer is sent as a file, so that nobody's channel is flooded.
pub const PARTS_MAX: usize = 4;

/// The name of the file with the whole answer.
pub const FILE_NAME: &str = "answer.txt";

const ATTACHED: &str = "\n\n*The whole answer is in the attached file.*";
const CUT: &str = "\n…";
const EMPTY: &str = "*The agent's answer is empty.*";

/// What is sent, in order: the first part as the response to the interaction, each further one as a message after it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AnswerPlan {
    /// The messages: at least one and at most [`PARTS_MAX`], none empty, none longer than Discord takes.
    pub parts: Vec<String>,
    /// The text of the file that goes with the first message: the whole answer, as it stands.
    pub file: Option<String>,
}

/// An answer in as many messages as it takes, or, if these are more than [`PARTS_MAX`], its beginning and a file.
#[must_use]
pub fn plan(text: &str) -> AnswerPlan {
    let parts = split_message(text, MESSAGE_MAX_CHARS);
    match parts.len() {
        0 => AnswerPlan {
            parts: vec![EMPTY.to_owned()],
            file: None,
        },
        1..=PARTS_MAX => AnswerPlan { parts, file: None },
        _ => whole_as_file(text),
    }
}

/// An answer in one message and a file, whatever its length.
///
/// A message can be edited again, and a message that is sent again is there twice: after an interruption between two parts, this is what still can be
/// sent without repeating any.
#[must_use]
pub fn whole_as_file(text: &str) -> AnswerPlan {
    let room = MESSAGE_MAX_CHARS - ATTACHED.chars().count() - CUT.chars().count();
    let mut pieces = split_message(text, room).into_iter();
    let Some(beginning) = pieces.next() else {
        return plan(text);
    };
    let cut = if pieces.next().is_some() { CUT } else { "" };

    AnswerPlan {
        parts: vec![format!("{beginning}{cut}{ATTACHED}")],
        file: Some(text.to_owned()),
    }
}
