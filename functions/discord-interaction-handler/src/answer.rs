//! The answer to an interaction that was deferred: found, written, shown. In the interaction's own request or in a sweep, it is the same.
//!
//! What is written before anything is shown is the answer, whoever found it. That a message is about to be sent is written before it is, so that who takes over
//! after a death knows what may be there; an edit is repeated then, and a further message never.

mod step;

use std::ops::ControlFlow;
use std::time::Duration;

use agentopia_clients::discord::{DiscordError, File, MessagePart};
use agentopia_domain::discord::answer::{AnswerPlan, FILE_NAME, beginning, plan, whole_as_file};
use agentopia_domain::ids::UserId;
use agentopia_domain::retry::{Failure, RetryPolicy};
use agentopia_domain::secrets::{Belonging, BotTokenContext, InteractionTokenContext};
use agentopia_platform::db::OperationError;
use agentopia_platform::db::discord_interactions::{
    self, Answer, ErrandKind, InteractionOutcome, OpenInteraction, Progress,
};
use agentopia_platform::db::jobs::{Job, Settlement};
use agentopia_platform::log::Level;
use agentopia_platform::outbound::within;
use agentopia_platform::serve::log_best_effort;
use agentopia_platform::{RequestContext, random};
use secrecy::SecretString;

use self::step::{Fate, State, Step, fate, next_step};
use crate::app::App;
use crate::functions::Unanswered;
use crate::text::{as_code, written};
use crate::{activation, chat};

/// What is left of a lease when nothing more is begun: for the last statement.
const RESERVE: Duration = Duration::from_secs(10);
/// What is left for the messages when an agent has been asked.
const FOR_MESSAGES: Duration = Duration::from_secs(12);
/// How long a sweep may be at answers: `heartbeat`'s sweep waits 100 s for it.
const SWEEP_LIMIT: Duration = Duration::from_secs(85);
/// What `chat` takes beside its model: to store the question and the reply.
const STORING: Duration = Duration::from_secs(20);
/// How long starting and stopping a worker may take.
const ACTIVATION_LIMIT: Duration = Duration::from_secs(30);
/// A command to a worker that is older is not carried out: another may have been given since.
const ACTIVATION_AGE: Duration = Duration::from_secs(60);
/// A token that ends sooner is not used any more.
const LAST_MOMENT: Duration = Duration::from_secs(3);
/// So long before its end the answer is that there is none.
const LAST_MINUTE: Duration = Duration::from_secs(60);
/// How long all messages of a run may be tried again, together.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is tried again at once.
const AT_ONCE: RetryPolicy = RetryPolicy {
    retries: 4,
    base: Duration::from_millis(500),
    longest_pause: Duration::from_secs(5),
};
/// What is left to a sweep: doubled from five seconds up to a minute.
const BY_SWEEPS: RetryPolicy = RetryPolicy {
    retries: u32::MAX,
    base: Duration::from_secs(5),
    longest_pause: Duration::from_secs(60),
};
/// How long after the token's end the channel is tried to be told, if it certainly was not.
const TELLING: Duration = Duration::from_secs(5 * 60);
/// The longest answer, in characters.
const ANSWER_MAX_CHARS: usize = 200_000;

const TOO_LATE: &str = "Sorry, this took too long: it could not be answered in time. Please ask again.";
const NOT_IN_TIME: &str = "Sorry, this could not be done in time. Please use the command again.";
const NOT_TAKEN: &str = "Sorry, Discord does not take the answer.";
const EMPTY: &str = "Sorry, the answer is empty. Please ask again.";

/// How long a run may take, so that it is over before its lease is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    ends_at: Duration,
}

impl Budget {
    /// That of a lease which begins now or later.
    pub(crate) fn of_lease(app: &App, context: &RequestContext) -> Self {
        Self {
            ends_at: context.elapsed().saturating_add(app.lease()).saturating_sub(RESERVE),
        }
    }

    /// That of a sweep, which nobody waits for much longer.
    pub(crate) fn of_sweep(app: &App, context: &RequestContext) -> Self {
        Self {
            ends_at: Self::of_lease(app, context)
                .ends_at
                .min(context.elapsed().saturating_add(SWEEP_LIMIT)),
        }
    }

    fn left(self, context: &RequestContext) -> Duration {
        self.ends_at.saturating_sub(context.elapsed())
    }

