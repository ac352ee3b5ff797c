//! Replies on the wire: whole, or as a stream of events, as sound or as broken as was asked for.

use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures::stream;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::chat::{ChatRequest, Reply};
use super::fault::Fault;
use super::refusal::Refusal;
use super::{OpenAiOptions, now, text};

/// How many deltas come before a stream breaks.
const BEFORE_BREAK: usize = 2;

/// A time in which a connection surely sends what it has, so that what follows is a packet of its own.
const PACKET_PAUSE: Duration = Duration::from_millis(5);

/// What a body does next.
#[derive(Debug)]
enum Step {
    /// Sends these bytes.
    Send(Bytes),
    /// Waits this much longer than the last wait.
    Wait(Duration),
    /// Never goes on.
    Stall,
    /// Breaks the connection.
    Cut,
}

/// The response to a request.
pub(super) fn respond(
    request: &ChatRequest,
    reply: Reply,
    options: &OpenAiOptions,
    fault: Option<Fault>,
    number: u64,
) -> Response {
    let interval = if fault == Some(Fault::Slow) {
        options.slow_interval
    } else {
        options.delta_interval
    };
    let (content_type, steps) = if request.is_stream {
        (
            "text/event-stream; charset=utf-8",
            events(request, &reply, interval, fault, number),
        )
    } else {
        ("application/json", whole(request, &reply, interval, fault, number))
    };
    (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], body(steps)).into_response()
}

/// A body that goes through its steps. One that only sends has a known length.
fn body(steps: Vec<Step>) -> Body {
    if let [Step::Send(bytes)] = steps.as_slice() {
        return Body::from(bytes.clone());
    }
    let begin = Instant::now();
    Body::from_stream(stream::unfold(
        (steps.into_iter(), begin),
        async |(mut steps, mut due)| {
            loop {
                match steps.next()? {
                    Step::Send(bytes) => return Some((Ok(bytes), (steps, due))),
                    Step::Wait(time) => {
                        // By the plan, not by when the last wait ended: a cadence does not drift.
                        due += time;
                        tokio::time::sleep_until(due).await;
                    }
                    Step::Stall => std::future::pending::<()>().await,
                    Step::Cut => return Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), (steps, due))),
                }
            }
        },
    ))
}

/// A whole reply.
fn whole(request: &ChatRequest, reply: &Reply, interval: Duration, fault: Option<Fault>, number: u64) -> Vec<Step> {
    let mut message = json!({ "role": "assistant", "content": reply.content, "refusal": null, "annotations": [] });
    if let (false, Some(message)) = (reply.calls.is_empty(), message.as_object_mut()) {
        message.insert("tool_calls".to_owned(), calls(reply, number));
    }
    let object = json!({
        "id": format!("chatcmpl-stand-in-{number}"),
        "object": "chat.completion",
        "created": now(),
        "model": request.model,
        "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": reply.finish_reason }],
        "usage": usage(request, reply),
        "service_tier": "default",
        "system_fingerprint": "fp_stand_in",
    });
    let text = object.to_string();
    let half = Bytes::copy_from_slice(text.as_bytes().get(..text.len() / 2).unwrap_or_default());
    let mut steps = Vec::new();
    if !interval.is_zero() {
        steps.push(Step::Wait(interval * u32::try_from(reply.tokens()).unwrap_or(u32::MAX)));
    }
    match fault {
        Some(Fault::StallMid) => steps.extend([Step::Send(half), Step::Stall]),
        Some(Fault::Cut) => steps.extend([Step::Send(half), Step::Wait(PACKET_PAUSE), Step::Cut]),
        Some(Fault::Malformed) => steps.push(Step::Send(half)),
        _ => steps.push(Step::Send(Bytes::from(text))),
    }
    steps
}

/// A reply as events.
fn events(request: &ChatRequest, reply: &Reply, interval: Duration, fault: Option<Fault>, number: u64) -> Vec<Step> {
    let frames = Frames::new(request, number);
    let mut steps = vec![Step::Send(frames.delta(
        &json!({ "role": "assistant", "content": reply.content.as_ref().map(|_| ""), "refusal": null }),
    ))];
    let deltas = deltas(reply, number);
    let breaks = matches!(
        fault,
        Some(Fault::StallMid | Fault::Cut | Fault::ErrorMid | Fault::Malformed)
    );
    let sent = if breaks { BEFORE_BREAK } else { deltas.len() };
    for delta in deltas.iter().take(sent) {
        if !interval.is_zero() {
            steps.push(Step::Wait(interval));
        }
        steps.push(Step::Send(frames.delta(delta)));
    }
    match fault {
        Some(Fault::StallMid) => steps.push(Step::Stall),
        Some(Fault::Cut) => steps.extend([Step::Wait(PACKET_PAUSE), Step::Cut]),
        Some(Fault::ErrorMid) => steps.push(Step::Send(frame(&Refusal::server_error().body().to_string()))),
        Some(Fault::Malformed) => {
            steps.push(Step::Send(frame(
                r#"{"id":"chatcmpl-stand-in","object":"chat.completion.chunk","choices":[{"#,
            )));
            steps.push(Step::Send(frame("[DONE]")));
        }
        _ => {
            steps.push(Step::Send(frames.finish(reply.finish_reason)));
            if request.includes_usage {
                steps.push(Step::Send(frames.usage(&usage(request, reply))));
            }
            steps.push(Step::Send(frame("[DONE]")));
        }
    }
    if fault == Some(Fault::OddFrames) {
        odd(&steps)
    } else {
        steps
    }
}

