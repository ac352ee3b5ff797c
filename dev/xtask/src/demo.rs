//! `cargo xtask demo`: a story, played through HTTP against a running `cargo xtask up`, as a client plays it.

mod client;
mod discord;
mod toolbox;

use std::path::Path;

use agentopia_stack::{Secrets, demo};
use clap::ValueEnum;

use crate::token;
use client::Client;

/// What is played.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Subject {
    /// A toolbox's life: a machine, a tool on it, an agent that uses it, and the end of all.
    Toolbox,
    /// A bot's life on a stand-in for Discord: an agent that is connected, started, asked and stopped.
    Discord,
}

/// Plays a story as the first demo user. An error is a step that did not come true.
pub(crate) async fn play(subject: Subject, port: u16, data: &Path) -> anyhow::Result<()> {
    let token = token::sign(demo::ADA.email, &Secrets::load_or_create(data)?)?;
    let client = Client::new(&format!("http://127.0.0.1:{port}"), &token)?;
    client.check_health().await?;
    match subject {
        Subject::Toolbox => toolbox::play(&client).await,
        Subject::Discord => discord::play(&client, data).await,
    }
}
