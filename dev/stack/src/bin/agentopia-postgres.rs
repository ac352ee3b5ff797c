//! The local stack's Postgres alone: prints the owner's URL, and serves until it is told to stop.
//!
//! `cargo run --package agentopia-stack --bin agentopia-postgres -- <data folder>`
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks on stdout and stderr"
)]

use std::process::ExitCode;

use agentopia_stack::{Postgres, PostgresOptions, Progress, StackError};
use tokio::signal::unix::{SignalKind, signal};

/// Steps on stderr, so that stdout has the URL alone.
struct Terminal;

impl Progress for Terminal {
    fn step(&self, text: &str) {
        eprintln!("{text}");
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(data), None) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: agentopia-postgres <data folder>");
        return ExitCode::from(2);
    };
    match serve(PostgresOptions::new(data)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Serves until a signal comes or the server dies.
async fn serve(options: PostgresOptions) -> Result<(), StackError> {
    let listen = |kind| signal(kind).map_err(|error| StackError::Failed(format!("signals cannot be awaited: {error}")));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);

    let postgres = Postgres::start(options, &Terminal).await?;
    println!("{}", postgres.admin_url());
    tokio::select! {
        _ = interrupt.recv() => postgres.stop().await,
        _ = terminate.recv() => postgres.stop().await,
        how = postgres.died() => Err(StackError::Failed(how)),
    }
}
