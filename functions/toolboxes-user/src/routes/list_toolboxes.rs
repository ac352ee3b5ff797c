//! `GET /functions/v1/toolboxes-user`: the caller's toolboxes, newest first, in pages.

use agentopia_platform::db::toolboxes::{self, ListToolboxes};
use agentopia_platform::page::{CreatedCursor, PageRequest};
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use axum::response::Response;

use crate::app::App;

pub(crate) async fn list_toolboxes(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    page: PageRequest<CreatedCursor>,
) -> Result<Response, ApiError> {
    let input = ListToolboxes {
        limit: page.limit,
        cursor: page.cursor,
    };

    let toolboxes = toolboxes::list_toolboxes(&app.db, &context, &user.caller, &input).await?;

    Ok(page.respond(toolboxes))
}
