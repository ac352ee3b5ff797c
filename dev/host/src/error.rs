//! Why a host does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a host does not start, in one sentence for the person who started it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The manifest cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    ReadManifest {
        /// The manifest.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The manifest is not valid, or says something that this host does not do.
    #[error("{}: {reason}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, naming the field.
        reason: String,
    },
    /// A variable is required and nothing gives it a value.
    #[error("variable `{0}` is required but not set: set SPIN_VARIABLE_{upper}", upper = .0.to_uppercase())]
    MissingVariable(String),
    /// A value was given for a variable that the manifest does not declare.
    #[error("variable `{0}` is set but the manifest does not declare it")]
    UnknownVariable(String),
    /// A component's file does not exist.
    #[error("component `{component}`: {} does not exist: run `cargo xtask build`", path.display())]
    MissingComponentFile {
        /// The component's id.
        component: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// A component is not a component, or does not compile.
    #[error("component `{component}`: {reason}")]
    InvalidComponent {
        /// The component's id.
        component: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A component imports what this host does not offer.
    #[error("component `{component}`: the host does not offer what it imports: {reason}")]
    UnknownImport {
        /// The component's id.
        component: String,
        /// The import's name and what was found instead.
        reason: String,
    },
    /// A component that requests are routed to does not export the HTTP handler.
    #[error("component `{component}` does not export `wasi:http/handler@0.3.0`: {reason}")]
    NotAnHttpComponent {
        /// The component's id.
        component: String,
        /// What is missing.
        reason: String,
    },
    /// A component that a schedule starts does not export the cron trigger's handler.
    #[error("component `{component}` does not export `handle-cron-event` of `fermyon:spin-cron@2.0.0`: {reason}")]
    NotACronComponent {
        /// The component's id.
        component: String,
        /// What is missing.
        reason: String,
    },
    /// The address is taken.
    #[error("{0} is already in use")]
    AddressInUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The place for logs cannot be written.
    #[error("cannot write logs to {}: {source}", path.display())]
    Logs {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The Wasm engine or the runtime cannot be set up on this machine.
    #[error("cannot set up the Wasm engine: {0}")]
    Engine(String),
}
