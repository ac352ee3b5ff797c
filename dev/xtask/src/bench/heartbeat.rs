//! What a toolbox's heartbeat costs.

use agentopia_domain::toolbox::status::contact_transitions;
use agentopia_domain::toolbox::tool;
use serde_json::{Value, json};

use super::comparison::{CALLERS, Comparison};
use super::load;
use super::setup::{Bench, DURATION, NO_LIMIT};
use super::statement::connect;
use super::toolboxes::{self, TOOLBOXES, Toolbox};

const TOOLS: i64 = 5;
const VERSION: &str = "1.0.0";

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    println!(
        "\nheartbeat: POST /functions/v1/heartbeat, {CALLERS} connections for {TOOLBOXES} toolboxes, {} s each",
        DURATION.as_secs()
    );
    let database = connect(bench.postgres.admin_url()).await?;
    toolboxes::clear(&database).await?;
    for (tools, what) in [(0, "without tools"), (TOOLS, "with 5 tools, all of them reported")] {
        let toolboxes = toolboxes::add(&database, tools).await?;
        toolboxes::analyze(&database).await?;
        let comparison = comparison(&toolboxes)?;
        tokio::task::block_in_place(|| comparison.measure(bench, what))?;
    }
    Ok(())
}

fn comparison(toolboxes: &[Toolbox]) -> anyhow::Result<Comparison> {
    let report = |toolbox: &Toolbox| {
        let tools = toolbox
            .instances
            .iter()
            .map(|id| json!({ "account_tool_instance_id": id, "status_on_toolbox": "running", "generation": 1 }));
        let body = json!({
            "dtma_version": VERSION, "system_status": system_status(), "generation": 1,
            "tool_statuses": tools.collect::<Vec<_>>(),
        });
        load::post("/functions/v1/heartbeat", &toolbox.token, &body)
    };
    Ok(Comparison {
        component: "heartbeat",
        health: "/functions/v1/heartbeat/health",
        operation: "record_heartbeat",
        inputs: toolboxes.iter().map(input).collect(),
        requests: toolboxes.iter().map(report).collect::<anyhow::Result<_>>()?,
    })
}

/// What the component makes of the report.
fn input(toolbox: &Toolbox) -> Value {
    let tools = toolbox
        .instances
        .iter()
        .map(|id| json!({ "id": id, "state": "running", "generation": 1, "message": null }));
    json!({
        "token_hash": toolbox.token_hash, "dtma_version": VERSION, "system_status": system_status(), "sent_at": null,
        "generation": 1, "tools": tools.collect::<Vec<_>>(), "per_minute": NO_LIMIT, "burst": NO_LIMIT,
        "contact": contact_transitions(), "rule": tool::rule(),
    })
}

fn system_status() -> Value {
    json!({ "cpu_load_percent": 12.5, "memory_used_mb": 512, "memory_total_mb": 1024, "disk_free_gb": 18.4 })
}
