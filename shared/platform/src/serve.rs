//! A request's way from Spin's entry to a function's router and back.

use std::sync::OnceLock;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CONTENT_LENGTH,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use http_body::Body as _;
use tower_service::Service as _;

use crate::context::RequestContext;
use crate::error::{ApiError, Kind};
use crate::log::{Level, Line};
use crate::settings::SettingsError;
use crate::sse;

/// One function of the application: what a component's entry hands each request to.
#[derive(Debug)]
pub struct Function {
    name: &'static str,
    router: OnceLock<Router>,
}

impl Function {
    /// A function whose router is not built yet. `name` is the component's, as in spin.toml.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            router: OnceLock::new(),
        }
    }

    /// Answers a request. `build` makes the router from settings, once per instance; until it succeeds every request tries again.
    pub async fn serve<B, Build>(&'static self, request: http::Request<B>, build: Build) -> Response
    where
        B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + 'static,
        Build: AsyncFnOnce() -> Result<Router, SettingsError>,
    {
        let (mut parts, body) = request.into_parts();
        let context = RequestContext::new(self.name, &parts);
        parts.extensions.insert(context.clone());
        let is_preflight = parts.method == Method::OPTIONS;
        let request = Request::from_parts(parts, Body::new(body));

        let response = if is_preflight {
            "ok".into_response()
        } else {
            self.route(request, &context, build).await
        };

        finish(response, &context, is_preflight)
    }

    async fn route<Build>(&'static self, request: Request, context: &RequestContext, build: Build) -> Response
    where
        Build: AsyncFnOnce() -> Result<Router, SettingsError>,
    {
        let router = match self.router.get() {
            Some(router) => router.clone(),
            None => match build().await {
                // Two first requests may both build; one result is kept.
                Ok(built) => self.router.get_or_init(|| complete(built)).clone(),
                Err(error) => {
                    context
                        .line(Level::Error, "misconfigured")
                        .with("cause", error.to_string())
                        .emit();
                    return ApiError::internal(error.to_string()).into_response();
                }
            },
        };

        let mut router = router;
        match router.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Adds what every function's router answers alike.
fn complete(router: Router) -> Router {
    router
        .route_layer(middleware::from_fn(note_route))
        .fallback(async || {
            ApiError::new(
                Kind::NotFound,
                "no_such_route",
                "Not found or method not supported for the path",
            )
        })
        .method_not_allowed_fallback(async || {
            ApiError::new(Kind::MethodNotAllowed, "method_not_allowed", "Method not allowed")
        })
}

async fn note_route(request: Request, next: Next) -> Response {
    if let (Some(context), Some(route)) = (
        request.extensions().get::<RequestContext>(),
        request.extensions().get::<MatchedPath>(),
    ) {
        context.set_route(route.as_str());
    }
    next.run(request).await
}

/// What every response has, and the request's log line. A stream writes its line when it ends.
fn finish(mut response: Response, context: &RequestContext, is_preflight: bool) -> Response {
    let error = response.extensions_mut().remove::<ApiError>();
    if let Some(error) = &error {
        let allow = response.headers_mut().remove(http::header::ALLOW);
        response = error.render(context.request_id());
        if let Some(allow) = allow {
            response.headers_mut().insert(http::header::ALLOW, allow);
        }
    }
    if response.extensions().get::<sse::Streaming>().is_none() {
        context.log_request(response.status().as_u16(), error.as_ref());
    }

    let length = response.body().size_hint().exact();
    let has_content = response.status() != StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    if !has_content {
        // RFC 9110, 8.6. The router has set it already.
        headers.remove(CONTENT_LENGTH);
    } else if let Some(length) = length {
        // Without it Spin sends the body in chunks, and a keep-alive client waits 40 ms for its end.
        headers.insert(CONTENT_LENGTH, length.into());
    }
    if let Ok(id) = HeaderValue::from_str(context.request_id()) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    allow_browsers(headers, is_preflight);
    response
}

/// What a browser asks for on behalf of a page of another origin; the rest of it only when it asks beforehand.
fn allow_browsers(headers: &mut HeaderMap, is_preflight: bool) {
    let answers = [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (
            ACCESS_CONTROL_EXPOSE_HEADERS,
            "x-request-id, retry-after, ratelimit, ratelimit-policy, idempotent-replayed, etag, link, location, x-next-cursor",
        ),
    ];
    let preflight = [
        (
            ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, x-client-info, apikey, content-type, accept, idempotency-key, if-match, traceparent",
        ),
        (ACCESS_CONTROL_ALLOW_METHODS, "POST, GET, OPTIONS, PUT, PATCH, DELETE"),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ];
    let preflight = preflight.into_iter().filter(|_| is_preflight);
    for (name, value) in answers.into_iter().chain(preflight) {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Logs a failure of best-effort work, whose result the client does not wait for.
pub fn log_best_effort<E: std::fmt::Display>(context: &RequestContext, event: &'static str, result: Result<(), E>) {
    if let Err(error) = result {
        let line: Line = context.line(Level::Warn, event);
        line.with("cause", error.to_string()).emit();
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use futures::executor::block_on;
    use http_body_util::{BodyExt, Empty};

    use super::*;

    static FUNCTION: Function = Function::new("test");

    async fn router() -> Result<Router, SettingsError> {
        Ok(Router::new()
            .route("/here", get(async || "here"))
            .route("/nothing", get(async || StatusCode::NO_CONTENT)))
    }

    fn send(method: Method, path: &str) -> (http::response::Parts, String) {
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .body(Empty::<Bytes>::new())
            .unwrap();
        let (parts, body) = block_on(FUNCTION.serve(request, router)).into_parts();
        let body = block_on(body.collect()).unwrap().to_bytes();
        (parts, String::from_utf8(body.to_vec()).unwrap())
    }

    #[test]
    fn every_response_names_the_request_and_its_length() {
        let (parts, body) = send(Method::GET, "/here");

        assert_eq!((parts.status.as_u16(), body.as_str()), (200, "here"));
        assert_eq!(parts.headers["content-length"], "4");
        assert_eq!(parts.headers["x-request-id"].len(), 32);
        assert_eq!(parts.headers["access-control-allow-origin"], "*");
    }

    #[test]
    fn what_has_no_content_has_no_length() {
        let (parts, body) = send(Method::GET, "/nothing");

        assert_eq!((parts.status.as_u16(), body.as_str()), (204, ""));
        assert!(!parts.headers.contains_key("content-length"));
    }

    #[test]
    fn a_preflight_is_answered_on_any_path() {
        let (parts, body) = send(Method::OPTIONS, "/anything");

        assert_eq!((parts.status.as_u16(), body.as_str()), (200, "ok"));
        assert!(
            parts.headers["access-control-allow-headers"]
                .to_str()
                .unwrap()
                .contains("idempotency-key")
        );
    }

    #[test]
    fn what_is_not_routed_gets_the_envelope() {
        let (parts, body) = send(Method::GET, "/elsewhere");

        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(parts.status.as_u16(), 404);
        assert_eq!(body["code"], "no_such_route");
        assert_eq!(body["request_id"], parts.headers["x-request-id"].to_str().unwrap());
    }

    #[test]
    fn a_wrong_method_says_which_are_right() {
        let (parts, body) = send(Method::POST, "/here");

        assert_eq!(parts.status.as_u16(), 405);
        assert_eq!(parts.headers["allow"], "GET,HEAD");
        assert!(body.contains("Method not allowed"));
    }
}
