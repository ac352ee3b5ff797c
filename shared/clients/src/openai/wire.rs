//! The wire format (<https://platform.openai.com/docs/api-reference/chat/streaming>), as far as it is used. Unknown fields are ignored.

use std::time::Duration;

use agentopia_domain::chat::{FinishReason, PromptMessage, Role, Usage};
use serde::{Deserialize, Serialize};

use super::{Completion, Delta, ModelError};

#[derive(Debug, Serialize)]
pub(super) struct Request<'a> {
    model: &'a str,
    messages: Vec<Message<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Debug, Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

impl<'a> Request<'a> {
    pub(super) fn new(completion: &Completion<'a>) -> Self {
        let reasons = is_reasoning_model(completion.model);
        Self {
            model: completion.model,
            messages: completion.messages.iter().map(Message::from).collect(),
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            temperature: completion.temperature.filter(|_| !reasons),
            max_tokens: (!reasons).then_some(completion.max_output_tokens),
            max_completion_tokens: reasons.then_some(completion.max_output_tokens),
        }
    }
}

impl<'a> From<&'a PromptMessage> for Message<'a> {
    fn from(message: &'a PromptMessage) -> Self {
        let role = match message.role {
            Role::System => "system",
            Role::User => "user",
            Role::Assistant => "assistant",
        };
        Self {
            role,
            content: &message.content,
        }
    }
}

/// Reasoning models refuse `max_tokens` and any temperature but their own. Servers that speak the same API know only `max_tokens`.
fn is_reasoning_model(model: &str) -> bool {
    let is_o_series = model
        .strip_prefix('o')
        .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
    is_o_series || model.starts_with("gpt-5")
}

#[derive(Debug, Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<ChunkUsage>,
    error: Option<ErrorBody>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    #[serde(default)]
    delta: ChoiceDelta,
    finish_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct ChoiceDelta {
    content: Option<String>,
    refusal: Option<String>,
}

#[derive(Debug, Deserialize)]
struct ChunkUsage {
    prompt_tokens: u32,
    completion_tokens: u32,
}

#[derive(Debug, Deserialize)]
struct ErrorEnvelope {
    error: ErrorBody,
}

#[derive(Debug, Default, Deserialize)]
struct ErrorBody {
    #[serde(default)]
    message: Option<String>,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    code: Option<serde_json::Value>,
}

impl ErrorBody {
    fn is(&self, name: &str) -> bool {
        self.kind.as_deref() == Some(name) || self.code.as_ref().and_then(|code| code.as_str()) == Some(name)
    }
}

/// What one event of the stream says.
pub(super) fn deltas(event: &str) -> Result<Vec<Delta>, ModelError> {
    let chunk: Chunk = serde_json::from_str(event).map_err(|error| ModelError::Malformed(error.to_string()))?;
    if let Some(error) = chunk.error {
        return Err(ModelError::Failed(
            error.message.unwrap_or_else(|| "an error event".to_owned()),
        ));
    }

    let mut deltas = Vec::new();
    if let Some(choice) = chunk.choices.into_iter().next() {
        let text = choice
            .delta
            .content
            .or(choice.delta.refusal)
            .filter(|text| !text.is_empty());
        deltas.extend(text.map(Delta::Text));
        deltas.extend(
            choice
                .finish_reason
                .map(|reason| Delta::Finished(finish_reason(&reason))),
        );
    }
    deltas.extend(chunk.usage.map(|usage| {
        Delta::Used(Usage {
            input_tokens: usage.prompt_tokens,
            output_tokens: usage.completion_tokens,
        })
    }));
    Ok(deltas)
}

fn finish_reason(reason: &str) -> FinishReason {
    match reason {
        "stop" => FinishReason::Stop,
        "length" => FinishReason::Length,
        "content_filter" => FinishReason::ContentFilter,
        _ => FinishReason::Other,
    }
}

