//! Interactions as Discord sends them, as far as they are answered
//! (<https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-object>), and what they ask for.
//!
//! The token by which an interaction is answered later is not among it.

use serde::Deserialize;
use serde_json::Value;

/// The longest id, in digits.
const SNOWFLAKE_MAX_DIGITS: usize = 20;

/// The option by which commands name an agent.
const AGENT_OPTION: &str = "agent";

/// The commands that have such an option.
const COMMANDS_ON_AGENTS: [&str; 3] = ["activate", "deactivate", "ask"];

/// An id of Discord's (<https://discord.com/developers/docs/reference#snowflakes>): up to 20 digits.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub(crate) struct Snowflake(String);

impl Snowflake {
    /// Its digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Snowflake {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_id = (1..=SNOWFLAKE_MAX_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        is_id.then_some(Self(text)).ok_or("not an id of Discord's")
    }
}

/// An interaction.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an interaction")]
pub(crate) struct Interaction {
    pub(crate) id: Snowflake,
    pub(crate) application_id: Snowflake,
    #[serde(rename = "type")]
    kind: i64,
    guild_id: Option<Snowflake>,
    data: Option<Data>,
}

/// What an interaction is about: a command, or something else that has no name.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
struct Data {
    name: Option<String>,
    #[serde(rename = "type")]
    kind: Option<i64>,
    options: Option<Vec<CommandOption>>,
}

/// An option of a command, with what was typed for it.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an option")]
struct CommandOption {
    name: String,
    value: Option<Value>,
    focused: Option<bool>,
}

/// What an interaction asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Asked<'a> {
    /// Whether anybody is there.
    Ping,
    /// The agents of a guild.
    Agents {
        /// The guild.
        guild_id: &'a str,
    },
    /// How they are doing.
    Status {
        /// The guild.
        guild_id: &'a str,
    },
    /// Agents of a guild to choose from.
    Choices {
        /// The guild.
        guild_id: &'a str,
        /// What was typed so far.
        typed: &'a str,
    },
    /// Something to choose from, where there is nothing.
    NoChoices,
    /// A command that works in guilds alone.
    CommandOutsideOfGuild,
    /// A command that there is not.
    UnknownCommand,
    /// Something else.
    Unknown,
}

/// The application that a body names, as nobody has proven yet.
pub(crate) fn named_application(body: &[u8]) -> Option<Snowflake> {
    #[derive(Deserialize)]
    struct Named {
        application_id: Snowflake,
    }

    let named: Result<Named, _> = serde_json::from_slice(body);
    named.ok().map(|named| named.application_id)
}

