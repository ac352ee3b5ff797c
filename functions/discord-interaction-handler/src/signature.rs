//! Discord's signatures: Ed25519 over a timestamp and the body as it was sent
//! (<https://discord.com/developers/docs/interactions/overview#setting-up-an-endpoint-validating-security-request-headers>).

use chrono::{DateTime, Utc};
use ed25519_dalek::{Signature, VerifyingKey};
use http::HeaderMap;

/// How many keys of connections are tried for one interaction, beside the deployment's own.
pub(crate) const KEYS_MAX: usize = 8;

/// How far a timestamp may be from now, either way, in seconds.
const AGE_MAX_SECONDS: u64 = 5 * 60;

/// The longest timestamp.
const TIMESTAMP_MAX_DIGITS: usize = 20;

/// What is verified against where there is no key to try: the first public key of RFC 8032, 7.1. What it proves does not count.
const STAND_IN: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72,
    0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];

/// The public key of an application.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct PublicKey {
    hex: String,
    bytes: [u8; 32],
}

impl PublicKey {
    /// A key in hexadecimal, as Discord shows it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(Self {
            bytes: decode_hex(text)?,
            hex: text.to_ascii_lowercase(),
        })
    }

    /// The key in lower-case hexadecimal.
    pub(crate) fn as_str(&self) -> &str {
        &self.hex
    }
}

/// What a request shows for its body.
#[derive(Debug)]
pub(crate) struct Proof {
    signature: Signature,
    timestamp: String,
}

impl Proof {
    /// The proof in a request's headers, if each is there exactly once and has its form.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let signature = decode_hex(only(headers, "x-signature-ed25519")?)?;
        let timestamp = only(headers, "x-signature-timestamp")?;
        let is_timestamp = (1..=TIMESTAMP_MAX_DIGITS).contains(&timestamp.len())
            && timestamp.bytes().all(|byte| byte.is_ascii_digit());
        is_timestamp.then(|| Self {
            signature: Signature::from_bytes(&signature),
            timestamp: timestamp.to_owned(),
        })
    }

    /// The key by which the body is proven. It takes as many verifications whatever keys there are.
    pub(crate) fn verified_by<'a>(&self, body: &[u8], keys: &'a [PublicKey]) -> Option<&'a PublicKey> {
        let message = [self.timestamp.as_bytes(), body].concat();
        let mut proven = None;
        for place in 0..=KEYS_MAX {
            let candidate = keys.get(place);
            let bytes = candidate.map_or(&STAND_IN, |key| &key.bytes);
            let verified = VerifyingKey::from_bytes(bytes).and_then(|key| key.verify_strict(&message, &self.signature));
            if verified.is_ok() {
                proven = proven.or(candidate);
            }
        }
        proven
    }

    /// Whether the request was signed just now.
    pub(crate) fn is_fresh(&self, now: DateTime<Utc>) -> bool {
        let signed: Option<u64> = self.timestamp.parse().ok();
        let now = u64::try_from(now.timestamp()).unwrap_or_default();
        signed.is_some_and(|signed| signed.abs_diff(now) <= AGE_MAX_SECONDS)
    }
}

/// The value of a header that is there exactly once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Exactly `N` bytes in hexadecimal, of either case.
fn decode_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
    rest.is_empty().then_some(bytes)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::{Signer as _, SigningKey};
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const BODY: &[u8] = br#"{"type":1}"#;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn signer(seed: u8) -> (SigningKey, PublicKey) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = PublicKey::parse(&hex(key.verifying_key().as_bytes())).unwrap();
        (key, public)
    }

    fn headers(signature: &str, timestamp: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("x-signature-ed25519", HeaderValue::from_str(signature).unwrap());
        headers.insert("x-signature-timestamp", HeaderValue::from_str(timestamp).unwrap());
        headers
    }

    fn proof(key: &SigningKey, timestamp: &str, body: &[u8]) -> Proof {
        let signature = key.sign(&[timestamp.as_bytes(), body].concat());
        Proof::of_headers(&headers(&hex(&signature.to_bytes()), timestamp)).unwrap()
    }

    #[test]
    fn the_key_that_verifies_is_told() {
        let ((key, public), (_, other)) = (signer(1), signer(2));
        let proof = proof(&key, "1700000000", BODY);

        let keys = [other.clone(), public.clone()];
        assert_eq!(proof.verified_by(BODY, &keys), Some(&public));
        assert_eq!(proof.verified_by(BODY, &[other]), None);
        assert_eq!(proof.verified_by(br#"{"type": 1}"#, &keys), None);
        assert_eq!(proof.verified_by(BODY, &[]), None);
    }

    #[test]
    fn what_the_stand_in_proves_does_not_count() {
        // RFC 8032, 7.1, the secret key of the first test.
        let secret = decode_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = SigningKey::from_bytes(&secret);
        assert_eq!(key.verifying_key().as_bytes(), &STAND_IN);

        assert_eq!(proof(&key, "1700000000", BODY).verified_by(BODY, &[]), None);
    }

    #[test]
    fn a_key_of_small_order_proves_nothing() {
        // The identity: with S = 0 and R = A it satisfies the plain equation for any message.
        let mut identity = [0; 32];
        identity[0] = 1;
        let signature = [identity.as_slice(), &[0; 32]].concat();
        let proof = Proof::of_headers(&headers(&hex(&signature), "1700000000")).unwrap();
        let key = PublicKey::parse(&hex(&identity)).unwrap();

        assert_eq!(proof.verified_by(BODY, &[key]), None);
    }

    #[test]
    fn a_header_has_its_form_or_proves_nothing() {
        let good = "ab".repeat(64);
        let cases = [
            (good.as_str(), "1700000000", true),
            (&good.to_uppercase(), "00000000001700000000", true),
            (&good[2..], "1700000000", false),
            (&good[1..], "1700000000", false),
            (&format!("{good}ab"), "1700000000", false),
            (&format!("0x{}", &good[2..]), "1700000000", false),
            (&good, "", false),
            (&good, "-1700000000", false),
            (&good, "1700000000.0", false),
            (&good, "000000000001700000000", false),
        ];

        for (signature, timestamp, accepted) in cases {
            let proof = Proof::of_headers(&headers(signature, timestamp));
            assert_eq!(proof.is_some(), accepted, "{signature} {timestamp}");
        }
        let mut twice = headers(&good, "1700000000");
        twice.append("x-signature-timestamp", HeaderValue::from_static("1700000000"));
        assert!(Proof::of_headers(&twice).is_none());
        assert!(Proof::of_headers(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_proof_is_fresh_for_five_minutes_either_way() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let (key, _) = signer(1);
        for (timestamp, fresh) in [
            ("1700000000", true),
            ("1699999700", true),
            ("1699999699", false),
            ("1700000300", true),
            ("1700000301", false),
            ("0", false),
            ("99999999999999999999", false),
        ] {
            assert_eq!(proof(&key, timestamp, BODY).is_fresh(now), fresh, "{timestamp}");
        }
    }

    proptest! {
        #[test]
        fn hexadecimal_is_read_as_it_was_written(bytes: [u8; 32]) {
            prop_assert_eq!(decode_hex(&hex(&bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_a_key_or_none(text in ".{0,70}") {
            let is_key = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            prop_assert_eq!(PublicKey::parse(&text).is_some(), is_key);
        }
    }
}
