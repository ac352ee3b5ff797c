//! Operations of `agent-toolbelt` (migrations/operations/toolbelt.sql). Rows are as clients see them.

use agentopia_domain::ids::{
    AccessId, AgentId, CredentialId, PermissionId, ToolInstanceId, ToolbeltItemId, ToolboxId, UserId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Caller, Database, OperationError, Rate};
use crate::context::RequestContext;
use crate::page::Page;

/// An agent's access to a toolbox.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ToolboxAccess {
    /// Its id.
    pub id: AccessId,
    /// The agent.
    pub agent_id: AgentId,
    /// The toolbox.
    pub account_tool_environment_id: ToolboxId,
    /// When it was granted, ISO 8601.
    pub granted_at: String,
    /// The same.
    pub created_at: String,
    /// When it was last changed.
    pub updated_at: String,
}

/// An access in a list.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ListedToolboxAccess {
    /// The access.
    #[serde(flatten)]
    pub access: ToolboxAccess,
    /// Its toolbox.
    pub account_tool_environments: ToolboxSummary,
}

/// What an access tells of its toolbox.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ToolboxSummary {
    /// Its id.
    pub id: ToolboxId,
    /// The display name.
    pub name: Option<String>,
    /// Where it is in its life.
    pub status: String,
}

/// A tool in an agent's toolbelt.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ToolbeltItem {
    /// Its id.
    pub id: ToolbeltItemId,
    /// The agent.
    pub agent_id: AgentId,
    /// The tool, as it is deployed on a toolbox.
    pub account_tool_instance_id: ToolInstanceId,
    /// Whether the agent may use it now.
    pub is_active_for_agent: bool,
    /// Grows with every change.
    pub revision: i64,
    /// When it was made, ISO 8601.
    pub created_at: String,
    /// When it was last changed.
    pub updated_at: String,
}

/// An item with its tool.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ShownToolbeltItem {
    /// The item.
    #[serde(flatten)]
    pub item: ToolbeltItem,
    /// Its tool.
    pub account_tool_instance: ToolInstanceSummary,
}

/// What an item tells of its tool.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ToolInstanceSummary {
    /// Its id.
    pub id: ToolInstanceId,
    /// What it is called on its toolbox.
    pub instance_name_on_toolbox: String,
    /// Where it is in its life.
    pub status_on_toolbox: String,
    /// What it is an instance of.
    pub tool_catalog: ToolSummary,
}

/// What the catalog says of a tool.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ToolSummary {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// The secrets that it asks for.
    pub required_secrets_schema: Value,
    /// The capabilities that it has.
    pub required_capabilities_schema: Value,
}

/// A credential, without its secret.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Credential {
    /// Its id.
    pub id: CredentialId,
    /// The item that it is for.
    pub agent_toolbelt_item_id: ToolbeltItemId,
    /// By what the tool asks for it.
    pub credential_type: String,
    /// Whose account it opens.
    pub account_identifier: Option<String>,
    /// Whether it is used.
    pub status: CredentialStatus,
    /// When it was last found good, ISO 8601.
    pub last_validated_at: Option<String>,
    /// Grows with every change.
    pub revision: i64,
    /// When it was stored.
    pub created_at: String,
    /// When it was last changed.
    pub updated_at: String,
}

/// Whether a credential is used: only an active one is.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CredentialStatus {
    /// Not yet.
    Pending,
    /// It is.
    Active,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
    /// Its owner must consent again.
    RequiresReauth,
    /// It was found bad.
    Error,
}

/// What an agent may do with a tool.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Permission {
    /// Its id.
    pub id: PermissionId,
    /// The item that it is for.
    pub agent_toolbelt_item_id: ToolbeltItemId,
    /// Which of the tool's capabilities.
    pub capability_name: String,
    /// Whether the agent may use it.
    pub is_allowed: bool,
    /// Whether somebody must approve each use.
    pub requires_approval: bool,
    /// Grows with every change.
    pub revision: i64,
    /// When it was made, ISO 8601.
    pub created_at: String,
    /// When it was last changed.
    pub updated_at: String,
}

/// What was changed for an agent, by whom.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct AuditEntry {
    /// Its number; later ones are greater.
    pub id: i64,
    /// When, ISO 8601.
    pub at: String,
    /// `user`, `service` or `system`.
    pub actor_kind: String,
    /// The user, if it was one.
    pub actor_user_id: Option<UserId>,
    /// The service, if it was one.
    pub actor_name: Option<String>,
    /// `insert`, `update`, `delete`, `credentials_released`, `credentials_not_opened` or `credentials_denied`.
    pub action: String,
    /// Of what kind the changed thing is.
    pub table_name: String,
    /// Which it is.
    pub row_id: String,
    /// What was changed, without the values of secrets.
    pub changes: Value,
}

