//! Discord, as far as this application has to do with it: webhooks, applications with their commands and interactions, and bots in guilds.
//!
//! Everything is kept as Discord keeps it, refused as the [documentation](https://discord.com/developers/docs) says and the service is known to do,
//! and limited in its rate. Each webhook, each interaction and all calls of an application fail on request, and have limits of their own, so that
//! tests that run side by side keep apart by having their own of them.
//!
//! A developer [makes](DiscordWorld::create_application) an application and a [bot](DiscordWorld::create_bot), which is
//! [added](DiscordWorld::add_to_guild) to a guild and registers its commands over HTTP. A [person](DiscordWorld::create_person) there
//! [uses](DiscordWorld::use_command) one, which makes an [`Interaction`]; that is [delivered](DiscordWorld::deliver), and then is
//! [to be seen](DiscordWorld::visible) what has come of it.

mod application;
mod bots;
mod checked;
mod commands;
mod fault;
mod guilds;
mod handled;
mod ids;
mod interactions;
mod limits;
mod message;
mod multipart;
mod people;
mod refusal;
mod serve;
mod webhooks;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::connection::Connection;
use super::server::Server;
use crate::StackError;
use application::PATIENCE;
use handled::Handled;
use people::Deed;
use serve::Discord;

pub use application::{Application, Delivered, Forgery};
pub use bots::Bot;
pub use fault::{Call, Fault};
pub use guilds::{ChannelKind, Guild};
pub use interactions::{Acknowledged, Interaction, RecordedCall, VisibleMessage, Way};
pub use message::File;
pub use people::Person;
pub use webhooks::{Message, Webhook};

/// The largest body that is read.
const BODY_LIMIT_BYTES: usize = 25 * 1024 * 1024;

/// How long an interaction's token is.
const INTERACTION_TOKEN_CHARS: usize = 180;

/// How long Discord's connection stays after the first answer.
const CONNECTION_LIFE: Duration = Duration::from_secs(15 * 60);

/// How often it is looked whether there is a first answer.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// How the world behaves.
#[derive(Debug, Clone)]
pub struct DiscordOptions {
    /// What the secret part of each token begins with, in letters, digits, `-` and `_`.
    pub token_prefix: String,
    /// How many messages a webhook takes, and in what time.
    pub webhook_limit: (usize, Duration),
    /// How many calls of each route of an application are taken, and in what time.
    pub route_limit: (usize, Duration),
    /// How many calls of a bot are taken in all, and in what time.
    pub global_limit: (usize, Duration),
}

impl Default for DiscordOptions {
    fn default() -> Self {
        Self {
            token_prefix: String::new(),
            webhook_limit: (5, Duration::from_secs(2)),
            route_limit: (50, Duration::from_secs(1)),
            global_limit: (50, Duration::from_secs(1)),
        }
    }
}

/// What came of the delivery of an interaction.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The first answer; none if the person was told that the application did not respond.
    pub acknowledged: Option<Acknowledged>,
    /// The answer to Discord's request; none if there was none: Discord has given up, or the connection broke.
    pub answer: Option<Delivered>,
}

/// A stand-in for Discord.
#[derive(Debug)]
pub struct DiscordWorld {
    server: Server,
    state: Arc<Mutex<Discord>>,
}

impl DiscordWorld {
    /// Starts a world without webhooks, applications or guilds.
    pub async fn start(options: DiscordOptions) -> Result<Self, StackError> {
        let state = Arc::new(Mutex::new(Discord::new(options)));
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

    /// An id that nothing else has: of a guild, of an interaction.
    pub fn new_id(&self) -> u64 {
        self.discord().ids.snowflake()
    }

    /// Requests that a correct client does not make: unknown paths, malformed or unsupported bodies, messages that may notify somebody, calls of
    /// webhooks that are known to be gone; and wrong answers to interactions.
    pub fn complaints(&self) -> Vec<String> {
        self.discord().complaints.clone()
    }

    /// Ends the world; connections to it are refused from then on.
    pub async fn stop(self) {
        drop(self);
    }

    /// All that there is, to look at or to change.
    fn discord(&self) -> MutexGuard<'_, Discord> {
        lock(&self.state)
    }
}

