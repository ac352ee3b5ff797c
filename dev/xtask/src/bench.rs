//! `cargo xtask bench`: figures, printed and never asserted.
//!
//! Everything of one table is measured in one run on the same machine, alternating, so that its ratios hold on a noisy one. The load generator runs in
//! this process on threads of its own; its share of the processors' time is printed, since on few cores it is time that the application lacks.

mod chat;
mod edge;
mod load;
mod operation;
mod setup;

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
    bench.stop().await
}
