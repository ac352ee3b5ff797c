//! `toolboxes-user`: what an owner says of a tool that is on a toolbox.

use agentopia_tests::{Response, Stack, Toolbox, User};
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::toolbelt_support::answers;
use crate::toolboxes_support::{FETCH, GITHUB, about, about_tools, column, deploy, stack, tool_column};

/// What a tool is in the database.
const STATE: &str = "concat_ws(' ', desired_status, status_on_toolbox, generation, revision)";

/// Says something of a tool.
async fn say(stack: &Stack, user: &User, toolbox: &Toolbox, id: &str, command: &str) -> Response {
    match command {
        "remove" => about_tools(stack, user, toolbox.id, Method::DELETE, &format!("/{id}")).await,
        "configure" => {
            let body = json!({ "baseConfigOverrideJson": { "GITHUB_READ_ONLY": "1" } });
            about_tools(stack, user, toolbox.id, Method::PATCH, &format!("/{id}"))
                .json(&body)
                .await
        }
        _ => about_tools(stack, user, toolbox.id, Method::POST, &format!("/{id}/{command}")).await,
    }
}

/// Has the machine say something, so that it is known to be there.
async fn speak(stack: &Stack, toolbox: &Toolbox) {
    let statement = "UPDATE public.account_tool_environments SET last_heartbeat_at = now() WHERE id = $1";
    stack.db().execute(statement, &[&toolbox.id]).await;
}

#[tokio::test]
async fn commands_say_what_should_be_and_what_shows_until_the_machine_reports() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    speak(stack, &toolbox).await;
    let id = deploy(stack, &user, &toolbox, GITHUB, "tool").await.field("id");
    let mut table = String::new();

    for (desired, shown, reported) in [
        ("running", "pending_deploy", Value::Null),
        ("running", "running", json!("running")),
        ("running", "error", json!("failed")),
        ("stopped", "stopped", Value::Null),
        ("stopped", "stopped", json!("stopped")),
        ("removed", "deleting", json!("removing")),
    ] {
        for command in ["start", "stop", "restart", "configure", "remove"] {
            let statement = "UPDATE public.account_tool_instances
                             SET desired_status = $2, status_on_toolbox = $3, reported_state = $4, generation = 1, revision = 1,
                                 instance_error_message = 'It hurt'
                             WHERE account_tool_environment_id = $1";
            let parameters: agentopia_tests::Parameters<'_> = &[&toolbox.id, &desired, &shown, &reported.as_str()];
            stack.db().execute(statement, parameters).await;
            stack
                .db()
                .execute(
                    "UPDATE public.account_tool_instances SET revision = 1 WHERE account_tool_environment_id = $1",
                    &[&toolbox.id],
                )
                .await;

            let response = say(stack, &user, &toolbox, &id, command).await;

            let state = tool_column(stack, toolbox.id, STATE).await.remove(0);
            let container = reported.as_str().unwrap_or("no container");
            let told = match response.status().as_u16() {
                200 => {
                    let row = response.json();
                    let shown =
                        ["desired_status", "status_on_toolbox"].map(|field| row[field].as_str().unwrap().to_owned());
                    assert_eq!(
                        state,
                        format!("{} {} {} {}", shown[0], shown[1], row["generation"], row["revision"])
                    );
                    assert_eq!(row["instance_error_message"], Value::Null);
                    assert_eq!(response.header("etag").unwrap(), format!("\"{}\"", row["revision"]));
                    "200".to_owned()
                }
                status => format!("{status} {}", response.field("code")),
            };
            table.push_str(&format!(
                "{desired}, {shown}, {container} + {command} -> {told}: {state}\n"
            ));
        }
    }

    assert_snapshot!(table, @r"
    running, pending_deploy, no container + start -> 200: running pending_deploy 1 1
    running, pending_deploy, no container + stop -> 200: stopped stopped 1 2
    running, pending_deploy, no container + restart -> 200: running pending_deploy 2 2
    running, pending_deploy, no container + configure -> 200: running pending_deploy 2 2
    running, pending_deploy, no container + remove -> 200: removed deleting 1 2
    running, running, running + start -> 200: running running 1 1
    running, running, running + stop -> 200: stopped stopping 1 2
    running, running, running + restart -> 200: running deploying 2 2
    running, running, running + configure -> 200: running deploying 2 2
    running, running, running + remove -> 200: removed deleting 1 2
    running, error, failed + start -> 200: running error 1 1
    running, error, failed + stop -> 200: stopped stopping 1 2
    running, error, failed + restart -> 200: running deploying 2 2
    running, error, failed + configure -> 200: running deploying 2 2
    running, error, failed + remove -> 200: removed deleting 1 2
    stopped, stopped, no container + start -> 200: running pending_deploy 1 2
    stopped, stopped, no container + stop -> 200: stopped stopped 1 1
    stopped, stopped, no container + restart -> 200: running pending_deploy 2 2
    stopped, stopped, no container + configure -> 200: stopped stopped 2 2
    stopped, stopped, no container + remove -> 200: removed deleting 1 2
    stopped, stopped, stopped + start -> 200: running starting 1 2
    stopped, stopped, stopped + stop -> 200: stopped stopped 1 1
    stopped, stopped, stopped + restart -> 200: running deploying 2 2
    stopped, stopped, stopped + configure -> 200: stopped stopped 2 2
    stopped, stopped, stopped + remove -> 200: removed deleting 1 2
    removed, deleting, removing + start -> 409 tool_state_conflict: removed deleting 1 1
    removed, deleting, removing + stop -> 409 tool_state_conflict: removed deleting 1 1
    removed, deleting, removing + restart -> 409 tool_state_conflict: removed deleting 1 1
    removed, deleting, removing + configure -> 409 tool_state_conflict: removed deleting 1 1
    removed, deleting, removing + remove -> 200: removed deleting 1 1
    ");
}

