//! All that there is, and what each request means for it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use serde_json::{Map, Value, json};

use super::application::Delivered;
use super::bots::Bots;
use super::commands::Commands;
use super::fault::{Call, Faults};
use super::guilds::{Guilds, snowflake};
use super::handled::Handled;
use super::ids::{Ids, token};
use super::interactions::{Done, Interaction, Interactions, RecordedCall, VisibleMessage, loud};
use super::limits::Limits;
use super::message::{Draft, Purpose};
use super::people::{Deed, Person, payload};
use super::refusal::{Refusal, Scope, limited};
use super::webhooks::Webhooks;
use super::{DiscordOptions, INTERACTION_TOKEN_CHARS, now};
use crate::StackError;
use crate::worlds::answer::Answer;

/// The versions of the API that there are.
const VERSIONS: [&str; 2] = ["v9", "v10"];

/// How long a bot's nonce stands for its message.
const NONCE_LIFE: Duration = Duration::from_secs(180);

/// All that there is.
#[derive(Debug)]
pub(super) struct Discord {
    pub(super) options: DiscordOptions,
    pub(super) ids: Ids,
    pub(super) webhooks: Webhooks,
    pub(super) bots: Bots,
    pub(super) guilds: Guilds,
    pub(super) commands: Commands,
    pub(super) interactions: Interactions,
    pub(super) faults: Faults,
    pub(super) limits: Limits,
    /// Invalid requests, by application if that is known.
    pub(super) invalid: BTreeMap<Option<u64>, usize>,
    pub(super) complaints: Vec<String>,
    messages: Vec<BotMessage>,
    bot_calls: BTreeMap<u64, Vec<RecordedCall>>,
    started: Instant,
}

/// A message that a bot has written with its token.
#[derive(Debug)]
struct BotMessage {
    application: u64,
    channel: u64,
    nonce: Option<String>,
    at: Instant,
    message: VisibleMessage,
}

/// Whom a call is about.
#[derive(Debug, Clone, Copy)]
struct Subject<'a> {
    application: u64,
    interaction: Option<u64>,
    call: Call,
    /// What of the route the limit is for.
    resource: &'a str,
}

impl Discord {
    pub(super) fn new(options: DiscordOptions) -> Self {
        Self {
            ids: Ids::default(),
            webhooks: Webhooks::new(options.clone()),
            bots: Bots::default(),
            guilds: Guilds::default(),
            commands: Commands::default(),
            interactions: Interactions::default(),
            faults: Faults::default(),
            limits: Limits::new(options.route_limit, options.global_limit),
            invalid: BTreeMap::new(),
            complaints: Vec::new(),
            messages: Vec::new(),
            bot_calls: BTreeMap::new(),
            started: Instant::now(),
            options,
        }
    }

    /// Makes an interaction of a payload.
    pub(super) fn mint(&mut self, application: u64, payload: &Value) -> Result<Interaction, StackError> {
        let id = self.ids.snowflake();
        let token = token(&self.options.token_prefix, INTERACTION_TOKEN_CHARS)?;
        let mut body = payload.clone();
        let fields = body
            .as_object_mut()
            .ok_or_else(|| StackError::Failed("an interaction is an object".to_owned()))?;
        fields.insert("id".to_owned(), json!(id.to_string()));
        fields.insert("application_id".to_owned(), json!(application.to_string()));
        fields.insert("token".to_owned(), json!(token));
        fields.insert("version".to_owned(), json!(1));
        fields.entry("entitlements").or_insert_with(|| json!([]));
        let interaction = Interaction {
            id,
            application_id: application,
            token,
            body,
        };
        self.interactions.insert(interaction.clone());
        Ok(interaction)
    }

    /// Makes an interaction of what somebody does.
    pub(super) fn act(
        &mut self,
        application: u64,
        person: &Person,
        deed: &Deed<'_>,
    ) -> Result<Interaction, StackError> {
        let message_id = self.ids.snowflake();
        let known = (&self.guilds, &self.commands);
        let payload = payload(known, application, person, deed, message_id)?;
        self.mint(application, &payload)
    }

    /// Takes the answer to the request that delivered an interaction.
    pub(super) fn take_inline(&mut self, interaction: u64, answer: &Delivered) {
        let message_id = self.ids.snowflake();
        let complaint = self.interactions.take_inline(interaction, message_id, answer);
        self.complaints.extend(complaint);
    }

