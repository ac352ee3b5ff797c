//! The fields of a command as it is sent, looked at one by one.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use serde_json::{Map, Value, json};

use super::refusal::Refusal;

const NAME_MAX_CHARS: usize = 32;

/// The longest description of a command or an option.
pub(super) const DESCRIPTION_MAX_CHARS: usize = 100;

/// Languages (<https://discord.com/developers/docs/reference#locales>).
const LOCALES: [&str; 32] = [
    "id", "da", "de", "en-GB", "en-US", "es-ES", "es-419", "fr", "hr", "it", "lt", "hu", "nl", "no", "pl", "pt-BR",
    "ro", "fi", "sv-SE", "vi", "tr", "cs", "el", "bg", "ru", "uk", "hi", "th", "zh-CN", "ja", "zh-TW", "ko",
];

/// An object whose fields are looked at.
pub(super) struct Checked<'a> {
    fields: &'a Map<String, Value>,
    pub(super) path: String,
}

impl<'a> Checked<'a> {
    pub(super) fn new(value: &'a Value, path: &str) -> Result<Self, Refusal> {
        let fields = value
            .as_object()
            .ok_or_else(|| Refusal::field(path, "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType"))?;
        Ok(Self {
            fields,
            path: path.to_owned(),
        })
    }

    /// Refuses what Discord ignores, so that a client notices its mistake.
    pub(super) fn knows(&self, known: &[&str]) -> Result<(), Refusal> {
        match self.fields.keys().find(|field| !known.contains(&field.as_str())) {
            Some(field) => Err(Refusal::unsupported(&format!("'{}'", self.at(field)))),
            None => Ok(()),
        }
    }

    pub(super) fn get(&self, field: &str) -> Option<&'a Value> {
        self.fields.get(field)
    }

    /// The path of a field.
    pub(super) fn at(&self, field: &str) -> String {
        format!("{}.{field}", self.path)
    }

    pub(super) fn wrong(&self, field: &str, code: &'static str, message: &str) -> Refusal {
        Refusal::field(self.at(field), code, message)
    }

    pub(super) fn number(&self, field: &str) -> Result<Option<u64>, Refusal> {
        match self.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_u64()
                .map(Some)
                .ok_or_else(|| self.wrong(field, "NUMBER_TYPE_COERCE", &format!("Value \"{value}\" is not int."))),
        }
    }

    pub(super) fn truth(&self, field: &str) -> Result<bool, Refusal> {
        match self.get(field) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(_) => Err(self.wrong(field, "BASE_TYPE_BAD_BOOLEAN", "Must be either true or false.")),
        }
    }

    pub(super) fn text(&self, field: &str, length: RangeInclusive<usize>) -> Result<String, Refusal> {
        let text = match self.get(field) {
            None | Some(Value::Null) => return Err(self.wrong(field, "BASE_TYPE_REQUIRED", "This field is required")),
            Some(Value::String(text)) => text,
            Some(_) => return Err(self.wrong(field, "STRING_TYPE_CONVERT", "Could not interpret value as string.")),
        };
        if length.contains(&text.chars().count()) {
            return Ok(text.clone());
        }
        let message = format!("Must be between {} and {} in length.", length.start(), length.end());
        Err(self.wrong(field, "BASE_TYPE_BAD_LENGTH", &message))
    }

    pub(super) fn name(&self, is_slash: bool) -> Result<String, Refusal> {
        let name = self.text("name", 1..=NAME_MAX_CHARS)?;
        if is_name(&name, is_slash) {
            Ok(name)
        } else {
            Err(self.wrong("name", "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid"))
        }
    }

    pub(super) fn list(&self, field: &str) -> Result<Vec<Value>, Refusal> {
        match self.get(field) {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(list.clone()),
            Some(_) => Err(self.wrong(field, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")),
        }
    }

    /// A list of different numbers.
    pub(super) fn numbers(&self, field: &str, range: RangeInclusive<u64>) -> Result<Option<Vec<u64>>, Refusal> {
        if matches!(self.get(field), None | Some(Value::Null)) {
            return Ok(None);
        }
        let list = self.list(field)?;
        let numbers: BTreeSet<_> = list
            .iter()
            .filter_map(Value::as_u64)
            .filter(|number| range.contains(number))
            .collect();
        if numbers.is_empty() || numbers.len() < list.len() {
            let message = format!("Value must be a set of numbers of {range:?}.");
            return Err(self.wrong(field, "BASE_TYPE_CHOICES", &message));
        }
        Ok(Some(numbers.into_iter().collect()))
    }

    /// What somebody must be allowed to do who uses the command: a number in a string.
    pub(super) fn permissions(&self) -> Result<Value, Refusal> {
        let field = "default_member_permissions";
        match self.get(field) {
            None | Some(Value::Null) => Ok(Value::Null),
            Some(Value::String(bits)) if bits.parse::<u64>().is_ok() => Ok(json!(bits)),
            Some(value) => Err(self.wrong(
                field,
                "NUMBER_TYPE_COERCE",
                &format!("Value {value} is not a set of permissions."),
            )),
        }
    }

    pub(super) fn localizations(&self, field: &str, is_valid: impl Fn(&str) -> bool) -> Result<Value, Refusal> {
        let localizations = match self.get(field) {
            None | Some(Value::Null) => return Ok(Value::Null),
            Some(Value::Object(localizations)) => localizations,
            Some(_) => {
                return Err(self.wrong(
                    field,
                    "DICT_TYPE_CONVERT",
                    "Only dictionaries may be used in a DictType",
                ));
            }
        };
        for (locale, text) in localizations {
            if !LOCALES.contains(&locale.as_str()) {
                return Err(self.wrong(
                    &format!("{field}.{locale}"),
                    "BASE_TYPE_CHOICES",
                    "There is no such locale.",
                ));
            }
            if !text.as_str().is_some_and(&is_valid) {
                return Err(self.wrong(
                    &format!("{field}.{locale}"),
                    "APPLICATION_COMMAND_INVALID_NAME",
                    "The localization is invalid",
                ));
            }
        }
        Ok(json!(localizations))
    }
}

/// Whether a name is one: of a slash command or an option in lower case and one word, of another command in any.
pub(super) fn is_name(name: &str, is_slash: bool) -> bool {
    let length = (1..=NAME_MAX_CHARS).contains(&name.chars().count());
    let is_word = |letter: char| letter.is_alphanumeric() || "-_'".contains(letter);
    length && (!is_slash || name.chars().all(is_word) && name.to_lowercase() == name)
}

pub(super) fn is_description(text: &str) -> bool {
    (1..=DESCRIPTION_MAX_CHARS).contains(&text.chars().count())
}
