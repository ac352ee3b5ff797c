//! `cargo xtask bench`: figures, printed and never asserted. What is asserted is that what was measured was done, and how it was planned.
//!
//! Everything of one table is measured in one run on the same machine, alternating, so that its ratios hold on a noisy one. The load generator runs in
//! this process on threads of its own; its share of the processors' time is printed, since on few cores it is time that the application lacks.

mod chat;
mod comparison;
mod credentials;
mod discord;
mod edge;
mod heartbeat;
mod load;
mod operation;
mod plans;
mod processor;
mod setup;
mod statement;
mod sweep;
mod toolboxes;

use clap::ValueEnum;

/// What to measure.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Subject {
    /// `GET …/health` through a component, against a bare HTTP server.
    Edge,
    /// One operation through a component, against the same statement and against a hand-made transaction natively.
    Operation,
    /// The time that `chat` adds to a model's stream; sizes and instances.
    Chat,
    /// A toolbox's heartbeat, with and without tools, against the same statement natively.
    Heartbeat,
    /// A toolbox's fetch of credentials, likewise.
    Credentials,
    /// The sweep over many toolboxes, and the plans of its statements: fails if one reads all toolboxes.
    Sweep,
    /// How long Discord waits while agents think about many questions: fails if it waits too long, or an answer is missing or there twice.
    Discord,
}

/// Measures one subject, or all.
pub(crate) async fn bench(subject: Option<Subject>) -> anyhow::Result<()> {
    let bench = setup::Bench::start().await?;
    let wanted = |candidate| subject.is_none_or(|subject| subject == candidate);

    if wanted(Subject::Edge) {
        edge::measure(&bench).await?;
    }
    if wanted(Subject::Operation) {
        operation::measure(&bench).await?;
    }
    if wanted(Subject::Chat) {
        chat::measure(&bench).await?;
    }
    if wanted(Subject::Heartbeat) {
        heartbeat::measure(&bench).await?;
    }
    if wanted(Subject::Credentials) {
        credentials::measure(&bench).await?;
    }
    if wanted(Subject::Sweep) {
        sweep::measure(&bench).await?;
    }
    if wanted(Subject::Discord) {
        discord::measure(&bench).await?;
    }
    bench.stop().await
}
