//! `POST /functions/v1/manage-discord-worker`: starts, stops or restarts an agent's worker, or says how it is.

use agentopia_clients::worker_manager::ManagerError;
use agentopia_domain::discord::worker::{WorkerStatus, in_words, restart_transitions, start_transitions};
use agentopia_domain::ids::AgentId;
use agentopia_platform::db::discord_connections::{self, Connection, Shown};
use agentopia_platform::db::discord_workers::Mandate;
use agentopia_platform::error::Kind;
use agentopia_platform::extract::JsonWithin;
use agentopia_platform::{ApiError, RequestContext, caller, extract, fields, serve};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::fields::agent_id;
use crate::worker;

pub(super) const REQUEST_MAX_BYTES: usize = 4 * 1024;
/// The worker manager, among what could not be asked.
const WORKER_MANAGER: &str = "worker_manager";

/// Which agent, and what is to be done. Clients send `guildId`, too: a worker serves all guilds.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(crate) struct CommandWorkerRequest {
    agent_id: Option<String>,
    action: Option<String>,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Action {
    Start,
    Stop,
    Restart,
    Status,
}

impl Action {
    fn parse(text: &str) -> Result<Self, ApiError> {
        match text {
            "start" => Ok(Self::Start),
            "stop" => Ok(Self::Stop),
            "restart" => Ok(Self::Restart),
            "status" => Ok(Self::Status),
            _ => Err(ApiError::invalid_field(
                "action",
                "must be one of start, stop, restart and status",
            )),
        }
    }
}

/// How a worker is, and what was done.
#[derive(Debug, Serialize)]
pub(crate) struct CommandWorkerResponse {
    /// For people.
    pub(super) message: String,
    /// What the worker is seen doing.
    pub(super) status: WorkerStatus,
    /// The bot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connection: Option<Shown<Connection>>,
    /// What of the worker manager's answer is shown; null if it was not asked, could not be, or knows nothing of the worker.
    pub(super) details: Value,
    /// What could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) degraded: Option<Vec<&'static str>>,
}

pub(crate) async fn command_worker(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    JsonWithin(request): JsonWithin<CommandWorkerRequest, REQUEST_MAX_BYTES>,
) -> Result<extract::Json<CommandWorkerResponse>, ApiError> {
    let agent_id = agent_id(request.agent_id.as_deref())?;
    let action = Action::parse(fields::required("action", request.action.as_deref())?)?;

    let owner = Mandate::Owner(&user.caller, Some(app.change));
    let (message, status, details) = match action {
        Action::Status => return status(&app, &context, &user, agent_id).await.map(extract::Json),
        Action::Start | Action::Restart => {
            let (word, transitions) = match action {
                Action::Restart => ("restart", restart_transitions()),
                _ => ("start", start_transitions()),
            };
            let started = worker::start(&app, &context, agent_id, owner, transitions, None).await?;
            if action == Action::Restart && !started.is_begun {
                return Err(starting());
            }
            (
                message(word, started.is_begun, started.status),
                started.status,
                started.details,
            )
        }
        Action::Stop => {
            let stopped = worker::stop(&app, &context, agent_id, owner).await?;
            (
                message("stop", stopped.is_begun, stopped.status),
                stopped.status,
                stopped.details,
            )
        }
    };

    // What was asked for is done, whether its outcome can be read or not.
    let state = discord_connections::get_discord_connection(&app.db, &context, &user.caller, agent_id).await;
    let state = state.map_err(|error| serve::log_best_effort(&context, "connection_not_shown", Err(error)));
    Ok(extract::Json(CommandWorkerResponse {
        message,
        status,
        connection: state.ok().and_then(|state| state.connection),
        details,
        degraded: None,
    }))
}

/// A worker that is just starting is not started anew.
fn starting() -> ApiError {
    ApiError::new(
        Kind::Conflict,
        "worker_starting",
        "The worker is just starting. Please try again.",
    )
    .retry_after(worker::BUSY_RETRY)
}

/// Which agent.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(crate) struct OfAgentRequest {
    pub(super) agent_id: Option<String>,
}

/// `POST /functions/v1/get-worker-status`: the action `status`, by the path of before.
pub(crate) async fn get_worker_status(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    JsonWithin(request): JsonWithin<OfAgentRequest, REQUEST_MAX_BYTES>,
) -> Result<extract::Json<CommandWorkerResponse>, ApiError> {
    let agent_id = agent_id(request.agent_id.as_deref())?;

    status(&app, &context, &user, agent_id).await.map(extract::Json)
}

/// How a worker is: what is recorded, and what the manager says if it can be asked.
async fn status(
    app: &App,
    context: &RequestContext,
    user: &caller::User,
    agent_id: AgentId,
) -> Result<CommandWorkerResponse, ApiError> {
    let opened = discord_connections::open_bot(&app.db, context, &user.caller, agent_id, false, app.change).await?;
    let status = opened
        .connection
        .as_ref()
        .map_or(WorkerStatus::Inactive, |connection| connection.worker_status);

    let mut degraded = Vec::new();
    let details = match &app.manager {
        Some(manager) => match manager.status(context, agent_id).await {
            Ok(details) => details,
            Err(ManagerError::NotFound) => Value::Null,
            Err(error) => {
                worker::note(context, "worker_status_not_asked", agent_id, &error);
                degraded.push(WORKER_MANAGER);
                Value::Null
            }
        },
        None => {
            degraded.push(WORKER_MANAGER);
            Value::Null
        }
    };
    Ok(CommandWorkerResponse {
        message: format!("Worker status: {}.", in_words(status)),
        status,
        connection: opened.connection,
        details,
        degraded: Some(degraded),
    })
}

/// What clients have always been told, if something was done.
pub(super) fn message(action: &str, is_begun: bool, status: WorkerStatus) -> String {
    if is_begun {
        format!("Worker {action} request sent successfully.")
    } else {
        format!("Nothing to {action}. Worker status: {}.", in_words(status))
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn an_action_is_one_of_four() {
        let cases = [
            ("start", Action::Start),
            ("stop", Action::Stop),
            ("restart", Action::Restart),
            ("status", Action::Status),
        ];

        for (text, expected) in cases {
            assert_eq!(Action::parse(text).unwrap(), expected);
        }
        assert_snapshot!(Action::parse("Start").unwrap_err().message(), @"action must be one of start, stop, restart and status.");
    }

    #[test]
    fn a_message_says_what_was_done() {
        assert_snapshot!(message("start", true, WorkerStatus::Activating), @"Worker start request sent successfully.");
        assert_snapshot!(message("start", false, WorkerStatus::Active), @"Nothing to start. Worker status: active.");
        assert_snapshot!(message("stop", false, WorkerStatus::Inactive), @"Nothing to stop. Worker status: not active.");
    }
}
