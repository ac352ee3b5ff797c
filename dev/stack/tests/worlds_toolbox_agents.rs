//! The stand-in for toolboxes' agents, against functions that answer what a test wants.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentopia_domain::ids::ToolboxId;
use agentopia_domain::toolbox::cloud_init::{CloudInit, user_data};
use agentopia_stack::worlds::digitalocean::Status;
use agentopia_stack::worlds::toolbox_agents::{ContainerState, Pace, Phase, Plays};
use agentopia_stack::worlds::{DigitalOceanOptions, DigitalOceanWorld, ToolboxAgentsOptions, ToolboxAgentsWorld};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::{Json, Router};
use insta::assert_snapshot;
use reqwest::Client;
use serde_json::{Value, json};
use uuid::Uuid;

const TOOLBOX: Uuid = Uuid::from_u128(7);
const INSTANCE: Uuid = Uuid::from_u128(8);
const BOOTSTRAP: &str = "agt_boot_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Functions of which a test says what they answer.
#[derive(Clone)]
struct Functions {
    url: String,
    /// The status, and the body where there is one that is not the usual.
    answer: Arc<Mutex<(StatusCode, Option<Value>)>>,
    tools: Arc<Mutex<Value>>,
    /// What was called, with what token and body, oldest first.
    calls: Arc<Mutex<Vec<(String, String, Value)>>>,
}

impl Functions {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let functions = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            answer: Arc::new(Mutex::new((StatusCode::OK, None))),
            tools: Arc::new(Mutex::new(json!([]))),
            calls: Arc::default(),
        };
        let router = Router::new().fallback(answer).with_state(functions.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        functions
    }

    fn answer(&self, status: StatusCode, body: Option<Value>) {
        *self.answer.lock().unwrap() = (status, body);
    }

    fn calls(&self) -> Vec<(String, String, Value)> {
        self.calls.lock().unwrap().clone()
    }
}

async fn answer(State(functions): State<Functions>, request: Request) -> (StatusCode, Json<Value>) {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1_000_000).await.unwrap();
    let path = parts.uri.path().to_owned();
    let token = parts.headers["authorization"].to_str().unwrap().to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap();
    functions.calls.lock().unwrap().push((path.clone(), token, body));

    let (status, body) = functions.answer.lock().unwrap().clone();
    let usual = if path.ends_with("/register") {
        json!({ "token": "agt_tb_token", "toolbox_id": TOOLBOX, "heartbeat_interval_seconds": 60 })
    } else {
        json!({
            "toolbox_id": TOOLBOX,
            "generation": 3,
            "paused": false,
            "heartbeat_interval_seconds": 60,
            "tools": *functions.tools.lock().unwrap(),
        })
    };
    (status, Json(body.unwrap_or(usual)))
}

/// All three worlds.
struct Worlds {
    functions: Functions,
    digitalocean: DigitalOceanWorld,
    agents: ToolboxAgentsWorld,
}

impl Worlds {
    async fn start(plays: Plays) -> Self {
        let digitalocean = DigitalOceanWorld::start(DigitalOceanOptions::default()).await.unwrap();
        let options = ToolboxAgentsOptions {
            pace: Pace::Every(Duration::from_millis(20)),
            plays,
        };
        Self {
            functions: Functions::start().await,
            agents: ToolboxAgentsWorld::start(&digitalocean, options).await.unwrap(),
            digitalocean,
        }
    }

    /// Has a droplet made; returns its number.
    async fn create(&self, tag: &str, user_data: &str) -> u64 {
        let wanted = json!({
            "name": "toolbox-1",
            "region": "fra1",
            "size": "s-1vcpu-1gb",
            "image": "ubuntu-22-04-x64",
            "tags": [tag],
            "user_data": user_data,
        });
        let response = Client::new()
            .post(format!("{}/v2/droplets", self.digitalocean.origin()))
            .bearer_auth(self.digitalocean.token())
            .json(&wanted)
            .send()
            .await
            .unwrap();
        let created: Value = response.json().await.unwrap();
        created["droplet"]["id"].as_u64().unwrap()
    }

