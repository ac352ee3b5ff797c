//! Discord asked for an owner about their bot, within its limits.
//!
//! What Discord refuses counts against this deployment's address, whoever's bot it was. So each such refusal is noted, and nobody is asked for
//! while there were too many.

use std::time::Duration;

use agentopia_clients::discord::DiscordError;
use agentopia_domain::ids::AgentId;
use agentopia_domain::retry::RetryPolicy;
use agentopia_platform::db::discord_connections::{self, OpenedBot};
use agentopia_platform::db::discord_interactions;
use agentopia_platform::error::Kind;
use agentopia_platform::{ApiError, RequestContext, caller, random, serve, sleep};
use secrecy::SecretString;

use crate::app::App;
use crate::bot_token;

/// Everything that is asked may be asked again.
const PATIENCE: RetryPolicy = RetryPolicy {
    retries: 1,
    base: Duration::from_millis(500),
    longest_pause: Duration::from_secs(2),
};
/// A call is not repeated later than this.
const REPEAT_WITHIN: Duration = Duration::from_secs(15);
/// When it is worth asking again, if Discord does not say.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Where a bot's token came from, which decides what is to be done if Discord does not accept it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum TokenFrom<'a> {
    /// This field of the request.
    Field(&'a str),
    /// The database.
    Store,
}

/// Admits a request about a bot whose token is stored, and opens the token.
pub(crate) async fn open_bot(
    app: &App,
    context: &RequestContext,
    user: &caller::User,
    agent_id: AgentId,
) -> Result<(OpenedBot, SecretString), ApiError> {
    let keyring = app.sealing.keyring()?;
    let opened = discord_connections::open_bot(&app.db, context, &user.caller, agent_id, true, app.change).await?;
    let sealed = opened.bot_token_sealed.as_deref().unwrap_or_default();
    let token = bot_token::open(keyring, opened.user_id, agent_id, sealed)?;
    Ok((opened, token))
}

/// Asks Discord, unless it is to be left alone.
pub(crate) async fn ask<T, F>(
    app: &App,
    context: &RequestContext,
    opened: &OpenedBot,
    token: TokenFrom<'_>,
    call: impl Fn() -> F,
) -> Result<T, ApiError>
where
    F: Future<Output = Result<T, DiscordError>>,
{
    if let Some(seconds) = opened.discord_pause_seconds {
        return Err(paused(Duration::from_secs(seconds.into())));
    }

    let mut attempt = 0;
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if error.is_invalid_request() {
            let noted = discord_interactions::note_invalid_request(&app.db, context, Some(opened.user_id)).await;
            if let Ok(Some(pause)) = &noted {
                return Err(paused(*pause).because(error.to_string()));
            }
            serve::log_best_effort(context, "discord_refusal_not_counted", noted.map(|_| ()));
        }
        let time_left = REPEAT_WITHIN.saturating_sub(context.elapsed());
        let pause = PATIENCE.pause(error.failure(), attempt, time_left, random::fraction());
        let Some(pause) = pause else {
            return Err(refusal(&error, token));
        };
        sleep(pause).await;
        attempt += 1;
    }
}

fn paused(pause: Duration) -> ApiError {
    ApiError::new(
        Kind::Unavailable,
        "discord_paused",
        "Discord has refused too many requests, and is not asked for a while.",
    )
    .retry_after(pause)
}

