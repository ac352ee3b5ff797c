//! Sealing: how a tenant's secret is stored so that only the functions open it, and only for the row it was stored in.
//!
//! A sealed secret is the text `v1.xc20p.<key id>.<base64url of nonce and ciphertext>`: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) under one key of a
//! [`Keyring`]. The associated data are that header and what the secret belongs to ([`SealContext`]), so that a row which is moved to another tenant, agent,
//! item or credential, or whose header is changed, does not open.
//!
//! What is sealed twice looks different each time. Where the database must see that two secrets are one, it is given their
//! [fingerprints](Keyring::fingerprints).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::ids::{AgentId, CredentialId, ToolbeltItemId, UserId};

const FORMAT: &str = "v1.xc20p";
const KEY_BYTES: usize = 32;
const KEY_ID_MAX_CHARS: usize = 64;

/// What the keys of fingerprints are derived for, and for nothing else.
const FINGERPRINT_PURPOSE: &[u8] = b"agentopia secret fingerprint";

/// The block of SHA-256 in bytes.
const HMAC_BLOCK_BYTES: usize = 64;

/// The length of a fingerprint in bytes.
pub const FINGERPRINT_BYTES: usize = 32;

/// The length of a nonce in bytes: long enough to be drawn at random for every seal.
pub const NONCE_BYTES: usize = 24;

/// What a secret belongs to. All of it must be the same again when the secret is opened.
pub trait Belonging {
    /// What it belongs to as bytes, which no other belonging has.
    fn bytes(&self) -> Vec<u8>;
}

/// What an agent's credential belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SealContext {
    /// Whose it is.
    pub user_id: UserId,
    /// The agent that uses it.
    pub agent_id: AgentId,
    /// The tool that it is for, in that agent's toolbelt.
    pub item_id: ToolbeltItemId,
    /// The row that holds it.
    pub credential_id: CredentialId,
}

/// The ids, of one length each.
impl Belonging for SealContext {
    fn bytes(&self) -> Vec<u8> {
        let ids: [Uuid; 4] = [self.user_id.0, self.agent_id.0, self.item_id.0, self.credential_id.0];
        ids.iter().flat_map(|id| id.as_bytes()).copied().collect()
    }
}

/// What the address of an owner's webhook for alerts belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AlertWebhookContext {
    /// Whose it is.
    pub user_id: UserId,
}

/// A word and an id: of another length than a credential's.
impl Belonging for AlertWebhookContext {
    fn bytes(&self) -> Vec<u8> {
        [b"alert-webhook\n".as_slice(), self.user_id.0.as_bytes()].concat()
    }
}

/// What the token of an agent's bot belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BotTokenContext {
    /// Whose it is.
    pub user_id: UserId,
    /// The agent that speaks through the bot.
    pub agent_id: AgentId,
}

/// A word and two ids.
impl Belonging for BotTokenContext {
    fn bytes(&self) -> Vec<u8> {
        [
            b"bot-token\n".as_slice(),
            self.user_id.0.as_bytes(),
            self.agent_id.0.as_bytes(),
        ]
        .concat()
    }
}

/// What the token with which a Discord interaction is answered belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct InteractionTokenContext<'a> {
    /// The application that is asked, by its id at Discord.
    pub application_id: &'a str,
    /// The interaction, by its id at Discord.
    pub interaction_id: &'a str,
}

/// A word and the ids, with their lengths before them.
impl Belonging for InteractionTokenContext<'_> {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = b"interaction-token\n".to_vec();
        for id in [self.application_id, self.interaction_id] {
            bytes.extend_from_slice(&(id.len() as u64).to_be_bytes());
            bytes.extend_from_slice(id.as_bytes());
        }
        bytes
    }
}

/// The keys that seal and open. The newest seals; all open.
pub struct Keyring {
    newest: NamedKey,
    older: Vec<NamedKey>,
}

struct NamedKey {
    id: String,
    cipher: XChaCha20Poly1305,
    fingerprint_key: Zeroizing<[u8; FINGERPRINT_BYTES]>,
}

/// A secret that was opened. It is wiped when it is dropped, and does not show in debug output.
pub struct Opened(Zeroizing<Vec<u8>>);

impl Opened {
    /// The secret itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened(…)")
    }
}

/// Why a text is no keyring. It never says what the text is.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum KeyringError {
    /// There is no key in it.
    #[error("has no key")]
    Empty,
    /// An entry is not of the form `<id>:<key>`, or its id is not 1 to 64 of `A-Z a-z 0-9 _ -`.
    #[error("entry {0} is not <id>:<key>, with an id of letters, digits, - and _")]
    Entry(usize),
    /// An entry's key is not 32 bytes in base64.
    #[error("the key of entry {0} is not 32 bytes in base64")]
    Key(usize),
    /// Two entries have one id.
    #[error("entry {0} repeats an id")]
    Duplicate(usize),
}

