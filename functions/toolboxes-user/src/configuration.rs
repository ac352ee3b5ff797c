//! A tool's configuration, from the request to what the catalog demands of it.
//!
//! It becomes environment variables of a container, and nothing else of it: which there are, and what may be in them, is the catalog's schema
//! to say. A tool without a schema takes none.

use agentopia_platform::ApiError;
use serde_json::{Map, Value};

use crate::schema::{Schema, Violation};

/// What clients call it.
const FIELD: &str = "baseConfigOverrideJson";
/// The longest configuration, in bytes of JSON.
const MAX_BYTES: usize = 16 * 1024;
/// The longest name of a field, and the longest problem, that a refusal repeats.
const SHOWN_MAX_CHARS: usize = 200;

/// A configuration of a form that can be stored: an object, or none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Configuration(Option<Value>);

impl Configuration {
    /// Takes what a client sent.
    pub(crate) fn parse(value: Option<Value>) -> Result<Self, ApiError> {
        let value = match value {
            None | Some(Value::Null) => return Ok(Self(None)),
            Some(value @ Value::Object(_)) => value,
            Some(_) => return Err(ApiError::invalid_field(FIELD, "must be an object")),
        };
        if value.to_string().len() > MAX_BYTES {
            let problem = format_args!("must be at most {MAX_BYTES} bytes");
            return Err(ApiError::invalid_field(FIELD, problem));
        }
        if has_nul(&value) {
            return Err(ApiError::invalid_field(FIELD, "contains a NUL character"));
        }
        Ok(Self(Some(value)))
    }

    /// What is to be stored.
    pub(crate) fn value(&self) -> Option<&Value> {
        self.0.as_ref()
    }

    /// Checks it against the catalog's schema. To have none is to have an empty one.
    pub(crate) fn check(&self, schema: Option<&Value>) -> Result<(), ApiError> {
        let nothing = serde_json::json!({ "additionalProperties": false });
        let schema = Schema::parse(schema.unwrap_or(&nothing))
            .map_err(|cause| ApiError::internal(format!("a schema of the catalog is none: {cause}")))?;
        let empty = Value::Object(Map::new());
        let value = self.0.as_ref().unwrap_or(&empty);

        schema.check(value).map_err(|violation| refusal(&violation))
    }
}

/// Whether there is a NUL in a text or a name: Postgres has none in JSON, and no environment variable does.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The refusal of what breaks the schema, by its name.
fn refusal(violation: &Violation) -> ApiError {
    let names = violation.path.iter().map(String::as_str);
    let field = [FIELD].into_iter().chain(names).collect::<Vec<_>>().join(".");
    ApiError::invalid_field(&shown(&field), shown(&violation.problem))
}

/// As much of a text as a refusal shows.
fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use serde_json::json;

    use super::*;

    fn outcome(value: Value, schema: Option<&Value>) -> String {
        let checked = Configuration::parse(Some(value)).and_then(|configuration| configuration.check(schema));
        match checked {
            Ok(()) => "accepted".to_owned(),
            Err(error) => {
                let envelope = error.envelope("id");
                format!("{}: {}", envelope["field"].as_str().unwrap(), error.message())
            }
        }
    }

    #[test]
    fn what_breaks_the_schema_is_named() {
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "required": ["HOST"],
            "properties": {"HOST": {"type": "string", "pattern": "^https://"}},
        });
        let check = |value: Value| outcome(value, Some(&schema));

        assert_eq!(check(json!({ "HOST": "https://a" })), "accepted");
        assert_snapshot!(check(Value::Null), @"baseConfigOverrideJson.HOST: baseConfigOverrideJson.HOST is required.");
        assert_snapshot!(check(json!({ "HOST": "a" })), @"baseConfigOverrideJson.HOST: baseConfigOverrideJson.HOST must match the pattern ^https://.");
        assert_snapshot!(check(json!({ "HOST": "https://a", "HostConfig": { "Privileged": true } })), @"baseConfigOverrideJson.HostConfig: baseConfigOverrideJson.HostConfig is not known.");
        let long = check(json!({ "HOST": "https://a", "x".repeat(5000): 1 }));
        assert!(long.len() < 600 && long.ends_with("x… is not known."), "{long}");
    }

    #[test]
    fn what_cannot_be_stored_is_refused_whatever_the_schema() {
        let check = |value: Value| outcome(value, Some(&json!({})));

        assert_snapshot!(check(json!([])), @"baseConfigOverrideJson: baseConfigOverrideJson must be an object.");
        assert_snapshot!(check(json!("{}")), @"baseConfigOverrideJson: baseConfigOverrideJson must be an object.");
        assert_snapshot!(check(json!({ "a": [{ "b": "c\0" }] })), @"baseConfigOverrideJson: baseConfigOverrideJson contains a NUL character.");
        assert_snapshot!(check(json!({ "a\0": 1 })), @"baseConfigOverrideJson: baseConfigOverrideJson contains a NUL character.");
        assert_snapshot!(check(json!({ "a": "b".repeat(MAX_BYTES) })), @"baseConfigOverrideJson: baseConfigOverrideJson must be at most 16384 bytes.");
        assert_eq!(check(json!({ "a": "b".repeat(MAX_BYTES - 8) })), "accepted");
    }

    #[test]
    fn a_tool_without_a_schema_takes_no_configuration() {
        assert_eq!(outcome(Value::Null, None), "accepted");
        assert_eq!(outcome(json!({}), None), "accepted");
        assert_snapshot!(outcome(json!({ "A": "1" }), None), @"baseConfigOverrideJson.A: baseConfigOverrideJson.A is not known.");
    }

    #[test]
    fn a_schema_that_cannot_be_checked_is_our_fault() {
        let error = Configuration(None).check(Some(&json!({ "anyOf": [] }))).unwrap_err();

        assert_eq!(
            (error.status().as_u16(), error.message()),
            (500, "Internal server error")
        );
    }
}
