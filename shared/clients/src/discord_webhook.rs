//! Messages into a Discord channel through a webhook (<https://discord.com/developers/docs/resources/webhook#execute-webhook>).
//!
//! A webhook's URL is a password: whoever has it writes into the channel. It is taken apart here, and only its id and its token are used, on the
//! origin of the settings. So whoever gives a URL decides which webhook is called, and not which host.

mod address;
mod wire;

use std::time::Duration;

use agentopia_domain::retry::Failure;
use agentopia_platform::RequestContext;
use agentopia_platform::outbound::{self, Limits, OutboundError};
use agentopia_platform::settings::SettingsError;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use secrecy::ExposeSecret;
use thiserror::Error;

use crate::discord::message::{Message, cut};
use crate::discord::refusal::Refusal;
use crate::discord::{AGENT, address_from_settings};

pub use crate::discord::PROVIDER;
pub use crate::discord::message::CONTENT_MAX_CHARS;
pub use address::{InvalidWebhookUrl, WebhookAddress};

const BODY_MAX_BYTES: usize = 256 * 1024;

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
    /// From the settings `discord_origin` and `discord_…_timeout_ms`.
    ///
    /// # Errors
    ///
    /// If one of them is missing or invalid.
    pub async fn from_settings() -> Result<Self, SettingsError> {
        let (origin, limits) = address_from_settings().await?;
        Ok(Self { origin, limits })
    }

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
            return Err(wire::error(&Refusal::read(response).await));
        }
        let body = response.bytes(BODY_MAX_BYTES).await?;
        wire::delivered(&body)
    }

    fn request(&self, webhook: &WebhookAddress, content: &str) -> Result<http::Request<Bytes>, WebhookError> {
        let content = cut(content);
        let body =
            serde_json::to_vec(&Message::new(&content)).map_err(|error| WebhookError::Refused(error.to_string()))?;
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

#[cfg(test)]
mod tests {
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
}
