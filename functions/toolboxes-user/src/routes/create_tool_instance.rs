//! `POST …/{toolboxId}/tools`: puts a tool on a toolbox.

use agentopia_domain::ids::{CatalogToolId, ToolboxId};
use agentopia_domain::toolbox::names::InstanceName;
use agentopia_platform::db::tool_instances::{self, CreateToolInstance, PrepareToolInstance};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::tagged;
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use http::header::LOCATION;
use serde::Deserialize;
use serde_json::Value;

use crate::app::App;
use crate::configuration::Configuration;

/// Which tool, what it is called there, and how it is set up.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(crate) struct CreateToolInstanceRequest {
    #[serde(alias = "tool_catalog_id")]
    tool_catalog_id: Option<String>,
    #[serde(alias = "instance_name_on_toolbox")]
    instance_name_on_toolbox: Option<String>,
    #[serde(alias = "base_config_override_json")]
    base_config_override_json: Option<Value>,
}

pub(crate) async fn create_tool_instance(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(toolbox_id): Path<ToolboxId>,
    Json(request): Json<CreateToolInstanceRequest>,
) -> Result<Response, ApiError> {
    let [catalog_id, name] = fields::required_texts([
        ("toolCatalogId", request.tool_catalog_id.as_deref()),
        ("instanceNameOnToolbox", request.instance_name_on_toolbox.as_deref()),
    ])?;
    let catalog_id: CatalogToolId = fields::required_id("toolCatalogId", Some(catalog_id))?;
    let name =
        InstanceName::parse(name).map_err(|problem| ApiError::invalid_field("instanceNameOnToolbox", problem))?;
    let configuration = Configuration::parse(request.base_config_override_json)?;

    let new = PrepareToolInstance::New { toolbox_id, catalog_id };
    let prepared = tool_instances::prepare_tool_instance(&app.db, &context, &user.caller, &new).await?;
    configuration.check(prepared.config_schema.as_ref())?;
    let input = CreateToolInstance {
        toolbox_id,
        catalog_id,
        name: &name,
        config: configuration.value(),
        max_per_toolbox: app.tools_max_per_toolbox,
        rate: app.change,
    };
    let instance = tool_instances::create_tool_instance(&app.db, &context, &user.caller, &input).await?;

    let location = format!("/functions/v1/toolbox-tools/{toolbox_id}/tools/{}", instance.id());
    let response = (StatusCode::CREATED, [(LOCATION, location)], Json(&instance));
    Ok(tagged(instance.revision(), response))
}
