//! What the operations of the toolbelt and of the credentials' release guarantee, as the functions call them.

use agentopia_tests::{DEADLINE, eventually};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::data_database::{AGENT, Database, TENANT, become_user, call, count, refusal, sign_up, texts, user};

/// The tenant's things in tests/data/tenant.sql, by the end of their ids.
const fn fixture(number: u128) -> Uuid {
    Uuid::from_u128(0x0000_0000_0000_4000_a000_0000_0000_0000 | number)
}

const TOOLBOX: Uuid = fixture(0x41);
const INSTANCE: Uuid = fixture(0x42);
const ACCESS: Uuid = fixture(0x43);
const ITEM: Uuid = fixture(0x44);
const CREDENTIAL: Uuid = fixture(0x45);
const PERMISSION: Uuid = fixture(0x46);

/// The database with the tenant, whose tool knows one capability that people should see first, and one that they need not.
struct Toolbelt {
    owner: Client,
    functions: Client,
}

impl Toolbelt {
    async fn new() -> Self {
        let database = Database::with_tenant().await;
        let owner = database.owner().await;
        owner
            .batch_execute(
                r#"UPDATE public.tool_catalog
                   SET required_capabilities_schema =
                           '[{"name": "open_page"}, {"name": "submit_form", "requires_approval": true}]',
                       required_secrets_schema = '[{"name": "key", "env_var_name": "API_KEY", "type": "api_key"}]'"#,
            )
            .await
            .unwrap();
        Self {
            owner,
            functions: database.functions().await,
        }
    }

    async fn call(&self, operation: &str, input: &Value) -> Result<Value, String> {
        call(&self.functions, operation, &user(TENANT), &limited(input)).await
    }

    /// What a toolbox is given for the tenant's tool, with the changes to the request.
    async fn release(&self, changes: &Value) -> Result<Value, String> {
        let token: String = texts(&self.owner, "SELECT encode(sha256('canary-token'), 'hex')", &[])
            .await
            .remove(0);
        let mut input = json!({
            "token_hash": token, "agent_id": AGENT, "instance_id": INSTANCE, "capability": null,
            "per_minute": 60, "burst": 30,
        });
        for (name, value) in changes.as_object().unwrap() {
            input[name] = value.clone();
        }
        let caller = json!({ "kind": "service", "name": "get-agent-tool-credentials" });
        call(&self.functions, "release_credentials", &caller, &input).await
    }
}

/// An input with the limit that each change takes from.
fn limited(input: &Value) -> Value {
    let mut input = input.clone();
    input["per_minute"] = json!(120);
    input["burst"] = json!(60);
    input
}

/// Every operation of the toolbelt with the tenant's ids, and what it says to somebody whose agent it is not.
fn operations(agent: Uuid) -> Vec<(&'static str, Value)> {
    let item = json!({ "agent_id": agent, "item_id": ITEM });
    let with = |more: Value| {
        let mut input = item.clone();
        for (name, value) in more.as_object().unwrap() {
            input[name] = value.clone();
        }
        input
    };
    vec![
        (
            "grant_toolbox_access",
            json!({ "agent_id": agent, "toolbox_id": TOOLBOX }),
        ),
        ("list_toolbox_access", json!({ "agent_id": agent })),
        (
            "revoke_toolbox_access",
            json!({ "agent_id": agent, "access_id": ACCESS }),
        ),
        (
            "create_toolbelt_item",
            json!({ "agent_id": agent, "instance_id": INSTANCE }),
        ),
        ("list_toolbelt_items", json!({ "agent_id": agent })),
        ("update_toolbelt_item", with(json!({ "is_active_for_agent": false }))),
        ("delete_toolbelt_item", item.clone()),
        ("get_toolbelt_item", item.clone()),
        (
            "store_credential",
            with(json!({ "credential_id": Uuid::from_u128(9), "credential_type": "t", "sealed": "s", "key_id": "k" })),
        ),
        ("list_credentials", item.clone()),
        (
            "update_credential",
            with(json!({ "credential_id": CREDENTIAL, "set": { "status": "revoked" } })),
        ),
        ("delete_credential", with(json!({ "credential_id": CREDENTIAL }))),
        (
            "put_permission",
            with(json!({ "capability_name": "open_page", "is_allowed": true })),
        ),
        ("list_permissions", item.clone()),
        (
            "update_permission",
            with(json!({ "permission_id": PERMISSION, "is_allowed": false })),
        ),
        ("delete_permission", with(json!({ "permission_id": PERMISSION }))),
        (
            "list_agent_audit",
            json!({ "agent_id": agent, "limit": 10, "cursor": null }),
        ),
    ]
}

