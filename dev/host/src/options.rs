//! How a host is started.

use crate::LogSink;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// How a host is started.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// The manifest, usually `spin.toml`; components' files are relative to its folder.
    pub manifest: PathBuf,
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Values of the application's variables by name, as `SPIN_VARIABLE_…` gives them to Spin: they win over `.env` beside the
    /// manifest, which wins over the manifest's defaults. A name that the manifest does not declare is refused.
    pub variables: BTreeMap<String, String>,
    /// How database connections are kept between uses.
    pub pool: PoolMode,
    /// The most database connections for one component and address.
    pub max_connections: usize,
    /// Where compiled components are kept between runs; none compiles them at each start.
    pub cache: Option<PathBuf>,
    /// How instances are reused.
    pub reuse: InstanceReuse,
    /// How long an instance may take to begin an answer, and how long it may go on working after its last answer; none is no limit.
    pub request_timeout: Option<Duration>,
    /// Where guests' standard output and error go.
    pub logs: LogSink,
    /// Whether to run the manifest's schedules by the clock; [`Host::run_schedule`](crate::Host::run_schedule) runs them by hand in any
    /// case.
    pub cron: bool,
    /// How long a component that a schedule starts may take.
    pub tick_limit: Duration,
}

impl HostOptions {
    /// A manifest on a free port of this machine, with the way of running that this application documents: one request at a time in
    /// an instance, and connections isolated from each other's users.
    pub fn new(manifest: impl Into<PathBuf>) -> Self {
        Self {
            manifest: manifest.into(),
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            variables: BTreeMap::new(),
            pool: PoolMode::default(),
            max_connections: 64,
            cache: None,
            reuse: InstanceReuse {
                max_concurrent: 1,
                ..InstanceReuse::default()
            },
            request_timeout: None,
            logs: LogSink::default(),
            cron: true,
            tick_limit: Duration::from_secs(120),
        }
    }
}

/// How database connections are kept between uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolMode {
    /// A connection that comes back is rolled back and its session reset before anybody else gets it, outside any request's time;
    /// prepared statements are kept, so that a repeated statement is one exchange with the database.
    #[default]
    Isolated,
    /// As Spin 4.1: the session is reset when a connection is taken out, an open transaction stays open, and each statement is
    /// prepared anew.
    Spin,
}

/// How instances are reused; [`Default`] is what Spin does unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstanceReuse {
    /// How many requests an instance serves in its life.
    pub max_requests: usize,
    /// How many requests an instance serves at once.
    pub max_concurrent: usize,
    /// How long an instance without a request is kept.
    pub idle: Duration,
}

impl Default for InstanceReuse {
    fn default() -> Self {
        Self {
            max_requests: 128,
            max_concurrent: 16,
            idle: Duration::from_secs(1),
        }
    }
}
