//! Schedules, with the application's own scheduled component and a server for it to ask.

use crate::support::{TestApp, Upstream, component, eventually, head, heartbeat_schedule, manifest, read_request};
use agentopia_host::{HostError, TickError};
use serde_json::Value;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

const TOKEN: &str = "canary-of-the-service-token";

/// Every second, which is as often as a schedule can be.
const EVERY_SECOND: &str = "* * * * * *";

/// Once a year: never in a test.
const NEVER: &str = "0 0 0 29 2 *";

/// An application of one scheduled component.
struct Schedule {
    expression: &'static str,
    url: String,
    allowed: String,
    token: &'static str,
    timeout_ms: &'static str,
}

impl Schedule {
    /// One that asks a server, and may.
    fn of(upstream: &Upstream) -> Self {
        Self {
            expression: NEVER,
            url: format!("{}/functions/v1/heartbeat/sweep", upstream.url()),
            allowed: upstream.url(),
            token: TOKEN,
            timeout_ms: "10000",
        }
    }

    fn manifest(&self) -> String {
        let Self {
            expression,
            url,
            allowed,
            token,
            timeout_ms,
        } = self;
        format!(
            "{}[[trigger.cron]]\ncron_expression = {expression:?}\ncomponent = \"tick\"\n\
             [component.tick]\nsource = {:?}\nallowed_outbound_hosts = [{allowed:?}]\n\
             [component.tick.variables]\nsweep_url = {url:?}\nservice_token = {token:?}\nsweep_timeout_ms = {timeout_ms:?}\n",
            head(),
            heartbeat_schedule().to_str().unwrap(),
        )
    }

    async fn start(&self) -> TestApp {
        TestApp::start(&self.manifest()).await
    }
}

/// A server that answers every request with a status, and keeps the requests' heads.
async fn answering(status: &'static str) -> (Upstream, Arc<Mutex<Vec<String>>>) {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    let upstream = Upstream::start(move |mut stream| {
        let kept = Arc::clone(&kept);
        async move {
            while let Some(request) = read_request(&mut stream).await? {
                kept.lock().unwrap().push(request.head);
                let answer = format!("HTTP/1.1 {status}\r\nx-request-id: req_1\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).await?;
            }
            Ok(())
        }
    })
    .await;
    (upstream, heads)
}

/// A server that answers only when it is let go.
async fn held() -> (Upstream, watch::Sender<bool>) {
    let (release, released) = watch::channel(false);
    let upstream = Upstream::start(move |mut stream| {
        let mut released = released.clone();
        async move {
            while read_request(&mut stream).await?.is_some() {
                tokio::select! {
                    _ = released.wait_for(|released| *released) => {}
                    // Nothing comes after a request: the client has left.
                    left = stream.read_u8() => { left?; }
                }
                stream
                    .write_all(b"HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n")
                    .await?;
            }
            Ok(())
        }
    })
    .await;
    (upstream, release)
}

/// The component's last line in the log.
fn last_line(app: &TestApp) -> Value {
    serde_json::from_str(app.log.lines("tick").last().unwrap()).unwrap()
}

#[tokio::test]
async fn tick_posts_with_the_token_and_says_so() {
    let (upstream, heads) = answering("200 OK").await;
    let app = Schedule::of(&upstream).start().await;

    app.host.run_schedule("tick").await.unwrap();

    let heads = heads.lock().unwrap().clone();
    assert_eq!(heads.len(), 1);
    assert!(
        heads[0].starts_with("post /functions/v1/heartbeat/sweep http/1.1\r\n"),
        "{heads:?}"
    );
    assert!(
        heads[0].contains(&format!("authorization: bearer {TOKEN}\r\n")),
        "{heads:?}"
    );
    assert!(
        heads[0].contains(&format!("host: {}\r\n", upstream.address)),
        "{heads:?}"
    );
    assert!(heads[0].contains("content-length: 0\r\n"), "{heads:?}");
    let line = last_line(&app);
    assert_eq!(line["event"], "sweep_requested");
    assert_eq!((&line["level"], &line["status"]), (&"info".into(), &200.into()));
    assert_eq!(line["request_id"], "req_1");
    assert_eq!(app.host.statistics().components["tick"].instances, 1);
}

