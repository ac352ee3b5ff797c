//! `toolboxes-user`: what an owner says of a toolbox that is there.

use agentopia_tests::Stack;
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::toolbelt_support::answers;
use crate::toolboxes_support::{FETCH, about, column, deploy, id_of, is_due, set_status, stack, tool_column, wanted};

#[tokio::test]
async fn a_toolbox_is_called_otherwise() {
    let stack = stack().await;
    let user = stack.user().await;
    let path = format!("/{}", user.toolbox().await.id);
    let change = |method: Method, body: Value| about(stack, &user, method, &path).json(&body);

    let named = change(
        Method::PATCH,
        json!({ "name": " Forge ", "status": "active", "user_id": "x" }),
    )
    .await;
    let described = change(Method::PUT, json!({ "description": "Of Ada" })).await;
    let same = change(Method::PUT, json!({ "name": "Forge" })).await;
    let forgotten = change(Method::PATCH, json!({ "description": null })).await;

    assert_eq!((named.status().as_u16(), named.field("name").as_str()), (200, "Forge"));
    assert_eq!(described.field("description"), "Of Ada");
    assert_eq!(forgotten.json()["description"], Value::Null);
    let tags = [&named, &described, &same, &forgotten].map(|response| response.header("etag").unwrap());
    assert_eq!(tags, ["\"2\"", "\"3\"", "\"3\"", "\"4\""]);
    assert_eq!(column(stack, &user, "name || ' ' || revision").await, ["Forge 4"]);
    let actors: Vec<String> = stack
        .db()
        .column(
            "SELECT actor_kind FROM app.audit_log
             WHERE table_name = 'account_tool_environments' AND owner_user_id = $1 AND action = 'update'",
            &[&user.id],
        )
        .await;
    assert_eq!(actors, ["user", "user", "user"]);
}

