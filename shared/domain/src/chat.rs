//! One turn of a conversation: what was said, what the model is shown, and what it answered.

mod message;
mod reply;
mod tokens;
mod window;

pub use message::{InvalidMessage, MESSAGE_MAX_CHARS, MessageText};
pub use reply::{FinishReason, Reply, Usage};
pub use tokens::{CountTokens, EstimatedTokens};
pub use window::{
    AgentProfile, ContextWindow, Conversation, HistoryMessage, Member, MemberKind, PromptMessage, Role, Speaker,
    TurnContext, WindowBudget, WorkspaceProfile, build_window,
};
