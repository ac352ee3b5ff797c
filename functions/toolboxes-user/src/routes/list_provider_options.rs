//! `GET …/options/{regions,sizes}`: what the provider of machines offers.
//!
//! It is fetched by whoever asks when it is an hour old, and kept in the database; when fetching fails, what was offered before is still the best
//! that is known.

use agentopia_platform::db::toolboxes::{self, Options};
use agentopia_platform::error::Kind;
use agentopia_platform::extract::Json;
use agentopia_platform::log::Level;
use agentopia_platform::serve::log_best_effort;
use agentopia_platform::{ApiError, RequestContext, caller};
use axum::extract::State;
use serde_json::value::{RawValue, to_raw_value};

use crate::app::App;

/// When it is worth asking again for what could not be had.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(30);

/// The regions in which machines can be.
pub(crate) async fn list_regions(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
) -> Result<Json<Box<RawValue>>, ApiError> {
    list(&app, &context, &user, Options::Regions).await.map(Json)
}

/// The sizes that machines can have, of which a deployment may offer some alone.
pub(crate) async fn list_sizes(
    State(app): State<App>,
    context: RequestContext,
    user: caller::User,
) -> Result<Json<Box<RawValue>>, ApiError> {
    let document = list(&app, &context, &user, Options::Sizes).await?;
    let offered = app.sizes.of(document);
    let offered = offered.map_err(|cause| ApiError::internal(format!("the sizes that are kept are none: {cause}")))?;
    Ok(Json(offered))
}

async fn list(
    app: &App,
    context: &RequestContext,
    user: &caller::User,
    name: Options,
) -> Result<Box<RawValue>, ApiError> {
    let kept = toolboxes::read_provider_options(&app.db, context, &user.caller, name).await?;
    if !kept.fetch {
        return kept.document.ok_or_else(unavailable);
    }

    match fetch(app, context, name).await {
        Ok(document) => {
            let stored = toolboxes::store_provider_options(&app.db, context, name, &document).await;
            log_best_effort(context, "provider_options_not_stored", stored);
            Ok(document)
        }
        Err(cause) => {
            context
                .line(Level::Warn, "provider_options_not_fetched")
                .with("cause", cause.as_str())
                .emit();
            kept.document.ok_or_else(|| unavailable().because(cause))
        }
    }
}

async fn fetch(app: &App, context: &RequestContext, name: Options) -> Result<Box<RawValue>, String> {
    let Some(provider) = &app.provider else {
        return Err("setting `digitalocean_token` is not set".to_owned());
    };
    let document = match name {
        Options::Regions => to_raw_value(
            &provider
                .list_regions(context)
                .await
                .map_err(|error| error.to_string())?,
        ),
        Options::Sizes => to_raw_value(&provider.list_sizes(context).await.map_err(|error| error.to_string())?),
    };
    document.map_err(|error| error.to_string())
}

fn unavailable() -> ApiError {
    ApiError::new(
        Kind::Unavailable,
        "provider_unavailable",
        "The provider of machines cannot be asked right now.",
    )
    .retry_after(RETRY_AFTER)
}
