#![allow(missing_docs, clippy::all)]
#[path = "../../../tests/it/host_pool.rs"]
mod host_pool;
async fn database_url() -> String {
    std::env::var("DATABASE_URL").unwrap()
}