/// What an owner is told when Discord does not do what was asked.
fn refusal(error: &DiscordError, token: TokenFrom<'_>) -> ApiError {
    let told = match error {
        DiscordError::Unauthorized(_) => match token {
            TokenFrom::Field(field) => ApiError::new(
                Kind::Unprocessable,
                "bot_token_rejected",
                format!("{field} is not accepted by Discord."),
            )
            .field(field),
            TokenFrom::Store => ApiError::new(
                Kind::Conflict,
                "bot_token_rejected",
                "Discord does not accept the bot's token any more. Please set the present one.",
            ),
        },
        DiscordError::RateLimited {
            retry_after, global, ..
        } => {
            let kind = if *global { Kind::Unavailable } else { Kind::RateLimited };
            ApiError::new(kind, "discord_rate_limited", "Discord limits how often it is asked.")
                .retry_after(retry_after.unwrap_or(RETRY_AFTER))
        }
        DiscordError::Forbidden(_) => ApiError::new(
            Kind::Forbidden,
            "discord_forbidden",
            "Discord does not allow the bot to do this.",
        ),
        DiscordError::NotFound(_) => ApiError::new(
            Kind::NotFound,
            "discord_not_found",
            "Discord does not know what was asked for.",
        ),
        DiscordError::TimedOut => ApiError::new(
            Kind::GatewayTimeout,
            "discord_timed_out",
            "Discord did not answer in time.",
        ),
        DiscordError::Broken(_) | DiscordError::Unsendable(_) => {
            ApiError::new(Kind::BadGateway, "discord_unreachable", "Discord cannot be reached.")
        }
        DiscordError::Refused(cause) => ApiError::new(
            Kind::BadGateway,
            "discord_refused",
            format!("Discord refused the request: {cause}."),
        ),
        DiscordError::Failed(_)
        | DiscordError::Malformed(_)
        | DiscordError::AlreadyAcknowledged
        | DiscordError::UnknownInteraction
        | DiscordError::UnknownWebhook(_)
        | DiscordError::UnknownMessage => ApiError::new(
            Kind::BadGateway,
            "discord_failed",
            "Discord did not answer as it should.",
        ),
    };
    told.because(error.to_string())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    fn told(error: &DiscordError, token: TokenFrom<'_>) -> String {
        let error = refusal(error, token);
        let pause = error.retry_after_seconds();
        let pause = pause.map_or_else(String::new, |seconds| format!(" (after {seconds} s)"));
        format!(
            "{} {}: {}{pause}",
            error.status().as_u16(),
            error.code(),
            error.message()
        )
    }

    fn limited(retry_after: Option<u64>, global: bool) -> DiscordError {
        DiscordError::RateLimited {
            retry_after: retry_after.map(Duration::from_secs),
            global,
            shared: false,
            held_back: false,
        }
    }

    #[test]
    fn a_refused_token_is_the_fields_or_the_stored_one() {
        let error = DiscordError::Unauthorized("401".to_owned());

        assert_snapshot!(told(&error, TokenFrom::Field("bot_token")), @"422 bot_token_rejected: bot_token is not accepted by Discord.");
        assert_snapshot!(told(&error, TokenFrom::Store), @"409 bot_token_rejected: Discord does not accept the bot's token any more. Please set the present one.");
        assert_eq!(
            refusal(&error, TokenFrom::Field("token")).envelope("id")["field"],
            "token"
        );
    }

    #[test]
    fn every_failure_has_its_status() {
        let told = |error: DiscordError| told(&error, TokenFrom::Store);

        assert_snapshot!(told(limited(Some(7), false)), @"429 discord_rate_limited: Discord limits how often it is asked. (after 7 s)");
        assert_snapshot!(told(limited(None, true)), @"503 discord_rate_limited: Discord limits how often it is asked. (after 5 s)");
        assert_snapshot!(told(DiscordError::Forbidden("403 50001".to_owned())), @"403 discord_forbidden: Discord does not allow the bot to do this.");
        assert_snapshot!(told(DiscordError::NotFound("404 10004".to_owned())), @"404 discord_not_found: Discord does not know what was asked for.");
        assert_snapshot!(told(DiscordError::Refused("400 50035".to_owned())), @"502 discord_refused: Discord refused the request: 400 50035.");
        assert_snapshot!(told(DiscordError::Failed("500".to_owned())), @"502 discord_failed: Discord did not answer as it should.");
        assert_snapshot!(told(DiscordError::TimedOut), @"504 discord_timed_out: Discord did not answer in time.");
        assert_snapshot!(told(DiscordError::Broken("reset".to_owned())), @"502 discord_unreachable: Discord cannot be reached.");
    }
}