#[tokio::test]
async fn a_change_that_is_none_is_refused() {
    let stack = stack().await;
    let user = stack.user().await;
    let path = format!("/{}", user.toolbox().await.id);
    let change = |body: Value| about(stack, &user, Method::PATCH, &path).json(&body);

    let answers = answers([
        ("nothing", change(json!({}))),
        ("another field", change(json!({ "status": "active" }))),
        ("no name", change(json!({ "name": null }))),
        ("blanks", change(json!({ "name": " " }))),
        ("two lines", change(json!({ "name": "a\nb" }))),
        ("a number", change(json!({ "name": 1 }))),
        ("a NUL", change(json!({ "description": "a\0" }))),
        ("no tag", change(json!({ "name": "a" })).header("if-match", "3")),
    ]);

    assert_snapshot!(answers.await, @r#"
    [nothing]
    400 Bad Request
    {"code":"missing_field","error":"One of name and description is required.","message":"One of name and description is required.","request_id":"[request id]"}
    [another field]
    400 Bad Request
    {"code":"missing_field","error":"One of name and description is required.","message":"One of name and description is required.","request_id":"[request id]"}
    [no name]
    400 Bad Request
    {"code":"missing_field","error":"One of name and description is required.","message":"One of name and description is required.","request_id":"[request id]"}
    [blanks]
    400 Bad Request
    {"code":"invalid_field","error":"name is empty.","field":"name","message":"name is empty.","request_id":"[request id]"}
    [two lines]
    400 Bad Request
    {"code":"invalid_field","error":"name contains a control character.","field":"name","message":"name contains a control character.","request_id":"[request id]"}
    [a number]
    400 Bad Request
    {"code":"invalid_field","error":"name is invalid: invalid type: integer `1`, expected a string.","field":"name","message":"name is invalid: invalid type: integer `1`, expected a string.","request_id":"[request id]"}
    [a NUL]
    400 Bad Request
    {"code":"invalid_field","error":"description contains a control character.","field":"description","message":"description contains a control character.","request_id":"[request id]"}
    [no tag]
    400 Bad Request
    {"code":"invalid_field","error":"If-Match is neither * nor a list of entity tags.","field":"If-Match","message":"If-Match is neither * nor a list of entity tags.","request_id":"[request id]"}
    "#);
    assert_eq!(column(stack, &user, "name || ' ' || revision").await, ["Toolbox 1"]);
}

#[tokio::test]
async fn a_change_is_made_to_the_revision_that_it_names() {
    let stack = stack().await;
    let user = stack.user().await;
    let path = format!("/{}", user.toolbox().await.id);
    let rename = |name: &str, tag: &'static str| {
        about(stack, &user, Method::PATCH, &path)
            .header("if-match", tag)
            .json(&json!({ "name": name }))
    };

    let made = rename("First", "\"1\"").await;
    let stale = rename("Second", "\"1\"").await;
    let any = rename("Third", "*").await;
    let command =
        |method: Method, rest: &str| about(stack, &user, method, &format!("{path}{rest}")).header("if-match", "\"1\"");
    let refused = answers([
        ("rename", rename("Fourth", "W/\"3\"")),
        ("pause", command(Method::POST, "/pause")),
        ("redeploy", command(Method::POST, "/redeploy")),
        ("delete", command(Method::DELETE, "")),
    ])
    .await;

    assert_eq!((made.status().as_u16(), any.status().as_u16()), (200, 200));
    assert_snapshot!(stale, @r#"
    412 Precondition Failed
    {"code":"precondition_failed","error":"It was changed since: read it again, and repeat the change if it still applies.","message":"It was changed since: read it again, and repeat the change if it still applies.","request_id":"[request id]"}
    "#);
    assert_snapshot!(refused, @r#"
    [rename]
    412 Precondition Failed
    {"code":"precondition_failed","error":"It was changed since: read it again, and repeat the change if it still applies.","message":"It was changed since: read it again, and repeat the change if it still applies.","request_id":"[request id]"}
    [pause]
    412 Precondition Failed
    {"code":"precondition_failed","error":"It was changed since: read it again, and repeat the change if it still applies.","message":"It was changed since: read it again, and repeat the change if it still applies.","request_id":"[request id]"}
    [redeploy]
    412 Precondition Failed
    {"code":"precondition_failed","error":"It was changed since: read it again, and repeat the change if it still applies.","message":"It was changed since: read it again, and repeat the change if it still applies.","request_id":"[request id]"}
    [delete]
    412 Precondition Failed
    {"code":"precondition_failed","error":"It was changed since: read it again, and repeat the change if it still applies.","message":"It was changed since: read it again, and repeat the change if it still applies.","request_id":"[request id]"}
    "#);
    assert_eq!(
        column(stack, &user, "name || ' ' || status || ' ' || revision").await,
        ["Third active 3"]
    );
    let deleted = about(stack, &user, Method::DELETE, &path)
        .header("if-match", "\"3\"")
        .await;
    assert_snapshot!(deleted.status(), @"204 No Content");
}

#[tokio::test]
async fn commands_lead_from_status_to_status_or_are_refused() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let mut table = String::new();

    for (status, desired) in [
        ("pending_provision", "running"),
        ("provisioning", "running"),
        ("awaiting_heartbeat", "running"),
        ("active", "running"),
        ("unresponsive", "running"),
        ("paused", "paused"),
        ("error_provisioning", "running"),
        ("deprovisioning", "deleted"),
        ("error_deprovisioning", "deleted"),
    ] {
        for command in ["pause", "resume", "redeploy", "delete"] {
            set_status(stack, &toolbox, status, desired).await;
            // Each counts as the first: the limits are another test's.
            stack
                .db()
                .execute(
                    "DELETE FROM app.rate_limits WHERE key LIKE '%' || $1",
                    &[&user.id.to_string()],
                )
                .await;
            let response = match command {
                "delete" => about(stack, &user, Method::DELETE, &format!("/{}", toolbox.id)).await,
                _ => about(stack, &user, Method::POST, &format!("/{}/{command}", toolbox.id)).await,
            };
            let after = column(stack, &user, "status || ', ' || desired_state").await.remove(0);
            let told = response.status().as_u16();
            if told == 409 {
                assert_eq!(response.field("code"), "toolbox_state_conflict");
                assert_eq!(
                    response.field("message"),
                    format!("A toolbox that is {status} cannot be told to {command}.")
                );
                assert_eq!(after, format!("{status}, {desired}"));
            } else {
                table.push_str(&format!("{status} + {command} -> {told} {after}\n"));
            }
        }
    }

    assert_snapshot!(table, @r"
    pending_provision + delete -> 204 deprovisioning, deleted
    provisioning + delete -> 204 deprovisioning, deleted
    awaiting_heartbeat + redeploy -> 200 pending_provision, running
    awaiting_heartbeat + delete -> 204 deprovisioning, deleted
    active + pause -> 200 paused, paused
    active + redeploy -> 200 pending_provision, running
    active + delete -> 204 deprovisioning, deleted
    unresponsive + pause -> 200 paused, paused
    unresponsive + redeploy -> 200 pending_provision, running
    unresponsive + delete -> 204 deprovisioning, deleted
    paused + resume -> 200 active, running
    paused + redeploy -> 200 pending_provision, running
    paused + delete -> 204 deprovisioning, deleted
    error_provisioning + redeploy -> 200 pending_provision, running
    error_provisioning + delete -> 204 deprovisioning, deleted
    deprovisioning + delete -> 204 deprovisioning, deleted
    error_deprovisioning + delete -> 204 deprovisioning, deleted
    ");
}

#[tokio::test]
async fn a_paused_toolbox_is_not_missed_and_a_resumed_one_has_time_to_speak() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let path = format!("/{}", toolbox.id);
    let statement = "UPDATE public.account_tool_environments
                     SET alert_after = now(), remind_after = now() WHERE id = $1";
    stack.db().execute(statement, &[&toolbox.id]).await;

    let paused = about(stack, &user, Method::POST, &format!("{path}/pause")).await;
    let missed = column(stack, &user, "concat_ws(' ', alert_after, remind_after)").await;
    let resumed = about(stack, &user, Method::POST, &format!("{path}/resume")).await;
    let later = column(stack, &user, "round(extract(epoch FROM alert_after - now()) / 60)").await;

    assert_eq!(
        (paused.field("status").as_str(), paused.header("etag")),
        ("paused", Some("\"2\""))
    );
    assert_eq!(missed, [""]);
    assert_eq!(
        (resumed.field("status").as_str(), resumed.header("etag")),
        ("active", Some("\"3\""))
    );
    assert_eq!(later, ["3"]);
    assert_eq!(resumed.json()["generation"], 3);
}

#[tokio::test]
async fn a_toolbox_made_anew_keeps_its_tools_and_forgets_its_machine() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    for name in ["runs", "is-removed", "is-stopped"] {
        deploy(stack, &user, &toolbox, FETCH, name).await;
    }
    let states = [
        "UPDATE public.account_tool_instances
         SET reported_state = 'running', reported_generation = 1, status_on_toolbox = 'running',
             instance_error_message = 'It hurt',
             desired_status = CASE instance_name_on_toolbox
                 WHEN 'runs' THEN 'running' WHEN 'is-stopped' THEN 'stopped' ELSE 'removed' END
         WHERE account_tool_environment_id = $1",
        "UPDATE public.account_tool_environments
         SET do_droplet_id = extract(epoch FROM clock_timestamp()) * 1000000, do_droplet_name = 'toolbox-1',
             public_ip_address = '203.0.113.9', last_heartbeat_at = now(), reported_at = now(), reported_generation = 2,
             machine_attempt_id = gen_random_uuid()
         WHERE id = $1",
    ];
    for statement in states {
        stack.db().execute(statement, &[&toolbox.id]).await;
    }

    let response = about(stack, &user, Method::POST, &format!("/{}/redeploy", toolbox.id)).await;

    assert_snapshot!(response.status(), @"200 OK");
    assert_eq!(response.header("etag"), Some("\"2\""));
    let stale = about(stack, &user, Method::PATCH, &format!("/{}", toolbox.id)).header("if-match", "\"1\"");
    let stale = stale.json(&json!({ "name": "What was" })).await;
    assert_snapshot!(stale.status(), @"412 Precondition Failed");
    let machine = response.json();
    for field in [
        "do_droplet_id",
        "do_droplet_name",
        "public_ip_address",
        "last_heartbeat_at",
        "reported_generation",
    ] {
        assert_eq!(machine[field], Value::Null, "{field}");
    }
    assert_eq!(machine["status"], "pending_provision");
    assert!(is_due(stack, toolbox.id).await);
    assert_eq!(
        column(stack, &user, "coalesce(token_hash, machine_attempt_id::text::bytea)").await,
        ["null"]
    );
    assert_eq!(
        tool_column(
            stack,
            toolbox.id,
            "concat_ws(' ', instance_name_on_toolbox, desired_status, status_on_toolbox, reported_state)"
        )
        .await,
        ["is-stopped stopped stopped", "runs running pending_deploy"]
    );
}