#[tokio::test]
async fn what_is_not_a_success_is_a_failure() {
    let (upstream, _) = answering("401 Unauthorized").await;
    let app = Schedule::of(&upstream).start().await;

    let failure = app.host.run_schedule("tick").await.unwrap_err();

    assert!(matches!(failure, TickError::Failed(_)), "{failure:?}");
    assert_eq!(failure.to_string(), "the sweep answered 401");
    assert_eq!(last_line(&app)["level"], "error");
    assert_eq!(last_line(&app)["cause"], "the sweep answered 401");
}

#[tokio::test]
async fn the_token_is_in_no_log_whatever_happens() {
    let (upstream, _) = answering("500 Internal Server Error").await;
    let usual = Schedule::of(&upstream);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let elsewhere = format!("http://{closed}/sweep");
    for schedule in [
        Schedule {
            allowed: format!("http://{closed}"),
            url: elsewhere.clone(),
            ..Schedule::of(&upstream)
        },
        Schedule {
            url: elsewhere,
            ..Schedule::of(&upstream)
        },
        usual,
    ] {
        let app = schedule.start().await;

        let failure = app.host.run_schedule("tick").await.unwrap_err();

        let lines = app.log.lines("tick");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(!format!("{lines:?} {failure:?}").contains(TOKEN), "{lines:?}");
    }
}