    /// The calls of an interaction or a bot.
    pub(super) fn recorded(&self, id: u64) -> Vec<RecordedCall> {
        let of_bot = self.bot_calls.get(&id).cloned();
        of_bot.unwrap_or_else(|| self.interactions.calls(id))
    }

    pub(super) fn channel_messages(&self, channel: u64) -> Vec<VisibleMessage> {
        let messages = self.messages.iter().filter(|message| message.channel == channel);
        messages.map(|message| message.message.clone()).collect()
    }

    /// Does what a request asks, or what a fault makes of it; one that is late is past its faults.
    pub(super) fn handle(&mut self, parts: &Parts, body: &[u8], is_late: bool) -> Handled {
        let agent = parts
            .headers
            .get(header::USER_AGENT)
            .and_then(|agent| agent.to_str().ok());
        if !is_late && !agent.is_some_and(|agent| agent.starts_with("DiscordBot (")) {
            self.complain(parts, "the client does not name itself in User-Agent as it is asked to");
        }
        let routed = self.route(parts, body, is_late);
        routed.unwrap_or_else(|refusal| {
            self.note(parts, &refusal);
            Handled::whole(refusal.answer())
        })
    }

    /// Finds what a path means.
    fn route(&mut self, parts: &Parts, body: &[u8], is_late: bool) -> Result<Handled, Refusal> {
        let path = parts.uri.path();
        let path = path.strip_prefix("/api/").ok_or_else(Refusal::path)?;
        let mut segments: Vec<_> = path.split('/').collect();
        if let Some(version) = segments.first().filter(|segment| is_version(segment)) {
            if !VERSIONS.contains(version) {
                return Err(Refusal::version());
            }
            segments.remove(0);
        }
        let method = parts.method.as_str();
        let (call, resource) = match (method, segments.as_slice()) {
            ("POST", ["interactions", id, token, "callback"]) => {
                return self.callback((id, token), parts, body, is_late);
            }
            (_, ["interactions", _, _, "callback"]) => return Err(Refusal::method()),
            (_, ["webhooks", id, token]) if !self.is_of_application(id) => {
                return match method {
                    "POST" => {
                        let message_id = self.ids.snowflake();
                        self.webhooks.execute(message_id, (id, token), parts, body, is_late)
                    }
                    "GET" => self.webhooks.show(id, token),
                    _ => Err(Refusal::method()),
                };
            }
            (_, ["webhooks", id, token, rest @ ..]) => {
                let call = match (method, rest) {
                    ("POST", []) => Call::FollowUp,
                    ("GET", ["messages", "@original"]) => Call::Original,
                    ("PATCH", ["messages", "@original"]) => Call::Edit,
                    ("DELETE", ["messages", "@original"]) => Call::Delete,
                    (_, [] | ["messages", "@original"]) => return Err(Refusal::method()),
                    _ => return Err(Refusal::path()),
                };
                return self.answer_interaction(call, (id, token), parts, body, is_late);
            }
            ("GET", ["users", "@me"]) => (Call::User, ""),
            ("GET", ["applications", "@me"]) => (Call::Application, ""),
            ("GET", ["users", "@me", "guilds"]) => (Call::Guilds, ""),
            ("GET", ["guilds", id, "channels"]) => (Call::Channels, *id),
            ("GET", ["applications", id, "commands"]) => (Call::Commands, *id),
            ("PUT", ["applications", id, "commands"]) => (Call::OverwriteCommands, *id),
            ("POST", ["channels", id, "messages"]) => (Call::CreateMessage, *id),
            _ => return Err(Refusal::path()),
        };

        let application = match self.bots.authenticate(&parts.headers) {
            Ok(application) => application,
            Err(refusal) => {
                *self.invalid.entry(None).or_default() += 1;
                return Err(refusal);
            }
        };
        let subject = Subject {
            application,
            interaction: None,
            call,
            resource,
        };
        Ok(self.serve(subject, parts, is_late, |discord| {
            discord.bot_call(subject, parts, body)
        }))
    }

    fn is_of_application(&self, id: &str) -> bool {
        id.parse().is_ok_and(|id| self.bots.knows(id))
    }

