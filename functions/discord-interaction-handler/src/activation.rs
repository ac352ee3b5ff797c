//! An agent's worker is started or stopped: `manage-discord-worker`, as the agent's owner allows it where the command comes from.

use std::time::Duration;

use agentopia_domain::discord::worker::WorkerStatus;
use agentopia_domain::ids::AgentId;
use agentopia_platform::RequestContext;
use agentopia_platform::db::discord_interactions::{ErrandKind, OpenInteraction};
use agentopia_platform::functions::OtherFunctions;
use serde::{Deserialize, Serialize};

use crate::functions::{self, Call, Unanswered};
use crate::text::as_code;

/// The body of `POST /functions/v1/manage-discord-worker/activations`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Activation<'a> {
    agent_id: AgentId,
    action: Action,
    guild_id: &'a str,
    application_id: &'a str,
    public_key: &'a str,
    own_key: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Activate,
    Deactivate,
}

/// Its answer.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Activated {
    /// Whether something was set going, or all was as it should be before.
    outcome: Outcome,
    status: WorkerStatus,
    /// After how many minutes without a question the worker stops; 0 for never. Where it was started.
    inactivity_timeout_minutes: Option<i32>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Begun,
    Unchanged,
}

/// Has an interaction's agent started or stopped. Asked again it has no second effect.
pub(crate) async fn ask(
    others: &OtherFunctions,
    context: &RequestContext,
    interaction: &OpenInteraction,
    attempts: u32,
    limit: Duration,
) -> Result<String, Unanswered> {
    let action = if interaction.kind == ErrandKind::Deactivate {
        Action::Deactivate
    } else {
        Action::Activate
    };
    let activation = Activation {
        agent_id: interaction.agent_id,
        action,
        guild_id: &interaction.guild_id,
        application_id: &interaction.application_id,
        public_key: &interaction.public_key,
        own_key: interaction.own_key,
    };
    let call = Call {
        function: "manage-discord-worker",
        path: "/activations",
        idempotency_key: None,
        body: &activation,
        limit,
    };

    match functions::call::<_, Activated>(others, context, &call).await {
        Ok(activated) => Ok(done(action, &activated, &interaction.agent_name)),
        Err(error) => Err(error.judged(attempts, |code| apology(action, code, &interaction.agent_name))),
    }
}

/// What whoever asked is told when it was done.
fn done(action: Action, activated: &Activated, agent_name: &str) -> String {
    let agent = as_code(agent_name);
    let is_unchanged = activated.outcome == Outcome::Unchanged;
    match action {
        Action::Deactivate if is_unchanged => format!("{agent} is not active."),
        Action::Deactivate => format!("{agent} is stopping. It can be started again with `/activate`."),
        Action::Activate => {
            let how = match activated.status {
                WorkerStatus::Active => "is active already",
                _ if is_unchanged => "is starting already",
                _ => "is starting",
            };
            let until = match activated.inactivity_timeout_minutes {
                None => String::new(),
                Some(..=0) => " It does not stop by itself.".to_owned(),
                Some(1) => " It stops by itself after a minute without a question.".to_owned(),
                Some(minutes) => format!(" It stops by itself after {minutes} minutes without a question."),
            };
            format!("{agent} {how}.{until}")
        }
    }
}

/// What whoever asked is told when `manage-discord-worker` refuses with this code.
fn apology(action: Action, code: &str, agent_name: &str) -> String {
    let agent = as_code(agent_name);
    let word = match action {
        Action::Activate => "started",
        Action::Deactivate => "stopped",
    };
    let why = match code {
        "agent_not_found" => "It is not there any more.",
        "connection_missing" | "bot_token_missing" => "It has no bot of its own. Its owner has to give it one.",
        "bot_token_unreadable" => "Its owner has to set its bot's token again.",
        "connection_disabled" => "Its owner does not allow that here.",
        "agent_inactive" => "Its owner has switched it off.",
        "worker_stopping" => "It is just stopping. Please try again in a moment.",
        "start_limit_reached" => "It was started too often in the last 24 hours.",
        "rate_limited" => "That was asked too often. Please try again in a minute.",
        "worker_manager_timed_out" => "That took too long. Please try again in a minute.",
        _ => "Something went wrong on our side. Please try again later.",
    };
    format!("Sorry, {agent} cannot be {word}. {why}")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn what_was_done_is_said_with_its_end() {
        let said = |action, outcome, status, inactivity_timeout_minutes| {
            let activated = Activated {
                outcome,
                status,
                inactivity_timeout_minutes,
            };
            done(action, &activated, "Atlas")
        };
        let (start, stop) = (Action::Activate, Action::Deactivate);

        assert_snapshot!(said(start, Outcome::Begun, WorkerStatus::Activating, Some(30)), @"`Atlas` is starting. It stops by itself after 30 minutes without a question.");
        assert_snapshot!(said(start, Outcome::Begun, WorkerStatus::Activating, Some(0)), @"`Atlas` is starting. It does not stop by itself.");
        assert_snapshot!(said(start, Outcome::Unchanged, WorkerStatus::Activating, Some(1)), @"`Atlas` is starting already. It stops by itself after a minute without a question.");
        assert_snapshot!(said(start, Outcome::Unchanged, WorkerStatus::Active, None), @"`Atlas` is active already.");
        assert_snapshot!(said(stop, Outcome::Begun, WorkerStatus::Stopping, None), @"`Atlas` is stopping. It can be started again with `/activate`.");
        assert_snapshot!(said(stop, Outcome::Unchanged, WorkerStatus::Inactive, None), @"`Atlas` is not active.");
    }

    #[test]
    fn an_apology_says_who_can_mend_it() {
        assert_snapshot!(apology(Action::Activate, "bot_token_missing", "Atlas"), @"Sorry, `Atlas` cannot be started. It has no bot of its own. Its owner has to give it one.");
        assert_snapshot!(apology(Action::Activate, "start_limit_reached", "Atlas"), @"Sorry, `Atlas` cannot be started. It was started too often in the last 24 hours.");
        assert_snapshot!(apology(Action::Deactivate, "worker_manager_failed", "Atlas"), @"Sorry, `Atlas` cannot be stopped. Something went wrong on our side. Please try again later.");
    }
}
