//! `POST` and `PUT …/toolbelt/items/{itemId}/permissions`: says whether the agent may use a capability.

use agentopia_domain::ids::{AgentId, ToolbeltItemId};
use agentopia_platform::db::toolbelt::{self, OfItem, PutPermission};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::{Precondition, tagged};
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use crate::app::App;

/// Which capability, and what is allowed. Clients say `is_permitted`, and read `is_allowed`; either may be sent.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct PutPermissionRequest {
    capability_name: Option<String>,
    is_permitted: Option<bool>,
    is_allowed: Option<bool>,
    requires_approval: Option<bool>,
}

/// As [`put_permission`], and answers 201 whether it was said before or not, as clients of all ages expect.
pub(crate) async fn create_permission(
    app: State<App>,
    context: RequestContext,
    user: caller::User,
    path: Path<(AgentId, ToolbeltItemId)>,
    precondition: Precondition,
    request: Json<PutPermissionRequest>,
) -> Result<(StatusCode, Response), ApiError> {
    let response = put_permission(app, context, user, path, precondition, request).await?;
    Ok((StatusCode::CREATED, response))
}

pub(crate) async fn put_permission(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, item_id)): Path<(AgentId, ToolbeltItemId)>,
    precondition: Precondition,
    Json(request): Json<PutPermissionRequest>,
) -> Result<Response, ApiError> {
    let name = fields::required("capability_name", request.capability_name.as_deref())?;
    let is_allowed = allowed(request.is_allowed, request.is_permitted)?;
    let input = PutPermission {
        item: OfItem { agent_id, item_id },
        if_match: precondition.revision(),
        must_exist: precondition.must_exist(),
        capability_name: fields::text("capability_name", name, 1..=200)?,
        is_allowed: fields::required("is_permitted", is_allowed)?,
        requires_approval: request.requires_approval,
        rate: app.change,
    };

    let permission = toolbelt::put_permission(&app.db, &context, &user.caller, &input).await?;

    Ok(tagged(permission.revision, Json(permission)))
}

/// The one value of the two names.
pub(super) fn allowed(is_allowed: Option<bool>, is_permitted: Option<bool>) -> Result<Option<bool>, ApiError> {
    match (is_allowed, is_permitted) {
        (Some(allowed), Some(permitted)) if allowed != permitted => {
            Err(ApiError::invalid_field("is_permitted", "contradicts is_allowed"))
        }
        (allowed, permitted) => Ok(allowed.or(permitted)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_say_the_same_or_are_refused() {
        let cases = [
            (None, None, None),
            (Some(true), None, Some(true)),
            (None, Some(false), Some(false)),
            (Some(true), Some(true), Some(true)),
        ];

        for (is_allowed, is_permitted, expected) in cases {
            assert_eq!(allowed(is_allowed, is_permitted).unwrap(), expected);
        }
        assert_eq!(allowed(Some(true), Some(false)).unwrap_err().code(), "invalid_field");
    }
}
