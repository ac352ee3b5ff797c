//! A bot is connected: its token is shown to Discord, which says whose it is, and kept sealed.

use agentopia_clients::discord::Application;
use agentopia_domain::discord::worker::{DesiredStatus, WorkerStatus, restart_transitions};
use agentopia_domain::ids::AgentId;
use agentopia_platform::db::OperationError;
use agentopia_platform::db::discord_connections::{self, ConfirmedBot, DiscordState, OpenedBot, PutDiscordConnection};
use agentopia_platform::db::discord_workers::Mandate;
use agentopia_platform::error::Kind;
use agentopia_platform::{ApiError, RequestContext, caller, serve};
use secrecy::SecretString;

use crate::app::App;
use crate::discord::TokenFrom;
use crate::{bot_token, discord, worker};

/// The longest name of a bot that is kept. Discord's have at most 32 characters.
const USERNAME_MAX_CHARS: usize = 100;

/// A value, and the field by which a refusal names it.
#[derive(Debug)]
pub(crate) struct Named<T> {
    pub(crate) field: &'static str,
    pub(crate) value: T,
}

/// What is to be connected.
pub(crate) struct Wanted {
    /// Discord's id of the application; `None` for the one that the token belongs to.
    pub(crate) application_id: Option<Named<String>>,
    /// The application's key in lower case; `None` for what Discord says that it is.
    pub(crate) public_key: Option<Named<String>>,
    /// After how many minutes without a question its worker ends; `None` for what it was.
    pub(crate) inactivity_timeout_minutes: Option<i32>,
    /// The bot's token; `None` keeps the one that is there.
    pub(crate) token: Option<Named<SecretString>>,
}

impl Wanted {
    /// A token, for the application that the agent is connected to already, if it is to one.
    pub(crate) fn token(token: Named<SecretString>, opened: &OpenedBot) -> Self {
        let connection = opened.connection.as_deref();
        Self {
            application_id: connection.map(|connection| Named {
                field: token.field,
                value: connection.application_id.clone(),
            }),
            public_key: connection.map(|connection| Named {
                field: "public_key",
                value: connection.public_key.clone(),
            }),
            inactivity_timeout_minutes: None,
            token: Some(token),
        }
    }
}

/// Connects an agent's bot. With a token of its own a worker that is wanted is started anew, because the old token may be over.
///
/// # Errors
///
/// 422 `bot_token_rejected` and `application_mismatch`; 409 `bot_token_in_use`; what [`discord::ask`] refuses with.
pub(crate) async fn connect(
    app: &App,
    context: &RequestContext,
    user: &caller::User,
    agent_id: AgentId,
    opened: &OpenedBot,
    wanted: Wanted,
) -> Result<DiscordState, ApiError> {
    let mut input = PutDiscordConnection {
        agent_id,
        application_id: "",
        public_key: "",
        inactivity_timeout_minutes: wanted.inactivity_timeout_minutes,
        bot: None,
    };
    let Some(token) = &wanted.token else {
        let missing = |field| agentopia_platform::fields::missing(field);
        let application_id = wanted.application_id.ok_or_else(|| missing("application_id"))?;
        let public_key = wanted.public_key.ok_or_else(|| missing("public_key"))?;
        input.application_id = &application_id.value;
        input.public_key = &public_key.value;
        let state = discord_connections::put_discord_connection(&app.db, context, &user.caller, &input).await?;
        return Ok(state);
    };

    let keyring = app.sealing.keyring()?;
    let application = discord::ask(app, context, opened, TokenFrom::Field(token.field), || {
        app.discord.application(context, &token.value)
    })
    .await?;
    confirm(&application, &wanted)?;

    let public_key = application.verify_key.to_ascii_lowercase();
    input.application_id = &application.id;
    input.public_key = &public_key;
    let sealed = bot_token::seal(keyring, user.id, agent_id, &token.value)?;
    input.bot = Some(ConfirmedBot {
        user_id: application.bot.id.clone(),
        username: application.bot.username.chars().take(USERNAME_MAX_CHARS).collect(),
        token_sealed: sealed.sealed,
        key_id: sealed.key_id,
        fingerprints: sealed.fingerprints,
    });
    let state = discord_connections::put_discord_connection(&app.db, context, &user.caller, &input).await?;

    if !is_to_be_restarted(&state) {
        return Ok(state);
    }
    let mandate = Mandate::Owner(&user.caller, None);
    let restarted = worker::start(app, context, agent_id, mandate, restart_transitions(), None).await;
    serve::log_best_effort(context, "worker_not_restarted", restarted.map(|_| ()));
    let state = discord_connections::get_discord_connection(&app.db, context, &user.caller, agent_id).await?;
    Ok(state)
}

/// Whether a worker is wanted that has the token of before, or ended because of it. What is stopping is left to stop.
fn is_to_be_restarted(state: &DiscordState) -> bool {
    state.connection.as_ref().is_some_and(|connection| {
        connection.desired_status == DesiredStatus::Active && connection.worker_status != WorkerStatus::Stopping
    })
}