/// All rows of the toolbelt, as text.
async fn state(owner: &Client) -> Vec<String> {
    let mut rows = Vec::new();
    for table in [
        "agent_toolbox_access",
        "agent_toolbelt_items",
        "agent_tool_credentials",
        "agent_tool_capability_permissions",
    ] {
        rows.extend(
            texts(
                owner,
                &format!("SELECT t::text FROM public.{table} AS t ORDER BY 1"),
                &[],
            )
            .await,
        );
    }
    rows
}

#[tokio::test]
async fn another_tenants_agent_is_not_found_by_any_operation() {
    let belt = Toolbelt::new().await;
    let stranger = sign_up(&belt.owner, "stranger@example.com").await;
    let before = state(&belt.owner).await;

    for (operation, input) in operations(AGENT) {
        let refused = call(&belt.functions, operation, &user(stranger), &limited(&input)).await;
        assert_eq!(refused, Err("PT404 agent_not_found".to_owned()), "{operation}");
    }
    assert_eq!(state(&belt.owner).await, before);
}

#[tokio::test]
async fn another_tenants_things_are_not_found_under_an_agent_of_ones_own() {
    let belt = Toolbelt::new().await;
    let stranger = sign_up(&belt.owner, "stranger@example.com").await;
    let statement = "INSERT INTO public.agents (user_id, name) VALUES ($1, 'Own') RETURNING id";
    let own: Uuid = belt.owner.query_one(statement, &[&stranger]).await.unwrap().get(0);
    let before = state(&belt.owner).await;

    for (operation, input) in operations(own) {
        let outcome = call(&belt.functions, operation, &user(stranger), &limited(&input)).await;
        let expected = match operation {
            "grant_toolbox_access" => Err("PT404 toolbox_not_found"),
            "revoke_toolbox_access" => Err("PT404 toolbox_access_not_found"),
            "create_toolbelt_item" => Err("PT404 tool_instance_not_found"),
            "list_toolbox_access" | "list_toolbelt_items" => Ok(json!({ "rows": [] })),
            "list_agent_audit" => Ok(json!({ "rows": [], "next": null })),
            _ => Err("PT404 toolbelt_item_not_found"),
        };
        assert_eq!(outcome, expected.map_err(str::to_owned), "{operation}");
    }
    assert_eq!(state(&belt.owner).await, before);
}

#[tokio::test]
async fn a_service_has_no_toolbelt() {
    let belt = Toolbelt::new().await;
    let caller = json!({ "kind": "service", "name": "heartbeat" });

    for (operation, input) in operations(AGENT) {
        let refused = call(&belt.functions, operation, &caller, &input).await;
        assert_eq!(refused, Err("28000".to_owned()), "{operation}");
    }
}

