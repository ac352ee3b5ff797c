//! Interactions, from the moment that somebody uses a command until their tokens end
//! (<https://discord.com/developers/docs/interactions/receiving-and-responding>).
//!
//! The first answer comes within three seconds, inline or by the callback, and what follows within fifteen minutes. What the documentation does
//! not say is as Discord is seen to behave: a webhook that is called before the first answer is 404 `10015`
//! (<https://github.com/discordjs/discord.js/pull/10587>), and one whose token has ended is 401 `50027`
//! (<https://github.com/discord/discord-api-docs/issues/6851>).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::application::{Delivered, PATIENCE};
use super::fault::Call;
use super::message::{Draft, EPHEMERAL, File, Purpose, flags};
use super::now;
use super::refusal::Refusal;
use crate::worlds::answer::Answer;

/// How long a token is good for.
const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);

/// How many choices somebody is offered.
const CHOICES_MAX: usize = 25;

/// The longest name or value of a choice.
const CHOICE_MAX_CHARS: usize = 100;

/// The flag of a message that the bot is still thinking about.
const LOADING: u64 = 1 << 7;

/// A kind of interaction that the first answer depends on.
const PING: u64 = 1;
const AUTOCOMPLETE: u64 = 4;

/// Something that somebody has done and a bot is asked to answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Interaction {
    /// Its id.
    pub id: u64,
    /// The application that is asked.
    pub application_id: u64,
    /// The password for its answers.
    pub token: String,
    /// What is posted.
    pub body: Value,
}

/// How a first answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As the answer to Discord's request.
    Inline,
    /// By the callback.
    Callback,
}

/// The first answer of an interaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledged {
    /// How it came.
    pub way: Way,
    /// Its type: 1 pong, 4 message, 5 deferred, 8 choices.
    pub kind: u8,
    /// How long after Discord's request.
    pub after: Duration,
}

/// A message as a person in the channel sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibleMessage {
    /// Its id.
    pub id: u64,
    /// Its text.
    pub content: String,
    /// Whether only who has asked sees it.
    pub is_ephemeral: bool,
    /// Whether it says that the bot is thinking, and nothing else.
    pub is_thinking: bool,
    /// The text of the file that is attached.
    pub file: Option<String>,
    /// How often it was edited, the first time in place of the thinking.
    pub edits: u32,
    /// Who is notified by it.
    pub notifies: Vec<String>,
}

/// A call that a client made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedCall {
    /// What was called.
    pub call: Call,
    /// How long after the interaction's beginning, or the application's.
    pub after: Duration,
    /// The status of the answer; none if the client sees no answer.
    pub status: Option<u16>,
    /// Whether it was done, whatever the answer.
    pub is_done: bool,
}

/// All interactions.
#[derive(Debug, Default)]
pub(super) struct Interactions {
    by_id: BTreeMap<u64, Stored>,
    by_token: BTreeMap<String, u64>,
}

/// An interaction with what has become of it.
#[derive(Debug)]
struct Stored {
    interaction: Interaction,
    kind: u64,
    started: Instant,
    is_delivered: bool,
    /// How much older it is than it seems.
    age: Duration,
    is_expired: bool,
    is_forgotten: bool,
    /// Whether the client has been told that the token is worth nothing.
    is_told: bool,
    acknowledged: Option<Acknowledged>,
    inline: Option<Value>,
    original: Option<u64>,
    messages: Vec<VisibleMessage>,
    choices: Vec<Value>,
    calls: Vec<RecordedCall>,
}

/// What was done, and what a correct client does not do.
pub(super) type Done = (Answer, Option<String>);

impl Interactions {
    pub(super) fn insert(&mut self, interaction: Interaction) {
        let stored = Stored {
            kind: interaction.body.get("type").and_then(Value::as_u64).unwrap_or_default(),
            started: Instant::now(),
            is_delivered: false,
            age: Duration::ZERO,
            is_expired: false,
            is_forgotten: false,
            is_told: false,
            acknowledged: None,
            inline: None,
            original: None,
            messages: Vec::new(),
            choices: Vec::new(),
            calls: Vec::new(),
            interaction: interaction.clone(),
        };
        self.by_token.insert(interaction.token, interaction.id);
        self.by_id.insert(interaction.id, stored);
    }

    /// Notes that it is posted, from when its time runs.
    pub(super) fn begin(&mut self, id: u64) {
        if let Some(stored) = self.by_id.get_mut(&id).filter(|stored| !stored.is_delivered) {
            stored.is_delivered = true;
            stored.started = Instant::now();
        }
    }

