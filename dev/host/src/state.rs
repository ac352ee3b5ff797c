//! What belongs to a component, and what to one instance of it.

use crate::allowed_hosts::AllowedHosts;
use crate::app::App;
use crate::logs::ComponentLog;
use crate::outbound::{Client, Outbound};
use crate::postgres::Pools;
use crate::statistics::Counters;
use crate::variables::ComponentVariables;
use std::sync::{Arc, OnceLock, Weak};
use wasmtime::component::{HasData, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

/// What all instances of a component share.
pub(crate) struct Component {
    pub(crate) id: String,
    pub(crate) environment: Vec<(String, String)>,
    pub(crate) variables: ComponentVariables,
    pub(crate) allowed_hosts: AllowedHosts,
    pub(crate) pools: Pools,
    pub(crate) client: Client,
    pub(crate) log: ComponentLog,
    pub(crate) counters: Arc<Counters>,
    /// The application, for calls between its components; set once it is whole.
    pub(crate) app: OnceLock<Weak<App>>,
}

/// The host's side of one instance: the data of its store.
pub(crate) struct Instance {
    pub(crate) component: Arc<Component>,
    pub(crate) table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    outbound: Outbound,
}

impl Instance {
    /// A new instance's side: the component's environment, its log, and nothing else of the machine.
    pub(crate) fn new(component: &Arc<Component>) -> Self {
        let wasi = WasiCtxBuilder::new()
            .envs(&component.environment)
            .stdout(component.log.stream())
            .stderr(component.log.stream())
            .build();
        Self {
            component: Arc::clone(component),
            table: ResourceTable::new(),
            wasi,
            http: WasiHttpCtx::new(),
            outbound: Outbound::new(Arc::clone(component)),
        }
    }
}

impl WasiView for Instance {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: &mut self.wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for Instance {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView {
            hooks: &mut self.outbound,
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

/// Says to generated code that it works on a whole [`Instance`].
pub(crate) struct InstanceOf;

impl HasData for InstanceOf {
    type Data<'a> = &'a mut Instance;
}
