//! Messages into a Discord channel through a webhook (<https://discord.com/developers/docs/resources/webhook#execute-webhook>).
//!
//! A webhook's URL is a password: whoever has it writes into the channel. It is taken apart here, and only its id and its token are used, on the
//! origin of the settings. So whoever gives a URL decides which webhook is called, and not which host.

mod address;
mod wire;

use std::time::Duration;

use agentopia_domain::retry::Failure;
use agentopia_platform::RequestContext;
use agentopia_platform::outbound::{self, Limits, OutboundError, OutboundResponse};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER, USER_AGENT};
use secrecy::ExposeSecret;
use thiserror::Error;

pub use address::{InvalidWebhookUrl, WebhookAddress};

/// The name under which calls are logged.
pub const PROVIDER: &str = "discord";

/// The longest message, in Unicode code points (<https://github.com/discord/discord-api-docs/issues/1315>).
pub const CONTENT_MAX_CHARS: usize = 2000;

const BODY_MAX_BYTES: usize = 256 * 1024;

/// Discord asks each client to name itself in this form (<https://discord.com/developers/docs/reference#user-agent>).
const AGENT: &str = concat!(
    "DiscordBot (https://github.com/agentopia, ",
    env!("CARGO_PKG_VERSION"),
    ")"
);

/// Discord's webhooks.
#[derive(Clone, Debug)]
pub struct DiscordWebhooks {
    /// Where Discord is, without a slash at the end: `https://discord.com`. Nothing else is called, whatever host a webhook's URL names.
    pub origin: String,
    /// How long a call may take, part by part.
    pub limits: Limits,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delivered {
    /// Discord's id of the message.
    pub message_id: u64,
}

/// Why a message is not known to be in its channel.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum WebhookError {
    /// Too many messages.
    #[error("Discord limits the rate")]
    RateLimited {
        /// When the next may come, if Discord said so.
        retry_after: Option<Duration>,
        /// Whether all webhooks are meant, and not this one alone.
        global: bool,
    },
    /// The webhook is no more, or its token is wrong. Whoever calls it all the same is banned in the end.
    #[error("the webhook is gone: {0}")]
    Gone(String),
    /// Discord does not take this message.
    #[error("Discord refused the message: {0}")]
    Refused(String),
    /// It cannot be sent as things are set up.
    #[error("the message cannot be sent: {0}")]
    Unsendable(String),
    /// Discord failed.
    #[error("Discord failed: {0}")]
    Failed(String),
    /// A time limit passed.
    #[error("Discord was too slow")]
    TimedOut,
    /// There was no connection, or it broke.
    #[error("the connection to Discord broke: {0}")]
    Broken(String),
    /// The message was taken, and the answer is not what the API says.
    #[error("Discord's answer is malformed: {0}")]
    Malformed(String),
}

impl DiscordWebhooks {
    /// Sends a message, once. It mentions nobody, and is cut to what Discord takes.
    ///
    /// # Errors
    ///
    /// If there is no answer that it is in the channel. If [`WebhookError::is_ambiguous`], it may be there all the same.
    pub async fn execute(
        &self,
        context: &RequestContext,
        webhook: &WebhookAddress,
        content: &str,
    ) -> Result<Delivered, WebhookError> {
        let request = self.request(webhook, content)?;
        let response = outbound::send(context, PROVIDER, request, self.limits).await?;

        if !response.status.is_success() {
            return Err(refusal(response).await);
        }
        let body = response.bytes(BODY_MAX_BYTES).await?;
        wire::delivered(&body)
    }

    fn request(&self, webhook: &WebhookAddress, content: &str) -> Result<http::Request<Bytes>, WebhookError> {
        let content = cut(content);
        let body = serde_json::to_vec(&wire::Message::new(&content))
            .map_err(|error| WebhookError::Refused(error.to_string()))?;
        let (id, token) = (webhook.id(), webhook.token().expose_secret());

        http::Request::post(format!("{}/api/v10/webhooks/{id}/{token}?wait=true", self.origin))
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, AGENT)
            .body(body.into())
            .map_err(|_| WebhookError::Refused("the address is not a URL".to_owned()))
    }
}

impl WebhookError {
    /// Whether the message may be in the channel all the same.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Failed(_) | Self::TimedOut | Self::Broken(_) | Self::Malformed(_) => true,
            Self::RateLimited { .. } | Self::Gone(_) | Self::Refused(_) | Self::Unsendable(_) => false,
        }
    }

    /// Whether the same message may be taken when it is sent again; if this is ambiguous, it may then be there twice.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::RateLimited { retry_after, .. } => Failure::Transient {
                retry_after: *retry_after,
            },
            Self::Failed(_) | Self::TimedOut | Self::Broken(_) | Self::Unsendable(_) => {
                Failure::Transient { retry_after: None }
            }
            Self::Gone(_) | Self::Refused(_) | Self::Malformed(_) => Failure::Permanent,
        }
    }
}

impl From<OutboundError> for WebhookError {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::TimedOut => Self::TimedOut,
            OutboundError::Denied(cause) => Self::Unsendable(cause),
            OutboundError::Broken(cause) => Self::Broken(cause),
        }
    }
}

