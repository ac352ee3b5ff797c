//! Instances at work: how many requests they take, how long they live, and what happens when they end.

use crate::InstanceReuse;
use crate::state::{Component, Instance};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::time::Sleep;
use wasmtime::component::GuestTaskId;
use wasmtime::{Store, StoreContextMut};
use wasmtime_wasi_http::WasiHttpView;
use wasmtime_wasi_http::handler::{
    self, HandlerState, Proxy, ShouldAccept, WorkerExpiration, WorkerState, WorkerStatus,
};
use wasmtime_wasi_http::p3::bindings::ServicePre;

/// Makes a component's instances.
pub(crate) struct Workers {
    pub(crate) component: Arc<Component>,
    pub(crate) service: ServicePre<Instance>,
    pub(crate) reuse: InstanceReuse,
    pub(crate) request_timeout: Option<Duration>,
    /// Whether the host is stopping, which ends instances at any point.
    pub(crate) stopping: Arc<AtomicBool>,
}

impl HandlerState for Workers {
    type StoreData = Instance;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<handler::Instance<Instance, Expiration, Worker>> {
        let begun = Instant::now();
        let mut store = Store::new(self.service.engine(), Instance::new(&self.component));
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let service = self.service.instantiate_async(&mut store).await?;

        let counters = &self.component.counters;
        counters.instances.add(1);
        counters
            .instantiation_nanoseconds
            .add(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));

        Ok(handler::Instance {
            store,
            proxy: Proxy::P3(service),
            view: |instance| instance.http(),
            expiration: Expiration::new(self.reuse.idle, self.request_timeout),
            state: Worker {
                component: Arc::clone(&self.component),
                reuse: self.reuse,
                request_timeout: self.request_timeout,
                stopping: Arc::clone(&self.stopping),
            },
        })
    }
}

/// When an instance ends: after a while without requests, or when a request takes too long.
pub(crate) struct Expiration {
    idle: Duration,
    request_timeout: Option<Duration>,
    sleep: Pin<Box<Sleep>>,
}

impl Expiration {
    fn new(idle: Duration, request_timeout: Option<Duration>) -> Self {
        Self {
            idle,
            request_timeout,
            sleep: Box::pin(tokio::time::sleep(idle)),
        }
    }
}

impl WorkerExpiration for Expiration {
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>, status: WorkerStatus, start: Instant) -> Poll<()> {
        let limit = match status {
            WorkerStatus::Idle => Some(self.idle),
            WorkerStatus::Requests | WorkerStatus::PostReturn => self.request_timeout,
        };
        let Some(deadline) = limit.and_then(|limit| start.checked_add(limit)) else {
            return Poll::Pending;
        };
        let deadline = tokio::time::Instant::from_std(deadline);
        if self.sleep.deadline() != deadline {
            self.sleep.as_mut().reset(deadline);
        }
        self.sleep.as_mut().poll(context)
    }
}

/// One instance's limits, and its end.
pub(crate) struct Worker {
    component: Arc<Component>,
    reuse: InstanceReuse,
    request_timeout: Option<Duration>,
    stopping: Arc<AtomicBool>,
}

impl WorkerState for Worker {
    type StoreData = Instance;
    type RequestData = ();

    fn should_accept_request(&self, concurrent_count: usize, total_count: usize) -> ShouldAccept {
        if total_count >= self.reuse.max_requests {
            ShouldAccept::Never
        } else if concurrent_count >= self.reuse.max_concurrent {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, Instance>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + Sync + 'static>> {
        match self.request_timeout {
            Some(limit) => Box::pin(tokio::time::sleep(limit)),
            None => Box::pin(std::future::pending()),
        }
    }

    fn drop(&self, store: Store<Instance>, result: Result<(), wasmtime::Error>) {
        if let Err(error) = result
            && !self.stopping.load(Ordering::Relaxed)
        {
            self.component.log.line(&format!("worker failed: {error:?}"));
        }
        drop(store);
    }
}
