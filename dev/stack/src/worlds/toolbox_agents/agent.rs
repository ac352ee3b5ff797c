//! The life of one agent: it registers as its machine's script does, and then reports and does as it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::containers::Order;
use super::{Agents, Held, lock, now};

/// How long a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(20);

/// How long the script pauses between two tries to register.
const REGISTER_PAUSE: Duration = Duration::from_secs(5);

/// What agents send of themselves.
const VERSION: &str = "0.0.0-stand-in";

/// A call to the functions.
pub(super) struct Call {
    pub(super) url: String,
    pub(super) token: String,
    pub(super) body: Value,
}

/// What came of a call.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Value,
}

/// The answer to the first contact.
#[derive(Deserialize)]
struct Registered {
    token: String,
    toolbox_id: Uuid,
    heartbeat_interval_seconds: u64,
}

/// The answer to a report.
#[derive(Deserialize)]
struct Desired {
    toolbox_id: Uuid,
    generation: i64,
    paused: bool,
    heartbeat_interval_seconds: u64,
    tools: Vec<Order>,
}

/// Lives, until its task is ended with its machine.
pub(super) async fn live(agents: Arc<Mutex<Agents>>, droplet_id: u64, client: Client) {
    loop {
        let call = lock(&agents).begin_call(droplet_id);
        let answer = match call {
            Some(call) => call.send(&client).await,
            None => None,
        };
        let pause = lock(&agents).end_call(droplet_id, answer);
        tokio::time::sleep(pause).await;
    }
}

impl Call {
    /// Sends it. No answer at all is nothing to wonder about: functions restart.
    pub(super) async fn send(&self, client: &Client) -> Option<Answer> {
        let request = client.post(&self.url).bearer_auth(&self.token).json(&self.body);
        let response = request.timeout(CALL_LIMIT).send().await.ok()?;
        let status = response.status();
        let header = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let retry_after = header.and_then(|value| value.parse().ok()).map(Duration::from_secs);
        let body = response.bytes().await.ok()?;
        Some(Answer {
            status,
            retry_after,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        })
    }
}

impl Agents {
    /// What the agent of a machine sends now, if anything.
    fn begin_call(&mut self, droplet_id: u64) -> Option<Call> {
        let call = self.next_call(droplet_id);
        if let Some(machine) = self.machines.get_mut(&droplet_id) {
            machine.is_calling = call.is_some();
        }
        call
    }

    /// Does what was answered, if anything was. Returns how long to pause.
    fn end_call(&mut self, droplet_id: u64, answer: Option<Answer>) -> Duration {
        if let Some(machine) = self.machines.get_mut(&droplet_id) {
            machine.is_calling = false;
        }
        match answer {
            Some(answer) => self.take(droplet_id, answer),
            None => self.pause(droplet_id),
        }
    }

    fn next_call(&self, droplet_id: u64) -> Option<Call> {
        let machine = self.machines.get(&droplet_id)?;
        let boot = machine.boot.as_ref()?;
        match (self.held.get(&boot.toolbox_id), &machine.token) {
            (Some(Held::All), _) | (Some(Held::Registration), None) | (Some(Held::Reports), Some(_)) => return None,
            (Some(Held::Registration | Held::Reports) | None, _) => {}
        }
        let Some(token) = &machine.token else {
            return Some(Call {
                url: format!("{}/heartbeat/register", boot.functions_url),
                token: boot.bootstrap_token.clone(),
                body: json!({ "claim": machine.claim }),
            });
        };
        Some(Call {
            url: format!("{}/heartbeat", boot.functions_url),
            token: token.clone(),
            body: json!({
                "dtma_version": VERSION,
                "system_status": {
                    "stand_in": true,
                    "note": "No machine is behind this: a stand-in reports what it was told to run.",
                    "hostname": machine.hostname,
                    "toolbox_name": boot.toolbox_name,
                    "agent_image": boot.image,
                    "use_a_tool_at": self.origin,
                },
                "tool_statuses": machine.containers.report(),
                "sent_at": now().to_rfc3339(),
                "generation": machine.generation,
            }),
        })
    }

    fn take(&mut self, droplet_id: u64, answer: Answer) -> Duration {
        if let Some(machine) = self.machines.get_mut(&droplet_id) {
            machine.last_status = Some(answer.status.as_u16());
        }
        match answer.status {
            StatusCode::OK => {
                if let Err(problem) = self.heed(droplet_id, answer.body) {
                    self.complain(droplet_id, &problem);
                }
            }
            StatusCode::TOO_MANY_REQUESTS => {
                return answer.retry_after.unwrap_or_else(|| self.pause(droplet_id));
            }
            // A machine whose toolbox has another, or none, goes on asking until it is destroyed.
            StatusCode::UNAUTHORIZED => {}
            status if status.is_server_error() => {}
            status => self.complain(droplet_id, &format!("it was answered {status}: {}", answer.body)),
        }
        self.pause(droplet_id)
    }

    fn heed(&mut self, droplet_id: u64, body: Value) -> Result<(), String> {
        let Some(machine) = self.machines.get_mut(&droplet_id) else {
            return Ok(());
        };
        let expected = machine.boot.as_ref().map(|boot| boot.toolbox_id);
        if machine.token.is_none() {
            let registered: Registered = serde_json::from_value(body)
                .map_err(|error| format!("what registering was answered is not what it should be: {error}"))?;
            if Some(registered.toolbox_id) != expected {
                return Err(format!("it was registered as {}", registered.toolbox_id));
            }
            machine.token = Some(registered.token);
            machine.told_interval = Duration::from_secs(registered.heartbeat_interval_seconds);
            return Ok(());
        }

        let desired: Desired = serde_json::from_value(body)
            .map_err(|error| format!("what a report was answered is not what it should be: {error}"))?;
        if Some(desired.toolbox_id) != expected {
            return Err(format!("it was taken for {}", desired.toolbox_id));
        }
        machine.reports += 1;
        machine.generation = Some(desired.generation);
        machine.is_paused = desired.paused;
        machine.told_interval = Duration::from_secs(desired.heartbeat_interval_seconds);
        let problems = machine.containers.obey(&desired.tools);
        for problem in problems {
            self.complain(droplet_id, &problem);
        }
        Ok(())
    }

    /// How long an agent pauses before it sends again.
    fn pause(&self, droplet_id: u64) -> Duration {
        let Some(machine) = self.machines.get(&droplet_id) else {
            return REGISTER_PAUSE;
        };
        let wanted = if machine.token.is_some() {
            machine.told_interval
        } else {
            REGISTER_PAUSE
        };
        self.options.pace.of(wanted)
    }
}
