//! `POST /functions/v1/toolboxes-user`: makes a toolbox. Its machine follows.

use agentopia_domain::ids::ToolboxId;
use agentopia_domain::toolbox::names::{Description, InvalidName, Slug, ToolboxName};
use agentopia_platform::db::toolboxes::{self, CreateToolbox};
use agentopia_platform::extract::Json;
use agentopia_platform::idempotency::{IdempotencyKey, replayed, request_hash};
use agentopia_platform::preconditions::tagged;
use agentopia_platform::{ApiError, RequestContext, caller, fields, random};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use http::header::LOCATION;
use serde::{Deserialize, Serialize};

use crate::app::App;

const DEFAULT_IMAGE: &str = "ubuntu-22-04-x64";

/// What is wanted, under the names that clients of all ages send.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", expecting = "an object")]
pub(crate) struct CreateToolboxRequest {
    name: Option<String>,
    description: Option<String>,
    /// Where the machine is to be.
    #[serde(alias = "region_slug")]
    region_slug: Option<String>,
    /// How large it is to be.
    #[serde(alias = "size_slug")]
    size_slug: Option<String>,
    /// What it is made from.
    #[serde(alias = "image_slug")]
    image_slug: Option<String>,
}

pub(crate) async fn create_toolbox(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
    IdempotencyKey(key): IdempotencyKey,
    Json(request): Json<CreateToolboxRequest>,
) -> Result<Response, ApiError> {
    let [name, region, size] = fields::required_texts([
        ("name", request.name.as_deref()),
        ("regionSlug", request.region_slug.as_deref()),
        ("sizeSlug", request.size_slug.as_deref()),
    ])?;
    let image = request
        .image_slug
        .as_deref()
        .map(str::trim)
        .filter(|slug| !slug.is_empty());
    let description = match request.description.as_deref() {
        Some(text) => description(text)?,
        None => None,
    };
    let size_slug = slug("sizeSlug", size)?;
    if !app.sizes.contains(size) {
        return Err(ApiError::invalid_field("sizeSlug", "is not offered"));
    }
    let input = CreateToolbox {
        id: ToolboxId(random::uuid()),
        name: &toolbox_name(name)?,
        description: description.as_ref(),
        region_slug: &slug("regionSlug", region)?,
        size_slug: &size_slug,
        image_slug: &image_slug(image.unwrap_or(DEFAULT_IMAGE))?,
        max_per_user: app.max_per_user,
        rate: app.create,
        idempotency_key: key.as_deref(),
        request_hash: &request_hash(&request),
    };

    let created = toolboxes::create_toolbox(&app.db, &context, &user.caller, &input).await?;

    let location = format!("/functions/v1/toolboxes-user/{}", created.toolbox.id());
    let response = (StatusCode::CREATED, [(LOCATION, location)], Json(&created.toolbox));
    let response = tagged(created.toolbox.revision(), response);
    Ok(if created.replayed { replayed(response) } else { response })
}

/// What a toolbox is called.
pub(super) fn toolbox_name(text: &str) -> Result<ToolboxName, ApiError> {
    ToolboxName::parse(text).map_err(|problem| ApiError::invalid_field("name", problem))
}

/// What is said of a toolbox; `None` if nothing is.
pub(super) fn description(text: &str) -> Result<Option<Description>, ApiError> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    Description::parse(text)
        .map(Some)
        .map_err(|problem| ApiError::invalid_field("description", problem))
}

fn slug(field: &str, text: &str) -> Result<Slug, ApiError> {
    Slug::parse(text).map_err(|problem| ApiError::invalid_field(field, problem))
}

/// An image that everybody may have. By its number the provider also gives out what is private to the account, such as snapshots of
/// other machines; only public images have a slug, and none is a number.
fn image_slug(text: &str) -> Result<Slug, ApiError> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let problem = InvalidName::Form("the slug of a public image");
        return Err(ApiError::invalid_field("imageSlug", problem));
    }
    slug("imageSlug", text)
}
