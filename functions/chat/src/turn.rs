//! A turn that was begun: the model is asked, and what comes of it is stored.

use std::time::{Duration, Instant};

use agentopia_clients::openai::{self, Completion, Delta, ModelError};
use agentopia_domain::chat::{
    AgentProfile, ContextWindow, Conversation, CountTokens, EstimatedTokens, FinishReason, HistoryMessage, Member,
    MemberKind, Reply, Speaker, TurnContext, Usage, WindowBudget, WorkspaceProfile, build_window,
};
use agentopia_domain::ids::AgentId;
use agentopia_domain::retry::{Failure, RetryPolicy};
use agentopia_platform::db::Caller;
use agentopia_platform::db::OperationError;
use agentopia_platform::db::chat::{
    self, CompleteTurn, ConversationKind, FailTurn, HistoryRow, MemberKindRow, SenderKind, StartedTurn, TurnCost,
    WorkspaceRow,
};
use agentopia_platform::error::Kind;
use agentopia_platform::outbound::within;
use agentopia_platform::serve::log_best_effort;
use agentopia_platform::{ApiError, RequestContext, random};
use serde_json::{Value, json};

use crate::app::App;
use crate::message::AgentMessage;
use crate::response::reply_response;

/// The window of a conversation that no workspace sets limits for, in tokens.
const DEFAULT_WINDOW_TOKENS: u32 = 8000;

/// Two more attempts, as the providers' own libraries make them.
const MODEL_RETRIES: RetryPolicy = RetryPolicy {
    retries: 2,
    base: Duration::from_millis(500),
    longest_pause: Duration::from_secs(10),
};

/// An answer that was paid for is worth some patience with the database.
const STORAGE_RETRIES: RetryPolicy = RetryPolicy {
    retries: 4,
    base: Duration::from_millis(500),
    longest_pause: Duration::from_secs(4),
};
/// How long storing an answer may be tried, beyond the turn's deadline if need be.
const STORAGE_PATIENCE: Duration = Duration::from_secs(15);

/// Somebody who may listen while an answer comes.
pub(crate) trait Listener {
    /// Hears the next piece of the answer.
    async fn hears(&mut self, text: &str);

    /// Waits for `work`, and may do something against the silence.
    async fn waits_for<T: Send>(&mut self, work: impl Future<Output = T> + Send) -> T;
}

/// A turn that this request holds.
pub(crate) struct Turn {
    app: App,
    context: RequestContext,
    caller: Caller,
    started: StartedTurn,
    window: ContextWindow,
    model: String,
    max_output_tokens: u32,
}

/// What a turn is charged with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Charged {
    pub(crate) usage: Usage,
    /// Whether it is our estimate, because the provider did not say.
    pub(crate) estimated: bool,
}

impl Turn {
    pub(crate) fn new(
        app: App,
        context: RequestContext,
        caller: Caller,
        started: StartedTurn,
        message: &AgentMessage,
    ) -> Self {
        let model = started.agent.model.clone().unwrap_or_else(|| app.default_model.clone());
        let max_output_tokens = started.agent.max_output_tokens.unwrap_or(app.max_output_tokens);
        let window = window(&started, message, max_output_tokens);

        Self {
            app,
            context,
            caller,
            started,
            window,
            model,
            max_output_tokens,
        }
    }

    /// What the database said when the turn began.
    pub(crate) fn started(&self) -> &StartedTurn {
        &self.started
    }

    /// The model that answers.
    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// Asks the model and stores its answer. Returns the response to the client.
    ///
    /// # Errors
    ///
    /// If the model said nothing, and then the turn is given up; or if its answer could not be stored.
    pub(crate) async fn run(&self, listener: &mut impl Listener) -> Result<Value, ApiError> {
        let asked = Instant::now();
        match self.ask(listener).await {
            Ok(reply) => self.complete(&reply, asked.elapsed()).await,
            Err(error) => {
                let error = model_failure(&error);
                self.give_up(error.code(), asked.elapsed()).await;
                Err(error)
            }
        }
    }

