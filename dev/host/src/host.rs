//! A running host: started, asked, and stopped or killed.

use crate::allowed_hosts::AllowedHosts;
use crate::app::{App, Destination};
use crate::bindings::cron::SpinCronPre;
use crate::cron::{self, Scheduled, TickError};
use crate::error::HostError;
use crate::logs::ComponentLog;
use crate::manifest::{Manifest, Route};
use crate::outbound::Client;
use crate::postgres::Pools;
use crate::router::Router;
use crate::state::Component;
use crate::statistics::{Counters, Statistics};
use crate::variables::{ComponentVariables, Values};
use crate::workers::Workers;
use crate::{HostOptions, engine, server};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wasmtime::component::InstancePre;
use wasmtime_wasi_http::handler::ProxyHandler;
use wasmtime_wasi_http::p3::bindings::ServicePre;

/// How long [`Host::shutdown`] gives requests in flight.
const GRACE: Duration = Duration::from_secs(5);

/// How long stopping the host's threads may take; they end at the next point where a task yields.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// A running application. Dropping it stops it as [`Host::kill`] does, without waiting for the end.
///
/// It runs on threads of its own, so that it outlives the runtime that started it and can be stopped at any point.
#[derive(Debug)]
pub struct Host {
    runtime: Background,
    address: SocketAddr,
    counters: Vec<(String, Arc<Counters>)>,
    scheduled: BTreeMap<String, Scheduled>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Host {
    /// Loads an application, compiles what is not in the cache, and serves it in the background.
    pub async fn start(options: HostOptions) -> Result<Self, HostError> {
        let runtime = Background::new()?;
        let handle = runtime.handle()?.clone();
        let (stop, stopped) = watch::channel(false);
        let serving = handle
            .spawn(serve(options, stopped, Arc::clone(&runtime.stopping)))
            .await
            .map_err(|error| HostError::Engine(format!("starting was cut short: {error}")))??;
        let Serving {
            address,
            counters,
            scheduled,
            tasks,
        } = serving;
        tracing::info!(%address, "serving");
        Ok(Self {
            runtime,
            address,
            counters,
            scheduled,
            stop,
            tasks,
        })
    }

    /// Where the host listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What the components have done so far.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            components: self
                .counters
                .iter()
                .map(|(id, counters)| (id.clone(), counters.read()))
                .collect(),
        }
    }

    /// Starts a component as its schedule would, and waits for its end. Should it be running already, this waits for that first.
    pub async fn run_schedule(&self, component: &str) -> Result<(), TickError> {
        let unknown = || TickError::UnknownComponent(component.to_owned());
        let scheduled = self.scheduled.get(component).ok_or_else(unknown)?.clone();
        let runtime = self.runtime.handle().map_err(|_| TickError::Stopped)?;
        let tick = runtime.spawn(async move { scheduled.tick().await });
        tick.await.map_err(|_| TickError::Stopped)?
    }

    /// Stops accepting and starting, gives requests and ticks in flight a few seconds to end, and then stops as [`Host::kill`] does.
    pub async fn shutdown(self) {
        let Self {
            runtime, stop, tasks, ..
        } = self;
        stop.send_replace(true);
        for task in tasks {
            // Each bounds its own end; an error is a panic of the task, which ended it too.
            _ = task.await;
        }
        runtime.stop();
    }

    /// Drops everything at once, requests in flight and database connections included, as the death of the process would. The port
    /// is free when this returns.
    pub fn kill(self) {
        self.runtime.stop();
    }
}

/// The host's own threads.
#[derive(Debug)]
struct Background {
    /// There until it is stopped.
    runtime: Option<Runtime>,
    stopping: Arc<AtomicBool>,
}

impl Background {
    fn new() -> Result<Self, HostError> {
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .thread_name("agentopia-host")
            .build()
            .map(|runtime| Self {
                runtime: Some(runtime),
                stopping: Arc::new(AtomicBool::new(false)),
            })
            .map_err(|error| HostError::Engine(error.to_string()))
    }

