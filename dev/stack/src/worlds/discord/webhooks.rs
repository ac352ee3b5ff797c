//! Webhooks and the messages that they send.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use axum::http::request::Parts;
use axum::http::{HeaderName, StatusCode, header};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use super::fault::Fault;
use super::refusal::{Refusal, limited};
use super::{DiscordOptions, now};
use crate::StackError;
use crate::worlds::answer::{Answer, Delivery};

/// Where Discord is for those who use it.
const PUBLIC_ORIGIN: &str = "https://discord.com";

/// How long a webhook's token is.
const TOKEN_CHARS: usize = 68;

/// What a token is made of.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The longest message, in Unicode code points.
const CONTENT_MAX_CHARS: usize = 2000;

/// The beginning of 2015, from which Discord's ids count milliseconds.
const EPOCH_MS: i64 = 1_420_070_400_000;

/// What else a message may have, which the world does not take.
const OTHER_FIELDS: [&str; 11] = [
    "username",
    "avatar_url",
    "tts",
    "embeds",
    "components",
    "attachments",
    "payload_json",
    "flags",
    "thread_name",
    "applied_tags",
    "poll",
];

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
    last_id: u64,
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
    /// When the calls came that the limit counts.
    times: VecDeque<Instant>,
}

impl Webhooks {
    pub(super) fn new(options: DiscordOptions) -> Self {
        Self {
            options,
            by_id: BTreeMap::new(),
            last_id: 0,
        }
    }

