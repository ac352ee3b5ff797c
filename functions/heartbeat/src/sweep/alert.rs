//! The job of an alert: one message to one webhook.
//!
//! Discord has no way to say "this once". That a message is about to be sent is written before it is; whoever takes over after a death in
//! between sends it again and says that it may be a repetition. Everything else is told exactly once.

use std::time::Duration;

use agentopia_clients::discord_webhook::{WebhookAddress, WebhookError};
use agentopia_domain::ids::UserId;
use agentopia_domain::secrets::AlertWebhookContext;
use agentopia_domain::toolbox::alert::alert_text;
use agentopia_platform::RequestContext;
use agentopia_platform::db::OperationError;
use agentopia_platform::db::alerts::{self, AlertOutcome, BegunAlert};
use agentopia_platform::db::jobs::{self, Job, Settlement};
use agentopia_platform::log::Level;
use uuid::Uuid;

use super::pause;
use crate::app::App;

/// When an alert is tried again whose address cannot be read: not before an operator has done something.
const UNREADABLE: Duration = Duration::from_secs(600);

/// How sending went.
struct Sent {
    outcome: AlertOutcome,
    reason: Option<String>,
    disable_destination: bool,
    settlement: Settlement,
}

impl Sent {
    fn done(outcome: AlertOutcome, reason: Option<String>) -> Self {
        Self {
            outcome,
            reason,
            disable_destination: false,
            settlement: Settlement::Done,
        }
    }

    fn again(outcome: AlertOutcome, after: Duration, cause: String) -> Self {
        Self {
            outcome,
            reason: Some(cause.clone()),
            disable_destination: false,
            settlement: Settlement::Failed { after, cause },
        }
    }
}

/// Sends an alert, if there is something to send.
pub(super) async fn work(app: &App, context: &RequestContext, job: &Job) -> Result<(), OperationError> {
    let alert_id: Option<Uuid> = job.key.parse().ok();
    let begun = match alert_id {
        Some(alert_id) => alerts::begin_alert(&app.db, context, alert_id, job).await?,
        None => None,
    };
    let (Some(alert_id), Some(alert)) = (alert_id, begun) else {
        // It was delivered, given up or deleted with its owner.
        jobs::settle_job(&app.db, context, job, &Settlement::Done).await?;
        return Ok(());
    };

    let sent = match address(app, &alert) {
        Ok(address) => send(app, context, job, &alert, &address).await,
        Err(sent) => sent,
    };
    if sent.outcome != AlertOutcome::Delivered {
        context
            .line(Level::Warn, "alert_not_delivered")
            .with("alert", alert_id.to_string())
            .with_some("cause", sent.reason.clone())
            .emit();
    }
    alerts::settle_alert(
        &app.db,
        context,
        alert_id,
        job,
        sent.outcome,
        sent.reason.as_deref(),
        sent.disable_destination,
        &sent.settlement,
    )
    .await?;
    Ok(())
}

/// Where it goes: the operator's webhook, or the owner's, opened.
fn address(app: &App, alert: &BegunAlert) -> Result<WebhookAddress, Sent> {
    let nowhere = || {
        Sent::done(
            AlertOutcome::GivenUp,
            Some("there is no webhook to tell it to".to_owned()),
        )
    };
    let Some(user_id) = alert.user_id else {
        return app.operator.clone().ok_or_else(nowhere);
    };
    let destination = alert.destination.as_ref().ok_or_else(nowhere)?;
    open(app, user_id, &destination.webhook_sealed).map_err(|cause| Sent::again(unsent(alert), UNREADABLE, cause))
}

/// What is known of an alert that was not sent this time: an earlier doubt stays one.
fn unsent(alert: &BegunAlert) -> AlertOutcome {
    if alert.in_doubt {
        AlertOutcome::InDoubt
    } else {
        AlertOutcome::NotSent
    }
}

fn open(app: &App, user_id: UserId, sealed: &str) -> Result<WebhookAddress, String> {
    let keyring = app.sealing.keyring().map_err(|error| error.message().to_owned())?;
    let opened = keyring
        .open(&AlertWebhookContext { user_id }, sealed)
        .map_err(|error| error.to_string())?;
    let url = std::str::from_utf8(opened.as_bytes()).map_err(|error| error.to_string())?;
    url.parse().map_err(|error| format!("it is no webhook: {error}"))
}

async fn send(app: &App, context: &RequestContext, job: &Job, alert: &BegunAlert, address: &WebhookAddress) -> Sent {
    let text = alert_text(alert.kind, &alert.entries, alert.total, alert.in_doubt);
    let error = match app.webhooks.execute(context, address, &text).await {
        // That it was taken is what counts, however the answer reads.
        Ok(_) | Err(WebhookError::Malformed(_)) => return Sent::done(AlertOutcome::Delivered, None),
        Err(error) => error,
    };
    let reason = error.to_string();
    match &error {
        WebhookError::Gone(_) => Sent {
            disable_destination: true,
            ..Sent::done(AlertOutcome::GivenUp, Some(reason))
        },
        WebhookError::Refused(_) => Sent::done(AlertOutcome::GivenUp, Some(reason)),
        _ => {
            let outcome = if error.is_ambiguous() {
                AlertOutcome::InDoubt
            } else {
                unsent(alert)
            };
            Sent::again(outcome, pause(job.attempts, error.failure()), reason)
        }
    }
}
