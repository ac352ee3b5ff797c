//! People in guilds, and what Discord posts when they use a command.
//!
//! Like Discord's own client this lets nobody do what a command does not allow: use one that is not registered, in a guild where the application is
//! not, without the permission that it asks for, with options that it does not have or without those that it must have.

use serde_json::{Map, Value, json};

use super::commands::Commands;
use super::guilds::Guilds;
use crate::StackError;

/// The kinds of commands.
const SLASH: u64 = 1;
const MESSAGE: u64 = 3;

/// Somebody, somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who it is.
    pub id: u64,
    /// The name.
    pub name: String,
    /// What it may do, as a set of bits.
    pub permissions: u64,
    /// The guild where it is.
    pub guild: u64,
    /// The channel that it looks at.
    pub channel: u64,
}

impl Person {
    /// The permission to manage a guild.
    pub const MANAGE_GUILD: u64 = 1 << 5;

    /// What everybody may: look at channels, write messages, use commands.
    pub const EVERYBODY: u64 = 1 << 10 | 1 << 11 | 1 << 16 | 1 << 31;

    /// The same person, looking at another channel.
    #[must_use]
    pub fn in_channel(&self, channel: u64) -> Self {
        Self {
            channel,
            ..self.clone()
        }
    }

    /// The same person, with these permissions as well.
    #[must_use]
    pub fn who_may(&self, permissions: u64) -> Self {
        Self {
            permissions: self.permissions | permissions,
            ..self.clone()
        }
    }
}

