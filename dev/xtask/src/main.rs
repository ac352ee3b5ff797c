//! `cargo xtask`: the project's own commands.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool talks on stdout and stderr"
)]

mod bench;
mod database;
mod demo;
mod reseal;
mod terminal;
mod test;
mod token;
mod up;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use agentopia_application::{Target, add_wasm_target, build};
use clap::{Parser, Subcommand};

use crate::terminal::Terminal;

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Builds and starts everything, and serves until Ctrl-C.
    Up {
        /// The port on 127.0.0.1.
        #[arg(long, default_value_t = 3000)]
        port: u16,
        /// The folder of the database and its secrets.
        #[arg(long, default_value = DATA)]
        data: PathBuf,
        /// Loads the demo data into the database of DATABASE_URL too; a database of our own has it in any case.
        #[arg(long)]
        demo: bool,
    },
    /// Runs everything that CI runs.
    Test,
    /// Builds the components.
    Build,
    /// Measures, and prints figures.
    Bench {
        /// What to measure; everything if it is not named.
        subject: Option<bench::Subject>,
    },
    /// Plays a story against a running `up`, and fails if a step of it does not come true.
    Demo {
        /// What is played.
        subject: demo::Subject,
        /// The port of `up`.
        #[arg(long, default_value_t = 3000)]
        port: u16,
        /// The data folder of `up`.
        #[arg(long, default_value = DATA)]
        data: PathBuf,
    },
    /// Brings a database up to date.
    Migrate {
        /// The URL of the database's owner.
        #[arg(long)]
        database_url: String,
    },
    /// Seals stored secrets anew under the newest key: of AGENTOPIA_CREDENTIAL_KEYRING, else of the data folder.
    Reseal {
        /// The URL of the database's owner, or of the functions' login; the local database if it is not given.
        #[arg(long)]
        database_url: Option<String>,
        /// The folder of the database and its secrets.
        #[arg(long, default_value = DATA)]
        data: PathBuf,
    },
    /// Prints a token for a demo user.
    Token {
        /// The demo user's address.
        email: String,
        /// The folder of the database and its secrets.
        #[arg(long, default_value = DATA)]
        data: PathBuf,
    },
    /// Prints the URL of the database.
    DatabaseUrl {
        /// The folder of the database and its secrets.
        #[arg(long, default_value = DATA)]
        data: PathBuf,
    },
}

/// The data folder unless another is named, below the checkout's root.
const DATA: &str = ".agentopia";

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("AGENTOPIA_LOG"))
        .with_writer(std::io::stderr)
        .init();

    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up { port, data, demo } => up::up(port, in_checkout(data), demo).await,
        Command::Test => test::test().await,
        Command::Build => {
            add_wasm_target(&Terminal).await?;
            build(Target::Application, &Terminal).await
        }
        Command::Bench { subject } => bench::bench(subject).await,
        Command::Demo { subject, port, data } => demo::play(subject, port, &in_checkout(data)).await,
        Command::Migrate { database_url } => database::migrate(&database_url).await,
        Command::Reseal { database_url, data } => reseal::reseal(database_url, &in_checkout(data)).await,
        Command::Token { email, data } => token::print(&email, &in_checkout(data)),
        Command::DatabaseUrl { data } => database::print_url(&in_checkout(data)),
    }
}

/// The default folder is the checkout's, wherever in it the command is run; another is taken as it is written.
fn in_checkout(data: PathBuf) -> PathBuf {
    if data == Path::new(DATA) {
        agentopia_application::checkout().join(data)
    } else {
        data
    }
}
