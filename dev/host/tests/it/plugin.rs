//! The application's scheduled component as Spin's cron trigger plugin runs it: on a host of WASI 0.2 and `wasi:config/store` alone, by
//! either way of calling its handler.

use crate::support::{Upstream, heartbeat_schedule};
use wasmtime::component::{Component, HasData, Linker, ResourceTable};
use wasmtime::{Config, Engine, Result, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView, default_hooks};

mod config {
    //! How the plugin's host gives a component its variables.

    wasmtime::component::bindgen!({
        path: "../../wit/deps/config@0.2.0-draft-2024-09-27",
        inline: "package test:plugin;
            world imports {
                import wasi:config/store@0.2.0-draft-2024-09-27;
            }",
    });

    pub(super) use wasi::config::store;
}

mod until_0_4 {
    //! The handler as the plugin called it when it was on Spin 3.

    wasmtime::component::bindgen!({
        path: "../../wit/deps/spin-cron@2.0.0",
        world: "fermyon:spin-cron/spin-cron",
        exports: { default: async },
    });
}

mod since_0_5 {
    //! The handler as it calls it on Spin 4.

    wasmtime::component::bindgen!({
        path: "../../wit/deps/spin-cron@2.0.0",
        inline: "package spin:cron@3.0.0;
            interface cron-types {
                record metadata {
                    timestamp: u64,
                }
                variant error {
                    other(string),
                }
            }
            world spin-cron {
                use cron-types.{metadata, error};
                export handle-cron-event: async func(metadata: metadata) -> result<_, error>;
            }",
        exports: { default: async },
    });
}

/// A host's side of an instance.
struct Instance {
    table: ResourceTable,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    sweep_url: String,
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
            hooks: default_hooks(),
            table: &mut self.table,
            ctx: &mut self.http,
        }
    }
}

impl config::store::Host for Instance {
    fn get(&mut self, name: String) -> Result<Option<String>, config::store::Error> {
        Ok(match &*name {
            "sweep_url" => Some(self.sweep_url.clone()),
            "service_token" => Some("token".to_owned()),
            "sweep_timeout_ms" => Some("10000".to_owned()),
            _ => None,
        })
    }

    fn get_all(&mut self) -> Result<Vec<(String, String)>, config::store::Error> {
        Ok(Vec::new())
    }
}

struct Whole;

impl HasData for Whole {
    type Data<'a> = &'a mut Instance;
}

/// The component, ready to be started, and a server for it to ask.
async fn prepared() -> (Linker<Instance>, Component, Store<Instance>, Upstream) {
    let mut settings = Config::new();
    settings.wasm_component_model_async(true);
    let engine = Engine::new(&settings).unwrap();
    let mut linker = Linker::new(&engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker).unwrap();
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker).unwrap();
    config::store::add_to_linker::<_, Whole>(&mut linker, |instance| instance).unwrap();

    let upstream = Upstream::echo().await;
    let instance = Instance {
        table: ResourceTable::new(),
        wasi: WasiCtx::builder().build(),
        http: WasiHttpCtx::new(),
        sweep_url: format!("{}/functions/v1/heartbeat/sweep", upstream.url()),
    };
    let component = Component::from_file(&engine, heartbeat_schedule()).unwrap();
    (linker, component, Store::new(&engine, instance), upstream)
}

fn asked(upstream: &Upstream) -> usize {
    upstream.connections.load(std::sync::atomic::Ordering::SeqCst)
}

#[tokio::test]
async fn the_handler_is_called_by_a_plugin_on_spin_3() {
    let (linker, component, mut store, upstream) = prepared().await;
    let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
    let handler = until_0_4::SpinCron::new(&mut store, &instance).unwrap();

    let metadata = until_0_4::fermyon::spin_cron::cron_types::Metadata { timestamp: 1 };
    let outcome = handler.call_handle_cron_event(&mut store, metadata).await.unwrap();

    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(asked(&upstream), 1);
}

#[tokio::test]
async fn the_handler_is_called_by_a_plugin_on_spin_4() {
    let (linker, component, mut store, upstream) = prepared().await;
    let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
    let handler = since_0_5::SpinCron::new(&mut store, &instance).unwrap();

    let metadata = since_0_5::spin::cron::cron_types::Metadata { timestamp: 1 };
    let calling = async |accessor: &wasmtime::component::Accessor<Instance>| {
        handler.call_handle_cron_event(accessor, metadata).await
    };
    let outcome = store.run_concurrent(calling).await.unwrap().unwrap();

    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(asked(&upstream), 1);
}
