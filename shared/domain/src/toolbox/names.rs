//! What owners call things, parsed: the only way from a client's text to a name.

use serde::Serialize;
use thiserror::Error;

/// The longest name of a toolbox, in characters.
pub const TOOLBOX_NAME_MAX_CHARS: usize = 200;
/// The longest description, in characters.
pub const DESCRIPTION_MAX_CHARS: usize = 10_000;
/// The longest name of a tool instance, in bytes: what container runtimes take, and a host name can be.
pub const INSTANCE_NAME_MAX_BYTES: usize = 63;
const SLUG_MAX_BYTES: usize = 63;

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum InvalidName {
    /// Nothing is left after trimming.
    #[error("is empty")]
    Empty,
    /// More characters than the number.
    #[error("is longer than {0} characters")]
    TooLong(usize),
    /// Contains U+0000, which Postgres cannot store in text, or another control character, which no name needs.
    #[error("contains a control character")]
    Control,
    /// Not of the form that is asked for.
    #[error("must be {0}")]
    Form(&'static str),
}

/// A toolbox's name: one line of 1 to 200 characters, trimmed.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ToolboxName(String);

/// A toolbox's description: at most 10,000 characters; lines may break.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Description(String);

/// The name of a tool instance, which becomes its container's: letters, digits, `_`, `.` and `-`, beginning with a letter or digit.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct InstanceName(String);

/// What the machine provider calls a region, a size or an image, such as `fra1` or `s-1vcpu-1gb`: lower-case letters, digits, `-`, `_` and `.`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Slug(String);

impl ToolboxName {
    /// Parses what a client sent.
    ///
    /// # Errors
    ///
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let text = text.trim();
        if text.is_empty() {
            return Err(InvalidName::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidName::Control);
        }
        bounded(text, TOOLBOX_NAME_MAX_CHARS).map(Self)
    }
}

impl Description {
    /// Parses what a client sent.
    ///
    /// # Errors
    ///
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let text = text.trim();
        if text
            .chars()
            .any(|character| character.is_control() && !matches!(character, '\n' | '\r' | '\t'))
        {
            return Err(InvalidName::Control);
        }
        bounded(text, DESCRIPTION_MAX_CHARS).map(Self)
    }
}

impl InstanceName {
    /// Parses what a client sent.
    ///
    /// # Errors
    ///
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        const FORM: &str = "1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit";

        let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        let mut bytes = text.bytes();
        let begins_well = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins_well && bytes.all(is_inside) && text.len() <= INSTANCE_NAME_MAX_BYTES {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::Form(FORM))
        }
    }
}

impl Slug {
    /// Parses what a client sent.
    ///
    /// # Errors
    ///
    /// Says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        const FORM: &str = "1 to 63 lower-case letters, digits, `-`, `_` and `.`";

        let is_inside =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
        if (1..=SLUG_MAX_BYTES).contains(&text.len()) && text.bytes().all(is_inside) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName::Form(FORM))
        }
    }
}

fn bounded(text: &str, limit: usize) -> Result<String, InvalidName> {
    if text.chars().count() > limit {
        return Err(InvalidName::TooLong(limit));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_toolbox_is_named_by_one_line() {
        assert_eq!(
            ToolboxName::parse("  Ada's box $(reboot) \u{1f527} ").map(|name| name.0),
            Ok("Ada's box $(reboot) \u{1f527}".to_owned())
        );
        assert_eq!(ToolboxName::parse(" \n "), Err(InvalidName::Empty));
        assert_eq!(ToolboxName::parse("a\nb"), Err(InvalidName::Control));
        assert_eq!(ToolboxName::parse("a\0b"), Err(InvalidName::Control));
        assert!(ToolboxName::parse(&"é".repeat(200)).is_ok());
        assert_eq!(ToolboxName::parse(&"é".repeat(201)), Err(InvalidName::TooLong(200)));
    }

    #[test]
    fn a_description_may_have_lines() {
        assert!(Description::parse("a\n\tb").is_ok());
        assert!(Description::parse("").is_ok());
        assert_eq!(Description::parse("a\u{1b}[2J"), Err(InvalidName::Control));
        assert_eq!(
            Description::parse(&"a".repeat(10_001)),
            Err(InvalidName::TooLong(10_000))
        );
    }

    #[test]
    fn an_instance_is_named_as_a_container_can_be() {
        for good in ["a", "browser-1", "A.b_c-9", &"a".repeat(63)] {
            assert!(InstanceName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "a;b", "é", " a", &"a".repeat(64)] {
            assert!(InstanceName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_slug_is_plain() {
        for good in ["fra1", "s-1vcpu-1gb", "ubuntu-22-04-x64", "m3-2vcpu-16gb_x.y"] {
            assert!(Slug::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "FRA1", "a b", "a&b=c", "../x", &"a".repeat(64)] {
            assert!(Slug::parse(bad).is_err(), "{bad}");
        }
    }
}
