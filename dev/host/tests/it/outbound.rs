//! Requests that a component makes.

use crate::support::{TestApp, Upstream, component, eventually, head, manifest, read_request};
use serde_json::json;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

const LOOPBACK: &str = "allowed_outbound_hosts = [\"http://127.0.0.1:*\", \"http://nobody.invalid\"]";

#[tokio::test]
async fn allowed_host_is_called_over_one_kept_connection() {
    let upstream = Upstream::echo().await;
    let app = TestApp::start(&manifest(LOOPBACK)).await;

    for _ in 0..3 {
        let url = format!("{}/outbound?url={}/path", app.host.url(), upstream.url());
        let response = app.client.post(url).body("hello").send().await.unwrap();
        let answer: serde_json::Value = response.json().await.unwrap();
        assert_eq!((&answer["status"], &answer["body"]), (&json!(200), &json!("hello")));
    }

    assert_eq!(upstream.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn other_hosts_are_denied() {
    let upstream = Upstream::echo().await;
    let app = TestApp::start(&manifest("allowed_outbound_hosts = [\"https://api.example:443\"]")).await;

    for url in [
        upstream.url(),
        "http://api.example/".into(),
        "http://probe.spin.internal/".into(),
        "http://self.alt/".into(),
    ] {
        assert_eq!(
            app.json(&format!("/outbound?url={url}")).await,
            json!({ "error": "HttpRequestDenied" }),
            "{url}"
        );
    }
    assert_eq!(upstream.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn allowed_hosts_may_come_from_variables() {
    let upstream = Upstream::echo().await;
    let fields = "allowed_outbound_hosts = [\"{{ upstream }}\", \"{{ optional }}\"]";
    let variables = "[variables]\nupstream = { required = true }\noptional = { default = \"\" }\n";
    let app = TestApp::start_with(&format!("{}{variables}", manifest(fields)), |options| {
        options.variables.insert("upstream".into(), upstream.url());
    })
    .await;

    assert_eq!(
        app.json(&format!("/outbound?url={}/", upstream.url())).await["status"],
        200
    );
}

#[tokio::test]
async fn failures_to_connect_have_their_names() {
    let app = TestApp::start(&manifest(LOOPBACK)).await;
    let free_port = TcpSocket::new_v4().unwrap();
    free_port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let refused = free_port.local_addr().unwrap();

    let answer = app.json(&format!("/outbound?url=http://{refused}/")).await;
    assert_eq!(answer, json!({ "error": "ConnectionRefused" }));
    let answer = app.json("/outbound?url=http://nobody.invalid/").await;
    assert_eq!(answer, json!({ "error": "DnsError" }));
}

#[tokio::test]
async fn connect_limit_is_kept() {
    // A socket whose queue is full leaves further connections waiting.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await {
        waiting.push(stream);
    }
    let app = TestApp::start(&manifest(LOOPBACK)).await;

    let answer = app.json(&format!("/outbound?connect=100&url=http://{address}/")).await;

    assert_eq!(answer, json!({ "error": "ConnectionTimeout" }));
}

#[tokio::test]
async fn first_byte_limit_is_kept() {
    let upstream = Upstream::start(|mut stream| async move {
        read_request(&mut stream).await?;
        // Says nothing until the client leaves.
        stream.read_u8().await.map(drop)
    })
    .await;
    let app = TestApp::start(&manifest(LOOPBACK)).await;

    let answer = app
        .json(&format!("/outbound?first_byte=100&url={}/", upstream.url()))
        .await;

    assert_eq!(answer, json!({ "error": "ConnectionReadTimeout" }));
    eventually("the connection's end", async || {
        upstream.closed.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[tokio::test]
async fn between_bytes_limit_is_kept() {
    let upstream = Upstream::start(|mut stream| async move {
        read_request(&mut stream).await?;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345")
            .await?;
        stream.read_u8().await.map(drop)
    })
    .await;
    let app = TestApp::start(&manifest(LOOPBACK)).await;

    let answer = app
        .json(&format!("/outbound?between_bytes=100&url={}/", upstream.url()))
        .await;

    assert_eq!(answer, json!({ "status": 200, "body_error": "ConnectionReadTimeout" }));
    eventually("the connection's end", async || {
        upstream.closed.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[tokio::test]
async fn dropping_a_response_closes_its_connection() {
    let upstream = Upstream::start(|mut stream| async move {
        read_request(&mut stream).await?;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .await?;
        stream.read_u8().await.map(drop)
    })
    .await;
    let app = TestApp::start(&manifest(LOOPBACK)).await;

    assert_eq!(
        app.json(&format!("/abandon?url={}/", upstream.url())).await,
        json!({ "first": "first" })
    );

    eventually("the connection's end", async || {
        upstream.closed.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[tokio::test]
async fn application_calls_itself_where_allowed() {
    let manifest = format!(
        "{}[[trigger.http]]\nroute = \"/caller/...\"\ncomponent = \"caller\"\n[[trigger.http]]\nroute = \"/probe/...\"\ncomponent = \"probe\"\n{}{}",
        head(),
        component("caller", "allowed_outbound_hosts = [\"http://self\"]"),
        component("probe", ""),
    );
    let app = TestApp::start(&manifest.replace("/caller/...", "/...")).await;

    let answer = app.json("/outbound?url=http://self.alt/probe/instance").await;

    assert_eq!(answer["status"], 200);
    assert_eq!(app.host.statistics().components["probe"].requests, 1);
}

#[tokio::test]
async fn trap_of_a_called_component_is_its_500() {
    let manifest = format!(
        "{}[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n[[trigger.http]]\nroute = {{ private = true }}\ncomponent = \"inner\"\n{}{}",
        head(),
        component(
            "probe",
            "allowed_outbound_hosts = [\"http://inner.spin.internal\", \"*://*:*\"]"
        ),
        component("inner", ""),
    );
    let app = TestApp::start(&manifest).await;

    assert_eq!(
        app.json("/outbound?url=http://inner.spin.internal/trap").await["status"],
        500
    );
    let unknown = app.json("/outbound?url=http://nobody.spin.internal/").await;
    assert_eq!(unknown, json!({ "error": "HttpRequestDenied" }));
}
