//! Seals tenants' secrets anew under the newest key of a keyring, so that an older one can be dropped.
//!
//! It goes through each kind of sealed row in the order of ids and in batches: an operation lists what is sealed under another key, each secret is
//! opened and sealed here, for the same row, and a second operation stores those that still are what was read. A batch is one statement. So it
//! can be interrupted at any point and run again, also beside the running application and beside another run, and a run that finds
//! nothing to do changes nothing.

use std::fmt;

use agentopia_domain::ids::{AgentId, CredentialId, ToolbeltItemId, UserId};
use agentopia_domain::secrets::{
    AlertWebhookContext, Belonging, BotTokenContext, Keyring, NONCE_BYTES, Opened, SealContext,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::secrets::{hex, random_bytes};
use crate::{Progress, StackError, database};

/// How many rows are read and stored at once, unless it is said.
pub const BATCH: u32 = 100;

/// One kind of sealed rows. Another is another line in [`KINDS`], with two operations of the same form.
struct Kind {
    /// What one is called.
    name: &'static str,
    /// Lists rows: `{"key_id", "after", "limit"}` to `{"rows": [{"id", "sealed", …}]}`.
    list: &'static str,
    /// Stores them: `{"key_id", "rows": [{"id", "from", "to"}]}` to `{"resealed"}`; a row has its `fingerprint` beside, if the kind's have one.
    store: &'static str,
    /// Opens the secret of a listed row and seals it for the same row.
    anew: fn(&Keyring, &Row, [u8; NONCE_BYTES]) -> Result<Anew, String>,
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "credential",
        list: "list_credentials_to_reseal",
        store: "reseal_credentials",
        anew: credential_anew,
    },
    Kind {
        name: "alert webhook",
        list: "list_alert_destinations_to_reseal",
        store: "reseal_alert_destinations",
        anew: alert_webhook_anew,
    },
    Kind {
        name: "bot token",
        list: "list_bot_tokens_to_reseal",
        store: "reseal_bot_tokens",
        anew: bot_token_anew,
    },
];

/// A row that is sealed under another key.
#[derive(Debug, Deserialize)]
struct Row {
    id: Uuid,
    sealed: String,
    /// Whose it is and what it is for: what the kind's rows have beside.
    #[serde(flatten)]
    belongs_to: Map<String, Value>,
}

/// What a row holds under the newest key.
#[derive(Serialize)]
struct Anew {
    #[serde(rename = "to")]
    sealed: String,
    /// In hexadecimal; only of what is found by it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
}

/// A row, what it was read with, and what it is to hold.
#[derive(Serialize)]
struct Change<'a> {
    id: Uuid,
    from: &'a str,
    #[serde(flatten)]
    anew: Anew,
}

/// What a run did.
#[derive(Debug, Default)]
pub struct Report {
    /// How many rows are sealed under the newest key now that were not before.
    pub resealed: u64,
    /// How many were changed or deleted by somebody else meanwhile.
    pub changed_meanwhile: u64,
    /// Those that do not open: they are as they were.
    pub unopenable: Vec<Unopenable>,
}

/// A row that does not open under the keyring.
#[derive(Debug)]
pub struct Unopenable {
    /// What it is.
    pub kind: &'static str,
    /// Which it is.
    pub id: Uuid,
    /// Why, without what it holds.
    pub cause: String,
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} sealed anew, {} changed meanwhile, {} do not open",
            self.resealed,
            self.changed_meanwhile,
            self.unopenable.len()
        )?;
        for row in &self.unopenable {
            write!(formatter, "\n{} {}: {}", row.kind, row.id, row.cause)?;
        }
        Ok(())
    }
}

/// Seals anew what is not sealed under the newest key of `keyring`. The URL is that of the database's owner, or of the functions' login.
///
/// # Errors
///
/// If the keyring is none, or the database refuses or is lost; what was done before stays done.
pub async fn reseal(
    database_url: &str,
    keyring: &str,
    batch: u32,
    progress: &dyn Progress,
) -> Result<Report, StackError> {
    let keyring =
        Keyring::parse(keyring).map_err(|error| StackError::Prerequisite(format!("the credential keyring {error}")))?;
    let client = database::connect(database_url).await?;

    let mut report = Report::default();
    for kind in &KINDS {
        reseal_kind(&client, &keyring, kind, batch, progress, &mut report).await?;
    }
    Ok(report)
}

