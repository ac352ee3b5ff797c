//! `toolboxes-user`: tools are put on a toolbox, set up as the catalog allows.

use agentopia_tests::{Stack, StackOptions};
use futures::future::join_all;
use http::Method;
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::{Value, json};

use crate::toolbelt_support::{NOBODYS, answers};
use crate::toolboxes_support::{FETCH, GITHUB, GRAFANA, about, about_tools, column, deploy, id_of, stack, tool_column};

#[tokio::test]
async fn a_tool_is_there_at_once_and_should_run() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let body = json!({
        "toolCatalogId": GITHUB, "instanceNameOnToolbox": "github.1", "status_on_toolbox": "running",
        "baseConfigOverrideJson": { "GITHUB_HOST": "https://ghe.example.com", "GITHUB_READ_ONLY": "1" },
        "user_id": NOBODYS, "account_tool_environment_id": NOBODYS, "imageDigest": "sha256:0",
    });

    let response = about_tools(stack, &user, toolbox.id, Method::POST, "")
        .json(&body)
        .await;

    assert_snapshot!(response.status(), @"201 Created");
    assert_json_snapshot!(response.redacted(), @r#"
    {
      "account_tool_environment_id": "[id]",
      "base_config_override_json": {
        "GITHUB_HOST": "https://ghe.example.com",
        "GITHUB_READ_ONLY": "1"
      },
      "config_values": null,
      "created_at": "[time]",
      "desired_status": "running",
      "generation": 1,
      "id": "[id]",
      "instance_error_message": null,
      "instance_name_on_toolbox": "github.1",
      "last_heartbeat_from_dtma": null,
      "port_mapping_json": null,
      "reported_generation": null,
      "reported_state": null,
      "revision": 1,
      "status_on_toolbox": "pending_deploy",
      "tool_catalog_id": "[id]",
      "updated_at": "[time]",
      "version": "latest"
    }
    "#);
    let id = id_of(&response);
    assert_eq!(response.header("etag"), Some("\"1\""));
    let location = response.header("location").unwrap();
    assert_eq!(
        location,
        format!("/functions/v1/toolbox-tools/{}/tools/{id}", toolbox.id)
    );
    // Under both paths, and in both lists.
    for shown in [
        stack.get(location).bearer(&user.token).await,
        about(stack, &user, Method::GET, &format!("/{}/tools/{id}", toolbox.id)).await,
    ] {
        assert_eq!((shown.json(), shown.header("etag")), (response.json(), Some("\"1\"")));
    }
    for listed in [
        about_tools(stack, &user, toolbox.id, Method::GET, "").await,
        about(stack, &user, Method::GET, &format!("/{}/tools", toolbox.id)).await,
    ] {
        assert_eq!(listed.json(), json!([response.json()]));
    }
    assert_eq!(tool_column(stack, toolbox.id, "desired_status").await, ["running"]);
    assert_eq!(column(stack, &user, "generation || ' ' || revision").await, ["2 1"]);
}

