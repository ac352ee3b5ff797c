//! The Wasm engine, and components compiled and linked with what the host offers.

use crate::HostError;
use crate::bindings;
use crate::state::{Instance, InstanceOf};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use wasmtime::component::{Component, InstancePre, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How many instances may live at once in a process.
const INSTANCES: u32 = 1_000;

/// How much memory an instance may use.
const MEMORY: usize = 256 << 20;

/// How much of an instance's memory stays mapped for the next instance.
const KEPT_MEMORY: usize = 2 << 20;

/// How long a guest computes before it lets others have the thread.
const TICK: Duration = Duration::from_millis(10);

/// The engine that keeps compiled components in `cache`.
///
/// There is one for the whole process, however many hosts run in it, since the instance pool reserves terabytes of address space.
pub(crate) fn engine(cache: Option<&Path>) -> Result<Engine, HostError> {
    static ENGINES: Mutex<Option<HashMap<Option<PathBuf>, Engine>>> = Mutex::new(None);

    let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
    let engines = engines.get_or_insert_default();
    if let Some(engine) = engines.get(&cache.map(Path::to_owned)) {
        return Ok(engine.clone());
    }
    let engine = new_engine(cache).map_err(|error| HostError::Engine(format!("{error:#}")))?;
    engines.insert(cache.map(Path::to_owned), engine.clone());
    Ok(engine)
}

fn new_engine(cache: Option<&Path>) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(4 * INSTANCES)
        .total_memories(INSTANCES)
        .total_tables(2 * INSTANCES)
        .total_stacks(2 * INSTANCES)
        .max_memory_size(MEMORY)
        .max_component_instance_size(10 << 20)
        .max_core_instance_size(10 << 20)
        .table_elements(100_000)
        .linear_memory_keep_resident(KEPT_MEMORY)
        .table_keep_resident(KEPT_MEMORY / 4);

    let mut config = Config::new();
    config
        .wasm_component_model_async(true)
        .epoch_interruption(true)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    if let Some(folder) = cache {
        std::fs::create_dir_all(folder)?;
        let mut settings = CacheConfig::new();
        settings.with_directory(folder.canonicalize()?);
        config.cache(Some(Cache::new(settings)?));
    }
    let engine = Engine::new(&config)?;

    let ticking = engine.weak();
    std::thread::Builder::new().name("wasm-epoch".into()).spawn(move || {
        while let Some(engine) = ticking.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(engine)
}

/// Everything that the host offers to a component.
pub(crate) fn linker(engine: &Engine) -> Result<Linker<Instance>, HostError> {
    let mut linker = Linker::new(engine);
    add_interfaces(&mut linker).map_err(|error| HostError::Engine(format!("{error:#}")))?;
    Ok(linker)
}

fn add_interfaces(linker: &mut Linker<Instance>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi::p3::add_to_linker(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    wasmtime_wasi_http::p3::add_to_linker(linker)?;
    bindings::postgres::add_to_linker::<_, InstanceOf>(linker, |instance| instance)?;
    bindings::variables::add_to_linker::<_, InstanceOf>(linker, |instance| instance)?;
    bindings::store::add_to_linker::<_, InstanceOf>(linker, |instance| instance)?;
    Ok(())
}

/// Compiles a component, or takes it from the cache, and links it.
pub(crate) fn load(
    linker: &Linker<Instance>,
    component: &str,
    path: &Path,
) -> Result<InstancePre<Instance>, HostError> {
    let bytes = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => HostError::MissingComponentFile {
            component: component.to_owned(),
            path: path.to_owned(),
        },
        _ => HostError::InvalidComponent {
            component: component.to_owned(),
            reason: format!("cannot read {}: {error}", path.display()),
        },
    })?;
    let compiled = Component::new(linker.engine(), &bytes).map_err(|error| HostError::InvalidComponent {
        component: component.to_owned(),
        reason: format!("{error:#}"),
    })?;
    linker
        .instantiate_pre(&compiled)
        .map_err(|error| HostError::UnknownImport {
            component: component.to_owned(),
            reason: format!("{error:#}"),
        })
}