/// The deltas after the first, one for each token.
fn deltas(reply: &Reply, number: u64) -> Vec<Value> {
    let content = reply.content.as_deref().unwrap_or_default();
    let mut deltas: Vec<Value> = text::tokens(content)
        .into_iter()
        .map(|token| json!({ "content": token }))
        .collect();
    for (index, call) in reply.calls.iter().enumerate() {
        let function = json!({ "name": call.name, "arguments": "" });
        let begin = json!({ "index": index, "id": call_id(number, index), "type": "function", "function": function });
        deltas.push(json!({ "tool_calls": [begin] }));
        for token in text::tokens(&call.arguments) {
            deltas.push(json!({ "tool_calls": [{ "index": index, "function": { "arguments": token } }] }));
        }
    }
    deltas
}

/// The parts of a stream's events that are the same in all of them, written once.
struct Frames {
    before: String,
    after: &'static str,
}

impl Frames {
    fn new(request: &ChatRequest, number: u64) -> Self {
        let (created, model) = (now(), json!(request.model));
        let kind = r#""object":"chat.completion.chunk""#;
        let stand_in = r#""service_tier":"default","system_fingerprint":"fp_stand_in""#;
        let before = format!(
            r#"data: {{"id":"chatcmpl-stand-in-{number}",{kind},"created":{created},"model":{model},{stand_in},"#
        );
        Self {
            before,
            after: if request.includes_usage {
                ",\"usage\":null}\n\n"
            } else {
                "}\n\n"
            },
        }
    }

    /// An event with a delta.
    fn delta(&self, delta: &Value) -> Bytes {
        let Self { before, after } = self;
        format!(r#"{before}"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":null}}]{after}"#)
            .into()
    }

    /// The event that says why the reply ends.
    fn finish(&self, reason: &str) -> Bytes {
        let Self { before, after } = self;
        format!(r#"{before}"choices":[{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"{reason}"}}]{after}"#)
            .into()
    }

    /// The event with the usage, which has no choice.
    fn usage(&self, usage: &Value) -> Bytes {
        format!("{}\"choices\":[],\"usage\":{usage}}}\n\n", self.before).into()
    }
}

/// An event with any data.
fn frame(data: &str) -> Bytes {
    format!("data: {data}\n\n").into()
}

/// The same events in every form that the standard allows:
/// <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
fn odd(steps: &[Step]) -> Vec<Step> {
    let mut odd = vec![Step::Send(Bytes::from_static(
        b": a comment\r\n\r\nretry: 1000\r\n\r\n",
    ))];
    for (index, step) in steps.iter().enumerate() {
        let Step::Send(bytes) = step else { continue };
        let event = String::from_utf8_lossy(bytes).into_owned();
        let event = match index % 3 {
            0 => event.replace('\n', "\r\n"),
            1 => format!(": between\nid: {index}\nevent: message\n{event}"),
            _ => event.replacen("data: ", "data:", 1),
        };
        // Cut within the first character of several bytes, else in the middle.
        let bytes = Bytes::from(event);
        let cut = bytes
            .iter()
            .position(|byte| *byte >= 0x80)
            .map_or(bytes.len() / 2, |position| position + 1);
        odd.extend([
            Step::Send(bytes.slice(..cut)),
            Step::Wait(PACKET_PAUSE),
            Step::Send(bytes.slice(cut..)),
        ]);
    }
    odd
}

/// The tool calls of a whole message.
fn calls(reply: &Reply, number: u64) -> Value {
    let calls = reply.calls.iter().enumerate().map(|(index, call)| {
        let function = json!({ "name": call.name, "arguments": call.arguments });
        json!({ "id": call_id(number, index), "type": "function", "function": function })
    });
    calls.collect()
}

/// The id of a tool call.
fn call_id(number: u64, index: usize) -> String {
    format!("call_stand_in_{number}_{index}")
}

/// What was read and written.
fn usage(request: &ChatRequest, reply: &Reply) -> Value {
    let (read, written) = (request.prompt_tokens, reply.tokens());
    json!({
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": { "cached_tokens": 0, "audio_tokens": 0 },
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}
