//! `toolboxes-user`: what the provider of machines offers, kept so that it is asked seldom and missed never.

use agentopia_stack::worlds::digitalocean::{Call, Fault, FaultPlan};
use agentopia_tests::{Request, Response, Stack, StackOptions, User};
use futures::future::join_all;
use insta::{assert_json_snapshot, assert_snapshot};
use serde_json::Value;

use crate::toolbox_machines::TOOLBOXES;
use crate::toolboxes_support::{order, wanted};

/// Where earlier clients ask.
const OLD: &str = "/functions/v1/digitalocean-options";

fn ask(stack: &Stack, user: &User, base: &str, name: &str) -> Request {
    stack.get(&format!("{base}/{name}")).bearer(&user.token)
}

/// How often the provider was asked for regions or sizes.
fn asked(stack: &Stack, name: &str) -> usize {
    let path = format!("/v2/{name}?");
    let requests = stack.digitalocean().requests();
    requests
        .iter()
        .filter(|request| request.path.starts_with(&path))
        .count()
}

/// Lets what is kept grow older.
async fn age(stack: &Stack, name: &str, seconds: f64) {
    let statement = "UPDATE app.provider_options
                     SET fetched_at = fetched_at - make_interval(secs => $2),
                         attempted_at = attempted_at - make_interval(secs => $2)
                     WHERE name = $1";
    stack.db().execute(statement, &[&name, &seconds]).await;
}