    /// Does a call, unless a fault or a limit is before it, and notes what came of it.
    fn serve(
        &mut self,
        subject: Subject<'_>,
        parts: &Parts,
        is_late: bool,
        act: impl FnOnce(&mut Self) -> Result<Done, Refusal>,
    ) -> Handled {
        let subjects = subject.interaction.into_iter().chain([subject.application]);
        let fault = (!is_late).then(|| self.faults.strike(subjects, subject.call)).flatten();
        let before = fault.and_then(Handled::before);
        if let Some(Handled::Later(delay)) = before {
            return Handled::Later(delay);
        }
        let excess = before
            .is_none()
            .then(|| self.limits.count(subject.application, subject.call, subject.resource))
            .flatten();
        let mut is_done = false;
        let handled = if let Some(before) = before {
            before
        } else if let Some(excess) = excess {
            let scope = if excess.is_global { Scope::Global } else { Scope::User };
            Handled::whole(limited(excess.wait, scope))
        } else {
            match act(self) {
                Ok((answer, complaint)) => {
                    is_done = true;
                    if let Some(complaint) = complaint {
                        self.complain(parts, &complaint);
                    }
                    Handled::after(answer, fault)
                }
                Err(refusal) => {
                    self.note(parts, &refusal);
                    Handled::after(refusal.answer(), fault)
                }
            }
        };
        let (application, call) = (subject.application, subject.call);
        let handled = handled.map(|answer| self.limits.describe(answer, application, call, subject.resource));
        self.count(subject, &handled, is_done);
        handled
    }

    /// Records a call.
    fn count(&mut self, subject: Subject<'_>, handled: &Handled, is_done: bool) {
        let status = handled.status();
        if handled.is_invalid_request() {
            *self.invalid.entry(Some(subject.application)).or_default() += 1;
        }
        if let Some(interaction) = subject.interaction {
            self.interactions.record(interaction, subject.call, status, is_done);
            return;
        }
        let recorded = RecordedCall {
            call: subject.call,
            after: self.started.elapsed(),
            status: status.map(|status| status.as_u16()),
            is_done,
        };
        self.bot_calls.entry(subject.application).or_default().push(recorded);
    }

    /// What a bot's token authorizes.
    fn bot_call(&mut self, subject: Subject<'_>, parts: &Parts, body: &[u8]) -> Result<Done, Refusal> {
        let Subject {
            application,
            call,
            resource,
            ..
        } = subject;
        let query = parts.uri.query().unwrap_or_default();
        let answer = match call {
            Call::User => self.bots.show_user(application),
            Call::Application => self.bots.show_application(application, self.guilds.count(application)),
            Call::Guilds => self.guilds.list(application, query)?,
            Call::Channels => self.guilds.channels(application, resource)?,
            Call::Commands | Call::OverwriteCommands => {
                if snowflake("application_id", resource)? != application {
                    return Err(Refusal::not_its_application());
                }
                if call == Call::Commands {
                    self.commands.show(application, query)?
                } else {
                    require_json(parts)?;
                    self.commands.overwrite(application, &mut self.ids, body)?
                }
            }
            Call::CreateMessage => return self.create_message(application, resource, parts, body),
            _ => return Err(Refusal::path()),
        };
        Ok((answer, None))
    }

    /// `POST /channels/<id>/messages`
    fn create_message(&mut self, application: u64, channel: &str, parts: &Parts, body: &[u8]) -> Result<Done, Refusal> {
        let channel = self.guilds.writable(application, channel)?;
        let draft = Draft::read(Purpose::Bot, &parts.headers, body)?;
        let (complaint, nonce) = (loud(&draft), draft.nonce.clone());
        let is_same = |earlier: &&BotMessage| {
            earlier.application == application && earlier.nonce == nonce && earlier.at.elapsed() < NONCE_LIFE
        };
        let known = self.messages.iter().filter(|_| nonce.is_some()).find(is_same);
        let (channel, message) = match known {
            Some(known) => (known.channel, known.message.clone()),
            None => {
                let message = VisibleMessage::new(self.ids.snowflake(), draft);
                self.messages.push(BotMessage {
                    application,
                    channel,
                    nonce: nonce.clone(),
                    at: Instant::now(),
                    message: message.clone(),
                });
                (channel, message)
            }
        };
        let shown = json!({
            "id": message.id.to_string(),
            "type": 0,
            "content": message.content,
            "channel_id": channel.to_string(),
            "author": self.bots.user(application),
            "nonce": nonce,
            "attachments": [],
            "embeds": [],
            "components": [],
            "mentions": [],
            "mention_roles": [],
            "mention_everyone": message.notifies.iter().any(|mention| mention.starts_with('@')),
            "pinned": false,
            "tts": false,
            "flags": 0,
            "timestamp": now().to_rfc3339(),
            "edited_timestamp": null,
        });
        Ok((Answer::json(StatusCode::OK, &shown), complaint))
    }

