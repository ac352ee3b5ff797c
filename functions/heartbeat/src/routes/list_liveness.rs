//! `GET /functions/v1/heartbeat/status`: how toolboxes are doing, in pages.

use std::time::Duration;

use agentopia_domain::toolbox::liveness::{self, Liveness};
use agentopia_domain::toolbox::status::ToolboxStatus;
use agentopia_platform::db::heartbeats::{self, ContactRow};
use agentopia_platform::extract::Query;
use agentopia_platform::page::{CreatedCursor, Page, PageRequest};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::app::App;

/// Whose toolboxes.
#[derive(Debug, Deserialize)]
pub(crate) struct ListLivenessQuery {
    #[serde(default)]
    scope: Scope,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Scope {
    /// The caller's.
    #[default]
    Own,
    /// Everybody's, for administrators.
    All,
}

/// How a toolbox is doing.
#[derive(Debug, Serialize)]
pub(crate) struct LivenessRow {
    id: String,
    user_id: String,
    name: Option<String>,
    status: ToolboxStatus,
    liveness: Liveness,
    last_heartbeat_at: Option<DateTime<Utc>>,
    heartbeat_period_seconds: u32,
    heartbeat_grace_seconds: u32,
    /// When its silence will be noticed, while it speaks.
    alert_after: Option<DateTime<Utc>>,
    /// Since when it is silent, once that was noticed.
    silent_since: Option<DateTime<Utc>>,
}

/// A page of toolboxes, newest first.
pub(crate) async fn list_liveness(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Query(query): Query<ListLivenessQuery>,
    page: PageRequest<CreatedCursor>,
) -> Result<Response, ApiError> {
    let all = query.scope == Scope::All;
    let found =
        heartbeats::read_liveness(&app.db, &context, &user.caller, page.limit, page.cursor.as_ref(), all).await?;

    let rows: Vec<LivenessRow> = found.rows.into_iter().map(|row| judged(row, found.now)).collect();
    Ok(page.respond(Page { rows, next: found.next }))
}

fn judged(row: ContactRow, now: DateTime<Utc>) -> LivenessRow {
    let liveness = liveness::liveness(
        row.status,
        row.last_heartbeat_at,
        Duration::from_secs(row.heartbeat_period_seconds.into()),
        Duration::from_secs(row.heartbeat_grace_seconds.into()),
        now,
    );
    LivenessRow {
        id: row.id.to_string(),
        user_id: row.user_id.to_string(),
        name: row.name,
        status: row.status,
        liveness,
        last_heartbeat_at: row.last_heartbeat_at,
        heartbeat_period_seconds: row.heartbeat_period_seconds,
        heartbeat_grace_seconds: row.heartbeat_grace_seconds,
        alert_after: row.alert_after,
        silent_since: row.silent_since,
    }
}
