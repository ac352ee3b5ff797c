//! Toolboxes' machines (migrations/operations/machines.sql).

use std::net::Ipv4Addr;

use agentopia_domain::ids::{ToolboxId, UserId};
use agentopia_domain::toolbox::machine::Attempt;
use agentopia_domain::toolbox::status::ToolboxStatus;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::jobs::{Job, JobInput, Settlement};
use super::{Caller, Database, OperationError};
use crate::bearer::TokenHash;
use crate::context::RequestContext;

const CALLER: Caller = Caller::Service { name: "heartbeat" };

/// What is known of a toolbox's machine.
#[derive(Clone, Debug, Deserialize)]
pub struct KnownMachine {
    /// The database's time, by which the times in here are to be judged.
    pub now: DateTime<Utc>,
    /// Whose it is; `None` if neither a toolbox nor an attempt is left.
    pub owner_id: Option<UserId>,
    /// The toolbox, unless it is gone.
    pub toolbox: Option<KnownToolbox>,
    /// Attempts of which a machine may exist.
    pub attempts: Vec<KnownAttempt>,
    /// Whether a machine was ever asked for.
    pub was_attempted: bool,
}

/// A toolbox as its machine's job sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct KnownToolbox {
    /// What its owner calls it.
    pub name: Option<String>,
    /// Where it is in its life.
    pub status: ToolboxStatus,
    /// What its owner wants: `running`, `paused` or `deleted`.
    pub desired_state: DesiredState,
    /// The provider's region.
    pub region_slug: String,
    /// The provider's size.
    pub size_slug: String,
    /// The provider's image.
    pub image_slug: String,
    /// The attempt whose machine it is.
    pub attempt_id: Option<Uuid>,
    /// Whether its address is recorded.
    pub has_address: bool,
    /// When its owner last asked for a machine.
    pub provision_requested_at: DateTime<Utc>,
    /// How many attempts were made since.
    pub attempts_made: u32,
}

/// What an owner wants of a toolbox.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum DesiredState {
    /// A machine with its tools running.
    Running,
    /// A machine on which nothing runs.
    Paused,
    /// No machine, and no toolbox.
    Deleted,
}

/// An attempt as it is recorded.
#[derive(Clone, Debug, Deserialize)]
pub struct KnownAttempt {
    id: Uuid,
    started_at: DateTime<Utc>,
    droplet_id: Option<u64>,
    boot_deadline: DateTime<Utc>,
}

impl From<&KnownAttempt> for Attempt {
    fn from(attempt: &KnownAttempt) -> Self {
        Self {
            id: attempt.id,
            started_at: attempt.started_at,
            droplet_id: attempt.droplet_id,
            boot_deadline: attempt.boot_deadline,
        }
    }
}

/// A step to be written.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MachineChange<'a> {
    /// A machine is about to be asked for.
    BeginAttempt {
        /// The attempt's id.
        attempt_id: Uuid,
        /// What is stored of the token that its machine boots with.
        bootstrap_token_hash: TokenHash,
        /// How long it may take to speak.
        boot_seconds: u64,
    },
    /// The provider has refused it for now: it made no machine for certain.
    WithdrawAttempt {
        /// The attempt's id.
        attempt_id: Uuid,
    },
    /// The provider has made it.
    Adopt {
        /// The attempt's id.
        attempt_id: Uuid,
        /// The provider's number for the machine.
        droplet_id: u64,
        /// What the provider calls it.
        droplet_name: &'a str,
    },
    /// It runs, and is to speak.
    Address {
        /// The attempt's id.
        attempt_id: Uuid,
        /// Its public address.
        address: Ipv4Addr,
    },
    /// Its machine is to be destroyed without having spoken, and cannot speak any more from now on.
    Expire {
        /// The attempt's id.
        attempt_id: Uuid,
    },
    /// There will be none for this request.
    Fail {
        /// What its owner is told.
        message: String,
        /// The request.
        provision_requested_at: DateTime<Utc>,
    },
    /// What hinders for the moment, or that nothing does any more.
    Note {
        /// What its owner is told.
        message: Option<&'a str>,
    },
    /// Nothing of it is left.
    Gone,
}

#[derive(Serialize)]
struct ReadMachine {
    toolbox_id: ToolboxId,
}

#[derive(Serialize)]
struct AdvanceMachine<'a> {
    toolbox_id: ToolboxId,
    job: JobInput<'a>,
    change: Option<&'a MachineChange<'a>>,
}

/// How a step was taken.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Advanced {
    /// Whether the lease still was; if not, nothing was written.
    pub held: bool,
    /// Whether the toolbox was as the change needs it; if not, the change was not written.
    pub applied: bool,
}

/// Reads what is known of a toolbox's machine.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn read_machine(
    db: &Database,
    context: &RequestContext,
    toolbox_id: ToolboxId,
) -> Result<KnownMachine, OperationError> {
    db.call(context, "read_machine", &CALLER, &ReadMachine { toolbox_id })
        .await
}

/// Writes a step, and leaves the job or keeps it, at once.
///
/// # Errors
///
/// If the database is unavailable; whether it was written may be unknown then.
pub async fn advance_machine(
    db: &Database,
    context: &RequestContext,
    toolbox_id: ToolboxId,
    job: &Job,
    settlement: &Settlement,
    change: Option<&MachineChange<'_>>,
) -> Result<Advanced, OperationError> {
    let input = AdvanceMachine {
        toolbox_id,
        job: JobInput::new(job, settlement),
        change,
    };
    db.call(context, "advance_machine", &CALLER, &input).await
}
