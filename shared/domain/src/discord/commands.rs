//! The commands that an application of ours has on Discord (<https://discord.com/developers/docs/interactions/application-commands>).
//!
//! Discord sends names and options' names as they are here, whatever language a user reads.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

/// Starts an agent's worker.
pub const ACTIVATE: &str = "activate";
/// Stops an agent's worker.
pub const DEACTIVATE: &str = "deactivate";
/// Asks an agent a question.
pub const ASK: &str = "ask";
/// Lists the agents that may be asked.
pub const AGENTS: &str = "agents";
/// Tells how the agents' workers are.
pub const STATUS: &str = "status";
/// Asks the agent about a message; in the menu of each message.
pub const ASK_ABOUT: &str = "Ask the agent about this";

/// The option that names an agent: its id, if it was chosen from what was proposed, else what was typed.
pub const OPTION_AGENT: &str = "agent";
/// The option with the question.
pub const OPTION_QUESTION: &str = "question";
/// The option that makes the answer visible to whoever asked alone.
pub const OPTION_EPHEMERAL: &str = "ephemeral";

/// The longest question, in characters: as long as a message.
pub const QUESTION_MAX_CHARS: usize = 2000;

const CHAT_INPUT: u8 = 1;
const MESSAGE: u8 = 3;
/// The command that opens an application's Activity. It is made by Discord, and not ours to change.
const PRIMARY_ENTRY_POINT: u64 = 4;

const STRING: u8 = 3;
const BOOLEAN: u8 = 5;

/// `MANAGE_GUILD`, 1 << 5: who does not have it does not see the command, unless the guild decides otherwise.
const MANAGE_GUILD: &str = "32";
/// In guilds, and neither in direct messages to the bot nor among users.
const CONTEXT_GUILD: u8 = 0;
/// For guilds that have added the application, and not for users who have.
const GUILD_INSTALL: u8 = 0;

/// A text in the languages that we have beside English.
struct Text {
    en: &'static str,
    de: &'static str,
    fr: &'static str,
    es: &'static str,
}

impl Text {
    /// The translations. Discord drops those that are like the text itself.
    fn localizations(&self) -> Value {
        let translations = [("de", self.de), ("fr", self.fr), ("es-ES", self.es)];
        let different: BTreeMap<_, _> = translations.into_iter().filter(|(_, text)| *text != self.en).collect();
        json!(different)
    }
}

/// What is registered: the body of "Bulk Overwrite Global Application Commands".
#[must_use]
pub fn commands() -> Vec<Value> {
    let mut activate = command(
        &Text {
            en: ACTIVATE,
            de: "aktivieren",
            fr: "activer",
            es: "activar",
        },
        &Text {
            en: "Start an agent, so that it answers when it is mentioned",
            de: "Einen Agenten starten, damit er antwortet, wenn er erwähnt wird",
            fr: "Démarrer un agent, pour qu'il réponde quand il est mentionné",
            es: "Iniciar un agente para que responda cuando se le mencione",
        },
        &[agent(false)],
    );
    let mut deactivate = command(
        &Text {
            en: DEACTIVATE,
            de: "deaktivieren",
            fr: "désactiver",
            es: "desactivar",
        },
        &Text {
            en: "Stop an agent: it no longer answers when it is mentioned",
            de: "Einen Agenten anhalten: Er antwortet nicht mehr, wenn er erwähnt wird",
            fr: "Arrêter un agent : il ne répond plus quand il est mentionné",
            es: "Detener un agente: ya no responde cuando se le menciona",
        },
        &[agent(false)],
    );
    for restricted in [&mut activate, &mut deactivate] {
        set(restricted, "default_member_permissions", json!(MANAGE_GUILD));
    }
    let ask = command(
        &Text {
            en: ASK,
            de: "fragen",
            fr: "demander",
            es: "preguntar",
        },
        &Text {
            en: "Ask an agent a question",
            de: "Einem Agenten eine Frage stellen",
            fr: "Poser une question à un agent",
            es: "Hacer una pregunta a un agente",
        },
        &[agent(true), question(), ephemeral()],
    );
    let agents = command(
        &Text {
            en: AGENTS,
            de: "agenten",
            fr: "agents",
            es: "agentes",
        },
        &Text {
            en: "List the agents that can be asked here",
            de: "Die Agenten auflisten, die hier gefragt werden können",
            fr: "Lister les agents que l'on peut interroger ici",
            es: "Mostrar los agentes a los que se puede preguntar aquí",
        },
        &[],
    );
    let status = command(
        &Text {
            en: STATUS,
            de: "status",
            fr: "statut",
            es: "estado",
        },
        &Text {
            en: "Tell which agents are running",
            de: "Zeigen, welche Agenten laufen",
            fr: "Dire quels agents sont en marche",
            es: "Mostrar qué agentes están en marcha",
        },
        &[],
    );
    let ask_about = Text {
        en: ASK_ABOUT,
        de: "Agenten hierzu fragen",
        fr: "Interroger l'agent à ce sujet",
        es: "Preguntar al agente sobre esto",
    };
    let ask_about = json!({
        "type": MESSAGE,
        "name": ask_about.en,
        "name_localizations": ask_about.localizations(),
        "contexts": [CONTEXT_GUILD],
        "integration_types": [GUILD_INSTALL],
    });

    vec![activate, deactivate, ask, agents, status, ask_about]
}

