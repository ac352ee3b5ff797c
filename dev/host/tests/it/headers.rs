//! What a component is told about a request.

use crate::support::{TestApp, component, head, manifest};
use serde_json::Value;

/// The headers whose names begin with `spin-`, but for the client's port; sorted.
fn spin_headers(answer: &Value) -> Vec<(String, String)> {
    let mut headers: Vec<(String, String)> = serde_json::from_value(answer["headers"].clone()).unwrap();
    headers.retain(|(name, _)| name.starts_with("spin-"));
    headers.sort_by(|one, other| one.0.cmp(&other.0));
    headers
}

#[tokio::test]
async fn component_learns_its_route_and_the_client() {
    let app = TestApp::start(&manifest("").replace("/...", "/probe/...")).await;
    let address = app.host.address().to_string();

    let answer = app.json("/probe/headers?a=b").await;

    assert_eq!(answer["uri"], format!("http://{address}/probe/headers?a=b"));
    let headers = spin_headers(&answer);
    let (client, others): (Vec<_>, Vec<_>) = headers.into_iter().partition(|(name, _)| name == "spin-client-addr");
    assert!(client[0].1.starts_with("127.0.0.1:"));
    let full_url = format!("http://{address}/probe/headers?a=b");
    let expected = [
        ("spin-base-path", "/"),
        ("spin-component-route", "/probe"),
        ("spin-full-url", &full_url),
        ("spin-matched-route", "/probe/..."),
        ("spin-path-info", "/headers"),
        ("spin-raw-component-route", "/probe/..."),
    ];
    assert_eq!(
        others,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[tokio::test]
async fn what_a_client_claims_stays_in_front_as_in_spin() {
    let app = TestApp::start(&manifest("")).await;

    let request = app
        .client
        .get(format!("{}/headers", app.host.url()))
        .header("spin-client-addr", "1.2.3.4:5");
    let answer: Value = request.send().await.unwrap().json().await.unwrap();

    let headers = spin_headers(&answer);
    let addresses: Vec<_> = headers
        .iter()
        .filter(|(name, _)| name == "spin-client-addr")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(addresses.len(), 2);
    assert_eq!(addresses[0], "1.2.3.4:5");
    assert!(addresses[1].starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn headers_of_the_connection_are_not_passed_on() {
    let app = TestApp::start(&manifest("")).await;

    let answer = app
        .raw("GET /headers HTTP/1.1\r\nHost: x.example\r\nConnection: close\r\n\r\n")
        .await;

    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let answer: Value = serde_json::from_str(body).unwrap();
    assert_eq!(answer["uri"], "http://x.example/headers");
    let headers: Vec<(String, String)> = serde_json::from_value(answer["headers"].clone()).unwrap();
    assert!(headers.iter().all(|(name, _)| name.starts_with("spin-")), "{headers:?}");
}

#[tokio::test]
async fn request_without_a_host_is_not_answered() {
    let app = TestApp::start(&manifest("")).await;

    assert_eq!(app.raw("GET /headers HTTP/1.1\r\n\r\n").await, "");
    assert_eq!(
        app.raw("GET /headers HTTP/1.1\r\nHost: probe.spin.internal\r\n\r\n")
            .await,
        ""
    );
    assert_eq!(
        app.raw("GET http://a.example/headers HTTP/1.1\r\nHost: b.example\r\n\r\n")
            .await,
        ""
    );
    assert_eq!(app.host.statistics().total().requests, 0);
}

#[tokio::test]
async fn header_that_is_not_text_is_a_500() {
    let app = TestApp::start(&manifest("")).await;

    let value = reqwest::header::HeaderValue::from_bytes(b"\xff").unwrap();
    let response = app
        .client
        .get(format!("{}/headers", app.host.url()))
        .header("x-bytes", value)
        .send()
        .await
        .unwrap();

    assert_eq!(response.status(), 500);
    assert_eq!(response.text().await.unwrap(), "");
}

#[tokio::test]
async fn call_between_components_has_no_client() {
    let manifest = format!(
        "{}[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n[[trigger.http]]\nroute = {{ private = true }}\ncomponent = \"inner\"\n{}{}",
        head(),
        component("probe", "allowed_outbound_hosts = [\"http://*.spin.internal\"]"),
        component("inner", ""),
    );
    let app = TestApp::start(&manifest).await;

    let answer = app.json("/outbound?url=http://inner.spin.internal/headers?a=b").await;

    let inner: Value = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    assert_eq!(inner["uri"], "http://inner.spin.internal/headers?a=b");
    let expected = [
        ("spin-base-path", "/"),
        ("spin-client-addr", "0.0.0.0:0"),
        ("spin-component-route", ""),
        ("spin-full-url", "http://localhost/headers?a=b"),
        ("spin-matched-route", "/..."),
        ("spin-path-info", "/headers"),
        ("spin-raw-component-route", "/..."),
    ];
    assert_eq!(
        spin_headers(&inner),
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}
