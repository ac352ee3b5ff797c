//! The HTTP server: one task that accepts, and one for each connection.

use crate::app::App;
use crate::request::Origin;
use http::Request;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use wasmtime_wasi_http::Error;

/// Serves until stopped, then lets requests in flight end for as long as `grace`.
pub(crate) async fn run(listener: TcpListener, app: Arc<App>, mut stopped: watch::Receiver<bool>, grace: Duration) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => {
                    connections.spawn(serve(stream, client, Arc::clone(&app), stopped.clone()));
                }
                Err(error) => {
                    // Usually a lack of file descriptors, which passes.
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = stop(&mut stopped) => break,
        }
    }
    drop(listener);
    let all_ended = timeout(grace, async { while connections.join_next().await.is_some() {} }).await;
    if all_ended.is_err() {
        tracing::warn!(connections = connections.len(), "requests in flight are dropped");
    }
}

async fn serve(stream: TcpStream, client: SocketAddr, app: Arc<App>, mut stopped: watch::Receiver<bool>) {
    // Without it a response in several writes may wait for the client's acknowledgement; a socket that refuses it still works.
    _ = stream.set_nodelay(true);
    let origin = Origin::client(client);
    let service = service_fn(|request: Request<Incoming>| {
        let (app, origin) = (Arc::clone(&app), origin.clone());
        async move {
            app.handle(request.map(|body| body.map_err(Error::from).boxed_unsync()), &origin)
                .await
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let outcome = tokio::select! {
        outcome = connection.as_mut() => outcome,
        () = stop(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%client, %error, "connection ended with an error");
    }
}

/// Ends when the host is to stop, or is gone.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    _ = stopped.wait_for(|stopped| *stopped).await;
}
