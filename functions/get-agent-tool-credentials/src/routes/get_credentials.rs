//! `POST /functions/v1/get-agent-tool-credentials`: the secrets of one agent's one tool, for the toolbox that runs it.

use std::collections::BTreeMap;
use std::str::FromStr;

use agentopia_domain::ids::{AgentId, ToolInstanceId};
use agentopia_domain::secrets::SealContext;
use agentopia_platform::db::credentials::{self, ReleaseCredentials, ReleasedCredentials, SealedCredential};
use agentopia_platform::error::Kind;
use agentopia_platform::extract::Json;
use agentopia_platform::log::Level;
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use axum::response::IntoResponse;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use serde::{Deserialize, Serialize};

use crate::app::App;

/// What is about to run.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(crate) struct GetCredentialsRequest {
    agent_id: Option<String>,
    account_tool_instance_id: Option<String>,
    /// What the agent is about to do with the tool, if the toolbox says.
    capability_name: Option<String>,
}

/// The tool's environment. It is not for debug output.
#[derive(Serialize)]
pub(crate) struct GetCredentialsResponse {
    /// Each variable that the tool asks for; null for one that is optional and not there.
    secrets: BTreeMap<String, Option<String>>,
}

pub(crate) async fn get_credentials(
    State(app): State<App>,
    context: RequestContext,
    toolbox: caller::Toolbox,
    Json(request): Json<GetCredentialsRequest>,
) -> Result<impl IntoResponse, ApiError> {
    let capability = request.capability_name.as_deref();
    let capability = capability.map(|name| fields::text("capabilityName", name, 1..=200));
    let input = ReleaseCredentials {
        token_hash: &toolbox.token_hash,
        agent_id: id::<AgentId>("agentId", request.agent_id.as_deref())?,
        instance_id: id::<ToolInstanceId>("accountToolInstanceId", request.account_tool_instance_id.as_deref())?,
        capability: capability.transpose()?,
        limit: app.limit,
    };

    let released = credentials::release_credentials(&app.db, &context, &input).await?;
    context.set_tenant(released.user_id);

    let secrets = open_all(&app, &context, &released)?;
    let no_store = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((no_store, Json(GetCredentialsResponse { secrets })))
}

/// An id, refused as machines in the field know it.
fn id<T: FromStr>(field: &str, value: Option<&str>) -> Result<T, ApiError> {
    fields::required_id(field, value).map_err(|error| {
        let code = if error.code() == "missing_field" {
            "missing_field"
        } else {
            "invalid_field"
        };
        let message = format!("Invalid JSON payload: {}", error.message());
        ApiError::new(Kind::Invalid, code, message).field(field)
    })
}

/// Opens each secret. One that the tool works without may stay closed.
fn open_all(
    app: &App,
    context: &RequestContext,
    released: &ReleasedCredentials,
) -> Result<BTreeMap<String, Option<String>>, ApiError> {
    let mut secrets = BTreeMap::new();
    for secret in &released.secrets {
        let opened = match &secret.credential {
            None => None,
            Some(credential) => match open(app, released, credential) {
                Ok(value) => Some(value),
                Err(NotOpened::Here(error)) => return Err(error),
                Err(NotOpened::Because(cause)) if secret.is_optional => {
                    context
                        .line(Level::Warn, "credential_not_opened")
                        .with("credential", credential.id.to_string())
                        .with("cause", cause)
                        .emit();
                    None
                }
                Err(NotOpened::Because(cause)) => return Err(unopenable(&secret.name, credential, &cause)),
            },
        };
        secrets.insert(secret.name.clone(), opened);
    }
    Ok(secrets)
}

/// Why a secret is not there in the open.
enum NotOpened {
    /// Nothing can be opened here.
    Here(ApiError),
    /// This one cannot.
    Because(String),
}

fn open(app: &App, released: &ReleasedCredentials, credential: &SealedCredential) -> Result<String, NotOpened> {
    let keyring = app.sealing.keyring().map_err(NotOpened::Here)?;
    let for_whom = SealContext {
        user_id: released.user_id,
        agent_id: released.agent_id,
        item_id: released.item_id,
        credential_id: credential.id,
    };
    let opened = keyring
        .open(&for_whom, &credential.sealed)
        .map_err(|error| NotOpened::Because(error.to_string()))?;
    String::from_utf8(opened.as_bytes().to_vec()).map_err(|_| NotOpened::Because("it is not text".to_owned()))
}

/// The operator's to mend: the owner stored it, and it is in no state to be used.
fn unopenable(name: &str, credential: &SealedCredential, cause: &str) -> ApiError {
    ApiError::new(
        Kind::Internal,
        "credential_unopenable",
        format!("{name} cannot be opened: the credential is there, but this service cannot read it."),
    )
    .field(name)
    .because(format!("credential {}: {cause}", credential.id))
}
