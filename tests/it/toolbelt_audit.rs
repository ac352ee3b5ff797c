//! `agent-toolbelt`: who changed what for an agent, in pages.

use agentopia_tests::Stack;
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use crate::toolbelt_support::{Belt, answers};

#[tokio::test]
async fn each_change_is_told_with_who_and_what_and_without_secrets() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let credential = belt.store("api_key", &json!("oleander-of-the-audit")).await;
    belt.patch(
        &belt.of_item(&format!("credentials/{credential}")),
        &json!({ "credential_value": "oleander-of-the-audit-2" }),
    )
    .await;
    belt.permit("read", true).await;
    assert_eq!(belt.fetch().await.status(), 200);

    let response = belt.get("audit").await;

    let entries = response.json();
    let entries = entries.as_array().unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            let actor = if entry["actor_user_id"] == json!(belt.user.id) {
                "Ada"
            } else {
                "somebody else"
            };
            format!(
                "{actor} {} {}",
                entry["action"].as_str().unwrap(),
                entry["table_name"].as_str().unwrap()
            )
        })
        .collect();
    assert_snapshot!(told.join("\n"), @"
    somebody else credentials_released agent_toolbelt_items
    Ada insert agent_tool_capability_permissions
    Ada update agent_tool_credentials
    Ada insert agent_tool_credentials
    Ada insert agent_toolbelt_items
    Ada insert agent_toolbox_access
    ");
    let released = &entries[0];
    assert_eq!(released["actor_name"], format!("toolbox:{}", belt.toolbox.id));
    assert_eq!(released["row_id"], json!(belt.item));
    assert_json_snapshot!(agentopia_tests::redacted(&released["changes"]), @r#"
    {
      "capability": null,
      "credentials": [
        {
          "id": "[id]",
          "key_id": "tests-2026",
          "type": "api_key"
        }
      ]
    }
    "#);
    assert_eq!(entries[2]["changes"]["encrypted_credentials"], "withheld");
    assert!(
        !response.text().contains("oleander") && !response.text().contains("xc20p"),
        "{response}"
    );
    assert_eq!(
        (response.header("link"), response.header("x-next-cursor")),
        (None, None)
    );
}

#[tokio::test]
async fn it_is_read_in_pages_without_gaps() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    for active in [false, true, false, true, false] {
        let body = json!({ "is_active_for_agent": active });
        assert_eq!(belt.patch(&format!("items/{}", belt.item), &body).await.status(), 200);
    }
    let ids = |page: &Value| -> Vec<i64> {
        page.as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["id"].as_i64().unwrap())
            .collect()
    };

    let whole = ids(&belt.get("audit").await.json());
    let mut pages = Vec::new();
    let mut next = Some("audit?limit=3&from=here".to_owned());
    while let Some(path) = next {
        let page = belt.get(&path).await;
        pages.push(ids(&page.json()));
        let cursor = page.header("x-next-cursor");
        let link = page.header("link").map(|link| {
            let path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
            path.rsplit_once('/').unwrap().1.to_owned()
        });
        assert_eq!(
            link,
            cursor.map(|cursor| format!("audit?limit=3&from=here&cursor={cursor}"))
        );
        next = link;
    }

    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 1]);
    assert_eq!(pages.concat(), whole);
}

#[tokio::test]
async fn what_is_no_page_is_refused() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let get = |query: &str| belt.get(&format!("audit?{query}"));

    let answers = answers([
        ("no entries", get("limit=0")),
        ("too many entries", get("limit=101")),
        ("some entries", get("limit=some")),
        ("two limits", get("limit=1&limit=2")),
        ("another's idea of a cursor", get("cursor=2026-01-01")),
        // {"id":"1"}, and {"id":1,"agent_id":""}
        ("a cursor of another type", get("cursor=eyJpZCI6IjEifQ")),
        ("a cursor with more in it", get("cursor=eyJpZCI6MSwiYWdlbnRfaWQiOiIifQ")),
    ]);

    assert_snapshot!(answers.await, @r#"
    [no entries]
    400 Bad Request
    {"code":"invalid_field","error":"limit must be 1 to 100.","field":"limit","message":"limit must be 1 to 100.","request_id":"[request id]"}
    [too many entries]
    400 Bad Request
    {"code":"invalid_field","error":"limit must be 1 to 100.","field":"limit","message":"limit must be 1 to 100.","request_id":"[request id]"}
    [some entries]
    400 Bad Request
    {"code":"invalid_field","error":"limit is invalid: invalid digit found in string.","field":"limit","message":"limit is invalid: invalid digit found in string.","request_id":"[request id]"}
    [two limits]
    400 Bad Request
    {"code":"invalid_query","error":"Invalid query: duplicate field `limit`.","message":"Invalid query: duplicate field `limit`.","request_id":"[request id]"}
    [another's idea of a cursor]
    400 Bad Request
    {"code":"invalid_field","error":"cursor is not one that was given out.","field":"cursor","message":"cursor is not one that was given out.","request_id":"[request id]"}
    [a cursor of another type]
    400 Bad Request
    {"code":"invalid_field","error":"cursor is not one that was given out.","field":"cursor","message":"cursor is not one that was given out.","request_id":"[request id]"}
    [a cursor with more in it]
    400 Bad Request
    {"code":"invalid_field","error":"cursor is not one that was given out.","field":"cursor","message":"cursor is not one that was given out.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn an_audit_tells_of_its_agent_alone() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let others = Belt::of(stack, belt.user.clone()).await;
    let before = belt.get("audit").await.text().to_owned();

    others.store("api_key", &json!("secret")).await;

    assert_eq!(belt.get("audit").await.text(), before);
    assert_eq!(
        others.get("audit?limit=1").await.json()[0]["table_name"],
        "agent_tool_credentials"
    );
}
