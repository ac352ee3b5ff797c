//! What a tick must know, from the component's variables.

use std::time::Duration;

use http::Uri;
use http::uri::{PathAndQuery, Scheme};
use secrecy::{ExposeSecret as _, SecretString};

/// Whom to ask, with what, and for how long.
#[derive(Debug)]
pub struct Settings {
    /// Whether the request goes over TLS.
    pub secure: bool,
    /// The host, with its port if it is not the usual one.
    pub authority: String,
    /// The path with its query.
    pub path: String,
    /// How long to wait for the answer.
    pub timeout: Duration,
    token: SecretString,
}

/// What is wrong with a variable; its value is not in the text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Nothing gives it a value.
    #[error("`{0}` is not set")]
    Missing(&'static str),
    /// Its value is not of its kind.
    #[error("`{name}` is not {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The host could not say what its value is.
    #[error("`{name}` cannot be read: {cause}")]
    Unreadable {
        /// The variable.
        name: &'static str,
        /// What the host said.
        cause: String,
    },
}

impl Settings {
    /// Reads them, by a function that gives a variable's value if it has one, or the host's error.
    ///
    /// # Errors
    ///
    /// If one is missing, invalid or unreadable.
    pub fn read(variable: impl Fn(&'static str) -> Result<Option<String>, String>) -> Result<Self, SettingsError> {
        let text = |name| match variable(name) {
            Ok(Some(value)) if !value.is_empty() => Ok(value),
            Ok(_) => Err(SettingsError::Missing(name)),
            Err(cause) => Err(SettingsError::Unreadable { name, cause }),
        };

        let (secure, authority, path) = parse_url(&text("sweep_url")?).ok_or(SettingsError::Invalid {
            name: "sweep_url",
            expected: "an http or https URL",
        })?;
        let token = text("service_token")?;
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(SettingsError::Invalid {
                name: "service_token",
                expected: "visible ASCII",
            });
        }
        let timeout = text("sweep_timeout_ms")?.parse().ok().filter(|limit| *limit > 0);
        let timeout = timeout.ok_or(SettingsError::Invalid {
            name: "sweep_timeout_ms",
            expected: "a number of milliseconds",
        })?;
        Ok(Self {
            secure,
            authority,
            path,
            timeout: Duration::from_millis(timeout),
            token: token.into(),
        })
    }

    /// The request's headers. This is the only place where the token can be had. There is no body, which not every host says by itself.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, Vec<u8>)> {
        let bearer = format!("Bearer {}", self.token.expose_secret());
        vec![
            ("authorization".to_owned(), bearer.into_bytes()),
            ("content-length".to_owned(), b"0".to_vec()),
        ]
    }
}

/// Whether a URL is of TLS, its authority without a user, and its path with the query.
fn parse_url(url: &str) -> Option<(bool, String, String)> {
    let uri: Uri = url.parse().ok()?;
    let secure = match uri.scheme() {
        Some(scheme) if *scheme == Scheme::HTTPS => true,
        Some(scheme) if *scheme == Scheme::HTTP => false,
        _ => return None,
    };
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    Some((secure, authority.to_string(), path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads settings that are right but for one.
    fn read(name: &str, value: Option<&str>) -> Result<Settings, SettingsError> {
        let usual = |asked| match asked {
            "sweep_url" => "http://127.0.0.1:3000/functions/v1/heartbeat/sweep",
            "service_token" => "s3cret",
            _ => "1500",
        };
        Settings::read(|asked| {
            Ok(match value {
                Some(value) if asked == name => Some(value.to_owned()),
                None if asked == name => None,
                _ => Some(usual(asked).to_owned()),
            })
        })
    }

    #[test]
    fn a_url_is_taken_apart() {
        let rows = [
            ("http://127.0.0.1:3000/a/b", (false, "127.0.0.1:3000", "/a/b")),
            ("https://api.example/sweep?x=1", (true, "api.example", "/sweep?x=1")),
            ("https://[::1]:8443", (true, "[::1]:8443", "/")),
        ];
        for (url, (secure, authority, path)) in rows {
            let settings = read("sweep_url", Some(url)).unwrap();

            assert_eq!(settings.secure, secure, "{url}");
            assert_eq!((&*settings.authority, &*settings.path), (authority, path), "{url}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_value() {
        let rows = [
            ("sweep_url", None, "`sweep_url` is not set"),
            ("sweep_url", Some("/sweep"), "`sweep_url` is not an http or https URL"),
            (
                "sweep_url",
                Some("ftp://host/"),
                "`sweep_url` is not an http or https URL",
            ),
            (
                "sweep_url",
                Some("http://me:pass@host/"),
                "`sweep_url` is not an http or https URL",
            ),
            ("service_token", Some(""), "`service_token` is not set"),
            (
                "service_token",
                Some("two words"),
                "`service_token` is not visible ASCII",
            ),
            ("sweep_timeout_ms", None, "`sweep_timeout_ms` is not set"),
            (
                "sweep_timeout_ms",
                Some("0"),
                "`sweep_timeout_ms` is not a number of milliseconds",
            ),
            (
                "sweep_timeout_ms",
                Some("1 s"),
                "`sweep_timeout_ms` is not a number of milliseconds",
            ),
        ];
        for (name, value, refusal) in rows {
            assert_eq!(read(name, value).unwrap_err().to_string(), refusal, "{value:?}");
        }
        let unreadable = Settings::read(|_| Err("the vault is sealed".to_owned())).unwrap_err();
        assert_eq!(
            unreadable.to_string(),
            "`sweep_url` cannot be read: the vault is sealed"
        );
    }

    #[test]
    fn the_token_is_in_the_request_and_nowhere_else() {
        let settings = read("", None).unwrap();

        assert_eq!(
            settings.headers(),
            [
                ("authorization".to_owned(), b"Bearer s3cret".to_vec()),
                ("content-length".to_owned(), b"0".to_vec()),
            ]
        );
        assert_eq!(settings.timeout, Duration::from_millis(1500));
        assert!(!format!("{settings:?}").contains("s3cret"), "{settings:?}");
    }
}
