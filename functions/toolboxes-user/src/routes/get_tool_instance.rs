//! `GET …/tools/{instanceId}`: one tool of a toolbox.

use agentopia_domain::ids::{ToolInstanceId, ToolboxId};
use agentopia_platform::db::tool_instances::{self, OfToolInstance};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::tagged;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use axum::response::Response;

use crate::app::App;

pub(crate) async fn get_tool_instance(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((toolbox_id, instance_id)): Path<(ToolboxId, ToolInstanceId)>,
) -> Result<Response, ApiError> {
    let input = OfToolInstance {
        toolbox_id,
        instance_id,
    };

    let instance = tool_instances::get_tool_instance(&app.db, &context, &user.caller, &input).await?;

    Ok(tagged(instance.revision(), Json(instance)))
}
