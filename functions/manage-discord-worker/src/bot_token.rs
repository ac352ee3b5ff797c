//! A bot's token, from the request to its seal and back.

use std::fmt;

use agentopia_domain::ids::{AgentId, UserId};
use agentopia_domain::secrets::{BotTokenContext, Keyring, OpenError};
use agentopia_platform::error::Kind;
use agentopia_platform::{ApiError, random};
use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use thiserror::Error;

/// The longest token. Discord's have about 70 characters, and it may lengthen them.
const MAX_CHARS: usize = 200;
/// The longest id of a bot, in digits.
const ID_MAX_DIGITS: usize = 20;
/// How a token's first part is written, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A token as it came. It does not show in debug output.
pub(crate) struct BotToken(SecretString);

impl<'de> Deserialize<'de> for BotToken {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

impl fmt::Debug for BotToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BotToken(…)")
    }
}

impl BotToken {
    /// Whether it is empty: forms send that for none.
    pub(crate) fn is_blank(&self) -> bool {
        self.0.expose_secret().trim().is_empty()
    }

    /// The token, if it can be one: Discord counts against this deployment's address what it refuses. White space around it was copied along.
    pub(crate) fn parse(&self, field: &str) -> Result<SecretString, ApiError> {
        let text = self.0.expose_secret().trim();
        if !(1..=MAX_CHARS).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem = format_args!("must be 1 to {MAX_CHARS} visible ASCII characters");
            return Err(ApiError::invalid_field(field, problem));
        }
        if !has_form(text) {
            let problem = "is not a bot's token: three parts with dots in between, the first of them the bot's id";
            return Err(ApiError::invalid_field(field, problem));
        }
        Ok(text.into())
    }
}

