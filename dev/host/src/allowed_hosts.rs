//! `allowed_outbound_hosts`: what a component may call.
//!
//! The rules are Spin's: an entry is `scheme://host[:port]`; scheme, host and port may be `*`; a host may be `*.domain`, an address, a
//! network (`10.0.0.0/8`), `self` (the application itself) or `<component>.spin.internal`; a port may be a range (`8000..8100`).

use std::net::IpAddr;
use std::ops::Range;
use url::{Host, Url};

/// The domain under which the application's components call each other.
const INTERNAL_SUFFIX: &str = ".spin.internal";

/// A component's allowed hosts.
#[derive(Debug, Default)]
pub(crate) struct AllowedHosts(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    scheme: Option<String>,
    host: HostPattern,
    port: PortPattern,
}

#[derive(Debug)]
enum HostPattern {
    Any,
    Itself,
    Subdomains(String),
    Network(IpAddr, u8),
    Exact(Host),
    Components(Vec<String>),
}

#[derive(Debug)]
enum PortPattern {
    Any,
    One(u16),
    Range(Range<u16>),
}

impl AllowedHosts {
    /// Parses entries whose templates are filled in; `components` are the application's components.
    pub(crate) fn parse<'a>(entries: impl IntoIterator<Item = &'a str>, components: &[String]) -> Result<Self, String> {
        entries
            .into_iter()
            // What an empty variable leaves behind allows nothing.
            .filter(|entry| !matches!(*entry, "" | "http://" | "https://"))
            .map(|entry| Entry::parse(entry, components).map_err(|reason| format!("`{entry}` {reason}")))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a URL may be called; one without a scheme gets `scheme`.
    pub(crate) fn allows(&self, url: &str, scheme: &str) -> bool {
        let url = match Url::parse(url) {
            Ok(url) if url.has_host() => url,
            _ => match Url::parse(&format!("{scheme}://{url}")) {
                Ok(url) => url,
                Err(_) => return false,
            },
        };
        // `Url` knows no schemes such as `postgres` and leaves an address as text; parsing it again tells it apart.
        let Some(Ok(host)) = url.host_str().map(Host::parse) else {
            return false;
        };
        let port = url.port().or_else(|| default_port(url.scheme()));
        self.0.iter().any(|entry| entry.allows(url.scheme(), &host, port))
    }

    /// Whether the application itself may be called.
    pub(crate) fn allows_itself(&self) -> bool {
        self.0.iter().any(|entry| {
            matches!(entry.scheme.as_deref(), None | Some("http" | "https"))
                && matches!(entry.host, HostPattern::Any | HostPattern::Itself)
        })
    }
}

impl Entry {
    fn parse(entry: &str, components: &[String]) -> Result<Self, String> {
        let entry = entry.trim();
        let (scheme, rest) = entry
            .split_once("://")
            .ok_or("has no scheme: hosts are written <scheme>://<host>[:<port>], with * for any")?;
        if scheme != "*" && !scheme.chars().all(char::is_alphabetic) {
            return Err("has a scheme that is neither a word nor *".into());
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if HostPattern::parse(rest, components).is_err() => {
                (host, port.strip_suffix('/').unwrap_or(port))
            }
            _ => (rest, ""),
        };
        Ok(Self {
            scheme: (scheme != "*").then(|| scheme.to_owned()),
            host: HostPattern::parse(host, components)?,
            port: PortPattern::parse(port, scheme)?,
        })
    }

    fn allows(&self, scheme: &str, host: &Host, port: Option<u16>) -> bool {
        self.scheme.as_deref().is_none_or(|allowed| allowed == scheme)
            && self.host.allows(host)
            && self.port.allows(port)
    }
}

impl HostPattern {
    fn parse(host: &str, components: &[String]) -> Result<Self, String> {
        match host.trim() {
            "*" => return Ok(Self::Any),
            "self" | "self.alt" => return Ok(Self::Itself),
            _ => {}
        }
        if let Some((address, prefix)) = host.split_once('/')
            && let (Ok(address), Ok(prefix)) = (address.parse::<IpAddr>(), prefix.parse())
        {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            return if prefix <= longest {
                Ok(Self::Network(address, prefix))
            } else {
                Err("has a network prefix that is too long".into())
            };
        }
        let host = host.strip_suffix('/').unwrap_or(host);
        if host.contains('/') {
            return Err("has a path".into());
        }
        if let Some(domain) = host.strip_prefix("*.") {
            return match Host::parse(domain) {
                Ok(Host::Domain(domain)) if !domain.contains('*') => {
                    let suffix = format!(".{domain}");
                    Ok(if suffix == INTERNAL_SUFFIX {
                        Self::Components(
                            components
                                .iter()
                                .map(|component| format!("{component}{suffix}"))
                                .collect(),
                        )
                    } else {
                        Self::Subdomains(suffix)
                    })
                }
                _ => Err("has a wildcard that is not followed by a domain".into()),
            };
        }
        if host.contains('*') {
            return Err("has a wildcard inside its host".into());
        }
        if let Ok(address) = host.parse::<IpAddr>() {
            let longest = if address.is_ipv4() { 32 } else { 128 };
            return Ok(Self::Network(address, longest));
        }
        Host::parse(host)
            .map(Self::Exact)
            .map_err(|error| format!("has an invalid host: {error}"))
    }