    /// `POST /interactions/<id>/<token>/callback`
    fn callback(
        &mut self,
        (id, token): (&str, &str),
        parts: &Parts,
        body: &[u8],
        is_late: bool,
    ) -> Result<Handled, Refusal> {
        let id = snowflake("interaction_id", id)?;
        let (_, application) = self
            .interactions
            .find(token)
            .filter(|(found, _)| *found == id)
            .ok_or_else(Refusal::unknown_interaction)?;
        let subject = Subject {
            application,
            interaction: Some(id),
            call: Call::Callback,
            resource: token,
        };
        Ok(self.serve(subject, parts, is_late, |discord| {
            refuse_query(parts)?;
            require_json(parts)?;
            let body: Map<String, Value> = serde_json::from_slice(body).map_err(|_| Refusal::not_json())?;
            let message_id = discord.ids.snowflake();
            discord.interactions.callback(id, message_id, &body)
        }))
    }

    /// `…/webhooks/<application>/<token>…`
    fn answer_interaction(
        &mut self,
        call: Call,
        (application, token): (&str, &str),
        parts: &Parts,
        body: &[u8],
        is_late: bool,
    ) -> Result<Handled, Refusal> {
        let application = snowflake("webhook_id", application)?;
        if !self.bots.knows(application) {
            return Err(Refusal::unknown_webhook());
        }
        let found = self.interactions.find(token).filter(|(_, of)| *of == application);
        let interaction = found.map(|(interaction, _)| interaction);
        let subject = Subject {
            application,
            interaction,
            call,
            resource: token,
        };
        Ok(self.serve(subject, parts, is_late, |discord| {
            let id = interaction.ok_or_else(Refusal::wrong_token)?;
            refuse_query(parts)?;
            let draft = |purpose| Draft::read(purpose, &parts.headers, body);
            let interactions = &mut discord.interactions;
            match call {
                Call::Original => interactions.original(id),
                Call::Edit => interactions.edit(id, draft(Purpose::Edit)?),
                Call::Delete => interactions.delete(id),
                _ => {
                    let message_id = discord.ids.snowflake();
                    interactions.follow_up(id, message_id, draft(Purpose::Interaction)?)
                }
            }
        }))
    }

    fn note(&mut self, parts: &Parts, refusal: &Refusal) {
        if refusal.is_complaint {
            self.complain(parts, &refusal.complaint());
        }
    }

    fn complain(&mut self, parts: &Parts, what: &str) {
        // A part of the path of a webhook or of an interaction is a secret.
        let path: Vec<_> = parts.uri.path().split('/').collect();
        let secret = path
            .iter()
            .position(|segment| ["webhooks", "interactions"].contains(segment))
            .map(|position| position + 2);
        let secret = secret.unwrap_or(path.len().saturating_sub(1));
        let shown: Vec<_> = path.iter().take(secret).copied().collect();
        self.complaints
            .push(format!("{} {}/…: {what}", parts.method, shown.join("/")));
    }
}

fn is_version(segment: &str) -> bool {
    segment
        .strip_prefix('v')
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn require_json(parts: &Parts) -> Result<(), Refusal> {
    let kind = parts.headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/json") {
        Ok(())
    } else {
        Err(Refusal::not_json())
    }
}

/// Nothing that the world knows may be in these queries.
fn refuse_query(parts: &Parts) -> Result<(), Refusal> {
    match parts.uri.query().filter(|query| !query.is_empty()) {
        Some(query) => Err(Refusal::unsupported(&format!("'{query}' in a query"))),
        None => Ok(()),
    }
}
