//! An answer that is not a success: <https://discord.com/developers/docs/topics/opcodes-and-status-codes#json>.

use std::time::Duration;

use agentopia_domain::discord::buckets::Reach;
use agentopia_platform::outbound::OutboundResponse;
use http::HeaderMap;
use http::header::RETRY_AFTER;
use serde::Deserialize;

const BODY_MAX_BYTES: usize = 256 * 1024;

/// What stands before Discord blocks the address that called.
const BLOCKED: i64 = 40_333;

/// What is known of it. Discord's words may repeat what was sent: they are not kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// Discord's code. There is none if what answered is not Discord but what stands before it; 0 is "see the status".
    pub(crate) code: Option<i64>,
    /// When the next call may come.
    pub(crate) retry_after: Option<Duration>,
    /// Which calls are refused for their rate; `None` if it is not for its rate that this one was refused.
    pub(crate) limit: Option<Reach>,
    /// Whether the limit is the resource's, and so others' calls may have used it up.
    pub(crate) shared: bool,
}

#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    code: Option<i64>,
    retry_after: Option<f64>,
    global: Option<bool>,
}

impl Refusal {
    /// Reads the rest of an answer.
    pub(crate) async fn read(response: OutboundResponse) -> Self {
        let status = response.status.as_u16();
        let headers = response.headers.clone();
        let body = response.bytes(BODY_MAX_BYTES).await.unwrap_or_default();
        Self::new(status, &headers, &body)
    }

    /// What an answer says.
    pub(crate) fn new(status: u16, headers: &HeaderMap, body: &[u8]) -> Self {
        let error = serde_json::from_slice::<ErrorBody>(body).unwrap_or_default();
        let scope = headers.get("x-ratelimit-scope").map(|scope| scope.as_bytes());
        let in_body = error
            .retry_after
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        Self {
            status,
            code: error.code,
            // The header is rounded up, so that it is the longer one of the two.
            retry_after: retry_after(headers).max(in_body),
            limit: error.limit(status, scope == Some(b"global")),
            shared: scope == Some(b"shared"),
        }
    }

    /// The status and the code, for people.
    pub(crate) fn named(&self) -> String {
        match self.code {
            Some(code) => format!("{} {code}", self.status),
            None => format!("{} no code", self.status),
        }
    }
}

impl ErrorBody {
    /// What is limited. What stands before Discord refuses with Discord's statuses, and without its fields: then it is the address that is blocked.
    fn limit(&self, status: u16, is_global: bool) -> Option<Reach> {
        match (status, self.code) {
            (403, None | Some(BLOCKED)) => Some(Reach::Everyone),
            (429, None) if self.retry_after.is_none() => Some(Reach::Everyone),
            (429, _) if self.global.unwrap_or(is_global) => Some(Reach::Caller),
            (429, _) => Some(Reach::Bucket),
            _ => None,
        }
    }
}

/// `Retry-After` in seconds, which Discord rounds up.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Refusal {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        Refusal::new(status, &headers, body.as_bytes())
    }

    #[test]
    fn what_is_limited_is_told_apart() {
        let user = r#"{"message":"You are being rate limited.","retry_after":64.57,"global":false}"#;
        let shared = r#"{"message":"The resource is being rate limited.","retry_after":1336.57,"global":false}"#;
        let global = r#"{"message":"You are being rate limited.","retry_after":64.57,"global":true}"#;
        let scope = |scope| [("retry-after", "65"), ("x-ratelimit-scope", scope)];
        let cases = [
            (429, scope("user").to_vec(), user, Some(Reach::Bucket), false),
            (429, scope("shared").to_vec(), shared, Some(Reach::Bucket), true),
            (429, scope("global").to_vec(), global, Some(Reach::Caller), false),
            (
                429,
                scope("global").to_vec(),
                r#"{"retry_after":1}"#,
                Some(Reach::Caller),
                false,
            ),
            (
                429,
                vec![],
                r#"{"code":20028,"retry_after":1}"#,
                Some(Reach::Bucket),
                false,
            ),
            (
                429,
                vec![],
                "<html>error code: 1015</html>",
                Some(Reach::Everyone),
                false,
            ),
            (403, vec![], "<html>banned</html>", Some(Reach::Everyone), false),
            (403, vec![], r#"{"code":40333}"#, Some(Reach::Everyone), false),
            (403, vec![], r#"{"code":50013}"#, None, false),
            (500, vec![], r#"{"retry_after":1}"#, None, false),
        ];

        for (status, headers, body, limit, is_shared) in cases {
            let refusal = refusal(status, &headers, body);
            assert_eq!((refusal.limit, refusal.shared), (limit, is_shared), "{status} {body}");
        }
    }

    #[test]
    fn the_longer_pause_counts() {
        let pause = |headers, body| refusal(429, headers, body).retry_after;
        let milliseconds = |milliseconds| Some(Duration::from_millis(milliseconds));

        assert_eq!(
            pause(&[("retry-after", "65")], r#"{"retry_after":64.57}"#),
            milliseconds(65_000)
        );
        assert_eq!(
            pause(&[("retry-after", "1")], r#"{"retry_after":64.57}"#),
            milliseconds(64_570)
        );
        assert_eq!(pause(&[], r#"{"retry_after":0.25}"#), milliseconds(250));
        assert_eq!(pause(&[], "{}"), None);
    }

    #[test]
    fn the_pause_may_be_a_fraction() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        for (value, expected) in [("65", Some(65_000)), ("0.5", Some(500)), ("-1", None), ("NaN", None)] {
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers), expected.map(Duration::from_millis), "{value}");
        }
    }

    #[test]
    fn what_discord_says_in_words_is_not_kept() {
        let refusal = refusal(
            400,
            &[],
            r#"{"message":"canary","code":50035,"errors":{"content":"canary"}}"#,
        );

        assert_eq!(refusal.named(), "400 50035");
        assert!(!format!("{refusal:?}").contains("canary"));
    }

    proptest! {
        #[test]
        fn hostile_answers_do_not_panic(
            status in 300_u16..600,
            after in "([0-9.eE+-]{0,12}|\\PC{0,8})",
            body in proptest::collection::vec(any::<u8>(), 0..300),
            seconds in any::<f64>(),
        ) {
            let headers: HeaderMap = after.parse().ok().map(|value| (RETRY_AFTER, value)).into_iter().collect();
            let _any = Refusal::new(status, &headers, &body);
            let _any = Refusal::new(status, &headers, format!("{{\"retry_after\":{seconds}}}").as_bytes());
        }
    }
}
