//! The worker manager: the service that runs a process, the worker, for each agent that is present in Discord.
//!
//! It is asked at `/start-worker`, `/stop-worker`, `/status` and `/list-workers` with a bearer token. The bot's token goes over this connection and
//! nowhere else, so that a manager is called encrypted or on this machine alone. Nothing is repeated in here: starting and stopping may both be
//! asked for again, and whoever calls knows how often that is worth it.

mod address;
mod wire;

use std::time::Duration;

use agentopia_domain::ids::AgentId;
use agentopia_domain::retry::Failure;
use agentopia_platform::RequestContext;
use agentopia_platform::outbound::{self, Limits, OutboundError};
use bytes::Bytes;
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

pub use address::InsecureAddress;
use address::check_address;

/// The name under which calls are logged.
pub const PROVIDER: &str = "worker-manager";

const ANSWER_MAX_BYTES: usize = 64 * 1024;
const LIST_MAX_BYTES: usize = 4 * 1024 * 1024;

/// The worker manager.
#[derive(Clone, Debug)]
pub struct WorkerManager {
    base_url: String,
    token: SecretString,
    limits: Limits,
}

/// A worker that is asked for. It has no `Debug`: it holds secrets.
#[derive(Clone, Copy)]
pub struct StartWorker<'a> {
    /// Whose worker it is; the manager runs one for each agent.
    pub agent_id: AgentId,
    /// The agent's bot, which the worker is for.
    pub connection_id: Uuid,
    /// What the worker reports under. A report under another one is not taken.
    pub lease_id: Uuid,
    /// What the worker logs in to Discord with.
    pub bot_token: &'a SecretString,
    /// What the worker proves itself to the functions with. It is a secret.
    pub worker_token: &'a str,
    /// The agent's name.
    pub agent_name: &'a str,
    /// The agent's system instructions.
    pub system_prompt: Option<&'a str>,
    /// The agent's assistant instructions.
    pub agent_instructions: Option<&'a str>,
    /// After how many minutes without a question the worker ends by itself; 0 for never.
    pub inactivity_timeout_minutes: i32,
    /// Where the worker finds `chat` and where it reports, without a slash at the end.
    pub functions_url: &'a str,
    /// The guilds in which the agent may be used.
    pub guild_ids: &'a [String],
}

/// A worker that the manager knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedWorker {
    /// Whose worker it is.
    pub agent_id: AgentId,
    /// How the manager calls the process' status, such as `online`, `stopped` or `errored`; at most 50 characters.
    pub status: String,
}

/// Why a call did not do what was asked. The manager's texts are cut to 300 characters, without control characters and without the secrets that the
/// request held.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum ManagerError {
    /// Too many requests.
    #[error("the worker manager limits the rate")]
    RateLimited {
        /// When the next request may come, if the manager said so.
        retry_after: Option<Duration>,
    },
    /// The token is not accepted.
    #[error("the worker manager does not accept the token")]
    Unauthorized,
    /// It knows of no such worker.
    #[error("the worker manager does not know the worker")]
    NotFound,
    /// It does not take the request.
    #[error("the worker manager refused: {0}")]
    Refused(String),
    /// It failed.
    #[error("the worker manager failed: {0}")]
    Failed(String),
    /// A time limit passed.
    #[error("the worker manager was too slow")]
    TimedOut,
    /// There was no connection, or it broke.
    #[error("the connection to the worker manager broke: {0}")]
    Broken(String),
    /// The request cannot be sent as things are set up.
    #[error("the request cannot be sent: {0}")]
    Unsendable(String),
    /// What arrived is no answer of a worker manager.
    #[error("the worker manager's answer is malformed: {0}")]
    Malformed(String),
}

impl WorkerManager {
    /// The manager at `base_url`, with or without a slash at the end. A call may take as long as `limits` say, part by part.
    ///
    /// # Errors
    ///
    /// If the address is neither one of https nor one of this machine, as bots' tokens go there.
    pub fn new(base_url: &str, token: SecretString, limits: Limits) -> Result<Self, InsecureAddress> {
        let base_url = base_url.trim_end_matches('/');
        check_address(base_url)?;
        Ok(Self {
            base_url: base_url.to_owned(),
            token,
            limits,
        })
    }

