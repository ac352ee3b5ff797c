//! JSON Schema, as far as a catalog needs it to say what a tool's configuration may be.
//!
//! A part of draft 2020-12: `type`, `enum`, `const`; `properties`, `required`, `additionalProperties`, `minProperties`, `maxProperties`;
//! `minLength`, `maxLength`, `pattern`, `format`; `minimum`, `maximum` and their exclusive siblings; `items`, `minItems`, `maxItems`; and annotations,
//! which say nothing to a program. A schema with anything else is none: what would not be checked must not pass as if it had been. So there is no
//! `$ref`, which could lead elsewhere. Patterns are matched in time that is linear in the text.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use regex_lite::{Regex, RegexBuilder};
use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};
use url::Url;

/// What a compiled pattern may take, in bytes.
const PATTERN_MAX_BYTES: usize = 256 * 1024;

/// What a value may be.
#[derive(Debug)]
pub(crate) struct Schema(Keywords);

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Keywords {
    #[serde(rename = "type")]
    kinds: Option<Kinds>,
    #[serde(rename = "enum")]
    options: Option<Vec<Value>>,
    #[serde(rename = "const", deserialize_with = "even_null")]
    constant: Option<Value>,

    properties: BTreeMap<String, Schema>,
    required: Vec<String>,
    additional_properties: Option<Additional>,
    min_properties: Option<usize>,
    max_properties: Option<usize>,

    min_length: Option<usize>,
    max_length: Option<usize>,
    pattern: Option<Pattern>,
    format: Option<Format>,

    minimum: Option<Number>,
    maximum: Option<Number>,
    exclusive_minimum: Option<Number>,
    exclusive_maximum: Option<Number>,

    items: Option<Box<Schema>>,
    min_items: Option<usize>,
    max_items: Option<usize>,

    // For people.
    #[serde(rename = "$schema")]
    _schema: IgnoredAny,
    #[serde(rename = "$id")]
    _id: IgnoredAny,
    #[serde(rename = "$comment")]
    _comment: IgnoredAny,
    #[serde(rename = "title")]
    _title: IgnoredAny,
    #[serde(rename = "description")]
    _description: IgnoredAny,
    #[serde(rename = "default")]
    _default: IgnoredAny,
    #[serde(rename = "examples")]
    _examples: IgnoredAny,
    #[serde(rename = "deprecated")]
    _deprecated: IgnoredAny,
}

/// Of which kinds a value may be.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Kinds {
    One(Kind),
    Some(Vec<Kind>),
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

/// What a property may be that is not named.
#[derive(Debug)]
enum Additional {
    /// Anything, or it may not be there.
    Allowed(bool),
    /// What the schema says.
    Schema(Box<Schema>),
}

/// An expression that must match somewhere in a text.
#[derive(Debug)]
struct Pattern(Regex);

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Format {
    Uri,
    Hostname,
    Ipv4,
    Ipv6,
}

/// Which rule a value breaks, and where. The value itself is not in it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Violation {
    /// The names and positions that lead to what is at fault.
    pub(crate) path: Vec<String>,
    /// What is wrong with it.
    pub(crate) problem: String,
}

impl Schema {
    /// Reads a schema.
    ///
    /// # Errors
    ///
    /// In words for the operator, if it is none, or says something that is not checked here.
    pub(crate) fn parse(document: &Value) -> Result<Self, String> {
        Self::deserialize(document).map_err(|error| error.to_string())
    }

