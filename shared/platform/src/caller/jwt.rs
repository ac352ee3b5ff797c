//! Verification of Supabase's user tokens (<https://supabase.com/docs/guides/auth/jwts>).
//!
//! The algorithm belongs to the key, not to the token: HS256 is tried only with the shared secret, ES256 and RS256 only with a published key of
//! that type. `none` and everything else is refused, as are `jku`, `x5u` and embedded keys, which are never looked at.

use std::collections::HashSet;
use std::str::FromStr;

use agentopia_domain::ids::UserId;
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

/// The longest token that is looked at, in bytes.
const TOKEN_MAX_BYTES: usize = 8 * 1024;
/// The longest key id that is looked up.
const KID_MAX_BYTES: usize = 128;
/// How far clocks may disagree, in seconds.
const LEEWAY_SECONDS: i64 = 30;

/// What a token must say, whoever signed it.
#[derive(Clone, Debug)]
pub(crate) struct Expected {
    pub(crate) audience: String,
    pub(crate) issuer: String,
}

/// By what a token says it was signed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Signature {
    /// HS256 with the project's shared secret.
    SharedSecret,
    /// ES256 or RS256 with the published key of this id.
    Published { kid: String },
}

/// Why a token proves nothing. The text is for the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum InvalidToken {
    #[error("not a token of a known form")]
    Malformed,
    #[error("signed with an algorithm that is not accepted")]
    Algorithm,
    #[error("no key fits it")]
    UnknownKey,
    #[error("the signature is wrong")]
    Signature,
    #[error("for another audience or from another issuer")]
    Foreign,
    #[error("expired")]
    Expired,
    #[error("not valid yet")]
    NotYetValid,
    #[error("not a user's token")]
    NotAUser,
}

/// A proven user and what the token says of them.
#[derive(Clone, Debug)]
pub(crate) struct VerifiedUser {
    pub(crate) id: UserId,
    pub(crate) claims: Map<String, Value>,
}

/// Says which key a token needs, without believing anything else in it.
pub(crate) fn signature_of(token: &str) -> Result<Signature, InvalidToken> {
    if token.len() > TOKEN_MAX_BYTES {
        return Err(InvalidToken::Malformed);
    }
    let header = decode_header(token).map_err(|_| InvalidToken::Malformed)?;
    match (header.alg, header.kid) {
        (Algorithm::HS256, _) => Ok(Signature::SharedSecret),
        (Algorithm::ES256 | Algorithm::RS256, Some(kid)) if kid.len() <= KID_MAX_BYTES => {
            Ok(Signature::Published { kid })
        }
        (Algorithm::ES256 | Algorithm::RS256, _) => Err(InvalidToken::UnknownKey),
        _ => Err(InvalidToken::Algorithm),
    }
}

/// The published key `kid` and the one algorithm it may verify; `None` if there is none that fits.
pub(crate) fn published_key(keys: &JwkSet, kid: &str) -> Option<(DecodingKey, Algorithm)> {
    let key = keys.find(kid)?;
    let algorithm = algorithm_of(key)?;
    DecodingKey::from_jwk(key).ok().map(|key| (key, algorithm))
}

fn algorithm_of(key: &Jwk) -> Option<Algorithm> {
    match &key.algorithm {
        AlgorithmParameters::EllipticCurve(parameters) if parameters.curve == EllipticCurve::P256 => {
            Some(Algorithm::ES256)
        }
        AlgorithmParameters::RSA(_) => Some(Algorithm::RS256),
        _ => None,
    }
}

/// Verifies signature and claims.
pub(crate) fn verify(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
    expected: &Expected,
    now: DateTime<Utc>,
) -> Result<VerifiedUser, InvalidToken> {
    let mut validation = Validation::new(algorithm);
    // Claims are checked below, against the time that was given.
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims = HashSet::new();
    let claims = decode::<Map<String, Value>>(token, key, &validation)
        .map_err(|_| InvalidToken::Signature)?
        .claims;

    check_claims(&claims, expected, now)?;

    let id = claims
        .get("sub")
        .and_then(Value::as_str)
        .and_then(|sub| UserId::from_str(sub).ok());
    let id = id.ok_or(InvalidToken::NotAUser)?;
    Ok(VerifiedUser { id, claims })
}

