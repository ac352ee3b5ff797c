//! The database: one operation, one statement.
//!
//! Functions hold no SQL. They call operations, SQL functions `api.<operation>(caller jsonb, input jsonb) returns jsonb` (migrations/operations), each of
//! which becomes its caller, does one unit of work and returns JSON. One statement is one transaction: it commits whole or not at all. Both arguments travel as
//! text, which keeps numbers exact. There is one module per area, with the typed input and output of its operations.

pub mod alerts;
pub mod chat;
pub mod credentials;
pub mod discord_connections;
pub mod discord_interactions;
pub mod discord_workers;
pub mod heartbeats;
pub mod jobs;
pub mod machines;
pub mod row;
pub mod signing_keys;
pub mod tool_instances;
pub mod toolbelt;
pub mod toolboxes;

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::context::RequestContext;
use crate::error::{ApiError, Kind};
use crate::log::{Level, milliseconds};
use crate::runtime::{self, DatabaseError, QueryFailure};
use crate::settings::{self, SettingsError};

/// The address of the database, with the right to execute operations.
#[derive(Debug)]
pub struct Database {
    url: SecretString,
}

/// For whom an operation acts. The database believes it, so it is made only from a proof.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Caller {
    /// A user whose token was verified, or for whom an operation let somebody else act; the operation runs under row level security.
    User {
        /// The user's id.
        id: agentopia_domain::ids::UserId,
        /// The token's claims, which policies may read.
        claims: serde_json::Map<String, serde_json::Value>,
    },
    /// The platform itself.
    Service {
        /// Which part of it, for the audit log.
        name: &'static str,
    },
}

impl Caller {
    /// The owner of what somebody else than a user was let do: of the agent to which a worker or a guild was admitted. The proof is that an operation, which
    /// checked that other's right, named this owner in its output; nothing that a request says may be handed in here.
    pub(crate) fn owner_named_by_operation(id: agentopia_domain::ids::UserId) -> Self {
        Self::User {
            id,
            claims: serde_json::Map::new(),
        }
    }
}

/// How often somebody may do something.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rate {
    /// In the long run.
    pub per_minute: u32,
    /// At once.
    pub burst: u32,
}

/// Why an operation did not do what was asked.
#[derive(Debug, Error)]
pub enum OperationError {
    /// It refused: either raised, with PostgREST's convention (`SQLSTATE` `PT<status>`, the code in `DETAIL`, more in `HINT`), and nothing was
    /// done; or returned as `{"refused": …}`, and what it had done before is committed.
    #[error("refused with {status} {code}")]
    Refused {
        /// The HTTP status that the refusal stands for.
        status: u16,
        /// The stable code.
        code: String,
        /// The text for people.
        message: String,
        /// What else the client should know.
        extra: RefusalExtra,
    },
    /// The database could not be asked; whether the work was committed may be unknown.
    #[error("database unavailable: {0}")]
    Unavailable(String),
    /// It failed in a way nobody foresaw.
    #[error("operation failed: {0}")]
    Failed(String),
}

/// What a refusal says beside its code.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct RefusalExtra {
    /// When it is worth trying again.
    pub retry_after_seconds: Option<f64>,
    /// The limit that was reached, per minute.
    pub limit: Option<u32>,
    /// Which limit it is.
    pub scope: Option<String>,
    /// The input field at fault.
    pub field: Option<String>,
}

#[derive(Deserialize)]
struct ReturnedRefusal {
    refused: Refusal,
}

#[derive(Deserialize)]
struct Refusal {
    status: u16,
    code: String,
    message: String,
    extra: RefusalExtra,
}

impl Database {
    /// The database of the setting `database_url`.
    ///
    /// # Errors
    ///
    /// If the setting is missing.
    pub async fn from_settings() -> Result<Self, SettingsError> {
        settings::required_text("database_url")
            .await
            .map(|url| Self { url: url.into() })
    }