/// What a response that is not a success means (<https://platform.openai.com/docs/guides/error-codes>).
pub(super) fn refusal(status: u16, retry_after: Option<Duration>, body: &[u8]) -> ModelError {
    let error = serde_json::from_slice::<ErrorEnvelope>(body)
        .map(|envelope| envelope.error)
        .unwrap_or_default();
    // The provider's text may repeat the prompt or parts of the key: only its machine-readable name is kept.
    let name = error
        .code
        .as_ref()
        .and_then(|code| code.as_str())
        .or(error.kind.as_deref())
        .unwrap_or("no code");
    let named = format!("{status} {name}");

    match status {
        429 if error.is("insufficient_quota") || error.is("credit_balance_exhausted") => ModelError::QuotaExhausted,
        429 => ModelError::RateLimited { retry_after },
        400 | 413 if error.is("context_length_exceeded") => ModelError::ContextTooLong,
        408 | 504 => ModelError::TimedOut,
        409 | 500..=599 => ModelError::Failed(named),
        _ => ModelError::Refused(named),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;

    use super::*;

    fn request(model: &str) -> serde_json::Value {
        let messages = [
            PromptMessage {
                role: Role::System,
                content: "Be kind.".to_owned(),
            },
            PromptMessage {
                role: Role::User,
                content: "Hi".to_owned(),
            },
            PromptMessage {
                role: Role::Assistant,
                content: "Hello".to_owned(),
            },
        ];
        let completion = Completion {
            model,
            messages: &messages,
            temperature: Some(0.5),
            max_output_tokens: 100,
        };
        serde_json::to_value(Request::new(&completion)).unwrap()
    }

    #[test]
    fn a_request_is_what_the_api_documents() {
        assert_json_snapshot!(request("gpt-4o-mini"), @r#"
        {
          "max_tokens": 100,
          "messages": [
            {
              "content": "Be kind.",
              "role": "system"
            },
            {
              "content": "Hi",
              "role": "user"
            },
            {
              "content": "Hello",
              "role": "assistant"
            }
          ],
          "model": "gpt-4o-mini",
          "stream": true,
          "stream_options": {
            "include_usage": true
          },
          "temperature": 0.5
        }
        "#);
    }

    #[test]
    fn reasoning_models_are_asked_in_their_own_way() {
        for model in ["o3", "o4-mini", "gpt-5", "gpt-5-mini"] {
            let request = request(model);
            assert_eq!(request["max_completion_tokens"], 100, "{model}");
            assert!(
                request.get("max_tokens").is_none() && request.get("temperature").is_none(),
                "{model}"
            );
        }
        for model in ["gpt-4o", "ollama/llama", "omni"] {
            assert_eq!(request(model)["max_tokens"], 100, "{model}");
        }
    }

    #[test]
    fn events_become_deltas() {
        let cases = [
            (
                r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
                vec![],
            ),
            (
                r#"{"choices":[{"index":0,"delta":{"content":"Hi"}}]}"#,
                vec![Delta::Text("Hi".into())],
            ),
            (
                r#"{"choices":[{"delta":{"refusal":"No."}}]}"#,
                vec![Delta::Text("No.".into())],
            ),
            (
                r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#,
                vec![Delta::Finished(FinishReason::Length)],
            ),
            (
                r#"{"choices":[{"delta":{},"finish_reason":"new"}]}"#,
                vec![Delta::Finished(FinishReason::Other)],
            ),
            (
                r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}"#,
                vec![Delta::Used(Usage {
                    input_tokens: 3,
                    output_tokens: 4,
                })],
            ),
            (r#"{"object":"something.new"}"#, vec![]),
        ];

        for (event, expected) in cases {
            assert_eq!(deltas(event).unwrap(), expected, "{event}");
        }
        assert!(matches!(
            deltas("{\"choices\":[{\"delta\""),
            Err(ModelError::Malformed(_))
        ));
        assert!(matches!(
            deltas(r#"{"error":{"message":"overloaded"}}"#),
            Err(ModelError::Failed(_))
        ));
    }

    #[test]
    fn refusals_are_told_apart_before_anything_is_repeated() {
        let second = Some(Duration::from_secs(1));
        let cases: [(u16, &str, ModelError); 9] = [
            (
                429,
                r#"{"error":{"code":"rate_limit_exceeded"}}"#,
                ModelError::RateLimited { retry_after: second },
            ),
            (
                429,
                r#"{"error":{"type":"insufficient_quota"}}"#,
                ModelError::QuotaExhausted,
            ),
            (
                429,
                r#"{"error":{"code":"insufficient_quota"}}"#,
                ModelError::QuotaExhausted,
            ),
            (
                400,
                r#"{"error":{"code":"context_length_exceeded"}}"#,
                ModelError::ContextTooLong,
            ),
            (400, "not json", ModelError::Refused("400 no code".into())),
            (
                401,
                r#"{"error":{"code":"invalid_api_key"}}"#,
                ModelError::Refused("401 invalid_api_key".into()),
            ),
            (
                404,
                r#"{"error":{"code":"model_not_found"}}"#,
                ModelError::Refused("404 model_not_found".into()),
            ),
            (
                500,
                r#"{"error":{"type":"server_error","code":null}}"#,
                ModelError::Failed("500 server_error".into()),
            ),
            (504, "", ModelError::TimedOut),
        ];

        for (status, body, expected) in cases {
            assert_eq!(refusal(status, second, body.as_bytes()), expected, "{status} {body}");
        }
    }
}
