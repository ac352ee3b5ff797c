//! `caller::User`: a person, proven by a Supabase token.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use agentopia_domain::ids::UserId;
use axum::extract::{FromRef, FromRequestParts};
use bytes::Bytes;
use http::request::Parts;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey};
use secrecy::ExposeSecret;
use serde_json::Value;

use super::bearer;
use super::jwt::{self, Expected, InvalidToken, Signature, VerifiedUser};
use crate::context::RequestContext;
use crate::db::{Caller, Database, signing_keys};
use crate::error::{ApiError, Kind};
use crate::log::Level;
use crate::outbound;
use crate::settings::{self, SettingsError};

/// How long this instance believes its copy of the key set without asking the database.
const KEYS_FRESH_FOR: Duration = Duration::from_secs(60);
const KEYS_MAX_BYTES: usize = 64 * 1024;
const KEYS_LIMITS: outbound::Limits = outbound::Limits {
    connect: Duration::from_secs(2),
    first_byte: Duration::from_secs(3),
    between_bytes: Duration::from_secs(2),
};

/// A person whose token was verified.
#[derive(Clone, Debug)]
pub struct User {
    /// Who it is.
    pub id: UserId,
    /// The proof, for operations.
    pub caller: Caller,
}

/// What it takes to verify users' tokens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct UserTokens(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    expected: Expected,
    shared_secret: Option<DecodingKey>,
    jwks_url: String,
    published: Mutex<Option<(JwkSet, Instant)>>,
    db: Arc<Database>,
}

impl UserTokens {
    /// From the settings `jwt_audience`, `jwt_issuer`, `jwt_secret` (may be empty) and `jwks_url`.
    ///
    /// # Errors
    ///
    /// If one is missing.
    pub async fn from_settings(db: Arc<Database>) -> Result<Self, SettingsError> {
        let secret = settings::secret("jwt_secret").await?;
        Ok(Self(Arc::new(Inner {
            expected: Expected {
                audience: settings::required_text("jwt_audience").await?,
                issuer: settings::required_text("jwt_issuer").await?,
            },
            shared_secret: secret.map(|secret| DecodingKey::from_secret(secret.expose_secret().as_bytes())),
            jwks_url: settings::required_text("jwks_url").await?,
            published: Mutex::new(None),
            db,
        })))
    }

    async fn verify(&self, context: &RequestContext, token: &str) -> Result<VerifiedUser, ApiError> {
        let refuse = |error: InvalidToken| {
            ApiError::unauthenticated("invalid_token", "Authentication failed").because(error.to_string())
        };
        let now = context.now();
        let expected = &self.0.expected;

        match jwt::signature_of(token).map_err(refuse)? {
            Signature::SharedSecret => {
                let key = self
                    .0
                    .shared_secret
                    .as_ref()
                    .ok_or_else(|| refuse(InvalidToken::Algorithm))?;
                jwt::verify(token, key, Algorithm::HS256, expected, now).map_err(refuse)
            }
            Signature::Published { kid } => {
                let key = self.published_key(context, &kid).await?;
                let (key, algorithm) = key.ok_or_else(|| refuse(InvalidToken::UnknownKey))?;
                jwt::verify(token, &key, algorithm, expected, now).map_err(refuse)
            }
        }
    }

    /// Finds a published key: in this instance's copy, then in the database's, which all instances share, then at its source.
    async fn published_key(
        &self,
        context: &RequestContext,
        kid: &str,
    ) -> Result<Option<(DecodingKey, Algorithm)>, ApiError> {
        if let Some(key) = self.remembered(kid) {
            return Ok(Some(key));
        }

        let cached = signing_keys::read(&self.0.db, context, &self.0.jwks_url, kid).await?;
        let mut document = cached.document;
        if cached.fetch {
            match self.fetch(context).await {
                Ok(fetched) => {
                    signing_keys::store(&self.0.db, context, &self.0.jwks_url, &fetched).await?;
                    document = Some(fetched);
                }
                // The keys of an hour ago are better than none.
                Err(cause) => context
                    .line(Level::Warn, "signing_keys_not_fetched")
                    .with("cause", cause)
                    .emit(),
            }
        }

        let Some(keys) = document.and_then(|document| serde_json::from_value::<JwkSet>(document).ok()) else {
            return Err(ApiError::new(
                Kind::Unavailable,
                "signing_keys_unavailable",
                "Tokens cannot be verified right now.",
            )
            .retry_after(Duration::from_secs(5)));
        };
        let key = jwt::published_key(&keys, kid);
        self.remember(keys);
        Ok(key)
    }

    fn remembered(&self, kid: &str) -> Option<(DecodingKey, Algorithm)> {
        let published = self.0.published.lock().unwrap_or_else(PoisonError::into_inner);
        let (keys, since) = published.as_ref()?;
        if since.elapsed() > KEYS_FRESH_FOR {
            return None;
        }
        jwt::published_key(keys, kid)
    }

    fn remember(&self, keys: JwkSet) {
        *self.0.published.lock().unwrap_or_else(PoisonError::into_inner) = Some((keys, Instant::now()));
    }

    async fn fetch(&self, context: &RequestContext) -> Result<Value, String> {
        let request = http::Request::get(&self.0.jwks_url)
            .body(Bytes::new())
            .map_err(|error| error.to_string())?;
        let response = outbound::send(context, "jwks", request, KEYS_LIMITS)
            .await
            .map_err(|error| error.to_string())?;
        if !response.status.is_success() {
            return Err(format!("status {}", response.status.as_u16()));
        }
        let body = response
            .bytes(KEYS_MAX_BYTES)
            .await
            .map_err(|error| error.to_string())?;
        let document: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        serde_json::from_value::<JwkSet>(document.clone()).map_err(|error| error.to_string())?;
        Ok(document)
    }
}

impl<S> FromRequestParts<S> for User
where
    S: Send + Sync,
    UserTokens: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let context = RequestContext::from_request_parts(parts, state).await?;
        let token = bearer(parts)
            .ok_or_else(|| ApiError::unauthenticated("missing_token", "Missing or invalid authorization header"))?;

        let user = UserTokens::from_ref(state).verify(&context, token).await?;

        context.set_tenant(user.id);
        Ok(Self {
            id: user.id,
            caller: Caller::User {
                id: user.id,
                claims: user.claims,
            },
        })
    }
}