    /// Checks a value.
    ///
    /// # Errors
    ///
    /// The first rule that it breaks.
    pub(crate) fn check(&self, value: &Value) -> Result<(), Violation> {
        if let Some(kinds) = &self.0.kinds
            && !kinds.admit(value)
        {
            return broken(format_args!("must be {kinds}"));
        }
        if let Some(options) = &self.0.options
            && !options.iter().any(|option| is_same(option, value))
        {
            return broken(format_args!("must be one of {}", Value::from(options.as_slice())));
        }
        if let Some(constant) = &self.0.constant
            && !is_same(constant, value)
        {
            return broken(format_args!("must be {constant}"));
        }
        match value {
            Value::Object(fields) => self.check_object(fields),
            Value::Array(items) => self.check_array(items),
            Value::String(text) => self.check_text(text),
            Value::Number(number) => self.check_number(number),
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    fn check_object(&self, fields: &serde_json::Map<String, Value>) -> Result<(), Violation> {
        if let Some(name) = self.0.required.iter().find(|name| !fields.contains_key(*name)) {
            return broken("is required").map_err(|violation| violation.within(name));
        }
        within(fields.len(), self.0.min_properties, self.0.max_properties, "properties")?;
        for (name, value) in fields {
            let checked = match (self.0.properties.get(name), &self.0.additional_properties) {
                (Some(schema), _) => schema.check(value),
                (None, Some(Additional::Schema(schema))) => schema.check(value),
                (None, Some(Additional::Allowed(false))) => broken("is not known"),
                (None, Some(Additional::Allowed(true)) | None) => Ok(()),
            };
            checked.map_err(|violation| violation.within(name))?;
        }
        Ok(())
    }

    fn check_array(&self, items: &[Value]) -> Result<(), Violation> {
        within(items.len(), self.0.min_items, self.0.max_items, "items")?;
        let Some(schema) = &self.0.items else { return Ok(()) };
        items.iter().enumerate().try_for_each(|(position, item)| {
            let checked = schema.check(item);
            checked.map_err(|violation| violation.within(&position.to_string()))
        })
    }

    fn check_text(&self, text: &str) -> Result<(), Violation> {
        within(text.chars().count(), self.0.min_length, self.0.max_length, "characters")?;
        if let Some(Pattern(pattern)) = &self.0.pattern
            && !pattern.is_match(text)
        {
            return broken(format_args!("must match the pattern {pattern}"));
        }
        if let Some(format) = self.0.format
            && !format.admits(text)
        {
            return broken(format_args!("must be {format}"));
        }
        Ok(())
    }

    fn check_number(&self, number: &Number) -> Result<(), Violation> {
        let breaks = |limit: &Number, wrong: fn(Ordering) -> bool| compare(number, limit).is_none_or(wrong);
        if let Some(least) = self.0.minimum.as_ref().filter(|limit| breaks(limit, |o| o.is_lt())) {
            return broken(format_args!("must be at least {least}"));
        }
        if let Some(most) = self.0.maximum.as_ref().filter(|limit| breaks(limit, |o| o.is_gt())) {
            return broken(format_args!("must be at most {most}"));
        }
        if let Some(bound) = self
            .0
            .exclusive_minimum
            .as_ref()
            .filter(|limit| breaks(limit, |o| o.is_le()))
        {
            return broken(format_args!("must be greater than {bound}"));
        }
        if let Some(bound) = self
            .0
            .exclusive_maximum
            .as_ref()
            .filter(|limit| breaks(limit, |o| o.is_ge()))
        {
            return broken(format_args!("must be less than {bound}"));
        }
        Ok(())
    }
}

impl Violation {
    /// The same, seen from one step further out.
    fn within(mut self, name: &str) -> Self {
        self.path.insert(0, name.to_owned());
        self
    }
}

fn broken(problem: impl fmt::Display) -> Result<(), Violation> {
    Err(Violation {
        path: Vec::new(),
        problem: problem.to_string(),
    })
}

/// Whether there are as many of something as there may be.
fn within(count: usize, least: Option<usize>, most: Option<usize>, what: &str) -> Result<(), Violation> {
    match (least, most) {
        (Some(least), _) if count < least => broken(format_args!("must have at least {least} {what}")),
        (_, Some(most)) if count > most => broken(format_args!("must have at most {most} {what}")),
        _ => Ok(()),
    }
}

/// Which number is greater. Integers beyond 2⁵³ are not what they are as floats.
fn compare(one: &Number, other: &Number) -> Option<Ordering> {
    let integer = |number: &Number| {
        let signed = number.as_i64().map(i128::from);
        signed.or_else(|| number.as_u64().map(i128::from))
    };
    match (integer(one), integer(other)) {
        (Some(one), Some(other)) => Some(one.cmp(&other)),
        _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
    }
}

/// Whether two values are equal as JSON Schema has it: 1 is 1.0.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || compare(one, other) == Some(Ordering::Equal),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let in_other =
                |(name, value): (&String, &Value)| other.get(name).is_some_and(|other| is_same(value, other));
            one.len() == other.len() && one.iter().all(in_other)
        }
        _ => one == other,
    }
}

