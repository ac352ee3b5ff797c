//! `POST /functions/v1/discord-interaction-handler/sweep`: what requests have left behind is answered.

use agentopia_platform::extract::Json;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;
use crate::sweep::{self, Swept};

/// Sweeps. It may take as long as answers do; two at once do the work once.
pub(crate) async fn sweep_interactions(
    State(app): State<App>,
    context: RequestContext,
    _sweep: caller::Service,
) -> Result<Json<Swept>, ApiError> {
    sweep::sweep(&app, &context).await.map(Json)
}