    /// What the functions write for the toolbox's machine.
    fn user_data(&self) -> String {
        user_data(&CloudInit {
            functions_url: &self.functions.url,
            bootstrap_token: BOOTSTRAP,
            agent_image: "registry.example/agent:1",
            toolbox_id: ToolboxId(TOOLBOX),
            toolbox_name: "Box",
        })
    }

    /// Waits until an answer that makes sense has arrived: those before it have, too.
    async fn until_heeded(&self) {
        let reports = || self.agents.agent_of(TOOLBOX).unwrap().reports;
        let before = reports();
        eventually("an answer makes sense", || reports() > before).await;
    }

    fn phase(&self, droplet: u64) -> Option<Phase> {
        let agents = self.agents.agents();
        agents
            .iter()
            .find(|agent| agent.droplet_id == droplet)
            .map(|agent| agent.phase)
    }
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn order(action: &str) -> Value {
    json!([{
        "account_tool_instance_id": INSTANCE,
        "instance_name_on_toolbox": "search",
        "desired": "running",
        "action": action,
        "generation": 1,
        "image": "registry.example/search",
        "image_tag": "1",
        "image_digest": null,
        "environment": {},
        "resources": {},
    }])
}

#[tokio::test]
async fn a_machine_registers_reports_and_obeys_as_long_as_it_is_on() {
    let worlds = Worlds::start(Plays::All).await;
    let droplet = worlds.create("agentopia:tb:7:1", &worlds.user_data()).await;

    eventually("it reports", || worlds.functions.calls().len() >= 2).await;
    let calls = worlds.functions.calls();
    assert_eq!(calls[0].0, "/heartbeat/register");
    assert_eq!(calls[0].1, format!("Bearer {BOOTSTRAP}"));
    assert_eq!(calls[0].2["claim"].as_str().unwrap().len(), 64);
    assert_eq!(
        (calls[1].0.as_str(), calls[1].1.as_str()),
        ("/heartbeat", "Bearer agt_tb_token")
    );
    assert_eq!(calls[1].2["system_status"]["stand_in"], true);

    *worlds.functions.tools.lock().unwrap() = order("deploy");
    eventually("it has a container", || !worlds.agents.containers(TOOLBOX).is_empty()).await;
    *worlds.functions.tools.lock().unwrap() = order("none");
    eventually("it runs", || {
        worlds.agents.containers(TOOLBOX)[0].state == ContainerState::Running
    })
    .await;
    let last = || worlds.functions.calls().pop().unwrap().2;
    eventually("it says so", || {
        last()["tool_statuses"][0]["status_on_toolbox"] == "running"
    })
    .await;
    assert_eq!(last()["generation"], 3);

    worlds.digitalocean.set_status(droplet, Status::Off);
    eventually("it is off", || worlds.phase(droplet) == Some(Phase::Off)).await;
    worlds.digitalocean.set_status(droplet, Status::Active);
    let before = worlds.functions.calls().len();
    eventually("it is itself again", || worlds.functions.calls().len() > before).await;
    assert_eq!(worlds.functions.calls().pop().unwrap().1, "Bearer agt_tb_token");

    worlds.digitalocean.remove_droplet(droplet);
    eventually("it is gone", || worlds.phase(droplet) == Some(Phase::Destroyed)).await;
    assert_eq!(worlds.agents.agent_of(TOOLBOX), None);
    assert_eq!(worlds.agents.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_machine_is_as_silent_as_it_is_held_to_be() {
    let worlds = Worlds::start(Plays::All).await;
    let calls = |path: &str| worlds.functions.calls().iter().filter(|call| call.0 == path).count();
    worlds.agents.hold_registration(TOOLBOX);
    let droplet = worlds.create("agentopia:tb:7:1", &worlds.user_data()).await;
    eventually("it has booted", || worlds.phase(droplet) == Some(Phase::Registering)).await;
    assert_eq!(worlds.functions.calls(), []);

    worlds.agents.hold_reports(TOOLBOX);
    eventually("it has registered", || worlds.phase(droplet) == Some(Phase::Reporting)).await;
    assert_eq!((calls("/heartbeat/register"), calls("/heartbeat")), (1, 0));

    worlds.agents.speak(TOOLBOX);
    eventually("it reports", || calls("/heartbeat") > 0).await;
    worlds.agents.silence(TOOLBOX);
    eventually("it waits for nothing", || {
        !worlds.agents.agent_of(TOOLBOX).unwrap().is_calling
    })
    .await;
    let heard = calls("/heartbeat");
    worlds.agents.speak(TOOLBOX);
    eventually("it reports again", || calls("/heartbeat") > heard).await;
}

#[tokio::test]
async fn droplets_that_are_nobodys_or_others_are_not_played() {
    let worlds = Worlds::start(Plays::Chosen).await;
    worlds.agents.play("owner-1");
    let foreign = worlds.create("web", "#!/bin/sh").await;
    let others = worlds.create("agentopia:tb:7:owner-2", &worlds.user_data()).await;
    let own = worlds.create("agentopia:tb:7:owner-1", &worlds.user_data()).await;

    eventually("its machine reports", || worlds.phase(own) == Some(Phase::Reporting)).await;
    assert_eq!((worlds.phase(foreign), worlds.phase(others)), (None, None));
}

#[tokio::test]
async fn what_makes_no_sense_is_complained_about() {
    let worlds = Worlds::start(Plays::All).await;
    let dead = worlds.create("agentopia:tb:1:1", "#!/bin/sh\nreboot").await;
    eventually("it is dead", || worlds.phase(dead) == Some(Phase::Dead)).await;
    let droplet = worlds.create("agentopia:tb:7:1", &worlds.user_data()).await;
    eventually("it reports", || worlds.phase(droplet) == Some(Phase::Reporting)).await;

    let mut complaints = worlds.agents.complaints();
    let nonsense = [
        (StatusCode::NOT_FOUND, Some(json!({ "error": "nothing" }))),
        (StatusCode::OK, Some(json!({ "toolbox_id": TOOLBOX }))),
        (
            StatusCode::OK,
            Some(json!({
                "toolbox_id": INSTANCE, "generation": 1, "paused": false, "heartbeat_interval_seconds": 60, "tools": [],
            })),
        ),
    ];
    for (status, body) in nonsense {
        let before = worlds.agents.complaints().len();
        worlds.functions.answer(status, body);
        eventually("it complains", || worlds.agents.complaints().len() > before).await;
        worlds.functions.answer(StatusCode::OK, None);
        worlds.until_heeded().await;
        complaints.extend(worlds.agents.complaints().into_iter().nth(before));
    }
    let before = worlds.agents.complaints().len();
    *worlds.functions.tools.lock().unwrap() = order("stop");
    eventually("it complains", || worlds.agents.complaints().len() > before).await;
    complaints.extend(worlds.agents.complaints().pop());

    // What may happen to anybody is nothing to complain about.
    *worlds.functions.tools.lock().unwrap() = json!([]);
    for status in [StatusCode::UNAUTHORIZED, StatusCode::INTERNAL_SERVER_ERROR] {
        worlds.functions.answer(status, None);
        let is_met = || worlds.agents.agent_of(TOOLBOX).unwrap().last_status == Some(status.as_u16());
        eventually("it is answered so", is_met).await;
        let before = worlds.functions.calls().len();
        eventually("it goes on", || worlds.functions.calls().len() > before + 1).await;
    }
    assert_snapshot!(complaints.join("\n"), @r##"
    droplet 412000001: its user data begins with "#!/bin/sh" and not with "#cloud-config"
    droplet 412000002: it was answered 404 Not Found: {"error":"nothing"}
    droplet 412000002: what a report was answered is not what it should be: missing field `generation`
    droplet 412000002: it was taken for 00000000-0000-0000-0000-000000000008
    droplet 412000002: search cannot be told to Stop: there is none
    "##);
}
