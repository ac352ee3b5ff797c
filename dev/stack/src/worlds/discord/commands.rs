//! The commands that applications register, checked and kept as Discord does
//! (<https://discord.com/developers/docs/interactions/application-commands>).

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::checked::{Checked, DESCRIPTION_MAX_CHARS, is_description, is_name};
use super::ids::Ids;
use super::refusal::Refusal;
use crate::worlds::answer::Answer;

/// The kinds of commands: slash commands, and those of a user's or a message's menu; with how many of each there may be.
const KINDS: [(u64, usize); 3] = [(1, 100), (2, 15), (3, 15)];

/// The kind of the command that opens an application's Activity.
const ENTRY_POINT: u64 = 4;

/// How long a command is in all: the names, descriptions and values in it.
const COMMAND_MAX_CHARS: usize = 8000;
const OPTIONS_MAX: usize = 25;
const CHOICES_MAX: usize = 25;
const VALUE_MAX_CHARS: usize = 100;
const TEXT_MAX_CHARS: u64 = 6000;

/// The types of options that are text, or numbers.
const STRING: u64 = 3;
const NUMBERS: [u64; 2] = [4, 10];

/// The commands of all applications.
#[derive(Debug, Default)]
pub(super) struct Commands {
    by_application: BTreeMap<u64, Vec<Value>>,
}

impl Commands {
    pub(super) fn list(&self, application: u64) -> Vec<Value> {
        self.by_application.get(&application).cloned().unwrap_or_default()
    }

    /// Adds the command that Discord makes for an application with an Activity.
    pub(super) fn add_entry_point(&mut self, application: u64, ids: &mut Ids) {
        let (id, version) = (ids.snowflake(), ids.snowflake());
        let launch = json!({
            "id": id.to_string(),
            "application_id": application.to_string(),
            "version": version.to_string(),
            "type": ENTRY_POINT,
            "name": "launch",
            "name_localizations": null,
            "description": "",
            "description_localizations": null,
            "default_member_permissions": null,
            "dm_permission": true,
            "contexts": null,
            "integration_types": [0, 1],
            "nsfw": false,
            "handler": 2,
        });
        self.by_application.entry(application).or_default().push(launch);
    }

    /// A command that can be used.
    pub(super) fn find(&self, application: u64, kind: u64, name: &str) -> Option<&Value> {
        let mut commands = self.by_application.get(&application)?.iter();
        commands.find(|command| is(command, kind, name))
    }

