//! `POST /functions/v1/heartbeat/register`: a machine that has just booted becomes its toolbox.

use agentopia_platform::bearer::{TokenHash, ToolboxToken};
use agentopia_platform::caller;
use agentopia_platform::db::heartbeats::{self, RegisterMachine};
use agentopia_platform::extract::{Json, JsonWithin};
use agentopia_platform::{ApiError, RequestContext};
use axum::extract::State;
use axum::response::IntoResponse;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use serde::{Deserialize, Serialize};

use crate::app::App;

const REQUEST_MAX_BYTES: usize = 4 * 1024;

/// The first contact.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct RegisterMachineRequest {
    /// A secret of the machine's own, 32 to 128 printable characters: with it, and with it alone, the exchange may be repeated if its answer was
    /// lost.
    claim: Option<String>,
}

/// Who the machine is from now on. It is not for debug output.
#[derive(Serialize)]
pub(crate) struct RegisterMachineResponse {
    /// The toolbox's own token.
    token: String,
    toolbox_id: String,
    heartbeat_interval_seconds: u32,
}

/// Exchanges a bootstrap token for the toolbox's own, once.
pub(crate) async fn register_machine(
    State(app): State<App>,
    context: RequestContext,
    machine: caller::Bootstrap,
    JsonWithin(request): JsonWithin<RegisterMachineRequest, REQUEST_MAX_BYTES>,
) -> Result<impl IntoResponse, ApiError> {
    let claim_hash = request.claim.as_deref().map(claim_hash).transpose()?;
    let token = ToolboxToken::generate();
    let input = RegisterMachine {
        bootstrap_hash: machine.token_hash,
        claim_hash,
        token_hash: token.hash_hex(),
    };

    let registered = heartbeats::register_machine(&app.db, &context, &input).await?;

    let no_store = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    let response = RegisterMachineResponse {
        token: token.expose().to_owned(),
        toolbox_id: registered.toolbox_id.to_string(),
        heartbeat_interval_seconds: registered.heartbeat_interval_seconds,
    };
    Ok((no_store, Json(response)))
}

fn claim_hash(claim: &str) -> Result<TokenHash, ApiError> {
    if !(32..=128).contains(&claim.len()) || !claim.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApiError::invalid_field(
            "claim",
            "must be 32 to 128 printable characters",
        ));
    }
    Ok(TokenHash::of(claim))
}