#[tokio::test]
async fn only_allowed_hosts_are_reached() {
    let (upstream, heads) = answering("200 OK").await;
    let app = Schedule {
        allowed: "http://127.0.0.1:1".to_owned(),
        ..Schedule::of(&upstream)
    }
    .start()
    .await;

    let failure = app.host.run_schedule("tick").await.unwrap_err();

    assert_eq!(
        failure.to_string(),
        "the sweep could not be asked: ErrorCode::HttpRequestDenied"
    );
    assert!(heads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn missing_setting_is_named() {
    let (upstream, heads) = answering("200 OK").await;
    let app = Schedule {
        token: "",
        ..Schedule::of(&upstream)
    }
    .start()
    .await;

    let failure = app.host.run_schedule("tick").await.unwrap_err();

    assert_eq!(failure.to_string(), "`service_token` is not set");
    assert_eq!(last_line(&app)["event"], "misconfigured");
    assert!(heads.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_component_waits_as_long_as_it_is_told() {
    let (upstream, _release) = held().await;
    let app = Schedule {
        timeout_ms: "150",
        ..Schedule::of(&upstream)
    }
    .start()
    .await;

    let failure = app.host.run_schedule("tick").await.unwrap_err();

    assert_eq!(failure.to_string(), "the sweep did not answer within 150 ms");
    eventually("the connection's end", async || {
        upstream.closed.load(std::sync::atomic::Ordering::SeqCst) == 1
    })
    .await;
}

#[tokio::test]
async fn the_host_waits_no_longer_than_its_limit() {
    let (upstream, _release) = held().await;
    let manifest = Schedule::of(&upstream).manifest();
    let app = TestApp::start_with(&manifest, |options| options.tick_limit = Duration::from_millis(300)).await;

    let failure = app.host.run_schedule("tick").await.unwrap_err();

    assert!(
        matches!(failure, TickError::TimedOut(limit) if limit == Duration::from_millis(300)),
        "{failure:?}"
    );
    assert_eq!(
        app.log.lines("tick"),
        ["tick failed: the component took longer than 300 ms"]
    );
}

#[tokio::test]
async fn schedules_go_by_the_clock_unless_told_otherwise() {
    let (upstream, heads) = answering("200 OK").await;
    let (idle, idle_heads) = answering("200 OK").await;
    let every_second = |upstream| Schedule {
        expression: EVERY_SECOND,
        ..Schedule::of(upstream)
    };
    let stopped = TestApp::start_with(&every_second(&idle).manifest(), |options| options.cron = false).await;
    let app = every_second(&upstream).start().await;

    eventually("three ticks", async || heads.lock().unwrap().len() >= 3).await;

    assert!(app.host.statistics().components["tick"].instances >= 3);
    assert!(idle_heads.lock().unwrap().is_empty());
    stopped.host.run_schedule("tick").await.unwrap();
    assert_eq!(idle_heads.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn what_falls_into_a_running_tick_is_left_out() {
    let (upstream, release) = held().await;
    let (clock, ticks) = answering("200 OK").await;
    let every_second = |upstream| Schedule {
        expression: EVERY_SECOND,
        ..Schedule::of(upstream)
    };
    let app = every_second(&upstream).start().await;
    let _clock = every_second(&clock).start().await;
    let asked = || upstream.connections.load(std::sync::atomic::Ordering::SeqCst);
    eventually("the first tick", async || asked() == 1).await;
    let begun = ticks.lock().unwrap().len();
    eventually("three more seconds", async || ticks.lock().unwrap().len() >= begun + 3).await;

    assert_eq!(app.host.statistics().components["tick"].instances, 1);

    let since = ticks.lock().unwrap().len();
    release.send_replace(true);
    eventually("two more seconds", async || ticks.lock().unwrap().len() >= since + 2).await;
    let instances = usize::try_from(app.host.statistics().components["tick"].instances).unwrap();
    let seconds = ticks.lock().unwrap().len() - since;
    assert!(
        (2..=seconds + 2).contains(&instances),
        "{instances} instances, {seconds} seconds after the first"
    );
}

#[tokio::test]
async fn ticks_by_hand_come_one_after_the_other() {
    let (upstream, release) = held().await;
    let app = Arc::new(Schedule::of(&upstream).start().await);
    let ticks: Vec<_> = (0..2)
        .map(|_| {
            let app = Arc::clone(&app);
            tokio::spawn(async move { app.host.run_schedule("tick").await })
        })
        .collect();
    eventually("the first tick", async || app.host.statistics().total().instances == 1).await;

    release.send_replace(true);
    for tick in ticks {
        tick.await.unwrap().unwrap();
    }

    assert_eq!(app.host.statistics().total().instances, 2);
}

#[tokio::test]
async fn shutdown_lets_a_tick_end_and_starts_none() {
    let (upstream, release) = held().await;
    let app = Schedule {
        expression: EVERY_SECOND,
        ..Schedule::of(&upstream)
    }
    .start()
    .await;
    eventually("the first tick", async || app.host.statistics().total().instances == 1).await;
    let (host, log) = (app.host, app.log);

    let stopping = tokio::spawn(host.shutdown());
    release.send_replace(true);
    stopping.await.unwrap();

    let lines = log.lines("tick");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("\"status\":204"), "{lines:?}");
}

#[tokio::test]
async fn kill_ends_a_tick_at_once() {
    let (upstream, _release) = held().await;
    let app = Schedule {
        expression: EVERY_SECOND,
        ..Schedule::of(&upstream)
    }
    .start()
    .await;
    eventually("the first tick", async || app.host.statistics().total().instances == 1).await;
    let begun = Instant::now();

    app.host.kill();

    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(app.log.lines("tick").is_empty());
}

#[tokio::test]
async fn a_schedule_may_ask_its_own_application() {
    let probe = component("probe", "");
    let application = |port: u16| {
        let schedule = Schedule {
            expression: NEVER,
            url: format!("http://127.0.0.1:{port}/instance"),
            allowed: format!("http://127.0.0.1:{port}"),
            token: TOKEN,
            timeout_ms: "10000",
        };
        format!(
            "{}[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n{probe}",
            schedule.manifest()
        )
    };
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let app = TestApp::start_with(&application(free.port()), |options| options.listen = free).await;

    app.host.run_schedule("tick").await.unwrap();

    assert_eq!(app.host.statistics().components["probe"].requests, 1);
}

#[tokio::test]
async fn only_what_a_schedule_starts_can_be_run() {
    let app = TestApp::start(&manifest("")).await;

    let failure = app.host.run_schedule("probe").await.unwrap_err();

    assert!(matches!(failure, TickError::UnknownComponent(_)), "{failure:?}");
}

#[tokio::test]
async fn component_without_the_handler_is_refused() {
    let cron = format!("[[trigger.cron]]\ncron_expression = {NEVER:?}\ncomponent = \"probe\"\n");

    let refusal = TestApp::try_start(&format!("{}{cron}", manifest("")), |_| {})
        .await
        .err();

    assert!(
        matches!(&refusal, Some(HostError::NotACronComponent { component, .. }) if component == "probe"),
        "{refusal:?}"
    );
}
