//! Supabase Auth's published keys: `GET /auth/v1/.well-known/jwks.json`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use jsonwebtoken::jwk::JwkSet;
use serde_json::json;

use super::server::Server;
use crate::StackError;
use crate::token::{Signer, jwks};

/// The path of the document.
const PATH: &str = "/auth/v1/.well-known/jwks.json";

/// A stand-in for Supabase Auth, as far as who verifies a token needs it.
#[derive(Debug)]
pub struct JwksWorld {
    server: Server,
    state: Arc<Shared>,
}

/// What the handlers see.
#[derive(Debug, Default)]
struct Shared {
    behaviour: Mutex<Behaviour>,
    fetches: AtomicU64,
    complaints: Mutex<Vec<String>>,
}

/// How the world answers now.
#[derive(Debug, Clone, Default)]
struct Behaviour {
    keys: JwkSet,
    delay: Duration,
    is_down: bool,
}

impl JwksWorld {
    /// Starts with the public keys of `signers`.
    pub async fn start(signers: &[&Signer]) -> Result<Self, StackError> {
        let state = Arc::new(Shared::default());
        let router = Router::new()
            .route(PATH, get(document))
            .fallback(unknown)
            .with_state(Arc::clone(&state));
        let world = Self {
            server: Server::start("jwks", router).await?,
            state,
        };
        world.set_keys(signers)?;
        Ok(world)
    }

    /// The origin, which stands for `https://<project>.supabase.co`.
    pub fn origin(&self) -> String {
        self.server.origin()
    }

    /// The address of the document.
    pub fn url(&self) -> String {
        format!("{}{PATH}", self.origin())
    }

    /// The issuer of the tokens whose keys these are.
    pub fn issuer(&self) -> String {
        format!("{}/auth/v1", self.origin())
    }

    /// Publishes other keys: a rotation.
    pub fn set_keys(&self, signers: &[&Signer]) -> Result<(), StackError> {
        self.behaviour().keys = jwks(signers)?;
        Ok(())
    }

    /// Makes every answer take this long.
    pub fn set_delay(&self, delay: Duration) {
        self.behaviour().delay = delay;
    }

    /// Makes every answer a 503, or ends that.
    pub fn set_down(&self, is_down: bool) {
        self.behaviour().is_down = is_down;
    }

    /// How often the document was asked for, answers with 503 included.
    pub fn fetches(&self) -> u64 {
        self.state.fetches.load(Ordering::SeqCst)
    }

    /// Requests that were for nothing the world has.
    pub fn complaints(&self) -> Vec<String> {
        self.state
            .complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends the world; connections to it are refused from then on.
    pub async fn stop(self) {
        drop(self);
    }

    /// The behaviour, to look at or to change.
    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.state.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The document, cached as Supabase has it cached.
async fn document(State(state): State<Arc<Shared>>) -> Response {
    state.fetches.fetch_add(1, Ordering::SeqCst);
    let behaviour = state.behaviour.lock().unwrap_or_else(PoisonError::into_inner).clone();
    tokio::time::sleep(behaviour.delay).await;
    if behaviour.is_down {
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            axum::Json(json!({ "message": "the stand-in is down" })),
        )
            .into_response();
    }
    (
        [(header::CACHE_CONTROL, "public, max-age=600")],
        axum::Json(behaviour.keys),
    )
        .into_response()
}

/// Anything else.
async fn unknown(State(state): State<Arc<Shared>>, uri: Uri) -> Response {
    let complaint = format!("{} is nothing that the stand-in for Supabase Auth has", uri.path());
    state
        .complaints
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(complaint.clone());
    (StatusCode::NOT_FOUND, axum::Json(json!({ "message": complaint }))).into_response()
}
