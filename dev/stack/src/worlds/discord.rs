//! Discord, as far as this application has to do with it: webhooks, and applications with their interactions.
//!
//! Messages are kept as Discord keeps them, refused as the
//! [documentation](https://discord.com/developers/docs/resources/webhook) says and the service is known to do, and
//! limited in their rate. A webhook [fails](DiscordWorld::fail) on request; each has faults and limits of its own, so that
//! tests that run side by side keep apart by webhooks of their own.

mod application;
mod fault;
mod refusal;
mod webhooks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::answer::{Answer, Delivery};
use super::connection::Connection;
use super::server::Server;
use crate::StackError;
use refusal::Refusal;
use webhooks::Webhooks;

pub use application::{Application, Delivered};
pub use fault::Fault;
pub use webhooks::{Message, Webhook};

/// The largest body that is read; Discord takes larger ones with files in them.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// The versions of the API that there are.
const VERSIONS: [&str; 2] = ["v9", "v10"];

/// How the world behaves.
#[derive(Debug, Clone)]
pub struct DiscordOptions {
    /// What each webhook's token begins with, in letters, digits, `-` and `_`.
    pub token_prefix: String,
    /// How many messages a webhook takes, and in what time.
    pub webhook_limit: (usize, Duration),
}

impl Default for DiscordOptions {
    fn default() -> Self {
        Self {
            token_prefix: String::new(),
            webhook_limit: (5, Duration::from_secs(2)),
        }
    }
}

/// A stand-in for Discord.
#[derive(Debug)]
pub struct DiscordWorld {
    server: Server,
    state: Arc<Mutex<Guilds>>,
}

impl DiscordWorld {
    /// Starts a world without webhooks.
    pub async fn start(options: DiscordOptions) -> Result<Self, StackError> {
        let state = Arc::new(Mutex::new(Guilds {
            webhooks: Webhooks::new(options),
            complaints: Vec::new(),
        }));
        let router = Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&state));
        Ok(Self {
            server: Server::start("discord", router).await?,
            state,
        })
    }

    /// The origin, which stands for `https://discord.com`.
    pub fn origin(&self) -> String {
        self.server.origin()
    }

    /// Makes a webhook, as somebody does in a channel's settings.
    pub fn create_webhook(&self) -> Result<Webhook, StackError> {
        self.guilds().webhooks.create()
    }

    /// Makes an application, as a developer does, with a key of its own.
    pub fn create_application(&self) -> Result<Application, StackError> {
        Application::new(self.new_id())
    }

    /// An id that nothing else has: of a guild, of an interaction.
    pub fn new_id(&self) -> u64 {
        self.guilds().webhooks.snowflake()
    }

    /// Deletes a webhook, as somebody does in a channel's settings. Its messages stay.
    pub fn delete_webhook(&self, id: u64) {
        self.guilds().webhooks.delete(id);
    }

    /// The messages that a webhook has sent, oldest first.
    pub fn messages(&self, id: u64) -> Vec<Message> {
        self.guilds().webhooks.messages(id)
    }

    /// How often a webhook was called, whatever came of it.
    pub fn calls(&self, id: u64) -> u32 {
        self.guilds().webhooks.calls(id)
    }

    /// Makes the next `times` calls of a webhook fail; what is already to fail fails first.
    pub fn fail(&self, id: u64, fault: Fault, times: usize) {
        self.guilds().webhooks.fail(id, fault, times);
    }

    /// Requests that a correct client does not make: unknown paths, malformed or unsupported bodies.
    pub fn complaints(&self) -> Vec<String> {
        self.guilds().complaints.clone()
    }

    /// Ends the world; connections to it are refused from then on.
    pub async fn stop(self) {
        drop(self);
    }

    /// All that there is, to look at or to change.
    fn guilds(&self) -> MutexGuard<'_, Guilds> {
        lock(&self.state)
    }
}

/// All that there is.
#[derive(Debug)]
struct Guilds {
    webhooks: Webhooks,
    complaints: Vec<String>,
}

impl Guilds {
    /// Does what a request asks, or what a fault makes of it.
    fn handle(&mut self, parts: &Parts, body: &[u8]) -> (Answer, Delivery) {
        let agent = parts
            .headers
            .get(header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok());
        if !agent.is_some_and(|agent| agent.starts_with("DiscordBot (")) {
            self.complain(parts, "the client does not name itself in User-Agent as it is asked to");
        }
        let routed = self.route(parts, body);
        routed.unwrap_or_else(|refusal| {
            if refusal.is_complaint {
                self.complain(parts, &refusal.complaint());
            }
            (refusal.answer(), Delivery::Whole)
        })
    }

    /// Finds what a path means.
    fn route(&mut self, parts: &Parts, body: &[u8]) -> Result<(Answer, Delivery), Refusal> {
        let path = parts.uri.path();
        let path = path.strip_prefix("/api/").ok_or_else(Refusal::path)?;
        let mut segments: Vec<_> = path.split('/').collect();
        if let Some(version) = segments.first().filter(|segment| is_version(segment)) {
            if !VERSIONS.contains(version) {
                return Err(Refusal::version());
            }
            segments.remove(0);
        }
        match (parts.method.as_str(), segments.as_slice()) {
            ("POST", ["webhooks", id, token]) => self.webhooks.execute(id, token, parts, body),
            ("GET", ["webhooks", id, token]) => self.webhooks.show(id, token),
            (_, ["webhooks", _, _]) => Err(Refusal::method()),
            _ => Err(Refusal::path()),
        }
    }

    fn complain(&mut self, parts: &Parts, what: &str) {
        // The last part of a webhook's path is a secret.
        let path = parts.uri.path();
        let path = path.rsplit_once('/').map_or(path, |(path, _)| path);
        self.complaints.push(format!("{} {path}/…: {what}", parts.method));
    }
}

fn is_version(segment: &str) -> bool {
    segment
        .strip_prefix('v')
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Answers any request.
async fn answer(
    State(state): State<Arc<Mutex<Guilds>>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = match axum::body::to_bytes(body, BODY_LIMIT_BYTES).await {
        Ok(body) => body,
        Err(error) => {
            tracing::debug!(%error, "a request to the stand-in broke off");
            return StatusCode::BAD_REQUEST.into_response();
        }
    };

    let (answer, delivery) = lock(&state).handle(&parts, &body);

    answer.deliver(delivery, &connection).await
}

fn lock(state: &Mutex<Guilds>) -> MutexGuard<'_, Guilds> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The time of an answer.
#[expect(
    clippy::disallowed_methods,
    reason = "a stand-in for a service that has a clock of its own"
)]
fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