#[tokio::test]
async fn a_credential_or_permission_of_another_item_is_not_found() {
    let belt = Toolbelt::new().await;
    let second: Uuid = belt
        .owner
        .query_one(
            "WITH instance AS (
                 INSERT INTO public.account_tool_instances
                     (user_id, account_tool_environment_id, tool_catalog_id, instance_name_on_toolbox)
                 SELECT user_id, account_tool_environment_id, tool_catalog_id, 'browser-2'
                 FROM public.account_tool_instances WHERE id = $1
                 RETURNING id
             )
             SELECT id FROM instance",
            &[&INSTANCE],
        )
        .await
        .unwrap()
        .get(0);
    let item = belt
        .call(
            "create_toolbelt_item",
            &json!({ "agent_id": AGENT, "instance_id": second }),
        )
        .await
        .unwrap();

    let with = |name: &str, id: Uuid| json!({ "agent_id": AGENT, "item_id": item["id"], name: id, "set": {} });
    for (operation, input, code) in [
        (
            "update_credential",
            with("credential_id", CREDENTIAL),
            "credential_not_found",
        ),
        (
            "delete_credential",
            with("credential_id", CREDENTIAL),
            "credential_not_found",
        ),
        (
            "update_permission",
            with("permission_id", PERMISSION),
            "permission_not_found",
        ),
        (
            "delete_permission",
            with("permission_id", PERMISSION),
            "permission_not_found",
        ),
    ] {
        let refused = belt.call(operation, &input).await;
        assert_eq!(refused, Err(format!("PT404 {code}")), "{operation}");
    }
}

#[tokio::test]
async fn what_is_there_already_is_a_conflict() {
    let belt = Toolbelt::new().await;
    let stored = json!({
        "agent_id": AGENT, "item_id": ITEM, "credential_id": Uuid::from_u128(9), "credential_type": "api_key",
        "sealed": "canary-sealed-second", "key_id": "a", "account_identifier": null, "status": "active",
    });

    for (operation, input, code) in [
        (
            "grant_toolbox_access",
            json!({ "agent_id": AGENT, "toolbox_id": TOOLBOX }),
            "access_exists",
        ),
        (
            "create_toolbelt_item",
            json!({ "agent_id": AGENT, "instance_id": INSTANCE }),
            "item_exists",
        ),
        ("store_credential", stored.clone(), "credential_exists"),
    ] {
        let refused = belt.call(operation, &input).await;
        assert_eq!(refused, Err(format!("PT409 {code}")), "{operation}");
    }

    let mut revoked = stored;
    revoked["status"] = json!("revoked");
    let kept = belt.call("store_credential", &revoked).await.unwrap();
    assert_eq!(kept["status"], "revoked");
    assert!(!kept.to_string().contains("canary"), "{kept}");
    let activate = json!({
        "agent_id": AGENT, "item_id": ITEM, "credential_id": kept["id"], "set": { "status": "active" },
    });
    let refused = belt.call("update_credential", &activate).await;
    assert_eq!(refused, Err("PT409 credential_exists".to_owned()));
}

#[tokio::test]
async fn a_change_is_made_to_the_revision_that_it_names() {
    let belt = Toolbelt::new().await;
    let item = |if_match: Value, active: bool| json!({ "agent_id": AGENT, "item_id": ITEM, "if_match": if_match, "is_active_for_agent": active });
    let stale = Err("PT412 precondition_failed".to_owned());

    let first = belt.call("update_toolbelt_item", &item(json!(1), false)).await.unwrap();
    assert_eq!(
        (&first["revision"], &first["is_active_for_agent"]),
        (&json!(2), &json!(false))
    );
    assert_eq!(belt.call("update_toolbelt_item", &item(json!(1), true)).await, stale);
    assert_eq!(belt.call("delete_toolbelt_item", &item(json!(1), true)).await, stale);

    let credential = |if_match: i64| {
        json!({
            "agent_id": AGENT, "item_id": ITEM, "credential_id": CREDENTIAL, "if_match": if_match,
            "set": { "account_identifier": "me@example.com" },
        })
    };
    let changed = belt.call("update_credential", &credential(1)).await.unwrap();
    assert_eq!(changed["revision"], 2);
    assert_eq!(belt.call("update_credential", &credential(1)).await, stale);
    assert_eq!(belt.call("delete_credential", &credential(1)).await, stale);
    // A new secret is a change, whichever key it is sealed under.
    for (key, revision) in [("a", 3), ("a", 4), ("b", 5)] {
        let sealed = json!({
            "agent_id": AGENT, "item_id": ITEM, "credential_id": CREDENTIAL, "if_match": revision - 1,
            "set": { "sealed": format!("canary-{revision}"), "key_id": key },
        });
        assert_eq!(
            belt.call("update_credential", &sealed).await.unwrap()["revision"],
            revision
        );
    }

    let permission = |if_match: i64| {
        json!({
            "agent_id": AGENT, "item_id": ITEM, "permission_id": PERMISSION, "if_match": if_match, "must_exist": true,
            "capability_name": "open_page", "is_allowed": false,
        })
    };
    let changed = belt.call("put_permission", &permission(1)).await.unwrap();
    assert_eq!(
        (&changed["revision"], &changed["is_allowed"]),
        (&json!(2), &json!(false))
    );
    assert_eq!(belt.call("put_permission", &permission(1)).await, stale);
    assert_eq!(belt.call("update_permission", &permission(1)).await, stale);
    assert_eq!(belt.call("delete_permission", &permission(1)).await, stale);
}