#[tokio::test]
async fn each_change_is_news_for_the_machine() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    speak(stack, &toolbox).await;
    let id = deploy(stack, &user, &toolbox, GITHUB, "tool").await.field("id");

    let mut generations = column(stack, &user, "generation").await;
    for command in ["stop", "start", "restart", "configure", "remove"] {
        assert_eq!(
            say(stack, &user, &toolbox, &id, command).await.status(),
            200,
            "{command}"
        );
        generations.extend(column(stack, &user, "generation").await);
    }

    assert_eq!(generations, ["2", "3", "4", "5", "6", "7"]);
    assert_eq!(tool_column(stack, toolbox.id, STATE).await, ["removed deleting 3 6"]);
    assert_eq!(
        tool_column(stack, toolbox.id, "base_config_override_json").await,
        [r#"{"GITHUB_READ_ONLY": "1"}"#]
    );
}

#[tokio::test]
async fn commands_are_taken_under_both_paths() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    speak(stack, &toolbox).await;
    let id = deploy(stack, &user, &toolbox, GITHUB, "tool").await.field("id");
    let path = format!("/{}/tools/{id}", toolbox.id);

    let stopped = about(stack, &user, Method::POST, &format!("{path}/stop"))
        .json(&json!({}))
        .await;
    let configured = about(stack, &user, Method::PATCH, &path)
        .json(&json!({ "base_config_override_json": null }))
        .await;
    let removed = about(stack, &user, Method::DELETE, &path).await;

    let shown = [stopped, configured, removed].map(|response| {
        let row = response.json();
        format!(
            "{} {} {}",
            response.status().as_u16(),
            row["desired_status"],
            row["status_on_toolbox"]
        )
    });
    assert_eq!(
        shown,
        [
            r#"200 "stopped" "stopped""#,
            r#"200 "stopped" "stopped""#,
            r#"200 "removed" "deleting""#
        ]
    );
}

#[tokio::test]
async fn a_tool_on_a_machine_that_never_was_is_gone_at_once() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let id = deploy(stack, &user, &toolbox, FETCH, "tool").await.field("id");

    let removed = say(stack, &user, &toolbox, &id, "remove").await;
    let again = say(stack, &user, &toolbox, &id, "remove").await;

    assert_eq!(
        (removed.status().as_u16(), removed.field("status_on_toolbox").as_str()),
        (200, "deleting")
    );
    assert_snapshot!(again, @r#"
    404 Not Found
    {"code":"tool_instance_not_found","error":"Tool instance not found.","message":"Tool instance not found.","request_id":"[request id]"}
    "#);
    assert_eq!(tool_column(stack, toolbox.id, "1").await, Vec::<String>::new());
    // Its name is free again.
    deploy(stack, &user, &toolbox, FETCH, "tool").await;
}

