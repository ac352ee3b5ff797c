//! `toolboxes-user`: the ways in which the version before ours was broken into, each tried and failing.

use agentopia_tests::{Stack, User};
use http::Method;
use insta::assert_snapshot;
use serde_json::Value;
use uuid::Uuid;

use crate::toolboxes_support::{FETCH, about, column, deploy, order, stack, wanted};

/// What becomes of statements that a toolbox's owner sends through PostgREST.
async fn attempts(stack: &Stack, owner: &User, statements: &[&str], toolbox: Uuid) -> String {
    let session = stack.as_user(owner).await;
    let mut outcomes = String::new();
    for statement in statements {
        let outcome = match session.attempt(statement, &[&toolbox]).await {
            Ok(rows) => format!("{} rows", rows.len()),
            Err(refusal) => refusal,
        };
        outcomes.push_str(&format!("{statement}\n  {outcome}\n"));
    }
    session.batch_execute("COMMIT").await.unwrap();
    outcomes
}

#[tokio::test]
async fn an_owner_writes_no_address_no_machine_and_no_status() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let before = column(stack, &user, "toolbox").await;

    let outcomes = attempts(
        stack,
        &user,
        &[
            "UPDATE account_tool_environments SET public_ip_address = '127.0.0.1' WHERE id = $1 RETURNING id",
            "UPDATE account_tool_environments SET do_droplet_id = 4711 WHERE id = $1 RETURNING id",
            "UPDATE account_tool_environments SET status = 'active' WHERE id = $1 RETURNING id",
            "UPDATE account_tool_environments SET desired_state = 'running' WHERE id = $1 RETURNING id",
            "UPDATE account_tool_environments SET token_hash = sha256('mine') WHERE id = $1 RETURNING id",
            "UPDATE account_tool_environments SET bootstrap_token_hash = sha256('mine') WHERE id = $1 RETURNING id",
            "UPDATE account_tool_environments SET revision = 0 WHERE id = $1 RETURNING id",
            "UPDATE account_tool_environments SET user_id = auth.uid() WHERE id = $1 RETURNING id",
            "DELETE FROM account_tool_environments WHERE id = $1 RETURNING id",
        ],
        toolbox.id,
    )
    .await;

    assert_snapshot!(outcomes, @r"
    UPDATE account_tool_environments SET public_ip_address = '127.0.0.1' WHERE id = $1 RETURNING id
      42501 permission denied for table account_tool_environments
    UPDATE account_tool_environments SET do_droplet_id = 4711 WHERE id = $1 RETURNING id
      42501 permission denied for table account_tool_environments
    UPDATE account_tool_environments SET status = 'active' WHERE id = $1 RETURNING id
      42501 permission denied for table account_tool_environments
    UPDATE account_tool_environments SET desired_state = 'running' WHERE id = $1 RETURNING id
      42501 permission denied for table account_tool_environments
    UPDATE account_tool_environments SET token_hash = sha256('mine') WHERE id = $1 RETURNING id
      42501 permission denied for table account_tool_environments
    UPDATE account_tool_environments SET bootstrap_token_hash = sha256('mine') WHERE id = $1 RETURNING id
      42501 permission denied for table account_tool_environments
    UPDATE account_tool_environments SET revision = 0 WHERE id = $1 RETURNING id
      42501 permission denied for table account_tool_environments
    UPDATE account_tool_environments SET user_id = auth.uid() WHERE id = $1 RETURNING id
      42501 permission denied for table account_tool_environments
    DELETE FROM account_tool_environments WHERE id = $1 RETURNING id
      42501 permission denied for table account_tool_environments
    ");
    assert_eq!(column(stack, &user, "toolbox").await, before);
}

/// A row with somebody else's machine in it had the platform delete that machine.
#[tokio::test]
async fn an_owner_makes_no_row_by_hand() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;

    let outcomes = attempts(
        stack,
        &user,
        &[
            "INSERT INTO account_tool_environments (id, region_slug, size_slug, do_droplet_id) VALUES ($1, 'fra1', 's', 4711) RETURNING id",
            "INSERT INTO account_tool_environments (id, region_slug, size_slug) VALUES ($1, 'fra1', 's') RETURNING id",
            "INSERT INTO account_tool_instances (account_tool_environment_id, tool_catalog_id, instance_name_on_toolbox) VALUES ($1, $1, 'tool') RETURNING id",
            "UPDATE account_tool_instances SET base_config_override_json = '{\"HostConfig\": {}}' WHERE account_tool_environment_id = $1 RETURNING id",
            "UPDATE tool_catalog SET required_config_schema = '{}' WHERE id = $1 RETURNING id",
            "SELECT api.create_toolbox('{\"kind\": \"service\", \"name\": \"me\"}', jsonb_build_object('id', $1::uuid))",
            "SELECT app.request_machine_job($1)",
            "SELECT key FROM app.jobs WHERE key = $1::uuid::text",
        ],
        toolbox.id,
    )
    .await;

    assert_snapshot!(outcomes, @r#"
    INSERT INTO account_tool_environments (id, region_slug, size_slug, do_droplet_id) VALUES ($1, 'fra1', 's', 4711) RETURNING id
      42501 permission denied for table account_tool_environments
    INSERT INTO account_tool_environments (id, region_slug, size_slug) VALUES ($1, 'fra1', 's') RETURNING id
      42501 permission denied for table account_tool_environments
    INSERT INTO account_tool_instances (account_tool_environment_id, tool_catalog_id, instance_name_on_toolbox) VALUES ($1, $1, 'tool') RETURNING id
      42501 permission denied for table account_tool_instances
    UPDATE account_tool_instances SET base_config_override_json = '{"HostConfig": {}}' WHERE account_tool_environment_id = $1 RETURNING id
      42501 permission denied for table account_tool_instances
    UPDATE tool_catalog SET required_config_schema = '{}' WHERE id = $1 RETURNING id
      42501 permission denied for table tool_catalog
    SELECT api.create_toolbox('{"kind": "service", "name": "me"}', jsonb_build_object('id', $1::uuid))
      42501 permission denied for schema api
    SELECT app.request_machine_job($1)
      42501 permission denied for function request_machine_job
    SELECT key FROM app.jobs WHERE key = $1::uuid::text
      42501 permission denied for table jobs
    "#);
    assert_eq!(column(stack, &user, "1").await.len(), 1);
}

