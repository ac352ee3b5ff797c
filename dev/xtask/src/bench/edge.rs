//! What it costs that a request is answered by a component.

use std::net::Ipv4Addr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::load::{self, Throughput};
use super::setup::{Bench, DURATION};

const CONNECTIONS: usize = 32;

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    let bare_url = serve_bare().await?;
    let component = bench.application.url().to_owned();

    let path = "/functions/v1/chat/health";
    // Instances and connections are warm when it counts.
    get(&component, path, DURATION / 5)?;
    let bare = get(&bare_url, path, DURATION)?;
    let through = get(&component, path, DURATION)?;

    println!(
        "\nedge: GET {path}, {CONNECTIONS} connections, {} s each",
        DURATION.as_secs()
    );
    row("bare hyper handler", &bare);
    row("component", &through);
    println!("  ratio {:.2} (aim ≥ 0.35)", through.per_second / bare.per_second);
    Ok(())
}

/// Gets `path` over and over.
pub(crate) fn get(url: &str, path: &'static str, duration: std::time::Duration) -> anyhow::Result<Throughput> {
    let mut request = Request::new(Full::<Bytes>::default());
    *request.uri_mut() = http::Uri::from_static(path);
    request
        .headers_mut()
        .insert("host", http::HeaderValue::from_static("bench"));
    tokio::task::block_in_place(|| load::http(url, CONNECTIONS, duration, &[request]))
}

/// One line of a table of throughputs.
pub(crate) fn row(name: &str, throughput: &Throughput) {
    let share = throughput
        .load_share
        .map_or_else(|| "unknown".to_owned(), |share| format!("{:.0} %", share * 100.0));
    println!(
        "  {name:<44} {:>8.0}/s   p50 {:>6.2} ms   p99 {:>6.2} ms   load generator's share {share}",
        throughput.per_second,
        throughput.p50.as_secs_f64() * 1000.0,
        throughput.p99.as_secs_f64() * 1000.0,
    );
}

/// The least that an HTTP server can do: the same body, the same keep-alive.
async fn serve_bare() -> anyhow::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A test of speed may do without it; the figure would then be the delay's.
            let _best_effort = stream.set_nodelay(true);
            tokio::spawn(async move {
                let service = service_fn(async |_request| {
                    let body = Full::new(Bytes::from_static(
                        br#"{"status":"healthy","timestamp":"2026-01-01T00:00:00.000Z"}"#,
                    ));
                    Ok::<_, std::convert::Infallible>(Response::new(body))
                });
                let _closed = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    Ok(url)
}
