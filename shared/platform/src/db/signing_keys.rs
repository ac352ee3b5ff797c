//! Operations on the cache of signing keys (migrations/operations/signing_keys.sql).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Caller, Database, OperationError};
use crate::context::RequestContext;

const CALLER: Caller = Caller::Service { name: "signing_keys" };

#[derive(Serialize)]
struct ReadSigningKeys<'a> {
    url: &'a str,
    kid: &'a str,
}

/// Output of `api.read_signing_keys`.
#[derive(Debug, Deserialize)]
pub struct CachedSigningKeys {
    /// The key set as it was last fetched.
    pub document: Option<Value>,
    /// Whether the reader is asked to fetch it anew: it is old, or lacks the key, and nobody else has just tried.
    pub fetch: bool,
}

#[derive(Serialize)]
struct StoreSigningKeys<'a> {
    url: &'a str,
    document: &'a Value,
}

/// Reads the cached key set of `url`, and decides who fetches it anew.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn read(
    db: &Database,
    context: &RequestContext,
    url: &str,
    kid: &str,
) -> Result<CachedSigningKeys, OperationError> {
    db.call(context, "read_signing_keys", &CALLER, &ReadSigningKeys { url, kid })
        .await
}

/// Stores a key set that was just fetched.
///
/// # Errors
///
/// If the database is unavailable.
pub async fn store(db: &Database, context: &RequestContext, url: &str, document: &Value) -> Result<(), OperationError> {
    let _nothing: Value = db
        .call(
            context,
            "store_signing_keys",
            &CALLER,
            &StoreSigningKeys { url, document },
        )
        .await?;
    Ok(())
}
