//! Machines' bearer tokens: 32 random bytes with a readable prefix, of which only the SHA-256 is stored.
//!
//! The prefix says what a leaked token is (secret scanners look for it) and keeps one kind from being taken for the other before the
//! database is asked. The hash covers the whole text, prefix included, and travels as lower-case hexadecimal. A plain SHA-256 is enough
//! here: what is hashed has 256 random bits, so there is nothing to guess.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::random;

/// Random bytes of a token.
const ENTROPY_BYTES: usize = 32;
/// The same in base64url without padding.
const ENTROPY_CHARS: usize = 43;

/// The SHA-256 of a token, as 64 lower-case hexadecimal digits: what the database knows of it.
#[derive(Clone, Eq, PartialEq, Serialize)]
#[serde(transparent)]
pub struct TokenHash(String);

impl TokenHash {
    /// The hash of any text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(random::to_hex(&Sha256::digest(text)))
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether both are the same, in a time that does not tell where they differ.
    pub(crate) fn matches(&self, other: &Self) -> bool {
        let pairs = self.0.bytes().zip(other.0.bytes());
        self.0.len() == other.0.len() && pairs.fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

/// Nothing hashed is in a log either.
impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

macro_rules! tokens {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(SecretString);

        impl $name {
            /// What every token of this kind begins with.
            pub const PREFIX: &str = $prefix;

            /// A new token, from the platform's entropy.
            #[must_use]
            pub fn generate() -> Self {
                let entropy = random::bytes::<ENTROPY_BYTES>();
                Self(format!("{}{}", Self::PREFIX, URL_SAFE_NO_PAD.encode(entropy)).into())
            }

            /// What is stored of it.
            #[must_use]
            pub fn hash_hex(&self) -> TokenHash {
                TokenHash::of(self.0.expose_secret())
            }

            /// The token itself, to be handed to its machine once.
            #[must_use]
            pub fn expose(&self) -> &str {
                self.0.expose_secret()
            }

            /// The hash of what was presented; `None` if it does not have the form of this kind of token.
            pub(crate) fn hash_presented(text: &str) -> Option<TokenHash> {
                let entropy = text.strip_prefix(Self::PREFIX)?;
                let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
                (entropy.len() == ENTROPY_CHARS && entropy.bytes().all(is_base64url)).then(|| TokenHash::of(text))
            }
        }
    )*};
}

tokens! {
    /// Proves a toolbox, for as long as it lives.
    ToolboxToken = "agt_tb_";
    /// Proves a machine that has just booted, once, until its boot limit ends: it is exchanged for a [`ToolboxToken`].
    BootstrapToken = "agt_boot_";
    /// Proves a Discord worker, as long as it is the one that runs for its agent and is heard of.
    WorkerToken = "agt_wk_";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_its_prefix_and_no_two_are_alike() {
        let (first, second) = (ToolboxToken::generate(), ToolboxToken::generate());

        assert_eq!(first.expose().len(), "agt_tb_".len() + 43);
        assert!(first.expose().starts_with("agt_tb_"));
        assert_ne!(first.expose(), second.expose());
        assert!(BootstrapToken::generate().expose().starts_with("agt_boot_"));
        assert!(WorkerToken::generate().expose().starts_with("agt_wk_"));
    }

    #[test]
    fn what_is_presented_hashes_as_what_was_made() {
        let token = ToolboxToken::generate();

        assert_eq!(ToolboxToken::hash_presented(token.expose()), Some(token.hash_hex()));
        assert_eq!(BootstrapToken::hash_presented(token.expose()), None);
        assert_eq!(WorkerToken::hash_presented(token.expose()), None);
    }

    #[test]
    fn the_hash_is_the_one_of_the_whole_text() {
        let hash = TokenHash::of("agt_tb_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");

        assert_eq!(hash.as_str().len(), 64);
        assert_eq!(
            TokenHash::of("abc").as_str(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(serde_json::to_value(&hash).unwrap(), hash.as_str());
    }

    #[test]
    fn what_has_another_form_is_not_looked_up() {
        let entropy = "A".repeat(43);
        let cases = [
            String::new(),
            "agt_tb_".to_owned(),
            entropy.clone(),
            format!("agt_tb_{entropy}A"),
            format!("agt_tb_{}", "A".repeat(42)),
            format!("AGT_TB_{entropy}"),
            format!("agt_tb_{}+", "A".repeat(42)),
            format!("agt_tb_{}é", "A".repeat(41)),
            format!("agt_boot_{entropy}"),
        ];

        for text in cases {
            assert_eq!(ToolboxToken::hash_presented(&text), None, "{text}");
        }
    }

    #[test]
    fn hashes_match_if_every_digit_does() {
        let hash = TokenHash::of("a");

        assert!(hash.matches(&TokenHash::of("a")));
        assert!(!hash.matches(&TokenHash::of("b")));
    }

    #[test]
    fn neither_token_nor_hash_shows_in_debug_output() {
        let token = ToolboxToken::generate();

        let shown = format!("{token:?} {:?}", token.hash_hex());

        assert!(
            !shown.contains("agt_tb_") && !shown.contains(token.hash_hex().as_str()),
            "{shown}"
        );
    }
}
