//! Guilds, their channels, and the bots in them.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use serde_json::{Value, json};
use url::form_urlencoded;

use super::refusal::Refusal;
use crate::worlds::answer::Answer;

/// How many guilds are listed at once.
const PAGE_MAX: usize = 200;

/// A guild, which people call a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guild {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The text channel that each new guild has.
    pub general: u64,
}

/// A kind of channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelKind {
    /// For messages.
    Text,
    /// For voices.
    Voice,
    /// A heading for others.
    Category,
    /// For announcements, which are messages, too.
    Announcement,
    /// For threads.
    Forum,
}

impl ChannelKind {
    /// Its number on the wire.
    fn number(self) -> u8 {
        match self {
            Self::Text => 0,
            Self::Voice => 2,
            Self::Category => 4,
            Self::Announcement => 5,
            Self::Forum => 15,
        }
    }
}

/// All guilds.
#[derive(Debug, Default)]
pub(super) struct Guilds {
    by_id: BTreeMap<u64, Stored>,
    channels: BTreeMap<u64, Channel>,
}

#[derive(Debug)]
struct Stored {
    name: String,
    applications: BTreeSet<u64>,
}

#[derive(Debug)]
struct Channel {
    guild: u64,
    name: String,
    kind: ChannelKind,
    position: usize,
}

impl Guilds {
    pub(super) fn create(&mut self, id: u64, name: &str) {
        let stored = Stored {
            name: name.to_owned(),
            applications: BTreeSet::new(),
        };
        self.by_id.insert(id, stored);
    }

    pub(super) fn create_channel(&mut self, id: u64, guild: u64, name: &str, kind: ChannelKind) {
        let position = self.channels.values().filter(|channel| channel.guild == guild).count();
        let channel = Channel {
            guild,
            name: name.to_owned(),
            kind,
            position,
        };
        self.channels.insert(id, channel);
    }

    pub(super) fn delete_channel(&mut self, id: u64) {
        self.channels.remove(&id);
    }

    pub(super) fn add(&mut self, application: u64, guild: u64) {
        if let Some(guild) = self.by_id.get_mut(&guild) {
            guild.applications.insert(application);
        }
    }

    pub(super) fn remove(&mut self, application: u64, guild: u64) {
        if let Some(guild) = self.by_id.get_mut(&guild) {
            guild.applications.remove(&application);
        }
    }

    /// Whether an application is in a guild.
    pub(super) fn has(&self, application: u64, guild: u64) -> bool {
        let guild = self.by_id.get(&guild);
        guild.is_some_and(|guild| guild.applications.contains(&application))
    }

    /// How many guilds an application is in.
    pub(super) fn count(&self, application: u64) -> usize {
        let guilds = self.by_id.values();
        guilds.filter(|guild| guild.applications.contains(&application)).count()
    }

    /// A channel of a guild, as an interaction names it.
    pub(super) fn channel(&self, guild: u64, id: u64) -> Option<Value> {
        let channel = self.channels.get(&id).filter(|channel| channel.guild == guild)?;
        Some(channel.show(id))
    }

    /// `GET /users/@me/guilds`
    pub(super) fn list(&self, application: u64, query: &str) -> Result<Answer, Refusal> {
        let (mut after, mut limit) = (0, PAGE_MAX);
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "after" => after = snowflake("after", &value)?,
                "limit" => {
                    limit = value.parse().map_err(|_| {
                        Refusal::field("limit", "NUMBER_TYPE_COERCE", format!("Value \"{value}\" is not int."))
                    })?;
                }
                _ => return Err(Refusal::unsupported(&format!("'{name}' in a query"))),
            }
        }
        if limit < 1 {
            return Err(Refusal::field(
                "limit",
                "NUMBER_TYPE_MIN",
                "int value should be greater than or equal to 1.",
            ));
        }
        if limit > PAGE_MAX {
            return Err(Refusal::field(
                "limit",
                "NUMBER_TYPE_MAX",
                "int value should be less than or equal to 200.",
            ));
        }
        let guilds = self.by_id.range(after + 1..);
        let guilds = guilds.filter(|(_, guild)| guild.applications.contains(&application));
        let page: Value = guilds
            .take(limit)
            .map(|(id, guild)| {
                json!({
                    "id": id.to_string(), "name": guild.name, "icon": null, "banner": null, "owner": false,
                    "permissions": "2147483647", "features": [],
                })
            })
            .collect();
        Ok(Answer::json(StatusCode::OK, &page))
    }

    /// `GET /guilds/<id>/channels`
    pub(super) fn channels(&self, application: u64, guild: &str) -> Result<Answer, Refusal> {
        let guild = snowflake("guild_id", guild)?;
        if !self.by_id.contains_key(&guild) {
            return Err(Refusal::unknown_guild());
        }
        if !self.has(application, guild) {
            return Err(Refusal::missing_access());
        }
        let channels = self.channels.iter().filter(|(_, channel)| channel.guild == guild);
        let shown: Value = channels.map(|(id, channel)| channel.show(*id)).collect();
        Ok(Answer::json(StatusCode::OK, &shown))
    }

    /// The channel that a bot may write to.
    pub(super) fn writable(&self, application: u64, channel: &str) -> Result<u64, Refusal> {
        let id = snowflake("channel_id", channel)?;
        let channel = self.channels.get(&id).ok_or_else(Refusal::unknown_channel)?;
        if !self.has(application, channel.guild) {
            return Err(Refusal::missing_access());
        }
        if matches!(channel.kind, ChannelKind::Category | ChannelKind::Forum) {
            return Err(Refusal::not_a_text_channel());
        }
        Ok(id)
    }
}

impl Channel {
    fn show(&self, id: u64) -> Value {
        json!({
            "id": id.to_string(),
            "type": self.kind.number(),
            "guild_id": self.guild.to_string(),
            "name": self.name,
            "position": self.position,
            "parent_id": null,
            "permission_overwrites": [],
            "topic": null,
            "nsfw": false,
            "last_message_id": null,
            "rate_limit_per_user": 0,
            "flags": 0,
        })
    }
}

/// An id in a path or a query.
pub(super) fn snowflake(field: &'static str, text: &str) -> Result<u64, Refusal> {
    let message = format!("Value \"{text}\" is not snowflake.");
    text.parse()
        .map_err(|_| Refusal::field(field, "NUMBER_TYPE_COERCE", message))
}
