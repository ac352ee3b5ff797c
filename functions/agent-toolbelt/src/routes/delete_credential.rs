//! `DELETE …/credentials/{credentialId}`: deletes a credential, and its secret with it.

use agentopia_domain::ids::{AgentId, CredentialId, ToolbeltItemId};
use agentopia_platform::db::toolbelt::{self, Credential, DeleteCredential, OfItem};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::IfMatch;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;

use crate::app::App;

pub(crate) async fn delete_credential(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, item_id, credential_id)): Path<(AgentId, ToolbeltItemId, CredentialId)>,
    IfMatch(if_match): IfMatch,
) -> Result<Json<Credential>, ApiError> {
    let input = DeleteCredential {
        item: OfItem { agent_id, item_id },
        credential_id,
        if_match,
    };

    let row = toolbelt::delete_credential(&app.db, &context, &user.caller, &input).await?;

    Ok(Json(row))
}
