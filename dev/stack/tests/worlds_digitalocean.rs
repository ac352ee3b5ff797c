//! DigitalOcean's stand-in over HTTP, as a client meets it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::time::{Duration, Instant};

use agentopia_stack::worlds::digitalocean::{Boot, Call, Fault, FaultPlan, Status};
use agentopia_stack::worlds::{DigitalOceanOptions, DigitalOceanWorld};
use insta::assert_snapshot;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

async fn world() -> DigitalOceanWorld {
    DigitalOceanWorld::start(DigitalOceanOptions::default()).await.unwrap()
}

fn request(world: &DigitalOceanWorld, method: Method, path: &str) -> RequestBuilder {
    Client::new()
        .request(method, format!("{}/v2/{path}", world.origin()))
        .bearer_auth(world.token())
        .timeout(Duration::from_secs(5))
}

async fn get(world: &DigitalOceanWorld, path: &str) -> Value {
    let response = request(world, Method::GET, path).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
    response.json().await.unwrap()
}

/// What a droplet is asked for with.
fn wanted(tag: &str) -> Value {
    json!({
        "name": "toolbox-1",
        "region": "nyc3",
        "size": "s-1vcpu-1gb",
        "image": "ubuntu-22-04-x64",
        "tags": ["agentopia", tag],
        "ssh_keys": [289_794, "3b:16:e4:bf:8b:00:8b:b8:59:8c:a9:d3:f0:19:fa:45"],
        "user_data": "#cloud-config\nruncmd: []\n",
    })
}

fn creation(world: &DigitalOceanWorld, body: &Value) -> RequestBuilder {
    request(world, Method::POST, "droplets").json(body)
}

async fn create(world: &DigitalOceanWorld, tag: &str) -> u64 {
    let response = creation(world, &wanted(tag)).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let created: Value = response.json().await.unwrap();
    created["droplet"]["id"].as_u64().unwrap()
}

/// `status id: message` of an error.
async fn refusal(response: Response) -> String {
    let status = response.status();
    let error: Value = response.json().await.unwrap();
    format!(
        "{} {}: {}",
        status.as_u16(),
        error["id"],
        error["message"].as_str().unwrap()
    )
}