#[tokio::test]
async fn a_capability_is_one_of_the_tools_and_denied_until_it_is_allowed() {
    let belt = Toolbelt::new().await;
    let put = |name: &str, allowed: Value| json!({ "agent_id": AGENT, "item_id": ITEM, "capability_name": name, "is_allowed": allowed });

    let unknown = belt.call("put_permission", &put("format_disk", json!(true))).await;
    assert_eq!(unknown, Err("PT400 unknown_capability".to_owned()));

    let unsaid = belt
        .call("put_permission", &put("submit_form", Value::Null))
        .await
        .unwrap();
    assert_eq!(
        (&unsaid["is_allowed"], &unsaid["requires_approval"]),
        (&json!(false), &json!(true))
    );
    let allowed = belt
        .call("put_permission", &put("submit_form", json!(true)))
        .await
        .unwrap();
    assert_eq!(
        (&allowed["is_allowed"], &allowed["requires_approval"]),
        (&json!(true), &json!(true))
    );
    let update = json!({
        "agent_id": AGENT, "item_id": ITEM, "permission_id": allowed["id"], "is_allowed": null, "requires_approval": false,
    });
    let updated = belt.call("update_permission", &update).await.unwrap();
    assert_eq!(
        (&updated["is_allowed"], &updated["requires_approval"]),
        (&json!(true), &json!(false))
    );
}

#[tokio::test]
async fn a_tool_has_fifty_credentials_at_most() {
    let belt = Toolbelt::new().await;
    belt.owner
        .execute(
            "INSERT INTO public.agent_tool_credentials
                 (user_id, agent_toolbelt_item_id, credential_type, encrypted_credentials, status)
             SELECT $1, $2, 'old', 'canary', 'revoked' FROM generate_series(1, 48)",
            &[&TENANT, &ITEM],
        )
        .await
        .unwrap();
    let store = |number: u128| {
        json!({
            "agent_id": AGENT, "item_id": ITEM, "credential_id": Uuid::from_u128(number), "credential_type": "more",
            "sealed": "canary", "key_id": "a", "status": "revoked",
        })
    };

    assert!(belt.call("store_credential", &store(1)).await.is_ok());
    let refused = belt.call("store_credential", &store(2)).await;

    assert_eq!(refused, Err("PT409 too_many_credentials".to_owned()));
}

#[tokio::test]
async fn a_permission_is_made_by_its_operation_alone() {
    let belt = Toolbelt::new().await;
    become_user(&belt.owner, TENANT).await;

    let written = belt
        .owner
        .execute(
            "INSERT INTO public.agent_tool_capability_permissions
                 (user_id, agent_toolbelt_item_id, capability_name, is_allowed)
             VALUES ($1, $2, 'submit_form', true)",
            &[&TENANT, &ITEM],
        )
        .await;

    assert_eq!(refusal(&written.unwrap_err()), "42501");
    belt.owner.batch_execute("ROLLBACK").await.unwrap();
    let input = json!({
        "agent_id": AGENT, "item_id": ITEM, "must_exist": true, "capability_name": "submit_form", "is_allowed": true,
    });
    let not_there = belt.call("put_permission", &input).await;
    assert_eq!(not_there, Err("PT412 precondition_failed".to_owned()));
    let mut made = input;
    made["must_exist"] = json!(false);
    assert_eq!(belt.call("put_permission", &made).await.unwrap()["is_allowed"], true);
}