    /// Asks until an answer begins, an attempt is not worth repeating, or the time is over.
    async fn ask(&self, listener: &mut impl Listener) -> Result<Reply, ModelError> {
        let mut attempt = 0;
        loop {
            let error = match self.attempt(listener).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            let pause = MODEL_RETRIES.pause(error.as_failure(), attempt, self.time_left(), random::fraction());
            let Some(pause) = pause else { return Err(error) };
            listener.waits_for(agentopia_platform::sleep(pause)).await;
            attempt += 1;
        }
    }

    /// One call of the model. Once there is text, there is a reply, if only a partial one: what a client has read cannot be unsaid.
    async fn attempt(&self, listener: &mut impl Listener) -> Result<Reply, ModelError> {
        let completion = Completion {
            model: &self.model,
            messages: &self.window.messages,
            temperature: self.started.agent.temperature,
            max_output_tokens: self.max_output_tokens,
        };
        let head = within(self.time_left(), self.app.model.complete(&self.context, &completion));
        let mut answer = listener.waits_for(head).await.ok_or(ModelError::TimedOut)??;

        let mut text = String::new();
        let mut usage = None;
        let mut finish_reason = FinishReason::Other;
        loop {
            let part = listener.waits_for(within(self.time_left(), answer.next())).await;
            match part.unwrap_or(Some(Err(ModelError::TimedOut))) {
                Some(Ok(Delta::Text(piece))) => {
                    listener.hears(&piece).await;
                    text.push_str(&piece);
                }
                Some(Ok(Delta::Finished(reason))) => finish_reason = reason,
                Some(Ok(Delta::Used(used))) => usage = Some(used),
                None => break,
                Some(Err(error)) if text.is_empty() => return Err(error),
                Some(Err(_)) => {
                    finish_reason = FinishReason::Interrupted;
                    break;
                }
            }
        }
        if text.trim().is_empty() {
            return Err(ModelError::Malformed("the answer is empty".to_owned()));
        }
        // Postgres has no NUL in text.
        Ok(Reply {
            text: text.replace('\0', ""),
            finish_reason,
            usage,
        })
    }