/// Where a page of the audit log begins: below this number.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuditCursor {
    /// The number of the last entry that was shown.
    pub id: i64,
}

/// A list that is returned whole.
#[derive(Debug, Deserialize)]
struct Rows<T> {
    rows: Vec<T>,
}

/// Input of operations on an agent's toolbelt.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OfAgent {
    /// The agent, of the path.
    pub agent_id: AgentId,
}

/// Input of operations on one item.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OfItem {
    /// The agent, of the path.
    pub agent_id: AgentId,
    /// The item, of the path.
    pub item_id: ToolbeltItemId,
}

/// Input of `api.grant_toolbox_access`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct GrantToolboxAccess {
    /// The agent.
    pub agent_id: AgentId,
    /// The toolbox.
    pub toolbox_id: ToolboxId,
    /// How often a user may change toolbelts.
    #[serde(flatten)]
    pub rate: Rate,
}

/// Input of `api.revoke_toolbox_access`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RevokeToolboxAccess {
    /// The agent.
    pub agent_id: AgentId,
    /// The access.
    pub access_id: AccessId,
}

/// Input of `api.create_toolbelt_item`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CreateToolbeltItem {
    /// The agent.
    pub agent_id: AgentId,
    /// The tool, as it is deployed on a toolbox.
    pub instance_id: ToolInstanceId,
    /// Whether the agent may use it at once.
    pub is_active_for_agent: bool,
    /// How often a user may change toolbelts.
    #[serde(flatten)]
    pub rate: Rate,
}

/// Input of `api.update_toolbelt_item`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UpdateToolbeltItem {
    /// Which item.
    #[serde(flatten)]
    pub item: OfItem,
    /// The revision that it must have.
    pub if_match: Option<i64>,
    /// Whether the agent may use it.
    pub is_active_for_agent: bool,
    /// How often a user may change toolbelts.
    #[serde(flatten)]
    pub rate: Rate,
}

/// Input of `api.delete_toolbelt_item`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DeleteToolbeltItem {
    /// Which item.
    #[serde(flatten)]
    pub item: OfItem,
    /// The revision that it must have.
    pub if_match: Option<i64>,
}

/// A secret as it is stored.
#[derive(Clone, Debug, Serialize)]
pub struct SealedSecret {
    /// The sealed text.
    pub sealed: String,
    /// The key under which it is sealed.
    pub key_id: String,
}

/// Input of `api.store_credential`.
#[derive(Clone, Debug, Serialize)]
pub struct StoreCredential<'a> {
    /// For which item.
    #[serde(flatten)]
    pub item: OfItem,
    /// The id for which the secret was sealed.
    pub credential_id: CredentialId,
    /// By what the tool asks for it.
    pub credential_type: &'a str,
    /// The secret.
    #[serde(flatten)]
    pub secret: SealedSecret,
    /// Whose account it opens.
    pub account_identifier: Option<&'a str>,
    /// Whether it is used.
    pub status: CredentialStatus,
    /// How often a user may change toolbelts.
    #[serde(flatten)]
    pub rate: Rate,
}

/// Input of `api.update_credential`.
#[derive(Clone, Debug, Serialize)]
pub struct UpdateCredential<'a> {
    /// For which item.
    #[serde(flatten)]
    pub item: OfItem,
    /// Which credential.
    pub credential_id: CredentialId,
    /// The revision that it must have.
    pub if_match: Option<i64>,
    /// What is changed.
    pub set: CredentialChanges<'a>,
    /// How often a user may change toolbelts.
    #[serde(flatten)]
    pub rate: Rate,
}

/// What of a credential is changed: what is there.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CredentialChanges<'a> {
    /// By what the tool asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential_type: Option<&'a str>,
    /// Whether it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<CredentialStatus>,
    /// Whose account it opens; `Some(None)` forgets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_identifier: Option<Option<&'a str>>,
    /// The secret.
    #[serde(flatten)]
    pub secret: Option<SealedSecret>,
}

/// Input of `api.delete_credential`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DeleteCredential {
    /// For which item.
    #[serde(flatten)]
    pub item: OfItem,
    /// Which credential.
    pub credential_id: CredentialId,
    /// The revision that it must have.
    pub if_match: Option<i64>,
}

