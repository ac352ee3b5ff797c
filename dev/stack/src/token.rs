//! Users' tokens, shaped as Supabase Auth makes them, and the keys that sign them.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use p256::elliptic_curve::rand_core::{OsRng, RngCore as _};
use p256::pkcs8::EncodePrivateKey as _;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StackError;

/// The issuer of the local stack's tokens: `spin.toml`'s default `supabase_origin`, and Supabase's path on it.
pub const ISSUER: &str = "http://127.0.0.1:54321/auth/v1";

/// The audience of every user's token.
pub const AUDIENCE: &str = "authenticated";

/// What a Supabase user token says. Tests change the fields to make tokens that must be refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UserClaims {
    /// Who signed it.
    pub iss: String,
    /// The user.
    pub sub: String,
    /// Whom it is for.
    pub aud: String,
    /// Until when, in seconds since 1970.
    pub exp: i64,
    /// Since when.
    pub iat: i64,
    /// The user's address.
    pub email: String,
    /// The user's phone; Supabase sends it empty.
    pub phone: String,
    /// The database role of a signed-in user.
    pub role: String,
    /// The authentication's assurance level.
    pub aal: String,
    /// The login session.
    pub session_id: Uuid,
    /// Whether the user signed in without an identity.
    pub is_anonymous: bool,
}

impl UserClaims {
    /// The claims of a user who signed in now, with the local stack's issuer.
    pub fn new(user_id: Uuid, email: &str, lifetime: Duration) -> Self {
        let now = now();
        let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        Self {
            iss: ISSUER.to_owned(),
            sub: user_id.to_string(),
            aud: AUDIENCE.to_owned(),
            exp: now.timestamp().saturating_add(lifetime),
            iat: now.timestamp(),
            email: email.to_owned(),
            phone: String::new(),
            role: AUDIENCE.to_owned(),
            aal: "aal1".to_owned(),
            session_id: session_id(),
            is_anonymous: false,
        }
    }

    /// The same claims from another issuer.
    #[must_use]
    pub fn issued_by(mut self, issuer: impl Into<String>) -> Self {
        self.iss = issuer.into();
        self
    }
}

/// A user's token, signed with the secret of the data folder (HS256).
pub fn user_token(secret: &str, user_id: Uuid, email: &str, lifetime: Duration) -> Result<String, StackError> {
    Signer::hs256(secret).sign(&UserClaims::new(user_id, email, lifetime))
}

/// A key that signs tokens.
#[derive(Debug, Clone)]
pub struct Signer {
    header: Header,
    key: EncodingKey,
}

impl Signer {
    /// Signs with a shared secret, without a key id, as projects did before signing keys.
    pub fn hs256(secret: &str) -> Self {
        Self {
            header: Header::new(Algorithm::HS256),
            key: EncodingKey::from_secret(secret.as_bytes()),
        }
    }

    /// Signs with a new P-256 key.
    pub fn es256(kid: &str) -> Result<Self, StackError> {
        let key = p256::SecretKey::random(&mut OsRng)
            .to_pkcs8_der()
            .map_err(|error| not_made(&error))?;
        Ok(Self {
            header: header(Algorithm::ES256, kid),
            key: EncodingKey::from_ec_der(key.as_bytes()),
        })
    }

    /// Signs with a new RSA key of 2048 bits.
    pub fn rs256(kid: &str) -> Result<Self, StackError> {
        let key = rsa::RsaPrivateKey::new(&mut OsRng, 2048).map_err(|error| not_made(&error))?;
        let key = key.to_pkcs1_der().map_err(|error| not_made(&error))?;
        Ok(Self {
            header: header(Algorithm::RS256, kid),
            key: EncodingKey::from_rsa_der(key.as_bytes()),
        })
    }

    /// The key id in the tokens' header.
    pub fn kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// Signs any claims.
    pub fn sign<C: Serialize>(&self, claims: &C) -> Result<String, StackError> {
        jsonwebtoken::encode(&self.header, claims, &self.key)
            .map_err(|error| StackError::Failed(format!("a token cannot be signed: {error}")))
    }

