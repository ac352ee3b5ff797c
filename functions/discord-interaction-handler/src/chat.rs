//! An agent is asked: a turn of `chat`, as the agent's owner allows it where the question comes from.

use std::time::Duration;

use agentopia_domain::ids::AgentId;
use agentopia_platform::RequestContext;
use agentopia_platform::db::discord_interactions::OpenInteraction;
use agentopia_platform::functions::OtherFunctions;
use serde::{Deserialize, Serialize};

use crate::functions::{self, Call, Unanswered};
use crate::text::as_code;

/// Follows an answer that is only the beginning of one.
const BROKEN_OFF: &str = "\n\n*The answer broke off here.*";

/// The body of `POST /functions/v1/chat/outside`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'a> {
    agent_id: AgentId,
    message: &'a str,
    channel_id: &'a str,
    guild_id: &'a str,
    author_id: &'a str,
    author_name: &'a str,
    application_id: &'a str,
    public_key: &'a str,
    own_key: bool,
}

/// Its answer, as far as it is shown.
#[derive(Deserialize)]
struct Reply {
    reply: String,
    #[serde(default)]
    partial: bool,
}

/// Asks an interaction's question. Asked again it is the same turn, and has the same answer.
pub(crate) async fn ask(
    others: &OtherFunctions,
    context: &RequestContext,
    interaction: &OpenInteraction,
    attempts: u32,
    limit: Duration,
) -> Result<String, Unanswered> {
    let question = Question {
        agent_id: interaction.agent_id,
        message: interaction.message.as_deref().unwrap_or_default(),
        channel_id: &interaction.channel_id,
        guild_id: &interaction.guild_id,
        author_id: &interaction.author_id,
        author_name: &interaction.author_name,
        application_id: &interaction.application_id,
        public_key: &interaction.public_key,
        own_key: interaction.own_key,
    };
    let key = format!(
        "interaction:{}:{}",
        interaction.interaction_id, interaction.application_id
    );
    let call = Call {
        function: "chat",
        path: "/outside",
        idempotency_key: Some(&key),
        body: &question,
        limit,
    };

    match functions::call::<_, Reply>(others, context, &call).await {
        Ok(reply) if reply.partial => Ok(format!("{}{BROKEN_OFF}", reply.reply)),
        Ok(reply) => Ok(reply.reply),
        Err(error) => Err(error.judged(attempts, |code| apology(code, &interaction.agent_name))),
    }
}

/// What whoever asked is told when `chat` refuses with this code.
fn apology(code: &str, agent_name: &str) -> String {
    let agent = as_code(agent_name);
    match code {
        "model_timed_out" => {
            format!(
                "Sorry, this was too slow: the model of {agent} did not answer in the time that it has. Please ask again."
            )
        }
        "model_rate_limited" => {
            format!("Sorry, the model of {agent} has too much to do right now. Please ask again in a moment.")
        }
        "model_quota_exhausted" => {
            format!("Sorry, {agent} cannot answer for now: the quota of its model's provider is spent.")
        }
        "model_failed" | "model_unreachable" | "model_malformed" | "model_refused_request" => {
            format!("Sorry, the model of {agent} failed to answer. Please ask again.")
        }
        "context_too_long" => format!("Sorry, this is longer than the model of {agent} can read."),
        "rate_limited" => format!("Sorry, {agent} is asked more often than it may be. Please ask again in a minute."),
        "not_allowed_here" => format!("Sorry, {agent} may not be used here any more."),
        "agent_not_found" | "agent_inactive" => format!("Sorry, {agent} is not there any more."),
        _ => format!("Sorry, something went wrong on our side, and {agent} cannot answer. Please ask again later."),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn an_apology_is_honest_and_keeps_what_is_inside() {
        assert_snapshot!(apology("model_timed_out", "Atlas"), @"Sorry, this was too slow: the model of `Atlas` did not answer in the time that it has. Please ask again.");
        assert_snapshot!(apology("rate_limited", "A`@everyone"), @"Sorry, `Aˋ@everyone` is asked more often than it may be. Please ask again in a minute.");
        assert_snapshot!(apology("context_too_long", "Atlas"), @"Sorry, this is longer than the model of `Atlas` can read.");
        assert_snapshot!(apology("internal_error", "Atlas"), @"Sorry, something went wrong on our side, and `Atlas` cannot answer. Please ask again later.");
        assert_snapshot!(apology("model_refused_request", "Atlas"), @"Sorry, the model of `Atlas` failed to answer. Please ask again.");
    }

    #[test]
    fn a_question_is_what_chat_takes() {
        let question = Question {
            agent_id: AgentId(uuid::Uuid::from_u128(1)),
            message: "Why?",
            channel_id: "3",
            guild_id: "2",
            author_id: "4",
            author_name: "Mason",
            application_id: "5",
            public_key: "ab",
            own_key: false,
        };

        assert_snapshot!(serde_json::to_string(&question).unwrap(), @r#"{"agentId":"00000000-0000-0000-0000-000000000001","message":"Why?","channelId":"3","guildId":"2","authorId":"4","authorName":"Mason","applicationId":"5","publicKey":"ab","ownKey":false}"#);
    }
}
