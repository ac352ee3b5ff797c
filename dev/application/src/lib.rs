//! Builds the components and runs the application, on our host or on Spin, around a local stack.
//!
//! `cargo xtask up`, the black-box tests and the benchmarks start the application here and nowhere else, so that what is tried by hand is
//! what is tested and measured.

mod build;
mod run;
mod settings;

use std::path::PathBuf;

pub use build::{Target, add_wasm_target, build};
pub use run::{Application, ApplicationOptions, Runner};
pub use settings::Settings;

/// The checkout that this program was built from.
#[must_use]
pub fn checkout() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).map(PathBuf::from).unwrap_or(here)
}

/// The application's manifest.
#[must_use]
pub fn manifest() -> PathBuf {
    checkout().join("spin.toml")
}

/// The migrations' folder.
#[must_use]
pub fn migrations() -> PathBuf {
    checkout().join("migrations")
}