    pub(super) fn age(&mut self, id: u64, by: Duration) {
        if let Some(stored) = self.by_id.get_mut(&id) {
            stored.age += by;
        }
    }

    pub(super) fn expire(&mut self, id: u64) {
        if let Some(stored) = self.by_id.get_mut(&id) {
            stored.is_expired = true;
        }
    }

    pub(super) fn forget(&mut self, id: u64) {
        if let Some(stored) = self.by_id.get_mut(&id) {
            stored.is_forgotten = true;
        }
    }

    pub(super) fn acknowledged(&self, id: u64) -> Option<Acknowledged> {
        self.by_id.get(&id).and_then(|stored| stored.acknowledged)
    }

    /// Whether nobody has answered in time.
    pub(super) fn has_failed(&self, id: u64) -> bool {
        let stored = self.by_id.get(&id);
        stored.is_some_and(|stored| stored.acknowledged.is_none() && stored.elapsed() > PATIENCE)
    }

    pub(super) fn visible(&self, id: u64) -> Vec<VisibleMessage> {
        let stored = self.by_id.get(&id);
        stored.map(|stored| stored.messages.clone()).unwrap_or_default()
    }

    pub(super) fn choices(&self, id: u64) -> Vec<Value> {
        let stored = self.by_id.get(&id);
        stored.map(|stored| stored.choices.clone()).unwrap_or_default()
    }

    pub(super) fn calls(&self, id: u64) -> Vec<RecordedCall> {
        let stored = self.by_id.get(&id);
        stored.map(|stored| stored.calls.clone()).unwrap_or_default()
    }

    pub(super) fn record(&mut self, id: u64, call: Call, status: Option<StatusCode>, is_done: bool) {
        if let Some(stored) = self.by_id.get_mut(&id) {
            let recorded = RecordedCall {
                call,
                after: stored.started.elapsed(),
                status: status.map(|status| status.as_u16()),
                is_done,
            };
            stored.calls.push(recorded);
        }
    }

    /// The interaction of a token, and its application.
    pub(super) fn find(&self, token: &str) -> Option<(u64, u64)> {
        let id = self.by_token.get(token)?;
        let stored = self.by_id.get(id)?;
        Some((*id, stored.interaction.application_id))
    }

    /// `POST /interactions/<id>/<token>/callback`
    pub(super) fn callback(&mut self, id: u64, message_id: u64, body: &Map<String, Value>) -> Result<Done, Refusal> {
        let stored = self.by_id.get_mut(&id).ok_or_else(Refusal::unknown_interaction)?;
        if stored.acknowledged.is_some() {
            return Err(Refusal::acknowledged());
        }
        if stored.elapsed() > PATIENCE || stored.is_expired || stored.is_forgotten {
            return Err(Refusal::unknown_interaction());
        }
        let complaint = stored.acknowledge(Way::Callback, message_id, body)?;
        Ok((Answer::empty(StatusCode::NO_CONTENT), complaint))
    }

    /// Takes the answer to Discord's own request; what it complains of is wrong with that.
    pub(super) fn take_inline(&mut self, id: u64, message_id: u64, delivered: &Delivered) -> Option<String> {
        let stored = self.by_id.get_mut(&id)?;
        let answer = (delivered.status == 200).then_some(&delivered.body);
        let is_closed = delivered.status == 202 && delivered.is_empty;
        let what = format!("{} {}", delivered.status, delivered.body);
        if let Some(acknowledged) = stored.acknowledged {
            let is_repeated = answer.is_some_and(|answer| {
                stored.inline.as_ref() == Some(answer)
                    || (acknowledged.kind, answer.get("type")) == (5, Some(&json!(5)))
            });
            return (!is_closed && !is_repeated)
                .then(|| format!("an interaction that has its first answer is answered with {what}"));
        }
        if stored.elapsed() > PATIENCE || is_closed || delivered.status >= 400 {
            return None;
        }
        let Some(Value::Object(body)) = answer else {
            return Some(format!("an interaction is answered with {what}"));
        };
        stored.inline = Some(delivered.body.clone());
        match stored.acknowledge(Way::Inline, message_id, body) {
            Ok(complaint) => complaint,
            Err(refusal) => Some(refusal.complaint()),
        }
    }

    /// `GET /webhooks/<application>/<token>/messages/@original`
    pub(super) fn original(&mut self, id: u64) -> Result<Done, Refusal> {
        let stored = self.open(id)?;
        let (position, _) = stored.original_message()?;
        Ok((stored.show(position), None))
    }

