//! Text as tokens, near enough: words of at most eight letters, each with the space before it.

use serde_json::Value;

/// The longest run of letters that is one token.
const LONGEST: usize = 8;

/// Cuts a text into tokens, which together are the text again.
pub(super) fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (token, after) = rest.split_at(token_length(rest));
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// How many tokens a text has.
pub(super) fn count(text: &str) -> usize {
    tokens(text).len()
}

/// The length in bytes of the token that a text begins with; never 0.
fn token_length(text: &str) -> usize {
    let mut letters = 0;
    for (position, character) in text.char_indices() {
        if character.is_whitespace() && letters == 0 {
            continue;
        }
        if character.is_alphanumeric() && letters < LONGEST {
            letters += 1;
            continue;
        }
        // A sign is a token of its own, with the space before it.
        return if letters == 0 {
            position + character.len_utf8()
        } else {
            position
        };
    }
    text.len()
}

/// A JSON string, or nothing.
pub(super) fn string(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The text of a message's content: a string, or the text parts of an array.
pub(super) fn content(value: Option<&Value>) -> String {
    match value {
        Some(Value::Array(parts)) => parts
            .iter()
            .map(|part| string(part.get("text").or_else(|| part.get("refusal"))))
            .collect::<Vec<_>>()
            .join("\n"),
        other => string(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_words_and_signs() {
        assert_eq!(tokens("Hello, big world!"), ["Hello", ",", " big", " world", "!"]);
        assert_eq!(tokens("internationally"), ["internat", "ionally"]);
        assert_eq!(tokens("größer 🙂\n"), ["größer", " 🙂", "\n"]);
        assert_eq!(tokens(""), Vec::<&str>::new());
    }
}
