//! How instances are reused, and how they end.

use crate::support::{TestApp, eventually, manifest};
use futures::future::join_all;
use serde_json::Value;
use std::collections::HashSet;
use std::time::Duration;

/// The name of the instance in an answer.
fn instance(answer: &Value) -> String {
    answer["instance"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn instance_is_reused_until_it_has_served_its_requests() {
    let app = TestApp::start_with(&manifest(""), |options| options.reuse.max_requests = 3).await;

    let mut served = Vec::new();
    for _ in 0..6 {
        let answer = app.json("/instance").await;
        served.push((instance(&answer), answer["requests"].as_u64().unwrap()));
    }

    let names: HashSet<_> = served.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 2);
    assert_eq!(
        served.iter().map(|(_, count)| *count).collect::<Vec<_>>(),
        [1, 2, 3, 1, 2, 3]
    );
    let statistics = app.host.statistics().components["probe"];
    assert_eq!((statistics.requests, statistics.instances), (6, 2));
    assert!(statistics.mean_instantiation > Duration::ZERO);
}

#[tokio::test]
async fn requests_at_once_are_apart_unless_told_otherwise() {
    let apart = TestApp::start(&manifest("")).await;
    let together = TestApp::start_with(&manifest(""), |options| options.reuse = Default::default()).await;

    let mut names = Vec::new();
    for app in [&apart, &together] {
        let answers = join_all((0..4).map(|_| app.json("/sleep?ms=300"))).await;
        names.push(answers.iter().map(instance).collect::<HashSet<_>>().len());
    }

    assert_eq!(names[0], 4);
    assert!(names[1] < 4, "{names:?}");
}

#[tokio::test]
async fn idle_instance_ends() {
    let app = TestApp::start_with(&manifest(""), |options| options.reuse.idle = Duration::from_millis(30)).await;
    let first = instance(&app.json("/instance").await);

    eventually("a new instance", async || {
        tokio::time::sleep(Duration::from_millis(60)).await;
        instance(&app.json("/instance").await) != first
    })
    .await;
}

#[tokio::test]
async fn trap_is_a_500_and_a_line_in_the_log_and_nothing_more() {
    let app = TestApp::start(&manifest("")).await;

    let response = app.get("/trap").await;

    assert_eq!(response.status(), 500);
    assert_eq!(response.text().await.unwrap(), "");
    app.logged("trapped on request").await;
    app.logged("worker failed: ").await;
    assert_eq!(app.json("/instance").await["requests"], 1);
}

#[tokio::test]
async fn trap_takes_the_other_requests_of_its_instance_with_it() {
    let app = TestApp::start_with(&manifest(""), |options| options.reuse = Default::default()).await;

    // Which instance takes a request is up to the moment: two at once are mostly in one.
    eventually("a request that shares the instance of one that traps", async || {
        let (sleeping, trapped) = futures::join!(app.get("/sleep?ms=700"), app.get("/trap?ms=300"));
        assert_eq!(trapped.status(), 500);
        sleeping.status() == 500
    })
    .await;
}

#[tokio::test]
async fn request_that_takes_too_long_is_a_500() {
    let app = TestApp::start_with(&manifest(""), |options| {
        options.request_timeout = Some(Duration::from_millis(200));
    })
    .await;

    assert_eq!(app.get("/sleep?ms=60000").await.status(), 500);
    assert_eq!(app.get("/spin").await.status(), 500);
    assert_eq!(app.json("/instance").await["requests"], 1);
}

#[tokio::test]
async fn guest_that_only_computes_does_not_stop_the_others() {
    let app = TestApp::start(&manifest("")).await;
    let busy = std::thread::available_parallelism().unwrap().get() + 1;

    let spinning = join_all((0..busy).map(|_| app.get("/spin?ms=1500")));
    let answering = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let begun = std::time::Instant::now();
        app.get("/instance").await;
        begun.elapsed()
    };
    let (_, waited) = futures::join!(spinning, answering);

    assert!(waited < Duration::from_millis(1000), "an answer took {waited:?}");
}

#[tokio::test]
async fn lines_of_the_log_are_whole() {
    let app = TestApp::start(&manifest("")).await;

    join_all((0..8).map(|_| app.get("/log?lines=50&text=word"))).await;

    let lines = app.log.lines("probe");
    assert_eq!(lines.len(), 8 * 50 * 2);
    assert!(lines.iter().all(|line| {
        let rest = line.strip_prefix("word ").unwrap();
        rest.strip_prefix("error ").unwrap_or(rest).parse::<u32>().is_ok()
    }));
}