impl Kinds {
    fn admit(&self, value: &Value) -> bool {
        match self {
            Self::One(kind) => kind.admits(value),
            Self::Some(kinds) => kinds.iter().any(|kind| kind.admits(value)),
        }
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(kind) => formatter.write_str(kind.name()),
            Self::Some(kinds) => {
                let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                formatter.write_str(&names.join(" or "))
            }
        }
    }
}

impl Kind {
    fn admits(self, value: &Value) -> bool {
        match self {
            Self::Null => value.is_null(),
            Self::Boolean => value.is_boolean(),
            Self::Integer => {
                value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
            }
            Self::Number => value.is_number(),
            Self::String => value.is_string(),
            Self::Array => value.is_array(),
            Self::Object => value.is_object(),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "true or false",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::String => "text",
            Self::Array => "a list",
            Self::Object => "an object",
        }
    }
}

impl Format {
    fn admits(self, text: &str) -> bool {
        match self {
            Self::Uri => is_uri(text),
            Self::Hostname => is_hostname(text),
            Self::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Self::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Uri => "an absolute URI",
            Self::Hostname => "a host name",
            Self::Ipv4 => "an IPv4 address",
            Self::Ipv6 => "an IPv6 address",
        })
    }
}

/// RFC 3986: the characters first, since the parser mends what browsers mend.
fn is_uri(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    text.bytes().all(is_allowed) && Url::parse(text).is_ok()
}

/// RFC 1123, 2.1.
fn is_hostname(text: &str) -> bool {
    let is_inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(is_inside)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

impl<'de> Deserialize<'de> for Schema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // A struct could be a list as well.
        let keywords = serde_json::Map::deserialize(deserializer)?;
        Keywords::deserialize(keywords).map(Self).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Additional {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not untagged: the reason why a schema is none would be lost.
        match Value::deserialize(deserializer)? {
            Value::Bool(is_allowed) => Ok(Self::Allowed(is_allowed)),
            document => Schema::parse(&document)
                .map(|schema| Self::Schema(Box::new(schema)))
                .map_err(D::Error::custom),
        }
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        RegexBuilder::new(&text)
            .size_limit(PATTERN_MAX_BYTES)
            .build()
            .map(Self)
            .map_err(|error| D::Error::custom(format_args!("a pattern is none: {error}")))
    }
}

