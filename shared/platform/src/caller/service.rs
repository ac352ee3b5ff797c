//! `caller::Service`: whoever drives the schedule, by a secret of the deployment.

use std::fmt;
use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;
use secrecy::ExposeSecret;

use super::bearer;
use crate::bearer::TokenHash;
use crate::error::ApiError;
use crate::settings::{self, SettingsError};

/// The deployment itself: it presented the secret that only its schedule knows.
#[derive(Debug)]
pub struct Service(());

/// What a service must present. Cheap to clone; only the secret's hash is kept.
#[derive(Clone)]
pub struct ServiceToken(Option<Arc<TokenHash>>);

impl ServiceToken {
    /// From the secret setting `name`. If it is empty nobody is a service.
    ///
    /// # Errors
    ///
    /// If the setting is missing.
    pub async fn from_settings(name: &'static str) -> Result<Self, SettingsError> {
        let secret = settings::secret(name).await?;
        Ok(Self::new(secret.as_ref().map(ExposeSecret::expose_secret)))
    }

    fn new(secret: Option<&str>) -> Self {
        Self(secret.map(|secret| Arc::new(TokenHash::of(secret))))
    }
}

impl fmt::Debug for ServiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceToken(…)")
    }
}

impl<S> FromRequestParts<S> for Service
where
    S: Send + Sync,
    ServiceToken: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let presented = bearer(parts)
            .map(TokenHash::of)
            .ok_or_else(|| ApiError::unauthenticated("missing_token", "Missing or invalid authorization header"))?;
        let refuse = |cause: &str| ApiError::unauthenticated("invalid_token", "Authentication failed").because(cause);

        let expected = ServiceToken::from_ref(state).0;
        match expected {
            None => Err(refuse("no service token is configured")),
            Some(expected) if expected.matches(&presented) => Ok(Self(())),
            Some(_) => Err(refuse("not the service token")),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use http::header::AUTHORIZATION;

    use super::*;

    fn call(secret: Option<&str>, header: Option<&str>) -> Result<(), String> {
        let mut request = http::Request::builder();
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        let service = block_on(Service::from_request_parts(&mut parts, &ServiceToken::new(secret)));
        service.map(|_| ()).map_err(|error| error.code().to_owned())
    }

    #[test]
    fn the_secret_alone_makes_a_service() {
        assert_eq!(call(Some("s3cret"), Some("Bearer s3cret")), Ok(()));
        for (secret, header, code) in [
            (Some("s3cret"), None, "missing_token"),
            (Some("s3cret"), Some("Bearer s3cre"), "invalid_token"),
            (Some("s3cret"), Some("Bearer S3CRET"), "invalid_token"),
            (None, Some("Bearer s3cret"), "invalid_token"),
            (None, Some("Bearer "), "missing_token"),
        ] {
            assert_eq!(call(secret, header), Err(code.to_owned()), "{header:?}");
        }
    }
}
