//! Where a worker manager may be.

use std::net::IpAddr;

use http::Uri;
use thiserror::Error;

/// What is wrong with a worker manager's address. The text never repeats any of it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum InsecureAddress {
    /// It is no absolute URL.
    #[error("the worker manager's address is not a URL")]
    NotAUrl,
    /// Whoever is in between would read the bots' tokens.
    #[error("the worker manager's address must begin with https://, except on this machine")]
    NotEncrypted,
    /// A name or a password before the host.
    #[error("the worker manager's address has a user name or a password in it")]
    Userinfo,
    /// Paths are put at its end.
    #[error("the worker manager's address has a query or a fragment")]
    Query,
}

/// Whether bots' tokens may go to this address. It is read by the parser that reads it when it is called, so that the two cannot differ.
pub(super) fn check_address(url: &str) -> Result<(), InsecureAddress> {
    // The parser drops a fragment.
    if url.contains(['?', '#']) {
        return Err(InsecureAddress::Query);
    }
    let uri: Uri = url.parse().map_err(|_| InsecureAddress::NotAUrl)?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(InsecureAddress::NotAUrl);
    };
    if authority.as_str().contains('@') {
        return Err(InsecureAddress::Userinfo);
    }
    if authority.host().is_empty() {
        return Err(InsecureAddress::NotAUrl);
    }
    match scheme {
        "https" => Ok(()),
        "http" if is_this_machine(authority.host()) => Ok(()),
        _ => Err(InsecureAddress::NotEncrypted),
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bots_token_goes_over_an_encrypted_connection_or_stays_on_this_machine() {
        use InsecureAddress as Insecure;
        let cases = [
            ("https://manager.example", Ok(())),
            ("https://manager.example:8443/workers", Ok(())),
            ("HTTPS://10.0.0.7", Ok(())),
            ("http://127.0.0.1:8000", Ok(())),
            ("http://127.8.9.10", Ok(())),
            ("http://[::1]:8000", Ok(())),
            ("http://localhost:8000", Ok(())),
            ("http://LocalHost", Ok(())),
            ("http://manager.example", Err(Insecure::NotEncrypted)),
            ("http://203.0.113.7:8000", Err(Insecure::NotEncrypted)),
            ("http://localhost.example", Err(Insecure::NotEncrypted)),
            ("http://127.0.0.1.example", Err(Insecure::NotEncrypted)),
            ("http://0.0.0.0:8000", Err(Insecure::NotEncrypted)),
            ("http://[::]:8000", Err(Insecure::NotEncrypted)),
            ("ftp://127.0.0.1", Err(Insecure::NotEncrypted)),
            ("http://127.0.0.1@manager.example", Err(Insecure::Userinfo)),
            ("https://name:password@manager.example", Err(Insecure::Userinfo)),
            ("https://manager.example?a=b", Err(Insecure::Query)),
            ("https://manager.example/#a", Err(Insecure::Query)),
            ("", Err(Insecure::NotAUrl)),
            ("/workers", Err(Insecure::NotAUrl)),
            ("manager.example", Err(Insecure::NotAUrl)),
            ("https://", Err(Insecure::NotAUrl)),
            ("https://a b", Err(Insecure::NotAUrl)),
        ];

        for (url, expected) in cases {
            assert_eq!(check_address(url), expected, "{url}");
        }
    }
}
