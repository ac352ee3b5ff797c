//! `POST /functions/v1/heartbeat/sweep`: the schedule has noticed what is to be noticed, and done what is due.

use agentopia_platform::extract::Json;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;
use crate::sweep::{self, Swept};

/// Sweeps. It may take as long as its work does, within a bound; what it does not come to, the next one does.
pub(crate) async fn sweep_toolboxes(
    State(app): State<App>,
    context: RequestContext,
    _schedule: caller::Service,
) -> Result<Json<Swept>, ApiError> {
    sweep::sweep(&app, &context).await.map(Json)
}
