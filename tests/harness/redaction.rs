//! What differs from run to run, replaced so that the rest can be a snapshot.

use serde_json::Value;

/// A value in which ids, request ids, times and durations are replaced by what they are.
#[must_use]
pub fn redacted(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(redacted_text(text)),
        Value::Array(items) => items.iter().map(redacted).collect(),
        Value::Object(fields) => {
            let redact = |(name, value): (&String, &Value)| match name.as_str() {
                "ms" | "first_byte_ms" => (name.clone(), "[ms]".into()),
                _ => (name.clone(), redacted(value)),
            };
            fields.iter().map(redact).collect()
        }
        other => other.clone(),
    }
}

fn redacted_text(text: &str) -> String {
    if uuid::Uuid::parse_str(text).is_ok() && text.len() == 36 {
        return "[id]".to_owned();
    }
    if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return "[request id]".to_owned();
    }
    if is_time(text) {
        return "[time]".to_owned();
    }
    text.to_owned()
}

/// Such as `2026-09-01T12:00:00.000Z`.
fn is_time(text: &str) -> bool {
    let shape: String = text
        .chars()
        .map(|character| if character.is_ascii_digit() { '0' } else { character })
        .collect();
    shape.starts_with("0000-00-00T00:00:00")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_differs_from_run_to_run_is_replaced() {
        let value = json!({
            "id": "3f0c9a1e-7d5b-4c8e-9a2f-1b6d7e8f9a0b",
            "request_id": "3f0c9a1e7d5b4c8e9a2f1b6d7e8f9a0b",
            "list": ["2026-09-01T12:00:00.123Z", "2026-09-01 is a day", 7],
            "ms": 1.5,
        });

        let expected = json!({
            "id": "[id]", "request_id": "[request id]", "list": ["[time]", "2026-09-01 is a day", 7], "ms": "[ms]",
        });
        assert_eq!(redacted(&value), expected);
    }
}
