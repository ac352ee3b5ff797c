//! `cargo xtask test`: everything that CI runs, in order of cost.

use agentopia_application::{Target, add_wasm_target, build, checkout};
use anyhow::{Context, ensure};
use tokio::process::Command;

use crate::terminal::{Terminal, timed};

const WASM: [&str; 2] = ["--target", "wasm32-wasip2"];
/// What is compiled for Wasm.
const COMPONENTS: [&str; 12] = [
    "agentopia-clients",
    "agentopia-domain",
    "agentopia-platform",
    "agent-toolbelt",
    "chat",
    "discord-interaction-handler",
    "get-agent-tool-credentials",
    "heartbeat",
    "heartbeat-schedule",
    "host-probe",
    "manage-discord-worker",
    "toolboxes-user",
];

pub(crate) async fn test() -> anyhow::Result<()> {
    add_wasm_target(&Terminal).await?;
    timed("format", cargo(&["fmt", "--all", "--check"], &[])).await?;
    timed("components", build(Target::Tests, &Terminal)).await?;
    timed(
        "lints",
        cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]),
    )
    .await?;
    timed("lints for Wasm", lint_components()).await?;
    timed("tests", cargo(&["test", "--workspace"], &[])).await?;
    timed(
        "black-box tests with Spin's database pool",
        cargo(&["test", "--package", "agentopia-tests"], &[("AGENTOPIA_POOL", "spin")]),
    )
    .await
}

async fn lint_components() -> anyhow::Result<()> {
    let mut arguments = vec!["clippy"];
    arguments.extend(WASM);
    for package in COMPONENTS {
        arguments.extend(["--package", package]);
    }
    arguments.extend(["--", "-D", "warnings"]);
    cargo(&arguments, &[]).await
}

async fn cargo(arguments: &[&str], environment: &[(&str, &str)]) -> anyhow::Result<()> {
    let status = Command::new(env!("CARGO"))
        .current_dir(checkout())
        .args(arguments)
        .envs(environment.iter().copied())
        .status()
        .await
        .context("cargo cannot be started")?;
    ensure!(
        status.success(),
        "`cargo {}` failed: see its messages above",
        arguments.join(" ")
    );
    Ok(())
}