    /// `PATCH /webhooks/<application>/<token>/messages/@original`
    pub(super) fn edit(&mut self, id: u64, draft: Draft) -> Result<Done, Refusal> {
        let stored = self.open(id)?;
        let complaint = loud(&draft);
        let (position, message) = stored.original_message()?;
        message.apply(draft);
        Ok((stored.show(position), complaint))
    }

    /// `DELETE /webhooks/<application>/<token>/messages/@original`
    pub(super) fn delete(&mut self, id: u64) -> Result<Done, Refusal> {
        let stored = self.open(id)?;
        let (position, _) = stored.original_message()?;
        stored.messages.remove(position);
        Ok((Answer::empty(StatusCode::NO_CONTENT), None))
    }

    /// `POST /webhooks/<application>/<token>`
    pub(super) fn follow_up(&mut self, id: u64, message_id: u64, draft: Draft) -> Result<Done, Refusal> {
        let stored = self.open(id)?;
        let complaint = loud(&draft);
        if let Ok((position, message)) = stored.original_message()
            && message.is_thinking
        {
            // So Discord still does for old clients.
            message.apply(draft);
            let complaint = "a message that follows a deferral takes its place, which is deprecated";
            return Ok((stored.show(position), Some(complaint.to_owned())));
        }
        stored.messages.push(VisibleMessage::new(message_id, draft));
        let position = stored.messages.len() - 1;
        Ok((stored.show(position), complaint))
    }

    /// An interaction whose token is good.
    fn open(&mut self, id: u64) -> Result<&mut Stored, Refusal> {
        let stored = self.by_id.get_mut(&id).ok_or_else(Refusal::wrong_token)?;
        let refusal = if stored.is_forgotten {
            Refusal::unknown_webhook()
        } else if stored.is_expired || stored.elapsed() >= TOKEN_LIFE {
            Refusal::wrong_token()
        } else if stored.acknowledged.is_none() {
            return Err(Refusal::unknown_webhook());
        } else {
            return Ok(stored);
        };
        let is_told = std::mem::replace(&mut stored.is_told, true);
        Err(if is_told { refusal.again() } else { refusal })
    }
}

impl Stored {
    fn elapsed(&self) -> Duration {
        self.started.elapsed() + self.age
    }

    /// Takes a first answer.
    fn acknowledge(&mut self, way: Way, message_id: u64, body: &Map<String, Value>) -> Result<Option<String>, Refusal> {
        if let Some(field) = body.keys().find(|field| !["type", "data"].contains(&field.as_str())) {
            return Err(Refusal::unsupported(&format!("'{field}', which no answer has")));
        }
        let empty = Map::new();
        let data = match body.get("data") {
            None | Some(Value::Null) => &empty,
            Some(data) => data.as_object().ok_or_else(|| {
                Refusal::field(
                    "data",
                    "DICT_TYPE_CONVERT",
                    "Only dictionaries may be used in a DictType",
                )
            })?,
        };
        let mut complaint = None;
        let kind = body.get("type").and_then(Value::as_u64).unwrap_or_default();
        let kind = match (self.kind, kind) {
            (PING, 1) => 1,
            (PING | AUTOCOMPLETE, 4 | 5) | (2.., 1) | (1..=3 | 5.., 8) => {
                return Err(Refusal::field(
                    "type",
                    "INTERACTION_APPLICATION_COMMAND_INVALID_TYPE",
                    format!("Type {kind} is no answer to an interaction of type {}.", self.kind),
                ));
            }
            (_, 4) => {
                let draft = Draft::parse(Purpose::Interaction, data, Vec::new())?;
                complaint = loud(&draft);
                self.put_original(VisibleMessage::new(message_id, draft));
                4
            }
            (_, 5) => {
                if let Some(field) = data.keys().find(|field| *field != "flags") {
                    return Err(Refusal::unsupported(&format!("'{field}' of a deferral")));
                }
                let is_ephemeral = flags(data.get("flags"))? == EPHEMERAL;
                self.put_original(VisibleMessage::thinking(message_id, is_ephemeral));
                5
            }
            (_, 8) => {
                self.choices = choices(data)?;
                8
            }
            (_, kind @ (6 | 7 | 9 | 10 | 12)) => {
                return Err(Refusal::unsupported(&format!("answers of type {kind}")));
            }
            (_, kind) => {
                return Err(Refusal::field(
                    "type",
                    "BASE_TYPE_CHOICES",
                    format!("{kind} is no type of an answer."),
                ));
            }
        };
        self.acknowledged = Some(Acknowledged {
            way,
            kind,
            after: self.elapsed(),
        });
        Ok(complaint)
    }