/// Whether a text has the form of a token (<https://discord.com/developers/docs/reference#authentication>): the bot's id in Base64, a time, and a
/// signature.
fn has_form(text: &str) -> bool {
    let mut parts = text.split('.');
    let (Some(id), Some(time), Some(signature), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let is_id = |id: Vec<u8>| (1..=ID_MAX_DIGITS).contains(&id.len()) && id.iter().all(u8::is_ascii_digit);
    BASE64.decode(id).is_ok_and(is_id) && !time.is_empty() && !signature.is_empty()
}

/// A token as it is stored.
pub(crate) struct SealedToken {
    pub(crate) sealed: String,
    pub(crate) key_id: String,
    /// By which one token in two places is found, in hexadecimal, the newest key's first.
    pub(crate) fingerprints: Vec<String>,
}

/// Seals a token for its owner and agent.
pub(crate) fn seal(
    keyring: &Keyring,
    user_id: UserId,
    agent_id: AgentId,
    token: &SecretString,
) -> Result<SealedToken, ApiError> {
    let token = token.expose_secret().as_bytes();
    let sealed = keyring
        .seal(&BotTokenContext { user_id, agent_id }, token, random::bytes())
        .map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(SealedToken {
        sealed,
        key_id: keyring.newest_id().to_owned(),
        fingerprints: keyring
            .fingerprints(token)
            .iter()
            .map(|bytes| random::to_hex(bytes))
            .collect(),
    })
}

/// Why a stored token cannot be used.
#[derive(Clone, Debug, Error)]
#[error("the bot's stored token does not open: {0}")]
pub(crate) struct Unreadable(String);

impl From<OpenError> for Unreadable {
    fn from(error: OpenError) -> Self {
        Self(error.to_string())
    }
}

impl Unreadable {
    /// What the owner is told.
    pub(crate) fn told(&self) -> ApiError {
        ApiError::new(
            Kind::Conflict,
            "bot_token_unreadable",
            "The bot's stored token cannot be read. Please set it again.",
        )
        .because(self.to_string())
    }
}

impl From<Unreadable> for ApiError {
    fn from(error: Unreadable) -> Self {
        error.told()
    }
}

/// Opens a stored token.
pub(crate) fn open(
    keyring: &Keyring,
    user_id: UserId,
    agent_id: AgentId,
    sealed: &str,
) -> Result<SecretString, Unreadable> {
    let opened = keyring.open(&BotTokenContext { user_id, agent_id }, sealed)?;
    let text = std::str::from_utf8(opened.as_bytes()).map_err(|error| Unreadable(error.to_string()))?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "MTIz.GaBcDe.canary-of-a-bot";

    fn token(text: &str) -> BotToken {
        serde_json::from_value(serde_json::json!(text)).unwrap()
    }

    fn keyring(id: &str) -> Keyring {
        Keyring::parse(&format!("{id}:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")).unwrap()
    }

    fn ids() -> (UserId, AgentId) {
        (UserId(random::uuid()), AgentId(random::uuid()))
    }

    #[test]
    fn a_token_is_visible_ascii_of_bounded_length() {
        let long = "a".repeat(MAX_CHARS + 1);

        assert_eq!(token(&format!(" {TOKEN}\n")).parse("f").unwrap().expose_secret(), TOKEN);
        for text in ["", "  ", "a b", "a\u{0}b", "é", &long] {
            let error = token(text).parse("bot_token").unwrap_err();
            assert_eq!(error.message(), "bot_token must be 1 to 200 visible ASCII characters.");
        }
    }

    #[test]
    fn a_token_has_three_parts_and_begins_with_a_bots_id() {
        // The first is padded, as older ones may be.
        for text in ["MTI=.GaBcDe.signature", "MTI.GaBcDe.signature", "MTIzNDU2.G-_.s"] {
            assert!(token(text).parse("f").is_ok(), "{text}");
        }
        let long = format!("{}.a.b", "MTIz".repeat(7));
        let others = [
            "abc",
            "MTIz.GaBcDe",
            "MTIz.GaBcDe.a.b",
            "MTIz..a",
            "MTIz.a.",
            ".a.b",
            "123.a.b",
            "YWJj.a.b",
            "MT!z.a.b",
            &long,
        ];
        for text in others {
            let error = token(text).parse("bot_token").unwrap_err();
            assert_eq!(
                (error.status().as_u16(), error.code()),
                (400, "invalid_field"),
                "{text}"
            );
            assert_eq!(
                error.message(),
                "bot_token is not a bot's token: three parts with dots in between, the first of them the bot's id."
            );
        }
    }

    #[test]
    fn a_token_does_not_show() {
        let token = token(TOKEN);

        assert_eq!(format!("{token:?}"), "BotToken(…)");
        assert!(!format!("{:?}", token.parse("f").unwrap()).contains("canary"));
    }

    #[test]
    fn a_sealed_token_opens_for_its_owner_and_agent_alone() {
        let (user_id, agent_id) = ids();
        let (other_user, other_agent) = ids();
        let keys = keyring("a");

        let sealed = seal(&keys, user_id, agent_id, &TOKEN.into()).unwrap();

        assert_eq!((sealed.key_id.as_str(), sealed.fingerprints.len()), ("a", 1));
        assert_eq!(sealed.fingerprints[0].len(), 64);
        let opened = open(&keys, user_id, agent_id, &sealed.sealed).unwrap();
        assert_eq!(opened.expose_secret(), TOKEN);
        for (user, agent) in [(other_user, agent_id), (user_id, other_agent)] {
            let error = open(&keys, user, agent, &sealed.sealed).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the bot's stored token does not open: it is not what was sealed for this row"
            );
        }
    }

    #[test]
    fn an_owner_is_told_to_set_an_unreadable_token_again() {
        let (user_id, agent_id) = ids();
        let sealed = seal(&keyring("old"), user_id, agent_id, &TOKEN.into()).unwrap();

        let error = ApiError::from(open(&keyring("new"), user_id, agent_id, &sealed.sealed).unwrap_err());

        assert_eq!((error.status().as_u16(), error.code()), (409, "bot_token_unreadable"));
    }
}
