//! One JSON line on stderr per event, which Spin collects per component.
//!
//! Lines carry ids, names, statuses and durations: never a token, a secret or a message's text. A cause that a library reports may contain an
//! address or a row's key, so it is cut to a bounded length and stands under `cause`, which never leaves the log.

use std::io::Write as _;

use chrono::SecondsFormat;
use serde_json::{Map, Value};

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

/// An event on its way to the log.
#[derive(Debug)]
pub struct Line(Map<String, Value>);

impl Line {
    /// A line about `event` (snake_case).
    #[must_use]
    pub fn new(level: Level, event: &str) -> Self {
        let mut fields = Map::new();
        let time = runtime::now().to_rfc3339_opts(SecondsFormat::Millis, true);
        let level = match level {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        fields.insert("time".to_owned(), time.into());
        fields.insert("level".to_owned(), level.into());
        fields.insert("event".to_owned(), event.into());
        Self(fields)
    }

    /// Adds a field. Text is cut to a bounded length.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) if text.chars().count() > TEXT_MAX_CHARS => {
                Value::String(text.chars().take(TEXT_MAX_CHARS).collect())
            }
            value => value,
        };
        self.0.insert(name.to_owned(), value);
        self
    }

    /// Adds a field if there is a value.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Writes the line.
    pub fn emit(self) {
        let mut line = Value::Object(self.0).to_string();
        line.push('\n');
        // There is nowhere left to report that stderr is closed.
        let _closed = std::io::stderr().write_all(line.as_bytes());
    }
}

/// Milliseconds with one decimal, as log lines give durations.
#[must_use]
pub fn milliseconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
