//! How long work tells what it is doing.

/// Hears of each step of long work, as a sentence for a person.
pub trait Progress: Send + Sync {
    /// A step begins.
    fn step(&self, text: &str);
}

/// Listens to nothing, for tests and for commands that print their answer alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn step(&self, _text: &str) {}
}
