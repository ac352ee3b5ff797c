//! The router of a function that is not written yet: it is healthy, and honest about the rest.

use axum::Router;
use axum::routing::{any, get};

use crate::error::{ApiError, Kind};
use crate::health::get_health;

/// A router that answers `GET <base>/health` and refuses everything else below each base path with 501.
pub fn router(base_paths: &[&str]) -> Router {
    base_paths.iter().fold(Router::new(), |router, base| {
        router
            .route(&format!("{base}/health"), get(get_health))
            .route(base, any(refuse))
            .route(&format!("{base}/{{*rest}}"), any(refuse))
    })
}

async fn refuse() -> ApiError {
    ApiError::new(
        Kind::NotImplemented,
        "not_implemented",
        "This function is not implemented yet.",
    )
}
