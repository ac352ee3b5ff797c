//! A toolbox's life.

use std::time::{Duration, Instant};

use agentopia_stack::demo;
use anyhow::{Context, ensure};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::client::{Answer, Client, done, text};

const TOOLBOXES: &str = "/functions/v1/toolboxes-user";
const TOOLS: &str = "/functions/v1/toolbox-tools";

/// The catalog's `github`.
const TOOL: &str = "00000000-0000-4000-9000-000000000001";
const CAPABILITY: &str = "list_issues";
const VARIABLE: &str = "GITHUB_PERSONAL_ACCESS_TOKEN";

/// How long a machine may take to come or to go: a real one boots in a minute or two and installs what it needs, and the schedule looks after it
/// twice a minute.
const MACHINE_LIMIT: Duration = Duration::from_secs(600);

/// How long a tool may take to be as it should: a few reports of its machine.
const TOOL_LIMIT: Duration = Duration::from_secs(300);

/// Plays it, and cleans up behind a story that did not come to its end.
pub(super) async fn play(client: &Client) -> anyhow::Result<()> {
    let began = Instant::now();
    let ordered = json!({ "name": "Demo", "regionSlug": "fra1", "sizeSlug": "s-1vcpu-1gb" });
    let toolbox = client
        .step(
            "a toolbox is ordered",
            StatusCode::CREATED,
            Method::POST,
            TOOLBOXES,
            Some(&ordered),
        )
        .await?;
    let id = text(&toolbox, "id")?.to_owned();

    let played = live(client, &id).await;
    if played.is_err() {
        let path = format!("{TOOLBOXES}/{id}");
        match client.call(Method::DELETE, &path, None).await {
            Ok(answer) if answer.status == StatusCode::NO_CONTENT => println!("· the toolbox is told to go"),
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => {}
            _ => println!("· the toolbox {id} is left: delete it"),
        }
    }
    played?;
    println!("All of it came true, in {:.0} s.", began.elapsed().as_secs_f64());
    Ok(())
}

async fn live(client: &Client, id: &str) -> anyhow::Result<()> {
    let toolbox = format!("{TOOLBOXES}/{id}");
    let row = client
        .wait(
            "its machine is made, boots and speaks",
            MACHINE_LIMIT,
            &toolbox,
            is("status", "active"),
        )
        .await?;
    let health = row.get("dtma_health_details_json").unwrap_or(&Value::Null);
    let stand_in = health.get("use_a_tool_at").and_then(Value::as_str);
    if stand_in.is_some() {
        println!("· no machine is behind it: a stand-in says what one would");
    }

    let (tools, deploy) = (
        format!("{TOOLS}/{id}/tools"),
        json!({
            "toolCatalogId": TOOL,
            "instanceNameOnToolbox": "github",
            "baseConfigOverrideJson": { "GITHUB_READ_ONLY": "1" },
        }),
    );
    let instance = client
        .step(
            "a tool is deployed on it",
            StatusCode::CREATED,
            Method::POST,
            &tools,
            Some(&deploy),
        )
        .await?;
    let instance = text(&instance, "id")?.to_owned();
    let tool = format!("{tools}/{instance}");
    let until = async |what, status| {
        client
            .wait(what, TOOL_LIMIT, &tool, is("status_on_toolbox", status))
            .await
    };
    until("the tool runs", "running").await?;

    use_tool(client, id, &instance, stand_in).await?;

    let command = async |what, command: &str| {
        let path = format!("{tool}/{command}");
        client.step(what, StatusCode::OK, Method::POST, &path, None).await
    };
    command("the tool is told to stop", "stop").await?;
    until("it does not run", "stopped").await?;
    command("the tool is told to start", "start").await?;
    until("it runs", "running").await?;
    client
        .step("the tool is removed", StatusCode::OK, Method::DELETE, &tool, None)
        .await?;
    client.wait("it is gone", TOOL_LIMIT, &tool, is_gone).await?;

    client
        .step(
            "the toolbox is deleted",
            StatusCode::NO_CONTENT,
            Method::DELETE,
            &toolbox,
            None,
        )
        .await?;
    client
        .wait("its machine and its row are gone", MACHINE_LIMIT, &toolbox, is_gone)
        .await?;
    Ok(())
}

/// An agent is given the tool, and uses it.
async fn use_tool(client: &Client, toolbox: &str, instance: &str, stand_in: Option<&str>) -> anyhow::Result<()> {
    let belt = format!("/functions/v1/agent-toolbelt/agents/{}/toolbelt", demo::ATLAS);
    let give = async |what, rest: &str, body: Value| {
        let path = format!("{belt}/{rest}");
        client
            .step(what, StatusCode::CREATED, Method::POST, &path, Some(&body))
            .await
    };
    give(
        "the agent Atlas may use the toolbox",
        "toolbox-access",
        json!({ "account_tool_environment_id": toolbox }),
    )
    .await?;
    let item = give(
        "the tool is in its toolbelt",
        "items",
        json!({ "account_tool_instance_id": instance }),
    )
    .await?;
    let item = text(&item, "id")?;
    let secret = "ghp_of-the-demo-and-good-for-nothing";
    give(
        "a credential is sealed for it",
        &format!("items/{item}/credentials"),
        json!({ "credential_type": "github_token", "credential_value": secret }),
    )
    .await?;

    let fetch = async |what: &str, expected: StatusCode| {
        let Some(origin) = stand_in else {
            println!("· {what}: not played, since the machine is a real one");
            return Ok(Value::Null);
        };
        let began = Instant::now();
        let path = format!("/toolboxes/{toolbox}/tools/{instance}/use");
        let body = json!({ "agentId": demo::ATLAS, "capabilityName": CAPABILITY });
        let answer = client.call_at(origin, Method::POST, &path, Some(&body)).await?;
        ensure!(
            answer.status == expected,
            "{what}: answered {} {}",
            answer.status,
            answer.body
        );
        done(what, &answer.status.to_string(), began);
        Ok(answer.body)
    };
    fetch("the agent may not list issues yet", StatusCode::FORBIDDEN).await?;
    give(
        "its owner lets it list issues",
        &format!("items/{item}/permissions"),
        json!({ "capability_name": CAPABILITY, "is_permitted": true }),
    )
    .await?;
    let fetched = fetch(
        "the toolbox fetches the secret as the agent lists issues",
        StatusCode::OK,
    )
    .await?;
    if stand_in.is_some() {
        let length = fetched.get("variables").and_then(|variables| variables.get(VARIABLE));
        let length = length.and_then(Value::as_u64).context("no secret was fetched")?;
        ensure!(
            length == secret.len() as u64,
            "another secret was fetched, of {length} letters"
        );
    }
    Ok(())
}

/// Whether a field is this, and what it is.
fn is(field: &'static str, wanted: &'static str) -> impl Fn(&Answer) -> (String, bool) {
    move |answer| {
        let shown = answer.body.get(field).and_then(Value::as_str);
        let how = shown.map_or_else(|| format!("{} {}", answer.status, answer.body), str::to_owned);
        let is_it = shown == Some(wanted);
        (how, is_it)
    }
}

/// Whether it is not there.
fn is_gone(answer: &Answer) -> (String, bool) {
    let shown = |field| answer.body.get(field).and_then(Value::as_str);
    let is_it = answer.status == StatusCode::NOT_FOUND;
    let how = shown("status")
        .or_else(|| shown("status_on_toolbox"))
        .filter(|_| !is_it);
    (how.map_or_else(|| answer.status.to_string(), str::to_owned), is_it)
}