    /// Stores the answer, trying again while the database is away: storing it twice is harmless.
    async fn complete(&self, reply: &Reply, duration: Duration) -> Result<Value, ApiError> {
        let charged = self.charge(reply);
        let input = CompleteTurn {
            turn_id: self.started.turn_id,
            lease_id: self.started.lease_id,
            content: &reply.text,
            is_partial: reply.is_partial(),
            metadata: json!({ "model": self.model, "finish_reason": reply.finish_reason }),
            cost: self.cost(charged.usage, duration),
            response: reply_response(self, reply, charged),
        };

        let began = Instant::now();
        let mut attempt = 0;
        loop {
            let error = match chat::complete_turn(&self.app.db, &self.context, &self.caller, &input).await {
                Ok(completed) => return Ok(completed.response),
                Err(error) => error,
            };
            let failure = match &error {
                OperationError::Unavailable(_) => Failure::Transient { retry_after: None },
                OperationError::Refused { .. } | OperationError::Failed(_) => Failure::Permanent,
            };
            let time_left = STORAGE_PATIENCE.saturating_sub(began.elapsed());
            let Some(pause) = STORAGE_RETRIES.pause(failure, attempt, time_left, random::fraction()) else {
                return Err(error.into());
            };
            agentopia_platform::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Gives the turn up. If even that fails, its lease runs out.
    async fn give_up(&self, error_code: &str, duration: Duration) {
        let input = FailTurn {
            turn_id: self.started.turn_id,
            lease_id: self.started.lease_id,
            error_code,
            cost: self.cost(Usage::default(), duration),
        };
        let result = chat::fail_turn(&self.app.db, &self.context, &self.caller, &input).await;
        log_best_effort(&self.context, "turn_not_given_up", result);
    }

    fn charge(&self, reply: &Reply) -> Charged {
        match reply.usage {
            Some(usage) => Charged {
                usage,
                estimated: false,
            },
            None => {
                let output_tokens = EstimatedTokens.count(&reply.text);
                let usage = Usage {
                    input_tokens: self.window.input_tokens,
                    output_tokens,
                };
                Charged { usage, estimated: true }
            }
        }
    }

    fn cost(&self, usage: Usage, duration: Duration) -> TurnCost<'_> {
        TurnCost {
            model: &self.model,
            provider: openai::PROVIDER,
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            milliseconds: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        }
    }

    fn time_left(&self) -> Duration {
        self.app.deadline.saturating_sub(self.context.elapsed())
    }
}

/// What the model is shown.
fn window(started: &StartedTurn, message: &AgentMessage, max_output_tokens: u32) -> ContextWindow {
    let agent = AgentProfile {
        id: started.agent.id,
        name: started.agent.name.clone(),
        system_instructions: started.agent.system_instructions.clone(),
        assistant_instructions: started.agent.assistant_instructions.clone(),
        personality: started.agent.personality.clone(),
    };
    let workspace = started.workspace.as_ref().map(workspace_profile);
    let history: Vec<_> = started.history.iter().map(history_message).collect();
    // Outside, the caller is the agent's owner, and somebody else speaks.
    let outside_author = message.outside.as_ref().map(|outside| {
        let name = outside.author_name.as_deref();
        name.or(outside.external_author_id.as_deref())
    });
    let author = outside_author.unwrap_or(started.author_name.as_deref());
    let turn = TurnContext {
        agent: &agent,
        workspace: workspace.as_ref(),
        conversation: match started.conversation.kind {
            ConversationKind::Direct => Conversation::Direct,
            ConversationKind::Channel | ConversationKind::Outside => Conversation::Shared,
        },
        history: &history,
        author,
        message: message.text.as_str(),
    };
    let limit = started
        .workspace
        .as_ref()
        .map_or(DEFAULT_WINDOW_TOKENS, |row| row.context_window_token_limit);
    let budget = WindowBudget {
        total_tokens: limit,
        answer_tokens: max_output_tokens,
    };

    build_window(&turn, budget, &EstimatedTokens)
}

fn workspace_profile(row: &WorkspaceRow) -> WorkspaceProfile {
    let members = row.members.iter().map(|member| Member {
        kind: match member.kind {
            MemberKindRow::User => MemberKind::User,
            MemberKindRow::Agent => MemberKind::Agent,
            MemberKindRow::Team => MemberKind::Team,
        },
        name: member.name.clone(),
        role: member.role.clone(),
    });
    WorkspaceProfile {
        name: row.name.clone(),
        members: members.collect(),
    }
}

fn history_message(row: &HistoryRow) -> HistoryMessage {
    let speaker = match row.sender_kind {
        SenderKind::Agent => {
            let id = row.sender_id.as_deref().and_then(|id| id.parse::<AgentId>().ok());
            Speaker::Agent(id, row.sender_name.clone())
        }
        SenderKind::User | SenderKind::System => Speaker::Person(row.sender_name.clone()),
        // Some are known by their id alone, as the author of a message from outside may be.
        SenderKind::Outside => Speaker::Person(row.sender_name.clone().or_else(|| row.sender_id.clone())),
    };
    HistoryMessage {
        speaker,
        content: row.content.clone(),
    }
}

/// What a client is told of a model that did not answer.
fn model_failure(error: &ModelError) -> ApiError {
    let (kind, code, message) = match error {
        ModelError::RateLimited { .. } => (
            Kind::RateLimited,
            "model_rate_limited",
            "The model is receiving too many requests. Please try again.",
        ),
        ModelError::QuotaExhausted => (
            Kind::Unavailable,
            "model_quota_exhausted",
            "The model provider's quota is spent.",
        ),
        ModelError::ContextTooLong => (
            Kind::Unprocessable,
            "context_too_long",
            "The conversation is longer than the model can read.",
        ),
        ModelError::Refused(_) => (
            Kind::BadGateway,
            "model_refused_request",
            "The model provider refused the request.",
        ),
        ModelError::Failed(_) => (
            Kind::BadGateway,
            "model_failed",
            "The model provider failed. Please try again.",
        ),
        ModelError::TimedOut => (
            Kind::GatewayTimeout,
            "model_timed_out",
            "The model did not answer in time.",
        ),
        ModelError::Broken(_) => (
            Kind::BadGateway,
            "model_unreachable",
            "The model provider could not be reached.",
        ),
        ModelError::Malformed(_) => (
            Kind::BadGateway,
            "model_malformed",
            "The model's answer could not be read.",
        ),
    };
    let failure = ApiError::new(kind, code, message).because(error.to_string());

    match error {
        ModelError::RateLimited { retry_after } => failure.retry_after(retry_after.unwrap_or(Duration::from_secs(5))),
        _ => failure,
    }
}
