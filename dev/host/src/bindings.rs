//! The Spin interfaces, generated from `wit/` here and, for schedules, from the `wit/` of the root.

mod generated {
    wasmtime::component::bindgen!({
        path: ["../../wit/deps/config@0.2.0-draft-2024-09-27", "wit"],
        world: "agentopia:host/imports",
        imports: { default: async | trappable },
        trappable_error_type: {
            "spin:postgres/postgres.error" => crate::postgres::Failure,
            "spin:variables/variables.error" => crate::variables::Failure,
            "wasi:config/store.error" => crate::variables::StoreFailure,
        },
        with: {
            "spin:postgres/postgres.connection": crate::postgres::Lease,
            "spin:postgres/postgres.connection-builder": crate::postgres::Builder,
        },
    });
}

/// The handler of a component that a schedule starts.
pub(crate) mod cron {
    wasmtime::component::bindgen!({
        path: "../../wit/deps/spin-cron@2.0.0",
        world: "fermyon:spin-cron/spin-cron",
        exports: { default: async },
    });
}

pub(crate) use generated::spin::postgres::postgres;
pub(crate) use generated::spin::variables::variables;
pub(crate) use generated::wasi::config::store;
