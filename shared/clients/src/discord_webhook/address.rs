//! The address of a webhook, as Discord shows it to whoever makes one.

use std::str::FromStr;

use secrecy::SecretString;
use thiserror::Error;

const URL_MAX_BYTES: usize = 512;
const TOKEN_MAX_BYTES: usize = 128;
const HOSTS: [&str; 4] = ["discord.com", "discordapp.com", "canary.discord.com", "ptb.discord.com"];

/// Which webhook, and the token that lets one write to it. Its `Debug` does not show the token.
#[derive(Clone, Debug)]
pub struct WebhookAddress {
    id: u64,
    token: SecretString,
}

/// What is wrong with a webhook's URL. The text never repeats any of it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum InvalidWebhookUrl {
    /// Longer than any is.
    #[error("the URL is longer than {URL_MAX_BYTES} characters")]
    TooLong,
    /// Another scheme than https.
    #[error("the URL does not begin with https://")]
    NotHttps,
    /// A name or a password before the host.
    #[error("the URL has a user name or a password in it")]
    Userinfo,
    /// Not one of Discord's hosts.
    #[error("the URL is not one of discord.com")]
    Host,
    /// A port that is not the one of https.
    #[error("the URL has a port of its own")]
    Port,
    /// A query, such as a thread's id.
    #[error("the URL has a query: a webhook is called without one")]
    Query,
    /// A fragment.
    #[error("the URL has a fragment")]
    Fragment,
    /// Another path than a webhook's.
    #[error("the URL's path is not /api/webhooks/<id>/<token>")]
    Path,
    /// An id that is no snowflake.
    #[error("the webhook's id in the URL is not a number of Discord's")]
    Id,
    /// A token of another form.
    #[error("the webhook's token in the URL is not of Discord's form")]
    Token,
}

impl WebhookAddress {
    /// The webhook's id, which is no secret.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    pub(super) fn token(&self) -> &SecretString {
        &self.token
    }
}

/// Reads `https://<host>/api/[v<N>/]webhooks/<id>/<token>`.
///
/// The text is taken as it stands. A URL parser would mend it first, and what a reader and a parser see would not be the same.
impl FromStr for WebhookAddress {
    type Err = InvalidWebhookUrl;

    fn from_str(url: &str) -> Result<Self, InvalidWebhookUrl> {
        use InvalidWebhookUrl as Invalid;
        let url = url.trim();
        if url.len() > URL_MAX_BYTES {
            return Err(Invalid::TooLong);
        }
        let (scheme, rest) = url.split_once("://").ok_or(Invalid::NotHttps)?;
        if !scheme.eq_ignore_ascii_case("https") {
            return Err(Invalid::NotHttps);
        }
        if rest.contains('#') {
            return Err(Invalid::Fragment);
        }
        if rest.contains('?') {
            return Err(Invalid::Query);
        }
        let (authority, path) = rest.split_once('/').ok_or(Invalid::Path)?;
        check_authority(authority)?;

        let path = path.strip_prefix("api/").ok_or(Invalid::Path)?;
        let (id, token) = match path.split('/').collect::<Vec<_>>().as_slice() {
            ["webhooks", id, token] => (*id, *token),
            [version, "webhooks", id, token] if is_version(version) => (*id, *token),
            _ => return Err(Invalid::Path),
        };
        Ok(Self {
            id: snowflake(id).ok_or(Invalid::Id)?,
            token: is_token(token)
                .then(|| SecretString::from(token))
                .ok_or(Invalid::Token)?,
        })
    }
}

