//! Nothing but dependencies, so that each command builds them once.
//!
//! Cargo builds a dependency anew for each set of features that the selected packages ask for together: `cargo xtask` (one package) and
//! `cargo test --workspace` (all) would each compile wasmtime for themselves. Every native tool depends on this crate, whose dependencies name the features that
//! all packages together ask for, so that the sets are the same. A tidy test compares them.