fn check_claims(claims: &Map<String, Value>, expected: &Expected, now: DateTime<Utc>) -> Result<(), InvalidToken> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    let seconds = |name: &str| claims.get(name).and_then(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit a double's 53 bits")]
    let (earliest, latest) = (
        (now.timestamp() - LEEWAY_SECONDS) as f64,
        (now.timestamp() + LEEWAY_SECONDS) as f64,
    );

    let audience = match claims.get("aud") {
        Some(Value::String(one)) => *one == expected.audience,
        Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(&expected.audience)),
        _ => false,
    };
    if !audience || text("iss") != Some(&expected.issuer) {
        return Err(InvalidToken::Foreign);
    }
    if seconds("exp").is_none_or(|expires| expires <= earliest) {
        return Err(InvalidToken::Expired);
    }
    if seconds("nbf").is_some_and(|begins| begins > latest) {
        return Err(InvalidToken::NotYetValid);
    }
    if text("role") != Some("authenticated") {
        return Err(InvalidToken::NotAUser);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_790_000_000;
    const SECRET: &[u8] = b"a secret of at least thirty-two bytes";

    fn expected() -> Expected {
        Expected {
            audience: "authenticated".into(),
            issuer: "https://x.supabase.co/auth/v1".into(),
        }
    }

    fn claims() -> Map<String, Value> {
        let claims = json!({
            "sub": "00000000-0000-4000-8000-0000000000a1",
            "aud": "authenticated",
            "iss": "https://x.supabase.co/auth/v1",
            "role": "authenticated",
            "exp": NOW + 60,
        });
        claims.as_object().unwrap().clone()
    }

    fn check(claims: &Map<String, Value>) -> Result<UserId, InvalidToken> {
        let token = encode(
            &Header::new(Algorithm::HS256),
            claims,
            &EncodingKey::from_secret(SECRET),
        )
        .unwrap();
        let now = DateTime::from_timestamp(NOW, 0).unwrap();
        let key = DecodingKey::from_secret(SECRET);
        verify(&token, &key, Algorithm::HS256, &expected(), now).map(|user| user.id)
    }

    #[test]
    fn a_users_token_proves_the_user() {
        assert_eq!(
            check(&claims()).unwrap().to_string(),
            "00000000-0000-4000-8000-0000000000a1"
        );
    }

    #[test]
    fn each_claim_is_checked() {
        let cases = [
            ("aud", json!("other"), InvalidToken::Foreign),
            ("aud", json!(["a", "b"]), InvalidToken::Foreign),
            ("aud", Value::Null, InvalidToken::Foreign),
            ("iss", json!("https://evil.example"), InvalidToken::Foreign),
            ("exp", json!(NOW - 31), InvalidToken::Expired),
            ("exp", json!("soon"), InvalidToken::Expired),
            ("exp", Value::Null, InvalidToken::Expired),
            ("nbf", json!(NOW + 31), InvalidToken::NotYetValid),
            ("role", json!("service_role"), InvalidToken::NotAUser),
            ("role", json!("anon"), InvalidToken::NotAUser),
            ("sub", json!("admin"), InvalidToken::NotAUser),
            ("sub", Value::Null, InvalidToken::NotAUser),
        ];

        for (claim, value, error) in cases {
            let mut claims = claims();
            claims.insert(claim.to_owned(), value.clone());
            assert_eq!(check(&claims), Err(error), "{claim} = {value}");
        }
    }

    #[test]
    fn one_of_several_audiences_and_a_little_skew_are_enough() {
        let mut claims = claims();
        claims.insert("aud".to_owned(), json!(["authenticated", "b"]));
        claims.insert("exp".to_owned(), json!(NOW - 29));
        claims.insert("nbf".to_owned(), json!(NOW + 29));

        assert!(check(&claims).is_ok());
    }

    #[test]
    fn the_algorithm_is_the_keys_and_not_the_tokens() {
        let now = DateTime::from_timestamp(NOW, 0).unwrap();
        let key = DecodingKey::from_secret(SECRET);
        let token = encode(
            &Header::new(Algorithm::HS384),
            &claims(),
            &EncodingKey::from_secret(SECRET),
        )
        .unwrap();

        assert_eq!(signature_of(&token), Err(InvalidToken::Algorithm));
        assert!(matches!(
            verify(&token, &key, Algorithm::HS256, &expected(), now),
            Err(InvalidToken::Signature)
        ));
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        // {"alg":"none"}.{"sub":"x"}.
        let none = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.";

        for token in ["", "a.b.c", "..", none, &"a".repeat(TOKEN_MAX_BYTES + 1)] {
            assert_eq!(signature_of(token), Err(InvalidToken::Malformed), "{token:.20}");
        }
    }
}
