//! Placeholder.

mod project_components;
mod project_docs;
mod project_files;
mod project_manifest;
mod project_tidy;
