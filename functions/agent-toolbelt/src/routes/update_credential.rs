//! `PUT` and `PATCH …/credentials/{credentialId}`: changes what the request names of a credential.

use agentopia_domain::ids::{AgentId, CredentialId, ToolbeltItemId};
use agentopia_domain::secrets::SealContext;
use agentopia_platform::db::toolbelt::{self, CredentialChanges, CredentialStatus, OfItem, UpdateCredential};
use agentopia_platform::error::Kind;
use agentopia_platform::extract::{Json, Path};
use agentopia_platform::preconditions::{IfMatch, tagged};
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;

use crate::app::App;
use crate::credential_value::{CredentialValue, account_identifier, credential_type};

/// What is to change; what is absent stays.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object")]
pub(crate) struct UpdateCredentialRequest {
    credential_type: Option<String>,
    credential_value: Option<CredentialValue>,
    /// Null forgets it.
    #[serde(default, deserialize_with = "fields::nullable")]
    account_identifier: Option<Option<String>>,
    status: Option<CredentialStatus>,
}

impl UpdateCredentialRequest {
    fn changes_nothing(&self) -> bool {
        self.credential_type.is_none()
            && self.credential_value.is_none()
            && self.account_identifier.is_none()
            && self.status.is_none()
    }
}

pub(crate) async fn update_credential(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    Path((agent_id, item_id, credential_id)): Path<(AgentId, ToolbeltItemId, CredentialId)>,
    IfMatch(if_match): IfMatch,
    Json(request): Json<UpdateCredentialRequest>,
) -> Result<Response, ApiError> {
    if request.changes_nothing() {
        return Err(ApiError::new(
            Kind::Invalid,
            "missing_field",
            "One of credential_value, credential_type, account_identifier and status is required.",
        ));
    }
    let account_identifier = match &request.account_identifier {
        Some(Some(identifier)) => Some(Some(account_identifier(identifier)?)),
        Some(None) => Some(None),
        None => None,
    };
    // Under the same id as before: the row stays, and the old secret is gone.
    let context_of_seal = SealContext {
        user_id: user.id,
        agent_id,
        item_id,
        credential_id,
    };
    let secret = match request.credential_value {
        Some(value) => Some(value.seal(app.sealing.keyring()?, &context_of_seal)?),
        None => None,
    };
    let input = UpdateCredential {
        item: OfItem { agent_id, item_id },
        credential_id,
        if_match,
        set: CredentialChanges {
            credential_type: request.credential_type.as_deref().map(credential_type).transpose()?,
            status: request.status,
            account_identifier,
            secret,
        },
        rate: app.change,
    };

    let credential = toolbelt::update_credential(&app.db, &context, &user.caller, &input).await?;

    Ok(tagged(credential.revision, Json(credential)))
}
