//! Which requests reach a component, and what the host answers itself.

use crate::support::{TestApp, component, head, manifest};

#[tokio::test]
async fn path_without_a_route_is_404_without_a_body() {
    let app = TestApp::start(&manifest("").replace("/...", "/probe/...")).await;

    let response = app.get("/elsewhere").await;

    assert_eq!(response.status(), 404);
    assert_eq!(response.text().await.unwrap(), "");
}

#[tokio::test]
async fn health_of_the_host_is_ok() {
    let app = TestApp::start(&manifest("")).await;

    let response = app.get("/.well-known/spin/health").await;

    assert_eq!(response.status(), 200);
    assert_eq!(response.text().await.unwrap(), "OK");
    assert_eq!(app.get("/.well-known/spin/other").await.status(), 404);
    assert_eq!(app.host.statistics().total().requests, 0);
}

#[tokio::test]
async fn body_goes_to_the_component_and_back() {
    let app = TestApp::start(&manifest("")).await;
    let body = "0123456789".repeat(100_000);

    let response = app
        .client
        .post(format!("{}/echo", app.host.url()))
        .body(body.clone())
        .send()
        .await
        .unwrap();

    assert_eq!(response.content_length(), Some(1_000_000));
    assert_eq!(response.text().await.unwrap(), body);
}

#[tokio::test]
async fn static_response_needs_no_component() {
    let manifest = format!(
        "{}[[trigger.http]]\nroute = \"/gone\"\nstatic_response = {{ status_code = 410, headers = {{ x-why = \"moved\" }}, body = \"gone\" }}\n",
        head()
    );
    let app = TestApp::start(&manifest).await;

    let response = app.get("/gone").await;

    assert_eq!(response.status(), 410);
    assert_eq!(response.headers()["x-why"], "moved");
    assert_eq!(response.text().await.unwrap(), "gone");
}

#[tokio::test]
async fn private_component_is_reached_by_others_only() {
    let manifest = format!(
        "{}[[trigger.http]]\nroute = \"/probe/...\"\ncomponent = \"probe\"\n[[trigger.http]]\nroute = {{ private = true }}\n\
         component = \"inner\"\n{}{}",
        head(),
        component("probe", "allowed_outbound_hosts = [\"http://inner.spin.internal\"]"),
        component("inner", ""),
    );
    let app = TestApp::start(&manifest).await;

    assert_eq!(app.get("/inner").await.status(), 404);
    assert_eq!(app.get("/").await.status(), 404);
    let answer = app
        .json("/probe/outbound?url=http://inner.spin.internal/headers?a=b")
        .await;
    assert_eq!(answer["status"], 200);
    assert_eq!(app.host.statistics().components["inner"].requests, 1);
}
