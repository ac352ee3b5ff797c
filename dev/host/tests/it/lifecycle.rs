//! Starting, refusing to start, stopping and dying.

use crate::support::{TestApp, head, manifest};
use agentopia_host::{Host, HostError, HostOptions};
use std::net::TcpListener;
use std::time::{Duration, Instant};

/// A component that does nothing.
const EMPTY: [u8; 8] = *b"\0asm\x0d\0\x01\0";

/// A component that imports an interface of this name, which has one function `f`.
fn importing(name: &str) -> Vec<u8> {
    let length = u8::try_from(name.len()).unwrap();
    let types = [7, 14, 1, 0x42, 2, 1, 0x40, 0, 1, 0, 4, 0, 1, b'f', 1, 0];
    let imports = [&[10, length + 5, 1, 0, length], name.as_bytes(), &[5, 0]].concat();
    [&EMPTY[..], &types, &imports].concat()
}

/// Tries to start an application whose only component is this file.
async fn refusal(wasm: Option<&[u8]>) -> HostError {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "{}[[trigger.http]]\nroute = \"/...\"\ncomponent = \"one\"\n[component.one]\nsource = \"one.wasm\"\n",
        head()
    );
    std::fs::write(folder.path().join("spin.toml"), manifest).unwrap();
    if let Some(bytes) = wasm {
        std::fs::write(folder.path().join("one.wasm"), bytes).unwrap();
    }
    Host::start(HostOptions::new(folder.path().join("spin.toml")))
        .await
        .unwrap_err()
}

#[tokio::test]
async fn component_that_cannot_run_is_named() {
    let missing = refusal(None).await.to_string();
    assert!(
        missing.starts_with("component `one`: ") && missing.ends_with("does not exist: run `cargo xtask build`"),
        "{missing}"
    );

    assert!(
        matches!(refusal(Some(b"text")).await, HostError::InvalidComponent { component, .. } if component == "one")
    );
    assert!(
        matches!(refusal(Some(&EMPTY)).await, HostError::NotAnHttpComponent { component, .. } if component == "one")
    );

    let import = refusal(Some(&importing("nobody:knows/this@1.0.0"))).await;
    assert!(matches!(import, HostError::UnknownImport { .. }), "{import}");
    assert!(import.to_string().contains("nobody:knows/this@1.0.0"), "{import}");
}

#[tokio::test]
async fn manifest_that_is_not_known_is_refused() {
    let absent = Host::start(HostOptions::new("nowhere/spin.toml")).await.unwrap_err();
    assert!(matches!(absent, HostError::ReadManifest { .. }));

    let unknown = TestApp::try_start(&manifest("ai_models = [\"llama\"]"), |_| {})
        .await
        .err()
        .unwrap();
    assert!(unknown.to_string().contains("ai_models"), "{unknown}");

    let host = TestApp::try_start(&manifest("allowed_outbound_hosts = [\"example.com\"]"), |_| {})
        .await
        .err()
        .unwrap();
    assert!(host.to_string().contains("`example.com` has no scheme"), "{host}");
}

#[tokio::test]
async fn taken_port_is_one_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();

    let error = TestApp::try_start(&manifest(""), |options| options.listen = address)
        .await
        .err()
        .unwrap();

    assert_eq!(error.to_string(), format!("{address} is already in use"));
}

#[tokio::test]
async fn shutdown_lets_requests_in_flight_end() {
    let app = TestApp::start(&manifest("")).await;
    let address = app.host.address();
    let request = app.client.get(format!("{}/sleep?ms=400", app.host.url())).send();
    let in_flight = tokio::spawn(request);
    crate::support::eventually("the request's start", async || {
        app.host.statistics().total().requests == 1
    })
    .await;

    app.host.shutdown().await;

    assert_eq!(in_flight.await.unwrap().unwrap().status(), 200);
    assert!(TcpListener::bind(address).is_ok());
}

#[tokio::test]
async fn kill_drops_requests_in_flight_and_frees_the_port() {
    let app = TestApp::start(&manifest("")).await;
    let address = app.host.address();
    let in_flight: Vec<_> = ["/sleep?ms=60000", "/spin"]
        .map(|path| tokio::spawn(app.client.get(format!("{}{path}", app.host.url())).send()))
        .into();
    crate::support::eventually("the requests' start", async || {
        app.host.statistics().total().instances == 2
    })
    .await;
    let begun = Instant::now();

    app.host.kill();

    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(TcpListener::bind(address).is_ok());
    for request in in_flight {
        assert!(request.await.unwrap().is_err());
    }
}

#[tokio::test]
async fn compiled_components_are_kept() {
    let cache = tempfile::tempdir().unwrap();
    let start = async || {
        let begun = Instant::now();
        let app = TestApp::start_with(&manifest(""), |options| options.cache = Some(cache.path().to_owned())).await;
        assert_eq!(app.get("/instance").await.status(), 200);
        begun.elapsed()
    };

    let first = start().await;
    let second = start().await;

    assert!(second < first / 2, "first {first:?}, second {second:?}");
}
