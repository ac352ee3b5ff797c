//! `chat`: which agents a user may use, and where.

use agentopia_tests::Stack;
use insta::assert_snapshot;
use serde_json::json;

use crate::chat_support::{CHAT, ask, ask_in, say};

#[tokio::test]
async fn an_agent_is_used_by_those_who_meet_it_in_a_workspace() {
    let stack = Stack::shared().await;
    let (owner, member) = (stack.user().await, stack.user_named("Grace").await);
    let agent = owner.agent("Atlas").await;
    let workspace = owner.workspace("Lab").await;
    workspace.add_agent(&agent).await;
    let channel = workspace.channel("general").await;
    assert_eq!(ask_in(stack, &member, &agent, &channel, "Before").await.status(), 404);

    workspace.add_user(&member).await;

    assert_eq!(
        ask_in(stack, &member, &agent, &channel, "In the channel")
            .await
            .status(),
        200
    );
    assert_eq!(ask(stack, &member, &agent, "Directly").await.status(), 200);
    assert_eq!(
        stack.db().direct_transcript(member.id, agent.id).await,
        ["Grace: Directly", "Atlas: You said: Directly"]
    );
}

#[tokio::test]
async fn an_agent_is_met_through_its_team_and_a_user_through_theirs() {
    let stack = Stack::shared().await;
    let (owner, member) = (stack.user().await, stack.user_named("Grace").await);
    let agent = owner.agent("Atlas").await;
    let (agents, people) = (owner.team("Agents").await, owner.team("People").await);
    agents.add_agent(&agent).await;
    people.add_user(&member).await;
    let workspace = owner.workspace("Lab").await;
    workspace.add_team(&agents).await;
    let channel = workspace.channel("general").await;
    assert_eq!(ask_in(stack, &member, &agent, &channel, "Before").await.status(), 404);

    workspace.add_team(&people).await;

    assert_eq!(
        ask_in(stack, &member, &agent, &channel, "In the channel")
            .await
            .status(),
        200
    );
    assert_eq!(ask(stack, &member, &agent, "Directly").await.status(), 200);
}

#[tokio::test]
async fn who_leaves_a_workspace_leaves_its_agents_and_channels() {
    let stack = Stack::shared().await;
    let (owner, member) = (stack.user().await, stack.user_named("Grace").await);
    let agent = owner.agent("Atlas").await;
    let workspace = owner.workspace("Lab").await;
    workspace.add_agent(&agent).await;
    workspace.add_user(&member).await;
    let channel = workspace.channel("general").await;
    assert_eq!(ask(stack, &member, &agent, "Directly").await.status(), 200);

    workspace.remove_user(&member).await;

    for request in [
        ask(stack, &member, &agent, "After"),
        ask_in(stack, &member, &agent, &channel, "After"),
        say(stack, &member, &channel, "After"),
    ] {
        assert_eq!(request.await.status(), 404);
    }
    assert_eq!(stack.db().transcript(channel.id).await, Vec::<String>::new());
}

#[tokio::test]
async fn an_agent_answers_only_where_it_is_or_its_owner_brings_it() {
    let stack = Stack::shared().await;
    let (owner, member) = (stack.user().await, stack.user_named("Grace").await);
    let agent = owner.agent("Atlas").await;
    let (with, without) = (owner.workspace("With").await, owner.workspace("Without").await);
    with.add_agent(&agent).await;
    for workspace in [&with, &without] {
        workspace.add_user(&member).await;
    }
    let channel = without.channel("general").await;

    let members = ask_in(stack, &member, &agent, &channel, "Come here").await;
    let owners = ask_in(stack, &owner, &agent, &channel, "Come here").await;

    assert_snapshot!(members, @r#"
    404 Not Found
    {"code":"agent_not_found","error":"Target agent not found","message":"Target agent not found","request_id":"[request id]"}
    "#);
    assert_snapshot!(owners.status(), @"200 OK");
}

#[tokio::test]
async fn an_agent_that_is_switched_off_answers_nobody() {
    let stack = Stack::shared().await;
    let owner = stack.user().await;
    let agent = owner.agent("Atlas").inactive().await;

    let response = ask(stack, &owner, &agent, "Are you there?").await;

    assert_snapshot!(response, @r#"
    409 Conflict
    {"code":"agent_inactive","error":"This agent is not active.","message":"This agent is not active.","request_id":"[request id]"}
    "#);
    assert_eq!(stack.db().direct_conversation(owner.id, agent.id).await, None);
}

#[tokio::test]
async fn on_discord_an_agent_speaks_for_its_owner_alone() {
    let stack = Stack::shared().await;
    let (owner, member) = (stack.user().await, stack.user_named("Grace").await);
    let agent = owner.agent("Atlas").await;
    let workspace = owner.workspace("Lab").await;
    workspace.add_agent(&agent).await;
    workspace.add_user(&member).await;
    let body = json!({ "agentId": agent.id, "channelId": "623456789012345678", "message": "Hello" });

    let members = stack.post(CHAT).bearer(&member.token).json(&body).await;
    let owners = stack.post(CHAT).bearer(&owner.token).json(&body).await;

    assert_snapshot!(members, @r#"
    404 Not Found
    {"code":"agent_not_found","error":"Target agent not found","message":"Target agent not found","request_id":"[request id]"}
    "#);
    assert_snapshot!(owners.status(), @"200 OK");
}

#[tokio::test]
async fn a_user_who_was_deleted_is_nobody() {
    let stack = Stack::shared().await;
    let (owner, guest) = (stack.user().await, stack.user_named("Grace").await);
    let agent = owner.agent("Atlas").await;
    let workspace = owner.workspace("Lab").await;
    workspace.add_agent(&agent).await;
    workspace.add_user(&guest).await;
    let channel = workspace.channel("general").await;
    assert_eq!(say(stack, &guest, &channel, "I was here").await.status(), 200);
    stack
        .db()
        .execute("DELETE FROM auth.users WHERE id = $1", &[&guest.id])
        .await;

    let response = say(stack, &guest, &channel, "I still am").await;

    assert_eq!(response.status(), 404, "{response}");
    assert_eq!(stack.db().transcript(channel.id).await, ["user: I was here"]);
}