    /// A user's token with the local stack's issuer.
    pub fn user_token(&self, user_id: Uuid, email: &str, lifetime: Duration) -> Result<String, StackError> {
        self.sign(&UserClaims::new(user_id, email, lifetime))
    }

    /// The public key as a JWKS document lists it. A shared secret has none.
    pub fn jwk(&self) -> Result<Jwk, StackError> {
        if self.header.alg == Algorithm::HS256 {
            return Err(StackError::Failed("a shared secret is not published".to_owned()));
        }
        let mut jwk = Jwk::from_encoding_key(&self.key, self.header.alg).map_err(|error| not_made(&error))?;
        jwk.common.key_id.clone_from(&self.header.kid);
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_operations = Some(vec![KeyOperations::Verify]);
        Ok(jwk)
    }
}

/// The JWKS document of some signers.
pub fn jwks(signers: &[&Signer]) -> Result<JwkSet, StackError> {
    Ok(JwkSet {
        keys: signers.iter().map(|signer| signer.jwk()).collect::<Result<_, _>>()?,
    })
}

/// A token header that names its key.
fn header(algorithm: Algorithm, kid: &str) -> Header {
    Header {
        kid: Some(kid.to_owned()),
        ..Header::new(algorithm)
    }
}

/// The error of a key that cannot be made or shown.
fn not_made(reason: &dyn std::fmt::Display) -> StackError {
    StackError::Failed(format!("a signing key cannot be made: {reason}"))
}

/// The time that a token is made at.
#[expect(
    clippy::disallowed_methods,
    reason = "a tool of the developer's machine, which is the edge itself"
)]
fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A login session that no other token has.
fn session_id() -> Uuid {
    let mut random = [0; 16];
    OsRng.fill_bytes(&mut random);
    uuid::Builder::from_random_bytes(random).into_uuid()
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};

    use super::*;

    const USER: Uuid = Uuid::from_u128(7);

    fn validation(algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        validation
    }

    #[test]
    fn a_token_of_the_shared_secret_verifies_with_it_and_with_no_other() {
        let token = user_token("one secret", USER, "user@example.com", Duration::from_secs(60)).unwrap();
        let verify = |secret: &str| {
            let key = DecodingKey::from_secret(secret.as_bytes());
            decode::<UserClaims>(&token, &key, &validation(Algorithm::HS256))
        };

        let claims = verify("one secret").unwrap().claims;

        assert_eq!(
            (claims.sub.as_str(), claims.email.as_str()),
            (USER.to_string().as_str(), "user@example.com")
        );
        assert_eq!(claims.exp - claims.iat, 60);
        assert!(verify("another secret").is_err());
        assert_eq!(decode_header(&token).unwrap().kid, None);
    }

    #[test]
    fn tokens_of_published_keys_verify_through_the_document() {
        let signers = [Signer::es256("elliptic").unwrap(), Signer::rs256("rsa").unwrap()];
        let document = serde_json::to_string(&jwks(&[&signers[0], &signers[1]]).unwrap()).unwrap();
        let published: JwkSet = serde_json::from_str(&document).unwrap();

        for signer in &signers {
            let token = signer
                .user_token(USER, "user@example.com", Duration::from_secs(60))
                .unwrap();
            let header = decode_header(&token).unwrap();
            let key = DecodingKey::from_jwk(published.find(header.kid.as_deref().unwrap()).unwrap()).unwrap();

            let claims = decode::<UserClaims>(&token, &key, &validation(header.alg))
                .unwrap()
                .claims;

            assert_eq!(claims.sub, USER.to_string());
        }
        assert!(!document.contains("\"d\""), "no private part is published");
    }

    #[test]
    fn a_shared_secret_is_not_published() {
        let refusal = Signer::hs256("secret").jwk().unwrap_err().to_string();

        assert_eq!(refusal, "a shared secret is not published");
    }
}
