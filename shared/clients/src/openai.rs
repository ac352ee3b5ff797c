//! Chat completions (<https://platform.openai.com/docs/api-reference/chat/create>), always streamed.
//!
//! Streaming is the one way in which this client asks: a caller that wants the whole answer collects it, a stall is noticed between two
//! chunks instead of at the end, and what arrived before a connection broke is not lost.

mod wire;

use std::collections::VecDeque;
use std::time::Duration;

use agentopia_domain::chat::{FinishReason, PromptMessage, Usage};
use agentopia_domain::retry::Failure;
use agentopia_platform::RequestContext;
use agentopia_platform::outbound::{self, Limits, OutboundError, OutboundResponse};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use crate::sse::EventStream;

/// The name under which usage is booked and calls are logged.
pub const PROVIDER: &str = "openai";

const ERROR_MAX_BYTES: usize = 64 * 1024;

/// OpenAI, or what speaks its API.
#[derive(Debug)]
pub struct OpenAi {
    /// Where the API is, without a slash at the end: `https://api.openai.com/v1`.
    pub base_url: String,
    /// The key.
    pub api_key: SecretString,
    /// How long a call may take, part by part.
    pub limits: Limits,
}

/// What is asked of a model.
#[derive(Clone, Copy, Debug)]
pub struct Completion<'a> {
    /// The model's name.
    pub model: &'a str,
    /// The prompt.
    pub messages: &'a [PromptMessage],
    /// The sampling temperature, 0 to 2.
    pub temperature: Option<f64>,
    /// The most tokens of the answer.
    pub max_output_tokens: u32,
}

/// Why a model did not answer, or not to the end.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ModelError {
    /// Too many requests; the provider may have said when to come back.
    #[error("the provider limits the rate")]
    RateLimited {
        /// What `Retry-After` said.
        retry_after: Option<Duration>,
    },
    /// The account's quota is spent. Trying again does not help.
    #[error("the provider's quota is spent")]
    QuotaExhausted,
    /// The prompt does not fit the model.
    #[error("the prompt is longer than the model's context")]
    ContextTooLong,
    /// The key, the model's name or the request was refused.
    #[error("the provider refused the request: {0}")]
    Refused(String),
    /// The provider failed.
    #[error("the provider failed: {0}")]
    Failed(String),
    /// A time limit passed.
    #[error("the provider was too slow")]
    TimedOut,
    /// There was no connection, or it broke.
    #[error("the connection to the provider broke: {0}")]
    Broken(String),
    /// What arrived is not what the API says.
    #[error("the provider's answer is malformed: {0}")]
    Malformed(String),
}

/// A part of an answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Delta {
    /// More text. Not empty.
    Text(String),
    /// Why the model stopped. Comes once, after the text.
    Finished(FinishReason),
    /// What the provider counted. Comes at most once, after the text.
    Used(Usage),
}

/// An answer on its way.
pub struct CompletionStream {
    response: OutboundResponse,
    parser: EventStream,
    ready: VecDeque<Delta>,
    finished: bool,
    done: bool,
}

impl OpenAi {
    /// Asks for a completion, and returns when its head has arrived.
    ///
    /// # Errors
    ///
    /// If the provider does not start to answer.
    pub async fn complete(
        &self,
        context: &RequestContext,
        completion: &Completion<'_>,
    ) -> Result<CompletionStream, ModelError> {
        let request = self.request(completion)?;
        let response = outbound::send(context, PROVIDER, request, self.limits).await?;

        if !response.status.is_success() {
            return Err(refusal(response).await);
        }
        Ok(CompletionStream {
            response,
            parser: EventStream::default(),
            ready: VecDeque::new(),
            finished: false,
            done: false,
        })
    }

    fn request(&self, completion: &Completion<'_>) -> Result<http::Request<Bytes>, ModelError> {
        let body = serde_json::to_vec(&wire::Request::new(completion))
            .map_err(|error| ModelError::Refused(error.to_string()))?;
        let mut key = HeaderValue::try_from(format!("Bearer {}", self.api_key.expose_secret()))
            .map_err(|_| ModelError::Refused("the key is not a header value".to_owned()))?;
        key.set_sensitive(true);

        http::Request::post(format!("{}/chat/completions", self.base_url))
            .header(AUTHORIZATION, key)
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "text/event-stream")
            .body(body.into())
            .map_err(|error| ModelError::Refused(error.to_string()))
    }
}

impl CompletionStream {
    /// The next part; `None` when the answer is whole.
    ///
    /// # Errors
    ///
    /// If the answer breaks off, stalls or is malformed. What came before it stands.
    pub async fn next(&mut self) -> Option<Result<Delta, ModelError>> {
        loop {
            if let Some(delta) = self.ready.pop_front() {
                return Some(Ok(delta));
            }
            if self.done {
                return None;
            }
            match self.response.chunk().await {
                Some(Ok(bytes)) => {
                    if let Err(error) = self.take(&bytes) {
                        self.done = true;
                        return Some(Err(error));
                    }
                }
                Some(Err(failure)) => {
                    self.done = true;
                    return Some(Err(failure.into()));
                }
                None => {
                    self.done = true;
                    if !self.finished {
                        return Some(Err(ModelError::Broken(
                            "the stream ended before the answer did".to_owned(),
                        )));
                    }
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), ModelError> {
        let mut events = Vec::new();
        self.parser
            .push(bytes, &mut events)
            .map_err(|error| ModelError::Malformed(error.to_string()))?;
        for event in events {
            if event == "[DONE]" {
                self.done = true;
                self.finished = true;
                return Ok(());
            }
            for delta in wire::deltas(&event)? {
                self.finished |= matches!(delta, Delta::Finished(_));
                self.ready.push_back(delta);
            }
        }
        Ok(())
    }
}

impl ModelError {
    /// Whether the same request may succeed when it is repeated.
    #[must_use]
    pub fn as_failure(&self) -> Failure {
        match self {
            Self::RateLimited { retry_after } => Failure::Transient {
                retry_after: *retry_after,
            },
            Self::Failed(_) | Self::TimedOut | Self::Broken(_) => Failure::Transient { retry_after: None },
            Self::QuotaExhausted | Self::ContextTooLong | Self::Refused(_) | Self::Malformed(_) => Failure::Permanent,
        }
    }
}

impl From<OutboundError> for ModelError {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::TimedOut => Self::TimedOut,
            OutboundError::Denied(cause) => Self::Refused(cause),
            OutboundError::Broken(cause) => Self::Broken(cause),
        }
    }
}

async fn refusal(response: OutboundResponse) -> ModelError {
    let status = response.status.as_u16();
    let retry_after = retry_after(&response.headers);
    let body = response.bytes(ERROR_MAX_BYTES).await.unwrap_or_default();

    wire::refusal(status, retry_after, &body)
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3), or OpenAI's own `retry-after-ms`. A date is not understood: no provider sends one.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    number("retry-after-ms")
        .map(|milliseconds| milliseconds / 1000.0)
        .or_else(|| number(RETRY_AFTER.as_str()))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}