#[tokio::test]
async fn a_configuration_is_replaced_as_a_whole() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let id = deploy(stack, &user, &toolbox, GITHUB, "tool").await.field("id");
    let patch = |body: Value| about_tools(stack, &user, toolbox.id, Method::PATCH, &format!("/{id}")).json(&body);
    let config = |config: Value| patch(json!({ "baseConfigOverrideJson": config }));

    let answers = answers([
        ("nothing", patch(json!({}))),
        ("another field", patch(json!({ "instanceNameOnToolbox": "other" }))),
        ("a list", config(json!([]))),
        ("options of the container", config(json!({ "HostConfig": {} }))),
        ("another value", config(json!({ "GITHUB_READ_ONLY": true }))),
        ("no tag", config(json!({})).header("if-match", "x")),
    ]);

    assert_snapshot!(answers.await, @r#"
    [nothing]
    400 Bad Request
    {"code":"missing_field","error":"baseConfigOverrideJson is required.","field":"baseConfigOverrideJson","message":"baseConfigOverrideJson is required.","request_id":"[request id]"}
    [another field]
    400 Bad Request
    {"code":"missing_field","error":"baseConfigOverrideJson is required.","field":"baseConfigOverrideJson","message":"baseConfigOverrideJson is required.","request_id":"[request id]"}
    [a list]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson must be an object.","field":"baseConfigOverrideJson","message":"baseConfigOverrideJson must be an object.","request_id":"[request id]"}
    [options of the container]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.HostConfig is not known.","field":"baseConfigOverrideJson.HostConfig","message":"baseConfigOverrideJson.HostConfig is not known.","request_id":"[request id]"}
    [another value]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.GITHUB_READ_ONLY must be text.","field":"baseConfigOverrideJson.GITHUB_READ_ONLY","message":"baseConfigOverrideJson.GITHUB_READ_ONLY must be text.","request_id":"[request id]"}
    [no tag]
    400 Bad Request
    {"code":"invalid_field","error":"If-Match is neither * nor a list of entity tags.","field":"If-Match","message":"If-Match is neither * nor a list of entity tags.","request_id":"[request id]"}
    "#);
    assert_eq!(
        tool_column(stack, toolbox.id, STATE).await,
        ["running pending_deploy 1 1"]
    );
    for (value, stored) in [
        (json!({ "GITHUB_READ_ONLY": "1" }), r#"{"GITHUB_READ_ONLY": "1"}"#),
        (
            json!({ "GITHUB_TOOLSETS": "repos,issues" }),
            r#"{"GITHUB_TOOLSETS": "repos,issues"}"#,
        ),
        (json!({}), "{}"),
        (Value::Null, "null"),
    ] {
        let response = config(value).await;
        assert_eq!(response.status(), 200, "{response}");
        assert_eq!(
            tool_column(stack, toolbox.id, "base_config_override_json").await,
            [stored]
        );
    }
}

#[tokio::test]
async fn a_command_is_given_to_the_revision_that_it_names() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    speak(stack, &toolbox).await;
    let id = deploy(stack, &user, &toolbox, GITHUB, "tool").await.field("id");
    let tagged = |method: Method, rest: &str, tag: &'static str| {
        about_tools(stack, &user, toolbox.id, method, &format!("/{id}{rest}")).header("if-match", tag)
    };
    let body = json!({ "baseConfigOverrideJson": {} });

    let restarted = tagged(Method::POST, "/restart", "\"1\"").await;
    let before = tool_column(stack, toolbox.id, STATE).await;
    let generation = column(stack, &user, "generation").await;
    let answers = answers([
        ("start", tagged(Method::POST, "/start", "\"1\"")),
        ("stop", tagged(Method::POST, "/stop", "\"1\"")),
        ("restart", tagged(Method::POST, "/restart", "\"1\"")),
        ("configure", tagged(Method::PATCH, "", "\"1\"").json(&body)),
        ("remove", tagged(Method::DELETE, "", "\"1\"")),
    ])
    .await;

    assert_eq!(
        (restarted.status().as_u16(), restarted.header("etag")),
        (200, Some("\"2\""))
    );
    assert_snapshot!(answers, @r#"
    [start]
    412 Precondition Failed
    {"code":"precondition_failed","error":"It was changed since: read it again, and repeat the change if it still applies.","message":"It was changed since: read it again, and repeat the change if it still applies.","request_id":"[request id]"}
    [stop]
    412 Precondition Failed
    {"code":"precondition_failed","error":"It was changed since: read it again, and repeat the change if it still applies.","message":"It was changed since: read it again, and repeat the change if it still applies.","request_id":"[request id]"}
    [restart]
    412 Precondition Failed
    {"code":"precondition_failed","error":"It was changed since: read it again, and repeat the change if it still applies.","message":"It was changed since: read it again, and repeat the change if it still applies.","request_id":"[request id]"}
    [configure]
    412 Precondition Failed
    {"code":"precondition_failed","error":"It was changed since: read it again, and repeat the change if it still applies.","message":"It was changed since: read it again, and repeat the change if it still applies.","request_id":"[request id]"}
    [remove]
    412 Precondition Failed
    {"code":"precondition_failed","error":"It was changed since: read it again, and repeat the change if it still applies.","message":"It was changed since: read it again, and repeat the change if it still applies.","request_id":"[request id]"}
    "#);
    assert_eq!(tool_column(stack, toolbox.id, STATE).await, before);
    assert_eq!(column(stack, &user, "generation").await, generation);
    assert_eq!(tagged(Method::DELETE, "", "\"2\"").await.status(), 200);
}

#[tokio::test]
async fn tools_are_shown_newest_first() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    for name in ["first", "second", "third"] {
        deploy(stack, &user, &toolbox, FETCH, name).await;
    }

    let list = about_tools(stack, &user, toolbox.id, Method::GET, "").await.json();

    let names: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["instance_name_on_toolbox"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["third", "second", "first"]);
}
