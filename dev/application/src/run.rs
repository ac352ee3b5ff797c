//! Running the application.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use agentopia_host::manifest::Manifest;
use agentopia_host::{Host, HostError, HostOptions, InstanceReuse, LogSink, PoolMode, Statistics};
use anyhow::{Context, bail};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::{Settings, checkout, manifest};

/// How often a free port is looked for, should somebody else take it before the application does.
const PORT_ATTEMPTS: u32 = 5;

/// How long Spin may take until it serves; it compiles the components first.
const SPIN_START_LIMIT: Duration = Duration::from_secs(180);

/// Runs Spin until it ends or our end of the pipe closes, by our will or by our death. Spin's own processes are ended with it:
/// `spin up` leaves the one that serves behind when it is killed.
const SPIN_GUARDIAN: &str = r#"("$0" "$@" </dev/null; kill -KILL 0) & read -r _; kill -KILL 0"#;

/// What runs the components.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Runner {
    /// Our host, in this process.
    Host,
    /// The `spin` of this path, as `spin up`.
    Spin(PathBuf),
}

impl Runner {
    /// What `AGENTOPIA_HOST` asks for; our host if it is not set.
    #[must_use]
    pub fn from_environment() -> Self {
        match std::env::var_os("AGENTOPIA_HOST") {
            Some(path) if !path.is_empty() => Self::Spin(path.into()),
            _ => Self::Host,
        }
    }

    /// Whether it can run the manifest's schedules.
    ///
    /// # Errors
    ///
    /// If there is no such `spin`.
    pub async fn runs_schedules(&self) -> anyhow::Result<bool> {
        match self {
            Self::Host => Ok(true),
            Self::Spin(spin) => has_cron_plugin(spin).await,
        }
    }
}

/// How the application is run.
#[derive(Clone, Debug)]
pub struct ApplicationOptions {
    /// On what.
    pub runner: Runner,
    /// The port on loopback; 0 for a free one.
    pub port: u16,
    /// Values for the manifest's variables.
    pub settings: Settings,
    /// How our host's database pool recycles connections.
    pub pool: PoolMode,
    /// How our host reuses instances.
    pub reuse: Option<InstanceReuse>,
    /// Where the components' logs go.
    pub logs: LogSink,
    /// Whether the manifest's schedules run by the clock, if the runner can do that.
    pub schedules: bool,
}

impl ApplicationOptions {
    /// As `AGENTOPIA_HOST` asks, on a free port, without schedules.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            runner: Runner::from_environment(),
            port: 0,
            settings,
            pool: PoolMode::default(),
            reuse: None,
            logs: LogSink::default(),
            schedules: false,
        }
    }
}

/// The running application.
#[derive(Debug)]
pub struct Application {
    url: String,
    process: Process,
}

#[derive(Debug)]
enum Process {
    Host(Box<Host>),
    Spin(Child),
}

