//! The sweeps of other functions: each does the jobs that only it can do.

use std::time::Duration;

use agentopia_platform::RequestContext;
use agentopia_platform::log::Level;
use agentopia_platform::outbound::{self, Limits, within};
use bytes::Bytes;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderValue};
use secrecy::ExposeSecret;

use crate::app::App;

/// The functions that have a sweep of their own.
const FUNCTIONS: [&str; 2] = ["discord-interaction-handler", "manage-discord-worker"];
/// How long a function's sweep is waited for.
const LIMIT: Duration = Duration::from_secs(100);

/// Why a function is not known to have swept.
#[derive(Debug, thiserror::Error)]
enum Unswept {
    #[error("no service token is configured that a header takes")]
    NoToken,
    #[error("the address is not a URL")]
    NoAddress,
    #[error("it does not answer: {0}")]
    Unanswered(outbound::OutboundError),
    #[error("it answers with {0}")]
    Refused(StatusCode),
    #[error("it was too slow")]
    TimedOut,
}

/// Has all of them sweep, side by side. What fails is in the log, and the next sweep asks again.
pub(super) async fn sweep(app: &App, context: &RequestContext) {
    let asked = FUNCTIONS.map(|function| ask(app, context, function));
    futures::future::join_all(asked).await;
}

async fn ask(app: &App, context: &RequestContext, function: &'static str) {
    // Inside the application the limits of a call mean nothing.
    let asked = within(LIMIT, post(app, context, function)).await;
    if let Err(error) = asked.unwrap_or(Err(Unswept::TimedOut)) {
        context
            .line(Level::Warn, "function_not_swept")
            .with("service", function)
            .with("cause", error.to_string())
            .emit();
    }
}

async fn post(app: &App, context: &RequestContext, function: &'static str) -> Result<(), Unswept> {
    let token = app.service_secret.as_ref().ok_or(Unswept::NoToken)?;
    let mut token = HeaderValue::try_from(format!("Bearer {}", token.expose_secret())).map_err(|_| Unswept::NoToken)?;
    token.set_sensitive(true);
    let url = format!("http://{function}.spin.internal/functions/v1/{function}/sweep");
    let request = http::Request::post(url)
        .header(AUTHORIZATION, token)
        .body(Bytes::new())
        .map_err(|_| Unswept::NoAddress)?;

    let limits = Limits {
        connect: LIMIT,
        first_byte: LIMIT,
        between_bytes: LIMIT,
    };
    let response = outbound::send(context, function, request, limits)
        .await
        .map_err(Unswept::Unanswered)?;
    if response.status.is_success() {
        Ok(())
    } else {
        Err(Unswept::Refused(response.status))
    }
}
