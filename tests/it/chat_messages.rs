//! `chat`: messages in, replies out, both stored where they were said.

use agentopia_tests::Stack;
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::chat_support::{CHAT, ask, ask_in, echo, say};

#[tokio::test]
async fn a_reply_has_every_key_that_a_client_reads() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;

    let response = ask(stack, &user, &agent, "Hello there").await;

    assert_snapshot!(response.status(), @"200 OK");
    assert_json_snapshot!(response.redacted(), @r#"
    {
      "agent": {
        "id": "[id]",
        "name": "Atlas"
      },
      "agentId": "[id]",
      "agentMessageId": "[id]",
      "agentName": "Atlas",
      "finishReason": "stop",
      "message": "You said: Hello there",
      "model": "gpt-4o-mini",
      "partial": false,
      "reply": "You said: Hello there",
      "turnId": "[id]",
      "usage": {
        "estimated": false,
        "inputTokens": 21,
        "outputTokens": 5,
        "totalTokens": 26
      },
      "userMessageId": "[id]"
    }
    "#);
    assert_eq!(response.field("agentId"), agent.id.to_string());
}

#[tokio::test]
async fn a_message_and_its_reply_are_stored_in_the_direct_conversation() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;

    let response = ask(stack, &user, &agent, "  Hello there\n").await;

    let conversation = stack.db().direct_conversation(user.id, agent.id).await.unwrap();
    let statement = "SELECT to_jsonb(message) - 'embedding' FROM public.chat_messages AS message
                     WHERE direct_conversation_id = $1 ORDER BY sequence";
    let rows: Vec<Value> = stack.db().column(statement, &[&conversation]).await;
    let [said, replied] = rows.try_into().unwrap();
    assert_eq!(
        (&said["content"], &said["sender_kind"]),
        (&json!("Hello there"), &json!("user"))
    );
    assert_eq!(
        (&said["sender_user_id"], &said["sender_agent_id"]),
        (&json!(user.id), &Value::Null)
    );
    assert_eq!(said["id"], response.json()["userMessageId"]);
    assert_eq!(
        (&replied["content"], &replied["sender_kind"]),
        (&json!("You said: Hello there"), &json!("agent"))
    );
    assert_eq!(
        (&replied["sender_user_id"], &replied["sender_agent_id"]),
        (&Value::Null, &json!(agent.id))
    );
    assert_eq!(
        (&replied["id"], &replied["reply_to_message_id"]),
        (&response.json()["agentMessageId"], &said["id"])
    );
    for row in [said, replied] {
        assert_eq!(
            (&row["channel_id"], &row["outside_conversation_id"]),
            (&Value::Null, &Value::Null)
        );
        assert_eq!(row["is_partial"], false);
    }
}

#[tokio::test]
async fn a_message_and_its_reply_are_stored_in_the_channel() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;
    let workspace = user.workspace("Lab").await;
    workspace.add_agent(&agent).await;
    let channel = workspace.channel("general").await;

    let response = ask_in(stack, &user, &agent, &channel, "Hello").await;

    assert_snapshot!(response.status(), @"200 OK");
    assert_eq!(
        stack.db().transcript(channel.id).await,
        ["Ada: Hello".to_owned(), format!("Atlas: {}", echo("Ada", "Hello"))]
    );
    assert_eq!(stack.db().direct_conversation(user.id, agent.id).await, None);
}

#[tokio::test]
async fn a_discord_channel_is_a_conversation_of_its_own() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await;
    let body = |message: &str| {
        json!({
            "agentId": agent.id, "message": message, "channelId": "123456789012345678", "guildId": "223456789012345678",
            "authorId": "323456789012345678",
        })
    };

    for message in ["Hello", "Still there?"] {
        let response = stack.post(CHAT).bearer(&user.token).json(&body(message)).await;
        assert_eq!(response.status(), 200, "{response}");
    }

    let statement = "SELECT id FROM public.outside_conversations
                     WHERE agent_id = $1 AND provider = 'discord' AND external_channel_id = '123456789012345678'
                       AND external_guild_id = '223456789012345678'";
    let conversation: Uuid = stack.db().scalar(statement, &[&agent.id]).await;
    assert_eq!(
        stack.db().transcript(conversation).await,
        [
            "323456789012345678: Hello".to_owned(),
            format!("Atlas: {}", echo("323456789012345678", "Hello")),
            "323456789012345678: Still there?".to_owned(),
            format!("Atlas: {}", echo("323456789012345678", "Still there?")),
        ],
    );
}

#[tokio::test]
async fn a_message_to_nobody_in_particular_is_only_stored() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let channel = user.workspace("Lab").await.channel("general").await;

    let response = say(stack, &user, &channel, "Nobody need answer this plumtree message").await;

    assert_snapshot!(response.status(), @"200 OK");
    assert_json_snapshot!(response.redacted(), @r#"
    {
      "message": "Message saved.",
      "success": true,
      "userMessageId": "[id]"
    }
    "#);
    let statement = "SELECT id FROM public.chat_messages WHERE channel_id = $1";
    assert_eq!(
        stack.db().scalar::<Uuid>(statement, &[&channel.id]).await.to_string(),
        response.field("userMessageId")
    );
    assert_eq!(stack.openai().received_with("plumtree"), []);
}