/// Why a secret could not be sealed: it is longer than the cipher takes, which no bounded input is.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the secret cannot be sealed")]
pub struct SealError;

/// Why a sealed secret does not open.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum OpenError {
    /// It is not in the format of this module.
    #[error("it is not sealed in a known format")]
    Malformed,
    /// It was sealed under a key that the keyring does not have.
    #[error("the keyring has no key `{0}`")]
    UnknownKey(String),
    /// It was changed, moved to another row, or sealed under another key of that name.
    #[error("it is not what was sealed for this row")]
    Forged,
}

impl Keyring {
    /// Reads a keyring from `<id>:<base64 of 32 bytes>` entries that are separated by commas, the newest first.
    ///
    /// # Errors
    ///
    /// If an entry is malformed or repeated, or there is none; entries are counted from 1.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<NamedKey> = Vec::new();
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        for (number, entry) in (1..).zip(entries) {
            let (id, key) = entry.split_once(':').ok_or(KeyringError::Entry(number))?;
            if !is_key_id(id) {
                return Err(KeyringError::Entry(number));
            }
            if keys.iter().any(|known| known.id == id) {
                return Err(KeyringError::Duplicate(number));
            }
            let bytes = STANDARD
                .decode(key)
                .map(Zeroizing::new)
                .map_err(|_| KeyringError::Key(number))?;
            let bytes: Zeroizing<[u8; KEY_BYTES]> = bytes
                .as_slice()
                .try_into()
                .map(Zeroizing::new)
                .map_err(|_| KeyringError::Key(number))?;
            keys.push(NamedKey {
                id: id.to_owned(),
                cipher: XChaCha20Poly1305::new(&Key::from(*bytes)),
                fingerprint_key: Zeroizing::new(fingerprint_key(&bytes)),
            });
        }

        let mut keys = keys.into_iter();
        let newest = keys.next().ok_or(KeyringError::Empty)?;
        Ok(Self {
            newest,
            older: keys.collect(),
        })
    }

    /// The id of the key that seals.
    #[must_use]
    pub fn newest_id(&self) -> &str {
        &self.newest.id
    }

    /// Seals a secret under the newest key. The nonce must be drawn at random for this one call.
    ///
    /// # Errors
    ///
    /// If the secret is longer than the cipher takes (256 GiB).
    pub fn seal(&self, context: &impl Belonging, secret: &[u8], nonce: [u8; NONCE_BYTES]) -> Result<String, SealError> {
        let key = &self.newest;
        let payload = Payload {
            msg: secret,
            aad: &associated_data(&key.id, context),
        };
        let ciphertext = key
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SealError)?;

        let mut sealed = nonce.to_vec();
        sealed.extend_from_slice(&ciphertext);
        Ok(format!("{FORMAT}.{}.{}", key.id, URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Opens what [`seal`](Self::seal) made for the same context, under whichever key.
    ///
    /// # Errors
    ///
    /// If it is something else, or the key is gone.
    pub fn open(&self, context: &impl Belonging, sealed: &str) -> Result<Opened, OpenError> {
        let (key_id, body) = parts(sealed).ok_or(OpenError::Malformed)?;
        let body = URL_SAFE_NO_PAD.decode(body).map_err(|_| OpenError::Malformed)?;
        let (nonce, ciphertext) = body.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::Malformed)?;
        let key = self
            .keys()
            .find(|key| key.id == key_id)
            .ok_or_else(|| OpenError::UnknownKey(key_id.to_owned()))?;

        let payload = Payload {
            msg: ciphertext,
            aad: &associated_data(key_id, context),
        };
        key.cipher
            .decrypt(&XNonce::from(*nonce), payload)
            .map(|secret| Opened(Zeroizing::new(secret)))
            .map_err(|_| OpenError::Forged)
    }

    /// By what a secret is known without being known: under each key, the newest first. Who does not have a key cannot tell which secret a fingerprint is of,
    /// nor make one. Two secrets of which any fingerprints are alike are the same, whichever keyrings of a rotation they were taken under.
    #[must_use]
    pub fn fingerprints(&self, secret: &[u8]) -> Vec<[u8; FINGERPRINT_BYTES]> {
        self.keys()
            .map(|key| hmac_sha256(&key.fingerprint_key, &[secret]))
            .collect()
    }

    fn keys(&self) -> impl Iterator<Item = &NamedKey> {
        std::iter::once(&self.newest).chain(&self.older)
    }
}

