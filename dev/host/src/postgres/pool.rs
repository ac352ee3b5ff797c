//! Connections and how they are kept between uses.
//!
//! In [`PoolMode::Isolated`] a connection that comes back is cleaned by a task of its own, so no request waits for it, and only a
//! connection whose cleaning is known to have worked goes back into the pool. What a guest did to it does not matter: everything is
//! rolled back and reset whether it seems needed or not, since a session can be changed from inside any function.

use super::Error;
use crate::PoolMode;
use crate::statistics::Counters;
use crate::tls::{self, PostgresTls};
use deadpool_postgres::{Hook, Manager, ManagerConfig, Object, Pool, QueueMode, RecyclingMethod};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, NoTls, RowStream, Statement};

/// How many addresses a component's pools are kept for.
const ADDRESSES: u64 = 16;

/// How many prepared statements a connection keeps. A guest that writes statements with values in them would else fill the server.
const STATEMENTS: usize = 256;

/// How long cleaning a connection may take before it is given up.
const CLEANING_LIMIT: Duration = Duration::from_secs(5);

/// Opens a transaction, so that there is one to roll back: a rollback without one is a warning in the server's log. In a transaction
/// that has failed this is an error, and the rollback comes all the same.
const BEFORE_CLEANING: &str = "BEGIN";

/// Brings a session back to its beginning, except for prepared statements.
const CLEANING: &str = "ROLLBACK; CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *; \
                        SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

/// A statement's parameter.
pub(crate) type Parameter = Box<dyn ToSql + Send + Sync>;

/// One component's pools, one for each address.
pub(crate) struct Pools {
    mode: PoolMode,
    max_connections: usize,
    runtime: Handle,
    counters: Arc<Counters>,
    pools: moka::sync::Cache<(String, Option<String>), Pool>,
}

impl Pools {
    /// Pools without connections; `runtime` is where they are cleaned.
    pub(crate) fn new(mode: PoolMode, max_connections: usize, runtime: Handle, counters: Arc<Counters>) -> Self {
        Self {
            mode,
            max_connections,
            runtime,
            counters,
            pools: moka::sync::Cache::new(ADDRESSES),
        }
    }

    /// Takes a connection out, or opens one; `root` is the PEM of an authority to trust.
    pub(crate) async fn open(&self, address: &str, root: Option<String>) -> Result<Lease, Error> {
        let failed = |error: anyhow::Error| Error::ConnectionFailed(format!("{error:?}"));
        let key = (address.to_owned(), root);
        let pool = self
            .pools
            .try_get_with_by_ref(&key, || self.new_pool(address, key.1.as_deref()))
            .map_err(|error| failed(anyhow::anyhow!("establishing PostgreSQL connection pool: {error:#}")))?;
        let object = pool.get().await.map_err(|error| failed(error.into()))?;
        Ok(Lease(Arc::new(Connection {
            object: Some(object),
            mode: self.mode,
            runtime: self.runtime.clone(),
            counters: Arc::clone(&self.counters),
            unsettled: AtomicBool::new(false),
        })))
    }

    fn new_pool(&self, address: &str, root: Option<&str>) -> anyhow::Result<Pool> {
        let config: Config = address.parse()?;
        let recycling_method = match self.mode {
            PoolMode::Isolated => RecyclingMethod::Fast,
            PoolMode::Spin => RecyclingMethod::Clean,
        };
        let settings = ManagerConfig { recycling_method };
        let manager = if config.get_ssl_mode() == SslMode::Disable {
            Manager::from_config(config, NoTls, settings)
        } else {
            let client = tls::client(root).map_err(anyhow::Error::msg)?;
            Manager::from_config(config, PostgresTls(client), settings)
        };
        let queue_mode = match self.mode {
            // The connection used last has the statements at hand.
            PoolMode::Isolated => QueueMode::Lifo,
            PoolMode::Spin => QueueMode::Fifo,
        };
        let (opened, recycled) = (Arc::clone(&self.counters), Arc::clone(&self.counters));
        let mut builder = Pool::builder(manager)
            .max_size(self.max_connections)
            .queue_mode(queue_mode)
            .post_create(Hook::sync_fn(move |_, _| {
                opened.connections.add(1);
                Ok(())
            }));
        if self.mode == PoolMode::Spin {
            builder = builder.post_recycle(Hook::sync_fn(move |_, _| {
                recycled.exchanges.add(1);
                Ok(())
            }));
        }
        Ok(builder.build()?)
    }
}

/// A connection in use; it goes back when the last clone is dropped.
#[derive(Clone)]
#[expect(unreachable_pub, reason = "generated code re-exports it")]
pub struct Lease(Arc<Connection>);