    fn put_original(&mut self, message: VisibleMessage) {
        self.original = Some(message.id);
        self.messages.push(message);
    }

    /// The first answer, if it is a message and still there.
    fn original_message(&mut self) -> Result<(usize, &mut VisibleMessage), Refusal> {
        let original = self.original.ok_or_else(Refusal::unknown_message)?;
        let mut messages = self.messages.iter_mut().enumerate();
        messages
            .find(|(_, message)| message.id == original)
            .ok_or_else(Refusal::unknown_message)
    }

    /// A message as its client sees it.
    fn show(&self, position: usize) -> Answer {
        let shown = self.messages.get(position).map(|message| {
            let flags = u64::from(message.is_ephemeral) * EPHEMERAL + u64::from(message.is_thinking) * LOADING;
            json!({
                "id": message.id.to_string(),
                "type": if self.original == Some(message.id) { 20 } else { 0 },
                "content": message.content,
                "channel_id": self.interaction.body.get("channel_id"),
                "application_id": self.interaction.application_id.to_string(),
                "webhook_id": self.interaction.application_id.to_string(),
                "author": { "id": self.interaction.application_id.to_string(), "bot": true, "username": "bot" },
                "attachments": message.file.iter().map(|text| json!({
                    "id": message.id.to_string(), "filename": "file", "size": text.len(),
                })).collect::<Value>(),
                "embeds": [],
                "components": [],
                "mentions": [],
                "mention_roles": [],
                "mention_everyone": message.notifies.iter().any(|mention| mention.starts_with('@')),
                "pinned": false,
                "tts": false,
                "flags": flags,
                "timestamp": now().to_rfc3339(),
                "edited_timestamp": (message.edits > 0).then(|| now().to_rfc3339()),
            })
        });
        Answer::json(StatusCode::OK, &shown.unwrap_or_default())
    }
}

impl VisibleMessage {
    pub(super) fn new(id: u64, draft: Draft) -> Self {
        Self {
            id,
            content: draft.content.unwrap_or_default(),
            is_ephemeral: draft.is_ephemeral,
            is_thinking: false,
            file: text(draft.files),
            edits: 0,
            notifies: draft.notifies,
        }
    }

    fn thinking(id: u64, is_ephemeral: bool) -> Self {
        Self {
            id,
            content: String::new(),
            is_ephemeral,
            is_thinking: true,
            file: None,
            edits: 0,
            notifies: Vec::new(),
        }
    }

    /// Changes what is said; who sees it stays as it is.
    fn apply(&mut self, draft: Draft) {
        if let Some(content) = draft.content {
            self.content = content;
            self.notifies = draft.notifies;
        }
        let file = text(draft.files);
        if file.is_some() || !draft.keeps_files {
            self.file = file;
        }
        self.is_thinking = false;
        self.edits += 1;
    }
}

/// What is in the files of a message.
fn text(files: Vec<File>) -> Option<String> {
    let texts: Vec<_> = files.into_iter().map(|file| file.text).collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// What to say of a message that may notify somebody.
pub(super) fn loud(draft: &Draft) -> Option<String> {
    let is_loud = !draft.is_silent && draft.content.is_some();
    is_loud.then(|| "a message does not say that it mentions nobody".to_owned())
}

/// The choices that somebody is offered, if they are as they must be.
fn choices(data: &Map<String, Value>) -> Result<Vec<Value>, Refusal> {
    let invalid = |field: String, code, message: &str| Refusal::field(field, code, message);
    let choices = data.get("choices").and_then(Value::as_array).ok_or_else(|| {
        invalid(
            "data.choices".to_owned(),
            "LIST_TYPE_CONVERT",
            "Only iterables may be used in a ListType",
        )
    })?;
    if choices.len() > CHOICES_MAX {
        return Err(invalid(
            "data.choices".to_owned(),
            "BASE_TYPE_BAD_LENGTH",
            "Must be between 0 and 25 in length.",
        ));
    }
    for (index, choice) in choices.iter().enumerate() {
        for field in ["name", "value"] {
            let length = choice
                .get(field)
                .and_then(Value::as_str)
                .map(|text| text.chars().count());
            if !length.is_some_and(|length| (1..=CHOICE_MAX_CHARS).contains(&length)) {
                return Err(invalid(
                    format!("data.choices.{index}.{field}"),
                    "BASE_TYPE_BAD_LENGTH",
                    "Must be between 1 and 100 in length.",
                ));
            }
        }
    }
    Ok(choices.clone())
}
