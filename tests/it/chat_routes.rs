//! Which paths and methods there are: `chat`'s, and those of the functions that are not written yet.

use std::fmt::Write as _;

use agentopia_tests::Stack;
use http::Method;
use insta::assert_snapshot;

use crate::chat_support::CHAT;

#[tokio::test]
async fn another_method_is_refused_with_those_that_are_allowed() {
    let stack = Stack::shared().await;
    let cases = [
        (Method::GET, CHAT.to_owned()),
        (Method::PUT, CHAT.to_owned()),
        (Method::PATCH, CHAT.to_owned()),
        (Method::DELETE, CHAT.to_owned()),
        (Method::POST, format!("{CHAT}/health")),
    ];

    let mut answers = String::new();
    for (method, path) in cases {
        writeln!(
            answers,
            "[{method} {path}]\n{}",
            stack.request(method.clone(), &path).await
        )
        .unwrap();
    }

    assert_snapshot!(answers, @r#"
    [GET /functions/v1/chat]
    405 Method Not Allowed
    allow: POST
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    [PUT /functions/v1/chat]
    405 Method Not Allowed
    allow: POST
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    [PATCH /functions/v1/chat]
    405 Method Not Allowed
    allow: POST
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    [DELETE /functions/v1/chat]
    405 Method Not Allowed
    allow: POST
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    [POST /functions/v1/chat/health]
    405 Method Not Allowed
    allow: GET,HEAD
    {"code":"method_not_allowed","error":"Method not allowed","message":"Method not allowed","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_path_that_is_none_is_not_found() {
    let stack = Stack::shared().await;

    let response = stack.post(&format!("{CHAT}/nothing")).await;

    assert_snapshot!(response, @r#"
    404 Not Found
    {"code":"no_such_route","error":"Not found or method not supported for the path","message":"Not found or method not supported for the path","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_preflight_is_answered_to_anybody() {
    let stack = Stack::shared().await;

    let response = stack
        .request(Method::OPTIONS, CHAT)
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization, content-type")
        .await;

    assert_snapshot!(response, @"
    200 OK
    ok
    ");
    let headers = ["origin", "methods", "headers"].map(|name| response.header(&format!("access-control-allow-{name}")));
    assert_snapshot!(headers.map(Option::unwrap).join("\n"), @"
    *
    POST, GET, OPTIONS, PUT, PATCH, DELETE
    authorization, x-client-info, apikey, content-type, accept, idempotency-key, if-match, traceparent
    ");
}

#[tokio::test]
async fn a_browser_may_read_the_headers_that_say_something() {
    let stack = Stack::shared().await;

    let response = stack.post(CHAT).await;

    assert_snapshot!(response.header("access-control-expose-headers").unwrap(), @"x-request-id, retry-after, ratelimit, ratelimit-policy, idempotent-replayed, etag, link, location, x-next-cursor");
}

#[tokio::test]
async fn health_needs_no_proof() {
    let stack = Stack::shared().await;

    let response = stack.get(&format!("{CHAT}/health")).await;

    assert_snapshot!(response, @r#"
    200 OK
    {"status":"healthy","timestamp":"[time]"}
    "#);
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("content-type"), Some("application/json"));
}
