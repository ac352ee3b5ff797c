//! A tick's line in the log, in the form of the functions' lines.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::tick::{Answer, TickError};

const TEXT_MAX_CHARS: usize = 500;

/// The fields in their order.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'static str,
    event: &'static str,
    function: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

/// The line about a tick that ended at `now` after `took`; it has its line break.
#[must_use]
pub fn line(now: DateTime<Utc>, took: Duration, outcome: &Result<Answer, TickError>) -> String {
    let answer = match outcome {
        Ok(answer) | Err(TickError::Refused(answer)) => Some(answer),
        Err(_) => None,
    };
    let line = Line {
        time: now.to_rfc3339_opts(SecondsFormat::Millis, true),
        level: if outcome.is_ok() { "info" } else { "error" },
        event: match outcome {
            Err(TickError::Misconfigured(_)) => "misconfigured",
            _ => "sweep_requested",
        },
        function: env!("CARGO_PKG_NAME"),
        status: answer.map(|answer| answer.status),
        request_id: answer.and_then(|answer| answer.request_id.as_deref()),
        ms: (took.as_secs_f64() * 10_000.0).round() / 10.0,
        cause: outcome
            .as_ref()
            .err()
            .map(|error| error.to_string().chars().take(TEXT_MAX_CHARS).collect()),
    };
    // Text and finite numbers always become JSON.
    let mut line = serde_json::to_string(&line).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use crate::settings::SettingsError;

    use super::*;

    fn logged(outcome: Result<Answer, TickError>) -> String {
        let now = DateTime::from_timestamp_millis(1_700_000_000_250).unwrap();
        line(now, Duration::from_micros(12_345), &outcome)
    }

    #[test]
    fn a_line_says_how_the_tick_ended() {
        let answer = |status| Answer {
            status,
            request_id: Some("req_1".to_owned()),
        };

        assert_eq!(
            logged(Ok(answer(200))),
            "{\"time\":\"2023-11-14T22:13:20.250Z\",\"level\":\"info\",\"event\":\"sweep_requested\",\
             \"function\":\"heartbeat-schedule\",\"status\":200,\"request_id\":\"req_1\",\"ms\":12.3}\n"
        );
        assert_eq!(
            logged(Err(TickError::Refused(answer(401)))),
            "{\"time\":\"2023-11-14T22:13:20.250Z\",\"level\":\"error\",\"event\":\"sweep_requested\",\
             \"function\":\"heartbeat-schedule\",\"status\":401,\"request_id\":\"req_1\",\"ms\":12.3,\
             \"cause\":\"the sweep answered 401\"}\n"
        );
        assert_eq!(
            logged(Err(SettingsError::Missing("service_token").into())),
            "{\"time\":\"2023-11-14T22:13:20.250Z\",\"level\":\"error\",\"event\":\"misconfigured\",\
             \"function\":\"heartbeat-schedule\",\"ms\":12.3,\"cause\":\"`service_token` is not set\"}\n"
        );
    }

    #[test]
    fn a_line_is_one_line_of_bounded_length() {
        let line = logged(Err(TickError::Unreachable("é\n".repeat(TEXT_MAX_CHARS))));

        assert_eq!(line.matches('\n').count(), 1);
        assert!(line.matches('é').count() < TEXT_MAX_CHARS);
    }
}
