//! `PUT /functions/v1/heartbeat/alerts`: the caller is told there.

use agentopia_clients::discord_webhook::WebhookAddress;
use agentopia_domain::secrets::AlertWebhookContext;
use agentopia_platform::db::alerts::{self, AlertDestination, PutAlertDestination};
use agentopia_platform::extract::JsonWithin;
use agentopia_platform::{ApiError, RequestContext, caller, extract, fields, random};
use axum::extract::State;
use serde::Deserialize;

use crate::app::App;

const REQUEST_MAX_BYTES: usize = 4 * 1024;
/// How often a user may change it.
const PER_MINUTE: u32 = 10;
const BURST: u32 = 5;

/// A webhook of Discord's.
#[derive(Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct PutAlertDestinationRequest {
    /// Its address, as Discord shows it: a secret.
    #[serde(alias = "webhook_url", rename = "webhookUrl")]
    webhook_url: Option<String>,
}

/// Seals the address for its owner, and keeps it.
pub(crate) async fn put_alert_destination(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    JsonWithin(request): JsonWithin<PutAlertDestinationRequest, REQUEST_MAX_BYTES>,
) -> Result<extract::Json<AlertDestination>, ApiError> {
    let url = fields::required("webhookUrl", request.webhook_url)?;
    let address: WebhookAddress = url
        .trim()
        .parse()
        .map_err(|error| ApiError::invalid_field("webhookUrl", format_args!("is not accepted: {error}")))?;
    let keyring = app.sealing.keyring()?;
    let for_whom = AlertWebhookContext { user_id: user.id };
    let sealed = keyring
        .seal(&for_whom, url.trim().as_bytes(), random::bytes())
        .map_err(|error| ApiError::internal(error.to_string()))?;

    let input = PutAlertDestination {
        sealed: &sealed,
        key_id: keyring.newest_id(),
        webhook_id: address.id().to_string(),
        per_minute: PER_MINUTE,
        burst: BURST,
    };
    let destination = alerts::put_alert_destination(&app.db, &context, &user.caller, &input).await?;

    Ok(extract::Json(destination))
}
