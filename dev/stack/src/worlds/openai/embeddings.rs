//! `POST /v1/embeddings`: a unit vector for each text, near for texts that share words.

use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::models::{self, Kind};
use super::refusal::Refusal;
use super::text;

/// The parameters that OpenAI knows.
const PARAMETERS: &[&str] = &["model", "input", "dimensions", "encoding_format", "user"];

/// The most texts in one request.
const MOST_INPUTS: usize = 2_048;

/// Answers a request.
pub(super) fn embed(body: &Value) -> Result<Response, Refusal> {
    let (model, _) = models::find(body)?;
    let Kind::Embedding {
        dimensions: most,
        can_shorten,
    } = model.kind
    else {
        let message = "You are not allowed to generate embeddings from this model";
        return Err(Refusal::invalid("", None, message));
    };
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
    let dimensions = match body.get("dimensions") {
        None | Some(Value::Null) => most,
        Some(_) if !can_shorten => {
            return Err(Refusal::invalid(
                "",
                None,
                "This model does not support specifying dimensions.",
            ));
        }
        Some(value) => match value.as_u64().and_then(|wanted| usize::try_from(wanted).ok()) {
            Some(wanted) if (1..=most).contains(&wanted) => wanted,
            _ => {
                return Err(Refusal::invalid(
                    "dimensions",
                    None,
                    format!("Invalid value for 'dimensions' = {value}."),
                ));
            }
        },
    };
    let is_base64 = match body.get("encoding_format").and_then(Value::as_str) {
        None | Some("float") => false,
        Some("base64") => true,
        Some(_) => {
            return Err(Refusal::invalid(
                "encoding_format",
                Some("invalid_value"),
                "Invalid 'encoding_format'.",
            ));
        }
    };

    let inputs = inputs(body)?;
    let mut tokens = 0;
    let mut data = Vec::new();
    for (index, input) in inputs.iter().enumerate() {
        let count = text::count(input);
        if count > model.window {
            let message = format!(
                "This model's maximum context length is {} tokens, however you requested {count} tokens ({count} in \
                                   your prompt; 0 for the completion). Please reduce your prompt; or completion \
                                   length.",
                model.window
            );
            return Err(Refusal::invalid("", None, message));
        }
        tokens += count;
        let vector = vector(input, dimensions);
        let embedding = if is_base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            json!(STANDARD.encode(bytes))
        } else {
            json!(vector)
        };
        data.push(json!({ "object": "embedding", "index": index, "embedding": embedding }));
    }
    let usage = json!({ "prompt_tokens": tokens, "total_tokens": tokens });
    Ok(super::json(
        StatusCode::OK,
        &json!({ "object": "list", "data": data, "model": model.name, "usage": usage }),
    ))
}

/// The texts of a request.
fn inputs(body: &Value) -> Result<Vec<&str>, Refusal> {
    let empty = || Refusal::invalid("input", None, "Invalid 'input': input cannot be an empty string.");
    let inputs = match body.get("input") {
        None | Some(Value::Null) => return Err(Refusal::missing("input")),
        Some(Value::String(text)) => vec![text.as_str()],
        Some(Value::Array(items)) if items.len() > MOST_INPUTS => {
            return Err(Refusal::invalid(
                "input",
                None,
                format!("Invalid 'input': at most {MOST_INPUTS} items are allowed."),
            ));
        }
        Some(Value::Array(items)) if !items.is_empty() && items.iter().all(Value::is_number) => {
            return Err(Refusal::unsupported("input"));
        }
        Some(Value::Array(items)) => {
            let texts = items.iter().map(|item| {
                item.as_str()
                    .ok_or_else(|| Refusal::wrong_type("input", "a string", item))
            });
            texts.collect::<Result<_, _>>()?
        }
        Some(other) => return Err(Refusal::wrong_type("input", "a string", other)),
    };
    if inputs.is_empty() || inputs.iter().any(|text| text.is_empty()) {
        return Err(empty());
    }
    Ok(inputs)
}

/// The vector of a text: every word adds a direction of its own, which its hash chooses.
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut vector = vec![0.0_f32; dimensions];
    let words = text
        .split(|character: char| !character.is_alphanumeric())
        .filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(str::to_lowercase).collect();
    let whole = [text.to_owned()];
    for word in if words.is_empty() {
        whole.as_slice()
    } else {
        words.as_slice()
    } {
        for chunk in Sha256::digest(word.as_bytes()).chunks_exact(4) {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
            let sign = if bits & 1 == 0 { 1.0 } else { -1.0 };
            let place = usize::try_from(bits >> 1).unwrap_or_default() % dimensions;
            if let Some(number) = vector.get_mut(place) {
                *number += sign;
            }
        }
    }
    // The constant part keeps a text whose directions cancel each other from having no direction.
    if let Some(first) = vector.first_mut() {
        *first += 0.01;
    }
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|number| *number /= length);
    vector
}

#[cfg(test)]
mod tests {
    use super::vector;

    fn nearness(one: &str, other: &str) -> f32 {
        vector(one, 1536)
            .iter()
            .zip(vector(other, 1536))
            .map(|(one, other)| one * other)
            .sum()
    }

    #[test]
    fn texts_that_share_words_are_near() {
        assert!(
            (nearness("the cat sat", "the cat sat") - 1.0).abs() < 1e-5,
            "of length one"
        );
        assert!(nearness("the cat sat", "The cat ran") > 0.5);
        assert!(nearness("the cat sat", "quarterly revenue report") < 0.3);
        assert!((nearness("?", "?") - 1.0).abs() < 1e-5, "even without a word");
    }
}