/// Input of `api.put_permission`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PutPermission<'a> {
    /// For which item.
    #[serde(flatten)]
    pub item: OfItem,
    /// The revision that it must have.
    pub if_match: Option<i64>,
    /// Whether there must be one already, of whatever revision.
    pub must_exist: bool,
    /// Which of the tool's capabilities.
    pub capability_name: &'a str,
    /// Whether the agent may use it.
    pub is_allowed: bool,
    /// Whether somebody must approve each use; as it is, or as the catalog says, if absent.
    pub requires_approval: Option<bool>,
    /// How often a user may change toolbelts.
    #[serde(flatten)]
    pub rate: Rate,
}

/// Input of `api.update_permission`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct UpdatePermission {
    /// For which item.
    #[serde(flatten)]
    pub item: OfItem,
    /// Which permission.
    pub permission_id: PermissionId,
    /// The revision that it must have.
    pub if_match: Option<i64>,
    /// Whether the agent may use it; as it is, if absent.
    pub is_allowed: Option<bool>,
    /// Whether somebody must approve each use; as it is, if absent.
    pub requires_approval: Option<bool>,
    /// How often a user may change toolbelts.
    #[serde(flatten)]
    pub rate: Rate,
}

/// Input of `api.delete_permission`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct DeletePermission {
    /// For which item.
    #[serde(flatten)]
    pub item: OfItem,
    /// Which permission.
    pub permission_id: PermissionId,
    /// The revision that it must have.
    pub if_match: Option<i64>,
}

/// Input of `api.list_agent_audit`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ListAgentAudit {
    /// The agent.
    pub agent_id: AgentId,
    /// The most entries.
    pub limit: u32,
    /// Where the page begins.
    pub cursor: Option<AuditCursor>,
}

/// Lets an agent use the tools of a toolbox.
///
/// # Errors
///
/// 404 `agent_not_found`, `toolbox_not_found`; 409 `access_exists`; 429 `rate_limited`.
pub async fn grant_toolbox_access(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &GrantToolboxAccess,
) -> Result<ToolboxAccess, OperationError> {
    db.call(context, "grant_toolbox_access", caller, input).await
}

/// The toolboxes whose tools an agent may use, newest first.
///
/// # Errors
///
/// 404 `agent_not_found`.
pub async fn list_toolbox_access(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &OfAgent,
) -> Result<Vec<ListedToolboxAccess>, OperationError> {
    let Rows { rows } = db.call(context, "list_toolbox_access", caller, input).await?;
    Ok(rows)
}

/// Takes an agent's access to a toolbox, and the items, credentials and permissions that hung on it. Returns what was taken.
///
/// # Errors
///
/// 404 `agent_not_found`, `toolbox_access_not_found`.
pub async fn revoke_toolbox_access(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &RevokeToolboxAccess,
) -> Result<ToolboxAccess, OperationError> {
    db.call(context, "revoke_toolbox_access", caller, input).await
}

/// Puts a tool into an agent's toolbelt.
///
/// # Errors
///
/// 404 `agent_not_found`, `tool_instance_not_found`; 403 `no_toolbox_access`; 409 `item_exists`; 429 `rate_limited`.
pub async fn create_toolbelt_item(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &CreateToolbeltItem,
) -> Result<ToolbeltItem, OperationError> {
    db.call(context, "create_toolbelt_item", caller, input).await
}

/// An agent's toolbelt, newest first.
///
/// # Errors
///
/// 404 `agent_not_found`.
pub async fn list_toolbelt_items(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &OfAgent,
) -> Result<Vec<ShownToolbeltItem>, OperationError> {
    let Rows { rows } = db.call(context, "list_toolbelt_items", caller, input).await?;
    Ok(rows)
}

/// One item with its tool.
///
/// # Errors
///
/// 404 `agent_not_found`, `toolbelt_item_not_found`.
pub async fn get_toolbelt_item(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &OfItem,
) -> Result<ShownToolbeltItem, OperationError> {
    db.call(context, "get_toolbelt_item", caller, input).await
}

/// Changes an item.
///
/// # Errors
///
/// 404 `agent_not_found`, `toolbelt_item_not_found`; 412 `precondition_failed`; 429 `rate_limited`.
pub async fn update_toolbelt_item(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &UpdateToolbeltItem,
) -> Result<ToolbeltItem, OperationError> {
    db.call(context, "update_toolbelt_item", caller, input).await
}

