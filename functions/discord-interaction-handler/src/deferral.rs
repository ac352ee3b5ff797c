//! What takes longer than Discord waits: written down, deferred at Discord, and then answered in the same request.
//!
//! Discord hears of it within three seconds whatever happens. If it cannot be told beforehand, it is with this request's own answer; what was written down is
//! left to a sweep then, for the work would end with the answer.

use std::time::Duration;

use agentopia_clients::discord::DiscordError;
use agentopia_domain::secrets::InteractionTokenContext;
use agentopia_platform::db::discord_interactions::{
    self, BeginInteraction, BegunInteraction, InteractionOutcome, OpenInteraction,
};
use agentopia_platform::db::jobs::{Job, Settlement};
use agentopia_platform::log::Level;
use agentopia_platform::outbound::within;
use agentopia_platform::serve::log_best_effort;
use agentopia_platform::{ApiError, RequestContext, random};
use secrecy::{ExposeSecret, SecretString};

use crate::answer::{Answering, Budget, count_refusal};
use crate::app::App;
use crate::interaction::Errand;
use crate::reply::Reply;
use crate::verified::VerifiedInteraction;

/// How long an interaction's token lives (<https://discord.com/developers/docs/interactions/receiving-and-responding#followup-messages>), less what the way
/// to us took.
const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60 - 10);

/// Of Discord's three seconds: until when what is asked for is written down, until when Discord is told beforehand, and until when what is left is left.
pub(crate) const WRITTEN_WITHIN: Duration = Duration::from_millis(2200);
const TOLD_WITHIN: Duration = Duration::from_millis(2500);
const LEFT_WITHIN: Duration = Duration::from_millis(2700);

/// How long a sweep waits for an answer of ours to be with Discord.
const ON_ITS_WAY: Duration = Duration::from_secs(10);

/// What Discord is to hear in answer to its request.
#[derive(Debug, PartialEq)]
pub(crate) enum Response {
    /// This.
    Reply(Reply),
    /// Nothing: it has heard already.
    Told,
}

/// How Discord took it that an answer comes later.
enum Told {
    /// It knows.
    Yes,
    /// It does not know the interaction, or not any more.
    TooLate,
    /// It may not know.
    No {
        /// When the job is to be taken up.
        after: Duration,
        cause: String,
    },
}

/// How long there is until a moment of the request.
pub(crate) fn time_until(context: &RequestContext, moment: Duration) -> Duration {
    moment.saturating_sub(context.elapsed())
}

