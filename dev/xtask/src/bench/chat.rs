//! What `chat` adds to a model's stream, and what a component costs before its first request.

use std::time::{Duration, Instant};

use agentopia_application::checkout;
use agentopia_stack::demo;
use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use serde_json::json;

use super::load::{connect, percentile};
use super::setup::{Bench, DELTA_INTERVAL, DELTAS};

/// Turns measured at each number of streams, in all.
const TURNS: u32 = 640;

/// How long one stream takes.
const STREAM: Duration = DELTA_INTERVAL.saturating_mul(DELTAS);

/// When the pieces of an answer came.
#[derive(Default)]
struct Times {
    first: Vec<Duration>,
    last: Vec<Duration>,
}

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    println!(
        "\nchat: streams of {DELTAS} deltas, one each {} ms, against the stand-in directly",
        DELTA_INTERVAL.as_millis()
    );
    // One worker for each stream, before anything counts.
    streams(bench, Route::Chat, 32, 64).await?;
    let before = bench.application.statistics();
    for width in [1, 32] {
        let turns = if width == 1 { TURNS / 8 } else { TURNS };
        let mut direct = streams(bench, Route::Direct, width, turns).await?;
        let mut through = streams(bench, Route::Chat, width, turns).await?;
        for (name, direct, through) in [
            ("first token", &mut direct.first, &mut through.first),
            ("last token", &mut direct.last, &mut through.last),
        ] {
            for (label, share) in [("p50", 0.5), ("p99", 0.99)] {
                let (direct, through) = (percentile(direct, share), percentile(through, share));
                println!(
                    "  {width:>2} streams, {name:<11} {label}   direct {:>7.2} ms   chat {:>7.2} ms   added {:>6.2} ms",
                    milliseconds(direct),
                    milliseconds(through),
                    milliseconds(through) - milliseconds(direct),
                );
            }
        }
    }
    println!("  (aim: added at 32 streams ≤ 2 ms p50, ≤ 6 ms p99)");

    if let (Some(before), Some(after)) = (before, bench.application.statistics()) {
        let component =
            |statistics: &agentopia_host::Statistics| statistics.components.get("chat").copied().unwrap_or_default();
        let (before, after) = (component(&before), component(&after));
        #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark fit a double")]
        let per_turn = (after.exchanges - before.exchanges) as f64 / (after.requests - before.requests).max(1) as f64;
        println!(
            "  database exchanges per turn {per_turn:.2}, statements {}",
            after.statements - before.statements
        );
        println!(
            "  fresh instance {:.3} ms on average of {}",
            milliseconds(after.mean_instantiation),
            after.instances
        );
    }
    sizes()
}

#[derive(Clone, Copy)]
enum Route {
    Direct,
    Chat,
}

async fn streams(bench: &Bench, route: Route, width: u32, turns: u32) -> anyhow::Result<Times> {
    let (url, request) = match route {
        Route::Direct => (bench.openai.origin(), direct_request()?),
        Route::Chat => (bench.application.url().to_owned(), chat_request(&bench.token)?),
    };
    let address = url.strip_prefix("http://").context("not an http URL")?.to_owned();
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..width {
        let (address, request) = (address.clone(), request.clone());
        // Spread over a stream's length: turns of different people do not begin at the same instant.
        let delay = STREAM.mul_f64(f64::from(worker) / f64::from(width));
        workers.spawn(async move {
            tokio::time::sleep(delay).await;
            let mut sender = connect(&address).await?;
            let mut times = Times::default();
            for _ in 0..turns / width {
                let (first, last) = turn(&mut sender, request.clone()).await?;
                times.first.push(first);
                times.last.push(last);
            }
            anyhow::Ok(times)
        });
    }

    let mut all = Times::default();
    while let Some(times) = workers.join_next().await {
        let times = times??;
        all.first.extend(times.first);
        all.last.extend(times.last);
    }
    Ok(all)
}

/// Sends one request, and says when its first and its last piece of text came.
async fn turn(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> anyhow::Result<(Duration, Duration)> {
    sender.ready().await?;
    let sent = Instant::now();
    let response = sender.send_request(request).await?;
    ensure!(response.status().is_success(), "answered {}", response.status());
    let mut body = response.into_body();
    let (mut first, mut last, mut text) = (None, None, Vec::new());
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let carries_text = contains(&data, "event: delta") || has_content(&data);
            if carries_text {
                first = first.or_else(|| Some(sent.elapsed()));
                last = Some(sent.elapsed());
            }
            text.extend_from_slice(&data);
        }
    }
    let is_whole = contains(&text, "event: completed") || contains(&text, "[DONE]");
    ensure!(is_whole, "an answer is not whole: {}", String::from_utf8_lossy(&text));
    Ok((first.context("no text")?, last.context("no text")?))
}

/// Whether a chunk of the provider's stream carries text; its first delta carries a role and an empty text.
fn has_content(bytes: &[u8]) -> bool {
    const MARK: &[u8] = br#""content":""#;
    bytes
        .windows(MARK.len() + 1)
        .any(|window| window.starts_with(MARK) && !window.ends_with(b"\""))
}

fn contains(bytes: &[u8], mark: &str) -> bool {
    bytes.windows(mark.len()).any(|window| window == mark.as_bytes())
}

fn direct_request() -> anyhow::Result<Request<Full<Bytes>>> {
    let body = json!({
        "model": "gpt-4o-mini", "stream": true, "stream_options": { "include_usage": true },
        "messages": [{ "role": "user", "content": "Hello" }],
    });
    request("/v1/chat/completions", "Bearer stand-in", &body)
}

fn chat_request(token: &str) -> anyhow::Result<Request<Full<Bytes>>> {
    request(
        "/functions/v1/chat",
        &format!("Bearer {token}"),
        &json!({ "agentId": demo::ATLAS, "message": "Hello" }),
    )
}

fn request(path: &'static str, authorization: &str, body: &serde_json::Value) -> anyhow::Result<Request<Full<Bytes>>> {
    let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(path);
    let headers = request.headers_mut();
    headers.insert("host", HeaderValue::from_static("bench"));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("accept", HeaderValue::from_static("text/event-stream"));
    headers.insert("authorization", HeaderValue::try_from(authorization)?);
    Ok(request)
}

fn sizes() -> anyhow::Result<()> {
    println!("\ncomponents (aim ≤ 3 MB)");
    for entry in std::fs::read_dir(checkout().join("functions"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let file = checkout()
            .join("target/wasm32-wasip2/release")
            .join(format!("{}.wasm", name.replace('-', "_")));
        let bytes = std::fs::metadata(&file)
            .with_context(|| format!("{name} is not built"))?
            .len();
        #[expect(clippy::cast_precision_loss, reason = "a file's size fits a double")]
        let megabytes = bytes as f64 / 1e6;
        println!("  {name:<32} {megabytes:.2} MB");
    }
    Ok(())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
