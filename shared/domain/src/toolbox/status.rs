//! The life of a toolbox: which status follows from what its owner says, and from contact with its machine.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Where a toolbox is in its life: `account_tool_environments.status`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolboxStatus {
    /// A machine was asked for.
    PendingProvision,
    /// The machine is being made.
    Provisioning,
    /// The machine runs, and has not spoken yet.
    AwaitingHeartbeat,
    /// The machine speaks.
    Active,
    /// The machine has fallen silent.
    Unresponsive,
    /// Its owner wants nothing to run on it.
    Paused,
    /// There is no machine, and none will come by itself.
    ErrorProvisioning,
    /// The machine is being destroyed.
    Deprovisioning,
    /// Destroying it is hindered, and goes on being tried.
    ErrorDeprovisioning,
}

/// What an owner tells a toolbox.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ToolboxCommand {
    /// Stop all tools, keep the machine, expect nothing of it.
    Pause,
    /// Run them again.
    Resume,
    /// Destroy the machine and make another, with the same tools.
    Redeploy,
    /// Destroy the machine and forget the toolbox.
    Delete,
}

/// All statuses, for what must be total.
pub const STATUSES: [ToolboxStatus; 9] = [
    ToolboxStatus::PendingProvision,
    ToolboxStatus::Provisioning,
    ToolboxStatus::AwaitingHeartbeat,
    ToolboxStatus::Active,
    ToolboxStatus::Unresponsive,
    ToolboxStatus::Paused,
    ToolboxStatus::ErrorProvisioning,
    ToolboxStatus::Deprovisioning,
    ToolboxStatus::ErrorDeprovisioning,
];

impl ToolboxStatus {
    /// The status after a command, or `None` where the command makes no sense. Deleting always does: a stuck delete can be asked for again.
    #[must_use]
    pub fn after_command(self, command: ToolboxCommand) -> Option<Self> {
        use ToolboxStatus as S;

        match (command, self) {
            (ToolboxCommand::Pause, S::Active | S::Unresponsive) => Some(S::Paused),
            (ToolboxCommand::Resume, S::Paused) => Some(S::Active),
            (
                ToolboxCommand::Redeploy,
                S::AwaitingHeartbeat | S::Active | S::Unresponsive | S::Paused | S::ErrorProvisioning,
            ) => Some(S::PendingProvision),
            (ToolboxCommand::Delete, _) => Some(S::Deprovisioning),
            _ => None,
        }
    }

    /// The status after the machine has spoken. What its owner has paused or given up stays so.
    #[must_use]
    pub fn after_contact(self) -> Self {
        match self {
            Self::Provisioning | Self::AwaitingHeartbeat | Self::Unresponsive => Self::Active,
            unchanged => unchanged,
        }
    }
}

/// From which statuses a command leads where, as an operation applies it.
#[must_use]
pub fn transitions(command: ToolboxCommand) -> BTreeMap<ToolboxStatus, ToolboxStatus> {
    STATUSES
        .into_iter()
        .filter_map(|from| Some((from, from.after_command(command)?)))
        .collect()
}

/// The statuses that contact changes, and to what, as an operation applies it.
#[must_use]
pub fn contact_transitions() -> BTreeMap<ToolboxStatus, ToolboxStatus> {
    STATUSES
        .into_iter()
        .map(|from| (from, from.after_contact()))
        .filter(|(from, to)| from != to)
        .collect()
}

#[cfg(test)]
mod tests {
    use insta::assert_json_snapshot;

    use super::*;

    #[test]
    fn commands_lead_where_the_table_says() {
        assert_json_snapshot!(transitions(ToolboxCommand::Pause), @r#"
        {
          "active": "paused",
          "unresponsive": "paused"
        }
        "#);
        assert_json_snapshot!(transitions(ToolboxCommand::Resume), @r#"
        {
          "paused": "active"
        }
        "#);
        assert_json_snapshot!(transitions(ToolboxCommand::Redeploy), @r#"
        {
          "awaiting_heartbeat": "pending_provision",
          "active": "pending_provision",
          "unresponsive": "pending_provision",
          "paused": "pending_provision",
          "error_provisioning": "pending_provision"
        }
        "#);
        assert_eq!(transitions(ToolboxCommand::Delete).len(), STATUSES.len());
    }

    #[test]
    fn contact_brings_to_life_what_is_meant_to_live() {
        assert_json_snapshot!(contact_transitions(), @r#"
        {
          "provisioning": "active",
          "awaiting_heartbeat": "active",
          "unresponsive": "active"
        }
        "#);
    }
}
