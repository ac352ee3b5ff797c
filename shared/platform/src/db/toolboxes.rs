//! Operations on a user's toolboxes (migrations/operations/toolboxes.sql).

use std::collections::BTreeMap;

use agentopia_domain::ids::ToolboxId;
use agentopia_domain::toolbox::names::{Description, Slug, ToolboxName};
use agentopia_domain::toolbox::status::{ToolboxCommand, ToolboxStatus, transitions};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::row::Row;
use super::{Caller, Database, OperationError, Rate};
use crate::context::RequestContext;
use crate::page::{CreatedCursor, Page};

/// For what belongs to no user.
const SERVICE: Caller = Caller::Service { name: "toolboxes-user" };

/// How long what the provider offers is taken for what it offers.
const OPTIONS_FRESH_SECONDS: u32 = 3600;
/// How long after an attempt to fetch it the next one is made.
const OPTIONS_RETRY_SECONDS: u32 = 30;

/// Input of `api.create_toolbox`.
#[derive(Clone, Debug, Serialize)]
pub struct CreateToolbox<'a> {
    /// The id that it gets, unless an unfinished request with the same key had another.
    pub id: ToolboxId,
    /// What its owner calls it.
    pub name: &'a ToolboxName,
    /// What its owner says of it.
    pub description: Option<&'a Description>,
    /// Where its machine is to be.
    pub region_slug: &'a Slug,
    /// How large its machine is to be.
    pub size_slug: &'a Slug,
    /// What its machine is made from.
    pub image_slug: &'a Slug,
    /// How many toolboxes a user may have.
    pub max_per_user: u32,
    /// How often a user may ask for a machine.
    #[serde(flatten)]
    pub rate: Rate,
    /// The name of the request.
    pub idempotency_key: Option<&'a str>,
    /// What was asked, as a hash.
    pub request_hash: &'a str,
}

/// Output of `api.create_toolbox`.
#[derive(Clone, Debug, Deserialize)]
pub struct CreatedToolbox {
    /// The toolbox.
    pub toolbox: Row,
    /// Whether this is the answer that the same request got before.
    pub replayed: bool,
}

/// Input of `api.list_toolboxes`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ListToolboxes {
    /// The most rows.
    pub limit: u32,
    /// Where the page begins.
    pub cursor: Option<CreatedCursor>,
}

/// Input of operations that take a toolbox and nothing else.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OfToolbox {
    /// The toolbox, of the path.
    pub toolbox_id: ToolboxId,
}

/// Input of `api.update_toolbox`.
#[derive(Clone, Debug, Serialize)]
pub struct UpdateToolbox<'a> {
    /// The toolbox.
    pub toolbox_id: ToolboxId,
    /// The revision that it must have.
    pub if_match: Option<i64>,
    /// What is changed.
    pub set: ToolboxChanges<'a>,
    /// How often a user may change a toolbox.
    #[serde(flatten)]
    pub rate: Rate,
}

/// What of a toolbox is changed: what is there.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct ToolboxChanges<'a> {
    /// What its owner calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a ToolboxName>,
    /// What its owner says of it; `Some(None)` forgets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Option<&'a Description>>,
}

/// What an owner tells a toolbox, and what it takes for the operation to do it.
#[derive(Clone, Copy, Debug)]
pub struct CommandToolbox {
    /// The toolbox.
    pub toolbox_id: ToolboxId,
    /// The revision that it must have.
    pub if_match: Option<i64>,
    /// What it is told.
    pub command: ToolboxCommand,
    /// How often a user may say this.
    pub rate: Rate,
}

/// Input of `api.command_toolbox`.
#[derive(Serialize)]
struct CommandToolboxInput {
    toolbox_id: ToolboxId,
    if_match: Option<i64>,
    command: ToolboxCommand,
    transitions: BTreeMap<ToolboxStatus, ToolboxStatus>,
    #[serde(flatten)]
    rate: Rate,
}

/// Input of `api.refresh_toolbox`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RefreshToolbox {
    /// The toolbox.
    pub toolbox_id: ToolboxId,
    /// How often a user may ask.
    #[serde(flatten)]
    pub rate: Rate,
}

/// What the provider of machines offers.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Options {
    /// Where machines can be.
    Regions,
    /// How large they can be.
    Sizes,
}

