//! `spin:postgres/postgres@4.2.0`: a component's connections to Postgres.
//!
//! Results, errors and values are those of Spin; how connections are kept is the host's choice ([`crate::PoolMode`]).

#![expect(
    clippy::result_large_err,
    reason = "the guest's error type is as the interface has it"
)]

mod convert;
mod parameters;
mod pool;

#[expect(unreachable_pub, reason = "generated code re-exports it")]
pub use pool::Lease;
pub(crate) use pool::Pools;

use crate::bindings::postgres::{
    Column, DbError, Error, Host, HostConnection, HostConnectionBuilder, HostConnectionBuilderWithStore,
    HostConnectionWithStore, ParameterValue, QueryError, Row, RowSet,
};
use crate::state::{Component, Instance, InstanceOf};
use futures::{FutureExt, Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::Config;
use tokio_postgres::config;
use wasmtime::StoreContextMut;
use wasmtime::component::{Accessor, Destination, FutureReader, Resource, StreamProducer, StreamReader, StreamResult};

/// What the interface's functions fail with: an error for the guest.
pub(crate) type Failure = wasmtime_wasi::TrappableError<Error>;

/// The most that one result may take of the host's memory.
const LARGEST_RESULT: usize = 128 << 20;

/// How many rows are fetched ahead of the guest.
const ROWS_AHEAD: usize = 4;

/// A connection that is not open yet.
#[expect(unreachable_pub, reason = "generated code re-exports it")]
pub struct Builder {
    address: String,
    root: Option<String>,
}

/// What an asynchronous query answers.
type Answer = (Vec<Column>, StreamReader<Row>, FutureReader<Result<(), Error>>);

/// Opens a connection, if the component may.
async fn open(component: &Component, address: &str, root: Option<String>) -> Result<Lease, Error> {
    check_address(component, address)?;
    component.pools.open(address, root).await
}

fn check_address(component: &Component, address: &str) -> Result<(), Error> {
    let config: Config = address
        .parse()
        .map_err(|error: tokio_postgres::Error| Error::ConnectionFailed(error.to_string()))?;
    let ports = config.get_ports();
    for (index, host) in config.get_hosts().iter().enumerate() {
        let host = match host {
            config::Host::Tcp(host) => host,
            #[cfg(unix)]
            config::Host::Unix(_) => {
                return Err(Error::ConnectionFailed(
                    "Unix sockets are not supported on WebAssembly".to_owned(),
                ));
            }
        };
        let port = ports.get(index).or(if let [only] = ports { Some(only) } else { None });
        let target = port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
        if !component.allowed_hosts.allows(&target, "postgres") {
            return Err(Error::ConnectionFailed(format!(
                "address postgres://{target} is not permitted"
            )));
        }
    }
    Ok(())
}

async fn execute(lease: &Lease, statement: &str, parameters: Vec<ParameterValue>) -> Result<u64, Error> {
    let parameters =
        parameters::to_sql(&parameters).map_err(|error| Error::ValueConversionFailed(format!("{error:?}")))?;
    lease
        .execute(statement, &parameters)
        .await
        .map_err(|error| query_failed(&error))
}

/// Rows on their way to a guest; the columns come with the first one.
type Incoming = Pin<Box<dyn Stream<Item = Result<(Vec<Column>, Row), Error>> + Send>>;

/// Runs a statement.
async fn rows(lease: &Lease, statement: &str, parameters: Vec<ParameterValue>) -> Result<Incoming, Error> {
    let parameters = parameters::to_sql(&parameters).map_err(|error| Error::BadParameter(format!("{error:?}")))?;
    let rows = lease
        .query(statement, &parameters)
        .await
        .map_err(|error| query_failed(&error))?;
    let mut first = true;
    Ok(Box::pin(rows.map(move |row| {
        let row = row.map_err(|error| query_failed(&error))?;
        let columns = if std::mem::take(&mut first) {
            convert::columns(&row)
        } else {
            Vec::new()
        };
        let values = convert::row(&row).map_err(|error| query_failed_text(format!("{error:?}")))?;
        Ok((columns, values))
    })))
}

async fn query(lease: &Lease, statement: &str, parameters: Vec<ParameterValue>) -> Result<RowSet, Error> {
    let mut incoming = rows(lease, statement, parameters).await?;
    let mut set = RowSet {
        columns: Vec::new(),
        rows: Vec::new(),
    };
    let mut size = size_of::<RowSet>();
    while let Some(row) = incoming.next().await {
        let (columns, row) = row.map_err(|error| query_failed_text(format!("{:?}", anyhow::Error::from(error))))?;
        if set.rows.is_empty() {
            set.columns = columns;
        }
        size += convert::size(&row);
        if size > LARGEST_RESULT {
            return Err(too_large());
        }
        set.rows.push(row);
    }
    Ok(set)
}

/// A result whose rows come one after the other.
enum Rows {
    /// All of it is here already.
    Whole(Vec<Column>, Vec<Row>, Result<(), Error>),
    /// The rest is being fetched.
    Incoming(Vec<Column>, mpsc::Receiver<Row>, oneshot::Receiver<Result<(), Error>>),
}

/// Runs a statement and waits for the first row, or the end.
async fn query_stream(lease: &Lease, statement: &str, parameters: Vec<ParameterValue>) -> Result<Rows, Error> {
    let mut incoming = rows(lease, statement, parameters).await?;
    let mut columns = Vec::new();
    let mut ready = Vec::new();
    let mut next = incoming.next().await;
    // Most results are short and arrive at once: they need no task to fetch the rest.
    loop {
        match next {
            None => return Ok(Rows::Whole(columns, ready, Ok(()))),
            Some(Err(error)) => return Ok(Rows::Whole(columns, ready, Err(error))),
            Some(Ok((_, row))) if convert::size(&row) > LARGEST_RESULT => {
                return Ok(Rows::Whole(columns, ready, Err(too_large())));
            }
            Some(Ok((described, row))) => {
                if ready.is_empty() {
                    columns = described;
                }
                ready.push(row);
            }
        }
        if ready.len() > ROWS_AHEAD {
            break;
        }
        match incoming.next().now_or_never() {
            Some(row) => next = row,
            None => break,
        }
    }

    let (row_sender, row_receiver) = mpsc::channel(ROWS_AHEAD);
    let (outcome_sender, outcome_receiver) = oneshot::channel();
    let lease = lease.clone();
    tokio::spawn(async move {
        let outcome = tokio::select! {
            biased;
            () = row_sender.closed() => Ok(()),
            outcome = forward(ready, &mut incoming, &row_sender) => outcome,
        };
        drop(incoming);
        drop(lease);
        // The guest may have dropped the future; then nobody wants to know.
        _ = outcome_sender.send(outcome);
    });
    Ok(Rows::Incoming(columns, row_receiver, outcome_receiver))
}

async fn forward(ready: Vec<Row>, incoming: &mut Incoming, sender: &mpsc::Sender<Row>) -> Result<(), Error> {
    for row in ready {
        if sender.send(row).await.is_err() {
            return Ok(());
        }
    }
    while let Some(row) = incoming.next().await {
        let (_, row) = row?;
        if convert::size(&row) > LARGEST_RESULT {
            return Err(too_large());
        }
        if sender.send(row).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn too_large() -> Error {
    query_failed_text(format!("query result exceeds limit of {LARGEST_RESULT} bytes"))
}

fn query_failed_text(text: String) -> Error {
    Error::QueryFailed(QueryError::Text(text))
}

fn query_failed(error: &tokio_postgres::Error) -> Error {
    let as_text = format!("{error:?}");
    let Some(details) = error.as_db_error() else {
        return query_failed_text(as_text);
    };
    let extras = [
        ("column", details.column().map(str::to_owned)),
        ("constraint", details.constraint().map(str::to_owned)),
        ("routine", details.routine().map(str::to_owned)),
        ("hint", details.hint().map(str::to_owned)),
        ("table", details.table().map(str::to_owned)),
        ("datatype", details.datatype().map(str::to_owned)),
        ("schema", details.schema().map(str::to_owned)),
        ("file", details.file().map(str::to_owned)),
        ("line", details.line().map(|line| line.to_string())),
        ("where_", details.where_().map(str::to_owned)),
    ];
    Error::QueryFailed(QueryError::DbError(DbError {
        as_text,
        severity: details.severity().to_owned(),
        code: details.code().code().to_owned(),
        message: details.message().to_owned(),
        detail: details.detail().map(str::to_owned),
        extras: extras
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect(),
    }))
}

/// Hands a task's rows to the guest.
struct RowProducer(mpsc::Receiver<Row>);

impl<D> StreamProducer<D> for RowProducer {
    type Item = Row;
    type Buffer = Option<Row>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        mut destination: Destination<'a, Row, Option<Row>>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        if destination.remaining(store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        match self.0.poll_recv(context) {
            Poll::Ready(Some(row)) => {
                destination.set_buffer(Some(row));
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Poll::Ready(None) => Poll::Ready(Ok(StreamResult::Dropped)),
            Poll::Pending if finish => Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Host for Instance {
    fn convert_error(&mut self, error: Failure) -> wasmtime::Result<Error> {
        error.downcast()
    }
}

impl Instance {
    fn lease(&self, connection: &Resource<Lease>) -> Result<Lease, Failure> {
        self.table.get(connection).cloned().map_err(Failure::trap)
    }

    fn builder(&self, builder: &Resource<Builder>) -> Result<(Arc<Component>, String, Option<String>), Failure> {
        let settings = self.table.get(builder).map_err(Failure::trap)?;
        Ok((
            Arc::clone(&self.component),
            settings.address.clone(),
            settings.root.clone(),
        ))
    }

    fn keep(&mut self, lease: Lease) -> Result<Resource<Lease>, Failure> {
        self.table.push(lease).map_err(Failure::trap)
    }
}

impl HostConnection for Instance {
    async fn open(&mut self, address: String) -> Result<Resource<Lease>, Failure> {
        let lease = open(&self.component, &address, None).await?;
        self.keep(lease)
    }

    async fn query(
        &mut self,
        connection: Resource<Lease>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> Result<RowSet, Failure> {
        let lease = self.lease(&connection)?;
        Ok(query(&lease, &statement, parameters).await?)
    }

    async fn execute(
        &mut self,
        connection: Resource<Lease>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> Result<u64, Failure> {
        let lease = self.lease(&connection)?;
        Ok(execute(&lease, &statement, parameters).await?)
    }

    async fn drop(&mut self, connection: Resource<Lease>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}

impl<T: Send> HostConnectionWithStore<T> for InstanceOf {
    async fn open_async(accessor: &Accessor<T, Self>, address: String) -> Result<Resource<Lease>, Failure> {
        let component = accessor.with(|mut access| Arc::clone(&access.get().component));
        let lease = open(&component, &address, None).await?;
        accessor.with(|mut access| access.get().keep(lease))
    }

    async fn query_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Lease>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> Result<Answer, Failure> {
        let lease = accessor.with(|mut access| access.get().lease(&connection))?;
        let rows = query_stream(&lease, &statement, parameters).await?;
        accessor
            .with(|mut access| match rows {
                Rows::Whole(columns, rows, outcome) => {
                    let rows = StreamReader::new(&mut access, rows)?;
                    let outcome = FutureReader::new(&mut access, std::future::ready(wasmtime::error::Ok(outcome)))?;
                    wasmtime::error::Ok((columns, rows, outcome))
                }
                Rows::Incoming(columns, rows, outcome) => {
                    let rows = StreamReader::new(&mut access, RowProducer(rows))?;
                    let outcome = FutureReader::new(&mut access, outcome)?;
                    wasmtime::error::Ok((columns, rows, outcome))
                }
            })
            .map_err(Failure::trap)
    }

    async fn execute_async(
        accessor: &Accessor<T, Self>,
        connection: Resource<Lease>,
        statement: String,
        parameters: Vec<ParameterValue>,
    ) -> Result<u64, Failure> {
        let lease = accessor.with(|mut access| access.get().lease(&connection))?;
        Ok(execute(&lease, &statement, parameters).await?)
    }
}

impl HostConnectionBuilder for Instance {
    async fn new(&mut self, address: String) -> wasmtime::Result<Resource<Builder>> {
        Ok(self.table.push(Builder { address, root: None })?)
    }

    async fn set_ca_root(&mut self, builder: Resource<Builder>, certificate: String) -> Result<(), Failure> {
        crate::tls::client(Some(&certificate))
            .map_err(|reason| Error::Other(format!("invalid root certificate: {reason}")))?;
        self.table.get_mut(&builder).map_err(Failure::trap)?.root = Some(certificate);
        Ok(())
    }

    async fn build(&mut self, builder: Resource<Builder>) -> Result<Resource<Lease>, Failure> {
        let (component, address, root) = self.builder(&builder)?;
        let lease = open(&component, &address, root).await?;
        self.keep(lease)
    }

    async fn drop(&mut self, builder: Resource<Builder>) -> wasmtime::Result<()> {
        self.table.delete(builder)?;
        Ok(())
    }
}

impl<T: Send> HostConnectionBuilderWithStore<T> for InstanceOf {
    async fn build_async(accessor: &Accessor<T, Self>, builder: Resource<Builder>) -> Result<Resource<Lease>, Failure> {
        let (component, address, root) = accessor.with(|mut access| access.get().builder(&builder))?;
        let lease = open(&component, &address, root).await?;
        accessor.with(|mut access| access.get().keep(lease))
    }
}
