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

/// What to register where `registered` is: [`commands`], and what Discord does not let one leave out.
///
/// An application with an Activity has a command that opens it, and an overwrite without that one is refused.
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
