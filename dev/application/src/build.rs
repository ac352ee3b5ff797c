//! Building the components.

use std::process::Stdio;

use agentopia_stack::Progress;
use anyhow::{Context, bail, ensure};
use tokio::process::Command;

use crate::checkout;

const WASM: &str = "wasm32-wasip2";

/// What to build.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target {
    /// The application's components.
    Application,
    /// Those, and the component that the host's tests drive.
    Tests,
}

/// Adds the Wasm target to the Rust toolchain, if it is missing.
///
/// # Errors
///
/// In one sentence, if there is neither the target nor a `rustup` that can add it.
pub async fn add_wasm_target(progress: &dyn Progress) -> anyhow::Result<()> {
    let sysroot = Command::new("rustc")
        .args(["--print", "sysroot"])
        .current_dir(checkout())
        .output()
        .await;
    let sysroot = sysroot.context("Rust is missing: install it from https://rustup.rs")?;
    let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
    if std::path::Path::new(&sysroot)
        .join("lib/rustlib")
        .join(WASM)
        .join("lib")
        .is_dir()
    {
        return Ok(());
    }

    progress.step(&format!("toolchain: adding the target {WASM}"));
    let added = Command::new("rustup")
        .args(["target", "add", WASM])
        .current_dir(checkout())
        .status()
        .await;
    let added = added.with_context(|| format!("the target {WASM} is missing, and so is rustup, which would add it"))?;
    ensure!(
        added.success(),
        "rustup could not add the target {WASM}: see its message above"
    );
    Ok(())
}

/// Builds the components with the release profile. The compiler's messages go to stderr.
///
/// # Errors
///
/// If they do not compile.
pub async fn build(target: Target, progress: &dyn Progress) -> anyhow::Result<()> {
    progress.step("components: building");
    let mut command = Command::new(env!("CARGO"));
    command
        .current_dir(checkout())
        .args(["build", "--quiet", "--release", "--target", WASM]);
    for package in packages(target)? {
        command.args(["--package", &package]);
    }
    let built = command
        .stdin(Stdio::null())
        .status()
        .await
        .context("cargo cannot be started")?;
    if !built.success() {
        bail!("the components do not compile: see the compiler's messages above");
    }
    Ok(())
}

/// The packages of functions/, each of which is named as its folder.
fn packages(target: Target) -> anyhow::Result<Vec<String>> {
    let mut packages = Vec::new();
    for entry in std::fs::read_dir(checkout().join("functions")).context("the folder functions/ cannot be read")? {
        let entry = entry?;
        if entry.path().join("Cargo.toml").is_file() {
            packages.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    if target == Target::Tests {
        packages.push("host-probe".to_owned());
    }
    packages.sort();
    Ok(packages)
}
