//! Connections of the stack's own: one client each, closed when dropped.

use std::error::Error as _;
use std::time::Duration;

use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};

use crate::StackError;

/// A connection that takes longer than this is given up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Reads a connection URL, refusing what the stack cannot serve with one sentence.
pub(crate) fn parse(url: &str) -> Result<Config, StackError> {
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(StackError::Prerequisite(
            "the database must be given as a postgres:// URL".to_owned(),
        ));
    }
    let mut config: Config = url
        .parse()
        .map_err(|error| StackError::Prerequisite(format!("the database URL cannot be read: {error}")))?;
    if config.get_ssl_mode() == SslMode::Require {
        return Err(StackError::Prerequisite(
            "the database URL asks for TLS (sslmode=require), which these tools do not speak: use sslmode=prefer over \
             a trusted network or a tunnel"
                .to_owned(),
        ));
    }
    config
        .connect_timeout(CONNECT_TIMEOUT)
        .application_name("agentopia-stack");
    Ok(config)
}

/// Connects, and serves the connection on the current runtime until the client is dropped.
pub(crate) async fn connect(url: &str) -> Result<Client, StackError> {
    let config = parse(url)?;
    connect_to(&config)
        .await
        .map_err(StackError::database("the database cannot be reached"))
}

/// As [`connect`], with a configuration that is already read.
pub(crate) async fn connect_to(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = describe(&error), "a database connection ended");
        }
    });
    Ok(client)
}

/// The server's own words where there are some, else the whole chain of causes.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(refusal) = error.as_db_error() {
        let mut text = format!("{} ({})", refusal.message(), refusal.code().code());
        for (label, extra) in [("detail", refusal.detail()), ("hint", refusal.hint())] {
            if let Some(extra) = extra {
                text.push_str(&format!("; {label}: {extra}"));
            }
        }
        return text;
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(&format!(": {inner}"));
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_database_that_cannot_be_served_is_refused_with_a_sentence() {
        for (url, reason) in [
            ("host=localhost dbname=x", "postgres:// URL"),
            ("postgres://user@host:notaport/db", "cannot be read"),
            ("postgres://user@host/db?sslmode=require", "TLS"),
        ] {
            let refusal = parse(url).expect_err(url).to_string();

            assert!(refusal.contains(reason), "{url}: {refusal}");
        }
    }
}
