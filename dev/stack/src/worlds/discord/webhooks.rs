//! Webhooks and the messages that they send.

use std::collections::{BTreeMap, VecDeque};

use axum::http::StatusCode;
use axum::http::request::Parts;
use serde_json::json;
use url::form_urlencoded;

use super::fault::Fault;
use super::ids::{Ids, token};
use super::limits::Window;
use super::message::{Draft, Purpose};
use super::refusal::{Refusal, Scope, limited};
use super::{DiscordOptions, Handled, now};
use crate::StackError;
use crate::worlds::answer::Answer;

/// Where Discord is for those who use it.
const PUBLIC_ORIGIN: &str = "https://discord.com";

/// The name of the bucket that a webhook's calls are counted in.
const BUCKET: &str = "stand-in-webhook";

/// How long a webhook's token is.
const TOKEN_CHARS: usize = 68;

/// A webhook, as Discord shows it to whoever made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: u64,
    /// Its address: who has it can send messages.
    pub url: String,
}

/// A message in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: u64,
    /// Its text.
    pub content: String,
    /// Who is notified by it: of the mentions in the text those that were allowed, as they stand there.
    pub notifies: Vec<String>,
}

/// All webhooks.
#[derive(Debug)]
pub(super) struct Webhooks {
    options: DiscordOptions,
    by_id: BTreeMap<u64, Stored>,
}

/// A webhook with what it has done.
#[derive(Debug)]
struct Stored {
    token: String,
    guild_id: u64,
    channel_id: u64,
    is_deleted: bool,
    messages: Vec<Message>,
    faults: VecDeque<Fault>,
    calls: u32,
    /// The calls that the limit counts.
    window: Window,
}

impl Webhooks {
    pub(super) fn new(options: DiscordOptions) -> Self {
        Self {
            options,
            by_id: BTreeMap::new(),
        }
    }

    pub(super) fn create(&mut self, ids: &mut Ids) -> Result<Webhook, StackError> {
        let (guild_id, channel_id, id) = (ids.snowflake(), ids.snowflake(), ids.snowflake());
        let token = token(&self.options.token_prefix, TOKEN_CHARS)?;
        let url = format!("{PUBLIC_ORIGIN}/api/webhooks/{id}/{token}");
        let stored = Stored {
            token,
            guild_id,
            channel_id,
            is_deleted: false,
            messages: Vec::new(),
            faults: VecDeque::new(),
            calls: 0,
            window: Window::default(),
        };
        self.by_id.insert(id, stored);
        Ok(Webhook { id, url })
    }

    pub(super) fn delete(&mut self, id: u64) {
        if let Some(webhook) = self.by_id.get_mut(&id) {
            webhook.is_deleted = true;
        }
    }

    pub(super) fn messages(&self, id: u64) -> Vec<Message> {
        self.by_id
            .get(&id)
            .map(|webhook| webhook.messages.clone())
            .unwrap_or_default()
    }

    pub(super) fn calls(&self, id: u64) -> u32 {
        self.by_id.get(&id).map_or(0, |webhook| webhook.calls)
    }

    pub(super) fn fail(&mut self, id: u64, fault: Fault, times: usize) {
        if let Some(webhook) = self.by_id.get_mut(&id) {
            webhook.faults.extend(std::iter::repeat_n(fault, times));
        }
    }

    /// `GET /webhooks/<id>/<token>`
    pub(super) fn show(&mut self, id: &str, token: &str) -> Result<Handled, Refusal> {
        let (id, webhook) = self.find(id, token)?;
        let shown = json!({
            "type": 1,
            "id": id.to_string(),
            "name": "Captain Hook",
            "avatar": null,
            "channel_id": webhook.channel_id.to_string(),
            "guild_id": webhook.guild_id.to_string(),
            "application_id": null,
            "token": webhook.token,
        });
        Ok(Handled::whole(Answer::json(StatusCode::OK, &shown)))
    }

    /// `POST /webhooks/<id>/<token>`; a fault that makes it late is not told of again.
    pub(super) fn execute(
        &mut self,
        message_id: u64,
        (id, token): (&str, &str),
        parts: &Parts,
        body: &[u8],
        is_late: bool,
    ) -> Result<Handled, Refusal> {
        let limit = self.options.webhook_limit;
        let (id, webhook) = self.find(id, token)?;
        let mut fault = None;
        if !is_late {
            webhook.calls += 1;
            fault = webhook.faults.pop_front();
        }
        if let Some(handled) = fault.and_then(Handled::before) {
            return Ok(handled);
        }
        if let Some(wait) = webhook.window.count(limit) {
            let answer = limited(wait, Scope::User);
            return Ok(Handled::whole(webhook.window.describe(answer, limit, BUCKET)));
        }

        let is_waiting = waits(parts)?;
        let draft = Draft::read(Purpose::Webhook, &parts.headers, body)?;
        let message = Message {
            id: message_id,
            content: draft.content.unwrap_or_default(),
            notifies: draft.notifies,
        };
        let shown = json!({
            "id": message.id.to_string(),
            "type": 0,
            "content": message.content,
            "channel_id": webhook.channel_id.to_string(),
            "author": { "bot": true, "id": id.to_string(), "username": "Captain Hook", "avatar": null },
            "webhook_id": id.to_string(),
            "attachments": [],
            "embeds": [],
            "components": [],
            "mention_everyone": message.notifies.iter().any(|mention| mention.starts_with('@')),
            "pinned": false,
            "tts": false,
            "flags": 0,
            "timestamp": now().to_rfc3339(),
            "edited_timestamp": null,
        });
        webhook.messages.push(message);
        let answer = if is_waiting {
            Answer::json(StatusCode::OK, &shown)
        } else {
            Answer::empty(StatusCode::NO_CONTENT)
        };
        Ok(Handled::after(answer, fault).map(|answer| webhook.window.describe(answer, limit, BUCKET)))
    }

    /// The webhook of an id, if the token is right.
    fn find(&mut self, id: &str, token: &str) -> Result<(u64, &mut Stored), Refusal> {
        let id = id
            .parse()
            .map_err(|_| Refusal::field("webhook_id", "NUMBER_TYPE_COERCE", "Value is not snowflake."))?;
        let webhook = self.by_id.get_mut(&id).ok_or_else(Refusal::unknown_webhook)?;
        if webhook.is_deleted {
            webhook.calls += 1;
            return Err(Refusal::unknown_webhook());
        }
        if webhook.token != token {
            return Err(Refusal::wrong_token());
        }
        Ok((id, webhook))
    }
}

/// Whether the client waits for the message; nothing else may be in the query.
fn waits(parts: &Parts) -> Result<bool, Refusal> {
    let mut waits = false;
    for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        waits = match (&*name, &*value) {
            ("wait", "true" | "True" | "1") => true,
            ("wait", "false" | "False" | "0") => false,
            ("wait", _) => {
                return Err(Refusal::field(
                    "wait",
                    "BASE_TYPE_BAD_BOOLEAN",
                    "Must be either true or false.",
                ));
            }
            (name, _) => return Err(Refusal::unsupported(&format!("'{name}' in a query"))),
        };
    }
    Ok(waits)
}
