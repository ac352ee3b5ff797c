//! Discord's stand-in over HTTP, as a client meets it.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use agentopia_stack::worlds::discord::{Fault, Webhook};
use agentopia_stack::worlds::{DiscordOptions, DiscordWorld};
use insta::assert_snapshot;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};

async fn world() -> DiscordWorld {
    DiscordWorld::start(DiscordOptions {
        webhook_limit: (100, Duration::from_secs(2)),
        ..DiscordOptions::default()
    })
    .await
    .unwrap()
}

/// A webhook's URL on the stand-in.
fn url(world: &DiscordWorld, webhook: &Webhook) -> String {
    webhook
        .url
        .replace("https://discord.com/api/", &format!("{}/api/v10/", world.origin()))
}

async fn post(url: &str, body: &Value) -> Result<Response, reqwest::Error> {
    Client::new()
        .post(url)
        .header("user-agent", "DiscordBot (https://example.com, 1)")
        .timeout(Duration::from_millis(500))
        .json(body)
        .send()
        .await
}

fn message(content: &str) -> Value {
    json!({ "content": content, "allowed_mentions": { "parse": [] } })
}

/// The status and the body of an answer.
async fn shown(response: Response) -> String {
    let status = response.status().as_u16();
    format!("{status} {}", response.text().await.unwrap())
}

#[tokio::test]
async fn a_message_is_kept_and_shown() {
    let world = world().await;
    let webhook = world.create_webhook().unwrap();

    let response = post(
        &format!("{}?wait=true", url(&world, &webhook)),
        &message(" It is silent. "),
    )
    .await
    .unwrap();

    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-ratelimit-remaining"], "99");
    let sent: Value = response.json().await.unwrap();
    let [kept] = world.messages(webhook.id).try_into().unwrap();
    assert_eq!(
        (&sent["content"], sent["id"].as_str().unwrap()),
        (&json!("It is silent."), &*kept.id.to_string())
    );
    assert_eq!(kept.content, "It is silent.");
    assert_eq!(kept.notifies, Vec::<String>::new());
    assert_eq!(sent["webhook_id"], webhook.id.to_string());
    assert_eq!((world.calls(webhook.id), world.complaints()), (1, vec![]));
}

#[tokio::test]
async fn without_waiting_there_is_nothing_to_see() {
    let world = world().await;
    let webhook = world.create_webhook().unwrap();

    let response = post(&url(&world, &webhook), &message("Hello")).await.unwrap();

    assert_eq!(shown(response).await, "204 ");
    assert_eq!(world.messages(webhook.id).len(), 1);
}

#[tokio::test]
async fn a_webhook_is_shown_to_who_has_its_token() {
    let world = world().await;
    let webhook = world.create_webhook().unwrap();

    let shown: Value = Client::new()
        .get(url(&world, &webhook))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();

    assert_eq!(
        (&shown["id"], &shown["type"]),
        (&json!(webhook.id.to_string()), &json!(1))
    );
    assert!(webhook.url.ends_with(shown["token"].as_str().unwrap()));
}

#[tokio::test]
async fn who_is_notified_is_what_was_allowed() {
    let world = world().await;
    let webhook = world.create_webhook().unwrap();
    let text = "@everyone <@1>";

    post(&url(&world, &webhook), &message(text)).await.unwrap();
    post(&url(&world, &webhook), &json!({ "content": text })).await.unwrap();

    let notified: Vec<_> = world
        .messages(webhook.id)
        .into_iter()
        .map(|message| message.notifies)
        .collect();
    assert_eq!(notified, [vec![], vec!["<@1>".to_owned()]]);
}