#[tokio::test]
async fn a_toolbox_is_deleted_again_and_again_until_it_is_gone() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let path = format!("/{}", toolbox.id);
    let delete = || about(stack, &user, Method::DELETE, &path);

    let first = delete().await;
    let shown = about(stack, &user, Method::GET, &path).await;
    let due = is_due(stack, toolbox.id).await;
    let stuck = "UPDATE app.jobs SET run_after = now() + interval '1 hour' WHERE key = $1";
    stack.db().execute(stuck, &[&toolbox.id.to_string()]).await;
    set_status(stack, &toolbox, "error_deprovisioning", "deleted").await;
    let again = delete().await;

    assert_eq!((first.status().as_u16(), first.text()), (204, ""));
    assert_eq!(shown.field("status"), "deprovisioning");
    assert!(due);
    assert_eq!((again.status().as_u16(), again.text()), (204, ""));
    assert!(is_due(stack, toolbox.id).await, "a stuck one is tried at once");
    assert_eq!(column(stack, &user, "status").await, ["deprovisioning"]);
    let body = json!({ "toolCatalogId": FETCH, "instanceNameOnToolbox": "late" });
    let late = about(stack, &user, Method::POST, &format!("{path}/tools"))
        .json(&body)
        .await;
    assert_snapshot!(late, @r#"
    409 Conflict
    {"code":"toolbox_state_conflict","error":"The toolbox is being deleted.","message":"The toolbox is being deleted.","request_id":"[request id]"}
    "#);

    stack
        .db()
        .execute(
            "DELETE FROM public.account_tool_environments WHERE id = $1",
            &[&toolbox.id],
        )
        .await;
    assert_snapshot!(delete().await, @r#"
    404 Not Found
    {"code":"toolbox_not_found","error":"Toolbox not found or access denied","message":"Toolbox not found or access denied","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_look_at_a_machine_is_due_at_once_and_calls_nobody() {
    let stack = stack().await;
    let user = stack.user().await;
    let ordered = about(stack, &user, Method::POST, "").json(&wanted("Forge")).await;
    let id = id_of(&ordered);
    let later = "UPDATE app.jobs SET run_after = now() + interval '1 hour' WHERE key = $1";
    stack.db().execute(later, &[&id.to_string()]).await;
    // Where an earlier version sent every toolbox's key.
    let address = "UPDATE public.account_tool_environments SET public_ip_address = '127.0.0.1' WHERE id = $1";
    stack.db().execute(address, &[&id]).await;

    let response = about(stack, &user, Method::POST, &format!("/{id}/refresh-status"))
        .json(&json!({}))
        .await;

    assert_snapshot!(response.status(), @"200 OK");
    assert_eq!(response.field("status"), "pending_provision");
    assert_eq!(response.header("etag"), Some("\"1\""));
    assert!(is_due(stack, id).await);
    if let Some(lines) = stack.request_log("toolboxes-user", response.request_id()) {
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["operation", "request"]);
    }
}

#[tokio::test]
async fn changes_and_looks_are_made_at_a_rate() {
    let stack: &Stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let path = format!("/{}", toolbox.id);
    let spend = "INSERT INTO app.rate_limits (key, tat)
                 SELECT kind || ':' || $1, now() + interval '1 hour'
                 FROM unnest('{change_toolbox, create_toolbox, refresh_toolbox, change_tool}'::text[]) AS kind";
    stack.db().execute(spend, &[&user.id.to_string()]).await;
    let post = |rest: &str| about(stack, &user, Method::POST, &format!("{path}{rest}"));
    let tool = json!({ "toolCatalogId": FETCH, "instanceNameOnToolbox": "tool" });

    for (name, request) in [
        (
            "rename",
            about(stack, &user, Method::PATCH, &path).json(&json!({ "name": "a" })),
        ),
        ("pause", post("/pause")),
        ("redeploy", post("/redeploy")),
        ("refresh", post("/refresh-status")),
        ("deploy", post("/tools").json(&tool)),
    ] {
        let refused = request.await;

        assert_eq!(
            (refused.status().as_u16(), refused.field("code").as_str()),
            (429, "rate_limited"),
            "{name}"
        );
        let retry_after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((3500..3700).contains(&retry_after), "{name}: {retry_after}");
    }
    // An end is never refused: what stands costs money.
    assert_eq!(about(stack, &user, Method::DELETE, &path).await.status(), 204);
}
