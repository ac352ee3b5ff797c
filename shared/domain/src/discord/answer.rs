//! How an agent's answer to an interaction is laid out in messages.

use super::split::{MESSAGE_MAX_CHARS, split_message};

/// The most messages of one answer. What is longer is sent as a file, so that nobody's channel is flooded.
pub const PARTS_MAX: usize = 4;

/// The name of the file with the whole answer.
pub const FILE_NAME: &str = "answer.txt";

const ATTACHED: &str = "\n\n*The whole answer is in the attached file.*";
const MISSING: &str = "\n\n*The rest of this answer could not be shown here.*";
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

/// The beginning of an answer in one message that says that there is more: for where Discord takes no file.
#[must_use]
pub fn beginning(text: &str) -> AnswerPlan {
    let room = MESSAGE_MAX_CHARS - MISSING.chars().count();
    match split_message(text, room).into_iter().next() {
        Some(beginning) => AnswerPlan {
            parts: vec![format!("{beginning}{MISSING}")],
            file: None,
        },
        None => plan(text),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    fn lines(count: usize) -> String {
        let line = |number| format!("Line {number} of an answer that goes on and on.");
        (1..=count).map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_beginning_says_that_there_is_more() {
        let long = beginning(&lines(150));

        assert_eq!((long.parts.len(), &long.file), (1, &None));
        assert!(long.parts[0].starts_with("Line 1 of") && long.parts[0].ends_with(MISSING));
        assert!(long.parts[0].chars().count() <= MESSAGE_MAX_CHARS);
        assert_eq!(beginning(" "), plan(" "));
    }

    #[test]
    fn an_answer_is_as_many_messages_as_it_takes() {
        assert_eq!(
            plan("Hello!"),
            AnswerPlan {
                parts: vec!["Hello!".to_owned()],
                file: None
            }
        );
        let long = plan(&lines(150));
        assert_eq!((long.parts.len(), long.file), (4, None));
    }

    #[test]
    fn what_is_longer_than_four_messages_is_a_file() {
        let text = lines(250);

        let AnswerPlan { parts, file } = plan(&text);

        assert_eq!(file.as_deref(), Some(text.as_str()));
        let [part] = parts.as_slice() else {
            panic!("{} parts", parts.len());
        };
        let end: Vec<&str> = part.lines().rev().take(5).collect();
        assert_snapshot!(end.into_iter().rev().collect::<Vec<_>>().join("\n"), @"
        Line 45 of an answer that goes on and on.
        Line 46 of an answer that goes on and on.
        …

        *The whole answer is in the attached file.*
        ");
    }

    #[test]
    fn a_block_that_is_cut_is_closed() {
        let text = format!("```rust\n{}\n```", lines(250));

        let part = plan(&text).parts.concat();

        assert!(
            part.ends_with("\n```\n…\n\n*The whole answer is in the attached file.*"),
            "{part}"
        );
    }

    #[test]
    fn a_short_answer_is_a_file_too_if_it_has_to_be() {
        let plan = whole_as_file("Hello!\n");

        assert_snapshot!(plan.parts.join("\n=====\n"), @"
        Hello!

        *The whole answer is in the attached file.*
        ");
        assert_eq!(plan.file.as_deref(), Some("Hello!\n"));
    }

    #[test]
    fn there_is_something_to_say_where_the_answer_is_empty() {
        for text in ["", " \n\t\n"] {
            for plan in [plan(text), whole_as_file(text)] {
                assert_eq!(plan.parts, [EMPTY], "{text:?}");
                assert_eq!(plan.file, None, "{text:?}");
            }
        }
    }

    fn words(text: &str) -> String {
        text.chars().filter(|character| !character.is_whitespace()).collect()
    }

    fn check_sendable(plan: &AnswerPlan) -> Result<(), TestCaseError> {
        prop_assert!(
            (1..=PARTS_MAX).contains(&plan.parts.len()),
            "{} parts",
            plan.parts.len()
        );
        for part in &plan.parts {
            prop_assert!(
                part.chars().count() <= MESSAGE_MAX_CHARS && !part.trim().is_empty(),
                "{part}"
            );
        }
        Ok(())
    }

    fn text() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            "[a-z ]{0,200}",
            "\\PC{0,80}",
            "[é🎉]{0,2500}",
            Just("```".to_owned()),
            Just("~~~python".to_owned()),
            Just(String::new())
        ];
        prop::collection::vec(line, 0..80).prop_map(|lines| lines.join("\n"))
    }

    proptest! {
        #[test]
        fn every_answer_can_be_sent(text in text()) {
            for plan in [plan(&text), whole_as_file(&text)] {
                check_sendable(&plan)?;
                // A file goes with one message, as only the first one can be sent again.
                prop_assert!(plan.file.is_none() || plan.parts.len() == 1);
                prop_assert!(plan.file.is_none_or(|file| file == text));
            }
            prop_assert_eq!(whole_as_file(&text).file.is_none(), text.trim().is_empty());
        }

        #[test]
        fn plain_answers_lose_white_space_alone(text in "([a-zé]{1,30}[ \n]{1,2}){1,900}") {
            let AnswerPlan { parts, file } = plan(&text);

            match file {
                None => prop_assert_eq!(words(&parts.concat()), words(&text)),
                Some(_) => {
                    let beginning = parts.concat();
                    let beginning = beginning.strip_suffix(ATTACHED).unwrap().strip_suffix(CUT).unwrap();
                    prop_assert!(words(&text).starts_with(&words(beginning)));
                    prop_assert!(beginning.chars().count() > MESSAGE_MAX_CHARS / 2);
                }
            }
        }
    }
}
