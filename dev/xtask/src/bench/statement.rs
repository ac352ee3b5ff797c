//! Operations, called on Postgres without a component.

use std::sync::Arc;

use serde_json::Value;
use tokio_postgres::{Client, NoTls, Statement};

use super::load::{self, Throughput, Turns, Work};
use super::setup::DURATION;

/// Opens a connection that is served until the client is dropped.
pub(crate) async fn connect(url: &str) -> anyhow::Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

/// The statement by which components call an operation.
pub(crate) fn call(operation: &str) -> String {
    format!("SELECT api.{operation}($1::text::jsonb, $2::text::jsonb)::text")
}

/// A service as an operation's caller.
pub(crate) fn service(name: &str) -> Value {
    serde_json::json!({ "kind": "service", "name": name })
}

/// The very statement that a component runs, prepared once per connection.
struct Call {
    client: Client,
    statement: Statement,
    caller: String,
    inputs: Turns<String>,
}

impl Work for Call {
    async fn once(&mut self) -> anyhow::Result<()> {
        self.client
            .query_one(&self.statement, &[&self.caller, self.inputs.next()?])
            .await?;
        Ok(())
    }
}

/// Calls an operation over and over on `connections` connections, each of which has a share of `inputs`.
pub(crate) fn run(
    url: &str,
    connections: usize,
    operation: &str,
    caller: &Value,
    inputs: &[Value],
) -> anyhow::Result<Throughput> {
    let (url, statement, caller) = (url.to_owned(), call(operation), caller.to_string());
    let inputs: Arc<[String]> = inputs.iter().map(Value::to_string).collect();

    load::closed_loop(connections, DURATION, move |number| {
        let (url, statement, caller) = (url.clone(), statement.clone(), caller.clone());
        let inputs = Turns::new(&inputs, number, connections);
        async move {
            let client = connect(&url).await?;
            Ok(Call {
                statement: client.prepare(&statement).await?,
                client,
                caller,
                inputs,
            })
        }
    })
}