/// Webhooks.
impl DiscordWorld {
    /// Makes a webhook, as somebody does in a channel's settings.
    pub fn create_webhook(&self) -> Result<Webhook, StackError> {
        let discord = &mut *self.discord();
        discord.webhooks.create(&mut discord.ids)
    }

    /// Deletes a webhook, as somebody does in a channel's settings. Its messages stay.
    pub fn delete_webhook(&self, id: u64) {
        self.discord().webhooks.delete(id);
    }

    /// The messages that a webhook has sent, oldest first.
    pub fn messages(&self, id: u64) -> Vec<Message> {
        self.discord().webhooks.messages(id)
    }

    /// How often a webhook was called, whatever came of it.
    pub fn calls(&self, id: u64) -> u32 {
        self.discord().webhooks.calls(id)
    }

    /// Makes the next `times` calls of a webhook fail; what is already to fail fails first.
    pub fn fail(&self, id: u64, fault: Fault, times: usize) {
        self.discord().webhooks.fail(id, fault, times);
    }
}

/// Applications, bots and guilds.
impl DiscordWorld {
    /// Makes an application, as a developer does, with a key of its own.
    pub fn create_application(&self) -> Result<Application, StackError> {
        let discord = &mut *self.discord();
        let application = Application::new(discord.ids.snowflake())?;
        discord.bots.register(&application, &mut discord.ids);
        Ok(application)
    }

    /// Makes a token for the bot of an application, as a developer does who resets it: the one before is worth nothing from then on.
    pub fn create_bot(&self, application: &Application) -> Result<Bot, StackError> {
        let discord = &mut *self.discord();
        let prefix = discord.options.token_prefix.clone();
        discord.bots.reset_token(application.id, &prefix)
    }

    /// Makes the token of an application's bot worth nothing.
    pub fn revoke_bot(&self, application: u64) {
        self.discord().bots.revoke_token(application);
    }

    /// The commands that an application has registered, as Discord shows them.
    pub fn commands(&self, application: u64) -> Vec<Value> {
        self.discord().commands.list(application)
    }

    /// Registers commands as the application does with its bot's token; the error says what is wrong with them.
    pub fn register_commands(&self, application: u64, commands: &[Value]) -> Result<(), StackError> {
        let discord = &mut *self.discord();
        let body = json!(commands).to_string();
        let registered = discord
            .commands
            .overwrite(application, &mut discord.ids, body.as_bytes());
        registered
            .map(drop)
            .map_err(|refusal| StackError::Failed(refusal.complaint()))
    }

    /// Lets an application have an Activity, and with it a command that opens that.
    pub fn enable_activity(&self, application: u64) {
        let discord = &mut *self.discord();
        discord.commands.add_entry_point(application, &mut discord.ids);
    }

    /// Makes a guild, with a text channel and without bots.
    pub fn create_guild(&self, name: &str) -> Guild {
        let discord = &mut *self.discord();
        let (id, general) = (discord.ids.snowflake(), discord.ids.snowflake());
        discord.guilds.create(id, name);
        discord.guilds.create_channel(general, id, "general", ChannelKind::Text);
        Guild {
            id,
            name: name.to_owned(),
            general,
        }
    }

    /// Makes a channel in a guild.
    pub fn create_channel(&self, guild: u64, name: &str, kind: ChannelKind) -> u64 {
        let discord = &mut *self.discord();
        let id = discord.ids.snowflake();
        discord.guilds.create_channel(id, guild, name, kind);
        id
    }

    /// Deletes a channel.
    pub fn delete_channel(&self, channel: u64) {
        self.discord().guilds.delete_channel(channel);
    }

    /// Adds an application with its bot to a guild, as somebody does who manages that.
    pub fn add_to_guild(&self, application: u64, guild: u64) {
        self.discord().guilds.add(application, guild);
    }