    fn handle(&self) -> Result<&Handle, HostError> {
        self.runtime
            .as_ref()
            .map(Runtime::handle)
            .ok_or_else(|| HostError::Engine("the runtime has stopped".to_owned()))
    }

    /// Drops all tasks and waits for it.
    fn stop(mut self) {
        let Some(runtime) = self.runtime.take() else {
            return;
        };
        self.stopping.store(true, Ordering::Relaxed);
        // A runtime cannot be waited for inside another one.
        let stopping = std::thread::spawn(move || runtime.shutdown_timeout(STOP_LIMIT));
        if stopping.join().is_err() {
            tracing::error!("stopping the host panicked");
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            self.stopping.store(true, Ordering::Relaxed);
            runtime.shutdown_background();
        }
    }
}

/// What [`serve`] leaves running.
struct Serving {
    address: SocketAddr,
    counters: Vec<(String, Arc<Counters>)>,
    scheduled: BTreeMap<String, Scheduled>,
    tasks: Vec<JoinHandle<()>>,
}

async fn serve(
    options: HostOptions,
    stopped: watch::Receiver<bool>,
    stopping: Arc<AtomicBool>,
) -> Result<Serving, HostError> {
    let manifest = Manifest::load(&options.manifest)?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => HostError::AddressInUse(options.listen),
            _ => HostError::Listen {
                address: options.listen,
                source,
            },
        })?;
    let address = listener.local_addr().map_err(|source| HostError::Listen {
        address: options.listen,
        source,
    })?;

    let Loaded {
        app,
        scheduled,
        components,
    } = load(&manifest, &options, address, &stopping).await?;
    let counters = components
        .into_iter()
        .map(|(id, component)| (id, Arc::clone(&component.counters)))
        .collect();

    let mut tasks = vec![tokio::spawn(server::run(listener, app, stopped.clone(), GRACE))];
    for trigger in manifest.trigger.cron.iter().filter(|_| options.cron) {
        let Some(scheduled) = scheduled.get(&trigger.component) else {
            continue;
        };
        let schedule = cron::parse(&trigger.cron_expression).map_err(|reason| malformed(&options, reason))?;
        tasks.push(tokio::spawn(scheduled.clone().run(schedule, stopped.clone(), GRACE)));
    }
    Ok(Serving {
        address,
        counters,
        scheduled,
        tasks,
    })
}

fn malformed(options: &HostOptions, reason: String) -> HostError {
    HostError::Manifest {
        path: options.manifest.clone(),
        reason,
    }
}

/// An application that is ready to run.
struct Loaded {
    app: Arc<App>,
    scheduled: BTreeMap<String, Scheduled>,
    components: BTreeMap<String, Arc<Component>>,
}

async fn load(
    manifest: &Manifest,
    options: &HostOptions,
    address: SocketAddr,
    stopping: &Arc<AtomicBool>,
) -> Result<Loaded, HostError> {
    let malformed = |reason| malformed(options, reason);
    let folder = options.manifest.parent().unwrap_or(Path::new(""));
    let values = Values::resolve(manifest, folder, &options.variables)?;
    let router = Router::new(&manifest.trigger.http).map_err(malformed)?;
    let client = Client::new().map_err(HostError::Engine)?;

    let routed: BTreeSet<_> = manifest
        .trigger
        .http
        .iter()
        .filter_map(|trigger| trigger.component.clone())
        .collect();
    let timed: BTreeSet<_> = manifest
        .trigger
        .cron
        .iter()
        .map(|trigger| trigger.component.clone())
        .collect();
    let used: BTreeSet<_> = routed.union(&timed).cloned().collect();
    let compiled = compile(manifest, options, &used).await?;
    let mut components = BTreeMap::new();
    let mut workers_of = HashMap::new();
    let mut scheduled = BTreeMap::new();
    for (id, instance) in compiled {
        let component = Arc::new(component(manifest, options, &id, &values, client.clone())?);
        components.insert(id.clone(), Arc::clone(&component));
        if timed.contains(&id) {
            let handler = SpinCronPre::new(instance.clone()).map_err(|error| HostError::NotACronComponent {
                component: id.clone(),
                reason: format!("{error:#}"),
            })?;
            let component = Arc::clone(&component);
            scheduled.insert(id.clone(), Scheduled::new(component, handler, options.tick_limit));
        }
        if !routed.contains(&id) {
            continue;
        }
        let service = ServicePre::new(instance).map_err(|error| HostError::NotAnHttpComponent {
            component: id.clone(),
            reason: format!("{error:#}"),
        })?;
        let workers = Workers {
            component,
            service,
            reuse: options.reuse,
            request_timeout: options.request_timeout,
            stopping: Arc::clone(stopping),
        };
        workers_of.insert(id, ProxyHandler::new(workers));
    }

    let mut destinations = Vec::new();
    for trigger in &manifest.trigger.http {
        let component = trigger.component.as_ref().and_then(|id| workers_of.get(id));
        destinations.push(match (component, &trigger.static_response) {
            (Some(workers), _) => Destination::Component(workers.clone()),
            (None, Some(answer)) => Destination::fixed(answer).map_err(malformed)?,
            (None, None) => return Err(malformed(format!("{} has no component", describe(&trigger.route)))),
        });
    }

    let app = Arc::new(App::new(router, destinations, workers_of, address));
    for component in components.values() {
        component.app.get_or_init(|| Arc::downgrade(&app));
    }
    Ok(Loaded {
        app,
        scheduled,
        components,
    })
}