    /// Runs `api.<operation>`.
    async fn call<I: Serialize, O: DeserializeOwned>(
        &self,
        context: &RequestContext,
        operation: &'static str,
        caller: &Caller,
        input: &I,
    ) -> Result<O, OperationError> {
        let caller = serde_json::to_string(caller).map_err(|error| OperationError::Failed(error.to_string()))?;
        let input = serde_json::to_string(input).map_err(|error| OperationError::Failed(error.to_string()))?;
        let statement = format!("SELECT api.{operation}($1::text::jsonb, $2::text::jsonb)::text");

        let started = Instant::now();
        let result = runtime::query(self.url.expose_secret(), &statement, [caller, input]).await;
        let result = result
            .map_err(OperationError::from)
            .and_then(|output| parse_output(operation, &output));
        log_operation(context, operation, started.elapsed(), result.as_ref().err());
        result
    }
}

/// Reads what an operation returned: its output, or a refusal.
fn parse_output<O: DeserializeOwned>(operation: &str, output: &str) -> Result<O, OperationError> {
    let failed = |error| OperationError::Failed(format!("{operation} returned what is not its output: {error}"));
    // A refusal is the only member there is, so that this is what Postgres writes first.
    if output.starts_with(r#"{"refused": "#) {
        let ReturnedRefusal { refused } = serde_json::from_str(output).map_err(failed)?;
        return Err(OperationError::Refused {
            status: refused.status,
            code: refused.code,
            message: refused.message,
            extra: refused.extra,
        });
    }
    serde_json::from_str(output).map_err(failed)
}

fn log_operation(context: &RequestContext, operation: &str, duration: Duration, error: Option<&OperationError>) {
    let (level, outcome, cause) = match error {
        None => (Level::Info, "done", None),
        Some(OperationError::Refused { code, .. }) => (Level::Info, code.as_str(), None),
        Some(error @ OperationError::Unavailable(_)) => (Level::Warn, "unavailable", Some(error.to_string())),
        Some(error @ OperationError::Failed(_)) => (Level::Error, "failed", Some(error.to_string())),
    };
    context
        .line(level, "operation")
        .with("operation", operation)
        .with("outcome", outcome)
        .with("ms", milliseconds(duration))
        .with_some("cause", cause)
        .emit();
}

impl From<QueryFailure> for OperationError {
    fn from(failure: QueryFailure) -> Self {
        match failure {
            QueryFailure::Database(error) => error.into(),
            QueryFailure::Unreachable(cause) => Self::Unavailable(cause),
            QueryFailure::Unreadable(cause) => Self::Failed(cause),
        }
    }
}

impl From<DatabaseError> for OperationError {
    fn from(error: DatabaseError) -> Self {
        if let Some(status) = error.code.strip_prefix("PT").and_then(|status| status.parse().ok()) {
            return Self::Refused {
                status,
                code: error.detail.unwrap_or_else(|| "refused".to_owned()),
                message: error.message,
                extra: error
                    .hint
                    .and_then(|hint| serde_json::from_str(&hint).ok())
                    .unwrap_or_default(),
            };
        }

        let cause = match &error.constraint {
            Some(constraint) => format!("{} {} ({constraint})", error.code, error.message),
            None => format!("{} {}", error.code, error.message),
        };
        // Connection exceptions, insufficient resources, operator intervention (a time limit among them), and lost races for locks: PostgreSQL's Appendix A.
        let passing = ["08", "53", "57", "40", "55P03"];
        if passing.iter().any(|class| error.code.starts_with(class)) {
            Self::Unavailable(cause)
        } else {
            Self::Failed(cause)
        }
    }
}