#[tokio::test]
async fn what_goes_while_something_is_hung_on_it_is_not_found() {
    let cases = [
        (
            "DELETE FROM public.agent_toolbelt_items",
            "store_credential",
            json!({
                "agent_id": AGENT, "item_id": ITEM, "credential_id": Uuid::from_u128(9), "credential_type": "other",
                "sealed": "canary", "key_id": "a",
            }),
            "PT404 toolbelt_item_not_found",
        ),
        (
            "DELETE FROM public.agent_toolbelt_items",
            "put_permission",
            json!({ "agent_id": AGENT, "item_id": ITEM, "capability_name": "submit_form", "is_allowed": true }),
            "PT404 toolbelt_item_not_found",
        ),
        (
            "DELETE FROM public.agent_toolbox_access",
            "create_toolbelt_item",
            json!({ "agent_id": AGENT, "instance_id": INSTANCE }),
            "PT403 no_toolbox_access",
        ),
        (
            "DELETE FROM public.account_tool_instances",
            "create_toolbelt_item",
            json!({ "agent_id": AGENT, "instance_id": INSTANCE }),
            "PT404 tool_instance_not_found",
        ),
        (
            "DELETE FROM public.account_tool_environments",
            "grant_toolbox_access",
            json!({ "agent_id": AGENT, "toolbox_id": TOOLBOX }),
            "PT404 toolbox_not_found",
        ),
    ];

    for (deletion, operation, input, expected) in cases {
        let belt = Toolbelt::new().await;
        let making = ["create_toolbelt_item", "grant_toolbox_access"].contains(&operation);
        if making {
            belt.owner
                .batch_execute("DELETE FROM public.agent_toolbelt_items")
                .await
                .unwrap();
        }
        if operation == "grant_toolbox_access" {
            belt.owner
                .batch_execute("DELETE FROM public.agent_toolbox_access")
                .await
                .unwrap();
        }
        belt.owner.batch_execute(&format!("BEGIN; {deletion}")).await.unwrap();
        let row = belt.functions.query_one("SELECT pg_backend_pid()", &[]).await.unwrap();
        let waiting: i32 = row.get(0);

        let (outcome, ()) = tokio::join!(belt.call(operation, &input), async {
            let locks = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted";
            eventually("the operation waits", DEADLINE, async || {
                count(&belt.owner, locks, &[&waiting]).await == 1
            })
            .await;
            belt.owner.batch_execute("COMMIT").await.unwrap();
        });

        assert_eq!(outcome, Err(expected.to_owned()), "{deletion}: {operation}");
    }
}

