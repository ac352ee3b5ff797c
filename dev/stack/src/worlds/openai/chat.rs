//! A chat completion: what is asked, checked as OpenAI checks it, and what is replied.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::OpenAiOptions;
use super::fault::Fault;
use super::models::{Kind, Model};
use super::refusal::Refusal;
use super::text;

/// The parameters that OpenAI knows.
const PARAMETERS: &[&str] = &[
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "n",
    "parallel_tool_calls",
    "presence_penalty",
    "prompt_cache_key",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
];

/// Decimal parameters and their ranges.
const DECIMALS: &[(&str, f64, f64)] = &[
    ("temperature", 0.0, 2.0),
    ("top_p", 0.0, 1.0),
    ("presence_penalty", -2.0, 2.0),
    ("frequency_penalty", -2.0, 2.0),
];

/// What a user says to have a tool called: `call:<tool>` and perhaps the arguments as JSON.
const CALL: &str = "call:";

/// A request that is correct.
#[derive(Debug)]
pub(super) struct ChatRequest {
    /// The model's name as it was given.
    pub(super) model: String,
    /// How many tokens the model reads.
    pub(super) window: usize,
    /// What the user said last.
    pub(super) question: String,
    pub(super) is_stream: bool,
    pub(super) includes_usage: bool,
    pub(super) prompt_tokens: usize,
    /// The most tokens of a reply.
    limit: Option<usize>,
    /// What the last message is, if it is a tool's result.
    tool_result: Option<String>,
    /// The tools that may be called.
    tools: Vec<String>,
    /// A tool that must be called.
    forced: Option<String>,
    wants_json: bool,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    pub(super) content: Option<String>,
    pub(super) calls: Vec<ToolCall>,
    pub(super) finish_reason: &'static str,
}

/// A tool that the model wants called.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ToolCall {
    pub(super) name: String,
    /// JSON as text, as OpenAI sends it.
    pub(super) arguments: String,
}

impl Reply {
    /// How many tokens the reply has.
    pub(super) fn tokens(&self) -> usize {
        let calls: usize = self
            .calls
            .iter()
            .map(|call| text::count(&call.name) + text::count(&call.arguments))
            .sum();
        calls + self.content.as_deref().map_or(0, text::count)
    }
}

impl ChatRequest {
    /// Checks a request and takes what the reply depends on.
    pub(super) fn parse(body: &Value, model: &Model) -> Result<Self, Refusal> {
        if let Kind::Embedding { .. } = model.kind {
            let message = "This is not a chat model and thus not supported in the v1/chat/completions endpoint.";
            return Err(Refusal::invalid("model", None, message));
        }
        if let Some(unknown) = body
            .as_object()
            .into_iter()
            .flat_map(Map::keys)
            .find(|name| !PARAMETERS.contains(&name.as_str()))
        {
            return Err(Refusal::invalid(
                "",
                None,
                format!("Unrecognized request argument supplied: {unknown}"),
            ));
        }
        check_decimals(body)?;
        let is_stream = boolean(body, "stream")?;
        let includes_usage = stream_options(body, is_stream)?;
        let limit = token_limit(body, model)?;
        check_temperature(body, model)?;
        if body.get("n").is_some_and(|n| n.as_u64() != Some(1)) {
            return Err(Refusal::unsupported("n"));
        }
        if boolean(body, "logprobs")? {
            return Err(Refusal::unsupported("logprobs"));
        }
        let (tools, forced) = tools(body)?;
        let wants_json = wants_json(body)?;

        let messages = messages(body)?;
        let last = messages.last();
        let is_tool_result = last.is_some_and(|message| message.get("role").and_then(Value::as_str) == Some("tool"));
        let question = messages
            .iter()
            .rev()
            .find(|message| message.get("role").and_then(Value::as_str) == Some("user"));
        let request = Self {
            model: text::string(body.get("model")),
            window: model.window,
            question: question
                .map(|message| text::content(message.get("content")))
                .unwrap_or_default(),
            is_stream,
            includes_usage,
            prompt_tokens: 3 + messages.iter().map(message_tokens).sum::<usize>(),
            limit,
            tool_result: is_tool_result.then(|| text::content(last.and_then(|message| message.get("content")))),
            tools,
            forced,
            wants_json,
        };
        if request.prompt_tokens > model.window {
            return Err(Refusal::too_long(model.window, request.prompt_tokens));
        }
        Ok(request)
    }