/// Forgets a bot's token, and stops its worker. If the manager cannot be told the sweep goes on.
///
/// # Errors
///
/// 404 `agent_not_found`, `connection_missing`; 429 `rate_limited`; or if the database is unavailable.
pub(crate) async fn forget_token(
    app: &App,
    context: &RequestContext,
    user: &caller::User,
    agent_id: AgentId,
) -> Result<DiscordState, OperationError> {
    let state = discord_connections::clear_bot_token(&app.db, context, &user.caller, agent_id, app.change).await?;
    if !has_worker(&state) {
        return Ok(state);
    }
    let stopped = worker::stop(app, context, agent_id, Mandate::Automatic).await;
    serve::log_best_effort(context, "worker_not_stopped", stopped.map(|_| ()));
    discord_connections::get_discord_connection(&app.db, context, &user.caller, agent_id).await
}

/// Forgets an agent's bot, and stops its worker. If the manager cannot be told the sweep goes on.
///
/// # Errors
///
/// As [`forget_token`].
pub(crate) async fn forget(
    app: &App,
    context: &RequestContext,
    user: &caller::User,
    agent_id: AgentId,
) -> Result<(), OperationError> {
    let state = discord_connections::get_discord_connection(&app.db, context, &user.caller, agent_id).await?;
    discord_connections::delete_discord_connection(&app.db, context, &user.caller, agent_id, app.change).await?;
    if has_worker(&state) {
        let is_due = || worker::is_recorded(app, context, agent_id, None);
        let stopped = worker::stop_at_manager(app, context, agent_id, None, is_due).await;
        serve::log_best_effort(context, "worker_not_stopped", stopped.map(|_| ()));
    }
    Ok(())
}

/// Whether something may run. What failed may.
fn has_worker(state: &DiscordState) -> bool {
    let connection = state.connection.as_ref();
    connection.is_some_and(|connection| connection.worker_status != WorkerStatus::Inactive)
}

/// Refuses an application that is not the token's, by the field that says so.
fn confirm(application: &Application, wanted: &Wanted) -> Result<(), ApiError> {
    let mismatch = |field: &'static str, problem: &str| {
        ApiError::new(
            Kind::Unprocessable,
            "application_mismatch",
            format!("{field} {problem}."),
        )
        .field(field)
    };
    if let Some(id) = &wanted.application_id
        && id.value != application.id
    {
        let is_token = wanted.token.as_ref().is_some_and(|token| token.field == id.field);
        let problem = if is_token {
            "is of another application than the one that the agent is connected to"
        } else {
            "is not the application that the bot's token belongs to"
        };
        return Err(mismatch(id.field, problem));
    }
    if let Some(key) = &wanted.public_key
        && !key.value.eq_ignore_ascii_case(&application.verify_key)
    {
        return Err(mismatch(
            key.field,
            "is not the key of the application that the bot's token belongs to",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use agentopia_clients::discord::BotUser;
    use insta::assert_snapshot;

    use super::*;

    fn wanted(application_id: Option<&str>, public_key: Option<&str>) -> Wanted {
        let named = |field, value: &str| Named {
            field,
            value: value.to_owned(),
        };
        Wanted {
            application_id: application_id.map(|id| named("application_id", id)),
            public_key: public_key.map(|key| named("public_key", key)),
            inactivity_timeout_minutes: None,
            token: None,
        }
    }

    fn state(desired: &str, status: &str) -> DiscordState {
        let connection = serde_json::json!({
            "application_id": "1", "public_key": "ab", "has_bot_token": true, "desired_status": desired,
            "worker_status": status,
        });
        serde_json::from_str(&format!(r#"{{"connection": {connection}, "guilds": []}}"#)).unwrap()
    }

    #[test]
    fn a_worker_that_is_wanted_is_restarted_with_its_new_token() {
        for status in WorkerStatus::ALL {
            let is_stopping = status == WorkerStatus::Stopping;
            assert_eq!(
                is_to_be_restarted(&state("active", status.as_str())),
                !is_stopping,
                "{status}"
            );
            assert!(!is_to_be_restarted(&state("inactive", status.as_str())), "{status}");
        }
    }

    #[test]
    fn what_may_run_is_stopped_when_its_bot_is_forgotten() {
        for status in WorkerStatus::ALL {
            let expected = status != WorkerStatus::Inactive;
            assert_eq!(has_worker(&state("inactive", status.as_str())), expected, "{status}");
        }
    }

    #[test]
    fn application_and_key_are_those_that_discord_names() {
        let application = Application {
            id: "1".to_owned(),
            name: "Atlas".to_owned(),
            verify_key: "AB".to_owned(),
            bot: BotUser {
                id: "1".to_owned(),
                username: "atlas".to_owned(),
            },
        };
        let refusal = |wanted: Wanted| {
            let error = confirm(&application, &wanted).unwrap_err();
            format!("{} {}: {}", error.status().as_u16(), error.code(), error.message())
        };

        for accepted in [wanted(None, None), wanted(Some("1"), Some("ab"))] {
            assert!(confirm(&application, &accepted).is_ok());
        }
        assert_snapshot!(refusal(wanted(Some("2"), Some("ab"))), @"422 application_mismatch: application_id is not the application that the bot's token belongs to.");
        assert_snapshot!(refusal(wanted(None, Some("cd"))), @"422 application_mismatch: public_key is not the key of the application that the bot's token belongs to.");
    }
}