async fn refusal(response: OutboundResponse) -> WebhookError {
    let status = response.status.as_u16();
    let retry_after = retry_after(&response.headers);
    let body = response.bytes(BODY_MAX_BYTES).await.unwrap_or_default();

    wire::refusal(status, retry_after, &body)
}

/// `Retry-After` in seconds, which Discord rounds up.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<f64>().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The text, or as much of it as one message takes: up to the last line that fits, else the last word, and a mark that there was more.
fn cut(text: &str) -> String {
    const MARK: &str = "\n…";
    if text.chars().count() <= CONTENT_MAX_CHARS {
        return text.to_owned();
    }

    let kept: String = text.chars().take(CONTENT_MAX_CHARS - MARK.chars().count()).collect();
    // A break in the first half would cost more than a word that is cut.
    let late = |position: &usize| *position >= kept.len() / 2;
    let end = kept
        .rfind('\n')
        .filter(late)
        .or_else(|| kept.rfind(char::is_whitespace).filter(late))
        .unwrap_or(kept.len());
    let (kept, _) = kept.split_at(end);
    format!("{}{MARK}", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const URL: &str =
        "https://ptb.discord.com/api/webhooks/223704706495545344/canary-3d89bb7572e0fb30d8128367b3b1b44fecd1726";

    fn client() -> DiscordWebhooks {
        DiscordWebhooks {
            origin: "https://discord.example".to_owned(),
            limits: Limits {
                connect: Duration::from_secs(1),
                first_byte: Duration::from_secs(1),
                between_bytes: Duration::from_secs(1),
            },
        }
    }

    #[test]
    fn a_message_goes_to_the_origin_of_the_settings_and_mentions_nobody() {
        let webhook: WebhookAddress = URL.parse().unwrap();

        let request = client().request(&webhook, "@everyone: it is silent").unwrap();

        assert_eq!(
            request.uri(),
            "https://discord.example/api/v10/webhooks/223704706495545344/canary-3d89bb7572e0fb30d8128367b3b1b44fecd1726?wait=true"
        );
        assert!(
            request.headers()[USER_AGENT]
                .to_str()
                .unwrap()
                .starts_with("DiscordBot (")
        );
        insta::assert_snapshot!(
            std::str::from_utf8(request.body()).unwrap(),
            @r#"{"content":"@everyone: it is silent","allowed_mentions":{"parse":[]}}"#
        );
    }

    #[test]
    fn an_origin_that_is_none_does_not_show_the_token() {
        let webhook: WebhookAddress = URL.parse().unwrap();
        let client = DiscordWebhooks {
            origin: "https://discord example".to_owned(),
            ..client()
        };

        let error = client.request(&webhook, "hello").unwrap_err();

        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }

    #[test]
    fn a_long_text_ends_with_a_line_or_a_word() {
        let words = "word ".repeat(500);
        let lines = format!("{}\n{}", "a".repeat(1500), "b ".repeat(400));
        let one = "é".repeat(CONTENT_MAX_CHARS + 1);
        let fits = "🎉".repeat(CONTENT_MAX_CHARS);

        assert_eq!(cut(&words), format!("{}word\n…", "word ".repeat(398)));
        assert_eq!(cut(&lines), format!("{}\n…", "a".repeat(1500)));
        assert_eq!(cut(&one), format!("{}\n…", "é".repeat(CONTENT_MAX_CHARS - 2)));
        assert_eq!(cut(&fits), fits);
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
    fn what_may_have_been_delivered_is_told_from_what_was_not() {
        let after = Some(Duration::from_secs(2));
        let transient = |retry_after| Failure::Transient { retry_after };
        let limited = WebhookError::RateLimited {
            retry_after: after,
            global: false,
        };
        let cases = [
            (limited, false, transient(after)),
            (WebhookError::Gone("404 10015".into()), false, Failure::Permanent),
            (WebhookError::Refused("400 50035".into()), false, Failure::Permanent),
            (WebhookError::Failed("500".into()), true, transient(None)),
            (WebhookError::from(OutboundError::TimedOut), true, transient(None)),
            (
                WebhookError::from(OutboundError::Broken("reset".into())),
                true,
                transient(None),
            ),
            (
                WebhookError::from(OutboundError::Denied("host".into())),
                false,
                transient(None),
            ),
            (WebhookError::Malformed("no id".into()), true, Failure::Permanent),
        ];

        for (error, is_ambiguous, failure) in cases {
            assert_eq!(
                (error.is_ambiguous(), error.failure()),
                (is_ambiguous, failure),
                "{error}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_cut_text_fits_and_is_the_beginning_of_what_it_was(text in "([a-z ]|\n|é|🎉){1990,2100}") {
            let cut = cut(&text);

            prop_assert!(cut.chars().count() <= CONTENT_MAX_CHARS);
            match cut.strip_suffix("\n…") {
                Some(kept) => prop_assert!(text.starts_with(kept)),
                None => prop_assert_eq!(cut, text),
            }
        }
    }
}
