//! The Spin interfaces, generated from `wit/`.

mod generated {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "agentopia:host/imports",
        imports: { default: async | trappable },
        trappable_error_type: {
            "spin:postgres/postgres.error" => crate::postgres::Failure,
            "spin:variables/variables.error" => crate::variables::Failure,
        },
        with: {
            "spin:postgres/postgres.connection": crate::postgres::Lease,
            "spin:postgres/postgres.connection-builder": crate::postgres::Builder,
        },
    });
}

pub(crate) use generated::spin::postgres::postgres;
pub(crate) use generated::spin::variables::variables;