    /// What a lease must be from now on, to last as long.
    fn lease(self, context: &RequestContext) -> Duration {
        self.left(context).saturating_add(RESERVE)
    }
}

/// An interaction that this request has the right to answer.
pub(crate) struct Answering<'a> {
    app: &'a App,
    context: &'a RequestContext,
    job: &'a Job,
    budget: Budget,
    interaction: OpenInteraction,
    /// When it was read, by the request's clock.
    read_at: Duration,
    /// Whether Discord is known to have been told.
    is_told: bool,
    progress: Progress,
    patience: Duration,
}

/// A message to be sent.
enum Message<'m> {
    /// The first answer becomes this one.
    Original {
        token: &'m SecretString,
        part: MessagePart<'m>,
    },
    /// One after it.
    Further { token: &'m SecretString, content: &'m str },
    /// One of the bot's own.
    InChannel { bot: &'m SecretString, content: &'m str },
}

impl Message<'_> {
    /// Whether it is there once, however often it is sent: an edit is, and so soon after the first time the bot's message is by its nonce.
    fn may_be_repeated(&self) -> bool {
        !matches!(self, Self::Further { .. })
    }
}

/// A message that was sent as often as was worth it.
struct Sent {
    result: Result<(), DiscordError>,
    /// Whether any of the times may have succeeded.
    is_doubtful: bool,
    /// For how long Discord is not to be called at all.
    pause: Option<Duration>,
}

/// Whether to go on. A run ends when its interaction is settled or left, or its lease was lost.
type Flow = ControlFlow<()>;

impl<'a> Answering<'a> {
    pub(crate) fn new(
        app: &'a App,
        context: &'a RequestContext,
        job: &'a Job,
        budget: Budget,
        interaction: OpenInteraction,
        read_at: Duration,
        is_told: bool,
    ) -> Self {
        let progress = Progress {
            parts_begun: interaction.parts_begun,
            parts_sent: interaction.parts_sent,
            is_doubtful: interaction.is_doubtful,
        };
        Self {
            app,
            context,
            job,
            budget,
            interaction,
            read_at,
            is_told,
            progress,
            patience: PATIENCE,
        }
    }

    /// Takes the answer as far as it comes for now, and leaves the job accordingly.
    ///
    /// # Errors
    ///
    /// If the database is unavailable; another takes over then, when the lease runs out.
    pub(crate) async fn run(mut self) -> Result<(), OperationError> {
        loop {
            let state = State {
                parts: self.interaction.answer.is_some().then(|| count(&self.plan().parts)),
                is_told: self.is_told,
                progress: self.progress,
                is_over: self.token_left() < LAST_MOMENT,
            };
            let flow = match next_step(&state) {
                Step::Finish => self.finish(self.outcome()).await?,
                Step::Expire => self.finish(InteractionOutcome::Expired).await?,
                _ if self.budget.left(self.context).is_zero() => self.leave_untried().await?,
                Step::TellInChannel => self.tell_in_channel().await?,
                Step::Look => self.look().await?,
                Step::Find => self.find().await?,
                Step::Send(part) => self.send(part).await?,
                Step::SendWhole => self.send_whole().await?,
            };
            if flow.is_break() {
                return Ok(());
            }
        }
    }

    /// The answer as it is sent.
    fn plan(&self) -> AnswerPlan {
        plan(self.text())
    }

    fn text(&self) -> &str {
        let answer = self.interaction.answer.as_ref();
        answer.map_or("", |answer| answer.text.as_str())
    }

    /// Looks at what whoever asked sees: only where an answer is awaited is one looked for.
    async fn look(&mut self) -> Result<Flow, OperationError> {
        let token = match self.token() {
            Ok(token) => token,
            Err(cause) => return self.leave_sealed(cause).await,
        };
        let seen = self
            .app
            .discord
            .original(self.context, &self.interaction.application_id, &token);
        let limit = self.budget.left(self.context);
        let seen = within(limit, seen).await.unwrap_or(Err(DiscordError::TimedOut));

        match &seen {
            Ok(original) if original.is_thinking => {
                self.is_told = true;
                Ok(Flow::Continue(()))
            }
            // It was told at once that it could not be done, before it was known to be written down.
            Ok(_) => self.finish(InteractionOutcome::Apologised).await,
            // It was never told, or is not to be answered any more.
            Err(error) if fate(&Err(error.clone())) == Fate::Gone => self.finish(InteractionOutcome::Gone).await,
            Err(error) => {
                let sent = Sent {
                    pause: count_refusal(self.app, self.context, self.interaction.user_id, error).await,
                    result: Err(error.clone()),
                    is_doubtful: false,
                };
                self.leave_unsent(&sent).await
            }
        }
    }

