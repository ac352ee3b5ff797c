//! `POST /functions/v1/discord-interaction-handler`: an interaction that Discord delivers, and its answer.

use std::convert::identity;

use agentopia_platform::RequestContext;
use agentopia_platform::db::discord_interactions::{self, GuildAgents, ListGuildAgents};
use agentopia_platform::extract::Json;
use agentopia_platform::outbound::within;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use crate::app::App;
use crate::deferral::{self, WRITTEN_WITHIN, time_until};
use crate::interaction::Asked;
use crate::reply::{CHOICES_MAX, LISTED_MAX, Reply};
use crate::verified::VerifiedInteraction;

/// Answers within the three seconds that Discord waits, or has told it before that the answer comes later: then there is none here.
pub(crate) async fn answer_interaction(
    State(app): State<App>,
    context: RequestContext,
    verified: VerifiedInteraction,
) -> Response {
    let asking = Asking {
        app: &app,
        context: &context,
        verified: &verified,
    };
    let reply = match verified.interaction.asked() {
        Asked::Ping => Reply::Pong,
        Asked::Agents { guild_id } => {
            let agents = asking.list_agents("agents", guild_id, "", LISTED_MAX).await;
            agents.map_or_else(identity, |agents| Reply::agents(&agents))
        }
        Asked::Status { guild_id } => {
            let agents = asking.list_agents("status", guild_id, "", LISTED_MAX).await;
            agents.map_or_else(identity, |agents| Reply::status(&agents))
        }
        Asked::Choices { guild_id, typed } => {
            let agents = asking.list_agents("choices", guild_id, typed, CHOICES_MAX).await;
            // There is no place for words.
            agents.map_or_else(|_| Reply::Choices(Vec::new()), |agents| Reply::choices(&agents))
        }
        Asked::NoChoices => Reply::Choices(Vec::new()),
        Asked::Errand(errand) => match deferral::run(&app, &context, &verified, &errand).await {
            deferral::Response::Reply(reply) => reply,
            deferral::Response::Told => return StatusCode::ACCEPTED.into_response(),
        },
        Asked::NoQuestion => Reply::no_question(),
        Asked::NoTextInMessage => Reply::no_text_in_message(),
        Asked::CommandOutsideOfGuild => Reply::outside_of_guild(),
        Asked::UnknownCommand => Reply::unknown_command(),
        Asked::Unknown => Reply::unknown_interaction(),
    };

    Json(reply.into_json()).into_response()
}

/// An interaction that asks for what is known at once.
struct Asking<'a> {
    app: &'a App,
    context: &'a RequestContext,
    verified: &'a VerifiedInteraction,
}

impl Asking<'_> {
    /// The guild's agents, or what is answered instead.
    async fn list_agents(
        &self,
        kind: &'static str,
        guild_id: &str,
        name_prefix: &str,
        limit: u32,
    ) -> Result<GuildAgents, Reply> {
        let input = ListGuildAgents {
            proven: self.verified.proven(),
            kind,
            guild_id,
            name_prefix,
            limit,
            rate: self.app.rate,
        };
        let listed = discord_interactions::list_guild_agents(&self.app.db, self.context, &input);
        match within(time_until(self.context, WRITTEN_WITHIN), listed).await {
            Some(Ok(agents)) => Ok(agents),
            Some(Err(error)) => Err(Reply::refusal(&error)),
            None => Err(Reply::too_slow()),
        }
    }
}