#[tokio::test]
async fn what_discord_refuses_is_refused() {
    let world = world().await;
    let webhook = world.create_webhook().unwrap();
    let url = url(&world, &webhook);
    let mut refusals = Vec::new();

    for body in [
        json!({}),
        message("  "),
        message(&"é".repeat(2001)),
        json!({ "content": 7 }),
        json!({ "content": "a", "allowed_mentions": [] }),
        json!({ "content": "a", "allowed_mentions": { "parse": ["all"] } }),
        json!({ "content": "a", "allowed_mentions": { "parse": ["users"], "users": ["1"] } }),
        json!({ "content": "a", "embeds": [] }),
        json!({ "content": "a", "mentions": [] }),
    ] {
        refusals.push(shown(post(&url, &body).await.unwrap()).await);
    }
    for query in ["wait=maybe", "thread_id=1"] {
        refusals.push(shown(post(&format!("{url}?{query}"), &message("a")).await.unwrap()).await);
    }
    let broken = Client::new()
        .post(&url)
        .header("content-type", "application/json")
        .body("{");
    refusals.push(shown(broken.send().await.unwrap()).await);
    refusals.push(shown(Client::new().put(&url).send().await.unwrap()).await);
    for path in [
        "api/v7/webhooks/1/a",
        "api/v10/webhooks/x/a",
        "api/v10/users/@me",
        "webhooks/1/a",
    ] {
        refusals.push(
            shown(
                post(&format!("{}/{path}", world.origin()), &message("a"))
                    .await
                    .unwrap(),
            )
            .await,
        );
    }

    assert_snapshot!(refusals.join("\n"));
    let complaints = world.complaints().join("\n");
    assert!(!complaints.contains(webhook.url.rsplit_once('/').unwrap().1));
    assert_snapshot!(complaints.replace(&webhook.id.to_string(), "<id>"));
    assert_eq!(world.messages(webhook.id), vec![]);
    assert_eq!(
        post(&url, &message(&"é".repeat(2000))).await.unwrap().status(),
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_webhook_that_is_gone_is_not_found() {
    let world = world().await;
    let webhook = world.create_webhook().unwrap();
    let url = url(&world, &webhook);
    let unknown = format!("{}/api/webhooks/1/{}", world.origin(), "a".repeat(68));

    let wrong = post(&format!("{url}x"), &message("a")).await.unwrap();
    let unknown = post(&unknown, &message("a")).await.unwrap();
    world.delete_webhook(webhook.id);
    let deleted = post(&url, &message("a")).await.unwrap();

    assert_snapshot!(shown(wrong).await, @r#"401 {"code":50027,"message":"Invalid Webhook Token"}"#);
    assert_snapshot!(shown(unknown).await, @r#"404 {"code":10015,"message":"Unknown Webhook"}"#);
    assert_snapshot!(shown(deleted).await, @r#"404 {"code":10015,"message":"Unknown Webhook"}"#);
    assert_eq!((world.calls(webhook.id), world.complaints()), (1, vec![]));
}

#[tokio::test]
async fn a_webhook_takes_so_many_messages_in_its_time() {
    let world = DiscordWorld::start(DiscordOptions::default()).await.unwrap();
    let (one, other) = (world.create_webhook().unwrap(), world.create_webhook().unwrap());

    let mut last = None;
    for _ in 0..6 {
        last = Some(post(&url(&world, &one), &message("a")).await.unwrap());
    }
    let beside = post(&url(&world, &other), &message("a")).await.unwrap();

    let last = last.unwrap();
    assert_eq!(last.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        (
            &last.headers()["x-ratelimit-limit"],
            &last.headers()["x-ratelimit-remaining"]
        ),
        (&"5".parse().unwrap(), &"0".parse().unwrap())
    );
    let header: f64 = last.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    let body: Value = last.json().await.unwrap();
    let wait = body["retry_after"].as_f64().unwrap();
    assert!(wait > 0.0 && wait <= header && header <= 2.0, "{wait} {header}");
    assert_eq!(
        (&body["message"], &body["global"]),
        (&json!("You are being rate limited."), &json!(false))
    );
    assert_eq!(beside.status(), StatusCode::NO_CONTENT);
    assert_eq!(world.messages(one.id).len(), 5);
}

#[tokio::test]
async fn faults_are_answered_and_nothing_is_kept() {
    let world = world().await;
    let webhook = world.create_webhook().unwrap();
    let mut refusals = Vec::new();

    for fault in [
        Fault::RateLimited {
            retry_after: Duration::from_millis(1_250),
            global: true,
        },
        Fault::Banned(Duration::from_secs(60)),
        Fault::Blocked,
        Fault::ServerError,
    ] {
        world.fail(webhook.id, fault, 1);
        let response = post(&url(&world, &webhook), &message("a")).await.unwrap();
        let wait = response.headers().get("retry-after").cloned();
        refusals.push(format!("{} {wait:?}", shown(response).await));
    }

    assert_snapshot!(refusals.join("\n"), @r#"
    429 {"global":true,"message":"You are being rate limited.","retry_after":1.25} Some("2")
    429 <html>error code: 1015</html> Some("60")
    403 <html>error code: 1010</html> None
    500 {"code":0,"message":"500: Internal Server Error"} None
    "#);
    assert_eq!((world.messages(webhook.id), world.calls(webhook.id)), (vec![], 4));
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_a_message() {
    let world = world().await;
    let ask = async |fault| {
        let webhook = world.create_webhook().unwrap();
        world.fail(webhook.id, fault, 1);
        let answered = post(&format!("{}?wait=true", url(&world, &webhook)), &message("a")).await;
        let is_timeout = answered.as_ref().is_err_and(reqwest::Error::is_timeout);
        (
            answered.ok().map(|response| response.status().as_u16()),
            is_timeout,
            world.messages(webhook.id).len(),
        )
    };

    assert_eq!(ask(Fault::Stall).await, (None, true, 1));
    assert_eq!(ask(Fault::Drop).await, (None, false, 1));
    assert_eq!(ask(Fault::DoneAndFailed).await, (Some(500), false, 1));
    assert_eq!(ask(Fault::Malformed).await, (Some(200), false, 1));
    assert_eq!(ask(Fault::Silence).await, (None, true, 0));
}

#[tokio::test]
async fn a_client_without_a_name_is_complained_of() {
    let world = world().await;
    let webhook = world.create_webhook().unwrap();

    Client::new()
        .post(url(&world, &webhook))
        .json(&message("a"))
        .send()
        .await
        .unwrap();

    assert_eq!(world.complaints().len(), 1);
}

/// The URL of a server that answers everything alike.
async fn answering(status: StatusCode, body: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/interactions", listener.local_addr().unwrap());
    let router = axum::Router::new().fallback(async move || (status, body));
    tokio::spawn(axum::serve(listener, router).into_future());
    url
}

#[tokio::test]
async fn a_url_for_interactions_is_taken_only_if_it_answers_and_verifies() {
    let world = world().await;
    let application = world.create_application().unwrap();
    let mut refusals = Vec::new();

    for (status, body) in [
        (StatusCode::OK, r#"{"type":1}"#),
        (StatusCode::OK, r#"{"type":4}"#),
        (StatusCode::OK, "pong"),
        (StatusCode::UNAUTHORIZED, r#"{"type":1}"#),
    ] {
        let url = answering(status, body).await;
        let refusal = application.validate_endpoint(&url).await.unwrap_err().to_string();
        refusals.push(refusal.rsplit_once("verified: ").unwrap().1.to_owned());
    }

    assert_snapshot!(refusals.join("\n"), @r#"
    a forged PING is answered with 200
    a PING is answered with 200 {"type":4}
    a PING is answered with 200 null
    a PING is answered with 401 {"type":1}
    "#);
}