    /// Removes an application with its bot from a guild.
    pub fn remove_from_guild(&self, application: u64, guild: u64) {
        self.discord().guilds.remove(application, guild);
    }

    /// The messages that bots have written in a channel with their tokens, oldest first. What answers an interaction is not among them.
    pub fn channel_messages(&self, channel: u64) -> Vec<VisibleMessage> {
        self.discord().channel_messages(channel)
    }
}

/// Interactions.
impl DiscordWorld {
    /// Makes somebody who looks at the first channel of a guild and may what everybody may.
    pub fn create_person(&self, guild: &Guild, name: &str) -> Person {
        Person {
            id: self.new_id(),
            name: name.to_owned(),
            permissions: Person::EVERYBODY,
            guild: guild.id,
            channel: guild.general,
        }
    }

    /// Makes an interaction of a payload, with an id and a token of its own, for this application.
    pub fn mint(&self, application: &Application, payload: &Value) -> Result<Interaction, StackError> {
        let discord = &mut *self.discord();
        discord.mint(application.id, payload)
    }

    /// Somebody uses a slash command. The error says why it is not possible.
    pub fn use_command(
        &self,
        application: &Application,
        person: &Person,
        name: &str,
        options: &[(&str, Value)],
    ) -> Result<Interaction, StackError> {
        self.discord()
            .act(application.id, person, &Deed::Command(name, options))
    }

    /// Somebody uses a command of the menu of a message with this text.
    pub fn use_message_command(
        &self,
        application: &Application,
        person: &Person,
        name: &str,
        content: &str,
    ) -> Result<Interaction, StackError> {
        self.discord()
            .act(application.id, person, &Deed::OnMessage(name, content))
    }

    /// Somebody has typed this into an option that is completed, after filling in others.
    pub fn type_option(
        &self,
        application: &Application,
        person: &Person,
        name: &str,
        options: &[(&str, Value)],
        focused: (&str, &str),
    ) -> Result<Interaction, StackError> {
        let deed = Deed::Typing(name, options, focused);
        self.discord().act(application.id, person, &deed)
    }

    /// Posts an interaction, signed. After three seconds without a first answer Discord hangs up, and the application has not responded; else this
    /// ends when the request is answered. An interaction that is delivered twice is as old as it was.
    pub async fn deliver(
        &self,
        application: &Application,
        url: &str,
        interaction: &Interaction,
    ) -> Result<Outcome, StackError> {
        self.post(application, url, interaction, false).await
    }

    /// The same, but Discord hangs up as soon as it has the first answer.
    pub async fn deliver_and_hang_up(
        &self,
        application: &Application,
        url: &str,
        interaction: &Interaction,
    ) -> Result<Outcome, StackError> {
        self.post(application, url, interaction, true).await
    }

    /// Makes an interaction of a payload and delivers it.
    pub async fn interact(
        &self,
        application: &Application,
        url: &str,
        payload: &Value,
    ) -> Result<(Interaction, Outcome), StackError> {
        let interaction = self.mint(application, payload)?;
        let outcome = self.deliver(application, url, &interaction).await?;
        Ok((interaction, outcome))
    }

    /// The first answer of an interaction, if it came in time.
    pub fn acknowledged(&self, interaction: u64) -> Option<Acknowledged> {
        self.discord().interactions.acknowledged(interaction)
    }

    /// Whether somebody was told that the application did not respond.
    pub fn has_failed(&self, interaction: u64) -> bool {
        self.discord().interactions.has_failed(interaction)
    }

    /// The messages that have come of an interaction, as who has asked sees them.
    pub fn visible(&self, interaction: u64) -> Vec<VisibleMessage> {
        self.discord().interactions.visible(interaction)
    }

    /// The choices that somebody is offered who types an option.
    pub fn choices(&self, interaction: u64) -> Vec<Value> {
        self.discord().interactions.choices(interaction)
    }

    /// Makes an interaction older, for the three seconds as well as for the fifteen minutes.
    pub fn age(&self, interaction: u64, by: Duration) {
        self.discord().interactions.age(interaction, by);
    }

