//! What a manager is asked for, and what is wrong with it.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;
use uuid::Uuid;

/// What the functions' tokens for workers begin with.
const WORKER_TOKEN_PREFIX: &str = "agt_wk_";

/// The body of `/start-worker`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StartOrder {
    pub(super) agent_id: Uuid,
    pub(super) connection_db_id: Uuid,
    pub(super) bot_token: String,
    pub(super) agent_name: String,
    pub(super) system_prompt: Option<String>,
    pub(super) agent_instructions: Option<String>,
    #[serde(default = "default_inactivity_timeout")]
    pub(super) inactivity_timeout: u32,
    pub(super) lease_id: Uuid,
    pub(super) worker_token: String,
    pub(super) functions_url: String,
    pub(super) guild_ids: Vec<String>,
}

/// In minutes.
fn default_inactivity_timeout() -> u32 {
    10
}

/// The body of `/stop-worker`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct StopOrder {
    pub(super) agent_id: Uuid,
    /// Only the worker that was started under it is meant; without it, whatever runs.
    pub(super) lease_id: Option<Uuid>,
}

/// The body of `/restart-worker`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AgentOrder {
    pub(super) agent_id: Uuid,
}

/// Where an order that may be faulty is about an agent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct About {
    agent_id: Uuid,
}

/// Which agent a body is about, whatever else is wrong with it.
pub(super) fn agent_of(body: &[u8]) -> Option<Uuid> {
    serde_json::from_slice(body).ok().map(|about: About| about.agent_id)
}

/// Reads a body that must be JSON.
pub(super) fn read<T: DeserializeOwned>(is_json: bool, body: &[u8]) -> Result<T, String> {
    if !is_json {
        return Err("the body is not announced as JSON".to_owned());
    }
    serde_json::from_slice(body).map_err(|error| {
        let problem = error.to_string();
        // The place depends on what else is in the body.
        problem.split(" at line ").next().unwrap_or_default().to_owned()
    })
}

impl StartOrder {
    /// Whether a worker can do something with it.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.bot_token.is_empty() {
            return Err("botToken is empty".to_owned());
        }
        if self.agent_name.is_empty() {
            return Err("agentName is empty".to_owned());
        }
        if !self.worker_token.starts_with(WORKER_TOKEN_PREFIX) {
            return Err("workerToken is not the token of a worker".to_owned());
        }
        if Url::parse(&self.functions_url).is_err() || self.functions_url.ends_with('/') {
            return Err("functionsUrl is not a URL without a slash at the end".to_owned());
        }
        let is_snowflake = |id: &String| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        if !self.guild_ids.iter().all(is_snowflake) {
            return Err("guildIds are not all ids of Discord's".to_owned());
        }
        Ok(())
    }
}