    /// `GET /applications/<id>/commands`
    pub(super) fn show(&self, application: u64, query: &str) -> Result<Answer, Refusal> {
        let mut is_localized = false;
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            is_localized = match (&*name, &*value) {
                ("with_localizations", "true" | "True" | "1") => true,
                ("with_localizations", "false" | "False" | "0") => false,
                _ => return Err(Refusal::unsupported(&format!("'{name}={value}' in a query"))),
            };
        }
        let mut commands = json!(self.list(application));
        if !is_localized {
            strip_localizations(&mut commands);
        }
        Ok(Answer::json(StatusCode::OK, &commands))
    }

    /// `PUT /applications/<id>/commands`
    pub(super) fn overwrite(&mut self, application: u64, ids: &mut Ids, body: &[u8]) -> Result<Answer, Refusal> {
        let body: Value = serde_json::from_slice(body).map_err(|_| Refusal::not_json())?;
        let wanted = body
            .as_array()
            .ok_or_else(|| Refusal::field("_root", "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType"))?;
        let entry_point = self.list(application).into_iter().find(is_entry_point);
        let mut commands = Vec::new();
        for (index, command) in wanted.iter().enumerate() {
            if is_entry_point(command) {
                let id = |command: &Value| command.get("id").cloned();
                let kept = entry_point.clone().filter(|known| id(known) == id(command));
                commands.push(kept.ok_or_else(|| Refusal::unsupported("making a command of type 4"))?);
                continue;
            }
            let command = self.command(application, ids, command, &index.to_string())?;
            if commands.iter().any(|other| same_name(other, &command)) {
                return Err(Refusal::field(
                    format!("{index}"),
                    "APPLICATION_COMMANDS_DUPLICATE_NAME",
                    "Application command names must be unique",
                ));
            }
            commands.push(command);
        }
        for (kind, max) in KINDS {
            let of_kind = commands
                .iter()
                .filter(|command| command.get("type") == Some(&json!(kind)));
            if of_kind.count() > max {
                return Err(Refusal::field(
                    "_root",
                    "BASE_TYPE_MAX_LENGTH",
                    format!("Must be {max} or fewer in length."),
                ));
            }
        }
        if entry_point.is_some() && !commands.iter().any(is_entry_point) {
            return Err(Refusal::entry_point());
        }
        let answer = Answer::json(StatusCode::OK, &json!(commands));
        self.by_application.insert(application, commands);
        Ok(answer)
    }

    /// A command with what Discord adds to it; one that there was before keeps its id, and its version if it is the same.
    fn command(&self, application: u64, ids: &mut Ids, command: &Value, path: &str) -> Result<Value, Refusal> {
        let command = Checked::new(command, path)?;
        command.knows(&[
            "id",
            "type",
            "name",
            "name_localizations",
            "description",
            "description_localizations",
            "options",
            "default_member_permissions",
            "dm_permission",
            "nsfw",
            "contexts",
            "integration_types",
        ])?;
        let kind = command.number("type")?.unwrap_or(1);
        if !KINDS.iter().any(|(known, _)| *known == kind) {
            return Err(command.wrong("type", "BASE_TYPE_CHOICES", "Value must be one of (1, 2, 3)."));
        }
        let name = command.name(kind == 1)?;
        let description = if kind == 1 {
            command.text("description", 1..=DESCRIPTION_MAX_CHARS)?
        } else {
            let is_empty = matches!(command.get("description"), None | Some(Value::Null))
                || command.get("description") == Some(&json!(""));
            if !is_empty {
                return Err(command.wrong(
                    "description",
                    "APPLICATION_COMMAND_INVALID_DESCRIPTION",
                    "Context menu commands cannot have description",
                ));
            }
            String::new()
        };
        let options = command.list("options")?;
        if kind != 1 && !options.is_empty() {
            return Err(command.wrong(
                "options",
                "APPLICATION_COMMAND_INVALID_OPTIONS",
                "Context menu commands cannot have options",
            ));
        }
        let options = options_of(&options, &command.at("options"))?;
        let contexts = command.numbers("contexts", 0..=2)?;
        let integration_types = command.numbers("integration_types", 0..=0)?;
        let mut normal = json!({
            "application_id": application.to_string(),
            "type": kind,
            "name": name,
            "name_localizations": command.localizations("name_localizations", |name| is_name(name, kind == 1))?,
            "description": description,
            "description_localizations": command.localizations("description_localizations", is_description)?,
            "default_member_permissions": command.permissions()?,
            "dm_permission": contexts.as_ref().is_none_or(|contexts| contexts.contains(&1)),
            "contexts": contexts,
            "integration_types": integration_types.unwrap_or_else(|| vec![0]),
            "nsfw": command.truth("nsfw")?,
        });
        if command.get("dm_permission").is_some() {
            return Err(Refusal::unsupported("'dm_permission', which is deprecated"));
        }
        if length(&normal) + options.iter().map(length).sum::<usize>() > COMMAND_MAX_CHARS {
            return Err(command.wrong(
                "options",
                "APPLICATION_COMMAND_TOO_LARGE",
                "Command exceeds maximum size (8000)",
            ));
        }
        if !options.is_empty() {
            set(&mut normal, "options", json!(options));
        }

        let known = self.find(application, kind, &name);
        let id = known.and_then(|known| known.get("id")).cloned();
        set(
            &mut normal,
            "id",
            id.unwrap_or_else(|| json!(ids.snowflake().to_string())),
        );
        let version = known.and_then(|known| known.get("version")).cloned();
        set(
            &mut normal,
            "version",
            version.unwrap_or_else(|| json!(ids.snowflake().to_string())),
        );
        if known.is_some_and(|known| *known != normal) {
            set(&mut normal, "version", json!(ids.snowflake().to_string()));
        }
        Ok(normal)
    }
}

