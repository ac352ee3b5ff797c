//! The stand-in for the worker manager, against functions that answer what a test wants.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use agentopia_stack::worlds::worker_manager::{Call, Fault, Login, Pace, ProcessStatus, Worker};
use agentopia_stack::worlds::{WorkerManagerOptions, WorkerManagerWorld};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::{Json, Router};
use insta::{assert_json_snapshot, assert_snapshot};
use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use uuid::Uuid;

const AGENT: Uuid = Uuid::from_u128(1);
const OTHER_AGENT: Uuid = Uuid::from_u128(2);
const CONNECTION: Uuid = Uuid::from_u128(3);
const LEASE: Uuid = Uuid::from_u128(4);
const GUILD: u64 = 199_737_254_929_760_256;
const WORKER_TOKEN: &str = "agt_wk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Functions of which a test says what they answer.
#[derive(Clone)]
struct Functions {
    url: String,
    /// The status, and the body where there is one that is not the usual.
    answer: Arc<Mutex<(StatusCode, Option<Value>)>>,
    should_stop: Arc<Mutex<bool>>,
    /// What was called, with what token and body, oldest first.
    calls: Arc<Mutex<Vec<(String, String, Value)>>>,
}

impl Functions {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let functions = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            answer: Arc::new(Mutex::new((StatusCode::OK, None))),
            should_stop: Arc::default(),
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

    /// The statuses that were reported.
    fn reported(&self) -> Vec<String> {
        let statuses = self.calls().into_iter();
        statuses
            .map(|call| call.2["status"].as_str().unwrap().to_owned())
            .collect()
    }
}

async fn answer(State(functions): State<Functions>, request: Request) -> (StatusCode, Json<Value>) {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1_000_000).await.unwrap();
    let path = parts.uri.path().to_owned();
    let token = parts.headers["authorization"].to_str().unwrap().to_owned();
    let body: Value = serde_json::from_slice(&body).unwrap();
    functions
        .calls
        .lock()
        .unwrap()
        .push((path.clone(), token, body.clone()));

    let (status, given) = functions.answer.lock().unwrap().clone();
    let usual = if path == "/chat" {
        json!({ "reply": "It is five." })
    } else {
        json!({
            "status": body["status"],
            "should_stop": *functions.should_stop.lock().unwrap(),
            "lease_seconds": 180,
            "inactivity_timeout_minutes": 7,
            "guilds": [{ "guild_id": GUILD.to_string(), "allowed_channel_ids": ["12"] }],
        })
    };
    (status, Json(given.unwrap_or(usual)))
}

/// Both worlds.
struct Worlds {
    functions: Functions,
    manager: WorkerManagerWorld,
}

impl Worlds {
    async fn start() -> Self {
        Self::with(WorkerManagerOptions {
            login_after: Duration::from_millis(5),
            pace: Pace::Every(Duration::from_millis(20)),
            ..WorkerManagerOptions::default()
        })
        .await
    }

    async fn with(options: WorkerManagerOptions) -> Self {
        Self {
            functions: Functions::start().await,
            manager: WorkerManagerWorld::start(options).await.unwrap(),
        }
    }

    /// What the functions send to have an agent's worker started.
    fn order(&self, agent: Uuid) -> Value {
        json!({
            "agentId": agent,
            "connectionDbId": CONNECTION,
            "botToken": format!("bot-of-{agent}"),
            "agentName": "Ada",
            "systemPrompt": "Be kind.",
            "inactivityTimeout": 10,
            "leaseId": LEASE,
            "workerToken": WORKER_TOKEN,
            "functionsUrl": self.functions.url,
            "guildIds": [GUILD.to_string()],
        })
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        let request = Client::new().post(format!("{}{path}", self.manager.url()));
        request.bearer_auth(self.manager.token()).json(body)
    }

    fn get(&self, path: &str) -> RequestBuilder {
        let request = Client::new().get(format!("{}{path}", self.manager.url()));
        request.bearer_auth(self.manager.token())
    }