async fn reseal_kind(
    client: &Client,
    keyring: &Keyring,
    kind: &Kind,
    batch: u32,
    progress: &dyn Progress,
    report: &mut Report,
) -> Result<(), StackError> {
    let mut after = None;
    loop {
        let input = json!({ "key_id": keyring.newest_id(), "after": after, "limit": batch });
        let Rows { rows } = call(client, kind.list, &input).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(last.id);

        let mut changes = Vec::new();
        for row in &rows {
            match (kind.anew)(keyring, row, random_bytes()?) {
                Ok(anew) => changes.push(Change {
                    id: row.id,
                    from: &row.sealed,
                    anew,
                }),
                Err(cause) => report.unopenable.push(Unopenable {
                    kind: kind.name,
                    id: row.id,
                    cause,
                }),
            }
        }
        let opened = changes.len() as u64;
        let input = json!({ "key_id": keyring.newest_id(), "rows": changes });
        let Stored { resealed } = call(client, kind.store, &input).await?;
        report.resealed += resealed;
        report.changed_meanwhile += opened.saturating_sub(resealed);
        progress.step(&format!("{}s: {} sealed anew", kind.name, report.resealed));
    }
}

#[derive(Deserialize)]
struct Rows {
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Stored {
    resealed: u64,
}

/// Whose a credential is and what it is for.
#[derive(Deserialize)]
struct CredentialBelongsTo {
    user_id: UserId,
    agent_id: AgentId,
    item_id: ToolbeltItemId,
}

/// Through which agent a bot speaks, and whose that is.
#[derive(Deserialize)]
struct BotTokenBelongsTo {
    user_id: UserId,
    agent_id: AgentId,
}

fn credential_anew(keyring: &Keyring, row: &Row, nonce: [u8; NONCE_BYTES]) -> Result<Anew, String> {
    let belongs_to: CredentialBelongsTo = row.belongs_to()?;
    let context = SealContext {
        user_id: belongs_to.user_id,
        agent_id: belongs_to.agent_id,
        item_id: belongs_to.item_id,
        credential_id: CredentialId(row.id),
    };
    anew(keyring, &context, &row.open(keyring, &context)?, nonce)
}

fn alert_webhook_anew(keyring: &Keyring, row: &Row, nonce: [u8; NONCE_BYTES]) -> Result<Anew, String> {
    let context = AlertWebhookContext {
        user_id: UserId(row.id),
    };
    anew(keyring, &context, &row.open(keyring, &context)?, nonce)
}

fn bot_token_anew(keyring: &Keyring, row: &Row, nonce: [u8; NONCE_BYTES]) -> Result<Anew, String> {
    let BotTokenBelongsTo { user_id, agent_id } = row.belongs_to()?;
    let context = BotTokenContext { user_id, agent_id };
    let opened = row.open(keyring, &context)?;
    // Under the key that seals: the first.
    let fingerprints = keyring.fingerprints(opened.as_bytes());
    Ok(Anew {
        fingerprint: fingerprints.first().map(|fingerprint| hex(fingerprint)),
        ..anew(keyring, &context, &opened, nonce)?
    })
}

impl Row {
    fn belongs_to<T: for<'de> Deserialize<'de>>(&self) -> Result<T, String> {
        let belongs_to = Value::Object(self.belongs_to.clone());
        serde_json::from_value(belongs_to).map_err(|error| error.to_string())
    }

    fn open(&self, keyring: &Keyring, context: &impl Belonging) -> Result<Opened, String> {
        keyring.open(context, &self.sealed).map_err(|error| error.to_string())
    }
}

fn anew(
    keyring: &Keyring,
    context: &impl Belonging,
    opened: &Opened,
    nonce: [u8; NONCE_BYTES],
) -> Result<Anew, String> {
    let sealed = keyring.seal(context, opened.as_bytes(), nonce);
    Ok(Anew {
        sealed: sealed.map_err(|error| error.to_string())?,
        fingerprint: None,
    })
}

/// Calls an operation as the functions do.
async fn call<O: for<'de> Deserialize<'de>>(client: &Client, operation: &str, input: &Value) -> Result<O, StackError> {
    let caller = json!({ "kind": "service", "name": "reseal" });
    let statement = format!("SELECT api.{operation}($1::text::jsonb, $2::text::jsonb)::text");
    let row = client
        .query_one(&statement, &[&caller.to_string(), &input.to_string()])
        .await
        .map_err(StackError::database("secrets cannot be sealed anew"))?;
    let output: &str = row.get(0);
    serde_json::from_str(output)
        .map_err(|error| StackError::Failed(format!("{operation} returned what is not its output: {error}")))
}
