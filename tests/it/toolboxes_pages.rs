//! `toolboxes-user`: the list in pages, without gaps and without repetitions.

use agentopia_tests::{Response, Stack};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::toolbelt_support::answers;
use crate::toolbox_machines::TOOLBOXES;
use crate::toolboxes_support::{about, stack};

/// The ids of a page.
fn ids(page: &Response) -> Vec<String> {
    let rows = page.json();
    let id = |row: &Value| row["id"].as_str().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(id).collect()
}

/// Where the link to the next page leads.
fn next(page: &Response) -> Option<String> {
    let link = page.header("link")?;
    let path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    let cursor = page.header("x-next-cursor").unwrap();
    assert!(path.ends_with(&format!("cursor={cursor}")), "{link}");
    Some(path.to_owned())
}

#[tokio::test]
async fn pages_follow_each_other_without_gaps() {
    let stack: &Stack = stack().await;
    let (user, eve) = (stack.user().await, stack.user_named("Eve").await);
    eve.toolbox().await;
    for _ in 0..7 {
        user.toolbox().await;
    }
    // Three of them in one moment.
    let tie = "UPDATE public.account_tool_environments SET created_at = '2026-01-01 00:00:00.123456+00'
               WHERE id IN (SELECT id FROM public.account_tool_environments WHERE user_id = $1 LIMIT 3)";
    stack.db().execute(tie, &[&user.id]).await;
    let statement = "SELECT id::text FROM public.account_tool_environments WHERE user_id = $1
                     ORDER BY created_at DESC, public.account_tool_environments.id DESC";
    let expected: Vec<String> = stack.db().column(statement, &[&user.id]).await;

    let mut seen = Vec::new();
    let mut sizes = Vec::new();
    let mut path = Some(format!("{TOOLBOXES}?limit=2"));
    while let Some(at) = path {
        let page = stack.get(&at).bearer(&user.token).await;
        sizes.push(ids(&page).len());
        seen.extend(ids(&page));
        if sizes.len() == 2 {
            // What is made meanwhile is on a page before.
            user.toolbox().await;
        }
        path = next(&page);
    }

    assert_eq!(sizes, [2, 2, 2, 1]);
    assert_eq!(seen, expected);
    let whole = about(stack, &user, Method::GET, "").await;
    assert_eq!((ids(&whole).len(), next(&whole)), (8, None));
    let exact = about(stack, &user, Method::GET, "?limit=8").await;
    assert_eq!((ids(&exact).len(), next(&exact)), (8, None));
}

#[tokio::test]
async fn who_has_no_toolbox_has_an_empty_list() {
    let stack = stack().await;
    let user = stack.user().await;

    let response = about(stack, &user, Method::GET, "").await;

    assert_snapshot!(response, @r"
    200 OK
    []
    ");
}

#[tokio::test]
async fn a_page_that_is_none_is_refused() {
    let stack = stack().await;
    let user = stack.user().await;
    let list = |query: &str| about(stack, &user, Method::GET, &format!("?{query}"));
    let cursor = |value: &Value| list(&format!("cursor={}", URL_SAFE_NO_PAD.encode(value.to_string())));
    let id = user.toolbox().await.id;

    let answers = answers([
        ("none", list("limit=0")),
        ("too many", list("limit=101")),
        ("words", list("limit=all")),
        ("no cursor", list("cursor=")),
        ("a hand-made cursor", list("cursor=2026")),
        ("another list's", cursor(&json!({ "id": 7 }))),
        (
            "a year that Postgres does not read",
            cursor(&json!({ "created_at": "+262142-01-01T00:00:00Z", "id": id })),
        ),
        (
            "a word that it does",
            cursor(&json!({ "created_at": "infinity", "id": id })),
        ),
        (
            "a statement",
            cursor(&json!({ "created_at": "2026-01-01T00:00:00Z", "id": "'; --" })),
        ),
    ]);

    assert_snapshot!(answers.await, @r#"
    [none]
    400 Bad Request
    {"code":"invalid_field","error":"limit must be 1 to 100.","field":"limit","message":"limit must be 1 to 100.","request_id":"[request id]"}
    [too many]
    400 Bad Request
    {"code":"invalid_field","error":"limit must be 1 to 100.","field":"limit","message":"limit must be 1 to 100.","request_id":"[request id]"}
    [words]
    400 Bad Request
    {"code":"invalid_field","error":"limit is invalid: invalid digit found in string.","field":"limit","message":"limit is invalid: invalid digit found in string.","request_id":"[request id]"}
    [no cursor]
    400 Bad Request
    {"code":"invalid_field","error":"cursor is not one that was given out.","field":"cursor","message":"cursor is not one that was given out.","request_id":"[request id]"}
    [a hand-made cursor]
    400 Bad Request
    {"code":"invalid_field","error":"cursor is not one that was given out.","field":"cursor","message":"cursor is not one that was given out.","request_id":"[request id]"}
    [another list's]
    400 Bad Request
    {"code":"invalid_field","error":"cursor is not one that was given out.","field":"cursor","message":"cursor is not one that was given out.","request_id":"[request id]"}
    [a year that Postgres does not read]
    400 Bad Request
    {"code":"invalid_field","error":"cursor is not one that was given out.","field":"cursor","message":"cursor is not one that was given out.","request_id":"[request id]"}
    [a word that it does]
    400 Bad Request
    {"code":"invalid_field","error":"cursor is not one that was given out.","field":"cursor","message":"cursor is not one that was given out.","request_id":"[request id]"}
    [a statement]
    400 Bad Request
    {"code":"invalid_field","error":"cursor is not one that was given out.","field":"cursor","message":"cursor is not one that was given out.","request_id":"[request id]"}
    "#);
}
