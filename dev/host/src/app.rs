//! The application: routes, components, and the way of a request to its component.

use crate::manifest::StaticResponse;
use crate::request::{self, InvalidRequest, Origin};
use crate::router::{RouteFacts, Router};
use crate::workers::Workers;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use std::collections::HashMap;
use std::net::SocketAddr;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::ProxyHandler;

/// Paths that the host answers itself.
const WELL_KNOWN: &str = "/.well-known/spin/";

/// A running application.
pub(crate) struct App {
    pub(crate) router: Router,
    /// Who answers each HTTP trigger of the manifest, in its order.
    pub(crate) destinations: Vec<Destination>,
    pub(crate) components: HashMap<String, ProxyHandler<Workers>>,
    /// Where the host listens.
    pub(crate) address: SocketAddr,
    internal_route: RouteFacts,
}

/// Who answers a trigger.
pub(crate) enum Destination {
    /// A component.
    Component(ProxyHandler<Workers>),
    /// The manifest itself.
    Static(Response<Bytes>),
}

impl Destination {
    /// The answer that a manifest gives; the error names what is wrong with it.
    pub(crate) fn fixed(answer: &StaticResponse) -> Result<Self, String> {
        let mut response = Response::new(Bytes::from(answer.body.clone().unwrap_or_default()));
        if let Some(status) = answer.status_code {
            *response.status_mut() =
                StatusCode::from_u16(status).map_err(|_| format!("status_code {status} is not a status"))?;
        }
        for (name, value) in &answer.headers {
            let name = HeaderName::try_from(name).map_err(|_| format!("`{name}` is not a header's name"))?;
            let value = HeaderValue::try_from(value).map_err(|_| format!("`{name}` has an invalid value"))?;
            response.headers_mut().append(name, value);
        }
        Ok(Self::Static(response))
    }
}

impl App {
    /// An application that listens at `address`.
    pub(crate) fn new(
        router: Router,
        destinations: Vec<Destination>,
        components: HashMap<String, ProxyHandler<Workers>>,
        address: SocketAddr,
    ) -> Self {
        Self {
            router,
            destinations,
            components,
            address,
            internal_route: RouteFacts::internal(),
        }
    }

    /// Answers a client's request; an error is a request that is not even answered.
    pub(crate) async fn handle(
        &self,
        mut request: Request<WasiBody>,
        origin: &Origin,
    ) -> Result<Response<WasiBody>, InvalidRequest> {
        request::strip_transport_headers(request.headers_mut());
        match request.uri().path().strip_prefix(WELL_KNOWN) {
            Some("health") => return Ok(Response::new(full(Bytes::from_static(b"OK")))),
            Some(_) => return Ok(empty(StatusCode::NOT_FOUND)),
            None => {}
        }
        let Some(found) = self.router.route(request.uri().path()) else {
            return Ok(empty(StatusCode::NOT_FOUND));
        };
        let (mut parts, body) = request.into_parts();
        request::set_absolute_uri(&mut parts)?;
        match self.destinations.get(found.target.trigger) {
            Some(Destination::Component(workers)) => {
                let prepared =
                    request::add_headers(&mut parts, &found.target.facts, &found.path_info, &found.named, origin);
                Ok(answer(workers, prepared, Request::from_parts(parts, body)).await)
            }
            Some(Destination::Static(response)) => Ok(response.clone().map(full)),
            None => Ok(empty(StatusCode::NOT_FOUND)),
        }
    }

    /// Answers a request that one component makes to another; none if there is no such component.
    pub(crate) async fn handle_internal(
        &self,
        component: &str,
        request: Request<WasiBody>,
    ) -> Option<Result<Response<WasiBody>, InvalidRequest>> {
        let workers = self.components.get(component)?;
        let (mut parts, body) = request.into_parts();
        if let Err(error) = request::set_absolute_uri(&mut parts) {
            return Some(Err(error));
        }
        let path = parts.uri.path().to_owned();
        let prepared = request::add_headers(&mut parts, &self.internal_route, &path, &[], &Origin::component());
        Some(Ok(answer(workers, prepared, Request::from_parts(parts, body)).await))
    }
}

/// Has a component answer; whatever goes wrong is a 500 without a body, and in the log.
async fn answer(
    workers: &ProxyHandler<Workers>,
    prepared: Result<(), InvalidRequest>,
    request: Request<WasiBody>,
) -> Response<WasiBody> {
    let component = &workers.state().component;
    let outcome = match prepared {
        Ok(()) => {
            component.counters.requests.add(1);
            workers.handle((), request).await
        }
        Err(error) => Err(error.into()),
    };
    outcome.unwrap_or_else(|error| {
        tracing::error!(component = component.id, %error, "request failed");
        empty(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

/// A body that is there at once.
pub(crate) fn full(bytes: Bytes) -> WasiBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

fn empty(status: StatusCode) -> Response<WasiBody> {
    let mut response = Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}
