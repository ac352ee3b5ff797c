//! The schedule's component in the whole application: it asks for the sweep as anybody with the token would, and says how that ended.

use agentopia_tests::{Stack, StackOptions};
use serde_json::Value;

const COMPONENT: &str = "heartbeat-schedule";

/// What the component logged, line by line; none on Spin.
fn logged(stack: &Stack) -> Option<Vec<Value>> {
    let lines = stack.log(COMPONENT)?;
    Some(lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[tokio::test]
async fn a_tick_is_a_sweep() {
    let stack = Stack::beside_shared(StackOptions::default()).await;
    if stack.statistics().is_none() {
        return;
    }

    stack.run_schedule(COMPONENT).await.unwrap();

    let lines = logged(&stack).unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(
        (&lines[0]["event"], &lines[0]["status"]),
        (&"sweep_requested".into(), &200.into())
    );
    let request_id = lines[0]["request_id"].as_str().unwrap();
    let swept = stack.request_log("heartbeat", request_id).unwrap();
    let request = swept.iter().find(|line| line["event"] == "request").unwrap();
    assert_eq!(request["route"], "/functions/v1/heartbeat/sweep");
    let all = format!("{:?} {:?}", stack.log(COMPONENT), stack.log("heartbeat"));
    assert!(!all.contains(stack.service_token()));
}

#[tokio::test]
async fn without_a_token_nothing_is_asked() {
    let stack = Stack::beside_shared(StackOptions::default().set("service_token", "")).await;
    if stack.statistics().is_none() {
        return;
    }

    let failure = stack.run_schedule(COMPONENT).await.unwrap_err();

    assert_eq!(failure.to_string(), "`service_token` is not set");
    assert_eq!(logged(&stack).unwrap()[0]["event"], "misconfigured");
    assert_eq!(stack.statistics().unwrap().components["heartbeat"].requests, 0);
}

#[tokio::test]
async fn an_application_that_is_elsewhere_is_said_to_be() {
    let stack = Stack::beside_shared(StackOptions::default().set("public_url", "http://127.0.0.1:1")).await;
    if stack.statistics().is_none() {
        return;
    }

    let failure = stack.run_schedule(COMPONENT).await.unwrap_err();

    assert_eq!(
        failure.to_string(),
        "the sweep could not be asked: ErrorCode::ConnectionRefused"
    );
}