/// What to register where `registered` is: [`commands`], and the command that opens the application's Activity, if it has one. An overwrite is of all
/// kinds of commands, and without that one it would take it away.
#[must_use]
pub fn to_register(registered: &[Value]) -> Vec<Value> {
    let kept = registered.iter().filter(|command| is_entry_point(command)).cloned();
    commands().into_iter().chain(kept).collect()
}

/// Whether what is registered is something else than what is wanted, so that it is worth an overwrite.
///
/// Both are compared by what can be set: neither by what Discord adds (ids, versions), nor by the order of the commands, nor by whether a default is
/// written out. The order of options counts, as users see it. The command of an Activity does not.
#[must_use]
pub fn differ(registered: &[Value], wanted: &[Value]) -> bool {
    match (comparable(registered), comparable(wanted)) {
        (Some(registered), Some(wanted)) => registered != wanted,
        _ => true,
    }
}

fn command(name: &Text, description: &Text, options: &[Value]) -> Value {
    json!({
        "type": CHAT_INPUT,
        "name": name.en,
        "name_localizations": name.localizations(),
        "description": description.en,
        "description_localizations": description.localizations(),
        "options": options,
        "contexts": [CONTEXT_GUILD],
        "integration_types": [GUILD_INSTALL],
    })
}

fn option(kind: u8, is_required: bool, name: &Text, description: &Text) -> Value {
    json!({
        "type": kind,
        "name": name.en,
        "name_localizations": name.localizations(),
        "description": description.en,
        "description_localizations": description.localizations(),
        "required": is_required,
    })
}

fn agent(is_required: bool) -> Value {
    let mut option = option(
        STRING,
        is_required,
        &Text {
            en: OPTION_AGENT,
            de: "agent",
            fr: "agent",
            es: "agente",
        },
        &Text {
            en: "Which agent",
            de: "Welcher Agent",
            fr: "Quel agent",
            es: "Qué agente",
        },
    );
    set(&mut option, "autocomplete", json!(true));
    option
}

fn question() -> Value {
    let mut option = option(
        STRING,
        true,
        &Text {
            en: OPTION_QUESTION,
            de: "frage",
            fr: "question",
            es: "pregunta",
        },
        &Text {
            en: "What you want to know",
            de: "Was du wissen möchtest",
            fr: "Ce que vous voulez savoir",
            es: "Lo que quieres saber",
        },
    );
    set(&mut option, "max_length", json!(QUESTION_MAX_CHARS));
    option
}

fn ephemeral() -> Value {
    option(
        BOOLEAN,
        false,
        &Text {
            en: OPTION_EPHEMERAL,
            de: "nur-für-mich",
            fr: "pour-moi-seul",
            es: "solo-para-mí",
        },
        &Text {
            en: "Show the answer to you alone",
            de: "Die Antwort nur dir zeigen",
            fr: "Ne montrer la réponse qu'à vous",
            es: "Mostrar la respuesta solo a ti",
        },
    )
}

fn set(object: &mut Value, field: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(field.to_owned(), value);
    }
}

fn is_entry_point(command: &Value) -> bool {
    command.get("type").and_then(Value::as_u64) == Some(PRIMARY_ENTRY_POINT)
}

/// The commands by what identifies them, each as far as it can be set; `None` if one is no command, or is there twice.
fn comparable(commands: &[Value]) -> Option<BTreeMap<(u64, String), Command>> {
    let mut found = BTreeMap::new();
    for command in commands.iter().filter(|command| !is_entry_point(command)) {
        let command = Command::deserialize(command).ok()?.normalized();
        let identity = (command.kind.unwrap_or_default(), command.name.clone());
        if found.insert(identity, command).is_some() {
            return None;
        }
    }
    Some(found)
}