/// The options of a command with what Discord adds to them.
fn options_of(options: &[Value], path: &str) -> Result<Vec<Value>, Refusal> {
    if options.len() > OPTIONS_MAX {
        return Err(Refusal::field(
            path,
            "BASE_TYPE_MAX_LENGTH",
            "Must be 25 or fewer in length.",
        ));
    }
    let (mut names, mut may_be_required) = (BTreeSet::new(), true);
    let mut normal = Vec::new();
    for (index, option) in options.iter().enumerate() {
        let option = Checked::new(option, &format!("{path}.{index}"))?;
        let (name, is_required, shown) = option_of(&option)?;
        if !names.insert(name) {
            return Err(option.wrong(
                "name",
                "APPLICATION_COMMAND_OPTIONS_NAME_INVALID",
                "Option names must be unique",
            ));
        }
        if is_required && !may_be_required {
            return Err(Refusal::field(
                option.path,
                "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
                "Required options must be placed before non-required options",
            ));
        }
        may_be_required = is_required;
        normal.push(shown);
    }
    Ok(normal)
}

/// An option's name, whether it must be given, and all of it.
fn option_of(option: &Checked<'_>) -> Result<(String, bool, Value), Refusal> {
    option.knows(&[
        "type",
        "name",
        "name_localizations",
        "description",
        "description_localizations",
        "required",
        "choices",
        "autocomplete",
        "min_length",
        "max_length",
        "min_value",
        "max_value",
        "channel_types",
    ])?;
    let kind = option.number("type")?.unwrap_or_default();
    if [1, 2].contains(&kind) {
        return Err(Refusal::unsupported("options that are commands"));
    }
    if !(3..=11).contains(&kind) {
        return Err(option.wrong(
            "type",
            "BASE_TYPE_CHOICES",
            "Value must be one of (3, 4, 5, 6, 7, 8, 9, 10, 11).",
        ));
    }
    let name = option.name(true)?;
    let is_required = option.truth("required")?;
    let mut normal = json!({
        "type": kind,
        "name": name,
        "name_localizations": option.localizations("name_localizations", |name| is_name(name, true))?,
        "description": option.text("description", 1..=DESCRIPTION_MAX_CHARS)?,
        "description_localizations": option.localizations("description_localizations", is_description)?,
    });
    if is_required {
        set(&mut normal, "required", json!(true));
    }
    let allowed = |field: &str, is_allowed: bool| {
        if is_allowed || option.get(field).is_none() {
            return Ok(());
        }
        let message = format!("Options of type {kind} have no {field}");
        Err(option.wrong(field, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", &message))
    };
    let is_text = kind == STRING;
    let is_number = NUMBERS.contains(&kind);
    for (field, is_allowed) in [
        ("choices", is_text || is_number),
        ("autocomplete", is_text || is_number),
        ("min_length", is_text),
        ("max_length", is_text),
        ("min_value", is_number),
        ("max_value", is_number),
        ("channel_types", kind == 7),
    ] {
        allowed(field, is_allowed)?;
        if let Some(value) = option.get(field) {
            set(&mut normal, field, value.clone());
        }
    }
    for (field, min) in [("min_length", 0), ("max_length", 1)] {
        if option
            .number(field)?
            .is_some_and(|length| !(min..=TEXT_MAX_CHARS).contains(&length))
        {
            let message = format!("int value should be between {min} and {TEXT_MAX_CHARS}.");
            return Err(option.wrong(field, "NUMBER_TYPE_RANGE", &message));
        }
    }
    let choices = option.list("choices")?;
    if choices.len() > CHOICES_MAX {
        return Err(option.wrong("choices", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length."));
    }
    if option.truth("autocomplete")? && !choices.is_empty() {
        return Err(option.wrong(
            "autocomplete",
            "APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_INVALID",
            "Options with choices cannot autocomplete",
        ));
    }
    for (index, choice) in choices.iter().enumerate() {
        let choice = Checked::new(choice, &format!("{}.{index}", option.at("choices")))?;
        choice.knows(&["name", "name_localizations", "value"])?;
        choice.text("name", 1..=VALUE_MAX_CHARS)?;
        if is_text {
            choice.text("value", 1..=VALUE_MAX_CHARS)?;
        } else if !choice.get("value").is_some_and(Value::is_number) {
            return Err(choice.wrong("value", "NUMBER_TYPE_COERCE", "Value is not a number."));
        }
    }
    Ok((name, is_required, normal))
}

fn is(command: &Value, kind: u64, name: &str) -> bool {
    (command.get("type"), command.get("name")) == (Some(&json!(kind)), Some(&json!(name)))
}

fn is_entry_point(command: &Value) -> bool {
    command.get("type") == Some(&json!(ENTRY_POINT))
}

fn same_name(one: &Value, other: &Value) -> bool {
    ["type", "name"].iter().all(|field| one.get(field) == other.get(field))
}

/// How long the texts of a command or an option are that count; of translations the longest does.
fn length(value: &Value) -> usize {
    let chars = |text: &Value| text.as_str().map_or(0, |text| text.chars().count());
    let texts = ["name", "description"].iter().map(|field| {
        let own = value.get(field).map_or(0, chars);
        let translations = value.get(format!("{field}_localizations")).and_then(Value::as_object);
        let longest = translations.and_then(|translations| translations.values().map(chars).max());
        own.max(longest.unwrap_or_default())
    });
    let choices = value.get("choices").and_then(Value::as_array).into_iter().flatten();
    let choices = choices.flat_map(|choice| ["name", "value"].map(|field| choice.get(field).map_or(0, chars)));
    texts.sum::<usize>() + choices.sum::<usize>()
}

fn set(value: &mut Value, field: &str, to: Value) {
    if let Value::Object(fields) = value {
        fields.insert(field.to_owned(), to);
    }
}

fn strip_localizations(value: &mut Value) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(strip_localizations),
        Value::Object(fields) => {
            fields.retain(|name, _| !name.ends_with("_localizations"));
            fields.values_mut().for_each(strip_localizations);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overwrite(commands: &mut Commands, body: &Value) -> Result<Vec<Value>, String> {
        let overwritten = commands.overwrite(1, &mut Ids::default(), body.to_string().as_bytes());
        let kept = overwritten.map_err(|refusal| refusal.complaint());
        kept.map(|_| commands.list(1))
    }

    fn ask() -> Value {
        json!({
            "name": "ask", "description": "Asks.", "name_localizations": { "de": "fragen" }, "contexts": [0],
            "options": [
                { "type": 3, "name": "agent", "description": "Who.", "required": true, "autocomplete": true },
                { "type": 5, "name": "ephemeral", "description": "How." },
            ],
        })
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let mut commands = Commands::default();

        let mut kept = overwrite(&mut commands, &json!([ask()])).unwrap().remove(0);

        for field in ["id", "version"] {
            assert!(kept[field].as_str().unwrap().parse::<u64>().is_ok());
            kept[field] = json!("");
        }
        insta::assert_snapshot!(kept, @r#"{"application_id":"1","contexts":[0],"default_member_permissions":null,"description":"Asks.","description_localizations":null,"dm_permission":false,"id":"","integration_types":[0],"name":"ask","name_localizations":{"de":"fragen"},"nsfw":false,"options":[{"autocomplete":true,"description":"Who.","description_localizations":null,"name":"agent","name_localizations":null,"required":true,"type":3},{"description":"How.","description_localizations":null,"name":"ephemeral","name_localizations":null,"type":5}],"type":1,"version":""}"#);
    }

    #[test]
    fn a_command_that_stays_keeps_its_id_and_one_that_changes_gets_a_version() {
        let mut commands = Commands::default();
        let first = overwrite(&mut commands, &json!([ask()])).unwrap();
        let mut changed = ask();
        changed["description"] = json!("Asks somebody.");

        let same = overwrite(&mut commands, &json!([ask()])).unwrap();
        let later = overwrite(&mut commands, &json!([changed, { "name": "Ask", "type": 3 }])).unwrap();

        assert_eq!(first, same);
        assert_eq!((&later[0]["id"], later.len()), (&first[0]["id"], 2));
        assert_ne!(later[0]["version"], first[0]["version"]);
        assert_eq!(overwrite(&mut commands, &json!([])).unwrap(), Vec::<Value>::new());
    }

    #[test]
    fn the_command_of_an_activity_stays() {
        let mut commands = Commands::default();
        commands.add_entry_point(1, &mut Ids::default());
        let launch = commands.list(1).remove(0);

        let without = overwrite(&mut commands, &json!([ask()])).unwrap_err();
        let with = overwrite(&mut commands, &json!([ask(), launch])).unwrap();

        assert!(
            without.starts_with("You cannot remove this app's Entry Point command"),
            "{without}"
        );
        assert_eq!((with.len(), &with[1]), (2, &launch));
        let mut other = launch;
        other["id"] = json!("1");
        assert!(overwrite(&mut commands, &json!([other])).is_err());
    }

    #[test]
    fn what_discord_refuses_is_refused() {
        let with = |field: &str, value: Value| {
            let mut command = ask();
            command[field] = value;
            json!([command])
        };
        let option = |option: Value| with("options", json!([option]));
        let option_with = |field: &str, value: Value| {
            let mut changed = json!({ "type": 3, "name": "a", "description": "b" });
            changed[field] = value;
            option(changed)
        };
        let many: Vec<_> = (0..101)
            .map(|number| json!({ "name": format!("a{number}"), "description": "b" }))
            .collect();
        let long = "a".repeat(100);
        let large: Vec<_> = (0..2)
            .map(|number| {
                let choices: Vec<_> = (0..25).map(|_| json!({ "name": long, "value": long })).collect();
                json!({ "type": 3, "name": format!("a{number}"), "description": "b", "choices": choices })
            })
            .collect();
        let refused = [
            json!({}),
            json!(["ask"]),
            with("name", json!("Ask")),
            with("name", json!("a b")),
            with("name", json!("a".repeat(33))),
            with("name", Value::Null),
            with("type", json!(4)),
            with("type", json!(5)),
            with("type", json!(3)),
            with("description", json!("")),
            with("description", json!("a".repeat(101))),
            with("name_localizations", json!({ "xx": "a" })),
            with("name_localizations", json!({ "de": "A" })),
            with("default_member_permissions", json!(32)),
            with("contexts", json!([3])),
            with("integration_types", json!([1])),
            with("permissions", json!([])),
            json!([ask(), ask()]),
            json!(many),
            with("options", json!(large)),
            option(json!({ "type": 3, "name": "a" })),
            option_with("type", json!(12)),
            option_with("name", json!("A")),
            option_with("max_length", json!(6001)),
            option_with("max_value", json!(1)),
            option_with("choices", json!([{ "name": "a", "value": 1 }])),
            with(
                "options",
                json!([
                    { "type": 3, "name": "a", "description": "b" },
                    { "type": 3, "name": "c", "description": "d", "required": true },
                ]),
            ),
            with(
                "options",
                json!([
                    { "type": 3, "name": "a", "description": "b" },
                    { "type": 3, "name": "a", "description": "d" },
                ]),
            ),
            option(json!({
                "type": 3, "name": "a", "description": "b", "autocomplete": true, "choices": [{ "name": "a", "value": "a" }],
            })),
        ];

        let mut commands = Commands::default();
        let refusals: Vec<_> = refused
            .iter()
            .map(|body| overwrite(&mut commands, body).unwrap_err())
            .collect();

        insta::assert_snapshot!(refusals.join("\n"), @r#"
        Invalid Form Body: _root: LIST_TYPE_CONVERT: Only iterables may be used in a ListType
        Invalid Form Body: 0: DICT_TYPE_CONVERT: Only dictionaries may be used in a DictType
        Invalid Form Body: 0.name: APPLICATION_COMMAND_INVALID_NAME: Command name is invalid
        Invalid Form Body: 0.name: APPLICATION_COMMAND_INVALID_NAME: Command name is invalid
        Invalid Form Body: 0.name: BASE_TYPE_BAD_LENGTH: Must be between 1 and 32 in length.
        Invalid Form Body: 0.name: BASE_TYPE_REQUIRED: This field is required
        Invalid Form Body: _stand_in: STAND_IN_UNSUPPORTED: The stand-in does not support making a command of type 4.
        Invalid Form Body: 0.type: BASE_TYPE_CHOICES: Value must be one of (1, 2, 3).
        Invalid Form Body: 0.description: APPLICATION_COMMAND_INVALID_DESCRIPTION: Context menu commands cannot have description
        Invalid Form Body: 0.description: BASE_TYPE_BAD_LENGTH: Must be between 1 and 100 in length.
        Invalid Form Body: 0.description: BASE_TYPE_BAD_LENGTH: Must be between 1 and 100 in length.
        Invalid Form Body: 0.name_localizations.xx: BASE_TYPE_CHOICES: There is no such locale.
        Invalid Form Body: 0.name_localizations.de: APPLICATION_COMMAND_INVALID_NAME: The localization is invalid
        Invalid Form Body: 0.default_member_permissions: NUMBER_TYPE_COERCE: Value 32 is not a set of permissions.
        Invalid Form Body: 0.contexts: BASE_TYPE_CHOICES: Value must be a set of numbers of 0..=2.
        Invalid Form Body: 0.integration_types: BASE_TYPE_CHOICES: Value must be a set of numbers of 0..=0.
        Invalid Form Body: _stand_in: STAND_IN_UNSUPPORTED: The stand-in does not support '0.permissions'.
        Invalid Form Body: 1: APPLICATION_COMMANDS_DUPLICATE_NAME: Application command names must be unique
        Invalid Form Body: _root: BASE_TYPE_MAX_LENGTH: Must be 100 or fewer in length.
        Invalid Form Body: 0.options: APPLICATION_COMMAND_TOO_LARGE: Command exceeds maximum size (8000)
        Invalid Form Body: 0.options.0.description: BASE_TYPE_REQUIRED: This field is required
        Invalid Form Body: 0.options.0.type: BASE_TYPE_CHOICES: Value must be one of (3, 4, 5, 6, 7, 8, 9, 10, 11).
        Invalid Form Body: 0.options.0.name: APPLICATION_COMMAND_INVALID_NAME: Command name is invalid
        Invalid Form Body: 0.options.0.max_length: NUMBER_TYPE_RANGE: int value should be between 1 and 6000.
        Invalid Form Body: 0.options.0.max_value: APPLICATION_COMMAND_OPTIONS_TYPE_INVALID: Options of type 3 have no max_value
        Invalid Form Body: 0.options.0.choices.0.value: STRING_TYPE_CONVERT: Could not interpret value as string.
        Invalid Form Body: 0.options.1: APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID: Required options must be placed before non-required options
        Invalid Form Body: 0.options.1.name: APPLICATION_COMMAND_OPTIONS_NAME_INVALID: Option names must be unique
        Invalid Form Body: 0.options.0.autocomplete: APPLICATION_COMMAND_OPTIONS_AUTOCOMPLETE_INVALID: Options with choices cannot autocomplete
        "#);
        assert_eq!(commands.list(1), Vec::<Value>::new());
    }
}
