//! Requests that components make: to the outside over pooled connections, and to each other inside the process.

use crate::allowed_hosts::internal_component;
use crate::state::Component;
use crate::tls;
use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{Request, Response, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// How long each step may take unless the guest says otherwise.
const DEFAULT_LIMIT: Duration = Duration::from_secs(600);

/// The host name under which a component calls the application itself.
const ITSELF: &str = "self.alt";

/// What a request's sending ends with: a response, and what is left to do for its connection.
type Sent = (Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>);

/// A component's way to send requests.
pub(crate) struct Outbound {
    component: Arc<Component>,
}

impl Outbound {
    pub(crate) fn new(component: Arc<Component>) -> Self {
        Self { component }
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_outcome: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        let component = Arc::clone(&self.component);
        Box::new(async move {
            let limits = Limits::new(options);
            let response = send(&component, request, limits).await?;
            let response = response.map(|body| {
                LimitedBody {
                    body: Some(body),
                    limit: limits.between_bytes,
                    sleep: None,
                }
                .boxed_unsync()
            });
            Ok((response, Box::new(std::future::ready(Ok(()))) as _))
        })
    }
}

/// A request's time limits.
#[derive(Clone, Copy)]
struct Limits {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
}

impl Limits {
    fn new(options: Option<RequestOptions>) -> Self {
        let options = options.unwrap_or_default();
        Self {
            connect: options.connect_timeout.unwrap_or(DEFAULT_LIMIT),
            first_byte: options.first_byte_timeout.unwrap_or(DEFAULT_LIMIT),
            between_bytes: options.between_bytes_timeout.unwrap_or(DEFAULT_LIMIT),
        }
    }
}

async fn send(
    component: &Component,
    mut request: Request<WasiBody>,
    limits: Limits,
) -> Result<Response<WasiBody>, Error> {
    let host = request.uri().host().unwrap_or_default().to_owned();
    let to_itself = host.is_empty() || host == ITSELF;
    let allowed = if to_itself {
        component.allowed_hosts.allows_itself()
    } else {
        component.allowed_hosts.allows(&request.uri().to_string(), "https")
    };
    if !allowed {
        return Err(Error::HttpRequestDenied);
    }

    // The client writes the header itself, by the URI.
    request.headers_mut().remove(HOST);
    let app = component
        .app
        .get()
        .and_then(std::sync::Weak::upgrade)
        .ok_or(Error::ConfigurationError)?;
    if to_itself {
        let path = request
            .uri()
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let uri = format!("http://{}{path}", app.address);
        *request.uri_mut() = uri.parse().map_err(|_| Error::HttpRequestUriInvalid)?;
    } else if let Some(name) = internal_component(&host) {
        // The first-byte limit does not apply here, as in Spin.
        return match app.handle_internal(name, request).await {
            Some(Ok(response)) => Ok(response),
            Some(Err(_)) => Err(Error::HttpRequestUriInvalid),
            None => Err(Error::HttpRequestDenied),
        };
    }
    drop(app);
    component.client.send(request, limits).await
}

/// Connections to the outside, kept alive and shared by the application's components.
#[derive(Clone)]
pub(crate) struct Client(legacy::Client<Connector, WasiBody>);

impl Client {
    /// A client that has no connections yet; the error is one of the TLS library.
    pub(crate) fn new() -> Result<Self, String> {
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(Connector {
                tls: TlsConnector::from(tls::client(None)?),
            });
        Ok(Self(client))
    }

    async fn send(&self, request: Request<WasiBody>, limits: Limits) -> Result<Response<WasiBody>, Error> {
        let sending = CONNECT_LIMIT.scope(limits.connect, self.0.request(request));
        let response = timeout(limits.first_byte, sending)
            .await
            .map_err(|_| Error::ConnectionReadTimeout)?
            .map_err(|error| request_error(&error))?;
        Ok(response.map(|body| body.map_err(|error| body_error(&error)).boxed_unsync()))
    }
}

tokio::task_local! {
    /// The connect limit of the request that is being sent: the client has no other way to hand it to the connector.
    static CONNECT_LIMIT: Duration;
}

fn request_error(error: &legacy::Error) -> Error {
    match error
        .source()
        .and_then(|source| source.downcast_ref::<ConnectFailure>())
    {
        Some(failure) => failure.into(),
        None => {
            tracing::warn!(?error, "outbound request failed");
            Error::HttpProtocolError
        }
    }
}

fn body_error(error: &hyper::Error) -> Error {
    tracing::warn!(?error, "outbound response failed");
    Error::HttpProtocolError
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, thiserror::Error)]
enum ConnectFailure {
    #[error("the URI names no host")]
    NoHost,
    #[error("the host's name is not known")]
    UnknownHost,
    #[error("connecting took too long")]
    TimedOut,
    #[error("the host does not accept the connection")]
    Refused,
    #[error("no secure connection was agreed on")]
    Tls,
}