impl Application {
    /// Starts it, and returns when it serves.
    ///
    /// # Errors
    ///
    /// In one sentence, if it cannot run.
    pub async fn start(options: ApplicationOptions) -> anyhow::Result<Self> {
        let mut attempt = 1;
        loop {
            match Self::start_once(options.clone()).await {
                Err(error) if options.port == 0 && attempt < PORT_ATTEMPTS && is_port_taken(&error) => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    /// The application is told its own address, so that the port is chosen before it starts; somebody may take it in between.
    async fn start_once(mut options: ApplicationOptions) -> anyhow::Result<Self> {
        if options.port == 0 {
            options.port = free_port()?;
        }
        let address = loopback(options.port);
        options.settings.set_default("public_url", format!("http://{address}"));
        match options.runner.clone() {
            Runner::Host => Self::start_host(address, options).await,
            Runner::Spin(path) => Self::start_spin(path, address, options).await,
        }
    }

    async fn start_host(address: SocketAddr, options: ApplicationOptions) -> anyhow::Result<Self> {
        let mut host = HostOptions::new(manifest());
        host.listen = address;
        host.variables = options.settings.variables();
        host.cron = options.schedules;
        host.pool = options.pool;
        host.reuse = options.reuse.unwrap_or(host.reuse);
        host.logs = options.logs;
        host.cache = Some(checkout().join("target/component-cache"));
        let host = Host::start(host).await?;

        Ok(Self {
            url: host.url(),
            process: Process::Host(Box::new(host)),
        })
    }

    async fn start_spin(spin: PathBuf, address: SocketAddr, options: ApplicationOptions) -> anyhow::Result<Self> {
        let components = if options.schedules {
            BTreeSet::new()
        } else {
            answering_components()?
        };
        let mut command = Command::new("/bin/sh");
        command
            .current_dir(checkout())
            .args(["-c", SPIN_GUARDIAN])
            .arg(&spin)
            .args(["up", "--quiet", "--from"])
            .arg(manifest())
            .args([
                "--listen",
                &address.to_string(),
                "--max-instance-concurrent-reuse-count",
                "1",
            ])
            .args(components.iter().flat_map(|id| ["--component-id", id]))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .process_group(0);
        if let LogSink::File(folder) = &options.logs {
            command.arg("--log-dir").arg(folder);
        }
        for (name, value) in options.settings.variables() {
            command.env(format!("SPIN_VARIABLE_{}", name.to_uppercase()), value);
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("{} cannot be started", spin.display()))?;

        let url = format!("http://{address}");
        let health = format!("{url}/.well-known/spin/health");
        let deadline = Instant::now() + SPIN_START_LIMIT;
        loop {
            if reqwest::get(&health)
                .await
                .is_ok_and(|response| response.status().is_success())
            {
                return Ok(Self {
                    url,
                    process: Process::Spin(child),
                });
            }
            if let Some(status) = child.try_wait()? {
                bail!("{} ended with {status} before it served", spin.display());
            }
            if Instant::now() > deadline {
                bail!(
                    "{} did not serve within {} s",
                    spin.display(),
                    SPIN_START_LIMIT.as_secs()
                );
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Where it serves, such as `http://127.0.0.1:3000`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts a component as its schedule would, and waits for its end.
    ///
    /// # Errors
    ///
    /// If the component fails, or the application runs on Spin, whose schedules go by the clock alone.
    pub async fn run_schedule(&self, component: &str) -> anyhow::Result<()> {
        match &self.process {
            Process::Host(host) => Ok(host.run_schedule(component).await?),
            Process::Spin(_) => bail!("Spin runs schedules by the clock alone"),
        }
    }

    /// What our host counted; `None` on Spin.
    #[must_use]
    pub fn statistics(&self) -> Option<Statistics> {
        match &self.process {
            Process::Host(host) => Some(host.statistics()),
            Process::Spin(_) => None,
        }
    }

    /// Lets requests in flight end, and stops.
    pub async fn stop(self) {
        match self.process {
            Process::Host(host) => host.shutdown().await,
            Process::Spin(child) => end(child).await,
        }
    }

    /// Ends it at once, requests in flight included, as the death of its process would.
    pub async fn kill(self) {
        match self.process {
            Process::Host(host) => host.kill(),
            Process::Spin(child) => end(child).await,
        }
    }
}

/// Spin drains nothing on a signal, so that its end is always at once.
async fn end(mut child: Child) {
    drop(child.stdin.take());
    // It has ended already if this fails.
    let _ended = child.wait().await;
}

/// The components that answer requests: what Spin is to start where schedules do not run, since it would not start without the plugin
/// that runs them.
fn answering_components() -> anyhow::Result<BTreeSet<String>> {
    let triggers = Manifest::load(&manifest())?.trigger.http;
    Ok(triggers.into_iter().filter_map(|trigger| trigger.component).collect())
}

/// Whether Spin's cron trigger plugin is installed.
async fn has_cron_plugin(spin: &Path) -> anyhow::Result<bool> {
    let listed = Command::new(spin)
        .args(["plugins", "list", "--installed"])
        .stdin(Stdio::null())
        .output()
        .await
        .with_context(|| format!("{} cannot be started", spin.display()))?;
    Ok(lists_cron_plugin(&String::from_utf8_lossy(&listed.stdout)))
}

/// The list has a line for each plugin, with its name first.
fn lists_cron_plugin(list: &str) -> bool {
    list.lines().any(|line| line.starts_with("trigger-cron "))
}

fn is_port_taken(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(HostError::AddressInUse(_)))
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(loopback(0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_schedules_what_they_start_is_left_out() {
        let components = answering_components().unwrap();

        assert!(components.contains("heartbeat"), "{components:?}");
        assert!(!components.contains("heartbeat-schedule"), "{components:?}");
    }

    #[test]
    fn the_plugin_is_found_in_the_list() {
        assert!(lists_cron_plugin(
            "kube 0.4.0 [installed]\ntrigger-cron 0.6.2 [installed]\n"
        ));
        assert!(!lists_cron_plugin("trigger-cronometer 1.0.0 [installed]\n"));
        assert!(!lists_cron_plugin("No plugins found\n"));
    }
}
