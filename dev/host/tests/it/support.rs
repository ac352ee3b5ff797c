//! Small applications made of the probe, and servers for it to call.

use agentopia_host::{Host, HostError, HostOptions, LogSink, MemoryLog};
use serde_json::Value;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// How long a test waits for something that must come.
const DEADLINE: Duration = Duration::from_secs(10);

/// The probe, built once.
pub(crate) fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| build("host-probe"))
}

/// The component that the application's schedule starts, built once.
pub(crate) fn heartbeat_schedule() -> &'static Path {
    static HEARTBEAT_SCHEDULE: OnceLock<PathBuf> = OnceLock::new();
    HEARTBEAT_SCHEDULE.get_or_init(|| build("heartbeat-schedule"))
}

fn build(package: &str) -> PathBuf {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--release", "--target", "wasm32-wasip2", "-p", package])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{package} does not build");
    let file = format!("{}.wasm", package.replace('-', "_"));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|name| name.as_str().map(PathBuf::from))
        .find(|path| path.ends_with(&file))
        .expect("the component's file")
}

/// A manifest whose only component is the probe, at every path; `fields` are more lines of the component.
pub(crate) fn manifest(fields: &str) -> String {
    format!(
        "{}\n[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n{}",
        head(),
        component("probe", fields)
    )
}

/// What every manifest begins with.
pub(crate) fn head() -> String {
    "spin_manifest_version = 2\n[application]\nname = \"test\"\n".to_owned()
}

/// The probe under another name.
pub(crate) fn component(id: &str, fields: &str) -> String {
    format!("[component.{id}]\nsource = {:?}\n{fields}\n", probe().to_str().unwrap())
}

/// An application that runs, its log, and a client.
pub(crate) struct TestApp {
    pub(crate) host: Host,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) client: reqwest::Client,
    _folder: TempDir,
}

impl TestApp {
    /// Runs a manifest.
    pub(crate) async fn start(manifest: &str) -> Self {
        Self::start_with(manifest, |_| {}).await
    }

    /// Runs a manifest with other options than the usual.
    pub(crate) async fn start_with(manifest: &str, change: impl FnOnce(&mut HostOptions)) -> Self {
        Self::try_start(manifest, change).await.unwrap()
    }

    /// Tries to run a manifest.
    pub(crate) async fn try_start(manifest: &str, change: impl FnOnce(&mut HostOptions)) -> Result<Self, HostError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("spin.toml"), manifest).unwrap();
        let log = Arc::new(MemoryLog::default());
        let mut options = HostOptions::new(folder.path().join("spin.toml"));
        options.logs = LogSink::Memory(Arc::clone(&log));
        options.cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
        change(&mut options);
        let host = Host::start(options).await?;
        Ok(Self {
            host,
            log,
            client: reqwest::Client::new(),
            _folder: folder,
        })
    }

    /// Gets a path.
    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.client
            .get(format!("{}{path}", self.host.url()))
            .send()
            .await
            .unwrap()
    }

    /// Gets a path's JSON.
    pub(crate) async fn json(&self, path: &str) -> Value {
        self.get(path).await.json().await.unwrap()
    }

    /// Sends bytes as they are and reads until the host closes the connection.
    pub(crate) async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.host.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await;
        read.expect("the host did not close the connection").unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// Waits until the probe has logged a line that contains `text`.
    pub(crate) async fn logged(&self, text: &str) {
        eventually(&format!("a log line with {text:?}"), async || {
            self.log.lines("probe").iter().any(|line| line.contains(text))
        })
        .await;
    }
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A server for the probe to call: each connection is handed to a function.
pub(crate) struct Upstream {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
    /// Connections that have ended.
    pub(crate) closed: Arc<AtomicUsize>,
}

impl Upstream {
    /// Serves each connection with `serve`.
    pub(crate) async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (connections, closed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (opened, ended) = (Arc::clone(&connections), Arc::clone(&closed));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::SeqCst);
                let (serving, ended) = (serve(stream), Arc::clone(&ended));
                tokio::spawn(async move {
                    // An error is the client's leaving, which ends the connection all the same.
                    _ = serving.await;
                    ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        Self {
            address,
            connections,
            closed,
        }
    }

    /// Answers every request with its body, for as long as the client keeps the connection.
    pub(crate) async fn echo() -> Self {
        Self::start(|mut stream| async move {
            while let Some(request) = read_request(&mut stream).await? {
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", request.body.len());
                stream.write_all(&[head.as_bytes(), &request.body].concat()).await?;
            }
            Ok(())
        })
        .await
    }

    /// The server's address as an HTTP URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// A request as a server sees it.
pub(crate) struct RawRequest {
    /// The request line and the headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

/// Reads one request with a body of a known length, or none at the end of the connection.
pub(crate) async fn read_request(stream: &mut TcpStream) -> std::io::Result<Option<RawRequest>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) if head.is_empty() => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let mut body = Vec::new();
    if head.contains("transfer-encoding: chunked") {
        loop {
            let mut size = Vec::new();
            while !size.ends_with(b"\r\n") {
                size.push(stream.read_u8().await?);
            }
            let size = usize::from_str_radix(String::from_utf8_lossy(&size).trim(), 16).unwrap();
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).await?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                break;
            }
        }
    } else if let Some((_, rest)) = head.split_once("content-length: ") {
        let length: usize = rest.split("\r\n").next().unwrap().parse().unwrap();
        body.resize(length, 0);
        stream.read_exact(&mut body).await?;
    }
    Ok(Some(RawRequest { head, body }))
}
