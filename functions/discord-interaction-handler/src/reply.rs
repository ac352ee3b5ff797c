//! Answers as Discord takes them
//! (<https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-response-object>).
//!
//! Only who asked sees a message, nobody is notified by it, and a name in it is shown as it is: it stands as code, in which Discord reads no mention, link or
//! emphasis.

use agentopia_platform::db::discord_interactions::GuildAgents;
use serde_json::{Value, json};

/// How many choices Discord shows.
pub(crate) const CHOICES_MAX: u32 = 25;

/// How many agents a message lists.
pub(crate) const LISTED_MAX: u32 = 50;

/// The longest name of a choice, in characters.
const CHOICE_NAME_MAX_CHARS: usize = 100;

/// The longest name in a message, in characters.
const NAME_MAX_CHARS: usize = 60;

/// Where a list ends, so that with the line after it the message has less than the 2,000 characters that Discord takes.
const LIST_MAX_CHARS: usize = 1900;

/// `EPHEMERAL`: only who asked sees the message.
const EPHEMERAL: u32 = 1 << 6;

/// What there is to be used, as replies say it.
const COMMANDS: &str = "Try `/agents` or `/status`.";

/// An answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Reply {
    /// To a `PING`.
    Pong,
    /// A message to who asked.
    Message(String),
    /// What may be chosen.
    Choices(Vec<Choice>),
}

/// Something to choose.
#[derive(Debug, PartialEq)]
pub(crate) struct Choice {
    /// What is shown.
    name: String,
    /// What is sent.
    value: String,
}

impl Reply {
    /// The agents that are connected.
    pub(crate) fn agents(agents: &GuildAgents) -> Self {
        let lines = agents.agents.iter().map(|agent| format!("- {}", as_code(&agent.name)));
        Self::list("Agents on this server:", lines, agents.total)
    }

    /// How their workers are doing.
    pub(crate) fn status(agents: &GuildAgents) -> Self {
        let lines = agents
            .agents
            .iter()
            .map(|agent| format!("- {}: {}", as_code(&agent.name), in_words(&agent.worker_status)));
        Self::list("Agents on this server, and how they are doing:", lines, agents.total)
    }

    /// Agents to choose from, by their ids.
    pub(crate) fn choices(agents: &GuildAgents) -> Self {
        let choices = agents.agents.iter().map(|agent| Choice {
            name: plain(&agent.name, CHOICE_NAME_MAX_CHARS),
            value: agent.id.to_string(),
        });
        Self::Choices(choices.collect())
    }

    pub(crate) fn outside_of_guild() -> Self {
        Self::Message("This command works on a server only.".to_owned())
    }

    pub(crate) fn unknown_command() -> Self {
        Self::Message(format!("I do not know this command. {COMMANDS}"))
    }

    pub(crate) fn unknown_interaction() -> Self {
        Self::Message(format!("I cannot do anything with this. {COMMANDS}"))
    }

    fn list(heading: &str, lines: impl Iterator<Item = String>, total: u64) -> Self {
        if total == 0 {
            return Self::Message("No agent is connected to this server.".to_owned());
        }
        let mut text = heading.to_owned();
        let mut shown = 0;
        for line in lines {
            if text.chars().count() + 1 + line.chars().count() > LIST_MAX_CHARS {
                break;
            }
            text.push('\n');
            text.push_str(&line);
            shown += 1;
        }
        if shown < total {
            text.push_str(&format!("\n… and {} more.", total - shown));
        }
        Self::Message(text)
    }

    /// The body of the answer.
    pub(crate) fn into_json(self) -> Value {
        match self {
            Self::Pong => json!({ "type": 1 }),
            Self::Message(content) => json!({
                "type": 4,
                "data": { "content": content, "flags": EPHEMERAL, "allowed_mentions": { "parse": [] } },
            }),
            Self::Choices(choices) => {
                let choices = choices
                    .into_iter()
                    .map(|choice| json!({ "name": choice.name, "value": choice.value }));
                json!({ "type": 8, "data": { "choices": choices.collect::<Vec<_>>() } })
            }
        }
    }
}