#[tokio::test]
async fn a_droplet_lives_from_its_making_to_its_end() {
    let world = world().await;

    let created: Value = creation(&world, &wanted("tb:1"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let id = created["droplet"]["id"].as_u64().unwrap();
    let active = get(&world, &format!("droplets/{id}")).await;
    let deleted = request(&world, Method::DELETE, &format!("droplets/{id}"))
        .send()
        .await
        .unwrap();
    let again = request(&world, Method::DELETE, &format!("droplets/{id}"))
        .send()
        .await
        .unwrap();

    assert_eq!(created["droplet"]["status"], "new");
    assert_eq!(created["droplet"]["networks"], json!({ "v4": [], "v6": [] }));
    assert_eq!(created["links"]["actions"][0]["rel"], "create");
    assert_eq!(active["droplet"]["status"], "active");
    assert_eq!(active["droplet"]["tags"], json!(["agentopia", "tb:1"]));
    assert_eq!(active["droplet"]["region"]["slug"], "nyc3");
    assert_eq!(active["droplet"]["size_slug"], "s-1vcpu-1gb");
    let networks = active["droplet"]["networks"]["v4"].as_array().unwrap();
    assert_eq!(networks.iter().filter(|network| network["type"] == "public").count(), 1);
    assert_eq!(deleted.status(), StatusCode::NO_CONTENT);
    assert_snapshot!(refusal(again).await, @r#"404 "not_found": The resource you requested could not be found."#);
    assert_eq!((world.created_count(), world.deleted()), (1, vec![id]));
    assert_eq!(world.droplets(), vec![]);
    assert_eq!(world.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_machine_is_told_can_be_read() {
    let world = world().await;

    create(&world, "tb:1").await;

    let [droplet] = world.droplets_tagged("tb:1").try_into().unwrap();
    assert_eq!(droplet.user_data, "#cloud-config\nruncmd: []\n");
    assert_eq!(
        droplet.ssh_keys,
        ["289794", "3b:16:e4:bf:8b:00:8b:b8:59:8c:a9:d3:f0:19:fa:45"]
    );
    assert_eq!(droplet.status, Status::Active);
    assert!(droplet.public_ipv4.is_some());
}

#[tokio::test]
async fn a_droplet_may_come_up_when_it_was_looked_at_or_never() {
    let world = world().await;
    let status = async |id: u64| get(&world, &format!("droplets/{id}")).await["droplet"]["status"].clone();

    world.set_boot(Boot::AfterLooks(2));
    let slow = create(&world, "tb:slow").await;
    assert_eq!(
        [status(slow).await, status(slow).await, status(slow).await],
        ["new", "new", "active"]
    );

    world.set_boot(Boot::Never);
    let stuck = create(&world, "tb:stuck").await;
    assert_eq!(status(stuck).await, "new");
    world.activate(stuck);
    assert_eq!(status(stuck).await, "active");
    world.set_status(stuck, Status::Off);
    assert_eq!(status(stuck).await, "off");
    world.remove_droplet(stuck);
    assert_eq!(world.droplets_tagged("tb:stuck"), vec![]);
}

#[tokio::test]
async fn lists_are_by_tag_and_in_pages() {
    let world = world().await;
    for _ in 0..3 {
        create(&world, "tb:1").await;
    }
    let foreign = world.seed_droplet("production", &["web"]);

    let first = get(&world, "droplets?tag_name=tb%3A1&per_page=2&page=1").await;
    let second = get(&world, "droplets?tag_name=tb%3A1&per_page=2&page=2").await;
    let none = get(&world, "droplets?tag_name=tb%3A2").await;
    let web = get(&world, "droplets?tag_name=web").await;

    let pages = |list: &Value| list["links"]["pages"].to_string().replace(&world.origin(), "");
    assert_eq!(first["droplets"].as_array().unwrap().len(), 2);
    assert_eq!(second["droplets"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&first["meta"]["total"], &second["meta"]["total"]),
        (&json!(3), &json!(3))
    );
    assert_snapshot!(pages(&first), @r#"{"last":"/v2/droplets?page=2&per_page=2&tag_name=tb%3A1","next":"/v2/droplets?page=2&per_page=2&tag_name=tb%3A1"}"#);
    assert_snapshot!(pages(&second), @r#"{"first":"/v2/droplets?page=1&per_page=2&tag_name=tb%3A1","prev":"/v2/droplets?page=1&per_page=2&tag_name=tb%3A1"}"#);
    assert_eq!(none, json!({ "droplets": [], "links": {}, "meta": { "total": 0 } }));
    assert_eq!(web["droplets"][0]["id"], foreign);
    assert_eq!((world.created_count(), world.created_tagged("web")), (3, 0));
}

#[tokio::test]
async fn a_new_droplet_may_be_missing_from_lists_for_a_while() {
    let world = world().await;
    world.fail(FaultPlan::new(
        Call::Create,
        Fault::Unlisted(Duration::from_millis(300)),
    ));

    let id = create(&world, "tb:1").await;

    let list = async || {
        get(&world, "droplets?tag_name=tb:1").await["droplets"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(list().await, 0);
    assert_eq!(get(&world, &format!("droplets/{id}")).await["droplet"]["id"], id);
    let begin = Instant::now();
    while list().await == 0 {
        assert!(begin.elapsed() < Duration::from_secs(5), "it is never listed");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_digitalocean_refuses_is_refused() {
    let world = world().await;
    let mut refusals = Vec::new();

    for (field, value) in [
        ("name", json!("two words")),
        ("name", json!(null)),
        ("region", json!("moon1")),
        ("region", json!("nyc2")),
        ("size", json!("s-1vcpu-3gb")),
        ("size", json!("huge")),
        ("image", json!("windows")),
        ("tags", json!(["a b"])),
        ("tags", json!("a")),
        ("ssh_keys", json!(["mine"])),
        ("user_data", json!("a".repeat(64 * 1024 + 1))),
        ("volumes", json!(["1"])),
    ] {
        let mut body = wanted("tb:1");
        body[field] = value;
        refusals.push(refusal(creation(&world, &body).send().await.unwrap()).await);
    }
    let elsewhere = json!({ "name": "a", "region": "sgp1", "size": "s-1vcpu-512mb-10gb", "image": 112_929_454 });
    refusals.push(refusal(creation(&world, &elsewhere).send().await.unwrap()).await);
    let text = request(&world, Method::POST, "droplets").body("{}");
    refusals.push(refusal(text.send().await.unwrap()).await);
    for (method, path) in [
        (Method::GET, "droplets?per_page=201"),
        (Method::GET, "droplets?page=0"),
        (Method::GET, "droplets?name=a"),
        (Method::GET, "droplets?tag_name=a%20b"),
        (Method::GET, "droplets/7"),
        (Method::DELETE, "droplets?tag_name=web"),
        (Method::GET, "account"),
    ] {
        refusals.push(refusal(request(&world, method, path).send().await.unwrap()).await);
    }

    assert_snapshot!(refusals.join("\n"));
    assert_snapshot!(world.complaints().join("\n"));
    assert_eq!(world.created_count(), 0);
}

#[tokio::test]
async fn only_its_token_is_accepted() {
    let world = world().await;
    let url = format!("{}/v2/regions", world.origin());

    let without = Client::new().get(&url).send().await.unwrap();
    let other = Client::new()
        .get(&url)
        .bearer_auth("dop_v1_other")
        .send()
        .await
        .unwrap();

    assert_snapshot!(refusal(without).await, @r#"401 "unauthorized": Unable to authenticate you."#);
    assert_eq!(other.status(), StatusCode::UNAUTHORIZED);
    let record = world.requests();
    assert_eq!(record.len(), 2);
    assert!(
        record
            .iter()
            .all(|request| !request.is_authorized && request.path == "/v2/regions")
    );
}

#[tokio::test]
async fn regions_and_sizes_name_each_other() {
    let world = world().await;

    let regions = get(&world, "regions?per_page=200").await;
    let sizes = get(&world, "sizes?per_page=200").await;

    let slugs = |rows: &Value| -> Vec<String> {
        let slugs = rows
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row["slug"].as_str().unwrap().to_owned());
        slugs.collect()
    };
    assert_eq!(slugs(&regions["regions"]), ["nyc3", "ams3", "fra1", "sgp1", "nyc2"]);
    for size in sizes["sizes"].as_array().unwrap() {
        for region in size["regions"].as_array().unwrap() {
            assert!(slugs(&regions["regions"]).contains(&region.as_str().unwrap().to_owned()));
        }
    }
    assert_eq!(regions["regions"][4]["available"], false);
    assert_eq!(regions["regions"][4]["sizes"], json!([]));
}

#[tokio::test]
async fn one_request_too_many_in_a_minute_waits_for_the_first_to_expire() {
    let world = DigitalOceanWorld::start(DigitalOceanOptions {
        per_minute: Some(2),
        ..DigitalOceanOptions::default()
    })
    .await
    .unwrap();

    let first = request(&world, Method::GET, "regions").send().await.unwrap();
    let _second = request(&world, Method::GET, "regions").send().await.unwrap();
    let third = request(&world, Method::GET, "regions").send().await.unwrap();

    assert_eq!(first.headers()["ratelimit-limit"], "5000");
    assert_eq!(first.headers()["ratelimit-remaining"], "4999");
    let wait: u64 = third.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(third.headers()["ratelimit-remaining"], "0");
    assert_snapshot!(refusal(third).await, @r#"429 "too_many_requests": API rate limit exceeded."#);
}

#[tokio::test]
async fn faults_are_answered_before_anything_is_done() {
    let world = world().await;
    let second = Duration::from_secs(1);
    let mut refusals = Vec::new();

    for fault in [
        Fault::RateLimited(Some(second)),
        Fault::RateLimited(None),
        Fault::ServerError,
        Fault::Unavailable,
        Fault::Unauthorized,
        Fault::Forbidden,
        Fault::Invalid("creating this/these droplet(s) will exceed your droplet limit".to_owned()),
    ] {
        world.fail(FaultPlan::new(Call::Create, fault));
        let response = creation(&world, &wanted("tb:1")).send().await.unwrap();
        let wait = response.headers().get("retry-after").cloned();
        refusals.push(format!("{} {wait:?}", refusal(response).await));
    }

    assert_snapshot!(refusals.join("\n"), @r#"
    429 "too_many_requests": API rate limit exceeded. Some("1")
    429 "too_many_requests": API rate limit exceeded. None
    500 "server_error": Unexpected server-side error None
    503 "service_unavailable": The service is temporarily unavailable. None
    401 "unauthorized": Unable to authenticate you. None
    403 "forbidden": You are not authorized to perform this operation None
    422 "unprocessable_entity": creating this/these droplet(s) will exceed your droplet limit None
    "#);
    assert_eq!((world.created_count(), world.complaints()), (0, vec![]));
    create(&world, "tb:1").await;
}

#[tokio::test]
async fn an_answer_that_is_lost_leaves_a_droplet() {
    let world = world().await;
    let ask = async |tag: &str, fault| {
        world.fail(FaultPlan::new(Call::Create, fault).about(tag));
        let creation = creation(&world, &wanted(tag)).timeout(Duration::from_millis(300));
        let answered = creation.send().await;
        let is_timeout = answered.as_ref().is_err_and(reqwest::Error::is_timeout);
        (
            answered.ok().map(|response| response.status().as_u16()),
            is_timeout,
            world.created_tagged(tag),
        )
    };

    assert_eq!(ask("tb:stall", Fault::Stall).await, (None, true, 1));
    assert_eq!(ask("tb:drop", Fault::Drop).await, (None, false, 1));
    assert_eq!(ask("tb:done", Fault::DoneAndFailed).await, (Some(500), false, 1));
    assert_eq!(ask("tb:page", Fault::Malformed).await, (Some(200), false, 1));
    assert_eq!(ask("tb:silence", Fault::Silence).await, (None, true, 0));
}

#[tokio::test]
async fn a_deletion_may_be_lost_or_put_off() {
    let world = world().await;
    let delete = async |id: u64| request(&world, Method::DELETE, &format!("droplets/{id}")).send().await;
    let busy = create(&world, "tb:busy").await;
    let lost = create(&world, "tb:lost").await;

    world.fail(FaultPlan::new(Call::Delete, Fault::Pending).about("tb:busy"));
    world.fail(FaultPlan::new(Call::Delete, Fault::Drop).about("tb:lost"));
    let put_off = delete(busy).await.unwrap();
    let broken = delete(lost).await;

    assert_snapshot!(refusal(put_off).await, @r#"422 "unprocessable_entity": Droplet already has a pending event."#);
    assert!(broken.is_err());
    assert_eq!(world.deleted(), [lost]);
    assert_eq!(delete(busy).await.unwrap().status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn a_fault_strikes_what_it_is_about_and_ends_when_it_is_mended() {
    let world = world().await;
    let status = async |tag: &str| creation(&world, &wanted(tag)).send().await.unwrap().status().as_u16();

    world.fail(FaultPlan::new(Call::Any, Fault::ServerError).always().about("tb:1"));

    assert_eq!(
        [status("tb:1").await, status("tb:2").await, status("tb:1").await],
        [500, 202, 500]
    );
    world.mend("tb:1");
    assert_eq!(status("tb:1").await, 202);
}

#[tokio::test]
async fn a_stopped_world_refuses_connections() {
    let world = world().await;
    let regions = request(&world, Method::GET, "regions");

    world.stop().await;

    assert!(regions.send().await.unwrap_err().is_connect());
}