type Localizations = Option<BTreeMap<String, String>>;

/// A command, as far as it can be set.
#[derive(Debug, Deserialize, Eq, PartialEq)]
struct Command {
    #[serde(rename = "type")]
    kind: Option<u64>,
    name: String,
    name_localizations: Localizations,
    description: Option<String>,
    description_localizations: Localizations,
    options: Option<Vec<CommandOption>>,
    default_member_permissions: Option<String>,
    contexts: Option<BTreeSet<u64>>,
    integration_types: Option<BTreeSet<u64>>,
    nsfw: Option<bool>,
}

/// An option of a command, as far as it can be set. Those parts that we never set are kept as they are, to be seen.
#[derive(Debug, Deserialize, Eq, PartialEq)]
struct CommandOption {
    #[serde(rename = "type")]
    kind: u64,
    name: String,
    name_localizations: Localizations,
    description: Option<String>,
    description_localizations: Localizations,
    required: Option<bool>,
    autocomplete: Option<bool>,
    max_length: Option<u64>,
    min_length: Option<u64>,
    choices: Option<Vec<Value>>,
    options: Option<Vec<Value>>,
}

impl Command {
    /// With each default written out.
    fn normalized(mut self) -> Self {
        self.kind.get_or_insert(u64::from(CHAT_INPUT));
        normalize(&self.name, &mut self.name_localizations);
        let description = self.description.get_or_insert_default();
        normalize(description, &mut self.description_localizations);
        let options = self.options.get_or_insert_default();
        *options = std::mem::take(options)
            .into_iter()
            .map(CommandOption::normalized)
            .collect();
        self.nsfw.get_or_insert(false);
        self
    }
}

impl CommandOption {
    /// With each default written out.
    fn normalized(mut self) -> Self {
        normalize(&self.name, &mut self.name_localizations);
        let description = self.description.get_or_insert_default();
        normalize(description, &mut self.description_localizations);
        self.required.get_or_insert(false);
        self.autocomplete.get_or_insert(false);
        self.choices.get_or_insert_default();
        self.options.get_or_insert_default();
        self
    }
}

