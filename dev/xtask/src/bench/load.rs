//! The load generator: connections that each send one request after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::processor::{self, Ended, ticks};

/// The name of the load generator's threads, by which the system tells their processor time.
const THREADS: &str = "load";

/// What a run showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Throughput {
    pub(crate) answered: usize,
    pub(crate) per_second: f64,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// The load generator's share of the processor time that the process used, where the system tells.
    pub(crate) load_share: Option<f64>,
    /// The processor time that the rest of the process used for one.
    pub(crate) processor: Option<Duration>,
}

/// What one connection does over and over.
pub(crate) trait Work: Send + 'static {
    /// Does it once.
    fn once(&mut self) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Sends one request after the other.
struct Requests {
    sender: SendRequest<Full<Bytes>>,
    requests: Turns<Request<Full<Bytes>>>,
}

impl Work for Requests {
    async fn once(&mut self) -> anyhow::Result<()> {
        self.sender.ready().await?;
        let response = self.sender.send_request(self.requests.next()?.clone()).await?;
        let status = response.status();
        response.into_body().collect().await?;
        ensure!(status.is_success(), "answered {status}");
        Ok(())
    }
}

/// What one of several workers sends: its share of everything, over and over.
pub(crate) struct Turns<T> {
    all: Arc<[T]>,
    next: usize,
    step: usize,
}

impl<T> Turns<T> {
    /// The turns of the worker with this number.
    pub(crate) fn new(all: &Arc<[T]>, number: usize, workers: usize) -> Self {
        Self {
            all: all.clone(),
            next: number,
            step: workers,
        }
    }

    /// What is next.
    pub(crate) fn next(&mut self) -> anyhow::Result<&T> {
        let turn = self.all.get(self.next % self.all.len().max(1));
        self.next += self.step;
        turn.context("there is nothing to send")
    }
}

/// Sends requests over and over on `connections` connections, each of which has a share of them.
pub(crate) fn http(
    url: &str,
    connections: usize,
    duration: Duration,
    requests: &[Request<Full<Bytes>>],
) -> anyhow::Result<Throughput> {
    let address = url.strip_prefix("http://").context("not an http URL")?.to_owned();
    let requests: Arc<[_]> = requests.into();

    closed_loop(connections, duration, move |number| {
        let (address, requests) = (address.clone(), Turns::new(&requests, number, connections));
        async move {
            Ok(Requests {
                sender: connect(&address).await?,
                requests,
            })
        }
    })
}

/// A request that posts JSON.
pub(crate) fn post(path: &'static str, token: &str, body: &serde_json::Value) -> anyhow::Result<Request<Full<Bytes>>> {
    let mut request = Request::new(Full::new(Bytes::from(body.to_string())));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(path);
    let headers = request.headers_mut();
    headers.insert("host", HeaderValue::from_static("bench"));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("authorization", HeaderValue::try_from(format!("Bearer {token}"))?);
    Ok(request)
}

/// Opens a connection to `host:port`.
pub(crate) async fn connect(address: &str) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // The sender's next use reports a broken connection.
        let _reported_elsewhere = connection.await;
    });
    Ok(sender)
}

/// Runs `workers` workers, each made by `start` from its number, on the load generator's own threads, until the time is over.
pub(crate) fn closed_loop<Start, Starting, W>(
    workers: usize,
    duration: Duration,
    start: Start,
) -> anyhow::Result<Throughput>
where
    Start: Fn(usize) -> Starting + Send + Sync + 'static,
    Starting: Future<Output = anyhow::Result<W>> + Send + 'static,
    W: Work,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(THREADS)
        .enable_all()
        .build()?;
    let over = Arc::new(AtomicBool::new(false));

    let used_before = processor_time();
    let began = Instant::now();
    let tasks: Vec<_> = (0..workers)
        .map(|number| {
            let (starting, over) = (start(number), over.clone());
            runtime.spawn(async move {
                let mut work = starting.await?;
                let mut times = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    let sent = Instant::now();
                    work.once().await?;
                    times.push(sent.elapsed());
                }
                anyhow::Ok(times)
            })
        })
        .collect();
    std::thread::sleep(duration);
    over.store(true, Ordering::Relaxed);
    let mut times = Vec::new();
    for task in tasks {
        times.extend(runtime.block_on(task)??);
    }
    let elapsed = began.elapsed();
    let used = used_before
        .zip(processor_time())
        .map(|(before, after)| after.since(before));
    runtime.shutdown_background();

    ensure!(!times.is_empty(), "nothing was answered");
    #[expect(clippy::cast_precision_loss, reason = "counts of requests fit a double")]
    let per_second = times.len() as f64 / elapsed.as_secs_f64();
    Ok(Throughput {
        answered: times.len(),
        per_second,
        p50: percentile(&mut times, 0.5),
        p99: percentile(&mut times, 0.99),
        load_share: used.and_then(ProcessorTime::load_share),
        processor: used.map(|used| processor::each(used.all.saturating_sub(used.load), times.len())),
    })
}

/// The time below which a share of `times` lies.
pub(crate) fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "an index"
    )]
    let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
    times.get(index).copied().unwrap_or_default()
}

/// Processor time in clock ticks, of the load generator's threads and of the whole process.
#[derive(Clone, Copy)]
struct ProcessorTime {
    load: u64,
    all: u64,
}

impl ProcessorTime {
    fn since(self, before: Self) -> Self {
        Self {
            load: self.load.saturating_sub(before.load),
            all: self.all.saturating_sub(before.all),
        }
    }

    fn load_share(self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "ticks of a benchmark fit a double")]
        let share = self.load as f64 / self.all as f64;
        share.is_finite().then_some(share)
    }
}

/// From Linux's proc(5); elsewhere unknown.
fn processor_time() -> Option<ProcessorTime> {
    let mut time = ProcessorTime {
        load: 0,
        all: ticks("/proc/self/stat", Ended::Ignored)?,
    };
    for thread in std::fs::read_dir("/proc/self/task").ok()? {
        let folder = thread.ok()?.path();
        let name = std::fs::read_to_string(folder.join("comm")).unwrap_or_default();
        if name.trim() == THREADS {
            time.load += ticks(folder.join("stat"), Ended::Ignored).unwrap_or_default();
        }
    }
    Some(time)
}