#[tokio::test]
async fn members_read_what_was_said_and_others_read_nothing() {
    let stack = Stack::shared().await;
    let (owner, member, stranger) = (stack.user().await, stack.user_named("Grace").await, stack.user().await);
    let agent = owner.agent("Atlas").await;
    let workspace = owner.workspace("Lab").await;
    workspace.add_agent(&agent).await;
    workspace.add_user(&member).await;
    let channel = workspace.channel("general").await;
    let response = ask_in(stack, &owner, &agent, &channel, "Hello").await;
    assert_eq!(response.status(), 200);

    let messages = "SELECT coalesce(jsonb_agg(to_jsonb(row)), '[]') FROM get_chat_messages_with_details($1) AS row";
    let members = "SELECT coalesce(jsonb_agg(to_jsonb(row)), '[]') FROM get_workspace_members_with_details($1) AS row";
    let read = async |user, statement, id: Uuid| {
        let session = stack.as_user(user).await;
        session.query_one(statement, &[&id]).await.unwrap().get::<_, Value>(0)
    };

    assert_json_snapshot!(agentopia_tests::redacted(&read(&member, messages, channel.id).await), @r#"
    [
      {
        "agent": null,
        "channel_id": "[id]",
        "content": "Hello",
        "created_at": "[time]",
        "id": "[id]",
        "is_partial": false,
        "metadata": {},
        "reply_to_message_id": null,
        "sender_agent_id": null,
        "sender_kind": "user",
        "sender_user_id": "[id]",
        "user_profile": {
          "avatar_url": null,
          "full_name": "Ada"
        }
      },
      {
        "agent": {
          "name": "Atlas"
        },
        "channel_id": "[id]",
        "content": "You said: <message from=\"Ada\" kind=\"user\">\nHello\n</message>",
        "created_at": "[time]",
        "id": "[id]",
        "is_partial": false,
        "metadata": {
          "finish_reason": "stop",
          "model": "gpt-4o-mini"
        },
        "reply_to_message_id": "[id]",
        "sender_agent_id": "[id]",
        "sender_kind": "agent",
        "sender_user_id": null,
        "user_profile": null
      }
    ]
    "#);
    assert_json_snapshot!(agentopia_tests::redacted(&read(&member, members, workspace.id).await), @r#"
    [
      {
        "agent": {
          "name": "Atlas"
        },
        "agent_id": "[id]",
        "created_at": "[time]",
        "id": "[id]",
        "role": "member",
        "team": null,
        "team_id": null,
        "user_id": null,
        "user_profile": null,
        "workspace_id": "[id]"
      },
      {
        "agent": null,
        "agent_id": null,
        "created_at": "[time]",
        "id": "[id]",
        "role": "member",
        "team": null,
        "team_id": null,
        "user_id": "[id]",
        "user_profile": {
          "avatar_url": null,
          "full_name": "Grace"
        },
        "workspace_id": "[id]"
      }
    ]
    "#);
    assert_eq!(read(&stranger, messages, channel.id).await, json!([]));
    assert_eq!(read(&stranger, members, workspace.id).await, json!([]));
    let nobody = stack.as_role("anon", &json!({ "role": "anon" })).await;
    for (statement, id) in [(messages, channel.id), (members, workspace.id)] {
        let refusal = nobody.attempt(statement, &[&id]).await.unwrap_err();
        assert!(refusal.starts_with("42501"), "{refusal}");
    }
}

#[tokio::test]
async fn messages_are_read_page_by_page() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let channel = user.workspace("Lab").await.channel("general").await;
    for number in 1..=5 {
        assert_eq!(say(stack, &user, &channel, &number.to_string()).await.status(), 200);
    }
    let session = stack.as_user(&user).await;

    let newest = "SELECT content, created_at::text, id::text FROM get_chat_messages_with_details($1, 2)";
    let page = session.query(newest, &[&channel.id]).await.unwrap();
    let older = "SELECT content FROM get_chat_messages_with_details($1, 2, $2::text::timestamptz, $3::text::uuid)";
    let (time, id): (String, String) = (page[0].get(1), page[0].get(2));
    let before = session.query(older, &[&channel.id, &time, &id]).await.unwrap();

    let contents = |rows: &[tokio_postgres::Row]| rows.iter().map(|row| row.get(0)).collect::<Vec<String>>();
    assert_eq!(contents(&page), ["4", "5"]);
    assert_eq!(contents(&before), ["2", "3"]);
}

#[tokio::test]
async fn each_turn_books_what_it_used() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").model("gpt-4o").await;

    let response = ask(stack, &user, &agent, "How much is this?").await;

    let statement = "SELECT to_jsonb(usage) - 'milliseconds' FROM app.usage_records AS usage WHERE user_id = $1";
    let usage: Value = stack.db().scalar(statement, &[&user.id]).await;
    assert_json_snapshot!(agentopia_tests::redacted(&usage), @r#"
    {
      "agent_id": "[id]",
      "created_at": "[time]",
      "id": "[id]",
      "input_tokens": 24,
      "model": "gpt-4o",
      "outcome": "completed",
      "output_tokens": 8,
      "provider": "openai",
      "turn_id": "[id]",
      "user_id": "[id]"
    }
    "#);
    assert_eq!(usage["agent_id"], json!(agent.id));
    assert_eq!(usage["turn_id"], response.json()["turnId"]);
    assert_eq!(usage["input_tokens"], response.json()["usage"]["inputTokens"]);
    assert_eq!(usage["output_tokens"], response.json()["usage"]["outputTokens"]);
}
