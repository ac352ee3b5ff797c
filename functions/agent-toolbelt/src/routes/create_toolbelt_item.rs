//! `POST …/toolbelt/items`: puts a deployed tool into the toolbelt.

use agentopia_domain::ids::AgentId;
use agentopia_platform::db::toolbelt::{self, CreateToolbeltItem};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::tagged;
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use crate::app::App;

/// Which tool, and whether it may be used at once.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct CreateToolbeltItemRequest {
    account_tool_instance_id: Option<String>,
    /// True if absent.
    is_active_for_agent: Option<bool>,
}

pub(crate) async fn create_toolbelt_item(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(agent_id): Path<AgentId>,
    Json(request): Json<CreateToolbeltItemRequest>,
) -> Result<Response, ApiError> {
    let instance = request.account_tool_instance_id.as_deref();
    let input = CreateToolbeltItem {
        agent_id,
        instance_id: fields::required_id("account_tool_instance_id", instance)?,
        is_active_for_agent: request.is_active_for_agent.unwrap_or(true),
        rate: app.change,
    };

    let item = toolbelt::create_toolbelt_item(&app.db, &context, &user.caller, &input).await?;

    Ok(tagged(item.revision, (StatusCode::CREATED, Json(item))))
}
