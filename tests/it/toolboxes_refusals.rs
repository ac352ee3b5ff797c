//! `toolboxes-user`: every refusal that needs no toolbox, word for word.

use agentopia_tests::Stack;
use http::Method;
use insta::{allow_duplicates, assert_snapshot};
use serde_json::{Value, json};

use crate::toolbelt_support::{NOBODYS, answers};
use crate::toolbox_machines::{TOOLBOXES, TOOLS};
use crate::toolboxes_support::{about, column, order, stack, wanted};

/// Every route, by each of its paths.
fn routes() -> Vec<(Method, String)> {
    let id = NOBODYS;
    let mut routes = vec![
        (Method::POST, TOOLBOXES.to_owned()),
        (Method::GET, TOOLBOXES.to_owned()),
        (Method::GET, format!("{TOOLBOXES}/options/regions")),
        (Method::GET, format!("{TOOLBOXES}/options/sizes")),
        (Method::GET, "/functions/v1/digitalocean-options/regions".to_owned()),
        (Method::GET, "/functions/v1/digitalocean-options/sizes".to_owned()),
    ];
    for method in [Method::GET, Method::PUT, Method::PATCH, Method::DELETE] {
        routes.push((method, format!("{TOOLBOXES}/{id}")));
    }
    for command in ["pause", "resume", "redeploy", "refresh-status"] {
        routes.push((Method::POST, format!("{TOOLBOXES}/{id}/{command}")));
    }
    for base in [format!("{TOOLBOXES}/{id}/tools"), format!("{TOOLS}/{id}/tools")] {
        routes.push((Method::POST, base.clone()));
        routes.push((Method::GET, base.clone()));
        for method in [Method::GET, Method::PATCH, Method::DELETE] {
            routes.push((method, format!("{base}/{id}")));
        }
        for command in ["start", "stop", "restart"] {
            routes.push((Method::POST, format!("{base}/{id}/{command}")));
        }
    }
    routes
}

