//! One run of the server: a child process, watched by a thread, and by a guardian that outlives us.
//!
//! `postgres` is started directly, not by `pg_ctl`, so that its end is known at once and with its cause.

use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::sync::watch;

use super::Health;
use crate::StackError;

/// How the server is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Open transactions are rolled back, everything is written.
    Fast,
    /// At once, as if the machine had failed: the next start recovers from the log.
    Immediate,
}

impl Stop {
    /// The signal that means this to `postgres`.
    fn signal(self) -> Signal {
        match self {
            Self::Fast => Signal::INT,
            Self::Immediate => Signal::QUIT,
        }
    }
}

/// A server process of ours. Dropped, it is stopped at once.
#[derive(Debug)]
pub(super) struct Server {
    pid: Pid,
    /// Set before we end the server, so that its end is no surprise.
    expected: Arc<AtomicBool>,
    exited: watch::Receiver<bool>,
    watcher: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts `command` and watches it; `health` hears how it ends.
    pub(super) fn spawn(mut command: Command, health: watch::Sender<Health>) -> Result<Self, StackError> {
        // Its own process group: Ctrl-C is for us, and we stop the server when nothing needs it any more.
        let mut child = command
            .process_group(0)
            .spawn()
            .map_err(|error| StackError::Failed(format!("Postgres cannot be run: {error}")))?;
        let pid = Pid::from_child(&child);
        let guardian = Guardian::post(pid);

        let expected = Arc::new(AtomicBool::new(false));
        let (ended, exited) = watch::channel(false);
        let is_expected = Arc::clone(&expected);
        let watcher = thread::Builder::new().name("postgres-watch".to_owned()).spawn(move || {
            let status = child.wait();
            guardian.dismiss();
            health.send_replace(match status {
                _ if is_expected.load(Ordering::SeqCst) => Health::Stopped,
                Ok(status) => Health::Died(format!("Postgres ended unexpectedly ({status})")),
                Err(error) => Health::Died(format!("Postgres is lost: {error}")),
            });
            ended.send_replace(true);
        });
        let watcher = watcher.map_err(|error| StackError::Failed(format!("no thread to watch Postgres: {error}")))?;
        Ok(Self {
            pid,
            expected,
            exited,
            watcher: Some(watcher),
        })
    }

    /// The process id of the server.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Whether the process is gone.
    pub(super) fn has_exited(&self) -> bool {
        *self.exited.borrow()
    }

    /// Ends the server and waits for it.
    pub(super) async fn stop(&mut self, how: Stop) -> Result<(), StackError> {
        self.signal(how);
        if self.wait_exit(Duration::from_secs(30)).await {
            return Ok(());
        }
        self.signal(Stop::Immediate);
        if self.wait_exit(Duration::from_secs(15)).await {
            return Ok(());
        }
        Err(StackError::Failed(format!(
            "Postgres (process {}) does not stop",
            self.pid()
        )))
    }

    /// Waits until the process is gone, or the time is over.
    async fn wait_exit(&mut self, limit: Duration) -> bool {
        matches!(
            tokio::time::timeout(limit, self.exited.wait_for(|exited| *exited)).await,
            Ok(Ok(_))
        )
    }

    /// Sends the signal, unless the process is gone: its number may be another's by now.
    fn signal(&self, how: Stop) {
        self.expected.store(true, Ordering::SeqCst);
        if self.has_exited() {
            return;
        }
        if let Err(error) = kill_process(self.pid, how.signal()) {
            tracing::warn!(%error, pid = self.pid(), "the server cannot be told to stop");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.signal(Stop::Immediate);
        // Short: an immediate stop kills what has not ended by itself after five seconds.
        if self.watcher.take().is_some_and(|watcher| watcher.join().is_err()) {
            tracing::warn!("the thread that watches Postgres failed");
        }
    }
}

/// A shell that stops the server when this process is gone, however it ended: the pipe that it reads closes then.
#[derive(Debug)]
struct Guardian(Option<(std::process::Child, ChildStdin)>);

impl Guardian {
    /// Posts a guardian for `pid`. Without `sh` there is none, and the next start stops what was left.
    fn post(pid: Pid) -> Self {
        let mut command = Command::new("/bin/sh");
        command.args([
            "-c",
            "read -r _ || kill -INT \"$1\"",
            "postgres-guardian",
            &pid.as_raw_nonzero().to_string(),
        ]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        let posted = command.spawn().and_then(|mut shell| {
            let pipe = shell.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
            Ok((shell, pipe))
        });
        Self(
            posted
                .inspect_err(|error| tracing::warn!(%error, "Postgres has no guardian"))
                .ok(),
        )
    }

    /// Sends the guardian home: the server is gone already.
    fn dismiss(self) {
        let Some((mut shell, mut pipe)) = self.0 else { return };
        let dismissed = pipe.write_all(b"\n").and_then(|()| shell.wait());
        if let Err(error) = dismissed {
            tracing::debug!(%error, "the guardian of Postgres was gone");
        }
    }
}

/// The process that a cluster's `postmaster.pid` names, if it lives and is a Postgres.
///
/// The file stays after a crash, and its number may by then be another program's.
pub(super) fn living_postmaster(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
    let name = process_name(pid)?;
    (name.contains("postgres") || name.contains("postmaster")).then_some(pid)
}

/// Stops a server that an earlier run left behind, and waits for its end.
pub(super) async fn stop_left_behind(data: &Path) -> Result<(), StackError> {
    let begin = Instant::now();
    let mut told = None;
    while let Some(pid) = living_postmaster(data) {
        let how = if begin.elapsed() < Duration::from_secs(10) {
            Stop::Fast
        } else {
            Stop::Immediate
        };
        if told != Some(how) {
            told = Some(how);
            kill_process(pid, how.signal()).map_err(|error| {
                StackError::Failed(format!(
                    "a server of an earlier run (process {pid:?}) cannot be stopped: {error}"
                ))
            })?;
        }
        if begin.elapsed() > Duration::from_secs(30) {
            return Err(StackError::Failed(format!(
                "a server of an earlier run (process {pid:?}) does not stop"
            )));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The name of a living process; nothing for a process that has ended and only waits for its parent to notice.
fn process_name(pid: Pid) -> Option<String> {
    let pid = pid.as_raw_nonzero();
    if cfg!(target_os = "linux") {
        // "123 (postgres) S 1 …": the name may hold spaces and parentheses, the state follows the last one.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        return (!rest.trim_start().starts_with(['Z', 'X'])).then(|| name.to_owned());
    }
    test_kill_process(Pid::from_raw(pid.get())?).ok()?;
    let output = Command::new("ps")
        .args(["-o", "stat=,comm=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let line = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!line.is_empty() && !line.starts_with('Z')).then_some(line)
}
