//! What the tests of `chat` have in common.

use agentopia_tests::{Agent, Channel, Request, Stack, User};
use serde_json::json;

/// The route.
pub(crate) const CHAT: &str = "/functions/v1/chat";

/// A message of a user to an agent, in their direct conversation.
pub(crate) fn ask(stack: &Stack, user: &User, agent: &Agent, message: &str) -> Request {
    stack
        .post(CHAT)
        .bearer(&user.token)
        .json(&json!({ "agentId": agent.id, "message": message }))
}

/// A message of a user to an agent, in a channel.
pub(crate) fn ask_in(stack: &Stack, user: &User, agent: &Agent, channel: &Channel, message: &str) -> Request {
    let body = json!({ "agentId": agent.id, "channelId": channel.id, "message": message });
    stack.post(CHAT).bearer(&user.token).json(&body)
}

/// A message of a user to a channel, to which no agent answers.
pub(crate) fn say(stack: &Stack, user: &User, channel: &Channel, message: &str) -> Request {
    stack
        .post(CHAT)
        .bearer(&user.token)
        .json(&json!({ "channelId": channel.id, "message": message }))
}

/// What the stand-in replies to `message` where speakers are named: it repeats what it was shown.
pub(crate) fn echo(from: &str, message: &str) -> String {
    format!("You said: <message from=\"{from}\" kind=\"user\">\n{message}\n</message>")
}