/// Without the translations that Discord drops.
fn normalize(text: &str, localizations: &mut Localizations) {
    localizations
        .get_or_insert_default()
        .retain(|_, translation| translation != text);
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    /// The texts of a command or an option: itself first, then its translations.
    fn texts(object: &Value, field: &str) -> Vec<String> {
        let own = object.get(field).and_then(Value::as_str).unwrap();
        let translations = object[format!("{field}_localizations")].as_object().unwrap();
        [own]
            .into_iter()
            .chain(translations.values().map(|text| text.as_str().unwrap()))
            .map(str::to_owned)
            .collect()
    }

    fn options(command: &Value) -> &[Value] {
        command["options"].as_array().map_or(&[], Vec::as_slice)
    }

    /// A command as Discord gives it back (<https://discord.com/developers/docs/interactions/application-commands#application-command-object>).
    fn as_registered(command: &Value) -> Value {
        let mut command = command.clone();
        for (field, value) in [
            ("id", json!("816437322781949972")),
            ("application_id", json!("816437322781949970")),
            ("version", json!("847194950382780532")),
            ("dm_permission", json!(false)),
            ("nsfw", json!(false)),
        ] {
            set(&mut command, field, value);
        }
        let fields = command.as_object_mut().unwrap();
        fields.entry("default_member_permissions").or_insert(Value::Null);
        fields.entry("description").or_insert(json!(""));
        fields.entry("description_localizations").or_insert(Value::Null);
        if fields.get("options").is_some_and(|options| options == &json!([])) {
            fields.remove("options");
        }
        for option in command["options"].as_array_mut().into_iter().flatten() {
            let option = option.as_object_mut().unwrap();
            if option["required"] == json!(false) {
                option.remove("required");
            }
        }
        command
    }

    fn registered() -> Vec<Value> {
        commands().iter().map(as_registered).collect()
    }

    #[test]
    fn the_commands_are_these() {
        let line = |command: &Value| {
            let options = options(command).iter().map(|option| {
                let mark = if option["required"] == json!(true) { "" } else { "?" };
                let more = [
                    option.get("autocomplete").map(|_| " autocomplete".to_owned()),
                    option.get("max_length").map(|most| format!(" ..{most}")),
                ];
                let more: String = more.into_iter().flatten().collect();
                format!(
                    " [{}{mark}: {}{more}]",
                    option["name"].as_str().unwrap(),
                    option["type"]
                )
            });
            format!(
                "{} {}{} {}",
                command["type"],
                command["name"].as_str().unwrap(),
                options.collect::<String>(),
                command.get("default_member_permissions").unwrap_or(&Value::Null)
            )
        };

        assert_snapshot!(commands().iter().map(line).collect::<Vec<_>>().join("\n"), @r#"
        1 activate [agent?: 3 autocomplete] "32"
        1 deactivate [agent?: 3 autocomplete] "32"
        1 ask [agent: 3 autocomplete] [question: 3 ..2000] [ephemeral?: 5] null
        1 agents null
        1 status null
        3 Ask the agent about this null
        "#);
        for command in commands() {
            assert_eq!(
                (&command["contexts"], &command["integration_types"]),
                (&json!([0]), &json!([0]))
            );
        }
    }

    #[test]
    fn the_texts_are_these() {
        let mut lines = Vec::new();
        for command in commands() {
            lines.push(texts(&command, "name").join(" | "));
            if command.get("description").is_some() {
                lines.push(format!("    {}", texts(&command, "description").join(" | ")));
            }
            for option in options(&command) {
                lines.push(format!("    {}", texts(option, "name").join(" | ")));
                lines.push(format!("        {}", texts(option, "description").join(" | ")));
            }
        }

        assert_snapshot!(lines.join("\n"), @"
        activate | aktivieren | activar | activer
            Start an agent, so that it answers when it is mentioned | Einen Agenten starten, damit er antwortet, wenn er erwähnt wird | Iniciar un agente para que responda cuando se le mencione | Démarrer un agent, pour qu'il réponde quand il est mentionné
            agent | agente
                Which agent | Welcher Agent | Qué agente | Quel agent
        deactivate | deaktivieren | desactivar | désactiver
            Stop an agent: it no longer answers when it is mentioned | Einen Agenten anhalten: Er antwortet nicht mehr, wenn er erwähnt wird | Detener un agente: ya no responde cuando se le menciona | Arrêter un agent : il ne répond plus quand il est mentionné
            agent | agente
                Which agent | Welcher Agent | Qué agente | Quel agent
        ask | fragen | preguntar | demander
            Ask an agent a question | Einem Agenten eine Frage stellen | Hacer una pregunta a un agente | Poser une question à un agent
            agent | agente
                Which agent | Welcher Agent | Qué agente | Quel agent
            question | frage | pregunta
                What you want to know | Was du wissen möchtest | Lo que quieres saber | Ce que vous voulez savoir
            ephemeral | nur-für-mich | solo-para-mí | pour-moi-seul
                Show the answer to you alone | Die Antwort nur dir zeigen | Mostrar la respuesta solo a ti | Ne montrer la réponse qu'à vous
        agents | agenten | agentes
            List the agents that can be asked here | Die Agenten auflisten, die hier gefragt werden können | Mostrar los agentes a los que se puede preguntar aquí | Lister les agents que l'on peut interroger ici
        status | estado | statut
            Tell which agents are running | Zeigen, welche Agenten laufen | Mostrar qué agentes están en marcha | Dire quels agents sont en marche
        Ask the agent about this | Agenten hierzu fragen | Preguntar al agente sobre esto | Interroger l'agent à ce sujet
        ");
    }

    #[test]
    fn discord_takes_the_names_and_the_descriptions() {
        for command in commands() {
            let is_chat_input = command["type"] == json!(CHAT_INPUT);
            let mut names = texts(&command, "name");
            let mut descriptions = Vec::new();
            if is_chat_input {
                descriptions.extend(texts(&command, "description"));
            }
            for option in options(&command) {
                names.extend(texts(option, "name"));
                descriptions.extend(texts(option, "description"));
            }

            for name in names {
                assert!((1..=32).contains(&name.chars().count()), "{name}");
                let is_plain = |character: char| character.is_alphanumeric() || "-_'".contains(character);
                assert!(
                    !is_chat_input || (name.chars().all(is_plain) && name.to_lowercase() == name),
                    "{name}"
                );
            }
            for description in descriptions {
                assert!((1..=100).contains(&description.chars().count()), "{description}");
            }
        }
    }

    #[test]
    fn names_are_distinct_in_every_language_and_required_options_come_first() {
        let distinct = |objects: &[Value]| {
            for locale in ["de", "fr", "es-ES"] {
                let names: Vec<&Value> = objects
                    .iter()
                    .map(|object| object["name_localizations"].get(locale).unwrap_or(&object["name"]))
                    .collect();
                let different: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
                assert_eq!(different.len(), names.len(), "{locale}: {names:?}");
            }
        };
        distinct(&commands());
        for command in commands() {
            distinct(options(&command));
            let required: Vec<bool> = options(&command)
                .iter()
                .map(|option| option["required"] == json!(true))
                .collect();
            assert!(required.is_sorted_by(|before, after| before >= after), "{command}");
        }
    }

    #[test]
    fn what_discord_gives_back_is_what_was_registered() {
        let mut reversed = registered();
        reversed.reverse();

        assert!(!differ(&commands(), &commands()));
        assert!(!differ(&registered(), &commands()));
        assert!(!differ(&reversed, &commands()));
    }

    #[test]
    fn every_difference_that_is_seen_is_one() {
        let changes: [(&str, Value); 12] = [
            ("/0/name", json!("start")),
            ("/0/type", json!(2)),
            ("/0/description", json!("Start")),
            ("/0/description_localizations/de", json!("Starten")),
            ("/0/name_localizations", json!({ "it": "attiva" })),
            ("/0/default_member_permissions", Value::Null),
            ("/0/contexts", json!([0, 1])),
            ("/0/integration_types", json!([0, 1])),
            ("/0/nsfw", json!(true)),
            ("/2/options/0/autocomplete", json!(false)),
            ("/2/options/1/max_length", json!(6000)),
            ("/2/options/1/type", json!(4)),
        ];
        for (pointer, value) in changes {
            let mut registered = Value::from(registered());
            *registered.pointer_mut(pointer).unwrap() = value;
            assert!(differ(registered.as_array().unwrap(), &commands()), "{pointer}");
        }

        let mut swapped = registered();
        swapped[2]["options"].as_array_mut().unwrap().swap(0, 1);
        assert!(differ(&swapped, &commands()));
        let mut choices = registered();
        choices[2]["options"][1]["choices"] = json!([{ "name": "a", "value": "a" }]);
        assert!(differ(&choices, &commands()));
        for odd in [
            json!({}),
            json!("activate"),
            registered()[0].clone(),
            json!({ "name": "old" }),
        ] {
            let with: Vec<Value> = registered().into_iter().chain([odd]).collect();
            assert!(differ(&with, &commands()), "{with:?}");
        }
        assert!(differ(&registered()[1..], &commands()));
        assert!(differ(&[], &commands()));
    }

    #[test]
    fn translations_that_discord_drops_are_no_difference() {
        let mut wanted = commands();
        wanted[4]["name_localizations"]["it"] = json!(STATUS);

        assert!(!differ(&registered(), &wanted));
    }

    #[test]
    fn the_command_of_an_activity_is_kept() {
        let launch = json!({ "id": "1", "type": 4, "name": "launch", "description": "", "handler": 2 });
        let foreign = json!({ "id": "2", "type": 1, "name": "old", "description": "An old one" });
        let with: Vec<Value> = registered().into_iter().chain([launch.clone()]).collect();

        assert!(!differ(&with, &commands()));
        let wanted = to_register(&[foreign, launch.clone()]);
        assert!(wanted.starts_with(&commands()));
        assert_eq!(wanted[commands().len()..], [launch]);
        assert!(!differ(&with, &wanted));
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z]{0,4}".prop_map(Value::from)
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            let name = prop_oneof![
                Just("name"),
                Just("type"),
                Just("options"),
                Just("contexts"),
                Just("name_localizations"),
                Just("id")
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name.prop_map(str::to_owned), inner, 0..5)
                    .prop_map(|object| Value::Object(object.into_iter().collect()))
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_registered_it_is_compared(registered in prop::collection::vec(json_value(), 0..8)) {
            // None of these is what we register, as none has a description.
            prop_assert!(differ(&registered, &commands()));
            prop_assert_eq!(differ(&registered, &[]), differ(&[], &registered));
        }

        #[test]
        fn the_order_of_commands_does_not_count(order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle()) {
            let registered = registered();
            let shuffled: Vec<Value> = order.into_iter().map(|position| registered[position].clone()).collect();

            prop_assert!(!differ(&shuffled, &commands()));
        }
    }
}
