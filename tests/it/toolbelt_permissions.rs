//! `agent-toolbelt`: what an agent may do with a tool. What is not said is denied.

use agentopia_tests::Stack;
use http::Method;
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use crate::toolbelt_support::{Belt, answers, made};

#[tokio::test]
async fn a_capability_is_allowed_changed_and_denied_again() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let permissions = belt.of_item("permissions");

    let said = belt
        .post(
            &permissions,
            &json!({ "capability_name": "write", "is_permitted": true }),
        )
        .await;
    let again = belt
        .post(&permissions, &json!({ "capability_name": "write", "is_allowed": true }))
        .await;
    let put = belt
        .put(
            &permissions,
            &json!({ "capability_name": "write", "is_allowed": false, "requires_approval": false }),
        )
        .await;
    let path = format!("{permissions}/{}", made(&said));
    let changed = belt.patch(&path, &json!({ "is_permitted": true })).await;
    let approved = belt.put(&path, &json!({ "requires_approval": true })).await;
    belt.permit("read", false).await;
    let listed = belt.get(&permissions).await;
    let deleted = belt.delete(&path).await;
    let gone = belt.delete(&path).await;

    assert_snapshot!(said, @r#"
    201 Created
    {"agent_toolbelt_item_id":"[id]","capability_name":"write","created_at":"[time]","id":"[id]","is_allowed":true,"requires_approval":true,"revision":1,"updated_at":"[time]"}
    "#);
    assert_eq!(again.to_string(), said.to_string());
    assert_eq!(put.status(), 200);
    let shown = [&said, &put, &changed, &approved].map(|response| {
        let row = response.json();
        format!(
            "{} {} {}",
            response.header("etag").unwrap(),
            row["is_allowed"],
            row["requires_approval"]
        )
    });
    assert_eq!(
        shown,
        [
            r#""1" true true"#,
            r#""2" false false"#,
            r#""3" true false"#,
            r#""4" true true"#
        ]
    );
    assert_json_snapshot!(listed.redacted(), @r#"
    [
      {
        "agent_toolbelt_item_id": "[id]",
        "capability_name": "read",
        "created_at": "[time]",
        "id": "[id]",
        "is_allowed": false,
        "requires_approval": false,
        "revision": 1,
        "updated_at": "[time]"
      },
      {
        "agent_toolbelt_item_id": "[id]",
        "capability_name": "write",
        "created_at": "[time]",
        "id": "[id]",
        "is_allowed": true,
        "requires_approval": true,
        "revision": 4,
        "updated_at": "[time]"
      }
    ]
    "#);
    assert_eq!((deleted.status().as_u16(), deleted.json()), (200, approved.json()));
    assert_snapshot!(gone, @r#"
    404 Not Found
    {"code":"permission_not_found","error":"Permission not found.","message":"Permission not found.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn any_revision_is_one_of_what_is_there() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let permissions = belt.of_item("permissions");
    let say = |method: Method| {
        let body = json!({ "capability_name": "read", "is_permitted": true });
        belt.request(method, &permissions).header("if-match", "*").json(&body)
    };

    let (put, posted) = (say(Method::PUT).await, say(Method::POST).await);
    let none = belt.get(&permissions).await;
    belt.permit("read", false).await;
    let changed = say(Method::PUT).await;

    for absent in [put, posted] {
        insta::allow_duplicates! {
            assert_snapshot!(absent, @r#"
            412 Precondition Failed
            {"code":"precondition_failed","error":"It was changed since: read it again, and repeat the change if it still applies.","message":"It was changed since: read it again, and repeat the change if it still applies.","request_id":"[request id]"}
            "#);
        }
    }
    assert_eq!(none.text(), "[]");
    assert_eq!(
        (
            changed.status().as_u16(),
            changed.header("etag"),
            &changed.json()["is_allowed"]
        ),
        (200, Some("\"2\""), &json!(true))
    );
}

#[tokio::test]
async fn what_is_no_permission_is_refused_by_its_field() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let permission = belt.of_item(&format!("permissions/{}", belt.permit("read", true).await));
    let post = |body: Value| belt.post(&belt.of_item("permissions"), &body);

    let answers = answers([
        ("nothing", post(json!({}))),
        ("neither allowed nor not", post(json!({ "capability_name": "read" }))),
        (
            "permitted perhaps",
            post(json!({ "capability_name": "read", "is_permitted": "yes" })),
        ),
        (
            "permitted and not allowed",
            post(json!({ "capability_name": "read", "is_permitted": true, "is_allowed": false })),
        ),
        ("no name", post(json!({ "capability_name": "", "is_permitted": true }))),
        (
            "too long a name",
            post(json!({ "capability_name": "a".repeat(201), "is_permitted": true })),
        ),
        (
            "a name with NUL",
            post(json!({ "capability_name": "a\0", "is_permitted": true })),
        ),
        (
            "no capability of the tool",
            post(json!({ "capability_name": "format_disk", "is_permitted": true })),
        ),
        ("changes nothing", belt.patch(&permission, &json!({}))),
        (
            "contradicts itself",
            belt.put(&permission, &json!({ "is_permitted": true, "is_allowed": false })),
        ),
    ]);

    assert_snapshot!(answers.await, @r#"
    [nothing]
    400 Bad Request
    {"code":"missing_field","error":"capability_name is required.","field":"capability_name","message":"capability_name is required.","request_id":"[request id]"}
    [neither allowed nor not]
    400 Bad Request
    {"code":"missing_field","error":"is_permitted is required.","field":"is_permitted","message":"is_permitted is required.","request_id":"[request id]"}
    [permitted perhaps]
    400 Bad Request
    {"code":"invalid_field","error":"is_permitted is invalid: invalid type: string \"yes\", expected a boolean.","field":"is_permitted","message":"is_permitted is invalid: invalid type: string \"yes\", expected a boolean.","request_id":"[request id]"}
    [permitted and not allowed]
    400 Bad Request
    {"code":"invalid_field","error":"is_permitted contradicts is_allowed.","field":"is_permitted","message":"is_permitted contradicts is_allowed.","request_id":"[request id]"}
    [no name]
    400 Bad Request
    {"code":"invalid_field","error":"capability_name must be 1 to 200 characters.","field":"capability_name","message":"capability_name must be 1 to 200 characters.","request_id":"[request id]"}
    [too long a name]
    400 Bad Request
    {"code":"invalid_field","error":"capability_name must be 1 to 200 characters.","field":"capability_name","message":"capability_name must be 1 to 200 characters.","request_id":"[request id]"}
    [a name with NUL]
    400 Bad Request
    {"code":"invalid_field","error":"capability_name contains a NUL character.","field":"capability_name","message":"capability_name contains a NUL character.","request_id":"[request id]"}
    [no capability of the tool]
    400 Bad Request
    {"code":"unknown_capability","error":"capability_name is not a capability of this tool.","field":"capability_name","message":"capability_name is not a capability of this tool.","request_id":"[request id]"}
    [changes nothing]
    400 Bad Request
    {"code":"missing_field","error":"One of is_permitted and requires_approval is required.","message":"One of is_permitted and requires_approval is required.","request_id":"[request id]"}
    [contradicts itself]
    400 Bad Request
    {"code":"invalid_field","error":"is_permitted contradicts is_allowed.","field":"is_permitted","message":"is_permitted contradicts is_allowed.","request_id":"[request id]"}
    "#);
}