impl Deref for Lease {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

/// A connection taken out of its pool.
#[expect(unreachable_pub, reason = "a re-exported type derefs to it")]
pub struct Connection {
    /// There until the drop.
    object: Option<Object>,
    mode: PoolMode,
    runtime: Handle,
    counters: Arc<Counters>,
    /// Whether a statement was abandoned, or the protocol lost its step: such a connection is closed rather than cleaned.
    unsettled: AtomicBool,
}

impl Connection {
    /// Runs a statement and answers how many rows it touched.
    pub(crate) async fn execute(
        &self,
        statement: &str,
        parameters: &[Parameter],
    ) -> Result<u64, tokio_postgres::Error> {
        let object = self.object();
        self.settled(async {
            match self.mode {
                PoolMode::Spin => {
                    self.count(2);
                    object.execute_raw(statement, slice(parameters)).await
                }
                PoolMode::Isolated => {
                    let prepared = self.prepare(object, statement).await?;
                    self.count(1);
                    match object.execute_raw(&prepared, slice(parameters)).await {
                        Err(error) if is_outdated(&error) => {
                            let prepared = self.prepare_again(object, statement, error).await?;
                            object.execute_raw(&prepared, slice(parameters)).await
                        }
                        outcome => outcome,
                    }
                }
            }
        })
        .await
    }

    /// Runs a statement and answers its rows as they come.
    pub(crate) async fn query(
        &self,
        statement: &str,
        parameters: &[Parameter],
    ) -> Result<RowStream, tokio_postgres::Error> {
        let object = self.object();
        self.settled(async {
            match self.mode {
                PoolMode::Spin => {
                    self.count(2);
                    object.query_raw(statement, slice(parameters)).await
                }
                PoolMode::Isolated => {
                    let prepared = self.prepare(object, statement).await?;
                    self.count(1);
                    match object.query_raw(&prepared, slice(parameters)).await {
                        Err(error) if is_outdated(&error) => {
                            let prepared = self.prepare_again(object, statement, error).await?;
                            object.query_raw(&prepared, slice(parameters)).await
                        }
                        outcome => outcome,
                    }
                }
            }
        })
        .await
    }

    fn count(&self, exchanges: u64) {
        self.counters.statements.add(1);
        self.counters.exchanges.add(exchanges);
    }

    async fn prepare(&self, object: &Object, statement: &str) -> Result<Statement, tokio_postgres::Error> {
        let cache = &object.statement_cache;
        let before = cache.size();
        if before > STATEMENTS {
            cache.clear();
        }
        let prepared = object.prepare_cached(statement).await?;
        if cache.size() != before {
            self.counters.exchanges.add(1);
        }
        Ok(prepared)
    }

    /// Prepares a statement that the server has forgotten or that a migration has overtaken. If that is not possible, because the
    /// failure has taken a transaction with it, the failure itself is the answer.
    async fn prepare_again(
        &self,
        object: &Object,
        statement: &str,
        failure: tokio_postgres::Error,
    ) -> Result<Statement, tokio_postgres::Error> {
        object.statement_cache.clear();
        self.counters.exchanges.add(2);
        object.prepare_cached(statement).await.map_err(|_| failure)
    }

    /// Notes an operation that is dropped before its end, or ends with anything but the server's own word.
    async fn settled<T>(
        &self,
        operation: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, tokio_postgres::Error> {
        let abandoned = Abandoned {
            connection: self,
            over: false,
        };
        let outcome = operation.await;
        abandoned.over(outcome.as_ref().err().is_none_or(|error| error.as_db_error().is_some()));
        outcome
    }

    #[expect(
        clippy::expect_used,
        reason = "the object is there until the drop, which is the last thing to happen"
    )]
    fn object(&self) -> &Object {
        self.object.as_ref().expect("a connection in use")
    }
}

/// Marks its connection unsettled unless told that the operation came to a good end.
struct Abandoned<'a> {
    connection: &'a Connection,
    over: bool,
}

impl Abandoned<'_> {
    fn over(mut self, well: bool) {
        self.over = well;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.connection.unsettled.store(true, Ordering::Relaxed);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else {
            return;
        };
        if self.mode == PoolMode::Spin {
            return drop(object);
        }
        if self.unsettled.load(Ordering::Relaxed) {
            return drop(Object::take(object));
        }
        self.runtime.spawn(async move {
            // Taken out of the pool, it closes when it is dropped.
            match tokio::time::timeout(CLEANING_LIMIT, clean(&object)).await {
                Ok(Ok(())) => drop(object),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a database connection could not be cleaned and is closed");
                    drop(Object::take(object));
                }
                Err(_) => {
                    tracing::warn!("a database connection was not cleaned in time and is closed");
                    drop(Object::take(object));
                }
            }
        });
    }
}

async fn clean(object: &Object) -> Result<(), tokio_postgres::Error> {
    // Both are sent before the first is answered.
    let (_, cleaned) = futures::join!(object.batch_execute(BEFORE_CLEANING), object.batch_execute(CLEANING));
    cleaned
}

fn slice(parameters: &[Parameter]) -> impl ExactSizeIterator<Item = &(dyn ToSql + Sync)> {
    parameters.iter().map(|parameter| &**parameter as &(dyn ToSql + Sync))
}

/// Whether a prepared statement is gone, or its columns have changed since.
fn is_outdated(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| match *error.code() {
        SqlState::INVALID_SQL_STATEMENT_NAME => true,
        SqlState::FEATURE_NOT_SUPPORTED => error.routine() == Some("RevalidateCachedQuery"),
        _ => false,
    })
}
