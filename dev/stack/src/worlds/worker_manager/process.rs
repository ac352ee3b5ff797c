//! The life of one worker: it logs in, reports over HTTP, and ends as it is told or by itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use reqwest::header::RETRY_AFTER;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use uuid::Uuid;

use super::{Login, Manager, ProcessStatus, Shared, lock};

/// How long a report may take.
const REPORT_LIMIT: Duration = Duration::from_secs(20);

/// How long an answer to a question may take.
pub(super) const CHAT_LIMIT: Duration = Duration::from_secs(120);

/// How often a worker that ends says so until it is heard.
const LAST_WORDS: usize = 3;

/// How long it waits in between.
const LAST_PAUSE: Duration = Duration::from_millis(200);

/// How many reports there are in the time that silence may last.
const REPORTS_PER_LEASE: u32 = 3;

/// What a worker is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Its process is interrupted.
    Stop,
    /// Nobody has asked anything for long enough.
    IdleOut,
    /// Something goes wrong in it that nothing catches.
    Crash,
}

/// What a worker says of itself.
#[derive(Debug, Clone, Copy)]
struct Says {
    status: &'static str,
    error: Option<(&'static str, &'static str)>,
}

impl Says {
    const ACTIVE: Self = Self::well("active");
    const INACTIVE: Self = Self::well("inactive");
    const IDLE: Self = Self::failed("inactive", "idle", "Nobody has asked anything for long enough.");
    const CRASHED: Self = Self::failed("error", "worker_crashed", "Uncaught exception: it was asked to crash.");
    const LOGIN_FAILED: Self = Self::failed("error", "login_failed", "The gateway closed the connection.");
    /// <https://discord.com/developers/docs/topics/opcodes-and-status-codes#gateway-gateway-close-event-codes>
    const UNAUTHORIZED: Self = Self::failed("unauthorized", "4004", "Authentication failed.");
    const BAD_INTENTS: Self = Self::failed("bad_intents", "4014", "Disallowed intent(s).");

    const fn well(status: &'static str) -> Self {
        Self { status, error: None }
    }

    const fn failed(status: &'static str, code: &'static str, message: &'static str) -> Self {
        Self {
            status,
            error: Some((code, message)),
        }
    }
}

/// How a worker ends, and what it says about that.
struct End {
    status: ProcessStatus,
    says: Option<Says>,
}

impl End {
    fn well() -> Self {
        Self {
            status: ProcessStatus::Stopped,
            says: Some(Says::INACTIVE),
        }
    }

    fn idle() -> Self {
        Self {
            status: ProcessStatus::Stopped,
            says: Some(Says::IDLE),
        }
    }

    fn failed(says: Says) -> Self {
        Self {
            status: ProcessStatus::Errored,
            says: Some(says),
        }
    }

    /// Of one that has nothing to say any more.
    fn mute() -> Self {
        Self {
            status: ProcessStatus::Stopped,
            says: None,
        }
    }
}

impl From<Order> for End {
    fn from(order: Order) -> Self {
        match order {
            Order::Stop => Self::well(),
            Order::IdleOut => Self::idle(),
            Order::Crash => Self::failed(Says::CRASHED),
        }
    }
}

/// What to do after a report.
enum Next {
    Pause(Duration),
    End(End),
}

/// A call to the functions.
pub(super) struct Outgoing {
    pub(super) url: String,
    pub(super) token: String,
    pub(super) body: Value,
}

/// What came of a call.
pub(super) struct Incoming {
    pub(super) status: StatusCode,
    retry_after: Option<Duration>,
    pub(super) body: Value,
}

/// The answer to a report.
#[derive(Deserialize)]
struct Told {
    #[serde(rename = "status")]
    _status: String,
    should_stop: bool,
    lease_seconds: u64,
    inactivity_timeout_minutes: u32,
    guilds: Vec<ToldGuild>,
}

#[derive(Deserialize)]
struct ToldGuild {
    guild_id: String,
    allowed_channel_ids: Option<Vec<String>>,
}