/// A value that is there is there, null included.
fn even_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn outcome(schema: &Value, value: &Value) -> String {
        match Schema::parse(schema).unwrap().check(value) {
            Ok(()) => "valid".to_owned(),
            Err(Violation { path, problem }) => format!("[{}] {problem}", path.join("/")),
        }
    }

    /// Each keyword with a value that obeys it, one that it does not concern, and one that breaks it.
    #[test]
    fn each_keyword_means_what_the_standard_says() {
        let cases = [
            (json!({}), vec![json!(null), json!([1])], vec![]),
            (
                json!({ "type": "string" }),
                vec![json!("")],
                vec![json!(1), json!(null)],
            ),
            (
                json!({ "type": "integer" }),
                vec![json!(1), json!(-1), json!(1.0), json!(u64::MAX)],
                vec![json!(1.5), json!("1")],
            ),
            (
                json!({ "type": "number" }),
                vec![json!(1), json!(1.5)],
                vec![json!(true)],
            ),
            (
                json!({ "type": ["boolean", "null"] }),
                vec![json!(true), json!(null)],
                vec![json!(0)],
            ),
            (json!({ "type": "array" }), vec![json!([])], vec![json!({})]),
            (json!({ "type": "object" }), vec![json!({})], vec![json!([])]),
            (
                json!({ "enum": ["a", 1, { "b": [2] }] }),
                vec![json!("a"), json!(1.0), json!({ "b": [2.0] })],
                vec![json!("b"), json!(true), json!({ "b": [2], "c": 0 })],
            ),
            (
                json!({ "const": null }),
                vec![json!(null)],
                vec![json!(0), json!("null")],
            ),
            (
                json!({ "properties": { "a": { "type": "string" } } }),
                vec![json!({}), json!({ "a": "x", "b": 1 }), json!("x")],
                vec![json!({ "a": 1 })],
            ),
            (
                json!({ "required": ["a"] }),
                vec![json!({ "a": null }), json!(7)],
                vec![json!({ "b": 1 })],
            ),
            (
                json!({ "properties": { "a": {} }, "additionalProperties": false }),
                vec![json!({}), json!({ "a": 1 })],
                vec![json!({ "b": 1 })],
            ),
            (
                json!({ "additionalProperties": { "type": "string" } }),
                vec![json!({ "b": "x" })],
                vec![json!({ "b": 1 })],
            ),
            (json!({ "additionalProperties": true }), vec![json!({ "b": 1 })], vec![]),
            (
                json!({ "minProperties": 1, "maxProperties": 2 }),
                vec![json!({ "a": 1 }), json!([])],
                vec![json!({}), json!({ "a": 1, "b": 2, "c": 3 })],
            ),
            (
                json!({ "minLength": 2, "maxLength": 3 }),
                vec![json!("éé"), json!("abc"), json!(1)],
                vec![json!("é"), json!("abcd")],
            ),
            // Somewhere in the text, unless it says otherwise.
            (
                json!({ "pattern": "b+" }),
                vec![json!("abbc"), json!(1)],
                vec![json!("ac"), json!("")],
            ),
            (
                json!({ "pattern": "^b$" }),
                vec![json!("b")],
                vec![json!("abc"), json!("b\n")],
            ),
            (
                json!({ "format": "uri" }),
                vec![json!("https://ghe.example.com:8443/a?b#c"), json!("urn:a:b"), json!(1)],
                vec![
                    json!("example.com"),
                    json!("/a"),
                    json!("https://a b"),
                    json!("https://a\n"),
                    json!("https://é.com"),
                ],
            ),
            (
                json!({ "format": "hostname" }),
                vec![json!("a.example-1.com"), json!("localhost")],
                vec![json!("a..b"), json!("-a.b"), json!("a_b"), json!("a.b/c"), json!("")],
            ),
            (
                json!({ "format": "ipv4" }),
                vec![json!("127.0.0.1")],
                vec![json!("127.1"), json!("::1")],
            ),
            (
                json!({ "format": "ipv6" }),
                vec![json!("::1")],
                vec![json!("127.0.0.1")],
            ),
            (
                json!({ "minimum": 1, "maximum": 2.5 }),
                vec![json!(1), json!(2.5), json!("9")],
                vec![json!(0.99), json!(3)],
            ),
            (
                json!({ "exclusiveMinimum": 1, "exclusiveMaximum": 2 }),
                vec![json!(1.5)],
                vec![json!(1), json!(2)],
            ),
            (
                json!({ "items": { "type": "string" }, "minItems": 1, "maxItems": 2 }),
                vec![json!(["a"]), json!({})],
                vec![json!([]), json!(["a", 1]), json!(["a", "b", "c"])],
            ),
            (
                json!({ "$schema": "x", "$id": "y", "$comment": "", "title": "", "description": "", "default": 1, "examples": [], "deprecated": true }),
                vec![json!(1)],
                vec![],
            ),
        ];

        for (schema, valid, invalid) in cases {
            for value in valid {
                assert_eq!(outcome(&schema, &value), "valid", "{schema} {value}");
            }
            for value in invalid {
                assert_ne!(outcome(&schema, &value), "valid", "{schema} {value}");
            }
        }
    }

    #[test]
    fn integers_are_compared_as_such() {
        let most = json!({ "maximum": 9_007_199_254_740_992_i64, "minimum": -9_007_199_254_740_992_i64 });
        let one = json!({ "const": 9_007_199_254_740_992_i64 });

        assert_eq!(outcome(&most, &json!(9_007_199_254_740_992_i64)), "valid");
        assert_snapshot!(outcome(&most, &json!(9_007_199_254_740_993_i64)), @"[] must be at most 9007199254740992");
        assert_snapshot!(outcome(&most, &json!(-9_007_199_254_740_993_i64)), @"[] must be at least -9007199254740992");
        assert_snapshot!(outcome(&most, &json!(u64::MAX)), @"[] must be at most 9007199254740992");
        assert_eq!(outcome(&one, &json!(9_007_199_254_740_992.0)), "valid");
        assert_ne!(outcome(&one, &json!(9_007_199_254_740_993_i64)), "valid");
    }

    #[test]
    fn a_violation_says_where_and_what_and_not_what_was_sent() {
        let schema = json!({
            "required": ["host"],
            "additionalProperties": false,
            "properties": {
                "host": { "type": "string", "format": "uri", "pattern": "^https:", "maxLength": 30 },
                "mode": { "enum": ["0", "1"] },
                "list": { "items": { "type": ["integer", "null"], "maximum": 9 } },
            },
        });
        let with = |name: &str, value: Value| {
            let mut whole = json!({ "host": "https://a" });
            whole[name] = value;
            outcome(&schema, &whole)
        };

        assert_snapshot!(outcome(&schema, &json!({})), @"[host] is required");
        assert_snapshot!(with("other", json!("secret")), @"[other] is not known");
        assert_snapshot!(with("host", json!(7)), @"[host] must be text");
        assert_snapshot!(with("host", json!("http://secret")), @"[host] must match the pattern ^https:");
        assert_snapshot!(with("host", json!("https://")), @"[host] must be an absolute URI");
        assert_snapshot!(with("host", json!("https://".to_owned() + &"a".repeat(30))), @"[host] must have at most 30 characters");
        assert_snapshot!(with("mode", json!("2")), @r#"[mode] must be one of ["0","1"]"#);
        assert_snapshot!(with("list", json!([1, "secret"])), @"[list/1] must be a whole number or null");
        assert_snapshot!(with("list", json!([10])), @"[list/0] must be at most 9");
    }

    #[test]
    fn a_schema_that_says_what_is_not_checked_is_none() {
        let cases = [
            json!([]),
            json!(true),
            json!({ "items": [] }),
            json!({ "anyOf": [] }),
            json!({ "properties": { "a": { "$ref": "https://example.com/schema.json" } } }),
            json!({ "additionalProperties": { "not": {} } }),
            json!({ "items": { "format": "regex" } }),
            json!({ "type": "nothing" }),
            json!({ "minLength": -1 }),
            json!({ "pattern": "(" }),
            json!({ "pattern": "a(?=b)" }),
            json!({ "pattern": "(a{1000}){1000}" }),
        ];

        for schema in cases {
            assert!(Schema::parse(&schema).is_err(), "{schema}");
        }
        assert_snapshot!(
            Schema::parse(&json!({ "properties": { "a": { "not": {} } } })).unwrap_err().split(',').next().unwrap(),
            @"unknown field `not`"
        );
    }

    #[test]
    fn a_hostile_text_takes_linear_time() {
        let schema = json!({ "pattern": "^(a+)+$" });

        assert_eq!(
            outcome(&schema, &json!("a".repeat(16_000) + "!")),
            "[] must match the pattern ^(a+)+$"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_checked(text in any::<String>(), number in any::<f64>()) {
            let schema = Schema::parse(&json!({
                "format": "uri", "pattern": "^.+$", "minimum": 0, "additionalProperties": { "format": "hostname" },
            }));
            let schema = schema.unwrap();
            for value in [json!(text), json!(number), json!({ text.as_str(): number }), json!([text])] {
                let _either = schema.check(&value);
            }
        }
    }
}