    /// Finds the answer and writes it, or leaves the job until it can be found.
    async fn find(&mut self) -> Result<Flow, OperationError> {
        let left = self.budget.left(self.context).saturating_sub(FOR_MESSAGES);
        let token_left = self.token_left().saturating_sub(FOR_MESSAGES);
        let found = if token_left.is_zero() {
            Err(Unanswered::Apology(TOO_LATE.to_owned()))
        } else if left.is_zero() {
            return self.leave_untried().await;
        } else {
            self.ask(left.min(token_left)).await
        };
        let answer = match found {
            Ok(text) => match written(&text, ANSWER_MAX_CHARS) {
                Some(text) => Answer {
                    text,
                    is_apology: false,
                },
                None => apology(EMPTY.to_owned()),
            },
            Err(Unanswered::Apology(text)) => apology(text),
            Err(Unanswered::Later { after, cause }) => {
                let after = pause(self.job.attempts, Failure::Transient { retry_after: after });
                if self.token_left() > after.saturating_add(LAST_MINUTE) {
                    self.context
                        .line(Level::Warn, "interaction_left")
                        .with("interaction", self.interaction.id.to_string())
                        .with("cause", cause.as_str())
                        .emit();
                    return self.leave(&Settlement::Failed { after, cause }).await;
                }
                apology(TOO_LATE.to_owned())
            }
        };

        let (db, id) = (&self.app.db, self.interaction.id);
        let lease = self.budget.lease(self.context);
        let counts =
            discord_interactions::write_interaction_answer(db, self.context, id, self.job, &answer, lease).await?;
        let Some(counts) = counts else {
            return Ok(Flow::Break(()));
        };
        self.interaction.answer = Some(counts);
        Ok(Flow::Continue(()))
    }

    /// Asks whoever knows the answer, and waits for at most so long.
    async fn ask(&self, limit: Duration) -> Result<String, Unanswered> {
        let (functions, interaction, attempts) = (&self.app.functions, &self.interaction, self.job.attempts);
        match interaction.kind {
            ErrandKind::Ask | ErrandKind::AskAbout => {
                let limit = limit.min(self.app.chat_deadline.saturating_add(STORING));
                chat::ask(functions, self.context, interaction, attempts, limit).await
            }
            ErrandKind::Activate | ErrandKind::Deactivate if interaction.age() > ACTIVATION_AGE => {
                Err(Unanswered::Apology(NOT_IN_TIME.to_owned()))
            }
            ErrandKind::Activate | ErrandKind::Deactivate => {
                let limit = limit.min(ACTIVATION_LIMIT);
                activation::ask(functions, self.context, interaction, attempts, limit).await
            }
        }
    }

    /// Sends a part of the answer.
    async fn send(&mut self, part: u32) -> Result<Flow, OperationError> {
        let token = match self.token() {
            Ok(token) => token,
            Err(cause) => return self.leave_sealed(cause).await,
        };
        let before = self.progress;
        self.progress.parts_begun = part;
        if self.note().await?.is_break() {
            return Ok(Flow::Break(()));
        }

        let plan = self.plan();
        let sent = if part == 1 {
            self.edit(&token, &plan).await
        } else {
            let index = usize::try_from(part).unwrap_or(usize::MAX).saturating_sub(1);
            let message = Message::Further {
                token: &token,
                content: plan.parts.get(index).map(String::as_str).unwrap_or_default(),
            };
            self.patiently(&message).await
        };

        let fate = fate(&sent.result);
        if fate != Fate::There && sent.is_doubtful {
            self.progress.is_doubtful |= part == 1;
        } else if fate == Fate::NotThere || (fate == Fate::Refused && part == 1) {
            // It is certainly not there.
            self.progress = before;
        }
        match fate {
            Fate::There => {
                self.progress.parts_sent = part;
                Ok(Flow::Continue(()))
            }
            Fate::Gone => self.finish(InteractionOutcome::Gone).await,
            Fate::Refused if part == 1 => self.apologise(&token, &sent).await,
            // The next step shows all of it by an edit.
            Fate::Refused | Fate::Doubtful if part > 1 => Ok(Flow::Continue(())),
            Fate::Refused | Fate::Doubtful | Fate::NotThere => self.leave_unsent(&sent).await,
        }
    }

