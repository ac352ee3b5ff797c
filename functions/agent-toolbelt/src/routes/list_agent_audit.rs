//! `GET …/toolbelt/audit`: what was changed for the agent, by whom, in pages.

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::toolbelt::{self, AuditCursor, ListAgentAudit};
use agentopia_platform::extract::Path;
use agentopia_platform::page::PageRequest;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use axum::response::Response;

use crate::app::App;

pub(crate) async fn list_agent_audit(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
    page: PageRequest<AuditCursor>,
) -> Result<Response, ApiError> {
    let input = ListAgentAudit {
        agent_id,
        limit: page.limit,
        cursor: page.cursor,
    };

    let entries = toolbelt::list_agent_audit(&app.db, &context, &user.caller, &input).await?;

    Ok(page.respond(entries))
}
