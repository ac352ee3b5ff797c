//! An interaction whose signature was verified: the only way to one.
//!
//! In this order: the method (the router), the body's size, the headers, the signature, the age, and only then what the body says. All that is unproven gets the
//! same answer after the same work, whether the application that it names is known or not.

use std::time::Duration;

use agentopia_platform::db::discord_interactions::{Proven, find_interaction_keys};
use agentopia_platform::extract::{parse_json, read_body};
use agentopia_platform::outbound::within;
use agentopia_platform::{ApiError, RequestContext};
use axum::extract::{FromRequest, FromRequestParts as _, Request};

use crate::app::App;
use crate::deferral::time_until;
use crate::interaction::{Interaction, named_application};
use crate::signature::{KEYS_MAX, Proof, PublicKey};

/// The largest interaction, in bytes. A message with everything that belongs to it is a few thousand.
const BODY_MAX_BYTES: usize = 64 * 1024;

/// Of the three seconds that Discord waits: until when the keys must be known.
const KEYS_WITHIN: Duration = Duration::from_secs(2);

/// An interaction, and the key that verified it: what is done for it is done for connections that have both its application and this key.
#[derive(Debug)]
pub(crate) struct VerifiedInteraction {
    pub(crate) interaction: Interaction,
    key: PublicKey,
    /// Whether that is the deployment's own.
    own_key: bool,
}

impl VerifiedInteraction {
    /// What operations take as its proof.
    pub(crate) fn proven(&self) -> Proven<'_> {
        Proven {
            interaction_id: self.interaction.id.as_str(),
            application_id: self.interaction.application_id.as_str(),
            public_key: self.key.as_str(),
            own_key: self.own_key,
        }
    }
}

impl FromRequest<App> for VerifiedInteraction {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let context = RequestContext::from_request_parts(&mut parts, app).await?;
        let proof = Proof::of_headers(&parts.headers);
        let body = read_body(Request::from_parts(parts, body), BODY_MAX_BYTES).await?;
        let proof = proof.ok_or_else(unproven)?;

        // Nothing is decided by this but which keys are tried.
        let application = named_application(&body);
        let named = application.as_ref().map(|id| id.as_str());
        let known = find_interaction_keys(&app.db, &context, named, KEYS_MAX);
        let known = within(time_until(&context, KEYS_WITHIN), known)
            .await
            .ok_or_else(|| ApiError::database_unavailable("too slow"))??;
        let known = known.iter().filter_map(|key| PublicKey::parse(key));
        let keys: Vec<_> = app.own_key.iter().cloned().chain(known).collect();
        let key = proof.verified_by(&body, &keys).ok_or_else(unproven)?;
        if !proof.is_fresh(context.now()) {
            return Err(unproven());
        }

        Ok(Self {
            interaction: parse_json(&body)?,
            key: key.clone(),
            own_key: app.own_key.as_ref() == Some(key),
        })
    }
}

fn unproven() -> ApiError {
    ApiError::unauthenticated("invalid_signature", "Invalid request signature")
}
