//! `agent-toolbelt`: access to toolboxes, and the tools that an agent has.

use agentopia_tests::{Stack, StackOptions, redacted};
use http::Method;
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::toolbelt_support::{Belt, NOBODYS, answers, made};

/// The names of tools and their instances are made up for each test.
fn named(mut value: Value) -> Value {
    let rows = match &mut value {
        Value::Array(rows) => rows.iter_mut().collect(),
        row => vec![row],
    };
    for row in rows {
        if let Some(instance) = row.get_mut("account_tool_instance") {
            instance["instance_name_on_toolbox"] = "[name]".into();
            instance["tool_catalog"]["name"] = "[name]".into();
        }
    }
    redacted(&value)
}

#[tokio::test]
async fn an_agent_is_given_access_to_a_toolbox_and_loses_it() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let second = belt.user.toolbox().await;

    let granted = belt
        .post("toolbox-access", &json!({ "account_tool_environment_id": second.id }))
        .await;
    let listed = belt.get("toolbox-access").await;
    let taken = belt.delete(&format!("toolbox-access/{}", granted.field("id"))).await;
    let again = belt.delete(&format!("toolbox-access/{}", granted.field("id"))).await;

    assert_snapshot!(granted, @r#"
    201 Created
    {"account_tool_environment_id":"[id]","agent_id":"[id]","created_at":"[time]","granted_at":"[time]","id":"[id]","updated_at":"[time]"}
    "#);
    assert_json_snapshot!(listed.redacted(), @r#"
    [
      {
        "account_tool_environment_id": "[id]",
        "account_tool_environments": {
          "id": "[id]",
          "name": "Toolbox",
          "status": "active"
        },
        "agent_id": "[id]",
        "created_at": "[time]",
        "granted_at": "[time]",
        "id": "[id]",
        "updated_at": "[time]"
      },
      {
        "account_tool_environment_id": "[id]",
        "account_tool_environments": {
          "id": "[id]",
          "name": "Toolbox",
          "status": "active"
        },
        "agent_id": "[id]",
        "created_at": "[time]",
        "granted_at": "[time]",
        "id": "[id]",
        "updated_at": "[time]"
      }
    ]
    "#);
    assert_eq!(listed.json()[0]["id"], granted.json()["id"], "the newest comes first");
    assert_eq!((taken.status().as_u16(), taken.json()), (200, granted.json()));
    assert_snapshot!(again, @r#"
    404 Not Found
    {"code":"toolbox_access_not_found","error":"Toolbox access not found.","message":"Toolbox access not found.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_tool_is_put_in_switched_off_and_on_and_taken_out() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let instance = belt.user.tool_instance(&belt.toolbox, &belt.tool).await;

    let put_in = belt
        .post("items", &json!({ "account_tool_instance_id": instance.id }))
        .await;
    let item = format!("items/{}", put_in.field("id"));
    let listed = belt.get("items").await;
    let off = belt.patch(&item, &json!({ "is_active_for_agent": false })).await;
    let same = belt.put(&item, &json!({ "is_active_for_agent": false })).await;
    let on = belt.put(&item, &json!({ "is_active_for_agent": true })).await;
    let shown = belt.get(&item).await;
    let taken = belt.delete(&item).await;
    let again = belt.delete(&item).await;

    assert_snapshot!(put_in, @r#"
    201 Created
    {"account_tool_instance_id":"[id]","agent_id":"[id]","created_at":"[time]","id":"[id]","is_active_for_agent":true,"revision":1,"updated_at":"[time]"}
    "#);
    assert_json_snapshot!(named(listed.json())[0], @r#"
    {
      "account_tool_instance": {
        "id": "[id]",
        "instance_name_on_toolbox": "[name]",
        "status_on_toolbox": "running",
        "tool_catalog": {
          "id": "[id]",
          "name": "[name]",
          "required_capabilities_schema": [
            {
              "name": "read"
            },
            {
              "name": "write",
              "requires_approval": true
            }
          ],
          "required_secrets_schema": [
            {
              "env_var_name": "API_KEY",
              "name": "API key",
              "type": "api_key"
            },
            {
              "env_var_name": "REGION",
              "name": "Region",
              "optional": true
            }
          ]
        }
      },
      "account_tool_instance_id": "[id]",
      "agent_id": "[id]",
      "created_at": "[time]",
      "id": "[id]",
      "is_active_for_agent": true,
      "revision": 1,
      "updated_at": "[time]"
    }
    "#);
    assert_eq!(listed.json()[0]["id"], put_in.json()["id"], "the newest comes first");
    let revisions = [&put_in, &off, &same, &on, &shown].map(|response| response.header("etag").unwrap().to_owned());
    assert_eq!(revisions, [r#""1""#, r#""2""#, r#""2""#, r#""3""#, r#""3""#]);
    assert_eq!(off.json()["is_active_for_agent"], false);
    assert_eq!(on.json()["is_active_for_agent"], true);
    assert_eq!(shown.json()["revision"], 3);
    assert_eq!(
        shown.json()["account_tool_instance"],
        listed.json()[0]["account_tool_instance"]
    );
    assert_eq!((taken.status().as_u16(), taken.json()), (200, on.json()));
    assert_snapshot!(again, @r#"
    404 Not Found
    {"code":"toolbelt_item_not_found","error":"Toolbelt item not found.","message":"Toolbelt item not found.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_tool_may_be_put_in_switched_off() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let instance = belt.user.tool_instance(&belt.toolbox, &belt.tool).await;
    let body = json!({ "account_tool_instance_id": instance.id, "is_active_for_agent": false });

    let response = belt.post("items", &body).await;

    assert_eq!(response.status(), 201);
    assert_eq!(response.json()["is_active_for_agent"], false);
}

#[tokio::test]
async fn what_is_there_already_is_a_conflict() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    belt.store("api_key", &json!("first")).await;

    let answers = answers([
        (
            "access",
            belt.post(
                "toolbox-access",
                &json!({ "account_tool_environment_id": belt.toolbox.id }),
            ),
        ),
        (
            "item",
            belt.post("items", &json!({ "account_tool_instance_id": belt.instance.id })),
        ),
        (
            "active credential of the type",
            belt.post(
                &belt.of_item("credentials"),
                &json!({ "credential_type": "api_key", "credential_value": "second" }),
            ),
        ),
    ]);

    assert_snapshot!(answers.await, @r#"
    [access]
    409 Conflict
    {"code":"access_exists","error":"The agent has access to this toolbox already.","message":"The agent has access to this toolbox already.","request_id":"[request id]"}
    [item]
    409 Conflict
    {"code":"item_exists","error":"This tool is in the agent's toolbelt already.","message":"This tool is in the agent's toolbelt already.","request_id":"[request id]"}
    [active credential of the type]
    409 Conflict
    {"code":"credential_exists","error":"The tool has an active credential of this type already. Change or revoke that one.","message":"The tool has an active credential of this type already. Change or revoke that one.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn of_two_who_make_the_same_one_does() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let instance = belt.user.tool_instance(&belt.toolbox, &belt.tool).await;
    let toolbox = belt.user.toolbox().await;
    let cases = [
        (
            "toolbox-access".to_owned(),
            json!({ "account_tool_environment_id": toolbox.id }),
        ),
        ("items".to_owned(), json!({ "account_tool_instance_id": instance.id })),
        (
            belt.of_item("credentials"),
            json!({ "credential_type": "api_key", "credential_value": "secret" }),
        ),
    ];

    for (path, body) in cases {
        let (first, second) = tokio::join!(async { belt.post(&path, &body).await }, async {
            belt.post(&path, &body).await
        });

        let mut statuses = [first.status().as_u16(), second.status().as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{path}");
    }
}

#[tokio::test]
async fn an_item_needs_access_to_its_toolbox() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let elsewhere = belt.user.toolbox().await;
    let instance = belt.user.tool_instance(&elsewhere, &belt.tool).await;

    let response = belt
        .post("items", &json!({ "account_tool_instance_id": instance.id }))
        .await;

    assert_snapshot!(response, @r#"
    403 Forbidden
    {"code":"no_toolbox_access","error":"The agent has no access to the toolbox of this tool.","message":"The agent has no access to the toolbox of this tool.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn taking_access_takes_what_hung_on_it() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    belt.store("api_key", &json!("secret")).await;
    belt.permit("read", true).await;
    assert_eq!(belt.rows().await.len(), 4);

    let response = belt.delete(&format!("toolbox-access/{}", belt.access)).await;

    assert_eq!(response.status(), 200);
    assert_eq!(belt.rows().await, Vec::<String>::new());
    assert_eq!(belt.get("items").await.text(), "[]");
    assert_eq!(belt.fetch().await.status(), 404);
}

#[tokio::test]
async fn a_change_is_made_to_the_revision_that_it_names_or_not_at_all() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let credential = belt.of_item(&format!(
        "credentials/{}",
        belt.store("api_key", &json!("secret")).await
    ));
    let permission = belt.of_item(&format!("permissions/{}", belt.permit("read", true).await));
    let cases = [
        (
            format!("items/{}", belt.item),
            [true, false].map(|on| json!({ "is_active_for_agent": on })),
        ),
        (credential, ["a", "b"].map(|name| json!({ "account_identifier": name }))),
        (
            permission,
            [true, false].map(|on| json!({ "is_permitted": on, "requires_approval": true })),
        ),
    ];

    for (path, [other, change]) in &cases {
        let change = |tag: &str| belt.patch(path, change).header("if-match", tag);
        let now = change("*").await.header("etag").unwrap().to_owned();

        let stale = [
            change(r#""1""#).await,
            change(r#""99""#).await,
            change(&format!("W/{now}")).await,
            change(r#""of-another""#).await,
            belt.delete(path).header("if-match", r#""1""#).await,
        ];
        let current = belt
            .patch(path, other)
            .header("if-match", format!(r#""1", {now}"#))
            .await;

        for response in stale {
            insta::allow_duplicates! {
                assert_snapshot!(response, path, @r#"
                412 Precondition Failed
                {"code":"precondition_failed","error":"It was changed since: read it again, and repeat the change if it still applies.","message":"It was changed since: read it again, and repeat the change if it still applies.","request_id":"[request id]"}
                "#);
            }
        }
        assert_eq!(current.status(), 200, "{path}");
        assert_ne!(current.header("etag"), Some(&*now), "{path}");
    }
    let put = belt.put(
        &belt.of_item("permissions"),
        &json!({ "capability_name": "read", "is_allowed": true }),
    );
    assert_eq!(put.header("if-match", r#""1""#).await.status(), 412);
}

#[tokio::test]
async fn of_two_who_change_the_same_revision_one_does() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let path = format!("items/{}", belt.item);
    let change = async || {
        belt.patch(&path, &json!({ "is_active_for_agent": false }))
            .header("if-match", r#""1""#)
            .await
    };

    let (first, second) = tokio::join!(change(), change());

    let mut statuses = [first.status().as_u16(), second.status().as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}

#[tokio::test]
async fn an_if_match_that_is_none_is_refused() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let item = format!("items/{}", belt.item);
    let change = |tag: &'static str| {
        belt.patch(&item, &json!({ "is_active_for_agent": false }))
            .header("if-match", tag)
    };

    let answers = answers([
        ("a number", change("1")),
        ("empty", change("")),
        ("half a tag", change("\"1")),
        ("on a deletion", belt.delete(&item).header("if-match", "1")),
    ]);

    assert_snapshot!(answers.await, @r#"
    [a number]
    400 Bad Request
    {"code":"invalid_field","error":"If-Match is neither * nor a list of entity tags.","field":"If-Match","message":"If-Match is neither * nor a list of entity tags.","request_id":"[request id]"}
    [empty]
    400 Bad Request
    {"code":"invalid_field","error":"If-Match is neither * nor a list of entity tags.","field":"If-Match","message":"If-Match is neither * nor a list of entity tags.","request_id":"[request id]"}
    [half a tag]
    400 Bad Request
    {"code":"invalid_field","error":"If-Match is neither * nor a list of entity tags.","field":"If-Match","message":"If-Match is neither * nor a list of entity tags.","request_id":"[request id]"}
    [on a deletion]
    400 Bad Request
    {"code":"invalid_field","error":"If-Match is neither * nor a list of entity tags.","field":"If-Match","message":"If-Match is neither * nor a list of entity tags.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn what_a_body_must_name_is_refused_by_its_field() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let item = format!("items/{}", belt.item);
    let one_id = "00000000-0000-4000-8000-0000000000fe";

    let answers = answers([
        ("access to nothing", belt.post("toolbox-access", &json!({}))),
        (
            "access to what is empty",
            belt.post("toolbox-access", &json!({ "account_tool_environment_id": "" })),
        ),
        (
            "access to a name",
            belt.post("toolbox-access", &json!({ "account_tool_environment_id": "mine" })),
        ),
        (
            "access to a number",
            belt.post("toolbox-access", &json!({ "account_tool_environment_id": 7 })),
        ),
        (
            "access to an absent toolbox",
            belt.post("toolbox-access", &json!({ "account_tool_environment_id": one_id })),
        ),
        (
            "no tool",
            belt.post("items", &json!({ "account_tool_instance_id": null })),
        ),
        (
            "a tool's name",
            belt.post("items", &json!({ "account_tool_instance_id": "browser" })),
        ),
        (
            "an absent tool",
            belt.post("items", &json!({ "account_tool_instance_id": one_id })),
        ),
        (
            "active perhaps",
            belt.post(
                "items",
                &json!({ "account_tool_instance_id": one_id, "is_active_for_agent": "yes" }),
            ),
        ),
        ("nothing to change", belt.patch(&item, &json!({}))),
        ("no change", belt.put(&item, &json!({ "is_active_for_agent": null }))),
        ("no JSON", belt.request(Method::POST, "items").body("{")),
        (
            "a list of the fields",
            belt.request(Method::POST, "items")
                .json(&json!([belt.instance.id, true])),
        ),
    ]);

    assert_snapshot!(answers.await, @r#"
    [access to nothing]
    400 Bad Request
    {"code":"missing_field","error":"account_tool_environment_id is required.","field":"account_tool_environment_id","message":"account_tool_environment_id is required.","request_id":"[request id]"}
    [access to what is empty]
    400 Bad Request
    {"code":"missing_field","error":"account_tool_environment_id is required.","field":"account_tool_environment_id","message":"account_tool_environment_id is required.","request_id":"[request id]"}
    [access to a name]
    400 Bad Request
    {"code":"invalid_field","error":"account_tool_environment_id is not a UUID.","field":"account_tool_environment_id","message":"account_tool_environment_id is not a UUID.","request_id":"[request id]"}
    [access to a number]
    400 Bad Request
    {"code":"invalid_field","error":"account_tool_environment_id is invalid: invalid type: integer `7`, expected a string.","field":"account_tool_environment_id","message":"account_tool_environment_id is invalid: invalid type: integer `7`, expected a string.","request_id":"[request id]"}
    [access to an absent toolbox]
    404 Not Found
    {"code":"toolbox_not_found","error":"Toolbox not found or access denied","message":"Toolbox not found or access denied","request_id":"[request id]"}
    [no tool]
    400 Bad Request
    {"code":"missing_field","error":"account_tool_instance_id is required.","field":"account_tool_instance_id","message":"account_tool_instance_id is required.","request_id":"[request id]"}
    [a tool's name]
    400 Bad Request
    {"code":"invalid_field","error":"account_tool_instance_id is not a UUID.","field":"account_tool_instance_id","message":"account_tool_instance_id is not a UUID.","request_id":"[request id]"}
    [an absent tool]
    404 Not Found
    {"code":"tool_instance_not_found","error":"Tool instance not found.","message":"Tool instance not found.","request_id":"[request id]"}
    [active perhaps]
    400 Bad Request
    {"code":"invalid_field","error":"is_active_for_agent is invalid: invalid type: string \"yes\", expected a boolean.","field":"is_active_for_agent","message":"is_active_for_agent is invalid: invalid type: string \"yes\", expected a boolean.","request_id":"[request id]"}
    [nothing to change]
    400 Bad Request
    {"code":"missing_field","error":"is_active_for_agent is required.","field":"is_active_for_agent","message":"is_active_for_agent is required.","request_id":"[request id]"}
    [no change]
    400 Bad Request
    {"code":"missing_field","error":"is_active_for_agent is required.","field":"is_active_for_agent","message":"is_active_for_agent is required.","request_id":"[request id]"}
    [no JSON]
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: EOF while parsing an object at line 1 column 1","message":"Invalid JSON payload: EOF while parsing an object at line 1 column 1","request_id":"[request id]"}
    [a list of the fields]
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: a list, expected an object","message":"Invalid JSON payload: a list, expected an object","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_user_changes_a_burst_and_then_waits_and_may_always_delete() {
    let shared = Stack::shared().await;
    let options = StackOptions::default()
        .set("toolbelt_change_per_minute", 1)
        .set("toolbelt_change_burst", 5);
    let stack = Stack::beside_shared(options).await;
    // Access, an item, a credential and a permission are four changes.
    let belt = Belt::of(&stack, shared.user().await).await;
    let credential = belt.of_item(&format!(
        "credentials/{}",
        belt.store("api_key", &json!("secret")).await
    ));
    let permission = belt.of_item(&format!("permissions/{}", belt.permit("read", true).await));
    let item = format!("items/{}", belt.item);
    let last = belt.patch(&item, &json!({ "is_active_for_agent": true })).await;
    let toolbox = belt.user.toolbox().await;
    let instance = belt.user.tool_instance(&belt.toolbox, &belt.tool).await;

    let refused = [
        belt.post("toolbox-access", &json!({ "account_tool_environment_id": toolbox.id })),
        belt.post("items", &json!({ "account_tool_instance_id": instance.id })),
        belt.patch(&item, &json!({ "is_active_for_agent": false })),
        belt.post(
            &belt.of_item("credentials"),
            &json!({ "credential_type": "token", "credential_value": "secret" }),
        ),
        belt.patch(&credential, &json!({ "status": "revoked" })),
        belt.put(
            &belt.of_item("permissions"),
            &json!({ "capability_name": "read", "is_permitted": false }),
        ),
        belt.patch(&permission, &json!({ "is_permitted": false })),
    ];

    assert_eq!(last.status(), 200, "{last}");
    let before = belt.rows().await;
    for request in refused {
        let answer = request.await;
        assert_eq!(
            (
                answer.status().as_u16(),
                answer.field("code").as_str(),
                answer.header("ratelimit-policy")
            ),
            (429, "rate_limited", Some(r#""user";q=1;w=60"#)),
            "{answer}"
        );
        let pause: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=60).contains(&pause), "{answer}");
    }
    assert_eq!(belt.rows().await, before);
    let access = format!("toolbox-access/{}", belt.access);
    for path in [&credential, &permission, &item, &access] {
        assert_eq!(belt.delete(path).await.status(), 200, "{path}");
    }
    let other = Belt::of(&stack, shared.user().await).await;
    assert_ne!(other.item, NOBODYS);
}

#[tokio::test]
async fn a_body_does_not_say_whose_or_which_it_is() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let others = Belt::of(stack, stack.user_named("Eve").await).await;
    let instance = belt.user.tool_instance(&belt.toolbox, &belt.tool).await;
    let toolbox = belt.user.toolbox().await;
    let before = others.rows().await;
    let with = |mut body: Value| {
        for (name, id) in [
            ("id", others.item),
            ("user_id", others.user.id),
            ("agent_id", others.agent.id),
            ("agentId", others.agent.id),
            ("agent_toolbelt_item_id", others.item),
            ("itemId", others.item),
            ("item_id", others.item),
            ("credential_id", NOBODYS),
            ("permission_id", NOBODYS),
        ] {
            body[name] = json!(id);
        }
        body["encrypted_credentials"] = json!("v1.xc20p.a.AAAA");
        body["sealed"] = json!("v1.xc20p.a.AAAA");
        body["key_id"] = json!("a");
        body["revision"] = json!(77);
        body
    };

    let access = belt
        .post(
            "toolbox-access",
            &with(json!({ "account_tool_environment_id": toolbox.id })),
        )
        .await;
    let item = belt
        .post("items", &with(json!({ "account_tool_instance_id": instance.id })))
        .await;
    let item_id = made(&item);
    let below = |rest: &str| format!("items/{item_id}/{rest}");
    let credential = belt
        .post(
            &below("credentials"),
            &with(json!({ "credential_type": "api_key", "credential_value": "mine" })),
        )
        .await;
    let permission = belt
        .post(
            &below("permissions"),
            &with(json!({ "capability_name": "read", "is_permitted": true })),
        )
        .await;
    let updates = [
        belt.patch(
            &format!("items/{item_id}"),
            &with(json!({ "is_active_for_agent": true })),
        )
        .await,
        belt.patch(
            &below(&format!("credentials/{}", made(&credential))),
            &with(json!({ "account_identifier": "me" })),
        )
        .await,
        belt.patch(
            &below(&format!("permissions/{}", made(&permission))),
            &with(json!({ "is_permitted": false })),
        )
        .await,
    ];

    for (made, of_item) in [
        (&access, false),
        (&item, false),
        (&credential, true),
        (&permission, true),
    ] {
        let (row, id): (Value, Uuid) = (made.json(), crate::toolbelt_support::made(made));
        assert_ne!(id, others.item);
        if of_item {
            assert_eq!(row["agent_toolbelt_item_id"], json!(item_id), "{row}");
        } else {
            assert_eq!(row["agent_id"], json!(belt.agent.id), "{row}");
        }
    }
    for update in updates {
        assert_eq!(update.status(), 200, "{update}");
        assert!(update.json()["revision"].as_i64().unwrap() < 77, "{update}");
    }
    assert_eq!(others.rows().await, before);
    let sealed: Vec<String> = stack
        .db()
        .column(
            "SELECT encrypted_credentials FROM public.agent_tool_credentials WHERE user_id = $1",
            &[&belt.user.id],
        )
        .await;
    assert!(
        sealed.len() == 1 && sealed[0].starts_with("v1.xc20p.tests-2026."),
        "{sealed:?}"
    );
}
