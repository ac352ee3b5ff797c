//! `PUT` and `PATCH /functions/v1/toolboxes-user/{toolboxId}`: changes what a toolbox is called.

use agentopia_domain::ids::ToolboxId;
use agentopia_platform::db::toolboxes::{self, ToolboxChanges, UpdateToolbox};
use agentopia_platform::error::Kind;
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::{IfMatch, tagged};
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use super::create_toolbox::{description, toolbox_name};
use crate::app::App;

/// What is to change; what is absent stays.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct UpdateToolboxRequest {
    name: Option<String>,
    /// Null or nothing but blanks forgets it.
    #[serde(default, deserialize_with = "fields::nullable")]
    description: Option<Option<String>>,
}

pub(crate) async fn update_toolbox(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path(toolbox_id): Path<ToolboxId>,
    IfMatch(if_match): IfMatch,
    Json(request): Json<UpdateToolboxRequest>,
) -> Result<Response, ApiError> {
    if request.name.is_none() && request.description.is_none() {
        let message = "One of name and description is required.";
        return Err(ApiError::new(Kind::Invalid, "missing_field", message));
    }
    let name = request.name.as_deref().map(toolbox_name).transpose()?;
    let description = match request.description.as_ref() {
        Some(Some(text)) => Some(description(text)?),
        Some(None) => Some(None),
        None => None,
    };
    let input = UpdateToolbox {
        toolbox_id,
        if_match,
        set: ToolboxChanges {
            name: name.as_ref(),
            description: description.as_ref().map(Option::as_ref),
        },
        rate: app.change,
    };

    let toolbox = toolboxes::update_toolbox(&app.db, &context, &user.caller, &input).await?;

    Ok(tagged(toolbox.revision(), Json(toolbox)))
}
