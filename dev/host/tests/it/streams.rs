//! Bodies that come piece by piece, and clients that leave.

use crate::support::{TestApp, Upstream, manifest, read_request};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn pieces_arrive_as_they_are_sent() {
    let app = TestApp::start(&manifest("")).await;
    let begun = Instant::now();

    let mut response = app.get("/stream?chunks=2&ms=2000").await;
    let first = response.chunk().await.unwrap().unwrap();

    assert_eq!(first, "chunk 0\n");
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "the first piece waited for the second"
    );
    assert_eq!(response.chunk().await.unwrap().unwrap(), "chunk 1\n");
}

#[tokio::test]
async fn response_of_another_server_streams_through() {
    let upstream = Upstream::start(|mut stream| async move {
        read_request(&mut stream).await?;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        stream.write_all(b"4\r\nlast\r\n0\r\n\r\n").await
    })
    .await;
    let app = TestApp::start(&manifest("allowed_outbound_hosts = [\"http://127.0.0.1:*\"]")).await;
    let begun = Instant::now();

    let mut response = app.get(&format!("/relay?url={}/", upstream.url())).await;

    assert_eq!(response.chunk().await.unwrap().unwrap(), "first");
    assert!(
        begun.elapsed() < Duration::from_millis(1500),
        "the first piece waited for the second"
    );
    assert_eq!(response.chunk().await.unwrap().unwrap(), "last");
    assert_eq!(response.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn client_that_leaves_before_the_head_does_not_stop_the_handler() {
    let app = TestApp::start(&manifest("")).await;
    let request = app.client.get(format!("{}/log?ms=300&text=outlived", app.host.url()));

    let outcome = request.timeout(Duration::from_millis(100)).send().await;

    assert!(outcome.unwrap_err().is_timeout());
    app.logged("outlived 0").await;
}

#[tokio::test]
async fn client_that_leaves_in_a_stream_is_noticed_by_sending() {
    let app = TestApp::start(&manifest("")).await;

    let mut response = app.get("/stream?chunks=1000&ms=10").await;
    response.chunk().await.unwrap();
    drop(response);

    app.logged("client left at chunk").await;
}

#[tokio::test]
async fn work_goes_on_after_the_response() {
    let app = TestApp::start_with(&manifest(""), |options| options.reuse.idle = Duration::from_millis(20)).await;

    let text = app.get("/stream?chunks=1&ms=300").await.text().await.unwrap();

    assert_eq!(text, "chunk 0\n");
    app.logged("stream finished").await;
}