/// Names the keys, and shows none.
impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entry(&self.newest.id)
            .entries(self.older.iter().map(|key| &key.id))
            .finish()
    }
}

/// The id of the key under which a text says that it was sealed; `None` if it is not in the format of this module.
#[must_use]
pub fn key_id_of(sealed: &str) -> Option<&str> {
    parts(sealed).map(|(key_id, _)| key_id)
}

/// The key id and the body of a sealed text.
fn parts(sealed: &str) -> Option<(&str, &str)> {
    let (key_id, body) = sealed.strip_prefix(FORMAT)?.strip_prefix('.')?.split_once('.')?;
    is_key_id(key_id).then_some((key_id, body))
}

fn is_key_id(text: &str) -> bool {
    (1..=KEY_ID_MAX_CHARS).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The header, whose parts hold no line break, and then what the secret belongs to.
fn associated_data(key_id: &str, context: &impl Belonging) -> Vec<u8> {
    let mut data = format!("{FORMAT}.{key_id}\n").into_bytes();
    data.extend_from_slice(&context.bytes());
    data
}

/// One block of HKDF-Expand (RFC 5869): a keyring's keys are uniformly random, so that there is nothing to extract.
fn fingerprint_key(key: &[u8; KEY_BYTES]) -> [u8; FINGERPRINT_BYTES] {
    hmac_sha256(key, &[FINGERPRINT_PURPOSE, &[1]])
}

/// HMAC-SHA256 (RFC 2104) of some parts in a row.
fn hmac_sha256(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> [u8; FINGERPRINT_BYTES] {
    // A key that is shorter than the hash's block is one that ends in zeros.
    let mut block = Zeroizing::new([0; HMAC_BLOCK_BYTES]);
    for (to, from) in block.iter_mut().zip(key) {
        *to = *from;
    }
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(id: &str, byte: u8) -> String {
        format!("{id}:{}", STANDARD.encode([byte; KEY_BYTES]))
    }

    fn keyring(entries: &[String]) -> Keyring {
        Keyring::parse(&entries.join(",")).unwrap()
    }

    fn context(ids: [u128; 4]) -> SealContext {
        let [user, agent, item, credential] = ids.map(Uuid::from_u128);
        SealContext {
            user_id: UserId(user),
            agent_id: AgentId(agent),
            item_id: ToolbeltItemId(item),
            credential_id: CredentialId(credential),
        }
    }

    #[test]
    fn a_keyring_is_refused_by_entry() {
        let good = entry("a", 1);
        let cases = [
            (String::new(), KeyringError::Empty),
            (" , ".to_owned(), KeyringError::Empty),
            ("a".to_owned(), KeyringError::Entry(1)),
            (format!("{good},b c:AAAA"), KeyringError::Entry(2)),
            (format!("{good},:AAAA"), KeyringError::Entry(2)),
            (format!("{good},b:AAAA"), KeyringError::Key(2)),
            (format!("{good},b:not base64"), KeyringError::Key(2)),
            (format!("{good},{}", entry("a", 2)), KeyringError::Duplicate(2)),
        ];

        for (text, expected) in cases {
            assert_eq!(Keyring::parse(&text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn the_newest_key_seals_and_older_keys_open() {
        let before = keyring(&[entry("2025", 1)]);
        let during = keyring(&[entry("2026", 2), entry("2025", 1)]);
        let after = keyring(&[entry("2026", 2)]);
        let at = context([1, 2, 3, 4]);
        let old = before.seal(&at, b"secret", [7; NONCE_BYTES]).unwrap();
        let new = during.seal(&at, b"secret", [8; NONCE_BYTES]).unwrap();

        assert!(old.starts_with("v1.xc20p.2025.") && new.starts_with("v1.xc20p.2026."));
        assert_eq!(during.newest_id(), "2026");
        assert_eq!(during.open(&at, &old).unwrap().as_bytes(), b"secret");
        assert_eq!(after.open(&at, &new).unwrap().as_bytes(), b"secret");
        assert_eq!(
            after.open(&at, &old).unwrap_err(),
            OpenError::UnknownKey("2025".to_owned())
        );
    }

    #[test]
    fn another_key_of_the_same_name_does_not_open() {
        let at = context([1, 2, 3, 4]);
        let sealed = keyring(&[entry("a", 1)])
            .seal(&at, b"secret", [7; NONCE_BYTES])
            .unwrap();

        assert_eq!(
            keyring(&[entry("a", 2)]).open(&at, &sealed).unwrap_err(),
            OpenError::Forged
        );
    }

    #[test]
    fn a_keyring_shows_the_names_of_its_keys_alone() {
        let text = format!("{:?}", keyring(&[entry("new", 1), entry("old", 2)]));

        assert_eq!(text, r#"["new", "old"]"#);
    }

    #[test]
    fn what_was_opened_does_not_show() {
        let (keys, at) = (keyring(&[entry("a", 1)]), context([1, 2, 3, 4]));
        let sealed = keys.seal(&at, b"secret", [7; NONCE_BYTES]).unwrap();

        assert_eq!(format!("{:?}", keys.open(&at, &sealed).unwrap()), "Opened(…)");
    }

    #[test]
    fn a_sealed_text_names_its_key() {
        let cases = [
            ("v1.xc20p.2025.AAAA", Some("2025")),
            ("v1.xc20p..AAAA", None),
            ("v1.xc20p.2025", None),
            ("v2.xc20p.2025.AAAA", None),
            ("secret", None),
        ];

        for (text, expected) in cases {
            assert_eq!(key_id_of(text), expected, "{text}");
        }
    }

    #[test]
    fn a_webhook_and_a_credential_are_not_taken_for_each_other() {
        let keys = keyring(&[entry("a", 1)]);
        let webhook = AlertWebhookContext {
            user_id: UserId(Uuid::from_u128(1)),
        };
        let sealed = keys.seal(&webhook, b"address", [7; NONCE_BYTES]).unwrap();

        assert_eq!(keys.open(&webhook, &sealed).unwrap().as_bytes(), b"address");
        assert_eq!(
            keys.open(&context([1, 2, 3, 4]), &sealed).unwrap_err(),
            OpenError::Forged
        );
        let other = AlertWebhookContext {
            user_id: UserId(Uuid::from_u128(2)),
        };
        assert_eq!(keys.open(&other, &sealed).unwrap_err(), OpenError::Forged);
    }

    #[test]
    fn each_kind_of_secret_opens_as_its_kind_alone() {
        let keys = keyring(&[entry("a", 1)]);
        let (user_id, agent_id) = (UserId(Uuid::from_u128(1)), AgentId(Uuid::from_u128(2)));
        let bot = BotTokenContext { user_id, agent_id };
        let interaction = InteractionTokenContext {
            application_id: "1001",
            interaction_id: "2002",
        };
        let sealed = [
            keys.seal(&context([1, 2, 3, 4]), b"secret", [7; NONCE_BYTES]).unwrap(),
            keys.seal(&AlertWebhookContext { user_id }, b"secret", [7; NONCE_BYTES])
                .unwrap(),
            keys.seal(&bot, b"secret", [7; NONCE_BYTES]).unwrap(),
            keys.seal(&interaction, b"secret", [7; NONCE_BYTES]).unwrap(),
        ];

        let opens = sealed.map(|sealed| {
            [
                keys.open(&context([1, 2, 3, 4]), &sealed).is_ok(),
                keys.open(&AlertWebhookContext { user_id }, &sealed).is_ok(),
                keys.open(&bot, &sealed).is_ok(),
                keys.open(&interaction, &sealed).is_ok(),
            ]
        });

        for (sealed_as, opens) in opens.iter().enumerate() {
            assert_eq!(opens.iter().position(|opens| *opens), Some(sealed_as));
            assert_eq!(opens.iter().filter(|opens| **opens).count(), 1);
        }
    }

    #[test]
    fn fingerprints_are_what_the_standard_says() {
        let mut key = [0; KEY_BYTES];
        key[..4].copy_from_slice(b"Jefe");

        // RFC 4231, test case 2.
        assert_eq!(
            hex(&hmac_sha256(&key, &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        // They are stored: another derivation would make strangers of them.
        let fingerprints = keyring(&[entry("new", 2), entry("old", 1)]).fingerprints(b"secret");
        let fingerprints: Vec<_> = fingerprints.iter().map(|fingerprint| hex(fingerprint)).collect();
        insta::assert_json_snapshot!(fingerprints, @r#"
        [
          "f1a6ab35c582406819c896c02e3e5c31e352fe9d299fb74a533141d9d9d9d235",
          "f633990272b7d16bdfc7f7fd2cf84d826d9a4ca1d31bc120c35c1bcffa02dc12"
        ]
        "#);
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_rotation_does_not_make_a_secret_another() {
        let before = keyring(&[entry("2025", 1)]).fingerprints(b"secret");
        let during = keyring(&[entry("2026", 2), entry("2025", 1)]).fingerprints(b"secret");
        let after = keyring(&[entry("2026", 2)]).fingerprints(b"secret");

        assert_eq!(during, [after[0], before[0]]);
        assert_ne!(before[0], after[0]);
    }

    proptest! {
        #[test]
        fn fingerprints_are_those_of_one_secret(one in ".{0,80}", other in ".{0,80}") {
            let keys = keyring(&[entry("a", 1), entry("b", 2)]);
            let (first, second) = (keys.fingerprints(one.as_bytes()), keys.fingerprints(other.as_bytes()));

            prop_assert_eq!(first.len(), 2);
            for (first, second) in first.iter().zip(&second) {
                prop_assert_eq!(first == second, one == other);
            }
            prop_assert_eq!(first, keys.fingerprints(one.as_bytes()));
        }

        #[test]
        fn an_interactions_token_opens_for_its_interaction_alone(
            ids in any::<(String, String)>(), others in any::<(String, String)>(),
        ) {
            let keys = keyring(&[entry("a", 1)]);
            let at = |(application_id, interaction_id): &(String, String)| {
                InteractionTokenContext { application_id, interaction_id }.bytes()
            };

            prop_assert_eq!(at(&ids) == at(&others), ids == others);
            // Where one id ends and the other begins is part of it.
            let moved = (format!("{}{}", ids.0, ids.1), String::new());
            prop_assert_eq!(at(&ids) == at(&moved), ids.1.is_empty());
            let context = InteractionTokenContext { application_id: &ids.0, interaction_id: &ids.1 };
            let sealed = keys.seal(&context, b"token", [7; NONCE_BYTES]).unwrap();
            let opened = keys.open(&context, &sealed).unwrap();
            prop_assert_eq!(opened.as_bytes(), b"token");
        }

        #[test]
        fn a_bots_token_opens_for_its_agent_alone(ids in any::<[u128; 2]>(), part in 0_usize..2, other in 1_u128..) {
            let keys = keyring(&[entry("a", 1)]);
            let at = |[user, agent]: [u128; 2]| BotTokenContext {
                user_id: UserId(Uuid::from_u128(user)),
                agent_id: AgentId(Uuid::from_u128(agent)),
            };
            let sealed = keys.seal(&at(ids), b"token", [7; NONCE_BYTES]).unwrap();
            let mut moved = ids;
            moved[part] ^= other;

            let opened = keys.open(&at(ids), &sealed).unwrap();
            prop_assert_eq!(opened.as_bytes(), b"token");
            prop_assert_eq!(keys.open(&at(moved), &sealed).unwrap_err(), OpenError::Forged);
        }

        #[test]
        fn what_is_sealed_opens_for_the_same_row(
            secret in prop::collection::vec(any::<u8>(), 0..300),
            ids in any::<[u128; 4]>(),
            nonce in any::<[u8; NONCE_BYTES]>(),
        ) {
            let keys = keyring(&[entry("a", 1)]);
            let sealed = keys.seal(&context(ids), &secret, nonce).unwrap();

            let opened = keys.open(&context(ids), &sealed).unwrap();
            prop_assert_eq!(opened.as_bytes(), secret.as_slice());
            prop_assert_eq!(key_id_of(&sealed), Some("a"));
        }

        #[test]
        fn a_secret_does_not_open_for_another_row(ids in any::<[u128; 4]>(), part in 0_usize..4, other in 1_u128..) {
            let keys = keyring(&[entry("a", 1)]);
            let sealed = keys.seal(&context(ids), b"secret", [7; NONCE_BYTES]).unwrap();
            let mut moved = ids;
            moved[part] ^= other;

            prop_assert_eq!(keys.open(&context(moved), &sealed).unwrap_err(), OpenError::Forged);
        }

        #[test]
        fn a_changed_character_is_noticed(position in 0_usize..100, with in "[A-Za-z0-9._-]") {
            let keys = keyring(&[entry("a", 1), entry("b", 2)]);
            let at = context([1, 2, 3, 4]);
            let sealed = keys.seal(&at, b"a secret of some length", [7; NONCE_BYTES]).unwrap();
            let position = position % sealed.len();
            let mut changed = sealed.clone();
            changed.replace_range(position..=position, &with);

            prop_assert_eq!(keys.open(&at, &changed).is_ok(), changed == sealed);
        }

        #[test]
        fn anything_else_is_refused(text in ".{0,200}") {
            let keys = keyring(&[entry("a", 1)]);

            prop_assert!(keys.open(&context([1, 2, 3, 4]), &text).is_err());
        }
    }
}