impl From<OperationError> for ApiError {
    fn from(error: OperationError) -> Self {
        match error {
            OperationError::Refused {
                status,
                code,
                message,
                extra,
            } => {
                let Some(kind) = kind_of(status) else {
                    return Self::internal(format!(
                        "an operation refused with the unknown status {status} ({code})"
                    ));
                };
                let mut refusal = Self::new(kind, code, message);
                if let Some(field) = extra.field {
                    refusal = refusal.field(field);
                }
                if let Some(seconds) = extra.retry_after_seconds {
                    refusal = refusal.retry_after(Duration::try_from_secs_f64(seconds).unwrap_or_default());
                }
                if let (Some(scope), Some(limit)) = (&extra.scope, extra.limit) {
                    let reset = refusal.retry_after_seconds().unwrap_or(1);
                    for (name, value) in rate_limit_headers(scope, limit, 0, reset) {
                        refusal = refusal.header(name, value);
                    }
                }
                refusal
            }
            OperationError::Unavailable(cause) => Self::database_unavailable(cause),
            OperationError::Failed(cause) => Self::internal(cause),
        }
    }
}

/// What draft-ietf-httpapi-ratelimit-headers asks a server to say of a limit per minute.
#[must_use]
pub fn rate_limit_headers(scope: &str, limit: u32, remaining: u32, reset_seconds: u64) -> [(&'static str, String); 2] {
    [
        ("ratelimit-policy", format!("\"{scope}\";q={limit};w=60")),
        ("ratelimit", format!("\"{scope}\";r={remaining};t={reset_seconds}")),
    ]
}

fn kind_of(status: u16) -> Option<Kind> {
    Some(match status {
        400 => Kind::Invalid,
        401 => Kind::Unauthenticated,
        403 => Kind::Forbidden,
        404 => Kind::NotFound,
        409 => Kind::Conflict,
        412 => Kind::PreconditionFailed,
        422 => Kind::Unprocessable,
        429 => Kind::RateLimited,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raised(code: &str) -> DatabaseError {
        DatabaseError {
            code: code.to_owned(),
            message: "Slow down.".to_owned(),
            detail: Some("rate_limited".to_owned()),
            hint: Some(r#"{"retry_after_seconds":1.2,"limit":30,"scope":"user"}"#.to_owned()),
            constraint: None,
        }
    }

    #[test]
    fn a_refusal_keeps_its_status_code_and_pause() {
        let error = ApiError::from(OperationError::from(raised("PT429")));

        assert_eq!((error.status().as_u16(), error.code()), (429, "rate_limited"));
        assert_eq!(error.retry_after_seconds(), Some(2));
    }

    #[test]
    fn a_refusal_names_the_field_at_fault() {
        let error = ApiError::from(OperationError::from(DatabaseError {
            code: "PT400".to_owned(),
            hint: Some(r#"{"field":"capability_name"}"#.to_owned()),
            ..raised("PT400")
        }));

        assert_eq!(error.status().as_u16(), 400);
        assert_eq!(error.envelope("id")["field"], "capability_name");
    }

    #[test]
    fn a_change_to_something_stale_is_a_failed_precondition() {
        let error = ApiError::from(OperationError::from(raised("PT412")));

        assert_eq!(error.status().as_u16(), 412);
    }

    #[test]
    fn what_the_database_says_of_itself_stays_inside() {
        for (code, status) in [
            ("57P01", 503),
            ("53300", 503),
            ("40P01", 503),
            ("23505", 500),
            ("PT999", 500),
            ("PT", 500),
        ] {
            let error = ApiError::from(OperationError::from(raised(code)));

            assert_eq!(error.status().as_u16(), status, "{code}");
            assert!(!error.message().contains("Slow down"), "{code}");
        }
    }

    #[test]
    fn a_refusal_may_be_returned() {
        let refused = r#"{"refused": {"code": "credential_missing", "extra": {"field": "API_KEY"}, "status": 409, "message": "Missing."}}"#;

        let error = ApiError::from(parse_output::<bool>("test", refused).unwrap_err());

        assert_eq!(
            (error.status().as_u16(), error.code(), error.message()),
            (409, "credential_missing", "Missing.")
        );
        assert_eq!(error.envelope("id")["field"], "API_KEY");
        assert!(parse_output::<bool>("test", "true").unwrap());
        assert!(matches!(
            parse_output::<bool>("test", r#"{"refused": 1}"#),
            Err(OperationError::Failed(_))
        ));
    }
}