#[tokio::test]
async fn taking_access_takes_what_hung_on_it_and_leaves_its_history() {
    let belt = Toolbelt::new().await;
    let input = json!({ "agent_id": AGENT, "access_id": ACCESS });

    belt.call("revoke_toolbox_access", &input).await.unwrap();

    assert_eq!(state(&belt.owner).await, Vec::<String>::new());
    let audit = belt
        .call(
            "list_agent_audit",
            &json!({ "agent_id": AGENT, "limit": 4, "cursor": null }),
        )
        .await
        .unwrap();
    let mut deleted: Vec<_> = audit["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| format!("{} {} {}", entry["actor_user_id"], entry["action"], entry["table_name"]))
        .collect();
    deleted.sort();
    let expected = [
        "agent_tool_capability_permissions",
        "agent_tool_credentials",
        "agent_toolbelt_items",
        "agent_toolbox_access",
    ]
    .map(|table| format!("\"{TENANT}\" \"delete\" \"{table}\""));
    assert_eq!(deleted, expected);
    assert!(!audit.to_string().contains("canary"), "{audit}");
}

#[tokio::test]
async fn the_audit_is_read_in_pages_without_gaps() {
    let belt = Toolbelt::new().await;
    for active in [false, true, false] {
        let input = json!({ "agent_id": AGENT, "item_id": ITEM, "is_active_for_agent": active });
        belt.call("update_toolbelt_item", &input).await.unwrap();
    }

    let mut ids = Vec::new();
    let mut cursor = Value::Null;
    loop {
        let input = json!({ "agent_id": AGENT, "limit": 2, "cursor": cursor });
        let page = belt.call("list_agent_audit", &input).await.unwrap();
        let rows = page["rows"].as_array().unwrap();
        assert!(rows.len() <= 2);
        ids.extend(rows.iter().map(|entry| entry["id"].as_i64().unwrap()));
        cursor = page["next"].clone();
        if cursor.is_null() {
            break;
        }
    }

    let all = "SELECT count(*) FROM app.audit_log WHERE agent_id = $1";
    assert_eq!(
        i64::try_from(ids.len()).unwrap(),
        count(&belt.owner, all, &[&AGENT]).await
    );
    assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");
}

/// What the audit log says of releases and denials, as "actor action row changes".
async fn releases(owner: &Client) -> Vec<String> {
    let statement = "SELECT actor_name || ' ' || action || ' ' || row_id || ' ' || changes::text FROM app.audit_log
                     WHERE action LIKE 'credentials_%' ORDER BY id";
    texts(owner, statement, &[]).await
}

/// A refusal as it is returned.
fn refused(status: u16, code: &str, outcome: &Result<Value, String>) -> bool {
    let Ok(output) = outcome else { return false };
    output["refused"]["status"] == status && output["refused"]["code"] == code
}

#[tokio::test]
async fn credentials_are_released_to_the_toolbox_that_runs_the_tool() {
    let belt = Toolbelt::new().await;

    let released = belt.release(&json!({ "capability": "open_page" })).await.unwrap();

    assert_eq!(
        released,
        json!({
            "toolbox_id": TOOLBOX, "user_id": TENANT, "agent_id": AGENT, "item_id": ITEM,
            "secrets": [{
                "name": "API_KEY", "is_optional": false,
                "credential": { "id": CREDENTIAL, "sealed": "canary-sealed-tool-credentials" },
            }],
        })
    );
    assert_eq!(
        releases(&belt.owner).await,
        [format!(
            "toolbox:{TOOLBOX} credentials_released {ITEM} {{\"capability\": \"open_page\", \"credentials\": \
             [{{\"id\": \"{CREDENTIAL}\", \"type\": \"api_key\", \"key_id\": null}}]}}"
        )]
    );
}

#[tokio::test]
async fn a_tool_is_given_what_its_schema_asks_for_and_no_more() {
    let belt = Toolbelt::new().await;
    belt.owner
        .batch_execute(
            r#"INSERT INTO public.agent_tool_credentials
                   (user_id, agent_toolbelt_item_id, credential_type, encrypted_credentials, status)
               SELECT user_id, agent_toolbelt_item_id, added.type, 'sealed-' || added.type, added.status
               FROM public.agent_tool_credentials
               CROSS JOIN (VALUES
                   ('API_KEY', 'active'), ('BY_NAME', 'active'), ('REVOKED', 'revoked'), ('unasked', 'active')
               ) AS added (type, status);
               UPDATE public.tool_catalog
               SET required_secrets_schema = '[
                   {"name": "by type first", "env_var_name": "API_KEY", "type": "api_key"},
                   {"name": "by name", "env_var_name": "BY_NAME", "type": "oauth"},
                   {"name": "without a type", "env_var_name": "API_KEY"},
                   {"name": "optional", "env_var_name": "REVOKED", "optional": true},
                   {"name": "not required", "env_var_name": "ABSENT", "type": "none", "required": false}
               ]'"#,
        )
        .await
        .unwrap();

    let released = belt.release(&json!({})).await.unwrap();

    let secrets: Vec<_> = released["secrets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|secret| {
            format!(
                "{} {} {}",
                secret["name"], secret["is_optional"], secret["credential"]["sealed"]
            )
        })
        .collect();
    assert_eq!(
        secrets,
        [
            r#""API_KEY" false "canary-sealed-tool-credentials""#,
            r#""BY_NAME" false "sealed-BY_NAME""#,
            r#""API_KEY" false "sealed-API_KEY""#,
            r#""REVOKED" true null"#,
            r#""ABSENT" true null"#,
        ]
    );
}