    /// Shows all of the answer by an edit.
    async fn send_whole(&mut self) -> Result<Flow, OperationError> {
        let token = match self.token() {
            Ok(token) => token,
            Err(cause) => return self.leave_sealed(cause).await,
        };
        let whole = whole_as_file(self.text());
        let sent = self.edit(&token, &whole).await;

        match fate(&sent.result) {
            Fate::There => self.finish(self.outcome()).await,
            Fate::Gone => self.finish(InteractionOutcome::Gone).await,
            // What is shown already is better than an apology in its place.
            Fate::Refused if self.progress.parts_sent > 0 && sent.is_forbidden() => self.leave_unsent(&sent).await,
            Fate::Refused if self.progress.parts_sent > 0 => self.cut_short(&token).await,
            Fate::Refused => self.apologise(&token, &sent).await,
            Fate::NotThere | Fate::Doubtful => self.leave_unsent(&sent).await,
        }
    }

    /// Shows the beginning of the answer alone, and says that there is more: Discord does not take it as a file.
    async fn cut_short(&mut self, token: &SecretString) -> Result<Flow, OperationError> {
        let beginning = beginning(self.text());
        let sent = self.edit(token, &beginning).await;

        match fate(&sent.result) {
            Fate::NotThere | Fate::Doubtful => self.leave_unsent(&sent).await,
            Fate::There | Fate::Gone | Fate::Refused => self.finish(self.outcome()).await,
        }
    }

    /// Says that Discord does not take the answer.
    async fn apologise(&mut self, token: &SecretString, refused: &Sent) -> Result<Flow, OperationError> {
        self.context
            .line(Level::Error, "answer_refused")
            .with("interaction", self.interaction.id.to_string())
            .with_some("cause", refused.cause())
            .emit();
        let sent = self.edit(token, &plan(NOT_TAKEN)).await;

        match fate(&sent.result) {
            Fate::There => self.finish(InteractionOutcome::Apologised).await,
            // Whoever is shut out for a while is let in again.
            Fate::Refused if sent.is_forbidden() => self.leave_unsent(&sent).await,
            Fate::Gone | Fate::Refused => self.finish(InteractionOutcome::Gone).await,
            Fate::NotThere | Fate::Doubtful => {
                self.progress.is_doubtful |= sent.is_doubtful;
                self.leave_unsent(&sent).await
            }
        }
    }

    /// Makes the original message be the first part of a plan.
    async fn edit(&mut self, token: &SecretString, plan: &AnswerPlan) -> Sent {
        let part = MessagePart {
            content: plan.parts.first().map(String::as_str).unwrap_or_default(),
            file: plan.file.as_deref().map(file),
        };
        self.patiently(&Message::Original { token, part }).await
    }

    /// Says in the channel, as the bot, that there is no answer: there is no other way when the token is over.
    async fn tell_in_channel(&mut self) -> Result<Flow, OperationError> {
        let Some(bot) = self.bot() else {
            return self.finish(InteractionOutcome::Expired).await;
        };
        let agent = as_code(&self.interaction.agent_name);
        let text = if self.interaction.is_ephemeral {
            format!("Sorry, a request to {agent} could not be answered in time. Please ask again.")
        } else {
            let author_id = &self.interaction.author_id;
            format!("<@{author_id}>: Sorry, {agent} could not be reached in time. Please ask again.")
        };
        let message = Message::InChannel {
            bot: &bot,
            content: &text,
        };
        let sent = self.patiently(&message).await;

        match fate(&sent.result) {
            Fate::NotThere if !sent.is_doubtful && self.interaction.time_over() < TELLING => {
                self.leave_unsent(&sent).await
            }
            _ => {
                if let Some(cause) = sent.cause() {
                    self.context
                        .line(Level::Warn, "channel_not_told")
                        .with("interaction", self.interaction.id.to_string())
                        .with("cause", cause)
                        .emit();
                }
                self.finish(InteractionOutcome::Expired).await
            }
        }
    }