    /// What the world says to it.
    pub(super) fn reply(&self, options: &OpenAiOptions, fault: Option<Fault>) -> Reply {
        let calls = self.calls();
        if !calls.is_empty() {
            return Reply {
                content: None,
                calls,
                finish_reason: "tool_calls",
            };
        }
        let mut said = match &self.tool_result {
            Some(result) => format!("The tool said: {result}"),
            None => format!("You said: {}", self.question),
        };
        if options.announce {
            said = format!("{} {said}", super::ANNOUNCEMENT);
        }
        if let Some(count) = options.reply_deltas {
            said = (0..count)
                .map(|index| if index == 0 { "word" } else { " word" })
                .collect();
        }
        if self.wants_json {
            said = json!({ "reply": said }).to_string();
        }
        if fault == Some(Fault::OddFrames) {
            said.push_str(" größer ✓ 🙂");
        }
        let text = |content: String, finish_reason| Reply {
            content: Some(content),
            calls: Vec::new(),
            finish_reason,
        };
        let tokens = text::tokens(&said);
        match fault {
            Some(Fault::Empty) => Reply {
                content: None,
                calls: Vec::new(),
                finish_reason: "stop",
            },
            Some(Fault::Filter) => text(String::new(), "content_filter"),
            Some(Fault::Length) => text(
                tokens.iter().take(tokens.len().div_ceil(2)).copied().collect(),
                "length",
            ),
            _ => match self.limit {
                Some(limit) if tokens.len() > limit => text(tokens.into_iter().take(limit).collect(), "length"),
                _ => text(said, "stop"),
            },
        }
    }

    /// The tools that the user asks for, or that the request forces.
    fn calls(&self) -> Vec<ToolCall> {
        if self.tool_result.is_some() {
            return Vec::new();
        }
        let mut calls: Vec<ToolCall> = Vec::new();
        for asked in self.question.split(CALL).skip(1) {
            let name: String = asked
                .chars()
                .take_while(|part| part.is_ascii_alphanumeric() || matches!(part, '_' | '-'))
                .collect();
            if !self.tools.contains(&name) || self.forced.as_ref().is_some_and(|forced| *forced != name) {
                continue;
            }
            let after = asked.get(name.len()..).unwrap_or_default();
            let arguments = serde_json::Deserializer::from_str(after)
                .into_iter::<Map<String, Value>>()
                .next();
            let arguments = arguments.and_then(Result::ok).unwrap_or_default();
            calls.push(ToolCall {
                name,
                arguments: Value::Object(arguments).to_string(),
            });
        }
        if let (true, Some(name)) = (calls.is_empty(), &self.forced) {
            calls.push(ToolCall {
                name: name.clone(),
                arguments: "{}".to_owned(),
            });
        }
        calls
    }
}

/// Checks the decimal parameters.
fn check_decimals(body: &Value) -> Result<(), Refusal> {
    for (name, least, most) in DECIMALS {
        let Some(value) = body.get(name).filter(|value| !value.is_null()) else {
            continue;
        };
        let Some(number) = value.as_f64() else {
            return Err(Refusal::wrong_type(name, "a decimal", value));
        };
        let (side, sign, bound) = match number {
            number if number < *least => ("below minimum", ">=", least),
            number if number > *most => ("above maximum", "<=", most),
            _ => continue,
        };
        let code = if number < *least {
            "decimal_below_min_value"
        } else {
            "decimal_above_max_value"
        };
        let message = format!(
            "Invalid '{name}': decimal {side} value. Expected a value {sign} {bound}, but got {value} instead."
        );
        return Err(Refusal::invalid(name, Some(code), message));
    }
    Ok(())
}

/// A model that thinks first takes no temperature but its own.
fn check_temperature(body: &Value, model: &Model) -> Result<(), Refusal> {
    match body.get("temperature").and_then(Value::as_f64) {
        Some(temperature) if model.kind == Kind::Reasoning && temperature != 1.0 => {
            let message = format!(
                "Unsupported value: 'temperature' does not support {temperature} with this model. Only the default (1) \
                 value is supported."
            );
            Err(Refusal::invalid("temperature", Some("unsupported_value"), message))
        }
        _ => Ok(()),
    }
}

/// A parameter that is true or false; absent is false.
fn boolean(body: &Value, name: &str) -> Result<bool, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(Refusal::wrong_type(name, "a boolean", other)),
    }
}

/// Whether a stream ends with its usage.
fn stream_options(body: &Value, is_stream: bool) -> Result<bool, Refusal> {
    match body.get("stream_options") {
        None | Some(Value::Null) => Ok(false),
        Some(_) if !is_stream => {
            let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
            Err(Refusal::invalid("stream_options", None, message))
        }
        Some(options) if options.is_object() => boolean(options, "include_usage"),
        Some(other) => Err(Refusal::wrong_type("stream_options", "an object", other)),
    }
}