/// Takes a tool from an agent's toolbelt, with its credentials and permissions. Returns what was taken.
///
/// # Errors
///
/// As [`update_toolbelt_item`].
pub async fn delete_toolbelt_item(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &DeleteToolbeltItem,
) -> Result<ToolbeltItem, OperationError> {
    db.call(context, "delete_toolbelt_item", caller, input).await
}

/// Stores a credential of an item.
///
/// # Errors
///
/// 404 `agent_not_found`, `toolbelt_item_not_found`; 409 `credential_exists`, `too_many_credentials`; 429 `rate_limited`.
pub async fn store_credential(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &StoreCredential<'_>,
) -> Result<Credential, OperationError> {
    db.call(context, "store_credential", caller, input).await
}

/// The credentials of an item, newest first.
///
/// # Errors
///
/// 404 `agent_not_found`, `toolbelt_item_not_found`.
pub async fn list_credentials(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &OfItem,
) -> Result<Vec<Credential>, OperationError> {
    let Rows { rows } = db.call(context, "list_credentials", caller, input).await?;
    Ok(rows)
}

/// Changes a credential.
///
/// # Errors
///
/// 404 `agent_not_found`, `toolbelt_item_not_found`, `credential_not_found`; 409 `credential_exists`; 412 `precondition_failed`.
pub async fn update_credential(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &UpdateCredential<'_>,
) -> Result<Credential, OperationError> {
    db.call(context, "update_credential", caller, input).await
}

/// Deletes a credential, its secret with it. Returns what was deleted.
///
/// # Errors
///
/// 404 `agent_not_found`, `toolbelt_item_not_found`, `credential_not_found`; 412 `precondition_failed`.
pub async fn delete_credential(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &DeleteCredential,
) -> Result<Credential, OperationError> {
    db.call(context, "delete_credential", caller, input).await
}

/// Says whether an agent may use a capability of a tool, whether that was said before or not.
///
/// # Errors
///
/// 400 `unknown_capability`; 404 `agent_not_found`, `toolbelt_item_not_found`; 412 `precondition_failed`.
pub async fn put_permission(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &PutPermission<'_>,
) -> Result<Permission, OperationError> {
    db.call(context, "put_permission", caller, input).await
}

/// The permissions of an item, by capability.
///
/// # Errors
///
/// 404 `agent_not_found`, `toolbelt_item_not_found`.
pub async fn list_permissions(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &OfItem,
) -> Result<Vec<Permission>, OperationError> {
    let Rows { rows } = db.call(context, "list_permissions", caller, input).await?;
    Ok(rows)
}

/// Changes a permission.
///
/// # Errors
///
/// 404 `agent_not_found`, `toolbelt_item_not_found`, `permission_not_found`; 412 `precondition_failed`.
pub async fn update_permission(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &UpdatePermission,
) -> Result<Permission, OperationError> {
    db.call(context, "update_permission", caller, input).await
}

/// Deletes a permission: its capability is denied again. Returns what was deleted.
///
/// # Errors
///
/// As [`update_permission`].
pub async fn delete_permission(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &DeletePermission,
) -> Result<Permission, OperationError> {
    db.call(context, "delete_permission", caller, input).await
}

/// What was changed for an agent, newest first, in pages.
///
/// # Errors
///
/// 404 `agent_not_found`.
pub async fn list_agent_audit(
    db: &Database,
    context: &RequestContext,
    caller: &Caller,
    input: &ListAgentAudit,
) -> Result<Page<AuditEntry, AuditCursor>, OperationError> {
    db.call(context, "list_agent_audit", caller, input).await
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_of_a_credential_holds_what_is_changed() {
        let cases = [
            (CredentialChanges::default(), json!({})),
            (
                CredentialChanges {
                    account_identifier: Some(None),
                    ..CredentialChanges::default()
                },
                json!({ "account_identifier": null }),
            ),
            (
                CredentialChanges {
                    credential_type: Some("api_key"),
                    status: Some(CredentialStatus::RequiresReauth),
                    account_identifier: Some(Some("me")),
                    secret: Some(SealedSecret {
                        sealed: "s".to_owned(),
                        key_id: "k".to_owned(),
                    }),
                },
                json!({
                    "credential_type": "api_key", "status": "requires_reauth", "account_identifier": "me",
                    "sealed": "s", "key_id": "k",
                }),
            ),
        ];

        for (changes, expected) in cases {
            assert_eq!(serde_json::to_value(changes).unwrap(), expected);
        }
    }
}