fn describe(route: &Route) -> String {
    match route {
        Route::Path(path) => format!("route `{path}`"),
        Route::Private(_) => "a private route".to_owned(),
    }
}

fn component(
    manifest: &Manifest,
    options: &HostOptions,
    id: &str,
    values: &Values,
    client: Client,
) -> Result<Component, HostError> {
    let malformed = |reason| HostError::Manifest {
        path: options.manifest.clone(),
        reason: format!("component `{id}`: {reason}"),
    };
    let entry = manifest
        .component
        .get(id)
        .ok_or_else(|| malformed("is not defined".to_owned()))?;
    let ids: Vec<_> = manifest.component.keys().cloned().collect();
    let hosts: Vec<_> = entry
        .allowed_outbound_hosts
        .iter()
        .map(|host| values.fill(host))
        .collect::<Result<_, _>>()
        .map_err(|reason| malformed(format!("allowed_outbound_hosts: {reason}")))?;
    let counters = Arc::new(Counters::default());
    Ok(Component {
        id: id.to_owned(),
        environment: entry.environment.clone().into_iter().collect(),
        variables: ComponentVariables::resolve(id, &entry.variables, values)
            .map_err(|reason| malformed(format!("variables: {reason}")))?,
        allowed_hosts: AllowedHosts::parse(hosts.iter().map(String::as_str), &ids)
            .map_err(|reason| malformed(format!("allowed_outbound_hosts: {reason}")))?,
        pools: Pools::new(
            options.pool,
            options.max_connections,
            Handle::current(),
            Arc::clone(&counters),
        ),
        client,
        log: ComponentLog::open(&options.logs, id)?,
        counters,
        app: OnceLock::new(),
    })
}

/// Compiles all components at once.
async fn compile(
    manifest: &Manifest,
    options: &HostOptions,
    ids: &BTreeSet<String>,
) -> Result<HashMap<String, InstancePre<crate::state::Instance>>, HostError> {
    let engine = engine::engine(options.cache.as_deref())?;
    let linker = Arc::new(engine::linker(&engine)?);
    let mut compiling = Vec::new();
    for id in ids {
        let Some(path) = manifest.source(&options.manifest, id) else {
            continue;
        };
        let (linker, id) = (Arc::clone(&linker), id.clone());
        compiling.push(tokio::task::spawn_blocking(move || {
            engine::load(&linker, &id, &path).map(|instance| (id, instance))
        }));
    }
    let mut compiled = HashMap::new();
    for task in compiling {
        let (id, instance) = task
            .await
            .map_err(|error| HostError::Engine(format!("compiling was cut short: {error}")))??;
        compiled.insert(id, instance);
    }
    Ok(compiled)
}
