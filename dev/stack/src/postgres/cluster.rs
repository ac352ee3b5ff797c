//! A database cluster of our own: its folder, its port, its programs, and the server while it runs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::account::{self, Account, set_mode};
use super::binaries::Binaries;
use super::server::{Server, Stop, living_postmaster, stop_left_behind};
use super::wheel::{explain_programs, text};
use super::{ADMIN_ROLE, DATABASE, Health, PostgresOptions, url};
use crate::database;
use crate::{Progress, Secrets, StackError};

/// A start that takes longer has failed; recovery after a crash is part of it.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// The server's log is begun anew when it is longer than this.
const LOG_LIMIT_BYTES: u64 = 10 * 1024 * 1024;

/// What the server always runs with. It is reached over TCP on this machine, by password, and by no one else.
const SETTINGS: &[&str] = &[
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=200",
    "shared_buffers=64MB",
    "timezone=UTC",
    "log_timezone=UTC",
    "jit=off",
];

/// What makes a server quick whose data may be lost with the machine.
const FAST_SETTINGS: &[&str] = &[
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "wal_level=minimal",
    "max_wal_senders=0",
];

/// What is remembered of a cluster in its data folder, for the next start and for those who ask where it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    /// Where the cluster and its log are; elsewhere than the data folder if that is out of the server's reach.
    pub(super) folder: PathBuf,
    /// The port on 127.0.0.1.
    pub(super) port: u16,
}

impl Record {
    /// Reads the record of a data folder, if there is one.
    pub(super) fn read(data: &Path) -> Result<Option<Self>, StackError> {
        let path = data.join("postgres.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| StackError::Failed(format!("{} is damaged ({error}): remove it", path.display()))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StackError::file("read", &path)(error)),
        }
    }

    /// Writes the record.
    fn write(&self, data: &Path) -> Result<(), StackError> {
        let path = data.join("postgres.json");
        let text = serde_json::to_vec_pretty(self)
            .map_err(|error| StackError::Failed(format!("the record of Postgres cannot be written: {error}")))?;
        fs::write(&path, text).map_err(StackError::file("write", &path))
    }
}

/// A cluster that this process holds, running or not.
#[derive(Debug)]
pub(super) struct Cluster {
    data: PathBuf,
    account: Account,
    binaries: Binaries,
    record: Record,
    secrets: Secrets,
    fast: bool,
    server: Option<Server>,
    health: watch::Sender<Health>,
    /// Held as long as we live: one process for each data folder.
    _lock: File,
}

impl Cluster {
    /// Takes the data folder, makes a cluster in it if there is none, and starts its server.
    pub(super) async fn open(options: &PostgresOptions, progress: &dyn Progress) -> Result<Self, StackError> {
        let data = options.data.as_path();
        fs::create_dir_all(data).map_err(StackError::file("create", data))?;
        let lock = lock(data)?;
        let secrets = Secrets::load_or_create(data)?;
        let account = Account::detect()?;
        account::remove_abandoned(account, |folder| living_postmaster(&folder.join("data")).is_some());
        let folder = account.reachable(&data.join("postgres"))?;
        account.own(&folder)?;

        let cluster = folder.join("data");
        let binaries = Binaries::find(account, &options.cache, data_major(&cluster), progress).await?;
        let port = match Record::read(data)? {
            Some(record) => record.port,
            None => free_port()?,
        };
        let (health, _) = watch::channel(Health::Stopped);
        let record = Record { folder, port };
        let mut this = Self {
            data: data.to_owned(),
            account,
            binaries,
            record,
            secrets,
            fast: options.fast,
            server: None,
            health,
            _lock: lock,
        };
        stop_left_behind(&cluster).await?;
        let is_new = !cluster.exists();
        if is_new {
            progress.step("Postgres: making a database cluster");
            this.initialize().await?;
        }
        progress.step("Postgres: starting");
        this.start_on_free_port().await?;
        this.prepare_database().await?;
        Ok(this)
    }

    /// The owner's URL of the database.
    pub(super) fn admin_url(&self) -> String {
        url(
            ADMIN_ROLE,
            self.secrets.database_admin_password(),
            self.record.port,
            DATABASE,
        )
    }

    /// The secrets of the data folder.
    pub(super) fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The server's port.
    pub(super) fn port(&self) -> u16 {
        self.record.port
    }

    /// The server's process, if it runs.
    pub(super) fn pid(&self) -> Option<i32> {
        self.server
            .as_ref()
            .filter(|server| !server.has_exited())
            .map(Server::pid)
    }

