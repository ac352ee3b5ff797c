//! The component's entry. It is the same in every function.

use agentopia_platform::Function;
use axum::response::Response;
use spin_sdk::http::Request;
use spin_sdk::http_service;

static FUNCTION: Function = Function::new(env!("CARGO_PKG_NAME"));

#[http_service]
async fn serve(request: Request) -> Response {
    FUNCTION.serve(request, crate::routes::router).await
}
