//! The HTTP server under each world.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::connection::{Connection, Connections};
use crate::StackError;

/// A server on a free port of 127.0.0.1, on a thread of its own: it outlives the runtime of the test that started it,
/// and takes no time from the runtime that is measured. Dropped, it is gone with all its connections.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves `router`.
    pub(super) async fn start(name: &str, router: Router) -> Result<Self, StackError> {
        let failed =
            |error: std::io::Error| StackError::Failed(format!("the stand-in for {name} cannot start: {error}"));
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;

        let (stop, stopped) = oneshot::channel::<()>();
        let serve = async move {
            let listener = Connections(TcpListener::from_std(listener)?);
            let router = router.into_make_service_with_connect_info::<Connection>();
            tokio::select! {
                served = axum::serve(listener, router) => served,
                _ = stopped => Ok(()),
            }
        };
        let world = name.to_owned();
        let thread = thread::Builder::new().name(format!("world-{name}")).spawn(move || {
            if let Err(error) = runtime.block_on(serve) {
                tracing::warn!(%error, world, "a stand-in has ended");
            }
            runtime.shutdown_background();
        });
        Ok(Self {
            address,
            stop: Some(stop),
            thread: Some(thread.map_err(failed)?),
        })
    }

    /// The origin, such as `http://127.0.0.1:4000`.
    pub(super) fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The server waits for this channel's end.
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::warn!("a stand-in's thread failed");
        }
    }
}