impl Interaction {
    /// What it asks for.
    pub(crate) fn asked(&self) -> Asked<'_> {
        match self.kind {
            1 => Asked::Ping,
            2 => self.command(),
            4 => self.choices().unwrap_or(Asked::NoChoices),
            _ => Asked::Unknown,
        }
    }

    fn command(&self) -> Asked<'_> {
        // A command on a user or a message may have the name of one that is typed.
        let is_typed = |data: &&Data| data.kind.is_none_or(|kind| kind == 1);
        let name = self
            .data
            .as_ref()
            .filter(is_typed)
            .and_then(|data| data.name.as_deref());
        let guild_id = self.guild_id.as_ref().map(Snowflake::as_str);
        match (name, guild_id) {
            (Some("agents"), Some(guild_id)) => Asked::Agents { guild_id },
            (Some("status"), Some(guild_id)) => Asked::Status { guild_id },
            (Some("agents" | "status"), None) => Asked::CommandOutsideOfGuild,
            _ => Asked::UnknownCommand,
        }
    }

    fn choices(&self) -> Option<Asked<'_>> {
        let data = self.data.as_ref()?;
        let focused = data
            .options
            .as_ref()?
            .iter()
            .find(|option| option.focused == Some(true))?;
        let typed = focused.value.as_ref()?.as_str()?;
        // No name has a NUL, and Postgres takes none.
        let is_ours = COMMANDS_ON_AGENTS.contains(&data.name.as_deref()?) && focused.name == AGENT_OPTION;
        (is_ours && !typed.contains('\0')).then_some(Asked::Choices {
            guild_id: self.guild_id.as_ref()?.as_str(),
            typed,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A payload of tests/data/discord.
    macro_rules! recorded {
        ($name:literal) => {
            include_bytes!(concat!("../../../tests/data/discord/", $name, ".json")).as_slice()
        };
    }

    const GUILD: &str = "290926798626357999";

    fn parse(body: &[u8]) -> Interaction {
        serde_json::from_slice(body).unwrap()
    }

    #[test]
    fn recorded_interactions_ask_for_what_they_are() {
        let choices = |typed| Asked::Choices { guild_id: GUILD, typed };
        for (body, asked) in [
            (recorded!("ping"), Asked::Ping),
            (recorded!("command_agents"), Asked::Agents { guild_id: GUILD }),
            (recorded!("command_status"), Asked::Status { guild_id: GUILD }),
            (recorded!("command_agents_in_dm"), Asked::CommandOutsideOfGuild),
            (recorded!("command_unknown"), Asked::UnknownCommand),
            (recorded!("command_on_message"), Asked::UnknownCommand),
            (recorded!("autocomplete_agent"), choices("at")),
            (recorded!("message_component"), Asked::Unknown),
            (recorded!("modal_submit"), Asked::Unknown),
        ] {
            let interaction = parse(body);

            assert_eq!(interaction.asked(), asked);
            assert_eq!(named_application(body), Some(interaction.application_id));
        }
    }

    #[test]
    fn choices_are_given_for_agents_in_a_guild_alone() {
        let typed: Value = serde_json::from_slice(recorded!("autocomplete_agent")).unwrap();
        let asked = |pointer: &str, value: Value| {
            let mut changed = typed.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            parse(changed.to_string().as_bytes()).asked() == Asked::NoChoices
        };

        assert!(!asked("/data/name", json!("deactivate")));
        assert!(asked("/data/name", json!("agents")));
        assert!(asked("/data/options", Value::Null));
        assert!(asked("/data/options/0/name", json!("question")));
        assert!(asked("/data/options/0/focused", json!(false)));
        assert!(asked("/data/options/0/value", json!(1)));
        assert!(asked("/data/options/0/value", json!("a\0")));
        assert!(asked("/data", Value::Null));
        assert!(asked("/guild_id", Value::Null));
    }

    #[test]
    fn an_application_is_named_once_and_by_digits() {
        for body in [
            "",
            "{}",
            "[]",
            r#"{"application_id":1}"#,
            r#"{"application_id":""}"#,
            r#"{"application_id":"1' OR true"}"#,
            r#"{"application_id":"123456789012345678901"}"#,
            r#"{"application_id":"1","application_id":"2"}"#,
            r#"{"application_id":"1"} "#.trim_end().trim_end_matches('}'),
        ] {
            assert_eq!(named_application(body.as_bytes()), None, "{body}");
        }
        assert_eq!(
            named_application(br#"{"application_id":"1"}"#),
            Some(Snowflake("1".to_owned()))
        );
    }

    /// JSON of any shape, with the members' names that an interaction has among others.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (0..7_i64).prop_map(Value::from),
            "[0-9]{1,21}".prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
            prop_oneof![Just("agents"), Just("ask"), Just("agent")].prop_map(Value::from),
        ];
        let name = prop_oneof![
            Just("id".to_owned()),
            Just("application_id".to_owned()),
            Just("type".to_owned()),
            Just("guild_id".to_owned()),
            Just("data".to_owned()),
            Just("name".to_owned()),
            Just("options".to_owned()),
            Just("value".to_owned()),
            Just("focused".to_owned()),
            ".{0,4}",
        ];
        leaf.prop_recursive(5, 64, 9, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(name.clone(), inner, 0..9)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// What is done with any body: it must end.
    fn read(body: &[u8]) {
        let _named = named_application(body);
        if let Ok(interaction) = serde_json::from_slice::<Interaction>(body) {
            let _asked = interaction.asked();
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            read(&body);
        }

        #[test]
        fn any_json_is_read_without_panic(value in any_json()) {
            read(value.to_string().as_bytes());
        }

        #[test]
        fn a_recorded_interaction_with_anything_in_it_is_read_without_panic(
            value in any_json(),
            pointer in prop_oneof![
                Just("/id"), Just("/type"), Just("/guild_id"), Just("/data"), Just("/data/name"), Just("/data/options"),
                Just("/data/options/0"), Just("/data/options/0/value"), Just("/data/options/0/focused"),
            ],
            end in 0..2000_usize,
        ) {
            let mut changed: Value = serde_json::from_slice(recorded!("autocomplete_agent")).unwrap();
            *changed.pointer_mut(pointer).unwrap() = value;
            let text = changed.to_string();

            read(text.as_bytes());
            read(&text.as_bytes()[..end.min(text.len())]);
        }
    }
}