    /// Sends a message until it is there, is not worth repeating, or patience ends. One that may not be repeated ends when it may be there.
    async fn patiently(&mut self, message: &Message<'_>) -> Sent {
        let mut sent = Sent {
            result: Ok(()),
            is_doubtful: false,
            pause: None,
        };
        let mut attempt = 0;
        loop {
            let began = self.context.elapsed();
            let limit = self.budget.left(self.context);
            let error = match within(limit, self.transmit(message))
                .await
                .unwrap_or(Err(DiscordError::TimedOut))
            {
                Ok(()) => {
                    sent.result = Ok(());
                    return sent;
                }
                Err(error) => error,
            };
            sent.is_doubtful |= error.is_ambiguous();
            sent.pause = count_refusal(self.app, self.context, self.interaction.user_id, &error).await;
            self.patience = self
                .patience
                .saturating_sub(self.context.elapsed().saturating_sub(began));
            let time_left = self.patience.min(self.budget.left(self.context));
            let pause = AT_ONCE.pause(error.failure(), attempt, time_left, random::fraction());
            let is_final = sent.pause.is_some() || (sent.is_doubtful && !message.may_be_repeated());
            sent.result = Err(error);
            let Some(pause) = pause.filter(|_| !is_final) else {
                return sent;
            };
            agentopia_platform::sleep(pause).await;
            self.patience = self.patience.saturating_sub(pause);
            attempt += 1;
        }
    }

    /// Sends a message, once.
    async fn transmit(&self, message: &Message<'_>) -> Result<(), DiscordError> {
        let (discord, context, interaction) = (&self.app.discord, self.context, &self.interaction);
        match message {
            Message::Original { token, part } => {
                discord
                    .edit_original(context, &interaction.application_id, token, part)
                    .await
            }
            Message::Further { token, content } => {
                let (application_id, is_ephemeral) = (&interaction.application_id, interaction.is_ephemeral);
                discord
                    .follow_up(context, application_id, token, content, is_ephemeral)
                    .await
            }
            Message::InChannel { bot, content } => {
                let (channel_id, nonce) = (&interaction.channel_id, &interaction.interaction_id);
                discord.create_message(context, bot, channel_id, content, nonce).await
            }
        }
    }

    /// Writes how far it has come.
    async fn note(&self) -> Result<Flow, OperationError> {
        let (db, id) = (&self.app.db, self.interaction.id);
        let lease = self.budget.lease(self.context);
        let noted =
            discord_interactions::note_interaction_parts(db, self.context, id, self.job, self.progress, lease).await?;
        Ok(if noted.held {
            Flow::Continue(())
        } else {
            Flow::Break(())
        })
    }

    /// Leaves everything to a sweep for which there is no time left.
    async fn leave_untried(&self) -> Result<Flow, OperationError> {
        if self.note().await?.is_break() {
            return Ok(Flow::Break(()));
        }
        self.leave(&Settlement::Again(Duration::ZERO)).await
    }

    /// Leaves a message to a sweep that was tried often enough.
    async fn leave_unsent(&self, sent: &Sent) -> Result<Flow, OperationError> {
        let cause = sent.cause().unwrap_or_default();
        let failure = match &sent.result {
            Err(error) => error.failure(),
            Ok(()) => Failure::Transient { retry_after: None },
        };
        let after = pause(self.job.attempts, failure).max(sent.pause.unwrap_or_default());
        // Whatever Discord asks for: the end of the token is looked at, and then the channel is told.
        let token_left = self.token_left();
        let after = after.min(if token_left < LAST_MOMENT {
            BY_SWEEPS.longest_pause
        } else {
            token_left
        });
        self.context
            .line(Level::Warn, "answer_unsent")
            .with("interaction", self.interaction.id.to_string())
            .with("cause", cause.as_str())
            .emit();
        if self.note().await?.is_break() {
            return Ok(Flow::Break(()));
        }
        self.leave(&Settlement::Failed { after, cause }).await
    }

