//! Fields of a request's body, parsed: what is missing or malformed is refused by the field's name.

use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::{Deserialize, Deserializer};

use crate::error::{ApiError, Kind};

/// A field that must be there.
///
/// # Errors
///
/// 400 `missing_field`.
pub fn required<T>(field: &str, value: Option<T>) -> Result<T, ApiError> {
    value.ok_or_else(|| missing(field))
}

/// The refusal of a request that lacks a field.
#[must_use]
pub fn missing(field: &str) -> ApiError {
    ApiError::new(Kind::Invalid, "missing_field", format!("{field} is required.")).field(field)
}

/// Texts that must all be there, trimmed. An empty one is an absent one: forms send both.
///
/// # Errors
///
/// 400 `missing_field`, which names those that are absent.
pub fn required_texts<'a, const N: usize>(fields: [(&str, Option<&'a str>); N]) -> Result<[&'a str; N], ApiError> {
    let fields = fields.map(|(field, value)| (field, value.map_or("", str::trim)));
    let absent: Vec<_> = fields
        .iter()
        .filter(|(_, text)| text.is_empty())
        .map(|(field, _)| *field)
        .collect();
    let Some(first) = absent.first() else {
        return Ok(fields.map(|(_, text)| text));
    };
    let message = format!("Missing required fields: {}", absent.join(", "));
    Err(ApiError::new(Kind::Invalid, "missing_field", message).field(*first))
}

/// An id that must be there. An empty one is an absent one: forms send both.
///
/// # Errors
///
/// 400 `missing_field` or `invalid_field`.
pub fn required_id<T: FromStr>(field: &str, value: Option<&str>) -> Result<T, ApiError> {
    let text = value.map(str::trim).filter(|text| !text.is_empty());
    let text = required(field, text)?;
    text.parse()
        .map_err(|_| ApiError::invalid_field(field, "is not a UUID"))
}

/// A text whose length in characters is within `lengths`, and which the database can hold.
///
/// # Errors
///
/// 400 `invalid_field`.
pub fn text<'a>(field: &str, value: &'a str, lengths: RangeInclusive<usize>) -> Result<&'a str, ApiError> {
    let (least, most) = (lengths.start(), lengths.end());
    if value.contains('\0') {
        return Err(ApiError::invalid_field(field, "contains a NUL character"));
    }
    if !lengths.contains(&value.chars().count()) {
        return Err(ApiError::invalid_field(
            field,
            format_args!("must be {least} to {most} characters"),
        ));
    }
    Ok(value)
}

/// For `#[serde(default, deserialize_with = …)]`: tells a field that is null, `Some(None)`, from one that is absent, `None`.
///
/// # Errors
///
/// If what is there is of another type.
pub fn nullable<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use agentopia_domain::ids::AgentId;
    use insta::assert_snapshot;

    use super::*;

    const ID: &str = "00000000-0000-4000-8000-000000000001";

    fn refusal<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        let error = result.unwrap_err();
        assert_eq!(error.envelope("id")["field"], "f");
        format!("{} {}", error.code(), error.message())
    }

    #[test]
    fn an_id_is_a_uuid_that_is_there() {
        let id = |value| required_id::<AgentId>("f", value);

        assert_eq!(id(Some(ID)).unwrap().to_string(), ID);
        assert_snapshot!(refusal(id(None)), @"missing_field f is required.");
        assert_snapshot!(refusal(id(Some(" "))), @"missing_field f is required.");
        assert_snapshot!(refusal(id(Some("x"))), @"invalid_field f is not a UUID.");
    }

    #[test]
    fn texts_are_all_there_or_all_that_are_not_are_named() {
        let refusal = |name, region| refusal(required_texts([("f", name), ("g", region)]));

        assert_eq!(
            required_texts([("f", Some(" a ")), ("g", Some("b"))]).unwrap(),
            ["a", "b"]
        );
        assert_snapshot!(refusal(None, None), @"missing_field Missing required fields: f, g");
        assert_snapshot!(refusal(Some(" \n"), Some("b")), @"missing_field Missing required fields: f");
    }

    #[test]
    fn a_text_is_bounded_in_characters() {
        assert_eq!(text("f", "éé", 1..=2).unwrap(), "éé");
        assert_snapshot!(refusal(text("f", "", 1..=2)), @"invalid_field f must be 1 to 2 characters.");
        assert_snapshot!(refusal(text("f", "abc", 1..=2)), @"invalid_field f must be 1 to 2 characters.");
        assert_snapshot!(refusal(text("f", "a\0", 1..=2)), @"invalid_field f contains a NUL character.");
    }

    #[test]
    fn null_is_not_absent() {
        #[derive(Deserialize)]
        struct Body {
            #[serde(default, deserialize_with = "nullable")]
            name: Option<Option<String>>,
        }
        let name = |body: &str| serde_json::from_str::<Body>(body).unwrap().name;

        assert_eq!(name("{}"), None);
        assert_eq!(name(r#"{"name":null}"#), Some(None));
        assert_eq!(name(r#"{"name":"a"}"#), Some(Some("a".to_owned())));
    }
}
