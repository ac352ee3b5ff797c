//! `chat`: messages in, replies out, both stored.

use agentopia_tests::Stack;
use insta::assert_snapshot;
use serde_json::json;

#[tokio::test]
async fn reply_is_stored_beside_the_message_that_it_answers() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;

    let response = stack
        .post("/functions/v1/chat")
        .bearer(&user.token)
        .json(&json!({ "agentId": agent.id, "message": "Hello" }))
        .await;

    assert_snapshot!(response, @"");
    assert_eq!(stack.db().direct_transcript(user.id, agent.id).await, ["Ada: Hello", "Atlas: You said: Hello"]);
}