#[tokio::test]
async fn a_secret_that_is_missing_is_named_and_nothing_is_released() {
    let belt = Toolbelt::new().await;
    belt.owner
        .batch_execute("UPDATE public.agent_tool_credentials SET status = 'expired'")
        .await
        .unwrap();

    let outcome = belt.release(&json!({})).await;

    assert!(refused(409, "credential_missing", &outcome), "{outcome:?}");
    assert_eq!(outcome.unwrap()["refused"]["extra"]["field"], "API_KEY");
    assert_eq!(
        releases(&belt.owner).await,
        [format!(
            "toolbox:{TOOLBOX} credentials_denied {ITEM} {{\"code\": \"credential_missing\", \"field\": \"API_KEY\", \
             \"capability\": null}}"
        )]
    );
}

#[tokio::test]
async fn a_catalog_entry_that_names_no_variable_is_a_fault_of_ours() {
    for entry in [
        json!({ "name": "key" }),
        json!({ "env_var_name": "A=B" }),
        json!("API_KEY"),
    ] {
        let belt = Toolbelt::new().await;
        let statement = "UPDATE public.tool_catalog SET required_secrets_schema = jsonb_build_array($1::text::jsonb)";
        belt.owner.execute(statement, &[&entry.to_string()]).await.unwrap();

        assert_eq!(belt.release(&json!({})).await, Err("P0001".to_owned()), "{entry}");
    }
}

#[tokio::test]
async fn nothing_is_released_that_is_not_due() {
    let unavailable = (404, "tool_not_available");
    let cases = [
        ("SELECT 1", json!({ "agent_id": Uuid::from_u128(7) }), unavailable),
        ("SELECT 1", json!({ "instance_id": Uuid::from_u128(7) }), unavailable),
        (
            "UPDATE public.agent_toolbelt_items SET is_active_for_agent = false",
            json!({}),
            unavailable,
        ),
        (
            "UPDATE public.account_tool_environments SET status = 'paused'",
            json!({}),
            unavailable,
        ),
        (
            "UPDATE public.account_tool_environments SET status = 'deprovisioning'",
            json!({}),
            unavailable,
        ),
        (
            "UPDATE public.account_tool_environments SET desired_state = 'paused'",
            json!({}),
            unavailable,
        ),
        (
            "UPDATE public.account_tool_instances SET desired_status = 'stopped'",
            json!({}),
            unavailable,
        ),
        (
            "SELECT 1",
            json!({ "capability": "submit_form" }),
            (403, "capability_denied"),
        ),
        (
            "UPDATE public.agent_tool_capability_permissions SET is_allowed = false",
            json!({ "capability": "open_page" }),
            (403, "capability_denied"),
        ),
        (
            "UPDATE public.agent_tool_capability_permissions SET requires_approval = true",
            json!({ "capability": "open_page" }),
            (403, "capability_requires_approval"),
        ),
        (
            "UPDATE public.tool_catalog SET required_capabilities_schema = '[{\"name\": \"submit_form\"}]'",
            json!({ "capability": "open_page" }),
            (403, "capability_denied"),
        ),
    ];

    for (change, request, (status, code)) in cases {
        let belt = Toolbelt::new().await;
        belt.owner.batch_execute(change).await.unwrap();

        let outcome = belt.release(&request).await;

        assert!(refused(status, code, &outcome), "{change} {request}: {outcome:?}");
        let denied = format!("\"code\": \"{code}\"");
        let logged = releases(&belt.owner).await;
        assert!(
            logged.iter().all(|entry| entry.contains(&denied)) && logged.len() == usize::from(status == 403),
            "{change} {request}: {logged:?}"
        );
    }
}