#[tokio::test]
async fn regions_are_fetched_once_an_hour_and_shown_when_the_provider_fails() {
    let stack = &Stack::of_its_own(StackOptions::default()).await;
    let (ada, eve) = (stack.user().await, stack.user_named("Eve").await);
    let regions = || ask(stack, &ada, &format!("{TOOLBOXES}/options"), "regions");

    // Nothing is kept, and the provider fails.
    stack
        .digitalocean()
        .fail(FaultPlan::new(Call::Regions, Fault::ServerError));
    let without = regions().await;
    assert_snapshot!(without, @r#"
    503 Service Unavailable
    retry-after: 30
    {"code":"provider_unavailable","error":"The provider of machines cannot be asked right now.","message":"The provider of machines cannot be asked right now.","request_id":"[request id]"}
    "#);

    let first = regions().await;
    assert_snapshot!(first.status(), @"200 OK");
    assert_json_snapshot!(first.json()[0], @r#"
    {
      "available": true,
      "features": [
        "backups",
        "ipv6",
        "metadata",
        "install_agent",
        "storage",
        "image_transfer"
      ],
      "name": "New York 3",
      "sizes": [
        "s-1vcpu-512mb-10gb",
        "s-1vcpu-1gb",
        "s-1vcpu-2gb",
        "s-2vcpu-4gb",
        "s-4vcpu-8gb"
      ],
      "slug": "nyc3"
    }
    "#);
    assert_eq!(asked(stack, "regions"), 2);

    // To everybody, by both paths.
    for response in [
        regions().await,
        ask(stack, &eve, OLD, "regions").await,
        ask(stack, &eve, &format!("{TOOLBOXES}/options"), "regions").await,
    ] {
        assert_eq!((response.status().as_u16(), response.json()), (200, first.json()));
    }
    assert_eq!(asked(stack, "regions"), 2);

    // Of those who find it old at once, one fetches.
    age(stack, "regions", 3601.0).await;
    let answers = join_all((0..8).map(|_| regions().into_future())).await;
    assert!(answers.iter().all(|answer| answer.json() == first.json()));
    assert_eq!(asked(stack, "regions"), 3);

    // Old is better than nothing, and is tried again half a minute later.
    age(stack, "regions", 3601.0).await;
    for fault in [
        Fault::RateLimited(None),
        Fault::Unauthorized,
        Fault::Drop,
        Fault::Malformed,
    ] {
        stack.digitalocean().fail(FaultPlan::new(Call::Regions, fault));
    }
    for attempt in 4..8 {
        for _ in 0..2 {
            let stale = regions().await;
            assert_eq!((stale.status().as_u16(), stale.json()), (200, first.json()));
        }
        assert_eq!(asked(stack, "regions"), attempt);
        age(stack, "regions", 31.0).await;
    }
    let log = stack.log("toolboxes-user").unwrap_or_default();
    let causes: Vec<String> = log
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["event"] == "provider_options_not_fetched")
        .map(|line| line["cause"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(causes.len(), if log.is_empty() { 0 } else { 5 }, "{causes:?}");
    assert!(
        log.iter()
            .all(|line| stack.secrets().iter().all(|secret| !line.contains(secret)))
    );
    assert_eq!(stack.digitalocean().complaints(), Vec::<String>::new());

    // A failing provider with nothing kept is not asked without end.
    stack.db().execute("DELETE FROM app.provider_options", &[]).await;
    stack
        .digitalocean()
        .fail(FaultPlan::new(Call::Regions, Fault::ServerError).always());
    let before = asked(stack, "regions");
    let refusals: Vec<Response> = join_all((0..20).map(|_| regions().into_future())).await;
    assert!(
        refusals
            .iter()
            .all(|refusal| refusal.field("code") == "provider_unavailable")
    );
    assert!(
        (1..=8).contains(&(asked(stack, "regions") - before)),
        "{}",
        asked(stack, "regions") - before
    );
}

#[tokio::test]
async fn sizes_are_kept_too_and_without_a_token_there_are_none() {
    let stack = Stack::shared().await;
    let user = stack.user().await;
    let without = Stack::beside_shared(StackOptions::default().set("digitalocean_token", "")).await;

    let none = ask(&without, &user, OLD, "sizes").await;
    let first = ask(stack, &user, OLD, "sizes").await;
    let kept = ask(&without, &user, OLD, "sizes").await;

    assert_snapshot!(none, @r#"
    503 Service Unavailable
    retry-after: 30
    {"code":"provider_unavailable","error":"The provider of machines cannot be asked right now.","message":"The provider of machines cannot be asked right now.","request_id":"[request id]"}
    "#);
    assert_snapshot!(first.status(), @"200 OK");
    assert_json_snapshot!(first.json()[0], @r#"
    {
      "available": true,
      "description": "Basic",
      "disk": 10,
      "memory": 512,
      "price_hourly": 0.00595,
      "price_monthly": 4.0,
      "regions": [
        "nyc3",
        "ams3",
        "fra1"
      ],
      "slug": "s-1vcpu-512mb-10gb",
      "transfer": 0.5,
      "vcpus": 1
    }
    "#);
    assert_eq!((kept.status().as_u16(), kept.json()), (200, first.json()));
}

#[tokio::test]
async fn a_deployment_offers_the_sizes_that_it_lists() {
    let options = StackOptions::default().set("toolboxes_sizes", "s-1vcpu-1gb, s-2vcpu-4gb");
    let stack = &Stack::of_its_own(options).await;
    let user = stack.user().await;
    let order_of = |size: &str| {
        let mut body = wanted("Forge");
        body["sizeSlug"] = size.into();
        order(stack, &user, &body)
    };

    let refused = order_of("s-4vcpu-8gb").await;
    let made = order_of("s-1vcpu-1gb").await;
    let fetched = ask(stack, &user, OLD, "sizes").await;
    let kept = ask(stack, &user, &format!("{TOOLBOXES}/options"), "sizes").await;

    assert_snapshot!(refused, @r#"
    400 Bad Request
    {"code":"invalid_field","error":"sizeSlug is not offered.","field":"sizeSlug","message":"sizeSlug is not offered.","request_id":"[request id]"}
    "#);
    assert_eq!(made.status(), 201, "{made}");
    for listed in [fetched, kept] {
        let sizes = listed.json();
        let slugs: Vec<_> = sizes.as_array().unwrap().iter().map(|size| &size["slug"]).collect();
        assert_eq!(slugs, ["s-1vcpu-1gb", "s-2vcpu-4gb"]);
    }
    assert_eq!(asked(stack, "sizes"), 1);
}

#[tokio::test]
async fn what_cannot_be_kept_is_answered_all_the_same() {
    let stack = &Stack::of_its_own(StackOptions::default()).await;
    let user = stack.user().await;
    let nothing_fits = "ALTER TABLE app.provider_options ADD CONSTRAINT nothing_fits CHECK (document IS NULL)";
    stack.db().execute(nothing_fits, &[]).await;

    let response = ask(stack, &user, OLD, "regions").await;

    assert_eq!(response.status(), 200, "{response}");
    assert_eq!(response.json()[0]["slug"], "nyc3");
    if let Some(lines) = stack.request_log("toolboxes-user", response.request_id()) {
        let told = lines
            .iter()
            .filter(|line| line["event"] == "provider_options_not_stored");
        assert_eq!(told.count(), 1, "{lines:?}");
    }
}
