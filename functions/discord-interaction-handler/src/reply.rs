//! Answers as Discord takes them
//! (<https://discord.com/developers/docs/interactions/receiving-and-responding#interaction-response-object>).
//!
//! Only who asked sees a message, nobody is notified by it, and a name in it is shown as it is: it stands as code, in which Discord reads no mention, link or
//! emphasis.

use agentopia_domain::discord::worker::in_words;
use agentopia_platform::db::OperationError;
use agentopia_platform::db::discord_interactions::{ErrandKind, GuildAgents, Refusal};
use serde_json::{Value, json};

use crate::text::{as_code, plain};

/// How many choices Discord shows.
pub(crate) const CHOICES_MAX: u32 = 25;

/// How many agents a message lists.
pub(crate) const LISTED_MAX: u32 = 50;

/// The longest name of a choice, in characters.
const CHOICE_NAME_MAX_CHARS: usize = 100;

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
    /// That the answer comes later.
    Deferred {
        /// Whether only who asked sees it.
        is_ephemeral: bool,
    },
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
            .map(|agent| format!("- {}: {}", as_code(&agent.name), in_words(agent.worker_status)));
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

    pub(crate) fn deferred(is_ephemeral: bool) -> Self {
        Self::Deferred { is_ephemeral }
    }

    pub(crate) fn no_question() -> Self {
        Self::Message("There is no question. Please ask one.".to_owned())
    }

    pub(crate) fn no_text_in_message() -> Self {
        Self::Message("There is no text in this message that an agent could read.".to_owned())
    }

    /// It took too long to take it.
    pub(crate) fn too_slow() -> Self {
        Self::Message("Sorry, I was too slow. Please try again.".to_owned())
    }

    /// Something is wrong that does not pass soon.
    pub(crate) fn unavailable() -> Self {
        Self::Message("Sorry, I cannot answer right now. Please try again later.".to_owned())
    }

    /// An operation did not do it.
    pub(crate) fn refusal(error: &OperationError) -> Self {
        match error {
            OperationError::Refused { status: 429, .. } => {
                Self::Message("Sorry, that is more than I can take at once. Please try again in a moment.".to_owned())
            }
            OperationError::Unavailable(_) => {
                Self::Message("Sorry, I cannot answer right now. Please try again.".to_owned())
            }
            OperationError::Refused { .. } | OperationError::Failed(_) => Self::unavailable(),
        }
    }

    /// Nobody answers.
    pub(crate) fn refused(kind: ErrandKind, reason: Refusal, agent_name: Option<&str>) -> Self {
        let agent = agent_name.map_or_else(|| "This agent".to_owned(), as_code);
        Self::Message(match reason {
            Refusal::AgentUnknown => "No such agent is connected to this server. Try `/agents`.".to_owned(),
            Refusal::AgentAmbiguous if kind == ErrandKind::AskAbout => {
                "There are several agents on this server. Use `/ask`, and choose one.".to_owned()
            }
            Refusal::AgentAmbiguous => {
                "Several agents on this server may be meant. Choose one of those that are proposed.".to_owned()
            }
            Refusal::AgentNotEnabled => format!("{agent} is not to be used on this server."),
            Refusal::ChannelNotAllowed => format!("{agent} is not to be used in this channel."),
            Refusal::AgentInactive => format!("{agent} is switched off."),
        })
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
            Self::Deferred { is_ephemeral: false } => json!({ "type": 5 }),
            Self::Deferred { is_ephemeral: true } => json!({ "type": 5, "data": { "flags": EPHEMERAL } }),
            Self::Choices(choices) => {
                let choices = choices
                    .into_iter()
                    .map(|choice| json!({ "name": choice.name, "value": choice.value }));
                json!({ "type": 8, "data": { "choices": choices.collect::<Vec<_>>() } })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use agentopia_domain::discord::worker::WorkerStatus;
    use agentopia_domain::ids::AgentId;
    use agentopia_platform::db::RefusalExtra;
    use agentopia_platform::db::discord_interactions::GuildAgent;
    use insta::assert_snapshot;
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn agents(names: &[&str], total: u64) -> GuildAgents {
        let agents = names.iter().map(|name| GuildAgent {
            id: AgentId(Uuid::from_u128(1)),
            name: (*name).to_owned(),
            worker_status: WorkerStatus::Activating,
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
    fn a_deferral_fixes_who_sees_the_answer() {
        assert_eq!(Reply::deferred(false).into_json(), json!({ "type": 5 }));
        assert_eq!(
            Reply::deferred(true).into_json(),
            json!({ "type": 5, "data": { "flags": 64 } })
        );
    }

    #[test]
    fn a_refusal_is_civil_and_keeps_what_is_inside() {
        let refused = |status| OperationError::Refused {
            status,
            code: "some_code".to_owned(),
            message: "Some text.".to_owned(),
            extra: RefusalExtra::default(),
        };
        let unavailable = OperationError::Unavailable("10.0.0.1 refused".to_owned());
        let failed = OperationError::Failed("syntax error".to_owned());

        assert_snapshot!(content(Reply::refusal(&refused(429))), @"Sorry, that is more than I can take at once. Please try again in a moment.");
        assert_snapshot!(content(Reply::refusal(&refused(409))), @"Sorry, I cannot answer right now. Please try again later.");
        assert_snapshot!(content(Reply::refusal(&unavailable)), @"Sorry, I cannot answer right now. Please try again.");
        assert_snapshot!(content(Reply::refusal(&failed)), @"Sorry, I cannot answer right now. Please try again later.");
    }

    #[test]
    fn who_is_not_answered_is_told_why() {
        let refused = |reason| content(Reply::refused(ErrandKind::Ask, reason, Some("A`las")));

        assert_snapshot!(refused(Refusal::AgentUnknown), @"No such agent is connected to this server. Try `/agents`.");
        assert_snapshot!(refused(Refusal::AgentAmbiguous), @"Several agents on this server may be meant. Choose one of those that are proposed.");
        assert_snapshot!(refused(Refusal::AgentNotEnabled), @"`Aˋlas` is not to be used on this server.");
        assert_snapshot!(refused(Refusal::ChannelNotAllowed), @"`Aˋlas` is not to be used in this channel.");
        assert_snapshot!(refused(Refusal::AgentInactive), @"`Aˋlas` is switched off.");
        let about = Reply::refused(ErrandKind::AskAbout, Refusal::AgentAmbiguous, None);
        assert_snapshot!(content(about), @"There are several agents on this server. Use `/ask`, and choose one.");
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
