//! The wire format (<https://discord.com/developers/docs/resources/webhook>), as far as it is used. Unknown fields are ignored.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Delivered, WebhookError};

#[derive(Debug, Serialize)]
pub(super) struct Message<'a> {
    content: &'a str,
    allowed_mentions: AllowedMentions,
}

/// What of the text may notify somebody: nothing, as the list of kinds is empty.
#[derive(Debug, Serialize)]
struct AllowedMentions {
    parse: [&'static str; 0],
}

impl<'a> Message<'a> {
    pub(super) fn new(content: &'a str) -> Self {
        Self {
            content,
            allowed_mentions: AllowedMentions { parse: [] },
        }
    }
}

#[derive(Debug, Deserialize)]
struct CreatedMessage {
    id: String,
}

/// What the answer to a message that was taken says.
pub(super) fn delivered(body: &[u8]) -> Result<Delivered, WebhookError> {
    let malformed = |what: &str| WebhookError::Malformed(what.to_owned());
    let message: CreatedMessage = serde_json::from_slice(body).map_err(|_| malformed("it is no message"))?;
    let message_id = message
        .id
        .parse()
        .map_err(|_| malformed("the message's id is no number"))?;
    Ok(Delivered { message_id })
}

#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    code: Option<i64>,
    retry_after: Option<f64>,
    global: Option<bool>,
}

/// What a response that is not a success means. Discord's text may repeat the message: only its code is kept.
///
/// That a webhook is gone for good is taken from an answer with one of Discord's codes alone: what stands before Discord answers with the same
/// statuses for reasons that pass (it blocks the address that called), and code 0 says that the path is wrong.
pub(super) fn refusal(status: u16, retry_after: Option<Duration>, body: &[u8]) -> WebhookError {
    let error = serde_json::from_slice::<ErrorBody>(body).unwrap_or_default();
    let named = match error.code {
        Some(code) => format!("{status} {code}"),
        None => format!("{status} no code"),
    };

    match status {
        429 => {
            let in_body = error
                .retry_after
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
            WebhookError::RateLimited {
                // The header is rounded up, so that it is the longer one of the two.
                retry_after: retry_after.max(in_body),
                global: error.global.unwrap_or(false),
            }
        }
        401 | 403 | 404 if error.code.is_some_and(|code| code > 0) => WebhookError::Gone(named),
        403 if error.code.is_none() => WebhookError::RateLimited {
            retry_after,
            global: true,
        },
        408 | 504 => WebhookError::TimedOut,
        500..=599 => WebhookError::Failed(named),
        _ => WebhookError::Refused(named),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_message_that_was_taken_has_an_id() {
        let message =
            br#"{"id":"1372891234567890123","type":0,"content":"hi","channel_id":"199737254929760256","flags":0}"#;

        assert_eq!(
            delivered(message),
            Ok(Delivered {
                message_id: 1_372_891_234_567_890_123
            })
        );
        for body in ["", "[]", r#"{"id":7}"#, r#"{"id":"canary"}"#] {
            let error = delivered(body.as_bytes()).unwrap_err();
            assert!(
                matches!(&error, WebhookError::Malformed(what) if !what.contains("canary")),
                "{body}: {error}"
            );
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let limited = |milliseconds: u64, global| WebhookError::RateLimited {
            retry_after: Some(Duration::from_millis(milliseconds)),
            global,
        };
        let cases = [
            (
                429,
                Some(65),
                r#"{"message":"You are being rate limited.","retry_after":64.57,"global":false}"#,
                limited(65_000, false),
            ),
            (
                429,
                None,
                r#"{"message":"You are being rate limited.","retry_after":64.57,"global":true}"#,
                limited(64_570, true),
            ),
            (
                429,
                Some(3600),
                "<html>error code: 1015</html>",
                limited(3_600_000, false),
            ),
            (
                429,
                None,
                r#"{"retry_after":-1.0}"#,
                WebhookError::RateLimited {
                    retry_after: None,
                    global: false,
                },
            ),
            (
                404,
                None,
                r#"{"message":"Unknown Webhook","code":10015}"#,
                WebhookError::Gone("404 10015".into()),
            ),
            (
                401,
                None,
                r#"{"message":"Invalid Webhook Token","code":50027}"#,
                WebhookError::Gone("401 50027".into()),
            ),
            (403, None, r#"{"code":50013}"#, WebhookError::Gone("403 50013".into())),
            (
                403,
                None,
                "<html>banned</html>",
                WebhookError::RateLimited {
                    retry_after: None,
                    global: true,
                },
            ),
            (404, None, "not found", WebhookError::Refused("404 no code".into())),
            (
                404,
                None,
                r#"{"message":"404: Not Found","code":0}"#,
                WebhookError::Refused("404 0".into()),
            ),
            (
                400,
                None,
                r#"{"message":"Invalid Form Body","code":50035,"errors":{}}"#,
                WebhookError::Refused("400 50035".into()),
            ),
            (302, None, "", WebhookError::Refused("302 no code".into())),
            (
                500,
                None,
                r#"{"message":"500: Internal Server Error","code":0}"#,
                WebhookError::Failed("500 0".into()),
            ),
            (502, None, "<html>", WebhookError::Failed("502 no code".into())),
            (504, None, "", WebhookError::TimedOut),
        ];

        for (status, header, body, expected) in cases {
            let error = refusal(status, header.map(Duration::from_secs), body.as_bytes());
            assert_eq!(error, expected, "{status} {body}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bodies_do_not_panic(status in 300_u16..600, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _either = (refusal(status, None, &body), delivered(&body));
        }
    }
}