#[tokio::test]
async fn several_of_one_tool_are_told_apart_by_their_names() {
    let stack = stack().await;
    let user = stack.user().await;
    let (toolbox, other) = (user.toolbox().await, user.toolbox().await);
    let snake = json!({
        "tool_catalog_id": FETCH, "instance_name_on_toolbox": "snake", "base_config_override_json": null,
    });

    deploy(stack, &user, &toolbox, FETCH, "first").await;
    deploy(stack, &user, &toolbox, FETCH, "second").await;
    deploy(stack, &user, &other, FETCH, "first").await;
    let by_snake = about(stack, &user, Method::POST, &format!("/{}/tools", toolbox.id))
        .json(&snake)
        .await;
    let taken = about_tools(stack, &user, toolbox.id, Method::POST, "")
        .json(&json!({ "toolCatalogId": GITHUB, "instanceNameOnToolbox": "first" }))
        .await;

    assert_eq!(by_snake.status(), 201, "{by_snake}");
    assert_snapshot!(taken, @r#"
    409 Conflict
    {"code":"tool_name_taken","error":"A tool of this name is on the toolbox already.","field":"instanceNameOnToolbox","message":"A tool of this name is on the toolbox already.","request_id":"[request id]"}
    "#);
    assert_eq!(
        tool_column(stack, toolbox.id, "instance_name_on_toolbox").await,
        ["first", "second", "snake"]
    );
    assert_eq!(
        tool_column(stack, other.id, "instance_name_on_toolbox").await,
        ["first"]
    );
    // What was refused has changed nothing that the machine should hear of.
    assert_eq!(
        tool_column(
            stack,
            toolbox.id,
            "SELECT generation FROM account_tool_environments WHERE id = account_tool_environment_id"
        )
        .await,
        ["4", "4", "4"]
    );
}

#[tokio::test]
async fn a_field_that_is_missing_or_invalid_is_named() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let post = |body: Value| about_tools(stack, &user, toolbox.id, Method::POST, "").json(&body);
    let named = |name: &str| post(json!({ "toolCatalogId": FETCH, "instanceNameOnToolbox": name }));
    let of = |catalog: Value| post(json!({ "toolCatalogId": catalog, "instanceNameOnToolbox": "tool" }));

    let answers = answers([
        ("nothing", post(json!({}))),
        (
            "no name",
            of(json!(FETCH)).json(&json!({ "toolCatalogId": FETCH, "instanceNameOnToolbox": " " })),
        ),
        ("a tool's name", of(json!("fetch"))),
        ("a number", of(json!(7))),
        ("no tool of the catalog", of(json!(NOBODYS))),
        ("a space", named("my tool")),
        ("a path", named("../../etc")),
        ("an option", named("--privileged")),
        ("a statement", named("a';--")),
        ("a NUL", named("a\0")),
        ("an accent", named("café")),
        ("a long name", named(&"a".repeat(64))),
        ("an array", post(json!([FETCH, "tool", null]))),
    ]);

    assert_snapshot!(answers.await, @r#"
    [nothing]
    400 Bad Request
    {"code":"missing_field","error":"Missing required fields: toolCatalogId, instanceNameOnToolbox","field":"toolCatalogId","message":"Missing required fields: toolCatalogId, instanceNameOnToolbox","request_id":"[request id]"}
    [no name]
    400 Bad Request
    {"code":"missing_field","error":"Missing required fields: instanceNameOnToolbox","field":"instanceNameOnToolbox","message":"Missing required fields: instanceNameOnToolbox","request_id":"[request id]"}
    [a tool's name]
    400 Bad Request
    {"code":"invalid_field","error":"toolCatalogId is not a UUID.","field":"toolCatalogId","message":"toolCatalogId is not a UUID.","request_id":"[request id]"}
    [a number]
    400 Bad Request
    {"code":"invalid_field","error":"toolCatalogId is invalid: invalid type: integer `7`, expected a string.","field":"toolCatalogId","message":"toolCatalogId is invalid: invalid type: integer `7`, expected a string.","request_id":"[request id]"}
    [no tool of the catalog]
    404 Not Found
    {"code":"tool_not_in_catalog","error":"There is no such tool in the catalog.","field":"toolCatalogId","message":"There is no such tool in the catalog.","request_id":"[request id]"}
    [a space]
    400 Bad Request
    {"code":"invalid_field","error":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","field":"instanceNameOnToolbox","message":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","request_id":"[request id]"}
    [a path]
    400 Bad Request
    {"code":"invalid_field","error":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","field":"instanceNameOnToolbox","message":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","request_id":"[request id]"}
    [an option]
    400 Bad Request
    {"code":"invalid_field","error":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","field":"instanceNameOnToolbox","message":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","request_id":"[request id]"}
    [a statement]
    400 Bad Request
    {"code":"invalid_field","error":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","field":"instanceNameOnToolbox","message":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","request_id":"[request id]"}
    [a NUL]
    400 Bad Request
    {"code":"invalid_field","error":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","field":"instanceNameOnToolbox","message":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","request_id":"[request id]"}
    [an accent]
    400 Bad Request
    {"code":"invalid_field","error":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","field":"instanceNameOnToolbox","message":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","request_id":"[request id]"}
    [a long name]
    400 Bad Request
    {"code":"invalid_field","error":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","field":"instanceNameOnToolbox","message":"instanceNameOnToolbox must be 1 to 63 letters, digits, `_`, `.` and `-`, beginning with a letter or digit.","request_id":"[request id]"}
    [an array]
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: a list, expected an object","message":"Invalid JSON payload: a list, expected an object","request_id":"[request id]"}
    "#);
    assert_eq!(tool_column(stack, toolbox.id, "1").await, Vec::<String>::new());
    assert_eq!(named(&"a".repeat(63)).await.status(), 201);
}

#[tokio::test]
async fn a_configuration_is_what_the_catalog_allows() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let with = |catalog: &str, config: Value| {
        let body =
            json!({ "toolCatalogId": catalog, "instanceNameOnToolbox": "tool", "baseConfigOverrideJson": config });
        about_tools(stack, &user, toolbox.id, Method::POST, "").json(&body)
    };

    let answers = answers([
        ("a list", with(GITHUB, json!([]))),
        ("text", with(GITHUB, json!("{}"))),
        ("another type", with(GITHUB, json!({ "GITHUB_READ_ONLY": 1 }))),
        ("another value", with(GITHUB, json!({ "GITHUB_READ_ONLY": "yes" }))),
        (
            "no address",
            with(GITHUB, json!({ "GITHUB_HOST": "ghe.example.com; rm -rf /" })),
        ),
        (
            "a host without encryption",
            with(GITHUB, json!({ "GITHUB_HOST": "http://ghe.example.com" })),
        ),
        ("a pattern", with(GITHUB, json!({ "GITHUB_TOOLSETS": "repos issues" }))),
        ("too long", with(GITHUB, json!({ "GITHUB_TOOLSETS": "a".repeat(201) }))),
        (
            "options of the container",
            with(
                GITHUB,
                json!({ "HostConfig": { "Privileged": true, "Binds": ["/:/host"] } }),
            ),
        ),
        ("another image", with(GITHUB, json!({ "Image": "evil" }))),
        (
            "a secret's place",
            with(GITHUB, json!({ "GITHUB_PERSONAL_ACCESS_TOKEN": "x" })),
        ),
        ("the loader", with(FETCH, json!({ "LD_PRELOAD": "/tmp/x.so" }))),
        ("nothing, where something is needed", with(GRAFANA, Value::Null)),
        (
            "plain text over the wire",
            with(GRAFANA, json!({ "GRAFANA_URL": "http://grafana.example.com" })),
        ),
        ("a NUL", with(GITHUB, json!({ "GITHUB_HOST": "https://a\0" }))),
        ("too much", with(GITHUB, json!({ "x": "y".repeat(16 * 1024) }))),
    ]);

    assert_snapshot!(answers.await, @r#"
    [a list]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson must be an object.","field":"baseConfigOverrideJson","message":"baseConfigOverrideJson must be an object.","request_id":"[request id]"}
    [text]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson must be an object.","field":"baseConfigOverrideJson","message":"baseConfigOverrideJson must be an object.","request_id":"[request id]"}
    [another type]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.GITHUB_READ_ONLY must be text.","field":"baseConfigOverrideJson.GITHUB_READ_ONLY","message":"baseConfigOverrideJson.GITHUB_READ_ONLY must be text.","request_id":"[request id]"}
    [another value]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.GITHUB_READ_ONLY must be one of [\"0\",\"1\"].","field":"baseConfigOverrideJson.GITHUB_READ_ONLY","message":"baseConfigOverrideJson.GITHUB_READ_ONLY must be one of [\"0\",\"1\"].","request_id":"[request id]"}
    [no address]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.GITHUB_HOST must match the pattern ^https://.","field":"baseConfigOverrideJson.GITHUB_HOST","message":"baseConfigOverrideJson.GITHUB_HOST must match the pattern ^https://.","request_id":"[request id]"}
    [a host without encryption]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.GITHUB_HOST must match the pattern ^https://.","field":"baseConfigOverrideJson.GITHUB_HOST","message":"baseConfigOverrideJson.GITHUB_HOST must match the pattern ^https://.","request_id":"[request id]"}
    [a pattern]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.GITHUB_TOOLSETS must match the pattern ^[a-z_]+(,[a-z_]+)*$.","field":"baseConfigOverrideJson.GITHUB_TOOLSETS","message":"baseConfigOverrideJson.GITHUB_TOOLSETS must match the pattern ^[a-z_]+(,[a-z_]+)*$.","request_id":"[request id]"}
    [too long]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.GITHUB_TOOLSETS must have at most 200 characters.","field":"baseConfigOverrideJson.GITHUB_TOOLSETS","message":"baseConfigOverrideJson.GITHUB_TOOLSETS must have at most 200 characters.","request_id":"[request id]"}
    [options of the container]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.HostConfig is not known.","field":"baseConfigOverrideJson.HostConfig","message":"baseConfigOverrideJson.HostConfig is not known.","request_id":"[request id]"}
    [another image]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.Image is not known.","field":"baseConfigOverrideJson.Image","message":"baseConfigOverrideJson.Image is not known.","request_id":"[request id]"}
    [a secret's place]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.GITHUB_PERSONAL_ACCESS_TOKEN is not known.","field":"baseConfigOverrideJson.GITHUB_PERSONAL_ACCESS_TOKEN","message":"baseConfigOverrideJson.GITHUB_PERSONAL_ACCESS_TOKEN is not known.","request_id":"[request id]"}
    [the loader]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.LD_PRELOAD is not known.","field":"baseConfigOverrideJson.LD_PRELOAD","message":"baseConfigOverrideJson.LD_PRELOAD is not known.","request_id":"[request id]"}
    [nothing, where something is needed]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.GRAFANA_URL is required.","field":"baseConfigOverrideJson.GRAFANA_URL","message":"baseConfigOverrideJson.GRAFANA_URL is required.","request_id":"[request id]"}
    [plain text over the wire]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.GRAFANA_URL must match the pattern ^https://.","field":"baseConfigOverrideJson.GRAFANA_URL","message":"baseConfigOverrideJson.GRAFANA_URL must match the pattern ^https://.","request_id":"[request id]"}
    [a NUL]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson contains a NUL character.","field":"baseConfigOverrideJson","message":"baseConfigOverrideJson contains a NUL character.","request_id":"[request id]"}
    [too much]
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson must be at most 16384 bytes.","field":"baseConfigOverrideJson","message":"baseConfigOverrideJson must be at most 16384 bytes.","request_id":"[request id]"}
    "#);
    assert_eq!(tool_column(stack, toolbox.id, "1").await, Vec::<String>::new());
    let good = with(GRAFANA, json!({ "GRAFANA_URL": "https://grafana.example.com" })).await;
    assert_eq!(good.status(), 201, "{good}");
}

#[tokio::test]
async fn a_tool_without_a_schema_takes_no_configuration_and_a_broken_schema_is_our_fault() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let tool = stack.tool(&json!([]), &json!([])).await;
    let with = |name: &str, config: Value| {
        let body = json!({ "toolCatalogId": tool.id, "instanceNameOnToolbox": name, "baseConfigOverrideJson": config });
        about_tools(stack, &user, toolbox.id, Method::POST, "").json(&body)
    };

    for (name, config) in [("null", Value::Null), ("empty", json!({}))] {
        assert_eq!(with(name, config).await.status(), 201, "{name}");
    }
    assert_snapshot!(with("tool", json!({ "A": "1" })).await, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"baseConfigOverrideJson.A is not known.","field":"baseConfigOverrideJson.A","message":"baseConfigOverrideJson.A is not known.","request_id":"[request id]"}
    "#);
    let statement =
        r#"UPDATE public.tool_catalog SET required_config_schema = '{"$ref": "https://evil.example"}' WHERE id = $1"#;
    stack.db().execute(statement, &[&tool.id]).await;
    let broken = with("tool", json!({ "A": "1" })).await;
    assert_snapshot!(broken, @r#"
    500 Internal Server Error
    {"code":"internal_error","error":"Internal server error","message":"Internal server error","request_id":"[request id]"}
    "#);
    if let Some(lines) = stack.request_log("toolboxes-user", broken.request_id()) {
        let cause = lines.last().unwrap()["cause"].as_str().unwrap().to_owned();
        assert!(
            cause.starts_with("a schema of the catalog is none: unknown field `$ref`"),
            "{cause}"
        );
    }
}

/// Whoever adds a tool with a rule that is not checked hears of it here, and not from a user.
#[tokio::test]
async fn every_schema_of_the_catalog_is_one_that_is_checked() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let statement = "SELECT id::text FROM public.tool_catalog WHERE id::text LIKE '00000000-0000-4000-9000-%'";
    let catalog: Vec<String> = stack.db().column(statement, &[]).await;
    assert!(catalog.len() >= 6, "{catalog:?}");

    for id in catalog {
        let body = json!({ "toolCatalogId": id, "instanceNameOnToolbox": format!("tool-{id}") });
        let response = about_tools(stack, &user, toolbox.id, Method::POST, "")
            .json(&body)
            .await;

        assert!([201, 400].contains(&response.status().as_u16()), "{id}: {response}");
    }
}

#[tokio::test]
async fn a_tool_that_left_the_catalog_is_not_put_on_a_toolbox_but_goes_on_running() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let tool = stack.tool(&json!([]), &json!([])).await;
    let catalog = tool.id.to_string();
    let kept = deploy(stack, &user, &toolbox, &catalog, "kept").await;

    for change in ["status = 'archived'", "status = 'available', is_public = false"] {
        let statement = format!("UPDATE public.tool_catalog SET {change} WHERE id = $1");
        stack.db().execute(&statement, &[&tool.id]).await;
        let body = json!({ "toolCatalogId": catalog, "instanceNameOnToolbox": "late" });
        let response = about_tools(stack, &user, toolbox.id, Method::POST, "")
            .json(&body)
            .await;

        insta::allow_duplicates! { assert_snapshot!(response, change, @r#"
        404 Not Found
        {"code":"tool_not_in_catalog","error":"There is no such tool in the catalog.","field":"toolCatalogId","message":"There is no such tool in the catalog.","request_id":"[request id]"}
        "#); }
    }
    let path = format!("/{}", kept.field("id"));
    let patched = about_tools(stack, &user, toolbox.id, Method::PATCH, &path)
        .json(&json!({ "baseConfigOverrideJson": {} }))
        .await;
    assert_eq!(patched.status(), 200, "{patched}");
}

#[tokio::test]
async fn a_toolbox_has_so_many_tools_however_fast_they_come() {
    let options = StackOptions::default().set("tools_max_per_toolbox", 3);
    let stack: &Stack = &stack().await.beside(options).await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let send = |number: i32| {
        let body = json!({ "toolCatalogId": FETCH, "instanceNameOnToolbox": format!("tool-{number}") });
        about_tools(stack, &user, toolbox.id, Method::POST, "")
            .json(&body)
            .into_future()
    };

    let answers = join_all((0..8).map(send)).await;

    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 201, 409, 409, 409, 409, 409]);
    assert_eq!(tool_column(stack, toolbox.id, "1").await.len(), 3);
    let refused = answers.iter().find(|answer| answer.status() == 409).unwrap();
    assert_snapshot!(refused, @r#"
    409 Conflict
    {"code":"too_many_tools","error":"The toolbox has 3 tools, which is the limit. Remove one first.","message":"The toolbox has 3 tools, which is the limit. Remove one first.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn one_name_is_given_once_however_fast_it_is_asked_for() {
    let stack = stack().await;
    let user = stack.user().await;
    let toolbox = user.toolbox().await;
    let body = json!({ "toolCatalogId": FETCH, "instanceNameOnToolbox": "tool" });
    let send = || {
        about_tools(stack, &user, toolbox.id, Method::POST, "")
            .json(&body)
            .into_future()
    };

    let answers = join_all((0..6).map(|_| send())).await;

    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status().as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409]);
    assert_eq!(column(stack, &user, "generation").await, ["2"]);
}