/// The most tokens that the reply may have.
fn token_limit(body: &Value, model: &Model) -> Result<Option<usize>, Refusal> {
    let given = |name: &str| body.get(name).filter(|value| !value.is_null()).cloned();
    let (old, new) = (given("max_tokens"), given("max_completion_tokens"));
    if old.is_some() && model.kind == Kind::Reasoning {
        let message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use \
                       'max_completion_tokens' instead.";
        return Err(Refusal::invalid("max_tokens", Some("unsupported_parameter"), message));
    }
    if old.is_some() && new.is_some() {
        let message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.";
        return Err(Refusal::invalid(
            "max_tokens",
            Some("invalid_parameter_combination"),
            message,
        ));
    }
    let (name, value) = match (old, new) {
        (Some(value), _) => ("max_tokens", value),
        (None, Some(value)) => ("max_completion_tokens", value),
        (None, None) => return Ok(None),
    };
    match value.as_i64() {
        Some(limit @ 1..) => Ok(usize::try_from(limit).ok()),
        Some(limit) => {
            let message = format!(
                "Invalid '{name}': integer below minimum value. Expected a value >= 1, but got {limit} instead."
            );
            Err(Refusal::invalid(name, Some("integer_below_min_value"), message))
        }
        None => Err(Refusal::wrong_type(name, "an integer", &value)),
    }
}

/// Whether the reply is to be a JSON object.
fn wants_json(body: &Value) -> Result<bool, Refusal> {
    match body
        .get("response_format")
        .and_then(|format| format.get("type"))
        .and_then(Value::as_str)
    {
        None if body.get("response_format").is_none_or(Value::is_null) => Ok(false),
        Some("text") => Ok(false),
        Some("json_object") => Ok(true),
        Some("json_schema") => Err(Refusal::unsupported("response_format")),
        _ => Err(Refusal::missing("response_format.type")),
    }
}

/// The names of the tools that may be called, and the one that must be.
fn tools(body: &Value) -> Result<(Vec<String>, Option<String>), Refusal> {
    let choice = body.get("tool_choice").filter(|value| !value.is_null());
    let given = match body.get("tools") {
        None | Some(Value::Null) if choice.is_some() => {
            let message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.";
            return Err(Refusal::invalid("tool_choice", None, message));
        }
        None | Some(Value::Null) => return Ok((Vec::new(), None)),
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(Refusal::wrong_type("tools", "an array of objects", other)),
    };
    if given.is_empty() {
        let message =
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.";
        return Err(Refusal::invalid("tools", Some("empty_array"), message));
    }
    let mut names = Vec::new();
    for (index, tool) in given.iter().enumerate() {
        if tool.get("type").and_then(Value::as_str) != Some("function") {
            return Err(Refusal::missing(&format!("tools[{index}].type")));
        }
        let param = format!("tools[{index}].function.name");
        let name = text::string(tool.pointer("/function/name"));
        let is_name = |part: char| part.is_ascii_alphanumeric() || matches!(part, '_' | '-');
        if name.is_empty() || name.len() > 64 || !name.chars().all(is_name) {
            let message = format!(
                "Invalid '{param}': string does not match pattern. Expected a string that matches the pattern \
                                   '^[a-zA-Z0-9_-]+$'."
            );
            return Err(Refusal::invalid(&param, Some("invalid_value"), message));
        }
        names.push(name);
    }
    let forced = match choice {
        None => None,
        Some(Value::String(choice)) => match choice.as_str() {
            "auto" => None,
            "none" => return Ok((Vec::new(), None)),
            "required" => names.first().cloned(),
            other => {
                let message =
                    format!("Invalid value: '{other}'. Supported values are: 'none', 'auto', and 'required'.");
                return Err(Refusal::invalid("tool_choice", Some("invalid_value"), message));
            }
        },
        Some(choice) => {
            let name = text::string(choice.pointer("/function/name"));
            if !names.contains(&name) {
                let message = format!("Tool choice '{name}' not found in 'tools' parameter.");
                return Err(Refusal::invalid("tool_choice", None, message));
            }
            Some(name)
        }
    };
    Ok((names, forced))
}

