//! Operations on the tools of a toolbox (migrations/operations/tool_instances.sql).

use std::collections::BTreeMap;

use agentopia_domain::ids::{CatalogToolId, ToolInstanceId, ToolboxId};
use agentopia_domain::toolbox::names::InstanceName;
use agentopia_domain::toolbox::tool::{Commanded, Desired, ToolCommand, command_rule};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::row::Row;
use super::toolboxes::OfToolbox;
use super::{Caller, Database, OperationError, Rate};
use crate::context::RequestContext;

/// Input of operations that take a tool instance and nothing else.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OfToolInstance {
    /// The toolbox, of the path.
    pub toolbox_id: ToolboxId,
    /// The tool instance, of the path.
    pub instance_id: ToolInstanceId,
}

/// Whose configuration is about to be changed: input of `api.prepare_tool_instance`.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum PrepareToolInstance {
    /// A new instance's.
    New {
        /// The toolbox.
        toolbox_id: ToolboxId,
        /// The tool.
        catalog_id: CatalogToolId,
    },
    /// One that is there.
    Existing(OfToolInstance),
}

/// Output of `api.prepare_tool_instance`.
#[derive(Clone, Debug, Deserialize)]
pub struct PreparedToolInstance {
    /// What the catalog demands of the configuration, as JSON Schema.
    pub config_schema: Option<Value>,
}

/// Input of `api.create_tool_instance`.
#[derive(Clone, Debug, Serialize)]
pub struct CreateToolInstance<'a> {
    /// The toolbox.
    pub toolbox_id: ToolboxId,
    /// The tool.
    pub catalog_id: CatalogToolId,
    /// What it is called there.
    pub name: &'a InstanceName,
    /// How it is set up; checked.
    pub config: Option<&'a Value>,
    /// How many tools a toolbox may have.
    pub max_per_toolbox: u32,
    /// How often a user may change a tool.
    #[serde(flatten)]
    pub rate: Rate,
}

/// What an owner tells a tool instance, and what it takes for the operation to do it.
#[derive(Clone, Copy, Debug)]
pub struct CommandToolInstance<'a> {
    /// Which instance.
    pub instance: OfToolInstance,
    /// The revision that it must have.
    pub if_match: Option<i64>,
    /// What it is told.
    pub command: ToolCommand,
    /// With [`ToolCommand::Configure`]: how it is set up from now on; checked. `Some(None)` forgets it.
    pub config: Option<Option<&'a Value>>,
    /// How often a user may change a tool.
    pub rate: Rate,
}

/// Input of `api.command_tool_instance`.
#[derive(Serialize)]
struct CommandToolInstanceInput<'a> {
    #[serde(flatten)]
    instance: OfToolInstance,
    if_match: Option<i64>,
    command: ToolCommand,
    rule: BTreeMap<Desired, Commanded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config: Option<Option<&'a Value>>,
    #[serde(flatten)]
    rate: Rate,
}

/// A list that is returned whole.
#[derive(Debug, Deserialize)]
struct Rows {
    rows: Vec<Row>,
}

/// What the catalog demands of a tool's configuration.
///
/// # Errors
///
/// 404 `toolbox_not_found`, `tool_instance_not_found`, `tool_not_in_catalog`.
pub async fn prepare_tool_instance(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &PrepareToolInstance,
) -> Result<PreparedToolInstance, OperationError> {
    db.call(context, "prepare_tool_instance", caller, input).await
}

/// Puts a tool on a toolbox.
///
/// # Errors
///
/// 404 `toolbox_not_found`, `tool_not_in_catalog`; 409 `too_many_tools`, `tool_name_taken`, `toolbox_state_conflict`; 429 `rate_limited`.
pub async fn create_tool_instance(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &CreateToolInstance<'_>,
) -> Result<Row, OperationError> {
    db.call(context, "create_tool_instance", caller, input).await
}

/// The tools of a toolbox, newest first.
///
/// # Errors
///
/// 404 `toolbox_not_found`.
pub async fn list_tool_instances(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &OfToolbox,
) -> Result<Vec<Row>, OperationError> {
    let Rows { rows } = db.call(context, "list_tool_instances", caller, input).await?;
    Ok(rows)
}

/// One tool of a toolbox.
///
/// # Errors
///
/// 404 `toolbox_not_found`, `tool_instance_not_found`.
pub async fn get_tool_instance(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &OfToolInstance,
) -> Result<Row, OperationError> {
    db.call(context, "get_tool_instance", caller, input).await
}

/// Tells a tool what should be of it. One that never was on a machine is removed at once, and returned as it was.
///
/// # Errors
///
/// 404 `toolbox_not_found`, `tool_instance_not_found`; 409 `tool_state_conflict`, `toolbox_state_conflict`; 412 `precondition_failed`;
/// 429 `rate_limited`.
pub async fn command_tool_instance(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &CommandToolInstance<'_>,
) -> Result<Row, OperationError> {
    let input = CommandToolInstanceInput {
        instance: input.instance,
        if_match: input.if_match,
        command: input.command,
        rule: command_rule(input.command),
        config: input.config,
        rate: input.rate,
    };
    db.call(context, "command_tool_instance", caller, &input).await
}