    /// Ends the token of an interaction at once: its webhook answers 401 `50027` from then on.
    pub fn expire(&self, interaction: u64) {
        self.discord().interactions.expire(interaction);
    }

    /// Loses an interaction, as Discord now and then does: its webhook answers 404 `10015` from then on.
    pub fn forget(&self, interaction: u64) {
        self.discord().interactions.forget(interaction);
    }

    /// Posts an interaction and waits for what comes first.
    async fn post(
        &self,
        application: &Application,
        url: &str,
        interaction: &Interaction,
        hangs_up: bool,
    ) -> Result<Outcome, StackError> {
        self.discord().interactions.begin(interaction.id);
        let started = Instant::now();
        let is_over = |hangs_up| match self.acknowledged(interaction.id) {
            Some(_) => hangs_up,
            None => started.elapsed() > PATIENCE,
        };
        let over = async |hangs_up| {
            while !is_over(hangs_up) {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let answer = tokio::select! {
            answer = application.post(url, &interaction.body, CONNECTION_LIFE) => match answer {
                Ok(answer) => Some(answer),
                Err(error) => {
                    tracing::debug!(%error, "an interaction is not answered");
                    None
                }
            },
            () = over(hangs_up) => None,
        };
        if let Some(answer) = &answer {
            self.discord().take_inline(interaction.id, answer);
        }
        // Without an answer, or after one that says that there was another, that may still come.
        if answer.as_ref().is_none_or(|answer| answer.status == 202) {
            over(true).await;
        }
        Ok(Outcome {
            acknowledged: self.acknowledged(interaction.id),
            answer,
        })
    }
}

/// What goes wrong, and what was called.
impl DiscordWorld {
    /// Makes the next `times` calls of a kind fail, of an interaction or of a whole application, whichever has this id; what is already to fail fails
    /// first, and what is planned for an interaction before what is planned for its application.
    pub fn fail_call(&self, id: u64, call: Call, fault: Fault, times: usize) {
        self.discord().faults.plan(id, call, fault, times);
    }

    /// Forgets what is to fail of an interaction or an application.
    pub fn mend(&self, id: u64) {
        self.discord().faults.mend(id);
    }

    /// Limits how many calls of a kind of an application are taken, and in what time.
    pub fn limit_calls(&self, application: u64, call: Call, limit: (usize, Duration)) {
        self.discord().limits.set(application, call, limit);
    }

    /// Limits how many calls of an application's bot are taken in all, and in what time.
    pub fn limit_globally(&self, application: u64, limit: (usize, Duration)) {
        self.discord().limits.set_global(application, limit);
    }

    /// The calls that an interaction's token has authorized, or a bot's; in the order in which they were made.
    pub fn recorded(&self, id: u64) -> Vec<RecordedCall> {
        self.discord().recorded(id)
    }

    /// How many requests Discord counts as invalid, of which ten thousand in ten minutes lead to a ban: 401, 403, and 429 that are not shared.
    pub fn invalid_requests(&self) -> usize {
        self.discord().invalid.values().sum()
    }

    /// How many of them were an application's, as far as it is known whose they were.
    pub fn invalid_requests_of(&self, application: u64) -> usize {
        self.discord()
            .invalid
            .get(&Some(application))
            .copied()
            .unwrap_or_default()
    }
}

/// Answers any request.
async fn answer(
    State(state): State<Arc<Mutex<Discord>>>,
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

    let mut handled = lock(&state).handle(&parts, &body, false);
    if let Handled::Later(delay) = handled {
        // It is done even if the client has hung up by then.
        let later = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            lock(&state).handle(&parts, &body, true)
        });
        match later.await {
            Ok(done) => handled = done,
            Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
    match handled {
        Handled::Answered {
            answer,
            delivery,
            delay,
        } => {
            tokio::time::sleep(delay).await;
            answer.deliver(delivery, &connection).await
        }
        Handled::Later(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

fn lock(state: &Mutex<Discord>) -> MutexGuard<'_, Discord> {
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