/// Lives, as the `run`th process of the manager.
pub(super) async fn live(manager: Shared, agent: Uuid, run: u64, mut orders: UnboundedReceiver<Order>, client: Client) {
    let end = live_until_end(&manager, agent, run, &mut orders, &client).await;
    if let Some(says) = end.says {
        say_last(&manager, agent, run, says, &client).await;
    }
    lock(&manager).note_end(agent, run, end.status);
}

async fn live_until_end(
    manager: &Shared,
    agent: Uuid,
    run: u64,
    orders: &mut UnboundedReceiver<Order>,
    client: &Client,
) -> End {
    let (login, login_after) = lock(manager).login_of(agent);
    if let Some(end) = end_within(login_after, orders).await {
        return end;
    }
    match login {
        Login::Succeeds => {}
        Login::Unauthorized => return End::failed(Says::UNAUTHORIZED),
        Login::BadIntents => return End::failed(Says::BAD_INTENTS),
        Login::Fails => return End::failed(Says::LOGIN_FAILED),
        Login::Hangs => return orders.recv().await.map_or_else(End::mute, End::from),
    }
    lock(manager).note_login(agent, run);
    loop {
        let call = lock(manager).next_report(agent, run, Says::ACTIVE);
        let answer = match call {
            Some(call) => call.send(client, REPORT_LIMIT).await,
            None => None,
        };
        let next = lock(manager).heed(agent, run, Says::ACTIVE, answer);
        let pause = match next {
            Next::Pause(pause) => pause,
            Next::End(end) => return end,
        };
        if let Some(end) = end_within(pause, orders).await {
            return end;
        }
    }
}

/// Waits so long, or until there is an order.
async fn end_within(pause: Duration, orders: &mut UnboundedReceiver<Order>) -> Option<End> {
    tokio::select! {
        order = orders.recv() => Some(order.map_or_else(End::mute, End::from)),
        () = tokio::time::sleep(pause) => None,
    }
}

async fn say_last(manager: &Shared, agent: Uuid, run: u64, says: Says, client: &Client) {
    for _ in 0..LAST_WORDS {
        let Some(call) = lock(manager).next_report(agent, run, says) else {
            return;
        };
        let answer = call.send(client, REPORT_LIMIT).await;
        let is_heard = answer.as_ref().is_some_and(|answer| answer.status.is_success());
        let asked = answer.as_ref().and_then(|answer| answer.retry_after);
        let next = lock(manager).heed(agent, run, says, answer);
        if is_heard || matches!(next, Next::End(_)) {
            return;
        }
        tokio::time::sleep(asked.unwrap_or(LAST_PAUSE)).await;
    }
}

impl Outgoing {
    /// Sends it. No answer at all is nothing to wonder about: functions restart.
    pub(super) async fn send(&self, client: &Client, limit: Duration) -> Option<Incoming> {
        let request = client.post(&self.url).bearer_auth(&self.token).json(&self.body);
        let response = request.timeout(limit).send().await.ok()?;
        let status = response.status();
        let header = response.headers().get(RETRY_AFTER);
        let retry_after = header
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let body = response.bytes().await.ok()?;
        Some(Incoming {
            status,
            retry_after,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        })
    }
}

impl Manager {
    /// How an agent's worker logs in, and when.
    fn login_of(&self, agent: Uuid) -> (Login, Duration) {
        let login = self.logins.get(&agent).copied().unwrap_or_default();
        (login, self.options.login_after)
    }

    fn note_login(&mut self, agent: Uuid, run: u64) {
        if let Some(process) = self.process_mut(agent, run) {
            process.worker.is_logged_in = true;
            process.asked_at = Instant::now();
        }
    }

    pub(super) fn note_end(&mut self, agent: Uuid, run: u64, status: ProcessStatus) {
        if let Some(process) = self.process_mut(agent, run) {
            process.worker.status = status;
            process.worker.is_logged_in = false;
        }
    }

