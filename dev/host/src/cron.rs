//! Schedules of `[[trigger.cron]]`.

use croner::Cron;
use croner::parser::{CronParser, Seconds};

/// Parses an expression of the cron trigger plugin: seconds, minutes, hours, days, months, weekdays.
pub(crate) fn parse(expression: &str) -> Result<Cron, String> {
    CronParser::builder()
        .seconds(Seconds::Required)
        .build()
        .parse(expression)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_have_seconds() {
        assert!(parse("0 */5 * * * *").is_ok());
        assert!(parse("*/5 * * * *").is_err());
        assert!(parse("every minute").is_err());
    }
}