#[tokio::test]
async fn an_unknown_token_is_refused() {
    let belt = Toolbelt::new().await;

    let outcome = belt.release(&json!({ "token_hash": "00" })).await;

    assert_eq!(outcome, Err("PT401 invalid_token".to_owned()));
}

#[tokio::test]
async fn a_toolbox_gets_nothing_for_a_tool_on_another_toolbox() {
    let belt = Toolbelt::new().await;
    let other =
        "INSERT INTO public.account_tool_environments (user_id, name, status, region_slug, size_slug, token_hash)
                 VALUES ($1, 'Other', 'active', 'fra1', 's-1vcpu-1gb', sha256('another-token'))
                 RETURNING encode(token_hash, 'hex')";
    let token: String = belt.owner.query_one(other, &[&TENANT]).await.unwrap().get(0);

    let outcome = belt.release(&json!({ "token_hash": token })).await;

    assert!(refused(404, "tool_not_available", &outcome), "{outcome:?}");
}

#[tokio::test]
async fn a_toolbox_is_limited_whatever_it_is_answered() {
    let belt = Toolbelt::new().await;
    let limits = json!({ "per_minute": 1, "burst": 3 });
    let probe = json!({ "per_minute": 1, "burst": 3, "instance_id": Uuid::from_u128(7) });

    assert!(belt.release(&limits).await.unwrap()["refused"].is_null());
    for _ in 0..2 {
        assert!(refused(404, "tool_not_available", &belt.release(&probe).await));
    }

    for request in [limits, probe] {
        assert_eq!(belt.release(&request).await, Err("PT429 rate_limited".to_owned()));
    }
}

#[tokio::test]
async fn what_is_sealed_under_another_key_is_listed_and_replaced_as_it_was_read() {
    let belt = Toolbelt::new().await;
    let service = json!({ "kind": "service", "name": "reseal" });
    let call = async |operation: &str, input: Value| call(&belt.functions, operation, &service, &input).await.unwrap();
    let list = async |after: Value| {
        let input = json!({ "key_id": "new", "after": after, "limit": 10 });
        call("list_credentials_to_reseal", input).await["rows"].clone()
    };
    let reseal = async |from: &str| {
        let rows =
            json!([{ "id": CREDENTIAL, "from": from, "to": "canary-new" }, { "id": ITEM, "from": "", "to": "" }]);
        call("reseal_credentials", json!({ "key_id": "new", "rows": rows })).await["resealed"].clone()
    };
    let revision = "SELECT revision || ' ' || key_id FROM public.agent_tool_credentials";

    let listed = list(Value::Null).await;

    assert_eq!(
        listed,
        json!([{
            "id": CREDENTIAL, "user_id": TENANT, "agent_id": AGENT, "item_id": ITEM,
            "sealed": "canary-sealed-tool-credentials",
        }])
    );
    assert_eq!(list(json!(CREDENTIAL)).await, json!([]));
    assert_eq!(reseal("canary-of-before").await, 0);
    assert_eq!(reseal("canary-sealed-tool-credentials").await, 1);
    assert_eq!(list(Value::Null).await, json!([]));
    assert_eq!(texts(&belt.owner, revision, &[]).await, ["1 new"]);
}

#[tokio::test]
async fn a_user_reseals_nothing() {
    let belt = Toolbelt::new().await;

    for (operation, input) in [
        (
            "list_credentials_to_reseal",
            json!({ "key_id": "new", "after": null, "limit": 10 }),
        ),
        ("reseal_credentials", json!({ "key_id": "new", "rows": [] })),
        (
            "release_credentials",
            json!({ "token_hash": "00", "agent_id": AGENT, "instance_id": INSTANCE, "per_minute": 1, "burst": 1 }),
        ),
    ] {
        assert_eq!(
            belt.call(operation, &input).await,
            Err("42501".to_owned()),
            "{operation}"
        );
    }
}
