//! What requests name, parsed: Discord's ids and keys, and times.

use agentopia_domain::ids::AgentId;
use agentopia_platform::{ApiError, fields};

/// The longest id of Discord's, in digits.
const ID_MAX_DIGITS: usize = 20;
/// A key of an application, in hexadecimal digits.
const KEY_DIGITS: usize = 64;
/// A week.
const TIMEOUT_MAX_MINUTES: i32 = 7 * 24 * 60;

/// The agent of an old body.
pub(crate) fn agent_id(value: Option<&str>) -> Result<AgentId, ApiError> {
    fields::required_id("agentId", value)
}

/// An id of Discord's (<https://discord.com/developers/docs/reference#snowflakes>).
pub(crate) fn discord_id<'a>(field: &str, text: &'a str) -> Result<&'a str, ApiError> {
    let text = text.trim();
    let is_id = (1..=ID_MAX_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_id {
        Ok(text)
    } else {
        Err(ApiError::invalid_field(field, "is not a Discord id"))
    }
}

/// The key under which Discord signs an application's interactions, in lower case.
pub(crate) fn public_key(field: &str, text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    if text.len() == KEY_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err(ApiError::invalid_field(
            field,
            format_args!("must be the application's public key: {KEY_DIGITS} hexadecimal digits"),
        ))
    }
}

/// After how long a worker ends that nobody speaks to; 0 for never.
pub(crate) fn timeout_minutes(field: &str, minutes: Option<i32>) -> Result<Option<i32>, ApiError> {
    if minutes.is_none_or(|minutes| (0..=TIMEOUT_MAX_MINUTES).contains(&minutes)) {
        Ok(minutes)
    } else {
        Err(ApiError::invalid_field(
            field,
            format_args!("must be 0 to {TIMEOUT_MAX_MINUTES}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn refusal<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.envelope("id")["field"], "f");
        error.message().to_owned()
    }

    #[test]
    fn ids_and_keys_have_their_form() {
        let key = "Ab".repeat(32);

        assert_eq!(discord_id("f", " 223704706495545344 ").unwrap(), "223704706495545344");
        assert_eq!(public_key("f", &key).unwrap(), "ab".repeat(32));
        for text in ["", "-1", "1/2", "1?x", "٣", "123456789012345678901"] {
            assert_eq!(refusal(discord_id("f", text)), "f is not a Discord id.", "{text}");
        }
        for text in ["", "ab", &"g".repeat(64), &"é".repeat(32)] {
            let expected = "f must be the application's public key: 64 hexadecimal digits.";
            assert_eq!(refusal(public_key("f", text)), expected, "{text}");
        }
    }

    #[test]
    fn a_timeout_is_at_most_a_week() {
        for minutes in [None, Some(0), Some(10_080)] {
            assert_eq!(timeout_minutes("f", minutes).unwrap(), minutes);
        }
        assert_snapshot!(refusal(timeout_minutes("f", Some(-1))), @"f must be 0 to 10080.");
        assert_snapshot!(refusal(timeout_minutes("f", Some(10_081))), @"f must be 0 to 10080.");
    }
}
