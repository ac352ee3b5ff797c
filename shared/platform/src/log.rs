//! One JSON line on stderr per event, which Spin collects per component.
//!
//! Lines carry ids, names, statuses and durations: never a token, a secret or a message's text. A cause that a library reports may contain an
//! address or a row's key, so it is cut to a bounded length and stands under `cause`, which never leaves the log.

use std::io::Write as _;

use chrono::SecondsFormat;
use serde_json::Value;

use crate::runtime;

const TEXT_MAX_CHARS: usize = 500;

/// How much attention an event wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Level {
    /// The ordinary course of things.
    Info,
    /// Degraded, but served.
    Warn,
    /// Somebody did not get what they were owed.
    Error,
}

/// An event on its way to the log: the line so far, without its closing brace.
#[derive(Debug)]
pub struct Line(String);

impl Line {
    /// A line about `event` (snake_case).
    #[must_use]
    pub fn new(level: Level, event: &'static str) -> Self {
        let level = match level {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let time = runtime::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        Self(format!(
            "{{\"time\":\"{time}\",\"level\":\"{level}\",\"event\":\"{event}\""
        ))
    }

    /// Adds a field. Text is cut to a bounded length.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) if text.chars().count() > TEXT_MAX_CHARS => {
                Value::String(text.chars().take(TEXT_MAX_CHARS).collect())
            }
            value => value,
        };
        self.0.push_str(",\"");
        self.0.push_str(name);
        self.0.push_str("\":");
        self.0.push_str(&value.to_string());
        self
    }

    /// Adds a field if there is a value.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Writes the line.
    pub fn emit(mut self) {
        self.0.push_str("}\n");
        // There is nowhere left to report that stderr is closed.
        let _closed = std::io::stderr().write_all(self.0.as_bytes());
    }
}

/// Milliseconds with one decimal, as log lines give durations.
#[must_use]
pub fn milliseconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_json_object_whatever_the_values_are() {
        let line = Line::new(Level::Warn, "test")
            .with("text", "a\"b\nc")
            .with("number", 1.5)
            .with_some("none", None::<u8>);
        let line: Value = serde_json::from_str(&format!("{}}}", line.0)).unwrap();

        assert_eq!(
            (&line["text"], &line["number"], line.get("none")),
            (&"a\"b\nc".into(), &1.5.into(), None)
        );
        assert_eq!((&line["level"], &line["event"]), (&"warn".into(), &"test".into()));
    }

    #[test]
    fn a_long_text_is_cut() {
        let line = Line::new(Level::Info, "test").with("text", "é".repeat(TEXT_MAX_CHARS + 1));

        assert_eq!(line.0.matches('é').count(), TEXT_MAX_CHARS);
    }
}