#[derive(Serialize)]
struct ReadProviderOptions {
    name: Options,
    fresh_seconds: u32,
    retry_seconds: u32,
}

/// Output of `api.read_provider_options`.
#[derive(Clone, Debug, Deserialize)]
pub struct KeptOptions {
    /// What was last fetched.
    pub document: Option<Box<RawValue>>,
    /// Whether the reader is asked to fetch it anew: it is old or not there, and nobody else has just tried.
    pub fetch: bool,
}

#[derive(Serialize)]
struct StoreProviderOptions<'a> {
    name: Options,
    document: &'a RawValue,
}

/// Makes a toolbox, and asks for its machine.
///
/// # Errors
///
/// 401 `user_not_found`; 409 `too_many_toolboxes`; 422 `idempotency_key_reused`; 429 `rate_limited`.
pub async fn create_toolbox(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &CreateToolbox<'_>,
) -> Result<CreatedToolbox, OperationError> {
    db.call(context, "create_toolbox", caller, input).await
}

/// A user's toolboxes, newest first, in pages.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn list_toolboxes(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &ListToolboxes,
) -> Result<Page<Row, CreatedCursor>, OperationError> {
    db.call(context, "list_toolboxes", caller, input).await
}

/// One toolbox.
///
/// # Errors
///
/// 404 `toolbox_not_found`.
pub async fn get_toolbox(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &OfToolbox,
) -> Result<Row, OperationError> {
    db.call(context, "get_toolbox", caller, input).await
}

/// Changes what a toolbox is called.
///
/// # Errors
///
/// 404 `toolbox_not_found`; 412 `precondition_failed`; 429 `rate_limited`.
pub async fn update_toolbox(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &UpdateToolbox<'_>,
) -> Result<Row, OperationError> {
    db.call(context, "update_toolbox", caller, input).await
}

/// Tells a toolbox what should be of it.
///
/// # Errors
///
/// 404 `toolbox_not_found`; 409 `toolbox_state_conflict`; 412 `precondition_failed`; 429 `rate_limited`.
pub async fn command_toolbox(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &CommandToolbox,
) -> Result<Row, OperationError> {
    let input = CommandToolboxInput {
        toolbox_id: input.toolbox_id,
        if_match: input.if_match,
        command: input.command,
        transitions: transitions(input.command),
        rate: input.rate,
    };
    db.call(context, "command_toolbox", caller, &input).await
}

/// Has a machine that is being made or unmade looked at again at once. Returns the toolbox as it is.
///
/// # Errors
///
/// 404 `toolbox_not_found`; 429 `rate_limited`.
pub async fn refresh_toolbox(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &RefreshToolbox,
) -> Result<Row, OperationError> {
    db.call(context, "refresh_toolbox", caller, input).await
}

/// Reads what the provider offers as it was last fetched, and decides who fetches it anew.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn read_provider_options(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    name: Options,
) -> Result<KeptOptions, OperationError> {
    let input = ReadProviderOptions {
        name,
        fresh_seconds: OPTIONS_FRESH_SECONDS,
        retry_seconds: OPTIONS_RETRY_SECONDS,
    };
    db.call(context, "read_provider_options", caller, &input).await
}

/// Keeps what the provider offers, just fetched.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn store_provider_options(
    db: &Database,
    context: &RequestContext,
    name: Options,
    document: &RawValue,
) -> Result<(), OperationError> {
    let input = StoreProviderOptions { name, document };
    let _nothing: Value = db.call(context, "store_provider_options", &SERVICE, &input).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_holds_what_is_changed() {
        let (name, description) = (
            ToolboxName::parse("Forge").unwrap(),
            Description::parse("Tools").unwrap(),
        );
        let cases = [
            (None, None, json!({})),
            (Some(&name), None, json!({ "name": "Forge" })),
            (None, Some(None), json!({ "description": null })),
            (
                Some(&name),
                Some(Some(&description)),
                json!({ "name": "Forge", "description": "Tools" }),
            ),
        ];

        for (name, description, expected) in cases {
            let changes = ToolboxChanges { name, description };

            assert_eq!(serde_json::to_value(changes).unwrap(), expected);
        }
    }
}