    fn allows(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Itself, _) => false,
            (Self::Subdomains(suffix), Host::Domain(domain)) => domain.ends_with(suffix),
            (Self::Network(network, prefix), Host::Ipv4(address)) => contains(*network, *prefix, (*address).into()),
            (Self::Network(network, prefix), Host::Ipv6(address)) => contains(*network, *prefix, (*address).into()),
            (Self::Exact(allowed), host) => allowed == host,
            (Self::Components(names), Host::Domain(domain)) => names.contains(domain),
            (Self::Subdomains(_) | Self::Network(..) | Self::Components(_), _) => false,
        }
    }
}

impl PortPattern {
    fn parse(port: &str, scheme: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<u16>()
                .map_err(|_| format!("has a port that is not a number: {port:?}"))
        };
        match port {
            "" => default_port(scheme)
                .map(Self::One)
                .ok_or_else(|| "has no port, and its scheme has no default".into()),
            "*" => Ok(Self::Any),
            _ => match port.split_once("..") {
                Some((start, end)) => Ok(Self::Range(number(start)?..number(end)?)),
                None => number(port).map(Self::One),
            },
        }
    }

    fn allows(&self, port: Option<u16>) -> bool {
        match (self, port) {
            (Self::Any, _) => true,
            (Self::One(allowed), Some(port)) => *allowed == port,
            (Self::Range(allowed), Some(port)) => allowed.contains(&port),
            (_, None) => false,
        }
    }
}

/// The component that a host name such as `chat.spin.internal` means.
pub(crate) fn internal_component(host: &str) -> Option<&str> {
    let host = host.trim().rsplit_once(':').map_or(host, |(host, _)| host);
    host.strip_suffix(INTERNAL_SUFFIX)
        .filter(|component| !component.contains('.'))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "postgres" => Some(5432),
        "mysql" => Some(3306),
        "redis" => Some(6379),
        "mqtt" => Some(1883),
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

fn contains(network: IpAddr, prefix: u8, address: IpAddr) -> bool {
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        _ => return false,
    };
    let ignored = width - u32::from(prefix);
    ignored == 128 || network >> ignored == address >> ignored
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(entry: &str, url: &str) -> bool {
        AllowedHosts::parse([entry], &["chat".to_owned()])
            .unwrap()
            .allows(url, "https")
    }

    #[test]
    fn entries_allow_what_they_say() {
        let rows = [
            ("https://example.com", "https://example.com/path?q", true),
            ("https://example.com", "https://example.com:8443/", false),
            ("https://example.com", "http://example.com/", false),
            ("https://example.com", "https://sub.example.com/", false),
            ("https://example.com", "https://example.com.evil.org/", false),
            ("https://example.com:*", "https://example.com:8443/", true),
            ("https://example.com/", "https://example.com/", true),
            ("https://*.example.com", "https://a.b.example.com/", true),
            ("https://*.example.com", "https://example.com/", false),
            ("https://*.example.com", "https://evilexample.com/", false),
            ("*://example.com:*", "http://example.com:81/", true),
            ("*://*:*", "postgres://10.0.0.1:5432", true),
            ("http://127.0.0.1:*", "http://127.0.0.1:3000/", true),
            ("http://127.0.0.1:*", "http://127.0.0.2:3000/", false),
            ("http://127.0.0.0/8:*", "http://127.9.9.9:3000/", true),
            ("http://127.0.0.0/8:*", "http://128.0.0.1:3000/", false),
            ("http://localhost:3000..3005", "http://localhost:3004/", true),
            ("http://localhost:3000..3005", "http://localhost:3005/", false),
            ("http://[::1]:80", "http://[::1]/", true),
            ("postgres://db.example:5432", "db.example", false),
            ("https://user.example", "user.example/path", true),
            ("http://chat.spin.internal", "http://chat.spin.internal/health", true),
            ("http://*.spin.internal", "http://chat.spin.internal/health", true),
            ("http://*.spin.internal", "http://other.spin.internal/health", false),
            ("http://self", "http://self/", false),
        ];

        for (entry, url, expected) in rows {
            assert_eq!(allows(entry, url), expected, "{entry} {url}");
        }
    }

    #[test]
    fn postgres_address_is_checked_by_host_and_port() {
        let hosts = AllowedHosts::parse(["postgres://127.0.0.1:5433", "postgres://db.example"], &[]).unwrap();

        assert!(hosts.allows("127.0.0.1:5433", "postgres"));
        assert!(!hosts.allows("127.0.0.1:5432", "postgres"));
        assert!(hosts.allows("db.example", "postgres"));
        assert!(!hosts.allows("other.example", "postgres"));
    }

    #[test]
    fn itself_must_be_named() {
        assert!(AllowedHosts::parse(["http://self"], &[]).unwrap().allows_itself());
        assert!(AllowedHosts::parse(["*://*:*"], &[]).unwrap().allows_itself());
        assert!(
            !AllowedHosts::parse(["postgres://*:*", "http://127.0.0.1:*"], &[])
                .unwrap()
                .allows_itself()
        );
    }

    #[test]
    fn malformed_entries_are_refused() {
        for entry in [
            "*",
            "example.com",
            "https://a.*.com",
            "https://example.com/path",
            "ftp://example.com",
            "http://a:b",
        ] {
            assert!(AllowedHosts::parse([entry], &[]).is_err(), "{entry}");
        }
        assert!(AllowedHosts::parse(["", "https://"], &[]).unwrap().0.is_empty());
    }

    #[test]
    fn internal_names_are_recognised() {
        assert_eq!(internal_component("chat.spin.internal"), Some("chat"));
        assert_eq!(internal_component("chat.spin.internal:80"), Some("chat"));
        assert_eq!(internal_component("a.b.spin.internal"), None);
        assert_eq!(internal_component("spin.internal.example"), None);
    }
}
