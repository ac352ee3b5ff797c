//! Identifiers: one newtype per aggregate, so that an agent's id is never taken for a channel's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )*};
}

ids! {
    /// A person who signed up: `auth.users.id`.
    UserId;
    /// An agent: `agents.id`.
    AgentId;
    /// A workspace: `workspaces.id`.
    WorkspaceId;
    /// A channel of a workspace: `chat_channels.id`.
    ChannelId;
    /// A stored message: `chat_messages.id`.
    MessageId;
    /// One exchange with a model and what it stored: `app.chat_turns.id`.
    TurnId;
    /// The right to finish a turn, held by one request at a time.
    LeaseId;
    /// A user's machine: `account_tool_environments.id`.
    ToolboxId;
    /// A tool of the catalog: `tool_catalog.id`.
    CatalogToolId;
    /// A tool deployed on a toolbox: `account_tool_instances.id`.
    ToolInstanceId;
    /// An agent's access to a toolbox: `agent_toolbox_access.id`.
    AccessId;
    /// A tool in an agent's toolbelt: `agent_toolbelt_items.id`.
    ToolbeltItemId;
    /// A sealed credential of a toolbelt item: `agent_tool_credentials.id`.
    CredentialId;
    /// What an agent may do with a tool: `agent_tool_capability_permissions.id`.
    PermissionId;
}