#[tokio::test]
async fn an_owner_reads_no_secret_and_may_rename() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;

    let outcomes = attempts(
        stack,
        &user,
        &[
            "SELECT token_hash FROM account_tool_environments WHERE id = $1",
            "SELECT bootstrap_token_hash FROM account_tool_environments WHERE id = $1",
            "SELECT bootstrap_claim_hash FROM account_tool_environments WHERE id = $1",
            "SELECT toolbox::text FROM account_tool_environments AS toolbox WHERE id = $1",
            "SELECT status, desired_state, revision FROM account_tool_environments WHERE id = $1",
            "UPDATE account_tool_environments SET name = 'By hand', description = NULL WHERE id = $1 RETURNING id",
        ],
        toolbox.id,
    )
    .await;

    assert_snapshot!(outcomes, @r"
    SELECT token_hash FROM account_tool_environments WHERE id = $1
      42501 permission denied for table account_tool_environments
    SELECT bootstrap_token_hash FROM account_tool_environments WHERE id = $1
      42501 permission denied for table account_tool_environments
    SELECT bootstrap_claim_hash FROM account_tool_environments WHERE id = $1
      42501 permission denied for table account_tool_environments
    SELECT toolbox::text FROM account_tool_environments AS toolbox WHERE id = $1
      42501 permission denied for table account_tool_environments
    SELECT status, desired_state, revision FROM account_tool_environments WHERE id = $1
      1 rows
    UPDATE account_tool_environments SET name = 'By hand', description = NULL WHERE id = $1 RETURNING id
      1 rows
    ");
    assert_eq!(column(stack, &user, "name || ' ' || revision").await, ["By hand 2"]);
}

/// Rows once carried the token by which the machine is believed.
#[tokio::test]
async fn no_row_has_a_secret_in_it() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let statement = "UPDATE public.account_tool_environments
                     SET bootstrap_token_hash = sha256($1::uuid::text::bytea), bootstrap_claim_hash = sha256('claim'),
                         bootstrap_expires_at = now()
                     WHERE id = $1
                     RETURNING concat_ws(',', encode(token_hash, 'hex'), encode(bootstrap_token_hash, 'hex'),
                                         encode(bootstrap_claim_hash, 'hex'))";
    let hashes: String = stack.db().scalar(statement, &[&toolbox.id]).await;
    let path = format!("/{}", toolbox.id);
    let tools = format!("{path}/tools");
    let tool = deploy(stack, &user, &toolbox, FETCH, "tool").await;
    let tool = format!("{tools}/{}", tool.field("id"));

    let mut texts = Vec::new();
    for (method, rest, body) in [
        (Method::GET, "", Value::Null),
        (Method::GET, path.as_str(), Value::Null),
        (Method::PATCH, &path, serde_json::json!({ "description": "a" })),
        (Method::POST, &format!("{path}/refresh-status"), Value::Null),
        (Method::POST, &format!("{path}/pause"), Value::Null),
        (Method::POST, &format!("{path}/resume"), Value::Null),
        (Method::GET, &tools, Value::Null),
        (Method::GET, &tool, Value::Null),
        (Method::POST, &format!("{tool}/restart"), Value::Null),
        (Method::DELETE, &tool, Value::Null),
        (Method::POST, &format!("{path}/redeploy"), Value::Null),
    ] {
        let response = about(stack, &user, method, rest).json(&body).await;
        assert_eq!(response.status(), 200, "{rest}: {response}");
        texts.push(response.text().to_owned());
    }

    assert_eq!(hashes.split(',').count(), 3);
    let secrets = hashes.split(',').chain([toolbox.token.as_str()]).chain(stack.secrets());
    for secret in secrets {
        assert!(texts.iter().all(|text| !text.contains(secret)), "{secret}");
    }
    let suspicious = ["token", "secret", "bootstrap", "hash", "claim", "lease"];
    for text in texts {
        assert!(suspicious.iter().all(|word| !text.contains(word)), "{text}");
    }
}

#[tokio::test]
async fn no_log_line_has_a_secret_or_what_a_user_wrote() {
    let stack = stack().await;
    let user = stack.user().await;
    let mut body = wanted("Canary of a name");
    body["description"] = "canary of a description".into();
    assert_eq!(order(stack, &user, &body).await.status(), 201);
    body["regionSlug"] = "Canary of a region".into();
    assert_eq!(order(stack, &user, &body).await.status(), 400);

    let Some(lines) = stack.log("toolboxes-user") else {
        return;
    };

    assert!(lines.iter().any(|line| line.contains("create_toolbox")));
    for line in lines {
        assert!(!line.to_lowercase().contains("canary of"), "{line}");
        assert!(stack.secrets().iter().all(|secret| !line.contains(secret)), "{line}");
    }
}
