//! Demo data: two people who share nothing, with fixed ids that documents and tests can name.
//!
//! Ada has the agents [`ATLAS`] and [`QUILL`], the team [`ANALYSTS`] of both, and the workspace [`ENGINE_ROOM`] with
//! channels [`ENGINE_ROOM_GENERAL`] and [`ENGINE_ROOM_IDEAS`]; something was said in the first channel and between her
//! and Quill. Grace has [`BEACON`], the team [`WATCH`] and the workspace [`HARBOUR`].

use uuid::{Uuid, uuid};

use crate::StackError;
use crate::database;

/// A person of the demo data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoUser {
    /// The id in `auth.users`.
    pub id: Uuid,
    /// The address.
    pub email: &'static str,
    /// The full name.
    pub name: &'static str,
}

/// The first person.
pub const ADA: DemoUser = DemoUser {
    id: uuid!("00000000-0000-4000-8000-0000000000a1"),
    email: "ada@example.com",
    name: "Ada Lovelace",
};

/// The second person, who shares nothing with the first.
pub const GRACE: DemoUser = DemoUser {
    id: uuid!("00000000-0000-4000-8000-0000000000b1"),
    email: "grace@example.com",
    name: "Grace Hopper",
};

/// Everybody.
pub const USERS: [DemoUser; 2] = [ADA, GRACE];

/// Ada's agent that plans; a member of [`ENGINE_ROOM`] by itself.
pub const ATLAS: Uuid = uuid!("00000000-0000-4000-8000-0000000002a1");

/// Ada's agent that writes; in [`ENGINE_ROOM`] through [`ANALYSTS`].
pub const QUILL: Uuid = uuid!("00000000-0000-4000-8000-0000000002a2");

/// Grace's agent.
pub const BEACON: Uuid = uuid!("00000000-0000-4000-8000-0000000002b1");

/// The team of Ada's agents.
pub const ANALYSTS: Uuid = uuid!("00000000-0000-4000-8000-0000000003a1");

/// Grace's team.
pub const WATCH: Uuid = uuid!("00000000-0000-4000-8000-0000000003b1");

/// Ada's workspace.
pub const ENGINE_ROOM: Uuid = uuid!("00000000-0000-4000-8000-0000000004a1");

/// Its channel `general`, with history.
pub const ENGINE_ROOM_GENERAL: Uuid = uuid!("00000000-0000-4000-8000-0000000005a1");

/// Its channel `ideas`, empty.
pub const ENGINE_ROOM_IDEAS: Uuid = uuid!("00000000-0000-4000-8000-0000000005a2");

/// Grace's workspace.
pub const HARBOUR: Uuid = uuid!("00000000-0000-4000-8000-0000000004b1");

/// Its channel `general`, with history.
pub const HARBOUR_GENERAL: Uuid = uuid!("00000000-0000-4000-8000-0000000005b1");

/// Its channel `ideas`, empty.
pub const HARBOUR_IDEAS: Uuid = uuid!("00000000-0000-4000-8000-0000000005b2");

/// The conversation of Ada and [`QUILL`].
pub const ADA_WITH_QUILL: Uuid = uuid!("00000000-0000-4000-8000-0000000006a1");

/// The rows.
const ROWS: &str = include_str!("../demo.sql");

/// Loads what is not there yet. The role must see through row level security, as the one that migrates does.
pub async fn load(admin_url: &str) -> Result<(), StackError> {
    let mut client = database::connect(admin_url).await?;
    let transaction = client
        .transaction()
        .await
        .map_err(StackError::database("no transaction can be begun"))?;
    transaction
        .batch_execute(ROWS)
        .await
        .map_err(StackError::database("the demo data cannot be loaded"))?;
    transaction
        .commit()
        .await
        .map_err(StackError::database("the demo data cannot be loaded"))
}
