//! The models that the world has.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::fault::Fault;
use super::refusal::Refusal;

/// What is particular to a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) name: &'static str,
    /// How many tokens it reads.
    pub(super) window: usize,
    pub(super) kind: Kind,
}

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Chat.
    Chat,
    /// Chat by a model that thinks first: it takes neither `max_tokens` nor a temperature.
    Reasoning,
    /// Embeddings, with the most dimensions; some can be asked for fewer.
    Embedding { dimensions: usize, can_shorten: bool },
}

/// The models as they are.
pub(super) const PLAIN: &[Model] = &[
    chat("gpt-3.5-turbo", 16_385),
    chat("gpt-4", 8_192),
    chat("gpt-4-turbo", 128_000),
    chat("gpt-4.1", 1_047_576),
    chat("gpt-4.1-mini", 1_047_576),
    chat("gpt-4.1-nano", 1_047_576),
    chat("gpt-4o", 128_000),
    chat("gpt-4o-mini", 128_000),
    reasoning("gpt-5", 400_000),
    reasoning("gpt-5-mini", 400_000),
    reasoning("gpt-5-nano", 400_000),
    reasoning("o1", 200_000),
    reasoning("o3", 200_000),
    reasoning("o3-mini", 200_000),
    reasoning("o4-mini", 200_000),
    embedding("text-embedding-3-large", 3_072, true),
    embedding("text-embedding-3-small", 1_536, true),
    embedding("text-embedding-ada-002", 1_536, false),
];

/// What a model that is named after a fault is like otherwise.
const FAULTY: Model = chat("stand-in", 128_000);

const fn chat(name: &'static str, window: usize) -> Model {
    Model {
        name,
        window,
        kind: Kind::Chat,
    }
}

const fn reasoning(name: &'static str, window: usize) -> Model {
    Model {
        name,
        window,
        kind: Kind::Reasoning,
    }
}

const fn embedding(name: &'static str, dimensions: usize, can_shorten: bool) -> Model {
    Model {
        name,
        window: 8_192,
        kind: Kind::Embedding {
            dimensions,
            can_shorten,
        },
    }
}

/// The model that a request names, and the fault that the name stands for.
pub(super) fn find(body: &Value) -> Result<(&'static Model, Option<Fault>), Refusal> {
    let name = match body.get("model") {
        Some(Value::String(name)) if !name.is_empty() => name,
        Some(other) if !other.is_null() && !other.is_string() => {
            return Err(Refusal::wrong_type("model", "a string", other));
        }
        _ => return Err(Refusal::invalid("", None, "you must provide a model parameter")),
    };
    if let Some(model) = PLAIN.iter().find(|model| model.name == name) {
        return Ok((model, None));
    }
    match Fault::parse(name).filter(|_| name.starts_with(Fault::PREFIX)) {
        Some(fault) => Ok((&FAULTY, Some(fault))),
        None => Err(Refusal::no_model(name)),
    }
}

/// `GET /v1/models`
pub(super) fn list() -> Response {
    let models: Vec<Value> = PLAIN.iter().map(object).collect();
    super::json(StatusCode::OK, &json!({ "object": "list", "data": models }))
}

/// `GET /v1/models/<name>`
pub(super) fn show(model: &Model) -> Response {
    super::json(StatusCode::OK, &object(model))
}

/// A model as the API shows it.
fn object(model: &Model) -> Value {
    json!({ "id": model.name, "object": "model", "created": 1_715_367_049, "owned_by": "stand-in" })
}