impl From<&ConnectFailure> for Error {
    fn from(failure: &ConnectFailure) -> Self {
        match failure {
            ConnectFailure::NoHost => Self::HttpRequestUriInvalid,
            ConnectFailure::UnknownHost => Self::DnsError {
                rcode: Some("address not available".to_owned()),
                info_code: Some(0),
            },
            ConnectFailure::TimedOut => Self::ConnectionTimeout,
            ConnectFailure::Refused => Self::ConnectionRefused,
            ConnectFailure::Tls => Self::TlsProtocolError,
        }
    }
}

#[derive(Clone)]
struct Connector {
    tls: TlsConnector,
}

impl tower_service::Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = ConnectFailure;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Stream>, ConnectFailure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectFailure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let limit = CONNECT_LIMIT.try_with(|limit| *limit).unwrap_or(DEFAULT_LIMIT);
        let tls = self.tls.clone();
        Box::pin(async move { connect(&uri, &tls, limit).await.map(TokioIo::new) })
    }
}

async fn connect(uri: &Uri, tls: &TlsConnector, limit: Duration) -> Result<Stream, ConnectFailure> {
    let secure = uri.scheme() == Some(&Scheme::HTTPS);
    let host = uri.host().ok_or(ConnectFailure::NoHost)?;
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let addresses: Vec<_> = tokio::net::lookup_host((host, port))
        .await
        .map_err(|_| ConnectFailure::UnknownHost)?
        .collect();

    let stream = timeout(limit, TcpStream::connect(&*addresses))
        .await
        .map_err(|_| ConnectFailure::TimedOut)?;
    let stream = stream.map_err(|error| match error.kind() {
        io::ErrorKind::AddrNotAvailable => ConnectFailure::UnknownHost,
        _ => ConnectFailure::Refused,
    })?;
    // Without it small writes may wait for the other side's acknowledgement; a socket that refuses it still works.
    _ = stream.set_nodelay(true);
    if !secure {
        return Ok(Stream::Plain(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(|_| ConnectFailure::UnknownHost)?;
    match tls.connect(name, stream).await {
        Ok(stream) => Ok(Stream::Secure(Box::new(stream))),
        Err(error) => {
            tracing::warn!(host, %error, "no secure connection was agreed on");
            Err(ConnectFailure::Tls)
        }
    }
}

/// A connection to the outside.
enum Stream {
    Plain(TcpStream),
    Secure(Box<TlsStream<TcpStream>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Secure(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Secure(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Secure(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Secure(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(context, slices),
            Self::Secure(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Secure(stream) => stream.is_write_vectored(),
        }
    }
}

/// A response's body that fails if nothing comes for a while, and then lets go of its connection.
struct LimitedBody {
    body: Option<WasiBody>,
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Body for LimitedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            self.sleep = None;
            return Poll::Ready(frame);
        }
        let limit = self.limit;
        let waiting = self.sleep.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(waiting.as_mut().poll(context));
        self.body = None;
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}
