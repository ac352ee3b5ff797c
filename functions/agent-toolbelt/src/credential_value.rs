//! The value of a credential, from the request to its seal.

use std::fmt;

use agentopia_domain::secrets::{Keyring, SealContext};
use agentopia_platform::db::toolbelt::SealedSecret;
use agentopia_platform::{ApiError, fields, random};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The longest value, in bytes.
const VALUE_MAX_BYTES: usize = 16 * 1024;

/// A value as it came: any JSON. It does not show in debug output.
pub(crate) struct CredentialValue(SecretString);

impl<'de> Deserialize<'de> for CredentialValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(SecretString::from(raw.get())))
    }
}

impl fmt::Debug for CredentialValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CredentialValue(…)")
    }
}

impl CredentialValue {
    /// Seals the value for one row.
    ///
    /// # Errors
    ///
    /// 400 if it is empty, too long, or no environment variable could hold it.
    pub(crate) fn seal(&self, keyring: &Keyring, context: &SealContext) -> Result<SealedSecret, ApiError> {
        let secret = self.secret()?;
        let sealed = keyring
            .seal(context, secret.expose_secret().as_bytes(), random::bytes())
            .map_err(|error| ApiError::internal(error.to_string()))?;
        Ok(SealedSecret {
            sealed,
            key_id: keyring.newest_id().to_owned(),
        })
    }

    /// What is kept: of a string its text, of other JSON what was written, without the space between.
    fn secret(&self) -> Result<SecretString, ApiError> {
        let refuse = |problem: &dyn fmt::Display| Err(ApiError::invalid_field("credential_value", problem));
        let json = self.0.expose_secret();
        let (secret, is_empty) = match serde_json::from_str::<String>(json) {
            Ok(text) => {
                let is_empty = text.is_empty();
                (SecretString::from(text), is_empty)
            }
            // Half of a surrogate pair, which is no text.
            Err(_) if json.starts_with('"') => return refuse(&"is not valid Unicode"),
            Err(_) => {
                let text = compact(json);
                let is_empty = text == "{}" || text == "[]";
                (SecretString::from(text), is_empty)
            }
        };

        let text = secret.expose_secret();
        if is_empty {
            return refuse(&"must not be empty");
        } else if text.contains('\0') {
            return refuse(&"contains a NUL character");
        } else if text.len() > VALUE_MAX_BYTES {
            return refuse(&format_args!("must be at most {VALUE_MAX_BYTES} bytes"));
        }
        Ok(secret)
    }
}

/// JSON without the white space between its tokens. Digits and the order of members stay as they are.
fn compact(json: &str) -> String {
    let mut compact = String::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            in_string = character == '"';
        }
        compact.push(character);
    }
    compact
}

/// By what a tool asks for a credential.
pub(crate) fn credential_type(text: &str) -> Result<&str, ApiError> {
    fields::text("credential_type", text, 1..=200)
}

/// Whose account a credential opens.
pub(crate) fn account_identifier(text: &str) -> Result<&str, ApiError> {
    fields::text("account_identifier", text, 0..=320)
}

#[cfg(test)]
mod tests {
    use agentopia_domain::ids::{AgentId, CredentialId, ToolbeltItemId, UserId};
    use insta::assert_snapshot;

    use super::*;

    fn value(json: &str) -> CredentialValue {
        serde_json::from_str(json).unwrap()
    }

    fn kept(json: &str) -> String {
        value(json).secret().unwrap().expose_secret().to_owned()
    }

    fn refusal(json: &str) -> String {
        value(json).secret().unwrap_err().message().to_owned()
    }

    #[test]
    fn a_string_is_its_text_and_other_json_what_was_written() {
        let cases = [
            (r#""sk-1""#, "sk-1"),
            (r#""a\"b\\ \u00e9""#, "a\"b\\ é"),
            (r#""null""#, "null"),
            ("false", "false"),
            ("0", "0"),
            ("12345678901234567890123", "12345678901234567890123"),
            (
                " { \"b\" : [ 1.0 , 2 ],\n\t\"a\": \"x \\\" y \\\\\" } ",
                "{\"b\":[1.0,2],\"a\":\"x \\\" y \\\\\"}",
            ),
        ];

        for (json, expected) in cases {
            assert_eq!(kept(json), expected, "{json}");
        }
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused() {
        let long = format!("\"{}\"", "a".repeat(VALUE_MAX_BYTES + 1));

        assert_snapshot!(refusal(r#""""#), @"credential_value must not be empty.");
        assert_snapshot!(refusal("{ }"), @"credential_value must not be empty.");
        assert_snapshot!(refusal("[]"), @"credential_value must not be empty.");
        assert_snapshot!(refusal(r#""a\u0000""#), @"credential_value contains a NUL character.");
        assert_snapshot!(refusal(r#""\ud800""#), @"credential_value is not valid Unicode.");
        assert_snapshot!(refusal(&long), @"credential_value must be at most 16384 bytes.");
        assert_eq!(
            kept(&format!("\"{}\"", "a".repeat(VALUE_MAX_BYTES))).len(),
            VALUE_MAX_BYTES
        );
    }

    #[test]
    fn a_value_does_not_show_and_is_sealed_under_the_newest_key() {
        let keyring = Keyring::parse("new:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
        let id = random::uuid();
        let context = SealContext {
            user_id: UserId(id),
            agent_id: AgentId(id),
            item_id: ToolbeltItemId(id),
            credential_id: CredentialId(id),
        };
        let value = value(r#""sk-1""#);

        let first = value.seal(&keyring, &context).unwrap();
        let second = value.seal(&keyring, &context).unwrap();

        assert_eq!(first.key_id, "new");
        assert_ne!(first.sealed, second.sealed);
        assert_eq!(keyring.open(&context, &first.sealed).unwrap().as_bytes(), b"sk-1");
        assert_eq!(format!("{value:?}"), "CredentialValue(…)");
    }
}
