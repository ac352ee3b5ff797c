//! `chat`: every refusal that needs neither an agent nor a channel, word for word.

use std::fmt::Write as _;

use agentopia_stack::token::{Signer, UserClaims};
use agentopia_tests::{Request, Stack, User};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use insta::{allow_duplicates, assert_snapshot};
use serde_json::{Value, json};

use crate::chat_support::CHAT;

/// The id of no user.
const SOMEBODY_ELSE: &str = "00000000-0000-4000-8000-00000000000a";

/// Sends a request for each case, and lists the answers.
async fn answers(cases: impl IntoIterator<Item = (&str, Request)>) -> String {
    let mut answers = String::new();
    for (name, request) in cases {
        writeln!(answers, "[{name}]\n{}", request.await).unwrap();
    }
    answers
}

/// A request that would be admitted but for its proof.
fn unproven(stack: &Stack) -> Request {
    let agent = "00000000-0000-4000-8000-000000000001";
    stack.post(CHAT).json(&json!({ "agentId": agent, "message": "Hello" }))
}

#[tokio::test]
async fn a_request_without_exactly_one_bearer_token_is_refused() {
    let stack = Stack::shared().await;
    let token = stack.user().await.token;
    let proof = format!("Bearer {token}");
    let cases: [(&str, Vec<&str>); 6] = [
        ("no header", vec![]),
        ("another scheme", vec!["Basic YWRhOnNlY3JldA=="]),
        ("no scheme", vec![&token]),
        ("no token", vec!["Bearer"]),
        ("an empty token", vec!["Bearer   "]),
        ("two headers", vec![&proof, &proof]),
    ];

    for (name, headers) in cases {
        let request = headers.iter().fold(unproven(stack), |request, value| {
            request.header("authorization", *value)
        });
        let response = request.await;

        allow_duplicates! {
            assert_snapshot!(response, name, @r#"
            401 Unauthorized
            www-authenticate: Bearer
            {"code":"missing_token","error":"Missing or invalid authorization header","message":"Missing or invalid authorization header","request_id":"[request id]"}
            "#);
        }
    }
}

#[tokio::test]
async fn a_token_that_proves_no_user_is_refused_and_the_log_says_why() {
    let stack = Stack::shared().await;
    let user = stack.user().await;

    for (name, token, cause) in worthless_tokens(stack, &user) {
        let response = unproven(stack).bearer(&token).await;

        allow_duplicates! {
            assert_snapshot!(response, name, @r#"
            401 Unauthorized
            www-authenticate: Bearer
            {"code":"invalid_token","error":"Authentication failed","message":"Authentication failed","request_id":"[request id]"}
            "#);
        }
        if let Some(lines) = stack.request_log("chat", response.request_id()) {
            let causes: Vec<_> = lines.iter().filter_map(|line| line.get("cause")).collect();
            assert_eq!(causes, [cause], "{name}");
        }
    }
}

/// Tokens that are each wrong in one way, and how.
fn worthless_tokens(stack: &Stack, user: &User) -> Vec<(&'static str, String, &'static str)> {
    let secret = Signer::hs256(stack.jwt_secret());
    let (elliptic, rsa) = (
        Signer::es256("unpublished").unwrap(),
        Signer::rs256("unpublished").unwrap(),
    );
    let with = |change: fn(&mut UserClaims)| {
        let mut claims = user.claims();
        change(&mut claims);
        secret.sign(&claims).unwrap()
    };
    let public_key = serde_json::to_string(&elliptic.jwk().unwrap()).unwrap();
    let [_, claims, _] = parts(&user.token);

    vec![
        ("garbage", "garbage".to_owned(), "not a token of a known form"),
        (
            "three parts of garbage",
            "a.b.c".to_owned(),
            "not a token of a known form",
        ),
        ("longer than any token", "a".repeat(9000), "not a token of a known form"),
        ("expired", with(|claims| claims.exp = claims.iat - 60), "expired"),
        (
            "another audience",
            with(|claims| claims.aud = "other".to_owned()),
            "for another audience or from another issuer",
        ),
        (
            "another issuer",
            with(|claims| claims.iss = "https://other.supabase.co/auth/v1".to_owned()),
            "for another audience or from another issuer",
        ),
        (
            "of the anonymous role",
            with(|claims| claims.role = "anon".to_owned()),
            "not a user's token",
        ),
        (
            "of the service role",
            with(|claims| claims.role = "service_role".to_owned()),
            "not a user's token",
        ),
        (
            "of somebody without an id",
            with(|claims| claims.sub = "admin".to_owned()),
            "not a user's token",
        ),
        (
            "signed with another secret",
            user.signed_by(&Signer::hs256("another secret")),
            "the signature is wrong",
        ),
        (
            "changed after signing",
            resigned(&user.token, |claims| claims["sub"] = json!(SOMEBODY_ELSE)),
            "the signature is wrong",
        ),
        (
            "without a signature",
            format!("{}.{claims}.", encoded(&json!({ "alg": "none", "typ": "JWT" }))),
            "not a token of a known form",
        ),
        (
            "signed by an unpublished P-256 key",
            user.signed_by(&elliptic),
            "no key fits it",
        ),
        (
            "signed by an unpublished RSA key",
            user.signed_by(&rsa),
            "no key fits it",
        ),
        (
            "signed with a public key as the secret",
            user.signed_by(&Signer::hs256(&public_key)),
            "the signature is wrong",
        ),
    ]
}

fn parts(token: &str) -> [&str; 3] {
    token.split('.').collect::<Vec<_>>().try_into().unwrap()
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// The token with other claims and the signature that it had.
fn resigned(token: &str, change: impl FnOnce(&mut Value)) -> String {
    let [header, claims, signature] = parts(token);
    let mut claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    change(&mut claims);
    format!("{header}.{}.{signature}", encoded(&claims))
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let post = |body: &'static str| {
        stack
            .post(CHAT)
            .bearer(&user.token)
            .header("content-type", "application/json")
            .body(body)
    };

    let answers = answers([
        ("nothing", post("")),
        ("half an object", post(r#"{"message":"Hi""#)),
        ("more than an object", post(r#"{"message":"Hi"} {}"#)),
        ("an array", post("[]")),
        ("a string", post(r#""Hi""#)),
        (
            "not UTF-8",
            stack
                .post(CHAT)
                .bearer(&user.token)
                .body(&b"{\"message\":\"\xff\"}"[..]),
        ),
    ]);

    assert_snapshot!(answers.await, @r#"
    [nothing]
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: EOF while parsing a value at line 1 column 0","message":"Invalid JSON payload: EOF while parsing a value at line 1 column 0","request_id":"[request id]"}
    [half an object]
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: EOF while parsing an object at line 1 column 15","message":"Invalid JSON payload: EOF while parsing an object at line 1 column 15","request_id":"[request id]"}
    [more than an object]
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: trailing characters at line 1 column 18","message":"Invalid JSON payload: trailing characters at line 1 column 18","request_id":"[request id]"}
    [an array]
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: a list, expected an object","message":"Invalid JSON payload: a list, expected an object","request_id":"[request id]"}
    [a string]
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: invalid type: string \"Hi\", expected an object at line 1 column 4","message":"Invalid JSON payload: invalid type: string \"Hi\", expected an object at line 1 column 4","request_id":"[request id]"}
    [not UTF-8]
    400 Bad Request
    {"code":"invalid_json","error":"Invalid JSON payload: invalid unicode code point at line 1 column 13","message":"Invalid JSON payload: invalid unicode code point at line 1 column 13","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_field_of_another_type_is_named() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let post = |body: Value| stack.post(CHAT).bearer(&user.token).json(&body);

    let answers = answers([
        ("a number for text", post(json!({ "message": 1 }))),
        ("an object for text", post(json!({ "message": { "text": "Hi" } }))),
        ("a number for an id", post(json!({ "message": "Hi", "agentId": 7 }))),
        ("a list for an id", post(json!({ "message": "Hi", "channelId": [] }))),
        ("true for an id", post(json!({ "message": "Hi", "workspaceId": true }))),
    ]);

    assert_snapshot!(answers.await, @r#"
    [a number for text]
    400 Bad Request
    {"code":"invalid_field","error":"message is invalid: invalid type: integer `1`, expected a string.","field":"message","message":"message is invalid: invalid type: integer `1`, expected a string.","request_id":"[request id]"}
    [an object for text]
    400 Bad Request
    {"code":"invalid_field","error":"message is invalid: invalid type: map, expected a string.","field":"message","message":"message is invalid: invalid type: map, expected a string.","request_id":"[request id]"}
    [a number for an id]
    400 Bad Request
    {"code":"invalid_field","error":"agentId is invalid: invalid type: integer `7`, expected a string.","field":"agentId","message":"agentId is invalid: invalid type: integer `7`, expected a string.","request_id":"[request id]"}
    [a list for an id]
    400 Bad Request
    {"code":"invalid_field","error":"channelId is invalid: invalid type: sequence, expected a string.","field":"channelId","message":"channelId is invalid: invalid type: sequence, expected a string.","request_id":"[request id]"}
    [true for an id]
    400 Bad Request
    {"code":"invalid_field","error":"workspaceId is invalid: invalid type: boolean `true`, expected a string.","field":"workspaceId","message":"workspaceId is invalid: invalid type: boolean `true`, expected a string.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_field_that_is_missing_or_invalid_is_named() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let agent = user.agent("Atlas").await.id;
    let discord_channel = "123456789012345678";
    let post = |body: Value| stack.post(CHAT).bearer(&user.token).json(&body);

    let answers = answers([
        ("nothing", post(json!({}))),
        ("a message for nobody", post(json!({ "message": "Hi" }))),
        ("a channel without a message", post(json!({ "channelId": agent }))),
        (
            "blanks for a channel",
            post(json!({ "channelId": agent, "message": " \n\t " })),
        ),
        ("an agent without a message", post(json!({ "agentId": agent }))),
        (
            "null for an agent's message",
            post(json!({ "agentId": agent, "message": null })),
        ),
        (
            "blanks for an agent",
            post(json!({ "agentId": agent, "message": "  " })),
        ),
        ("a NUL", post(json!({ "agentId": agent, "message": "a\0b" }))),
        (
            "too long",
            post(json!({ "agentId": agent, "message": "é".repeat(32_001) })),
        ),
        ("an agent's name", post(json!({ "agentId": "Atlas", "message": "Hi" }))),
        (
            "a channel's name",
            post(json!({ "agentId": agent, "channelId": "general", "message": "Hi" })),
        ),
        (
            "a workspace's name",
            post(json!({ "agentId": agent, "workspaceId": "Lab", "message": "Hi" })),
        ),
        (
            "a room's name",
            post(json!({ "agentId": agent, "roomId": "Lab", "message": "Hi" })),
        ),
        (
            "a guild's name",
            post(json!({ "agentId": agent, "channelId": discord_channel, "guildId": "x", "message": "Hi" })),
        ),
        (
            "an author's name",
            post(json!({ "agentId": agent, "channelId": discord_channel, "authorId": "x", "message": "Hi" })),
        ),
        (
            "Discord without an agent",
            post(json!({ "channelId": discord_channel, "message": "Hi" })),
        ),
    ]);

    assert_snapshot!(answers.await, @r#"
    [nothing]
    400 Bad Request
    {"code":"missing_field","error":"Message content and Channel ID are required.","message":"Message content and Channel ID are required.","request_id":"[request id]"}
    [a message for nobody]
    400 Bad Request
    {"code":"missing_field","error":"Message content and Channel ID are required.","message":"Message content and Channel ID are required.","request_id":"[request id]"}
    [a channel without a message]
    400 Bad Request
    {"code":"missing_field","error":"Message content and Channel ID are required.","message":"Message content and Channel ID are required.","request_id":"[request id]"}
    [blanks for a channel]
    400 Bad Request
    {"code":"missing_field","error":"Message content and Channel ID are required.","message":"Message content and Channel ID are required.","request_id":"[request id]"}
    [an agent without a message]
    400 Bad Request
    {"code":"missing_field","error":"Message content is required.","message":"Message content is required.","request_id":"[request id]"}
    [null for an agent's message]
    400 Bad Request
    {"code":"missing_field","error":"Message content is required.","message":"Message content is required.","request_id":"[request id]"}
    [blanks for an agent]
    400 Bad Request
    {"code":"missing_field","error":"Message content is required.","message":"Message content is required.","request_id":"[request id]"}
    [a NUL]
    400 Bad Request
    {"code":"invalid_field","error":"message contains a NUL character.","field":"message","message":"message contains a NUL character.","request_id":"[request id]"}
    [too long]
    400 Bad Request
    {"code":"invalid_field","error":"message is longer than 32000 characters.","field":"message","message":"message is longer than 32000 characters.","request_id":"[request id]"}
    [an agent's name]
    400 Bad Request
    {"code":"invalid_field","error":"agentId is not a UUID.","field":"agentId","message":"agentId is not a UUID.","request_id":"[request id]"}
    [a channel's name]
    400 Bad Request
    {"code":"invalid_field","error":"channelId is neither a UUID nor the id of a Discord channel.","field":"channelId","message":"channelId is neither a UUID nor the id of a Discord channel.","request_id":"[request id]"}
    [a workspace's name]
    400 Bad Request
    {"code":"invalid_field","error":"workspaceId is not a UUID.","field":"workspaceId","message":"workspaceId is not a UUID.","request_id":"[request id]"}
    [a room's name]
    400 Bad Request
    {"code":"invalid_field","error":"roomId is not a UUID.","field":"roomId","message":"roomId is not a UUID.","request_id":"[request id]"}
    [a guild's name]
    400 Bad Request
    {"code":"invalid_field","error":"guildId is not a Discord id.","field":"guildId","message":"guildId is not a Discord id.","request_id":"[request id]"}
    [an author's name]
    400 Bad Request
    {"code":"invalid_field","error":"authorId is not a Discord id.","field":"authorId","message":"authorId is not a Discord id.","request_id":"[request id]"}
    [Discord without an agent]
    400 Bad Request
    {"code":"invalid_field","error":"channelId must be a UUID if no agent is asked.","field":"channelId","message":"channelId must be a UUID if no agent is asked.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn the_longest_message_is_taken() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let channel = user.workspace("Lab").await.channel("general").await;
    let longest = "é".repeat(32_000);

    let response = stack
        .post(CHAT)
        .bearer(&user.token)
        .json(&json!({ "channelId": channel.id, "message": longest }))
        .await;

    assert_snapshot!(response.status(), @"200 OK");
    assert_eq!(stack.db().transcript(channel.id).await, [format!("Ada: {longest}")]);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_whether_its_length_is_said_or_not() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let body = json!({ "message": "a".repeat(256 * 1024) }).to_string();
    let chunks = body.as_bytes().chunks(16 * 1024).map(<[u8]>::to_vec).collect();
    let post = || {
        stack
            .post(CHAT)
            .bearer(&user.token)
            .header("content-type", "application/json")
    };

    let answers = answers([
        ("its length is said", post().body(body.clone())),
        ("in chunks", post().chunked_body(chunks)),
    ]);

    assert_snapshot!(answers.await, @r#"
    [its length is said]
    413 Payload Too Large
    {"code":"body_too_large","error":"The body is larger than 262144 bytes.","message":"The body is larger than 262144 bytes.","request_id":"[request id]"}
    [in chunks]
    413 Payload Too Large
    {"code":"body_too_large","error":"The body is larger than 262144 bytes.","message":"The body is larger than 262144 bytes.","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn a_body_of_another_media_type_is_refused() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let post = |media_type: &'static str| {
        stack
            .post(CHAT)
            .bearer(&user.token)
            .header("content-type", media_type)
            .body("message=Hi")
    };

    let answers = answers([
        ("a form", post("application/x-www-form-urlencoded")),
        ("a form with files", post("multipart/form-data; boundary=x")),
        ("bytes", post("application/octet-stream")),
    ]);

    assert_snapshot!(answers.await, @r#"
    [a form]
    415 Unsupported Media Type
    {"code":"unsupported_media_type","error":"The body must be JSON (application/json).","message":"The body must be JSON (application/json).","request_id":"[request id]"}
    [a form with files]
    415 Unsupported Media Type
    {"code":"unsupported_media_type","error":"The body must be JSON (application/json).","message":"The body must be JSON (application/json).","request_id":"[request id]"}
    [bytes]
    415 Unsupported Media Type
    {"code":"unsupported_media_type","error":"The body must be JSON (application/json).","message":"The body must be JSON (application/json).","request_id":"[request id]"}
    "#);
}

#[tokio::test]
async fn json_is_taken_under_each_name_that_clients_give_it() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let channel = user.workspace("Lab").await.channel("general").await;
    let body = json!({ "channelId": channel.id, "message": "Hi" }).to_string();

    for media_type in [
        "application/json; charset=utf-8",
        "Application/JSON",
        "application/vnd.api+json",
        "text/plain;charset=UTF-8",
    ] {
        let response = stack
            .post(CHAT)
            .bearer(&user.token)
            .header("content-type", media_type)
            .body(body.clone())
            .await;

        assert_eq!(response.status(), 200, "{media_type}: {response}");
    }
    let response = stack.post(CHAT).bearer(&user.token).body(body).await;
    assert_eq!(response.status(), 200, "without a type: {response}");
}

#[tokio::test]
async fn an_idempotency_key_that_is_none_is_refused() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let too_long = "k".repeat(256);
    let post = |key: &[u8]| {
        let body = json!({ "agentId": "00000000-0000-4000-8000-000000000001", "message": "Hi" });
        stack
            .post(CHAT)
            .bearer(&user.token)
            .header("idempotency-key", key)
            .json(&body)
    };

    let answers = answers([
        ("empty", post(b"")),
        ("too long", post(too_long.as_bytes())),
        ("not ASCII", post("clé".as_bytes())),
    ]);

    assert_snapshot!(answers.await, @r#"
    [empty]
    400 Bad Request
    {"code":"invalid_field","error":"Idempotency-Key must be 1 to 255 printable ASCII characters.","field":"Idempotency-Key","message":"Idempotency-Key must be 1 to 255 printable ASCII characters.","request_id":"[request id]"}
    [too long]
    400 Bad Request
    {"code":"invalid_field","error":"Idempotency-Key must be 1 to 255 printable ASCII characters.","field":"Idempotency-Key","message":"Idempotency-Key must be 1 to 255 printable ASCII characters.","request_id":"[request id]"}
    [not ASCII]
    400 Bad Request
    {"code":"invalid_field","error":"Idempotency-Key must be 1 to 255 printable ASCII characters.","field":"Idempotency-Key","message":"Idempotency-Key must be 1 to 255 printable ASCII characters.","request_id":"[request id]"}
    "#);
}