    /// How the server is, from now on.
    pub(super) fn watch(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Ends the server.
    pub(super) async fn stop(&mut self, how: Stop) -> Result<(), StackError> {
        match self.server.take() {
            Some(mut server) => server.stop(how).await,
            None => Ok(()),
        }
    }

    /// Starts the server on its port, and waits until it answers.
    pub(super) async fn start(&mut self) -> Result<(), StackError> {
        let begin = Instant::now();
        loop {
            match self.try_start(begin).await {
                // Processes of a server that was killed let go of its memory, and of its port, one after the other.
                Err(Refusal::InUse(_)) if begin.elapsed() < Duration::from_secs(10) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(refusal) => return Err(refusal.into_error()),
                Ok(()) => return Ok(()),
            }
        }
    }

    /// Starts the server; if another program has its port, on another that is remembered from then on.
    async fn start_on_free_port(&mut self) -> Result<(), StackError> {
        let mut attempts = 0;
        loop {
            if TcpListener::bind((Ipv4Addr::LOCALHOST, self.record.port)).is_err() {
                self.record.port = free_port()?;
            }
            self.record.write(&self.data)?;
            attempts += 1;
            match self.try_start(Instant::now()).await {
                Err(Refusal::InUse(_)) if attempts < 20 => tokio::time::sleep(Duration::from_millis(250)).await,
                Err(refusal) => return Err(refusal.into_error()),
                Ok(()) => return Ok(()),
            }
        }
    }

    /// One attempt to start the server.
    async fn try_start(&mut self, begin: Instant) -> Result<(), Refusal> {
        let (mut log, offset) = self.open_log()?;
        let output = |file: &File| file.try_clone().map_err(StackError::file("open", &self.log()));
        let mut command = self.binaries.command("postgres", self.account, &self.record.folder);
        command
            .arg("-D")
            .arg(self.cluster())
            .arg("-p")
            .arg(self.record.port.to_string());
        for setting in SETTINGS
            .iter()
            .chain(self.fast.then_some(FAST_SETTINGS).into_iter().flatten())
        {
            command.args(["-c", setting]);
        }
        command.stdout(output(&log)?).stderr(output(&log)?);
        let server = Server::spawn(command, self.health.clone())?;

        let address = url(
            ADMIN_ROLE,
            self.secrets.database_admin_password(),
            self.record.port,
            "postgres",
        );
        let config = database::parse(&address)?;
        loop {
            if server.has_exited() {
                return Err(Refusal::from_log(&read_from(&mut log, offset)));
            }
            match database::connect_to(&config).await {
                Ok(_) => break,
                Err(error) if begin.elapsed() > START_TIMEOUT => {
                    return Err(StackError::Database {
                        action: "Postgres does not answer".to_owned(),
                        source: error,
                    }
                    .into());
                }
                Err(error)
                    if error
                        .as_db_error()
                        .is_some_and(|refusal| !refusal.code().code().starts_with("57P")) =>
                {
                    return Err(StackError::Database {
                        action: "Postgres refuses its owner".to_owned(),
                        source: error,
                    }
                    .into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        self.health.send_replace(Health::Running);
        self.server = Some(server);
        Ok(())
    }

    /// Makes the cluster, beside its place and moved there when it is whole.
    async fn initialize(&self) -> Result<(), StackError> {
        let folder = &self.record.folder;
        let draft = folder.join("data.new");
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(StackError::file("remove", &draft))?;
        }
        let password = folder.join("password");
        write_private(&password, self.secrets.database_admin_password())?;
        self.account.own(&password)?;

        let mut command = self.binaries.command("initdb", self.account, folder);
        command
            .arg("-D")
            .arg(&draft)
            .arg("--pwfile")
            .arg(&password)
            .args(["-U", ADMIN_ROLE]);
        command.args([
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ]);
        if self.binaries.major >= 17 {
            command.args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
        }
        let output = run(command).await;
        fs::remove_file(&password).map_err(StackError::file("remove", &password))?;
        output?;
        fs::rename(&draft, self.cluster()).map_err(StackError::file("create", &self.cluster()))
    }

    /// Makes the database if it is not there, and proves that pgvector works in it.
    async fn prepare_database(&self) -> Result<(), StackError> {
        let address = url(
            ADMIN_ROLE,
            self.secrets.database_admin_password(),
            self.record.port,
            "postgres",
        );
        let client = database::connect(&address).await?;
        let exists = client
            .query_opt("SELECT 1 FROM pg_database WHERE datname = $1", &[&DATABASE])
            .await
            .map_err(StackError::database("the databases cannot be listed"))?;
        if exists.is_some() {
            return Ok(());
        }
        // In the cluster's own database, and rolled back: where the extension goes is the migrations' choice.
        client
            .batch_execute("BEGIN; CREATE EXTENSION vector; SELECT '[1,2,3]'::vector <-> '[3,2,1]'; ROLLBACK")
            .await
            .map_err(StackError::database("pgvector does not work here"))?;
        client
            .batch_execute(&format!("CREATE DATABASE {DATABASE}"))
            .await
            .map_err(StackError::database("the database cannot be made"))
    }

    /// The cluster's own folder.
    fn cluster(&self) -> PathBuf {
        self.record.folder.join("data")
    }

    /// The server's log.
    fn log(&self) -> PathBuf {
        self.record.folder.join("server.log")
    }

    /// The log, and where this run's part of it begins.
    fn open_log(&self) -> Result<(File, u64), StackError> {
        let path = self.log();
        let mut log = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .map_err(StackError::file("open", &path))?;
        let mut length = log.seek(SeekFrom::End(0)).map_err(StackError::file("read", &path))?;
        if length > LOG_LIMIT_BYTES {
            log.set_len(0).map_err(StackError::file("shorten", &path))?;
            length = 0;
        }
        Ok((log, length))
    }
}

/// Why an attempt to start ended.
enum Refusal {
    /// The port or the memory of the cluster is still another's.
    InUse(StackError),
    /// Anything else, which another attempt will not change.
    Final(StackError),
}

impl Refusal {
    /// What the server's own words mean.
    fn from_log(said: &str) -> Self {
        let in_use = [
            "could not bind",
            "pre-existing shared memory block",
            "lock file \"postmaster.pid\" already exists",
        ];
        if in_use.iter().any(|sign| said.contains(sign)) {
            return Self::InUse(StackError::Failed(format!(
                "Postgres does not start: {}",
                last_lines(said)
            )));
        }
        Self::Final(explain_programs(&last_lines(said)))
    }

    /// The error for the caller.
    fn into_error(self) -> StackError {
        match self {
            Self::InUse(error) | Self::Final(error) => error,
        }
    }
}

impl From<StackError> for Refusal {
    fn from(error: StackError) -> Self {
        Self::Final(error)
    }
}

/// Takes the data folder for this process.
fn lock(data: &Path) -> Result<File, StackError> {
    let path = data.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StackError::file("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StackError::Busy(data.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(StackError::file("lock", &path)(error)),
    }
}

/// The major version that made a cluster.
fn data_major(cluster: &Path) -> Option<u32> {
    fs::read_to_string(cluster.join("PG_VERSION")).ok()?.trim().parse().ok()
}

/// A port on 127.0.0.1 that nothing listens on, below those that systems give to outgoing connections: one of these
/// could take the port while the server restarts.
pub(super) fn free_port() -> Result<u16, StackError> {
    for _ in 0..200 {
        let mut random = [0_u8; 2];
        getrandom::fill(&mut random)
            .map_err(|error| StackError::Failed(format!("the system gives no randomness: {error}")))?;
        let port = 20_000 + u16::from_le_bytes(random) % 12_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(StackError::Failed(
        "there is no free port between 20000 and 32000 on 127.0.0.1".to_owned(),
    ))
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, text: &str) -> Result<(), StackError> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(StackError::file("write", path))?;
    set_mode(path, 0o600)?;
    file.write_all(text.as_bytes()).map_err(StackError::file("write", path))
}

/// Runs a program that ends by itself.
async fn run(command: Command) -> Result<(), StackError> {
    let output = tokio::process::Command::from(command)
        .output()
        .await
        .map_err(|error| StackError::Failed(format!("Postgres' programs cannot be run: {error}")))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(explain_programs(&text(&output)))
    }
}

/// What the server wrote since `offset`.
fn read_from(log: &mut File, offset: u64) -> String {
    let mut bytes = Vec::new();
    match log
        .seek(SeekFrom::Start(offset))
        .and_then(|_| log.read_to_end(&mut bytes))
    {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => format!("its log cannot be read: {error}"),
    }
}

/// The end of a text, as much as is worth showing.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(8)..)
        .unwrap_or_default()
        .join("\n")
}
