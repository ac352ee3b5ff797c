//! What a request looks like when a component gets it: an absolute URI, and `spin-…` headers about its way here.
//!
//! wasmtime itself removes `Host` and what else belongs to the connection; the URI has the authority.

use crate::allowed_hosts::internal_component;
use crate::router::RouteFacts;
use http::header::{CONNECTION, HOST, HeaderName};
use http::request::Parts;
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Uri};
use std::net::SocketAddr;

const PATH_INFO: HeaderName = HeaderName::from_static("spin-path-info");
const FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");
const MATCHED_ROUTE: HeaderName = HeaderName::from_static("spin-matched-route");
const BASE_PATH: HeaderName = HeaderName::from_static("spin-base-path");
const RAW_COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-raw-component-route");
const COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-component-route");
const CLIENT_ADDR: HeaderName = HeaderName::from_static("spin-client-addr");

/// A request that no component can be given.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRequest {
    /// Neither header nor URI says whom it is for.
    #[error("no 'Host' header present in request")]
    NoHost,
    /// The header does not say it well.
    #[error("'Host' header contains an invalid authority")]
    InvalidHost,
    /// Header and URI disagree.
    #[error("authority in 'Host' header does not match authority in URI")]
    AmbiguousHost,
    /// A header is not text.
    #[error("header `{0}` is not valid UTF-8")]
    HeaderNotText(HeaderName),
    /// The URI or what is made of it is malformed.
    #[error("malformed request URI")]
    InvalidUri,
}

/// Where a request comes from, as a component is told.
#[derive(Clone, Debug)]
pub(crate) struct Origin(HeaderValue);

impl Origin {
    /// A client of the host.
    pub(crate) fn client(address: SocketAddr) -> Self {
        Self(HeaderValue::from_str(&address.to_string()).unwrap_or(HeaderValue::from_static("")))
    }

    /// Another component of the application.
    pub(crate) fn component() -> Self {
        Self(HeaderValue::from_static("0.0.0.0:0"))
    }
}

/// Removes what only concerns the connection, and a `Host` that only components may use.
pub(crate) fn strip_transport_headers(headers: &mut HeaderMap) {
    if headers
        .get(HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(internal_component)
        .is_some()
    {
        headers.remove(HOST);
    }
    headers.remove(CONNECTION);
}

/// Makes the URI absolute, by the `Host` header or the URI itself.
pub(crate) fn set_absolute_uri(parts: &mut Parts) -> Result<(), InvalidRequest> {
    let header = match parts.headers.get(HOST) {
        Some(host) => Some(Authority::try_from(host.as_bytes()).map_err(|_| InvalidRequest::InvalidHost)?),
        None => None,
    };
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    let authority = match (header, uri.authority.take()) {
        (None, None) => return Err(InvalidRequest::NoHost),
        (Some(header), Some(uri)) if header != uri => return Err(InvalidRequest::AmbiguousHost),
        (Some(authority), _) | (None, Some(authority)) => authority,
    };
    uri.scheme = Some(Scheme::HTTP);
    uri.authority = Some(authority);
    parts.uri = Uri::from_parts(uri).map_err(|_| InvalidRequest::InvalidUri)?;
    Ok(())
}

/// Adds the `spin-…` headers.
///
/// They are *appended*, as Spin does: a header of the same name that the client sent stays in front of them, so a component that
/// trusts one of these must read the last value.
pub(crate) fn add_headers(
    parts: &mut Parts,
    route: &RouteFacts,
    path_info: &str,
    named: &[(String, String)],
    origin: &Origin,
) -> Result<(), InvalidRequest> {
    if let Some((name, _)) = parts
        .headers
        .iter()
        .find(|(_, value)| std::str::from_utf8(value.as_bytes()).is_err())
    {
        return Err(InvalidRequest::HeaderNotText(name.clone()));
    }
    let host = parts
        .headers
        .get(HOST)
        .map_or("localhost", |host| host.to_str().unwrap_or_default());
    let path_and_query = parts.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let full_url = text(&format!("http://{host}{path_and_query}"))?;
    let path_info = text(path_info)?;

    let headers = &mut parts.headers;
    headers.append(PATH_INFO, path_info);
    headers.append(FULL_URL, full_url);
    headers.append(MATCHED_ROUTE, route.matched.clone());
    headers.append(BASE_PATH, HeaderValue::from_static("/"));
    headers.append(RAW_COMPONENT_ROUTE, route.raw.clone());
    headers.append(COMPONENT_ROUTE, route.component.clone());
    headers.append(CLIENT_ADDR, origin.0.clone());
    for (name, value) in named {
        // A segment's name that cannot be part of a header's name is left out.
        if let Ok(name) = HeaderName::try_from(format!(
            "spin-path-match-{}",
            name.replace('_', "-").to_ascii_lowercase()
        )) {
            headers.append(name, text(value)?);
        }
    }
    Ok(())
}

fn text(value: &str) -> Result<HeaderValue, InvalidRequest> {
    HeaderValue::from_bytes(value.as_bytes()).map_err(|_| InvalidRequest::InvalidUri)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn parts(uri: &str, host: Option<&str>) -> Parts {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header(HOST, host);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn uri_becomes_absolute_or_the_request_is_refused() {
        let mut good = parts("/path?query", Some("example.com:3000"));
        set_absolute_uri(&mut good).unwrap();
        assert_eq!(good.uri, "http://example.com:3000/path?query");

        let mut named = parts("http://example.com/path", None);
        set_absolute_uri(&mut named).unwrap();
        assert_eq!(named.uri, "http://example.com/path");

        assert_eq!(set_absolute_uri(&mut parts("/path", None)), Err(InvalidRequest::NoHost));
        assert_eq!(
            set_absolute_uri(&mut parts("/path", Some("a b"))),
            Err(InvalidRequest::InvalidHost)
        );
        assert_eq!(
            set_absolute_uri(&mut parts("http://one.example/", Some("two.example"))),
            Err(InvalidRequest::AmbiguousHost)
        );
    }

    #[test]
    fn internal_host_from_outside_is_no_host() {
        let mut request = parts("/", Some("chat.spin.internal"));

        strip_transport_headers(&mut request.headers);

        assert_eq!(set_absolute_uri(&mut request), Err(InvalidRequest::NoHost));
    }
}
