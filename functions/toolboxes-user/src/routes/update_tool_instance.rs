//! `PATCH …/tools/{instanceId}`: sets a tool up otherwise. Its container is replaced by one that is.

use agentopia_domain::ids::{ToolInstanceId, ToolboxId};
use agentopia_domain::toolbox::tool::ToolCommand;
use agentopia_platform::db::tool_instances::{self, CommandToolInstance, OfToolInstance, PrepareToolInstance};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::{IfMatch, tagged};
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use crate::app::App;
use crate::configuration::Configuration;

/// How it is set up from now on.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(crate) struct UpdateToolInstanceRequest {
    /// The whole of it; null forgets it.
    #[serde(default, alias = "base_config_override_json", deserialize_with = "fields::nullable")]
    base_config_override_json: Option<Option<Value>>,
}

pub(crate) async fn update_tool_instance(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((toolbox_id, instance_id)): Path<(ToolboxId, ToolInstanceId)>,
    IfMatch(if_match): IfMatch,
    Json(request): Json<UpdateToolInstanceRequest>,
) -> Result<Response, ApiError> {
    let configuration = fields::required("baseConfigOverrideJson", request.base_config_override_json)?;
    let configuration = Configuration::parse(configuration)?;
    let instance = OfToolInstance {
        toolbox_id,
        instance_id,
    };

    let existing = PrepareToolInstance::Existing(instance);
    let prepared = tool_instances::prepare_tool_instance(&app.db, &context, &user.caller, &existing).await?;
    configuration.check(prepared.config_schema.as_ref())?;
    let input = CommandToolInstance {
        instance,
        if_match,
        command: ToolCommand::Configure,
        config: Some(configuration.value()),
        rate: app.change,
    };
    let instance = tool_instances::command_tool_instance(&app.db, &context, &user.caller, &input).await?;

    Ok(tagged(instance.revision(), Json(instance)))
}
