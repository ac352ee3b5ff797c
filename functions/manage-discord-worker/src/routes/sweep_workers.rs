//! `POST /functions/v1/manage-discord-worker/sweep`: the schedule has workers looked after.

use agentopia_platform::extract::Json;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;
use crate::sweep::{self, Swept};

/// Sweeps. It may take as long as its work does, within a bound; what it does not come to, the next one does.
pub(crate) async fn sweep_workers(
    State(app): State<App>,
    context: RequestContext,
    _schedule: caller::Service,
) -> Result<Json<Swept>, ApiError> {
    sweep::sweep(&app, &context).await.map(Json)
}
