//! The wire format (<https://discord.com/developers/docs/resources/webhook>), as far as it is used. Unknown fields are ignored.

use agentopia_domain::discord::buckets::Reach;
use serde::Deserialize;

use super::{Delivered, WebhookError};
use crate::discord::refusal::Refusal;

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

/// What a refusal means.
///
/// That a webhook is gone for good is taken from an answer with one of Discord's codes alone: code 0 says that the path is wrong, and what answers
/// without a code is not Discord.
pub(super) fn error(refusal: &Refusal) -> WebhookError {
    if let Some(reach) = refusal.limit {
        return WebhookError::RateLimited {
            retry_after: refusal.retry_after,
            global: reach != Reach::Bucket,
        };
    }
    let named = refusal.named();
    match refusal.status {
        401 | 403 | 404 if refusal.code.is_some_and(|code| code > 0) => WebhookError::Gone(named),
        408 | 504 => WebhookError::TimedOut,
        500..=599 => WebhookError::Failed(named),
        _ => WebhookError::Refused(named),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;
    use http::header::RETRY_AFTER;
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
                limited(3_600_000, true),
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
            (
                403,
                None,
                r#"{"message":"internal network error","code":40333}"#,
                WebhookError::RateLimited {
                    retry_after: None,
                    global: true,
                },
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
            let headers: HeaderMap = header
                .map(|seconds: u64| (RETRY_AFTER, seconds.into()))
                .into_iter()
                .collect();
            let error = error(&Refusal::new(status, &headers, body.as_bytes()));
            assert_eq!(error, expected, "{status} {body}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bodies_do_not_panic(status in 300_u16..600, body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _either = (error(&Refusal::new(status, &HeaderMap::new(), &body)), delivered(&body));
        }
    }
}