    /// What a worker sends; nothing if it is cut off.
    fn next_report(&mut self, agent: Uuid, run: u64, says: Says) -> Option<Outgoing> {
        if self.silent.contains(&agent) {
            return None;
        }
        let say_at = format!("{}/workers/{agent}/say", self.origin);
        let worker = &self.process_mut(agent, run)?.worker;
        let mut body = json!({
            "leaseId": worker.lease_id,
            "status": says.status,
            "report": {
                "stand_in": true,
                "note": "No connection to Discord is behind this: a stand-in says what a worker would say.",
                "guilds": worker.guilds.len(),
                "ask_it_at": say_at,
            },
        });
        if let (Some((code, message)), Some(fields)) = (says.error, body.as_object_mut()) {
            fields.insert("errorCode".to_owned(), json!(code));
            fields.insert("errorMessage".to_owned(), json!(message));
        }
        Some(Outgoing {
            url: format!("{}/manage-discord-worker/report", worker.functions_url),
            token: worker.worker_token.clone(),
            body,
        })
    }

    /// Takes what a report was answered, if it was.
    fn heed(&mut self, agent: Uuid, run: u64, says: Says, answer: Option<Incoming>) -> Next {
        let pace = self.options.pace;
        let Some(process) = self.process_mut(agent, run) else {
            return Next::End(End::mute());
        };
        let pause = pace.of(process.told_lease / REPORTS_PER_LEASE);
        let Some(answer) = answer else {
            return process.next(pause);
        };
        process.worker.last_answer = Some(answer.status.as_u16());
        let problem = match answer.status {
            StatusCode::OK => match serde_json::from_value::<Told>(answer.body) {
                Ok(told) => {
                    process.worker.reports += 1;
                    process.worker.said = Some(says.status.to_owned());
                    return if process.take(told) {
                        Next::End(End::well())
                    } else {
                        process.next(pace.of(process.told_lease / REPORTS_PER_LEASE))
                    };
                }
                Err(error) => format!("what a report was answered is not what it should be: {error}"),
            },
            // Another worker has its lease, or it is not wanted any more.
            StatusCode::UNAUTHORIZED | StatusCode::CONFLICT => return Next::End(End::mute()),
            StatusCode::TOO_MANY_REQUESTS => return Next::Pause(answer.retry_after.unwrap_or(pause)),
            status if status.is_server_error() => return process.next(pause),
            status => format!("a report was answered {status}: {}", answer.body),
        };
        let next = process.next(pause);
        self.complain(agent, &problem);
        next
    }

    /// What somebody asks in a channel, as the worker sends it; the error says why there is none that could.
    pub(super) fn next_question(&mut self, agent: Uuid, question: &super::Question) -> Result<Outgoing, String> {
        let process = self.processes.get_mut(&agent);
        let process = process.filter(|process| process.worker.is_logged_in);
        let process = process.ok_or_else(|| format!("no worker of {agent} is logged in"))?;
        process.asked_at = Instant::now();
        Ok(Outgoing {
            url: format!("{}/chat", process.worker.functions_url),
            token: process.worker.worker_token.clone(),
            body: json!({
                "agentId": agent,
                "message": question.message,
                "authorId": question.author_id,
                "channelId": question.channel_id,
                "guildId": question.guild_id,
            }),
        })
    }
}

impl super::Process {
    /// Takes what it was told. Whether it is to end.
    fn take(&mut self, told: Told) -> bool {
        self.told_lease = Duration::from_secs(told.lease_seconds);
        self.worker.inactivity_timeout_minutes = told.inactivity_timeout_minutes;
        let guilds = told.guilds.into_iter();
        self.worker.guilds = guilds
            .map(|guild| (guild.guild_id, guild.allowed_channel_ids))
            .collect::<BTreeMap<_, _>>();
        told.should_stop
    }

    /// Pauses, unless nobody has asked anything for long enough.
    fn next(&self, pause: Duration) -> Next {
        let limit = Duration::from_secs(u64::from(self.worker.inactivity_timeout_minutes) * 60);
        if limit.is_zero() {
            return Next::Pause(pause);
        }
        match limit.checked_sub(self.asked_at.elapsed()) {
            Some(left) if !left.is_zero() => Next::Pause(pause.min(left)),
            _ => Next::End(End::idle()),
        }
    }
}