    /// Leaves an interaction whose token does not open. An operator may mend that while it lives.
    async fn leave_sealed(&self, cause: String) -> Result<Flow, OperationError> {
        self.context
            .line(Level::Error, "interaction_token_sealed")
            .with("interaction", self.interaction.id.to_string())
            .with("cause", cause.as_str())
            .emit();
        let after = BY_SWEEPS.longest_pause.min(self.token_left());
        self.leave(&Settlement::Failed { after, cause }).await
    }

    async fn leave(&self, settlement: &Settlement) -> Result<Flow, OperationError> {
        self.settle(settlement, None).await
    }

    async fn finish(&self, outcome: InteractionOutcome) -> Result<Flow, OperationError> {
        self.context
            .line(Level::Info, "interaction_finished")
            .with("interaction", self.interaction.id.to_string())
            .with("outcome", outcome.as_str())
            .emit();
        self.settle(&Settlement::Done, Some(outcome)).await
    }

    async fn settle(
        &self,
        settlement: &Settlement,
        outcome: Option<InteractionOutcome>,
    ) -> Result<Flow, OperationError> {
        let (db, id, is_doubtful) = (&self.app.db, self.interaction.id, self.progress.is_doubtful);
        discord_interactions::settle_interaction(db, self.context, id, self.job, settlement, outcome, is_doubtful)
            .await?;
        Ok(Flow::Break(()))
    }

    fn outcome(&self) -> InteractionOutcome {
        if self.interaction.answer.as_ref().is_some_and(|answer| answer.is_apology) {
            InteractionOutcome::Apologised
        } else {
            InteractionOutcome::Answered
        }
    }

    /// How long the interaction's token lives.
    fn token_left(&self) -> Duration {
        let since = self.context.elapsed().saturating_sub(self.read_at);
        self.interaction.time_left().saturating_sub(since)
    }

    /// The interaction's token, or why there is none.
    fn token(&self) -> Result<SecretString, String> {
        let belonging = InteractionTokenContext {
            application_id: &self.interaction.application_id,
            interaction_id: &self.interaction.interaction_id,
        };
        open(self.app, &belonging, &self.interaction.token_sealed)
    }

    /// The token of the application's bot.
    fn bot(&self) -> Option<SecretString> {
        let bot = self.interaction.bot.as_ref()?;
        let belonging = BotTokenContext {
            user_id: self.interaction.user_id,
            agent_id: bot.agent_id,
        };
        let opened = open(self.app, &belonging, &bot.token_sealed);
        opened
            .map_err(|cause| log_best_effort(self.context, "bot_token_sealed", Err(cause)))
            .ok()
    }
}

impl Sent {
    /// Why it is not known to be there.
    fn cause(&self) -> Option<String> {
        self.result.as_ref().err().map(ToString::to_string)
    }

    /// Whether it is not the message that Discord does not take.
    fn is_forbidden(&self) -> bool {
        matches!(
            self.result,
            Err(DiscordError::Forbidden(_) | DiscordError::Unauthorized(_))
        )
    }
}

/// Counts a call that Discord holds against us. For how long it is not to be called, if there were too many.
pub(crate) async fn count_refusal(
    app: &App,
    context: &RequestContext,
    user_id: UserId,
    error: &DiscordError,
) -> Option<Duration> {
    if !error.is_invalid_request() {
        return None;
    }
    let noted = discord_interactions::note_invalid_request(&app.db, context, Some(user_id)).await;
    noted
        .map_err(|error| log_best_effort(context, "discord_refusal_not_counted", Err(error)))
        .ok()
        .flatten()
}

fn open(app: &App, belonging: &impl Belonging, sealed: &str) -> Result<SecretString, String> {
    let keyring = app.sealing.keyring().map_err(|error| error.message().to_owned())?;
    let opened = keyring.open(belonging, sealed).map_err(|error| error.to_string())?;
    let text = std::str::from_utf8(opened.as_bytes()).map_err(|error| error.to_string())?;
    Ok(text.into())
}

fn apology(text: String) -> Answer {
    Answer { text, is_apology: true }
}

/// How many parts there are.
fn count(parts: &[String]) -> u32 {
    u32::try_from(parts.len()).unwrap_or(u32::MAX)
}

fn file(text: &str) -> File<'_> {
    File { name: FILE_NAME, text }
}

/// The pause before a job that has failed `attempts` times before is tried again.
fn pause(attempts: u32, failure: Failure) -> Duration {
    BY_SWEEPS.pause_of_job(failure, attempts, random::fraction())
}
