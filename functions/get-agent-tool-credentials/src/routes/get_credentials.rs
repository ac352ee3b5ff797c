//! `POST /functions/v1/get-agent-tool-credentials`: the secrets of one agent's one tool, for the toolbox that runs it.

use std::collections::BTreeMap;

use agentopia_domain::ids::{AgentId, CredentialId, ToolInstanceId};
use agentopia_domain::secrets::SealContext;
use agentopia_platform::db::credentials::{
    self, CredentialsNotOpened, ReleaseCredentials, ReleasedCredentials, SealedCredential,
};
use agentopia_platform::error::Kind;
use agentopia_platform::extract::Json;
use agentopia_platform::log::Level;
use agentopia_platform::serve::log_best_effort;
use agentopia_platform::{ApiError, RequestContext, caller, fields};
use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
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
    request: Result<Json<GetCredentialsRequest>, ApiError>,
) -> Result<impl IntoResponse, ApiError> {
    let Json(request) = request.map_err(as_machines_know_it)?;
    let asked = request.parse().map_err(as_machines_know_it)?;
    let input = ReleaseCredentials {
        token_hash: &toolbox.token_hash,
        agent_id: asked.agent_id,
        instance_id: asked.instance_id,
        capability: asked.capability,
        limit: app.limit,
    };

    let released = credentials::release_credentials(&app.db, &context, &input).await?;
    context.set_tenant(released.user_id);

    let mut closed = Vec::new();
    let opened = open_all(&app, &context, &released, &mut closed);
    if opened.is_err() {
        // Of what was released nothing leaves.
        let all = released.secrets.iter().filter_map(|secret| secret.credential.as_ref());
        closed = all.map(|credential| credential.id).collect();
    }
    if !closed.is_empty() {
        let entry = CredentialsNotOpened {
            toolbox_id: released.toolbox_id,
            user_id: released.user_id,
            agent_id: released.agent_id,
            item_id: released.item_id,
            capability: asked.capability,
            credentials: &closed,
        };
        let written = credentials::log_credentials_not_opened(&app.db, &context, &entry).await;
        log_best_effort(&context, "credentials_not_opened_not_audited", written);
    }

    let secrets = opened?;
    let no_store = [(CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((no_store, Json(GetCredentialsResponse { secrets })))
}

/// What is asked for, checked.
struct Asked<'a> {
    agent_id: AgentId,
    instance_id: ToolInstanceId,
    capability: Option<&'a str>,
}

impl GetCredentialsRequest {
    fn parse(&self) -> Result<Asked<'_>, ApiError> {
        let capability = self.capability_name.as_deref();
        let capability = capability.map(|name| fields::text("capabilityName", name, 1..=200));
        Ok(Asked {
            agent_id: fields::required_id("agentId", self.agent_id.as_deref())?,
            instance_id: fields::required_id("accountToolInstanceId", self.account_tool_instance_id.as_deref())?,
            capability: capability.transpose()?,
        })
    }
}

/// A refusal of the body, whose message begins as machines in the field know it.
fn as_machines_know_it(error: ApiError) -> ApiError {
    const BEGINNING: &str = "Invalid JSON payload: ";
    if error.status() != StatusCode::BAD_REQUEST || error.message().starts_with(BEGINNING) {
        return error;
    }
    let message = format!("{BEGINNING}{}", error.message());
    error.saying(message)
}

/// Opens each secret. One that the tool works without may stay closed, and is added to those.
fn open_all(
    app: &App,
    context: &RequestContext,
    released: &ReleasedCredentials,
    closed: &mut Vec<CredentialId>,
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
                    closed.push(credential.id);
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