#[tokio::test]
async fn no_route_answers_the_unproven() {
    let stack = stack().await;

    for (method, path) in routes() {
        let nobody = stack.request(method.clone(), &path).await;
        let liar = stack.request(method.clone(), &path).bearer("a lie").await;

        allow_duplicates! {
            assert_snapshot!(nobody, &format!("{method} {path}"), @r#"
            401 Unauthorized
            www-authenticate: Bearer
            {"code":"missing_token","error":"Missing or invalid authorization header","message":"Missing or invalid authorization header","request_id":"[request id]"}
            "#);
            assert_snapshot!(liar, &format!("{method} {path}"), @r#"
            401 Unauthorized
            www-authenticate: Bearer
            {"code":"invalid_token","error":"Authentication failed","message":"Authentication failed","request_id":"[request id]"}
            "#);
        }
    }
}

#[tokio::test]
async fn health_needs_no_proof_on_any_path() {
    let stack = stack().await;

    for base in [TOOLBOXES, TOOLS, "/functions/v1/digitalocean-options"] {
        let response = stack.get(&format!("{base}/health")).await;

        allow_duplicates! { assert_snapshot!(response, base, @r#"
        200 OK
        {"status":"healthy","timestamp":"[time]"}
        "#); }
    }
}

#[tokio::test]
async fn what_is_no_route_is_not_found_and_another_method_is_named() {
    let stack = stack().await;
    let user = stack.user().await;
    let id = NOBODYS;
    let send = |method: Method, path: String| stack.request(method, &path).bearer(&user.token);

    let answers = answers([
        ("an action", send(Method::POST, format!("{TOOLBOXES}/{id}/explode"))),
        (
            "a tool's action",
            send(Method::POST, format!("{TOOLS}/{id}/tools/{id}/explode")),
        ),
        ("an action by GET", send(Method::GET, format!("{TOOLBOXES}/{id}/pause"))),
        (
            "a tool's action by GET",
            send(Method::GET, format!("{TOOLS}/{id}/tools/{id}/start")),
        ),
        ("all toolboxes", send(Method::DELETE, TOOLBOXES.to_owned())),
        ("all tools", send(Method::DELETE, format!("{TOOLS}/{id}/tools"))),
        ("no tools", send(Method::GET, format!("{TOOLS}/{id}"))),
        (
            "other options",
            send(Method::GET, format!("{TOOLBOXES}/options/images")),
        ),
        (
            "options by POST",
            send(Method::POST, format!("{TOOLBOXES}/options/sizes")),
        ),
        ("no toolbox's id", send(Method::GET, format!("{TOOLBOXES}/mine"))),
        ("no tool's id", send(Method::GET, format!("{TOOLS}/{id}/tools/mine"))),
    ]);

    assert_snapshot!(answers.await, @r#"
    [an action]
    404 Not Found
    {"code":"no_such_route","error":"Not found or method not supported for the path","message":"Not found or method not supported for the path","request_id":"[request id]"}
    [a tool's action]
    404 Not Found
    {"code":"no_such_route","error":"Not found or method not supported for the path","message":"Not found or method not supported for the path","request_id":"[request id]"}
    [an action by GET]
    405 Method Not Allowed
    allow: POST
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    [a tool's action by GET]
    405 Method Not Allowed
    allow: POST
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    [all toolboxes]
    405 Method Not Allowed
    allow: POST,GET,HEAD
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    [all tools]
    405 Method Not Allowed
    allow: POST,GET,HEAD
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    [no tools]
    404 Not Found
    {"code":"no_such_route","error":"Not found or method not supported for the path","message":"Not found or method not supported for the path","request_id":"[request id]"}
    [other options]
    404 Not Found
    {"code":"no_such_route","error":"Not found or method not supported for the path","message":"Not found or method not supported for the path","request_id":"[request id]"}
    [options by POST]
    405 Method Not Allowed
    allow: GET,HEAD
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    [no toolbox's id]
    400 Bad Request
    {"code":"invalid_path","error":"Invalid path.","message":"Invalid path.","request_id":"[request id]"}
    [no tool's id]
    400 Bad Request
    {"code":"invalid_path","error":"Invalid path.","message":"Invalid path.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_field_that_is_missing_or_invalid_is_named() {
    let stack = stack().await;
    let user = stack.user().await;
    let with = |name: &str, value: Value| {
        let mut body = wanted("Forge");
        body[name] = value;
        order(stack, &user, &body)
    };

    let answers = answers([
        ("nothing", order(stack, &user, &json!({}))),
        ("blanks", with("name", json!(" \t"))),
        ("no size", with("sizeSlug", Value::Null)),
        ("a number for a name", with("name", json!(7))),
        ("two lines for a name", with("name", json!("a\nb"))),
        ("a NUL in a name", with("name", json!("a\0b"))),
        ("a long name", with("name", json!("é".repeat(201)))),
        ("an escape in a description", with("description", json!("\u{1b}[2J"))),
        ("a long description", with("description", json!("a".repeat(10_001)))),
        ("a region's name", with("regionSlug", json!("Frankfurt 1"))),
        ("a path for a size", with("sizeSlug", json!("../../v2/account"))),
        ("an image's number", with("imageSlug", json!("112929454"))),
        ("a query for an image", with("imageSlug", json!("ubuntu?private=true"))),
        (
            "an array",
            about(stack, &user, Method::POST, "").json(&json!(["Forge", null, "fra1", "s-1vcpu-1gb", null])),
        ),
        ("half an object", about(stack, &user, Method::POST, "").body("{")),
        (
            "a form",
            about(stack, &user, Method::POST, "")
                .header("content-type", "application/x-www-form-urlencoded")
                .body("name=Forge"),
        ),
        (
            "a key that is none",
            order(stack, &user, &wanted("Forge")).idempotency_key(" "),
        ),
    ]);

    assert_snapshot!(answers.await, @r#"
    [nothing]
    400 Bad Request
    {"code":"missing_field","error":"Missing required fields: name, regionSlug, sizeSlug","field":"name","message":"Missing required fields: name, regionSlug, sizeSlug","request_id":"[request id]"}
    [blanks]
    400 Bad Request
    {"code":"missing_field","error":"Missing required fields: name","field":"name","message":"Missing required fields: name","request_id":"[request id]"}
    [no size]
    400 Bad Request
    {"code":"missing_field","error":"Missing required fields: sizeSlug","field":"sizeSlug","message":"Missing required fields: sizeSlug","request_id":"[request id]"}
    [a number for a name]
    400 Bad Request
    {"code":"invalid_field","error":"name is invalid: invalid type: integer `7`, expected a string.","field":"name","message":"name is invalid: invalid type: integer `7`, expected a string.","request_id":"[request id]"}
    [two lines for a name]
    400 Bad Request
    {"code":"invalid_field","error":"name contains a control character.","field":"name","message":"name contains a control character.","request_id":"[request id]"}
    [a NUL in a name]
    400 Bad Request
    {"code":"invalid_field","error":"name contains a control character.","field":"name","message":"name contains a control character.","request_id":"[request id]"}
    [a long name]
    400 Bad Request
    {"code":"invalid_field","error":"name is longer than 200 characters.","field":"name","message":"name is longer than 200 characters.","request_id":"[request id]"}
    [an escape in a description]
    400 Bad Request
    {"code":"invalid_field","error":"description contains a control character.","field":"description","message":"description contains a control character.","request_id":"[request id]"}
    [a long description]
    400 Bad Request
    {"code":"invalid_field","error":"description is longer than 10000 characters.","field":"description","message":"description is longer than 10000 characters.","request_id":"[request id]"}
    [a region's name]
    400 Bad Request
    {"code":"invalid_field","error":"regionSlug must be 1 to 63 lower-case letters, digits, `-`, `_` and `.`.","field":"regionSlug","message":"regionSlug must be 1 to 63 lower-case letters, digits, `-`, `_` and `.`.","request_id":"[request id]"}
    [a path for a size]
    400 Bad Request
    {"code":"invalid_field","error":"sizeSlug must be 1 to 63 lower-case letters, digits, `-`, `_` and `.`.","field":"sizeSlug","message":"sizeSlug must be 1 to 63 lower-case letters, digits, `-`, `_` and `.`.","request_id":"[request id]"}
    [an image's number]
    400 Bad Request
    {"code":"invalid_field","error":"imageSlug must be the slug of a public image.","field":"imageSlug","message":"imageSlug must be the slug of a public image.","request_id":"[request id]"}
    [a query for an image]
    400 Bad Request
    {"code":"invalid_field","error":"imageSlug must be 1 to 63 lower-case letters, digits, `-`, `_` and `.`.","field":"imageSlug","message":"imageSlug must be 1 to 63 lower-case letters, digits, `-`, `_` and `.`.","request_id":"[request id]"}
    [an array]
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: a list, expected an object","message":"Invalid JSON payload: a list, expected an object","request_id":"[request id]"}
    [half an object]
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: EOF while parsing an object at line 1 column 1","message":"Invalid JSON payload: EOF while parsing an object at line 1 column 1","request_id":"[request id]"}
    [a form]
    415 Unsupported Media Type
    {"code":"unsupported_media_type","error":"The body must be JSON (application/json).","message":"The body must be JSON (application/json).","request_id":"[request id]"}
    [a key that is none]
    400 Bad Request
    {"code":"invalid_field","error":"Idempotency-Key must be 1 to 255 printable ASCII characters.","field":"Idempotency-Key","message":"Idempotency-Key must be 1 to 255 printable ASCII characters.","request_id":"[request id]"}
    "#);
    assert_eq!(column(stack, &user, "1").await, Vec::<String>::new());
}

#[tokio::test]
async fn the_longest_fields_are_taken() {
    let stack = stack().await;
    let user = stack.user().await;
    let mut body = wanted(&"é".repeat(200));
    body["description"] = "é".repeat(10_000).into();

    let response = order(stack, &user, &body).await;

    assert_eq!(response.status(), 201, "{response}");
    assert_eq!(
        column(stack, &user, "length(name) || ' ' || length(description)").await,
        ["200 10000"]
    );
}

#[tokio::test]
async fn a_toolbox_that_is_not_there_is_not_found_by_any_route() {
    let stack: &Stack = stack().await;
    let user = stack.user().await;
    let named = routes()
        .into_iter()
        .filter(|(_, path)| path.contains(&NOBODYS.to_string()));

    for (method, path) in named {
        let body = json!({
            "name": "Mine", "toolCatalogId": NOBODYS, "instanceNameOnToolbox": "tool", "baseConfigOverrideJson": {},
        });
        let response = stack
            .request(method.clone(), &path)
            .bearer(&user.token)
            .json(&body)
            .await;

        allow_duplicates! { assert_snapshot!(response, &format!("{method} {path}"), @r#"
        404 Not Found
        {"code":"toolbox_not_found","error":"Toolbox not found or access denied","message":"Toolbox not found or access denied","request_id":"[request id]"}
        "#); }
    }
}