/// Runs an errand, and says what Discord is to hear.
pub(crate) async fn run(
    app: &App,
    context: &RequestContext,
    verified: &VerifiedInteraction,
    errand: &Errand<'_>,
) -> Response {
    let budget = Budget::of_lease(app, context);
    let token_sealed = match seal(app, verified, errand.token) {
        Ok(token_sealed) => token_sealed,
        Err(error) => {
            context
                .line(Level::Error, "interaction_not_sealed")
                .with("code", error.code())
                .emit();
            return Response::Reply(Reply::unavailable());
        }
    };
    let read_at = context.elapsed();
    let input = BeginInteraction {
        proven: verified.proven(),
        kind: errand.kind,
        guild_id: errand.guild_id,
        channel_id: errand.channel_id,
        author_id: errand.author_id,
        author_name: &errand.author_name,
        agent: errand.agent.as_deref(),
        message: errand.message.as_deref(),
        is_ephemeral: errand.is_ephemeral,
        token_sealed: &token_sealed,
        expires_seconds: TOKEN_LIFE.as_secs(),
        lease_seconds: app.lease().as_secs(),
        rate: app.rate,
    };
    let begun = discord_interactions::begin_interaction(&app.db, context, &input);
    let begun = within(time_until(context, WRITTEN_WITHIN), begun).await;

    let (interaction, job, pause) = match begun {
        None => return Response::Reply(Reply::too_slow()),
        Some(Err(error)) => return Response::Reply(Reply::refusal(&error)),
        Some(Ok(BegunInteraction::Refused { reason, agent_name })) => {
            return Response::Reply(Reply::refused(errand.kind, reason, agent_name.as_deref()));
        }
        // If the first delivery was not told of after all, it is now.
        Some(Ok(BegunInteraction::Repeated)) => return Response::Reply(Reply::deferred(errand.is_ephemeral)),
        Some(Ok(BegunInteraction::Begun {
            interaction,
            job,
            discord_pause_seconds,
        })) => (*interaction, job, discord_pause_seconds),
    };
    context.set_tenant(interaction.user_id);

    match tell(app, context, &interaction, errand.token, pause).await {
        Told::Yes => {
            let answering = Answering::new(app, context, &job, budget, interaction, read_at, true);
            log_best_effort(context, "interaction_not_answered", answering.run().await);
            Response::Told
        }
        Told::TooLate => {
            leave(
                app,
                context,
                &interaction,
                &job,
                &Settlement::Done,
                Some(InteractionOutcome::Expired),
            )
            .await;
            Response::Told
        }
        Told::No { after, cause } => {
            context
                .line(Level::Warn, "interaction_not_deferred")
                .with("interaction", interaction.id.to_string())
                .with("cause", cause)
                .emit();
            leave(app, context, &interaction, &job, &Settlement::Again(after), None).await;
            Response::Reply(Reply::deferred(errand.is_ephemeral))
        }
    }
}

/// Tells Discord that the answer comes later.
async fn tell(
    app: &App,
    context: &RequestContext,
    interaction: &OpenInteraction,
    token: &SecretString,
    pause_seconds: Option<f64>,
) -> Told {
    if let Some(seconds) = pause_seconds {
        return Told::No {
            after: Duration::try_from_secs_f64(seconds).unwrap_or_default().max(ON_ITS_WAY),
            cause: "Discord is not called for a while".to_owned(),
        };
    }
    let deferral = app
        .discord
        .defer(context, &interaction.interaction_id, token, interaction.is_ephemeral);
    let told = within(time_until(context, TOLD_WITHIN), deferral).await;

    match told.unwrap_or(Err(DiscordError::TimedOut)) {
        // It was taken, however the answer reads.
        Ok(()) | Err(DiscordError::AlreadyAcknowledged | DiscordError::Malformed(_)) => Told::Yes,
        Err(DiscordError::UnknownInteraction) => Told::TooLate,
        Err(error) => {
            let counted = count_refusal(app, context, interaction.user_id, &error);
            let pause = within(time_until(context, LEFT_WITHIN), counted).await.flatten();
            Told::No {
                after: pause.unwrap_or_default().max(ON_ITS_WAY),
                cause: error.to_string(),
            }
        }
    }
}

/// Leaves an interaction, if there is time for that; otherwise its lease runs out.
async fn leave(
    app: &App,
    context: &RequestContext,
    interaction: &OpenInteraction,
    job: &Job,
    settlement: &Settlement,
    outcome: Option<InteractionOutcome>,
) {
    let left =
        discord_interactions::settle_interaction(&app.db, context, interaction.id, job, settlement, outcome, false);
    let left = match within(time_until(context, LEFT_WITHIN), left).await {
        Some(left) => left.map(drop).map_err(|error| error.to_string()),
        None => Err("too slow".to_owned()),
    };
    log_best_effort(context, "interaction_not_left", left);
}

fn seal(app: &App, verified: &VerifiedInteraction, token: &SecretString) -> Result<String, ApiError> {
    let belonging = InteractionTokenContext {
        application_id: verified.interaction.application_id.as_str(),
        interaction_id: verified.interaction.id.as_str(),
    };
    let sealed = app
        .sealing
        .keyring()?
        .seal(&belonging, token.expose_secret().as_bytes(), random::bytes());
    sealed.map_err(|error| ApiError::internal(error.to_string()))
}
