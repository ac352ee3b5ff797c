//! `POST …/toolbelt/items/{itemId}/credentials`: stores a secret for a tool.

use agentopia_domain::ids::{AgentId, CredentialId, ToolbeltItemId};
use agentopia_domain::secrets::SealContext;
use agentopia_platform::db::toolbelt::{self, CredentialStatus, OfItem, StoreCredential};
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::tagged;
use agentopia_platform::{ApiError, RequestContext, caller, fields, random};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;

use crate::app::App;
use crate::credential_value::{CredentialValue, account_identifier, credential_type};

/// What the tool asks for it by, the secret, whose account it opens, and whether it is used.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct StoreCredentialRequest {
    credential_type: Option<String>,
    credential_value: Option<CredentialValue>,
    account_identifier: Option<String>,
    /// Active if absent.
    status: Option<CredentialStatus>,
}

pub(crate) async fn store_credential(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, item_id)): Path<(AgentId, ToolbeltItemId)>,
    Json(request): Json<StoreCredentialRequest>,
) -> Result<(StatusCode, Response), ApiError> {
    let credential_type = credential_type(fields::required("credential_type", request.credential_type.as_deref())?)?;
    let value = fields::required("credential_value", request.credential_value)?;
    let account_identifier = request.account_identifier.as_deref().map(account_identifier);
    let account_identifier = account_identifier.transpose()?;
    let credential_id = CredentialId(random::uuid());
    let context_of_seal = SealContext {
        user_id: user.id,
        agent_id,
        item_id,
        credential_id,
    };
    let input = StoreCredential {
        item: OfItem { agent_id, item_id },
        credential_id,
        credential_type,
        secret: value.seal(app.sealing.keyring()?, &context_of_seal)?,
        account_identifier,
        status: request.status.unwrap_or(CredentialStatus::Active),
        rate: app.change,
    };

    let credential = toolbelt::store_credential(&app.db, &context, &user.caller, &input).await?;

    Ok((StatusCode::CREATED, tagged(credential.revision, Json(credential))))
}