/// What somebody does.
pub(super) enum Deed<'a> {
    /// Uses a slash command.
    Command(&'a str, &'a [(&'a str, Value)]),
    /// Uses a command of a message's menu.
    OnMessage(&'a str, &'a str),
    /// Types an option of a slash command.
    Typing(&'a str, &'a [(&'a str, Value)], (&'a str, &'a str)),
}

/// What Discord posts of a deed, without what each interaction has of its own; `ids` are one for a message.
pub(super) fn payload(
    (guilds, commands): (&Guilds, &Commands),
    application: u64,
    person: &Person,
    deed: &Deed<'_>,
    message_id: u64,
) -> Result<Value, StackError> {
    let failed = |why: String| StackError::Failed(format!("{} cannot do that: {why}", person.name));
    let channel = guilds
        .channel(person.guild, person.channel)
        .ok_or_else(|| failed("there is no such channel".to_owned()))?;
    if !guilds.has(application, person.guild) {
        return Err(failed("the application is not in the guild".to_owned()));
    }
    let (kind, name) = match deed {
        Deed::Command(name, _) | Deed::Typing(name, _, _) => (SLASH, name),
        Deed::OnMessage(name, _) => (MESSAGE, name),
    };
    let command = commands
        .find(application, kind, name)
        .ok_or_else(|| failed(format!("there is no command '{name}'")))?;
    let needed = command.get("default_member_permissions").and_then(Value::as_str);
    let needed = needed.and_then(|bits| bits.parse::<u64>().ok());
    if needed.is_some_and(|bits| bits == 0 || person.permissions & bits != bits) {
        return Err(failed(format!("the command '{name}' is not for everybody")));
    }

    let mut data = Map::new();
    data.insert("id".to_owned(), command.get("id").cloned().unwrap_or_default());
    data.insert("name".to_owned(), json!(name));
    data.insert("type".to_owned(), json!(kind));
    let user = user(person.id, &person.name);
    match deed {
        Deed::Command(_, given) => {
            let options = options(command, given, None).map_err(failed)?;
            if !options.is_empty() {
                data.insert("options".to_owned(), json!(options));
            }
        }
        Deed::Typing(_, given, focused) => {
            let options = options(command, given, Some(*focused)).map_err(failed)?;
            data.insert("options".to_owned(), json!(options));
        }
        Deed::OnMessage(_, content) => {
            let message = json!({
                "id": message_id.to_string(), "type": 0, "channel_id": person.channel.to_string(), "content": content,
                "author": user, "timestamp": "2021-07-22T16:30:36.550000+00:00", "edited_timestamp": null,
                "attachments": [], "embeds": [], "mentions": [], "mention_roles": [], "mention_everyone": false,
                "pinned": false, "tts": false, "flags": 0, "components": [],
            });
            data.insert("target_id".to_owned(), json!(message_id.to_string()));
            data.insert(
                "resolved".to_owned(),
                json!({ "messages": { message_id.to_string(): message } }),
            );
        }
    }
    let guild = person.guild.to_string();
    Ok(json!({
        "type": if matches!(deed, Deed::Typing(..)) { 4 } else { 2 },
        "data": data,
        "app_permissions": "442368",
        "attachment_size_limit": super::message::FILE_MAX_BYTES,
        "guild_id": guild,
        "guild": { "id": guild, "locale": "en-US", "features": [] },
        "guild_locale": "en-US",
        "channel_id": person.channel.to_string(),
        "channel": channel,
        "member": {
            "user": user, "nick": null, "avatar": null, "roles": [], "flags": 0,
            "joined_at": "2017-03-13T19:19:14.040000+00:00", "premium_since": null, "deaf": false, "mute": false,
            "pending": false, "permissions": person.permissions.to_string(),
        },
        "locale": "en-US",
        "context": 0,
        "authorizing_integration_owners": { "0": guild },
    }))
}

/// What was filled in, if the command has it; while something is typed not all that must be there is.
fn options(command: &Value, given: &[(&str, Value)], focused: Option<(&str, &str)>) -> Result<Vec<Value>, String> {
    let known = command.get("options").and_then(Value::as_array);
    let known = known.map(Vec::as_slice).unwrap_or_default();
    let find = |name: &str| {
        let mut named = known.iter().filter(|option| option.get("name") == Some(&json!(name)));
        named.next().ok_or_else(|| format!("there is no option '{name}'"))
    };
    let mut options = Vec::new();
    for (name, value) in given {
        let option = find(name)?;
        let kind = option.get("type").and_then(Value::as_u64).unwrap_or_default();
        let is_typed = match kind {
            3 => value.is_string(),
            4 | 10 => value.is_number(),
            5 => value.is_boolean(),
            _ => value.as_str().is_some_and(|id| id.parse::<u64>().is_ok()),
        };
        let length = value.as_str().map_or(0, |text| text.chars().count()) as u64;
        let limit = |field| option.get(field).and_then(Value::as_u64);
        let (min, max) = (limit("min_length").unwrap_or(0), limit("max_length").unwrap_or(6000));
        if !is_typed || kind == 3 && !(min..=max).contains(&length) {
            return Err(format!("the option '{name}' is not like that"));
        }
        options.push(json!({ "type": kind, "name": name, "value": value }));
    }
    if let Some((name, value)) = focused {
        let option = find(name)?;
        if option.get("autocomplete") != Some(&json!(true)) {
            return Err(format!("the option '{name}' is not completed"));
        }
        options.push(json!({ "type": option.get("type"), "name": name, "value": value, "focused": true }));
        return Ok(options);
    }
    let is_given = |name: &Value| given.iter().any(|(given, _)| name == given);
    let must = known
        .iter()
        .filter(|option| option.get("required") == Some(&json!(true)));
    let mut missing = must
        .filter_map(|option| option.get("name"))
        .filter(|name| !is_given(name));
    match missing.next() {
        Some(name) => Err(format!("the option {name} must be given")),
        None => Ok(options),
    }
}

fn user(id: u64, name: &str) -> Value {
    json!({
        "id": id.to_string(), "username": name.to_lowercase(), "discriminator": "0", "global_name": name,
        "avatar": null, "avatar_decoration_data": null, "public_flags": 0,
    })
}