    pub(super) fn create(&mut self) -> Result<Webhook, StackError> {
        let (guild_id, channel_id, id) = (self.snowflake(), self.snowflake(), self.snowflake());
        let token = token(&self.options.token_prefix)?;
        let url = format!("{PUBLIC_ORIGIN}/api/webhooks/{id}/{token}");
        let stored = Stored {
            token,
            guild_id,
            channel_id,
            is_deleted: false,
            messages: Vec::new(),
            faults: VecDeque::new(),
            calls: 0,
            times: VecDeque::new(),
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
    pub(super) fn show(&mut self, id: &str, token: &str) -> Result<(Answer, Delivery), Refusal> {
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
        Ok((Answer::json(StatusCode::OK, &shown), Delivery::Whole))
    }

    /// `POST /webhooks/<id>/<token>`
    pub(super) fn execute(
        &mut self,
        id: &str,
        token: &str,
        parts: &Parts,
        body: &[u8],
    ) -> Result<(Answer, Delivery), Refusal> {
        let message_id = self.snowflake();
        let (limit, window) = self.options.webhook_limit;
        let (id, webhook) = self.find(id, token)?;
        webhook.calls += 1;
        let fault = webhook.faults.pop_front();
        match fault {
            Some(Fault::RateLimited { retry_after, global }) => {
                return Ok((limited(retry_after.as_secs_f64(), global), Delivery::Whole));
            }
            Some(Fault::Banned(wait)) => {
                let page = Answer::page(StatusCode::TOO_MANY_REQUESTS, "<html>error code: 1015</html>");
                return Ok((
                    page.with(header::RETRY_AFTER, wait.as_secs_f64().ceil()),
                    Delivery::Whole,
                ));
            }
            Some(Fault::Blocked) => {
                let page = Answer::page(StatusCode::FORBIDDEN, "<html>error code: 1010</html>");
                return Ok((page, Delivery::Whole));
            }
            Some(Fault::ServerError) => return Ok((Refusal::server_error().answer(), Delivery::Whole)),
            Some(Fault::Silence) => return Ok((Answer::empty(StatusCode::OK), Delivery::Withheld)),
            None | Some(Fault::Stall | Fault::Drop | Fault::DoneAndFailed | Fault::Malformed) => {}
        }
        if let Some(wait) = webhook.count(limit, window) {
            let answer = limited(wait.as_secs_f64(), false);
            return Ok((webhook.with_rates(answer, limit, window), Delivery::Whole));
        }

        let is_waiting = waits(parts)?;
        let message = parse(message_id, parts, body)?;
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
        let answer = match fault {
            Some(Fault::DoneAndFailed) => Refusal::server_error().answer(),
            Some(Fault::Malformed) => Answer::page(StatusCode::OK, "<html>It works!</html>"),
            _ if is_waiting => Answer::json(StatusCode::OK, &shown),
            _ => Answer::empty(StatusCode::NO_CONTENT),
        };
        let delivery = match fault {
            Some(Fault::Stall) => Delivery::Withheld,
            Some(Fault::Drop) => Delivery::Dropped,
            _ => Delivery::Whole,
        };
        Ok((webhook.with_rates(answer, limit, window), delivery))
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

    /// An id as Discord makes them: the time in milliseconds, and a number in its last 22 bits.
    pub(super) fn snowflake(&mut self) -> u64 {
        let elapsed = u64::try_from(now().timestamp_millis() - EPOCH_MS).unwrap_or_default();
        self.last_id = (elapsed << 22).max(self.last_id + 1);
        self.last_id
    }
}

impl Stored {
    /// Counts a call; how long to wait if it is one too many.
    fn count(&mut self, limit: usize, window: Duration) -> Option<Duration> {
        while self.times.front().is_some_and(|time| time.elapsed() >= window) {
            self.times.pop_front();
        }
        if self.times.len() < limit {
            self.times.push_back(Instant::now());
            return None;
        }
        self.times
            .front()
            .and_then(|time| window.checked_sub(time.elapsed()))
            .or(Some(window))
    }

    /// Adds what each answer says about the rate.
    fn with_rates(&self, answer: Answer, limit: usize, window: Duration) -> Answer {
        let first = self.times.front();
        let left = first
            .and_then(|time| window.checked_sub(time.elapsed()))
            .unwrap_or(window);
        let resets_at = now().timestamp() as f64 + left.as_secs_f64();
        let name = HeaderName::from_static;
        answer
            .with(name("x-ratelimit-limit"), limit)
            .with(name("x-ratelimit-remaining"), limit.saturating_sub(self.times.len()))
            .with(name("x-ratelimit-reset"), format!("{resets_at:.3}"))
            .with(name("x-ratelimit-reset-after"), format!("{:.3}", left.as_secs_f64()))
            .with(name("x-ratelimit-bucket"), "stand-in-webhook")
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

/// Reads the body of a message, and refuses what Discord refuses.
fn parse(id: u64, parts: &Parts, body: &[u8]) -> Result<Message, Refusal> {
    let kind = parts
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| kind.starts_with("application/json")) {
        return Err(Refusal::not_json());
    }
    let body: Map<String, Value> = serde_json::from_slice(body).map_err(|_| Refusal::not_json())?;
    // Discord ignores what it does not know, so that a client would not notice its mistake.
    if let Some(field) = body
        .keys()
        .find(|field| !["content", "allowed_mentions"].contains(&field.as_str()))
    {
        let what = if OTHER_FIELDS.contains(&field.as_str()) {
            format!("'{field}' of a message")
        } else {
            format!("'{field}', which no message has")
        };
        return Err(Refusal::unsupported(&what));
    }

    let content = match body.get("content") {
        None | Some(Value::Null) => "",
        Some(Value::String(content)) => content.trim(),
        Some(_) => {
            return Err(Refusal::field(
                "content",
                "STRING_TYPE_CONVERT",
                "Could not interpret value as string.",
            ));
        }
    };
    if content.is_empty() {
        return Err(Refusal::empty());
    }
    if content.chars().count() > CONTENT_MAX_CHARS {
        return Err(Refusal::field(
            "content",
            "BASE_TYPE_MAX_LENGTH",
            "Must be 2000 or fewer in length.",
        ));
    }
    let allowed = Allowed::parse(body.get("allowed_mentions"))?;
    Ok(Message {
        id,
        content: content.to_owned(),
        notifies: mentions(content).filter(|mention| allowed.allows(mention)).collect(),
    })
}

/// Which mentions notify.
struct Allowed {
    kinds: Vec<String>,
    users: Vec<String>,
    roles: Vec<String>,
}

impl Allowed {
    fn parse(value: Option<&Value>) -> Result<Self, Refusal> {
        let invalid = |code, message: &str| Refusal::field("allowed_mentions", code, message);
        let value = match value {
            // A webhook's message notifies the users that it mentions, if nothing else is said.
            None | Some(Value::Null) => &json!({ "parse": ["users"] }),
            Some(value) => value,
        };
        let value = value
            .as_object()
            .ok_or_else(|| invalid("DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType"))?;
        let list = |field: &str| -> Result<Vec<String>, Refusal> {
            let values = match value.get(field) {
                None | Some(Value::Null) => return Ok(Vec::new()),
                Some(values) => values.as_array(),
            };
            values
                .and_then(|values| values.iter().map(|value| value.as_str().map(str::to_owned)).collect())
                .ok_or_else(|| invalid("LIST_TYPE_CONVERT", "Only iterables may be used in a ListType"))
        };
        let allowed = Self {
            kinds: list("parse")?,
            users: list("users")?,
            roles: list("roles")?,
        };

        let is_known = |kind: &String| ["users", "roles", "everyone"].contains(&kind.as_str());
        if !allowed.kinds.iter().all(is_known) {
            return Err(invalid(
                "BASE_TYPE_CHOICES",
                "Value must be one of ('users', 'roles', 'everyone').",
            ));
        }
        for (kind, ids) in [("users", &allowed.users), ("roles", &allowed.roles)] {
            if ids.len() > 100 {
                return Err(invalid("BASE_TYPE_MAX_LENGTH", "Must be 100 or fewer in length."));
            }
            if !ids.is_empty() && allowed.kinds.iter().any(|allowed| allowed == kind) {
                return Err(invalid(
                    "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
                    "parse and a list of ids are mutually exclusive",
                ));
            }
        }
        Ok(allowed)
    }

    fn allows(&self, mention: &str) -> bool {
        let has = |kind: &str| self.kinds.iter().any(|allowed| allowed == kind);
        let id = mention.trim_matches(|character: char| !character.is_ascii_digit());
        let lists = |ids: &[String]| ids.iter().any(|allowed| allowed == id);
        if mention.starts_with("<@&") {
            has("roles") || lists(&self.roles)
        } else if mention.starts_with('<') {
            has("users") || lists(&self.users)
        } else {
            has("everyone")
        }
    }
}

/// The mentions in a text: `@everyone`, `@here`, `<@user>`, `<@!user>`, `<@&role>`.
fn mentions(content: &str) -> impl Iterator<Item = String> {
    let starts = content.match_indices(['@', '<']).map(|(start, _)| start);
    starts.filter_map(|start| {
        let (_, rest) = content.split_at(start);
        if let Some(word) = ["@everyone", "@here"].into_iter().find(|word| rest.starts_with(word)) {
            return Some(word.to_owned());
        }
        let (inner, _) = rest.strip_prefix("<@")?.split_once('>')?;
        let id = inner.trim_start_matches(['!', '&']);
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
        is_id.then(|| format!("<@{inner}>"))
    })
}

/// A token that nobody guesses.
fn token(prefix: &str) -> Result<String, StackError> {
    let mut random = [0; TOKEN_CHARS];
    getrandom::fill(&mut random)
        .map_err(|error| StackError::Failed(format!("there is no randomness for a webhook's token: {error}")))?;
    let letters = random
        .iter()
        .filter_map(|byte| ALPHABET.get(usize::from(byte % 64)))
        .map(|letter| char::from(*letter));
    Ok(prefix.chars().chain(letters).take(TOKEN_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_are_found_and_allowed_as_documented() {
        let text = "@here Hello <@&1234>, <@5678> and <@!90> <@> <@x> @everyone";
        let cases: [(Value, &[&str]); 5] = [
            (Value::Null, &["<@5678>", "<@!90>"]),
            (json!({ "parse": [] }), &[]),
            (
                json!({ "parse": ["users", "roles"], "users": [] }),
                &["<@&1234>", "<@5678>", "<@!90>"],
            ),
            (
                json!({ "parse": ["everyone"], "users": ["5678"] }),
                &["@here", "<@5678>", "@everyone"],
            ),
            (json!({}), &[]),
        ];

        for (allowed, expected) in cases {
            let rule = Allowed::parse(Some(&allowed)).unwrap();
            let notified: Vec<_> = mentions(text).filter(|mention| rule.allows(mention)).collect();
            assert_eq!(notified, expected, "{allowed}");
        }
    }

    #[test]
    fn a_token_is_long_and_of_discords_letters() {
        let token = token("canary-").unwrap();

        assert_eq!(token.len(), TOKEN_CHARS);
        assert!(token.starts_with("canary-"));
        assert!(token.bytes().all(|byte| ALPHABET.contains(&byte)));
    }

    #[test]
    fn ids_grow() {
        let mut webhooks = Webhooks::new(DiscordOptions::default());

        let ids: Vec<_> = (0..1000).map(|_| webhooks.snowflake()).collect();

        assert!(ids.is_sorted_by(|first, second| first < second));
    }
}