fn check_authority(authority: &str) -> Result<(), InvalidWebhookUrl> {
    if authority.contains('@') {
        return Err(InvalidWebhookUrl::Userinfo);
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    if !HOSTS.iter().any(|known| host.eq_ignore_ascii_case(known)) {
        return Err(InvalidWebhookUrl::Host);
    }
    if port != "443" {
        return Err(InvalidWebhookUrl::Port);
    }
    Ok(())
}

/// `v` and a number, such as `v10`.
fn is_version(segment: &str) -> bool {
    segment
        .strip_prefix('v')
        .is_some_and(|number| (1..=2).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A positive number, written as numbers are.
fn snowflake(segment: &str) -> Option<u64> {
    let is_plain = segment.bytes().all(|byte| byte.is_ascii_digit()) && !segment.starts_with('0');
    is_plain.then(|| segment.parse().ok()).flatten()
}

fn is_token(segment: &str) -> bool {
    (1..=TOKEN_MAX_BYTES).contains(&segment.len())
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    const ID: &str = "223704706495545344";
    const TOKEN: &str = "3d89bb7572e0fb30d8128367b3b1b44fecd1726de135cbe28a41f8b2f777c372ba29_-";

    fn parse(url: &str) -> Result<(u64, String), InvalidWebhookUrl> {
        let address: WebhookAddress = url.parse()?;
        Ok((address.id(), address.token().expose_secret().to_owned()))
    }

    #[test]
    fn what_discord_shows_is_read() {
        for before in [
            "https://discord.com/api/webhooks",
            "https://discordapp.com/api/webhooks",
            "https://canary.discord.com/api/webhooks",
            "https://ptb.discord.com/api/v10/webhooks",
            "https://discord.com:443/api/v9/webhooks",
            "  HTTPS://Discord.COM/api/webhooks",
        ] {
            let read = parse(&format!("{before}/{ID}/{TOKEN}\n"));
            assert_eq!(read, Ok((223_704_706_495_545_344, TOKEN.to_owned())), "{before}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        use InvalidWebhookUrl as Invalid;
        let long = format!("https://discord.com/api/webhooks/{ID}/{}", "a".repeat(500));
        let cases = [
            ("".to_owned(), Invalid::NotHttps),
            (long, Invalid::TooLong),
            (
                format!("http://discord.com/api/webhooks/{ID}/{TOKEN}"),
                Invalid::NotHttps,
            ),
            (format!("discord.com/api/webhooks/{ID}/{TOKEN}"), Invalid::NotHttps),
            (
                format!("https:discord.com/api/webhooks/{ID}/{TOKEN}"),
                Invalid::NotHttps,
            ),
            (format!("https:///discord.com/api/webhooks/{ID}/{TOKEN}"), Invalid::Host),
            (
                format!("https://discord.com.evil.example/api/webhooks/{ID}/{TOKEN}"),
                Invalid::Host,
            ),
            (
                format!("https://evildiscord.com/api/webhooks/{ID}/{TOKEN}"),
                Invalid::Host,
            ),
            (format!("https://discord.com./api/webhooks/{ID}/{TOKEN}"), Invalid::Host),
            (format!("https://ｄiscord.com/api/webhooks/{ID}/{TOKEN}"), Invalid::Host),
            (format!("https://127.0.0.1/api/webhooks/{ID}/{TOKEN}"), Invalid::Host),
            (format!("https://[::1]/api/webhooks/{ID}/{TOKEN}"), Invalid::Host),
            (
                format!("https://discord.com\\@evil.example/api/webhooks/{ID}/{TOKEN}"),
                Invalid::Userinfo,
            ),
            (
                format!("https://discord.com@evil.example/api/webhooks/{ID}/{TOKEN}"),
                Invalid::Userinfo,
            ),
            (
                format!("https://a:b@discord.com/api/webhooks/{ID}/{TOKEN}"),
                Invalid::Userinfo,
            ),
            (
                format!("https://discord.com:8443/api/webhooks/{ID}/{TOKEN}"),
                Invalid::Port,
            ),
            (format!("https://discord.com:/api/webhooks/{ID}/{TOKEN}"), Invalid::Port),
            (
                format!("https://discord.com/api/webhooks/{ID}/{TOKEN}?thread_id=1"),
                Invalid::Query,
            ),
            (
                format!("https://discord.com/api/webhooks/{ID}/{TOKEN}#x"),
                Invalid::Fragment,
            ),
            ("https://discord.com".to_owned(), Invalid::Path),
            (format!("https://discord.com/webhooks/{ID}/{TOKEN}"), Invalid::Path),
            (
                format!("https://discord.com/api/v/webhooks/{ID}/{TOKEN}"),
                Invalid::Path,
            ),
            (
                format!("https://discord.com/api/v1x/webhooks/{ID}/{TOKEN}"),
                Invalid::Path,
            ),
            (format!("https://discord.com/api/webhooks/{ID}/{TOKEN}/"), Invalid::Path),
            (
                format!("https://discord.com/api/webhooks/{ID}/{TOKEN}/slack"),
                Invalid::Path,
            ),
            (format!("https://discord.com/api/webhooks/{ID}"), Invalid::Path),
            (
                format!("https://discord.com/api/../api/webhooks/{ID}/{TOKEN}"),
                Invalid::Path,
            ),
            (format!("https://discord.com/api/webhooks/0/{TOKEN}"), Invalid::Id),
            (format!("https://discord.com/api/webhooks/+1/{TOKEN}"), Invalid::Id),
            (format!("https://discord.com/api/webhooks//{TOKEN}"), Invalid::Id),
            (
                format!("https://discord.com/api/webhooks/18446744073709551616/{TOKEN}"),
                Invalid::Id,
            ),
            (format!("https://discord.com/api/webhooks/{ID}/"), Invalid::Token),
            (format!("https://discord.com/api/webhooks/{ID}/a%2Fb"), Invalid::Token),
            (format!("https://discord.com/api/webhooks/{ID}/.."), Invalid::Token),
            (
                format!("https://discord.com/api/webhooks/{ID}/{}", "a".repeat(129)),
                Invalid::Token,
            ),
        ];

        for (url, expected) in cases {
            assert_eq!(parse(&url), Err(expected), "{url}");
        }
    }

    #[test]
    fn an_address_does_not_show_its_token() {
        let address: WebhookAddress = format!("https://discord.com/api/webhooks/{ID}/{TOKEN}")
            .parse()
            .unwrap();

        assert!(!format!("{address:?}").contains(TOKEN));
    }

    proptest! {
        #[test]
        fn hostile_urls_do_not_panic_and_are_not_repeated(
            url in "(https?:|//|discord\\.com|api|webhooks|v10|[0-9]{1,19}|canary|[/@:?#%\\\\.\t ]|\\PC){0,16}",
        ) {
            if let Err(error) = parse(&url) {
                prop_assert!(!error.to_string().contains("canary"));
            }
        }

        #[test]
        fn what_is_read_is_an_id_and_a_token_and_nothing_that_changes_a_url(
            host in "(discord\\.com|discordapp\\.com|evil\\.example|discord\\.com@evil|.{1,12})",
            id in "([1-9][0-9]{0,19}|\\PC{0,6})",
            token in "([A-Za-z0-9_-]{1,128}|\\PC{0,12})",
        ) {
            if let Ok((read, secret)) = parse(&format!("https://{host}/api/webhooks/{id}/{token}")) {
                prop_assert!(HOSTS.contains(&host.trim_end_matches(":443").to_lowercase().as_str()));
                prop_assert_eq!(read.to_string(), id);
                prop_assert!(is_token(&secret) && secret == token.trim_end());
            }
        }
    }
}