    async fn launch(&self, agent: Uuid) {
        let (status, answer) = send(self.post("/start-worker", &self.order(agent))).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn halt(&self, agent: Uuid) {
        let (status, answer) = send(self.post("/stop-worker", &json!({ "agentId": agent }))).await;
        assert_eq!(status, 200, "{answer}");
    }

    fn worker(&self) -> Worker {
        self.manager.worker(AGENT).unwrap()
    }

    async fn until_reported(&self) {
        let reports = || self.manager.worker(AGENT).map_or(0, |worker| worker.reports);
        let before = reports();
        eventually("a report is taken", || reports() > before).await;
    }

    async fn until_ended(&self, status: ProcessStatus) {
        eventually("it has ended", || self.worker().status == status).await;
    }
}

async fn send(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}

async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(10), "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_worker_logs_in_reports_answers_and_stops() {
    let worlds = Worlds::start().await;
    worlds.launch(AGENT).await;
    worlds.until_reported().await;

    let (path, token, report) = worlds.functions.calls().remove(0);
    assert_eq!(path, "/manage-discord-worker/report");
    assert_eq!(token, format!("Bearer {WORKER_TOKEN}"));
    assert_json_snapshot!(report, { ".report.ask_it_at" => "…" }, @r#"
    {
      "leaseId": "00000000-0000-0000-0000-000000000004",
      "report": {
        "ask_it_at": "…",
        "guilds": 1,
        "note": "No connection to Discord is behind this: a stand-in says what a worker would say.",
        "stand_in": true
      },
      "status": "active"
    }
    "#);
    let worker = worlds.worker();
    assert_eq!((worker.status, worker.is_logged_in), (ProcessStatus::Online, true));
    assert_eq!(
        (worker.said.as_deref(), worker.inactivity_timeout_minutes),
        (Some("active"), 7)
    );
    let told = (GUILD.to_string(), Some(vec!["12".to_owned()]));
    assert_eq!(worker.guilds, BTreeMap::from([told]));

    let said = worlds
        .manager
        .say(AGENT, GUILD, 12, 34, "What time is it?")
        .await
        .unwrap();
    assert_eq!((said.status, said.reply()), (200, Some("It is five.")));
    let is_chat = |call: &&(String, String, Value)| call.0 == "/chat";
    let calls = worlds.functions.calls();
    let (_, token, question) = calls.iter().find(is_chat).unwrap();
    assert_eq!(token, &format!("Bearer {WORKER_TOKEN}"));
    assert_json_snapshot!(question, @r#"
    {
      "agentId": "00000000-0000-0000-0000-000000000001",
      "authorId": "34",
      "channelId": "12",
      "guildId": "199737254929760256",
      "message": "What time is it?"
    }
    "#);

    worlds.halt(AGENT).await;
    let worker = worlds.worker();
    assert_eq!(
        (worker.status, worker.said.as_deref()),
        (ProcessStatus::Stopped, Some("inactive"))
    );
    let count = worlds.functions.calls().len();
    assert!(
        worlds
            .manager
            .say(AGENT, GUILD, 12, 34, "Are you there?")
            .await
            .is_err()
    );
    assert_eq!(worlds.functions.calls().len(), count);
    assert_eq!(worlds.manager.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn the_manager_answers_as_the_old_one_did_and_tells_the_status() {
    let worlds = Worlds::start().await;
    let agent = json!({ "agentId": AGENT });
    let status = format!("/status?agent_id={AGENT}");
    let mut answers = Vec::new();
    let mut note = async |name: &str, request: RequestBuilder| {
        let (status, body) = send(request).await;
        answers.push(format!("{name}: {status} {body}"));
    };

    note("none to stop", worlds.post("/stop-worker", &agent)).await;
    note("none to restart", worlds.post("/restart-worker", &agent)).await;
    note("none to show", worlds.get(&status)).await;
    note("start", worlds.post("/start-worker", &worlds.order(AGENT))).await;
    note("start again", worlds.post("/start-worker", &worlds.order(AGENT))).await;
    note("show", worlds.get(&status)).await;
    note("restart", worlds.post("/restart-worker", &agent)).await;
    note("stop", worlds.post("/stop-worker", &agent)).await;
    note("list", worlds.get("/list-workers")).await;

    assert_snapshot!(answers.join("\n"), @r#"
    none to stop: 200 {"message":"Worker worker-00000000-0000-0000-0000-000000000001 stopped."}
    none to restart: 404 {"error":"Worker not found"}
    none to show: 404 {"error":"Worker not found"}
    start: 200 {"message":"Worker worker-00000000-0000-0000-0000-000000000001 started."}
    start again: 200 {"message":"Worker worker-00000000-0000-0000-0000-000000000001 is already running."}
    show: 200 {"agentId":"00000000-0000-0000-0000-000000000001","connectionDbId":"00000000-0000-0000-0000-000000000003","cpu":0.1,"memory":92000000,"name":"worker-00000000-0000-0000-0000-000000000001","pm2_env":{"env":{"DISCORD_BOT_TOKEN":"bot-of-00000000-0000-0000-0000-000000000001","WORKER_TOKEN":"agt_wk_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},"restart_time":0,"status":"online"},"status":"online"}
    restart: 200 {"message":"Worker worker-00000000-0000-0000-0000-000000000001 started."}
    stop: 200 {"message":"Worker worker-00000000-0000-0000-0000-000000000001 stopped."}
    list: 200 [{"agentId":"00000000-0000-0000-0000-000000000001","connectionDbId":"00000000-0000-0000-0000-000000000003","cpu":0.1,"memory":92000000,"name":"worker-00000000-0000-0000-0000-000000000001","status":"stopped"}]
    "#);
    assert_eq!(worlds.manager.calls(AGENT, Call::Start), 2);
    assert_eq!(worlds.manager.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stop_of_another_lease_leaves_the_worker() {
    let worlds = Worlds::start().await;
    worlds.launch(AGENT).await;
    let stop = |lease: Uuid| worlds.post("/stop-worker", &json!({ "agentId": AGENT, "leaseId": lease }));

    let (status, answer) = send(stop(OTHER_AGENT)).await;
    assert_eq!(
        (status, worlds.worker().status),
        (200, ProcessStatus::Online),
        "{answer}"
    );

    let (status, answer) = send(stop(LEASE)).await;
    assert_eq!(
        (status, worlds.worker().status),
        (200, ProcessStatus::Stopped),
        "{answer}"
    );
    assert_eq!(worlds.manager.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn only_the_token_opens_it() {
    let worlds = Worlds::start().await;
    let list = || Client::new().get(format!("{}/list-workers", worlds.manager.url()));

    assert_snapshot!(format!("{:?}", send(list()).await), @r#"(401, Object {"error": String("Missing or malformed authorization header")})"#);
    assert_snapshot!(format!("{:?}", send(list().basic_auth("a", Some("b"))).await), @r#"(401, Object {"error": String("Missing or malformed authorization header")})"#);
    assert_snapshot!(format!("{:?}", send(list().bearer_auth("guessed")).await), @r#"(403, Object {"error": String("Invalid secret key")})"#);
    let authorized: Vec<_> = worlds
        .manager
        .requests()
        .iter()
        .map(|request| request.is_authorized)
        .collect();
    assert_eq!(authorized, [false; 3]);
    assert_eq!(worlds.manager.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn what_nobody_could_act_on_is_complained_about() {
    let worlds = Worlds::start().await;
    let changes: [(&str, Value); 9] = [
        ("agentId", json!("1")),
        ("connectionDbId", Value::Null),
        ("botToken", json!("")),
        ("agentName", json!("")),
        ("workerToken", json!("agt_tb_A")),
        ("functionsUrl", json!("https://functions.example/")),
        ("guildIds", json!(["a guild"])),
        ("inactivityTimeout", json!(-1)),
        ("timeoutMinutes", json!(10)),
    ];
    for (field, value) in changes {
        let mut order = worlds.order(AGENT);
        order[field] = value;
        let (status, _) = send(worlds.post("/start-worker", &order)).await;
        assert_eq!(status, 400, "{field}");
    }
    let mut order = worlds.order(AGENT);
    order.as_object_mut().unwrap().remove("leaseId");
    let unannounced = worlds.get("/").body(worlds.order(AGENT).to_string()).build().unwrap();
    let mut unannounced = RequestBuilder::from_parts(Client::new(), unannounced).build().unwrap();
    *unannounced.method_mut() = reqwest::Method::POST;
    unannounced.url_mut().set_path("/start-worker");
    for request in [
        worlds.post("/start-worker", &order),
        RequestBuilder::from_parts(Client::new(), unannounced),
        worlds.post("/stop-worker", &json!({})),
        worlds.get("/status"),
    ] {
        assert_eq!(send(request).await.0, 400);
    }
    assert_eq!(send(worlds.post("/workers", &json!({}))).await.0, 404);

    assert_eq!(worlds.manager.workers(), []);
    assert_snapshot!(worlds.manager.complaints().join("\n"), @r#"
    POST /start-worker: UUID parsing failed: invalid length: found 1
    POST /start-worker: invalid type: null, expected a formatted UUID string
    POST /start-worker: botToken is empty
    POST /start-worker: agentName is empty
    POST /start-worker: workerToken is not the token of a worker
    POST /start-worker: functionsUrl is not a URL without a slash at the end
    POST /start-worker: guildIds are not all ids of Discord's
    POST /start-worker: invalid value: integer `-1`, expected u32
    POST /start-worker: unknown field `timeoutMinutes`, expected one of `agentId`, `connectionDbId`, `botToken`, `agentName`, `systemPrompt`, `agentInstructions`, `inactivityTimeout`, `leaseId`, `workerToken`, `functionsUrl`, `guildIds`
    POST /start-worker: missing field `leaseId`
    POST /start-worker: the body is not announced as JSON
    POST /stop-worker: missing field `agentId`
    GET /status: agent_id is missing or no UUID
    POST /workers: there is no such route
    "#);
}

#[tokio::test]
async fn a_login_that_fails_is_told_once_and_one_that_hangs_is_not() {
    for (login, expected) in [
        (Login::Unauthorized, "unauthorized 4004 Authentication failed."),
        (Login::BadIntents, "bad_intents 4014 Disallowed intent(s)."),
        (Login::Fails, "error login_failed The gateway closed the connection."),
    ] {
        let worlds = Worlds::start().await;
        worlds.manager.set_login(AGENT, login);

        worlds.launch(AGENT).await;

        worlds.until_ended(ProcessStatus::Errored).await;
        let calls = worlds.functions.calls();
        let [(_, _, report)] = calls.as_slice() else {
            panic!("{calls:?}")
        };
        let text = |name: &str| report[name].as_str().unwrap();
        assert_eq!(
            format!("{} {} {}", text("status"), text("errorCode"), text("errorMessage")),
            expected
        );
    }

    let worlds = Worlds::start().await;
    worlds.manager.set_login(AGENT, Login::Hangs);
    worlds.launch(AGENT).await;
    worlds.launch(OTHER_AGENT).await;
    let other = || worlds.manager.worker(OTHER_AGENT).unwrap();
    eventually("the other has reported", || other().reports > 1).await;
    assert!(!worlds.functions.reported().is_empty());
    assert_eq!(
        (worlds.worker().status, worlds.worker().reports),
        (ProcessStatus::Online, 0)
    );
    worlds.halt(AGENT).await;
    assert_eq!(worlds.worker().said.as_deref(), Some("inactive"));
}

#[tokio::test]
async fn a_worker_ends_as_it_is_told_or_by_itself() {
    let worlds = Worlds::start().await;
    let last = || worlds.functions.reported().pop().unwrap();

    worlds.launch(AGENT).await;
    worlds.until_reported().await;
    *worlds.functions.should_stop.lock().unwrap() = true;
    worlds.until_ended(ProcessStatus::Stopped).await;
    assert_eq!(last(), "inactive");
    *worlds.functions.should_stop.lock().unwrap() = false;

    worlds.launch(AGENT).await;
    worlds.until_reported().await;
    worlds.manager.idle_out(AGENT);
    worlds.until_ended(ProcessStatus::Stopped).await;
    assert_eq!(last(), "inactive");
    assert_eq!(worlds.functions.calls().pop().unwrap().2["errorCode"], "idle");

    worlds.launch(AGENT).await;
    worlds.until_reported().await;
    worlds.manager.interrupt(AGENT);
    worlds.until_ended(ProcessStatus::Stopped).await;
    assert_eq!(last(), "inactive");
    assert_eq!(worlds.functions.calls().pop().unwrap().2.get("errorCode"), None);

    worlds.launch(AGENT).await;
    worlds.until_reported().await;
    worlds.manager.crash(AGENT);
    worlds.until_ended(ProcessStatus::Errored).await;
    assert_eq!(last(), "error");

    for status in [StatusCode::UNAUTHORIZED, StatusCode::CONFLICT] {
        worlds.launch(AGENT).await;
        worlds.until_reported().await;
        worlds.functions.answer(status, None);
        worlds.until_ended(ProcessStatus::Stopped).await;
        assert_eq!(
            (last().as_str(), worlds.worker().last_answer),
            ("active", Some(status.as_u16()))
        );
        worlds.functions.answer(StatusCode::OK, None);
    }

    worlds.launch(AGENT).await;
    worlds.until_reported().await;
    worlds.manager.kill(AGENT);
    assert_eq!(
        (last().as_str(), worlds.worker().status),
        ("active", ProcessStatus::Errored)
    );
    assert_eq!(worlds.manager.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_worker_that_is_cut_off_runs_and_is_not_heard() {
    let worlds = Worlds::start().await;
    worlds.launch(AGENT).await;
    worlds.until_reported().await;

    worlds.manager.silence(AGENT);
    worlds.launch(OTHER_AGENT).await;
    // A report may be on its way; the ones of the other come as often.
    let other = || worlds.manager.worker(OTHER_AGENT).unwrap().reports;
    eventually("the other has reported", || other() > 1).await;
    let (heard, others) = (worlds.worker().reports, other());
    eventually("the other has reported again", || other() > others + 3).await;
    assert_eq!(
        (worlds.worker().status, worlds.worker().reports),
        (ProcessStatus::Online, heard)
    );

    worlds.manager.speak(AGENT);
    worlds.until_reported().await;
    worlds.manager.silence(AGENT);
    worlds.halt(AGENT).await;
    assert_eq!(
        (worlds.worker().status, worlds.worker().said.as_deref()),
        (ProcessStatus::Stopped, Some("active"))
    );
}

#[tokio::test]
async fn what_may_happen_to_any_functions_does_not_end_a_worker_and_nonsense_is_complained_about() {
    let worlds = Worlds::start().await;
    worlds.launch(AGENT).await;
    worlds.until_reported().await;

    let passing = [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::TOO_MANY_REQUESTS];
    for status in passing {
        worlds.functions.answer(status, None);
        eventually("it is answered so", || {
            worlds.worker().last_answer == Some(status.as_u16())
        })
        .await;
        worlds.functions.answer(StatusCode::OK, None);
        worlds.until_reported().await;
    }
    assert_eq!(worlds.manager.complaints(), Vec::<String>::new());

    let mut complaints = Vec::new();
    for (status, body) in [
        (StatusCode::OK, json!({ "status": "active" })),
        (StatusCode::BAD_REQUEST, json!({ "error": "leaseId is missing" })),
    ] {
        let before = worlds.manager.complaints().len();
        worlds.functions.answer(status, Some(body));
        eventually("it complains", || worlds.manager.complaints().len() > before).await;
        worlds.functions.answer(StatusCode::OK, None);
        worlds.until_reported().await;
        complaints.extend(worlds.manager.complaints().into_iter().nth(before));
    }
    assert_snapshot!(complaints.join("\n"), @r#"
    worker of 00000000-0000-0000-0000-000000000001: what a report was answered is not what it should be: missing field `should_stop`
    worker of 00000000-0000-0000-0000-000000000001: a report was answered 400 Bad Request: {"error":"leaseId is missing"}
    "#);
}

#[tokio::test]
async fn two_workers_of_one_bot_are_complained_about() {
    let worlds = Worlds::start().await;
    worlds.launch(AGENT).await;
    let mut order = worlds.order(OTHER_AGENT);
    order["botToken"] = worlds.order(AGENT)["botToken"].clone();

    send(worlds.post("/start-worker", &order)).await;

    assert_snapshot!(worlds.manager.complaints().join("\n"), @"worker of 00000000-0000-0000-0000-000000000002: the worker of 00000000-0000-0000-0000-000000000001 is logged in with the same bot");
}

#[tokio::test]
async fn faults_strike_what_they_are_for_and_what_is_done_is_done() {
    let worlds = Worlds::start().await;
    let start = |agent| {
        worlds
            .post("/start-worker", &worlds.order(agent))
            .timeout(Duration::from_millis(300))
    };
    let fails = async |fault: Fault| {
        worlds.manager.fail(AGENT, Call::Start, fault, 1);
        let answer = match start(AGENT).send().await {
            Ok(response) => format!("{} {}", response.status().as_u16(), response.text().await.unwrap()),
            Err(error) if error.is_timeout() => "nothing".to_owned(),
            Err(_) => "a connection that breaks".to_owned(),
        };
        let is_up = worlds
            .manager
            .worker(AGENT)
            .is_some_and(|worker| worker.status == ProcessStatus::Online);
        worlds.halt(AGENT).await;
        format!("{fault:?}: {answer}, {}", if is_up { "started" } else { "not started" })
    };
    worlds.manager.fail(None, Call::Restart, Fault::Break, 1);

    let mut outcomes = Vec::new();
    for fault in [
        Fault::Status(503),
        Fault::RateLimited(Some(Duration::from_secs(7))),
        Fault::RateLimited(None),
        Fault::Stall,
        Fault::Drop,
        Fault::DoneAndFailed,
        Fault::Malformed,
        Fault::Silence,
        Fault::Break,
    ] {
        outcomes.push(fails(fault).await);
    }

    assert_snapshot!(outcomes.join("\n"), @r#"
    Status(503): 503 {"error":"The stand-in was asked to refuse."}, not started
    RateLimited(Some(7s)): 429 {"error":"Too many requests"}, not started
    RateLimited(None): 429 {"error":"Too many requests"}, not started
    Stall: nothing, started
    Drop: a connection that breaks, started
    DoneAndFailed: 500 {"error":"pm2 failed"}, started
    Malformed: 200 <html>It works!</html>, started
    Silence: nothing, not started
    Break: a connection that breaks, not started
    "#);
    worlds.manager.fail(AGENT, Call::Start, Fault::Babble, 1);
    let (status, answer) = send(start(AGENT)).await;
    assert_eq!(status, 500);
    assert!(answer.to_string().contains(WORKER_TOKEN), "{answer}");
    worlds.manager.fail(AGENT, Call::Any, Fault::Status(500), 9);
    worlds.launch(OTHER_AGENT).await;
    worlds.manager.mend(AGENT);
    worlds.launch(AGENT).await;
    assert_eq!(worlds.manager.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn somebody_may_be_heard_over_http_too() {
    let worlds = Worlds::start().await;
    let say = format!("{}/workers/{AGENT}/say", worlds.manager.url());
    let question = json!({ "guildId": "1", "channelId": "2", "authorId": "3", "message": "What time is it?" });
    let ask = || Client::new().post(&say).json(&question);
    assert_snapshot!(format!("{:?}", send(ask()).await), @r#"(409, Object {"error": String("no worker of 00000000-0000-0000-0000-000000000001 is logged in")})"#);

    worlds.launch(AGENT).await;
    worlds.until_reported().await;

    assert_snapshot!(format!("{:?}", send(ask()).await), @r#"(200, Object {"reply": String("It is five.")})"#);
    let reports = worlds.functions.calls();
    assert_eq!(reports[0].2["report"]["ask_it_at"], say);
}

#[tokio::test]
async fn workers_report_as_they_are_told() {
    let worlds = Worlds::with(WorkerManagerOptions {
        login_after: Duration::ZERO,
        pace: Pace::AsTold {
            at_most: Duration::from_millis(20),
        },
        ..WorkerManagerOptions::default()
    })
    .await;

    worlds.launch(AGENT).await;

    // It is told 180 seconds, which is more than it ever waits here.
    eventually("it reports", || worlds.worker().reports > 2).await;
    worlds.functions.answer(
        StatusCode::OK,
        Some(json!({ "status": "active", "should_stop": false, "lease_seconds": 0, "inactivity_timeout_minutes": 0, "guilds": [] })),
    );
    eventually("it has heard", || worlds.worker().inactivity_timeout_minutes == 0).await;
    assert_eq!(worlds.worker().guilds, BTreeMap::new());
}
