//! `chat`: two tenants over every id that the route takes. What is another's is as absent as what is not there.

use agentopia_tests::Stack;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::chat_support::CHAT;

/// An id that nothing has.
const NOBODYS: &str = "00000000-0000-4000-8000-0000000000ff";

#[tokio::test]
async fn anothers_ids_are_not_found_and_leave_no_trace() {
    let stack = Stack::shared().await;
    let (ada, eve) = (stack.user().await, stack.user_named("Eve").await);
    let adas_agent = ada.agent("Atlas").await.id;
    let adas_workspace = ada.workspace("Lab").await;
    let adas_channel = adas_workspace.channel("general").await.id;
    let adas_workspace = adas_workspace.id;
    let eves_agent = eve.agent("Echo").await.id;
    let eves_workspace = eve.workspace("Cave").await;
    let eves_channel = eves_workspace.channel("general").await.id;
    let eves_workspace = eves_workspace.id;
    let discord_channel = "523456789012345678";
    // Each with the same request about an id that nobody has.
    let cases = [
        ("agent", json!({ "agentId": adas_agent }), json!({ "agentId": NOBODYS })),
        (
            "agent in my channel",
            json!({ "agentId": adas_agent, "channelId": eves_channel }),
            json!({ "agentId": NOBODYS, "channelId": eves_channel }),
        ),
        (
            "agent in my workspace",
            json!({ "agentId": adas_agent, "workspaceId": eves_workspace }),
            json!({ "agentId": NOBODYS, "workspaceId": eves_workspace }),
        ),
        (
            "agent on Discord",
            json!({ "agentId": adas_agent, "channelId": discord_channel }),
            json!({ "agentId": NOBODYS, "channelId": discord_channel }),
        ),
        (
            "channel",
            json!({ "agentId": eves_agent, "channelId": adas_channel }),
            json!({ "agentId": eves_agent, "channelId": NOBODYS }),
        ),
        (
            "channel in my workspace",
            json!({ "agentId": eves_agent, "channelId": adas_channel, "workspaceId": eves_workspace }),
            json!({ "agentId": eves_agent, "channelId": NOBODYS, "workspaceId": eves_workspace }),
        ),
        (
            "workspace",
            json!({ "agentId": eves_agent, "workspaceId": adas_workspace }),
            json!({ "agentId": eves_agent, "workspaceId": NOBODYS }),
        ),
        (
            "room",
            json!({ "agentId": eves_agent, "roomId": adas_workspace }),
            json!({ "agentId": eves_agent, "roomId": NOBODYS }),
        ),
        (
            "workspace of my channel",
            json!({ "agentId": eves_agent, "channelId": eves_channel, "workspaceId": adas_workspace }),
            json!({ "agentId": eves_agent, "channelId": eves_channel, "workspaceId": NOBODYS }),
        ),
        (
            "channel, without an agent",
            json!({ "channelId": adas_channel }),
            json!({ "channelId": NOBODYS }),
        ),
        (
            "room of my channel, without an agent",
            json!({ "channelId": eves_channel, "roomId": adas_workspace }),
            json!({ "channelId": eves_channel, "roomId": NOBODYS }),
        ),
    ];
    let ask = async |mut body: Value| {
        body["message"] = "Let me in, oleander".into();
        stack.post(CHAT).bearer(&eve.token).json(&body).await
    };

    let mut answers = String::new();
    for (name, anothers, nobodys) in cases {
        let answer = ask(anothers).await.to_string();

        assert_eq!(answer, ask(nobodys).await.to_string(), "{name}");
        answers.push_str(&format!("[{name}]\n{answer}\n"));
    }

    assert_snapshot!(answers, @r#"
    [agent]
    404 Not Found
    {"code":"agent_not_found","error":"Target agent not found","message":"Target agent not found","request_id":"[request id]"}
    [agent in my channel]
    404 Not Found
    {"code":"agent_not_found","error":"Target agent not found","message":"Target agent not found","request_id":"[request id]"}
    [agent in my workspace]
    404 Not Found
    {"code":"agent_not_found","error":"Target agent not found","message":"Target agent not found","request_id":"[request id]"}
    [agent on Discord]
    404 Not Found
    {"code":"agent_not_found","error":"Target agent not found","message":"Target agent not found","request_id":"[request id]"}
    [channel]
    404 Not Found
    {"code":"channel_not_found","error":"Channel not found","message":"Channel not found","request_id":"[request id]"}
    [channel in my workspace]
    404 Not Found
    {"code":"channel_not_found","error":"Channel not found","message":"Channel not found","request_id":"[request id]"}
    [workspace]
    404 Not Found
    {"code":"workspace_not_found","error":"Workspace not found","message":"Workspace not found","request_id":"[request id]"}
    [room]
    404 Not Found
    {"code":"workspace_not_found","error":"Workspace not found","message":"Workspace not found","request_id":"[request id]"}
    [workspace of my channel]
    404 Not Found
    {"code":"channel_not_found","error":"Channel not found","message":"Channel not found","request_id":"[request id]"}
    [channel, without an agent]
    404 Not Found
    {"code":"channel_not_found","error":"Channel not found","message":"Channel not found","request_id":"[request id]"}
    [room of my channel, without an agent]
    404 Not Found
    {"code":"channel_not_found","error":"Channel not found","message":"Channel not found","request_id":"[request id]"}
    "#);
    let traces = "SELECT (SELECT count(*) FROM public.chat_messages WHERE content LIKE '%oleander%')
                       + (SELECT count(*) FROM app.chat_turns WHERE user_id = $1)
                       + (SELECT count(*) FROM app.usage_records WHERE user_id = $1)
                       + (SELECT count(*) FROM app.rate_limits WHERE key LIKE '%' || $1::uuid::text)
                       + (SELECT count(*) FROM public.direct_conversations WHERE user_id = $1)
                       + (SELECT count(*) FROM public.outside_conversations WHERE agent_id = $2)";
    assert_eq!(stack.db().scalar::<i64>(traces, &[&eve.id, &adas_agent]).await, 0);
    assert_eq!(stack.openai().received_with("oleander"), []);
}

#[tokio::test]
async fn one_key_of_two_users_names_two_requests() {
    let stack = Stack::shared().await;
    let (ada, eve) = (stack.user().await, stack.user_named("Eve").await);
    let (atlas, echo) = (ada.agent("Atlas").await, eve.agent("Echo").await);

    let adas = crate::chat_support::ask(stack, &ada, &atlas, "Mine")
        .idempotency_key("the same")
        .await;
    let eves = crate::chat_support::ask(stack, &eve, &echo, "Mine too")
        .idempotency_key("the same")
        .await;

    assert_eq!(
        (adas.field("reply"), eves.field("reply")),
        ("You said: Mine".into(), "You said: Mine too".into())
    );
}