    /// Asks for a worker, once. Where the agent has one that runs the manager leaves it as it is. Returns what of the manager's answer is shown.
    ///
    /// # Errors
    ///
    /// If there is no answer that it was started. If [`ManagerError::is_ambiguous`], it may run all the same.
    pub async fn start(&self, context: &RequestContext, worker: &StartWorker<'_>) -> Result<Value, ManagerError> {
        let request = self.post("start-worker", &wire::StartWorker::from(worker))?;
        let secrets = [
            self.token.expose_secret(),
            worker.bot_token.expose_secret(),
            worker.worker_token,
        ];
        let body = self.call(context, request, ANSWER_MAX_BYTES, &secrets).await?;
        wire::answer(&body, &secrets)
    }

    /// Ends an agent's worker, if there is one. A lease spares a worker that runs under another, where the manager knows leases; one that does not
    /// leaves the field and ends whatever runs. Returns what of the manager's answer is shown.
    ///
    /// # Errors
    ///
    /// If there is no answer that it is ending or that there is none. Asking again does no harm.
    pub async fn stop(
        &self,
        context: &RequestContext,
        agent_id: AgentId,
        lease_id: Option<Uuid>,
    ) -> Result<Value, ManagerError> {
        let request = self.post("stop-worker", &wire::StopWorker { agent_id, lease_id })?;
        let secrets = [self.token.expose_secret()];
        match self.call(context, request, ANSWER_MAX_BYTES, &secrets).await {
            Ok(body) => wire::answer(&body, &secrets),
            Err(ManagerError::NotFound) => Ok(serde_json::json!({ "message": "No worker runs." })),
            Err(error) => Err(error),
        }
    }

    /// What the manager knows about an agent's worker, as far as it is shown.
    ///
    /// # Errors
    ///
    /// If it cannot be told; [`ManagerError::NotFound`] if there is no worker.
    pub async fn status(&self, context: &RequestContext, agent_id: AgentId) -> Result<Value, ManagerError> {
        let request = self.request(Method::GET, &format!("status?agent_id={agent_id}"), Bytes::new())?;
        let secrets = [self.token.expose_secret()];
        let body = self.call(context, request, ANSWER_MAX_BYTES, &secrets).await?;
        wire::answer(&body, &secrets)
    }

    /// All workers that the manager knows, also those that have ended. What bears no agent's id is left out.
    ///
    /// # Errors
    ///
    /// If they cannot be told.
    pub async fn list(&self, context: &RequestContext) -> Result<Vec<ListedWorker>, ManagerError> {
        let request = self.request(Method::GET, "list-workers", Bytes::new())?;
        let secrets = [self.token.expose_secret()];
        let body = self.call(context, request, LIST_MAX_BYTES, &secrets).await?;
        wire::list(&body)
    }

    fn post(&self, path: &str, body: &impl Serialize) -> Result<http::Request<Bytes>, ManagerError> {
        // The error's text could repeat what is serialized.
        let body = serde_json::to_vec(body)
            .map_err(|_| ManagerError::Unsendable("the request cannot be written as JSON".to_owned()))?;
        self.request(Method::POST, path, body.into())
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<http::Request<Bytes>, ManagerError> {
        let mut token = HeaderValue::try_from(format!("Bearer {}", self.token.expose_secret()))
            .map_err(|_| ManagerError::Unsendable("the token is not a header value".to_owned()))?;
        token.set_sensitive(true);

        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}/{path}", self.base_url))
            .header(AUTHORIZATION, token)
            .header(ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request
            .body(body)
            .map_err(|error| ManagerError::Unsendable(error.to_string()))
    }

    /// Sends a request; the body of an answer that is a success.
    async fn call(
        &self,
        context: &RequestContext,
        request: http::Request<Bytes>,
        body_limit: usize,
        secrets: &[&str],
    ) -> Result<Bytes, ManagerError> {
        let response = outbound::send(context, PROVIDER, request, self.limits).await?;
        let status = response.status;
        if status.is_success() {
            return Ok(response.bytes(body_limit).await?);
        }

        let retry_after = retry_after(&response.headers);
        let body = response.bytes(ANSWER_MAX_BYTES).await.unwrap_or_default();
        Err(wire::refusal(status.as_u16(), retry_after, &body, secrets))
    }
}

impl ManagerError {
    /// Whether what was asked for may have been done all the same: a worker may run, or may have ended.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Failed(_) | Self::TimedOut | Self::Broken(_) | Self::Malformed(_) => true,
            Self::RateLimited { .. } | Self::Unauthorized | Self::NotFound | Self::Refused(_) | Self::Unsendable(_) => {
                false
            }
        }
    }

    /// Whether the same request may succeed when it is repeated.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::RateLimited { retry_after } => Failure::Transient {
                retry_after: *retry_after,
            },
            Self::Failed(_) | Self::TimedOut | Self::Broken(_) => Failure::Transient { retry_after: None },
            Self::Unauthorized | Self::NotFound | Self::Refused(_) | Self::Unsendable(_) | Self::Malformed(_) => {
                Failure::Permanent
            }
        }
    }
}

