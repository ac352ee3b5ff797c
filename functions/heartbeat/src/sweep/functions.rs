//! The sweeps of other functions: each does the jobs that only it can do.

use std::time::Duration;

use agentopia_platform::RequestContext;
use agentopia_platform::functions::FunctionCall;
use agentopia_platform::log::Level;
use bytes::Bytes;

use crate::app::App;

/// The functions that have a sweep of their own.
const FUNCTIONS: [&str; 2] = ["discord-interaction-handler", "manage-discord-worker"];
/// How long a function's sweep is waited for.
const LIMIT: Duration = Duration::from_secs(100);

/// Has all of them sweep, side by side. What fails is in the log, and the next sweep asks again.
pub(super) async fn sweep(app: &App, context: &RequestContext) {
    let asked = FUNCTIONS.map(|function| ask(app, context, function));
    futures::future::join_all(asked).await;
}

async fn ask(app: &App, context: &RequestContext, function: &'static str) {
    let call = FunctionCall {
        function,
        path: "/sweep",
        idempotency_key: None,
        body: Bytes::new(),
        limit: LIMIT,
    };
    let cause = match app.functions.post(context, &call).await {
        Ok(answer) if answer.status.is_success() => return,
        Ok(answer) => format!("it answers with {}", answer.status),
        Err(error) => error.to_string(),
    };
    context
        .line(Level::Warn, "function_not_swept")
        .with("service", function)
        .with("cause", cause)
        .emit();
}