/// The messages, each checked by itself and the tools' results against their calls.
fn messages(body: &Value) -> Result<&Vec<Value>, Refusal> {
    let messages = match body.get("messages") {
        None | Some(Value::Null) => return Err(Refusal::missing("messages")),
        Some(Value::Array(messages)) => messages,
        Some(other) => return Err(Refusal::wrong_type("messages", "an array of objects", other)),
    };
    if messages.is_empty() {
        let message =
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.";
        return Err(Refusal::invalid("messages", Some("empty_array"), message));
    }
    let mut open_calls: HashSet<&str> = HashSet::new();
    for (index, message) in messages.iter().enumerate() {
        let param = |field: &str| format!("messages[{index}].{field}");
        if !message.is_object() {
            return Err(Refusal::wrong_type(&format!("messages[{index}]"), "an object", message));
        }
        let role = check_role(message, &param("role"))?;
        check_content(message, role, &param("content"))?;
        check_name(message, &param("name"))?;

        if role == "tool" {
            let id = message
                .get("tool_call_id")
                .and_then(Value::as_str)
                .ok_or_else(|| Refusal::missing(&param("tool_call_id")))?;
            if !open_calls.remove(id) {
                let message = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message \
                               with 'tool_calls'.";
                return Err(Refusal::invalid(&param("role"), None, message));
            }
            continue;
        }
        if !open_calls.is_empty() {
            return Err(unanswered_call(&param("role"), &open_calls));
        }
        let calls = message
            .get("tool_calls")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        open_calls.extend(calls.filter_map(|call| call.get("id").and_then(Value::as_str)));
    }
    if open_calls.is_empty() {
        Ok(messages)
    } else {
        Err(unanswered_call("messages", &open_calls))
    }
}

/// The error of a tool call that no message answers.
fn unanswered_call(param: &str, open: &HashSet<&str>) -> Refusal {
    let mut ids: Vec<&str> = open.iter().copied().collect();
    ids.sort_unstable();
    let message = format!(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
                           The following tool_call_ids did not have response messages: {}",
        ids.join(", ")
    );
    Refusal::invalid(param, None, message)
}

/// A message's role.
fn check_role<'a>(message: &'a Value, param: &str) -> Result<&'a str, Refusal> {
    match message.get("role") {
        None | Some(Value::Null) => Err(Refusal::missing(param)),
        Some(Value::String(role)) => match role.as_str() {
            "system" | "assistant" | "user" | "function" | "tool" | "developer" => Ok(role),
            other => {
                let message = format!(
                    "Invalid value: '{other}'. Supported values are: 'system', 'assistant', 'user', 'function', \
                                       'tool', and 'developer'."
                );
                Err(Refusal::invalid(param, Some("invalid_value"), message))
            }
        },
        Some(other) => Err(Refusal::wrong_type(param, "a string", other)),
    }
}

/// A message's content: text, or parts that its role may have.
fn check_content(message: &Value, role: &str, param: &str) -> Result<(), Refusal> {
    match message.get("content") {
        Some(Value::String(_)) => Ok(()),
        None | Some(Value::Null) if role == "assistant" && message.get("tool_calls").is_some_and(Value::is_array) => {
            Ok(())
        }
        None | Some(Value::Null) => {
            let message = "Invalid value for 'content': expected a string, got null.";
            Err(Refusal::invalid(param, None, message))
        }
        Some(Value::Array(parts)) if !parts.is_empty() => {
            let allowed: &[&str] = match role {
                "user" => &["text", "image_url", "input_audio", "file"],
                "assistant" => &["text", "refusal"],
                _ => &["text"],
            };
            for (index, part) in parts.iter().enumerate() {
                let kind = text::string(part.get("type"));
                let is_whole = kind != "text" || part.get("text").is_some_and(Value::is_string);
                if !allowed.contains(&kind.as_str()) || !is_whole {
                    let message = format!("Invalid value: '{kind}'. Supported values are: {allowed:?}.");
                    return Err(Refusal::invalid(
                        &format!("{param}[{index}].type"),
                        Some("invalid_value"),
                        message,
                    ));
                }
            }
            Ok(())
        }
        Some(other) => {
            let message = Refusal::wrong_type(param, "one of a string or array of objects", other);
            Err(message)
        }
    }
}

/// A speaker's name has no space and none of `<|\/>`, which surprises those who put people's names there.
fn check_name(message: &Value, param: &str) -> Result<(), Refusal> {
    match message.get("name") {
        None => Ok(()),
        Some(Value::String(name)) => {
            let is_forbidden = |part: char| part.is_whitespace() || matches!(part, '<' | '|' | '\\' | '/' | '>');
            if name.is_empty() || name.contains(is_forbidden) {
                let message = format!(
                    "Invalid '{param}': string does not match pattern. Expected a string that matches the pattern \
                                       '^[^\\s<|\\\\/>]+$'."
                );
                return Err(Refusal::invalid(param, Some("invalid_value"), message));
            }
            Ok(())
        }
        Some(other) => Err(Refusal::wrong_type(param, "a string", other)),
    }
}

/// What a message adds to the prompt.
fn message_tokens(message: &Value) -> usize {
    let calls = message
        .get("tool_calls")
        .filter(|calls| calls.is_array())
        .map(Value::to_string)
        .unwrap_or_default();
    4 + text::count(&text::content(message.get("content"))) + text::count(&calls)
}
