//! `agent-toolbelt`: credentials are stored, listed, changed and deleted, and never shown.

use agentopia_tests::{KEYRING, Stack, StackOptions};
use futures::future::join_all;
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::toolbelt_support::{Belt, answers, made};

#[tokio::test]
async fn a_credential_is_stored_listed_changed_and_deleted_and_never_shown() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let credentials = belt.of_item("credentials");
    let secret = "oleander-of-a-credential";

    let stored = belt
        .post(
            &credentials,
            &json!({
                "credential_type": "api_key", "credential_value": secret, "account_identifier": "ada@example.com",
                "metadata": { "from": "an old client" },
            }),
        )
        .await;
    let path = format!("{credentials}/{}", made(&stored));
    let value = belt
        .patch(&path, &json!({ "credential_value": format!("{secret}-2") }))
        .await;
    let rest = belt
        .put(
            &path,
            &json!({ "credential_type": "token", "account_identifier": null, "status": "requires_reauth" }),
        )
        .await;
    let listed = belt.get(&credentials).await;
    let deleted = belt.delete(&path).await;
    let again = belt.delete(&path).await;

    assert_snapshot!(stored, @r#"
    201 Created
    {"account_identifier":"ada@example.com","agent_toolbelt_item_id":"[id]","created_at":"[time]","credential_type":"api_key","id":"[id]","last_validated_at":null,"revision":1,"status":"active","updated_at":"[time]"}
    "#);
    let revisions = [&stored, &value, &rest].map(|response| response.header("etag").unwrap().to_owned());
    assert_eq!(revisions, [r#""1""#, r#""2""#, r#""3""#]);
    assert_json_snapshot!(listed.redacted(), @r#"
    [
      {
        "account_identifier": null,
        "agent_toolbelt_item_id": "[id]",
        "created_at": "[time]",
        "credential_type": "token",
        "id": "[id]",
        "last_validated_at": null,
        "revision": 3,
        "status": "requires_reauth",
        "updated_at": "[time]"
      }
    ]
    "#);
    assert_eq!(listed.json()[0], rest.json());
    assert_eq!((deleted.status().as_u16(), deleted.json()), (200, rest.json()));
    assert_snapshot!(again, @r#"
    404 Not Found
    {"code":"credential_not_found","error":"Credential not found.","message":"Credential not found.","request_id":"[request id]"}
    "#);
    for response in [stored, value, rest, listed, deleted] {
        assert!(!response.text().contains("oleander"), "{response}");
        assert!(!response.text().contains("xc20p"), "{response}");
    }
}

#[tokio::test]
async fn a_secret_is_sealed_for_its_row_and_anew_when_it_is_changed() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let sealed = async || -> Vec<String> {
        let statement = "SELECT id || ' ' || key_id || ' ' || encrypted_credentials
                         FROM public.agent_tool_credentials WHERE user_id = $1";
        stack.db().column(statement, &[&belt.user.id]).await
    };
    let id = belt.store("api_key", &json!("the same")).await;
    let first = sealed().await;

    let path = belt.of_item(&format!("credentials/{id}"));
    belt.patch(&path, &json!({ "credential_value": "the same" })).await;
    let second = sealed().await;

    let beginning = format!("{id} tests-2026 v1.xc20p.tests-2026.");
    assert!(
        first[0].starts_with(&beginning) && second[0].starts_with(&beginning),
        "{first:?} {second:?}"
    );
    assert_ne!(first, second);
}

#[tokio::test]
async fn of_one_type_one_credential_is_active() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let first = belt.store("api_key", &json!("first")).await;
    let other = belt.store("token", &json!("other")).await;
    let body = json!({ "credential_type": "api_key", "credential_value": "second", "status": "pending" });
    let second = made(&belt.post(&belt.of_item("credentials"), &body).await);
    let change = |id: Uuid, body: Value| belt.patch(&belt.of_item(&format!("credentials/{id}")), &body);

    let answers = answers([
        (
            "the second while the first is",
            change(second, json!({ "status": "active" })),
        ),
        (
            "another that becomes one of the type",
            change(other, json!({ "credential_type": "api_key" })),
        ),
    ]);

    assert_snapshot!(answers.await, @r#"
    [the second while the first is]
    409 Conflict
    {"code":"credential_exists","error":"The tool has an active credential of this type already. Change or revoke that one.","message":"The tool has an active credential of this type already. Change or revoke that one.","request_id":"[request id]"}
    [another that becomes one of the type]
    409 Conflict
    {"code":"credential_exists","error":"The tool has an active credential of this type already. Change or revoke that one.","message":"The tool has an active credential of this type already. Change or revoke that one.","request_id":"[request id]"}
    "#);
    assert_eq!(change(first, json!({ "status": "revoked" })).await.status(), 200);
    assert_eq!(change(second, json!({ "status": "active" })).await.status(), 200);
    assert_eq!(belt.fetch().await.json()["secrets"]["API_KEY"], "second");
}

#[tokio::test]
async fn what_is_no_credential_is_refused_by_its_field() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    let credential = belt.of_item(&format!("credentials/{}", belt.store("api_key", &json!("first")).await));
    let post = |body: Value| belt.post(&belt.of_item("credentials"), &body);
    let with = |field: &str, value: Value| {
        let mut body = json!({ "credential_type": "token", "credential_value": "secret" });
        body[field] = value;
        post(body)
    };

    let answers = answers([
        ("nothing", post(json!({}))),
        ("no value", post(json!({ "credential_type": "token" }))),
        ("value null", with("credential_value", Value::Null)),
        ("value empty", with("credential_value", json!(""))),
        ("value an empty object", with("credential_value", json!({}))),
        ("value with NUL", with("credential_value", json!("a\0b"))),
        (
            "value too long",
            with("credential_value", json!("a".repeat(16 * 1024 + 1))),
        ),
        ("type empty", with("credential_type", json!(""))),
        ("type too long", with("credential_type", json!("a".repeat(201)))),
        ("type with NUL", with("credential_type", json!("a\0"))),
        ("type a number", with("credential_type", json!(1))),
        ("account too long", with("account_identifier", json!("a".repeat(321)))),
        ("account with NUL", with("account_identifier", json!("\0"))),
        ("status unknown", with("status", json!("stolen"))),
        (
            "changes nothing",
            belt.patch(&credential, &json!({ "credential_value": null })),
        ),
        (
            "changes to nothing",
            belt.patch(&credential, &json!({ "credential_value": "" })),
        ),
        (
            "changes to an unknown status",
            belt.put(&credential, &json!({ "status": "ACTIVE" })),
        ),
    ]);

    assert_snapshot!(answers.await, @r#"
    [nothing]
    400 Bad Request
    {"code":"missing_field","error":"credential_type is required.","field":"credential_type","message":"credential_type is required.","request_id":"[request id]"}
    [no value]
    400 Bad Request
    {"code":"missing_field","error":"credential_value is required.","field":"credential_value","message":"credential_value is required.","request_id":"[request id]"}
    [value null]
    400 Bad Request
    {"code":"missing_field","error":"credential_value is required.","field":"credential_value","message":"credential_value is required.","request_id":"[request id]"}
    [value empty]
    400 Bad Request
    {"code":"invalid_field","error":"credential_value must not be empty.","field":"credential_value","message":"credential_value must not be empty.","request_id":"[request id]"}
    [value an empty object]
    400 Bad Request
    {"code":"invalid_field","error":"credential_value must not be empty.","field":"credential_value","message":"credential_value must not be empty.","request_id":"[request id]"}
    [value with NUL]
    400 Bad Request
    {"code":"invalid_field","error":"credential_value contains a NUL character.","field":"credential_value","message":"credential_value contains a NUL character.","request_id":"[request id]"}
    [value too long]
    400 Bad Request
    {"code":"invalid_field","error":"credential_value must be at most 16384 bytes.","field":"credential_value","message":"credential_value must be at most 16384 bytes.","request_id":"[request id]"}
    [type empty]
    400 Bad Request
    {"code":"invalid_field","error":"credential_type must be 1 to 200 characters.","field":"credential_type","message":"credential_type must be 1 to 200 characters.","request_id":"[request id]"}
    [type too long]
    400 Bad Request
    {"code":"invalid_field","error":"credential_type must be 1 to 200 characters.","field":"credential_type","message":"credential_type must be 1 to 200 characters.","request_id":"[request id]"}
    [type with NUL]
    400 Bad Request
    {"code":"invalid_field","error":"credential_type contains a NUL character.","field":"credential_type","message":"credential_type contains a NUL character.","request_id":"[request id]"}
    [type a number]
    400 Bad Request
    {"code":"invalid_field","error":"credential_type is invalid: invalid type: integer `1`, expected a string.","field":"credential_type","message":"credential_type is invalid: invalid type: integer `1`, expected a string.","request_id":"[request id]"}
    [account too long]
    400 Bad Request
    {"code":"invalid_field","error":"account_identifier must be 0 to 320 characters.","field":"account_identifier","message":"account_identifier must be 0 to 320 characters.","request_id":"[request id]"}
    [account with NUL]
    400 Bad Request
    {"code":"invalid_field","error":"account_identifier contains a NUL character.","field":"account_identifier","message":"account_identifier contains a NUL character.","request_id":"[request id]"}
    [status unknown]
    400 Bad Request
    {"code":"invalid_field","error":"status is invalid: unknown variant `stolen`, expected one of `pending`, `active`, `expired`, `revoked`, `requires_reauth`, `error`.","field":"status","message":"status is invalid: unknown variant `stolen`, expected one of `pending`, `active`, `expired`, `revoked`, `requires_reauth`, `error`.","request_id":"[request id]"}
    [changes nothing]
    400 Bad Request
    {"code":"missing_field","error":"One of credential_value, credential_type, account_identifier and status is required.","message":"One of credential_value, credential_type, account_identifier and status is required.","request_id":"[request id]"}
    [changes to nothing]
    400 Bad Request
    {"code":"invalid_field","error":"credential_value must not be empty.","field":"credential_value","message":"credential_value must not be empty.","request_id":"[request id]"}
    [changes to an unknown status]
    400 Bad Request
    {"code":"invalid_field","error":"status is invalid: unknown variant `ACTIVE`, expected one of `pending`, `active`, `expired`, `revoked`, `requires_reauth`, `error`.","field":"status","message":"status is invalid: unknown variant `ACTIVE`, expected one of `pending`, `active`, `expired`, `revoked`, `requires_reauth`, `error`.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_tool_has_fifty_credentials_at_most() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    stack
        .db()
        .execute(
            "INSERT INTO public.agent_tool_credentials
                 (user_id, agent_toolbelt_item_id, credential_type, encrypted_credentials, status)
             SELECT $1, $2, 'old', 'sealed', 'revoked' FROM generate_series(1, 50)",
            &[&belt.user.id, &belt.item],
        )
        .await;
    let body = json!({ "credential_type": "api_key", "credential_value": "secret" });

    let response = belt.post(&belt.of_item("credentials"), &body).await;

    assert_snapshot!(response, @r#"
    409 Conflict
    {"code":"too_many_credentials","error":"The tool has 50 credentials. Delete those that are not needed.","message":"The tool has 50 credentials. Delete those that are not needed.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn those_who_store_at_once_store_no_more_than_fifty() {
    let stack = Stack::shared().await;
    let belt = Belt::new(stack).await;
    stack
        .db()
        .execute(
            "INSERT INTO public.agent_tool_credentials
                 (user_id, agent_toolbelt_item_id, credential_type, encrypted_credentials, status)
             SELECT $1, $2, 'old', 'sealed', 'revoked' FROM generate_series(1, 49)",
            &[&belt.user.id, &belt.item],
        )
        .await;
    let path = belt.of_item("credentials");
    let store = |number: u32| {
        let body = json!({ "credential_type": format!("type_{number}"), "credential_value": "secret" });
        belt.post(&path, &body).into_future()
    };

    let answers = join_all((0..8).map(store)).await;

    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn without_a_keyring_no_secret_is_stored_and_the_rest_is_served() {
    let shared = Stack::shared().await;
    let stack = Stack::beside_shared(StackOptions::default().set("credential_keyring", "")).await;
    let belt = Belt::of(&stack, shared.user().await).await;
    let path = belt.of_item("credentials");
    let body = json!({ "credential_type": "api_key", "credential_value": "secret" });

    let stored = belt.post(&path, &body).await;
    let through_another = Belt {
        stack: shared,
        ..Belt::of(&stack, shared.user().await).await
    };
    let id = through_another.store("api_key", &json!("secret")).await;
    let on_the_first = Belt {
        stack: &stack,
        ..through_another
    };
    let kept = on_the_first.of_item(&format!("credentials/{id}"));
    let changed = on_the_first.patch(&kept, &json!({ "credential_value": "other" })).await;
    let renamed = on_the_first.patch(&kept, &json!({ "account_identifier": "me" })).await;

    assert_snapshot!(stored, @r#"
    503 Service Unavailable
    retry-after: 60
    {"code":"sealing_unavailable","error":"Secrets can be neither stored nor read right now.","message":"Secrets can be neither stored nor read right now.","request_id":"[request id]"}
    "#);
    assert_eq!(belt.get(&path).await.text(), "[]");
    assert_eq!((changed.status().as_u16(), renamed.status().as_u16()), (503, 200));
    if let Some(lines) = stack.request_log("agent-toolbelt", stored.request_id()) {
        let cause = &lines.last().unwrap()["cause"];
        assert_eq!(cause, "setting `credential_keyring` is empty");
    }
}

#[tokio::test]
async fn a_keyring_that_is_none_is_named_in_the_log_and_not_shown() {
    let shared = Stack::shared().await;
    let (_, key) = KEYRING.split_once(':').unwrap();
    let options = StackOptions::default().set("credential_keyring", format!("tests 2026:{key}"));
    let stack = Stack::beside_shared(options).await;
    let user = shared.user().await;

    let response = stack
        .get(&format!(
            "{}/{}/toolbelt/items",
            crate::toolbelt_support::AGENTS,
            user.id
        ))
        .bearer(&user.token)
        .await;

    assert_eq!(response.status(), 500, "{response}");
    if let Some(lines) = stack.request_log("agent-toolbelt", response.request_id()) {
        assert_eq!(lines[0]["event"], "misconfigured");
        assert_eq!(
            lines[0]["cause"],
            "setting `credential_keyring` entry 1 is not <id>:<key>, with an id of letters, digits, - and _"
        );
    }
    assert!(
        stack
            .log("agent-toolbelt")
            .unwrap_or_default()
            .iter()
            .all(|line| !line.contains(key))
    );
}