/// A worker's status for people.
fn in_words(worker_status: &str) -> &'static str {
    match worker_status {
        "active" => "active",
        "activating" | "connecting" => "starting",
        "stopping" | "terminating" => "stopping",
        "unauthorized" => "Discord refuses its bot's token",
        "bad_intents" => "its bot lacks an intent",
        "error" => "failed",
        _ => "not active",
    }
}

/// A name on one line of at most so many characters, and without what turns around or hides what stands beside it.
fn plain(name: &str, max_chars: usize) -> String {
    let is_hidden = |character: char| {
        character.is_control()
            || matches!(character, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let visible = name.replace(is_hidden, " ");
    let words: Vec<_> = visible.split_whitespace().collect();
    let line = words.join(" ");
    match line.chars().count() {
        0 => "(no name)".to_owned(),
        chars if chars <= max_chars => line,
        _ => line.chars().take(max_chars.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// A name as it stands in a message.
fn as_code(name: &str) -> String {
    // There is no escaping in code; this looks much the same.
    format!("`{}`", plain(name, NAME_MAX_CHARS).replace('`', "ˋ"))
}

#[cfg(test)]
mod tests {
    use agentopia_domain::ids::AgentId;
    use agentopia_platform::db::discord_interactions::GuildAgent;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn agents(names: &[&str], total: u64) -> GuildAgents {
        let agents = names.iter().map(|name| GuildAgent {
            id: AgentId(Uuid::from_u128(1)),
            name: (*name).to_owned(),
            worker_status: "activating".to_owned(),
        });
        GuildAgents {
            agents: agents.collect(),
            total,
        }
    }

    fn content(reply: Reply) -> String {
        reply.into_json()["data"]["content"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_message_is_for_who_asked_and_notifies_nobody() {
        let reply = Reply::agents(&agents(&["Atlas", "@everyone"], 2)).into_json();

        assert_eq!(
            reply,
            json!({
                "type": 4,
                "data": {
                    "content": "Agents on this server:\n- `Atlas`\n- `@everyone`",
                    "flags": 64,
                    "allowed_mentions": { "parse": [] },
                },
            })
        );
    }

    #[test]
    fn a_status_is_told_in_words() {
        assert_eq!(
            content(Reply::status(&agents(&["Atlas"], 1))),
            "Agents on this server, and how they are doing:\n- `Atlas`: starting"
        );
    }

    #[test]
    fn nobody_is_an_answer_too() {
        assert_eq!(
            content(Reply::agents(&agents(&[], 0))),
            "No agent is connected to this server."
        );
    }

    #[test]
    fn a_name_cannot_leave_its_place() {
        assert_eq!(as_code("a`b\n# c"), "`aˋb # c`");
        assert_eq!(as_code("\u{202e}\u{200b} "), "`(no name)`");
        assert_eq!(plain(&"é".repeat(101), 100), format!("{}…", "é".repeat(99)));
        assert_eq!(plain(&"é".repeat(100), 100), "é".repeat(100));
    }

    #[test]
    fn a_list_that_is_too_long_says_what_is_missing() {
        let long = "n".repeat(200);

        let text = content(Reply::status(&agents(&[long.as_str(); 50], 70)));

        assert!(text.chars().count() <= 2000, "{text}");
        let shown = text.matches("\n- ").count();
        assert!(text.ends_with(&format!("\n… and {} more.", 70 - shown)), "{text}");
    }

    proptest! {
        #[test]
        fn any_names_make_a_message_and_choices_that_discord_takes(
            names in prop::collection::vec(any::<String>(), 1..50),
        ) {
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            let found = agents(&names, u64::try_from(names.len()).unwrap());

            let text = content(Reply::agents(&found));
            prop_assert!(text.chars().count() <= 2000);
            for line in text.lines().skip(1).filter(|line| line.starts_with("- ")) {
                prop_assert_eq!(line.matches('`').count(), 2, "{}", line);
            }
            let Reply::Choices(choices) = Reply::choices(&found) else { unreachable!() };
            for choice in choices {
                prop_assert!((1..=100).contains(&choice.name.chars().count()));
            }
        }
    }
}