impl From<OutboundError> for ManagerError {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::TimedOut => Self::TimedOut,
            OutboundError::Denied(cause) => Self::Unsendable(cause),
            OutboundError::Broken(cause) => Self::Broken(cause),
        }
    }
}

/// `Retry-After` in seconds.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager() -> WorkerManager {
        let limits = Limits {
            connect: Duration::from_secs(1),
            first_byte: Duration::from_secs(1),
            between_bytes: Duration::from_secs(1),
        };
        WorkerManager::new("https://manager.example/", "canary".into(), limits).unwrap()
    }

    #[test]
    fn a_request_carries_the_token_and_does_not_show_it() {
        let request = manager().request(Method::GET, "list-workers", Bytes::new()).unwrap();

        assert_eq!(request.uri(), "https://manager.example/list-workers");
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer canary");
        assert!(request.headers().get(CONTENT_TYPE).is_none());
        assert!(!format!("{request:?} {:?}", manager()).contains("canary"));
    }

    #[test]
    fn a_body_is_announced_as_json() {
        let agent_id = AgentId(Uuid::from_u128(7));

        let order = wire::StopWorker {
            agent_id,
            lease_id: None,
        };
        let request = manager().post("stop-worker", &order).unwrap();

        assert_eq!(
            (request.method(), request.uri().path()),
            (&Method::POST, "/stop-worker")
        );
        assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
        insta::assert_snapshot!(std::str::from_utf8(request.body()).unwrap(), @r#"{"agentId":"00000000-0000-0000-0000-000000000007"}"#);
    }

    #[test]
    fn a_token_that_is_no_header_value_is_not_repeated() {
        let manager = WorkerManager {
            token: "canary\n".into(),
            ..manager()
        };

        let error = manager.request(Method::GET, "list-workers", Bytes::new()).unwrap_err();

        assert!(matches!(&error, ManagerError::Unsendable(cause) if !cause.contains("canary")));
    }

    #[test]
    fn the_pause_is_a_number_of_seconds() {
        let mut headers = HeaderMap::new();
        assert_eq!(retry_after(&headers), None);
        for (value, expected) in [("7", Some(7)), (" 0 ", Some(0)), ("-1", None), ("soon", None)] {
            headers.insert(RETRY_AFTER, value.parse().unwrap());
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn what_may_have_been_done_is_told_from_what_was_not() {
        use ManagerError as Error;
        let after = Some(Duration::from_secs(2));
        let transient = |retry_after| Failure::Transient { retry_after };
        let cases = [
            (Error::RateLimited { retry_after: after }, false, transient(after)),
            (Error::Unauthorized, false, Failure::Permanent),
            (Error::NotFound, false, Failure::Permanent),
            (Error::Refused("400".into()), false, Failure::Permanent),
            (Error::Failed("500".into()), true, transient(None)),
            (Error::from(OutboundError::TimedOut), true, transient(None)),
            (
                Error::from(OutboundError::Broken("reset".into())),
                true,
                transient(None),
            ),
            (Error::Malformed("no JSON".into()), true, Failure::Permanent),
            (
                Error::from(OutboundError::Denied("host".into())),
                false,
                Failure::Permanent,
            ),
        ];

        for (error, is_ambiguous, failure) in cases {
            assert_eq!(
                (error.is_ambiguous(), error.failure()),
                (is_ambiguous, failure),
                "{error}"
            );
        }
    }
}
