//! What can go wrong with the local stack, each as one sentence that says what to do where that is known.

use std::io;
use std::path::{Path, PathBuf};

use crate::database;

/// Why a part of the local stack cannot do its work.
#[derive(Debug, thiserror::Error)]
pub enum StackError {
    /// Something that must be on the machine is not; the text names it and how to get it.
    #[error("{0}")]
    Prerequisite(String),

    /// Another living process uses the same data folder.
    #[error("another instance is running on {}: stop it, or choose another data folder", .0.display())]
    Busy(PathBuf),

    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// What was tried, as a verb: "read", "write", "create".
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },

    /// A program or server of the stack did not do what it should.
    #[error("{0}")]
    Failed(String),

    /// The database refused or was lost.
    #[error("{action}: {}", database::describe(.source))]
    Database {
        /// What was tried, as the beginning of a sentence.
        action: String,
        /// The database's or the connection's answer.
        source: tokio_postgres::Error,
    },
}

impl StackError {
    /// For `map_err`: a file operation that failed.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    /// For `map_err`: a database call that failed.
    pub(crate) fn database(action: impl Into<String>) -> impl FnOnce(tokio_postgres::Error) -> Self {
        let action = action.into();
        move |source| Self::Database { action, source }
    }
}
