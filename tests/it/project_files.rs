//! The checkout as the project tests read it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are made, not written.
const MADE: [&str; 5] = [".agentopia", ".git", ".spin", "target", "node_modules"];

/// What is read as text.
const TEXT: [&str; 10] = ["json", "lock", "md", "rs", "sh", "snap", "sql", "toml", "txt", "wit"];

/// The checkout's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A file of the checkout, by its path from the root.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{} cannot be read: {error}", path.display()))
}

/// A TOML file of the checkout.
pub(crate) fn toml(path: impl AsRef<Path>) -> toml::Table {
    let path = path.as_ref();
    read(path)
        .parse()
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every text file that was written, by its path from the root, in order.
pub(crate) fn written() -> Vec<String> {
    let mut files = BTreeSet::new();
    walk(&root(), &mut files);
    assert!(files.len() > 100, "the walk found only {} files", files.len());
    files.into_iter().collect()
}

/// Every file that was written and has this extension.
pub(crate) fn written_with(extension: &str) -> Vec<String> {
    let ending = format!(".{extension}");
    written().into_iter().filter(|path| path.ends_with(&ending)).collect()
}

/// The names of the folders in a folder, in order.
pub(crate) fn folders(path: &str) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(root().join(path))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| !MADE.contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

/// The components that a kind of trigger starts, in order, each once.
pub(crate) fn started_by(kind: &str) -> Vec<String> {
    let manifest = toml("spin.toml");
    let triggers = manifest["trigger"][kind].as_array().unwrap();
    let names: BTreeSet<_> = triggers
        .iter()
        .map(|trigger| trigger["component"].as_str().unwrap().to_owned())
        .collect();
    names.into_iter().collect()
}

/// The folders of the workspace's members, in order.
pub(crate) fn members() -> Vec<String> {
    let workspace = toml("Cargo.toml");
    let mut members = Vec::new();
    for member in workspace["workspace"]["members"].as_array().unwrap() {
        let member = member.as_str().unwrap();
        match member.strip_suffix("/*") {
            Some(folder) => members.extend(folders(folder).into_iter().map(|name| format!("{folder}/{name}"))),
            None => members.push(member.to_owned()),
        }
    }
    members.sort();
    members
}

fn walk(folder: &Path, files: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            if !MADE.contains(&name.as_str()) {
                walk(&path, files);
            }
        } else if is_text(&path) {
            files.insert(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// Files without an extension, such as `.ci/run` and `LICENSE`, are text; `.env` is nobody's to read.
fn is_text(path: &Path) -> bool {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some(extension) => TEXT.contains(&extension),
        None => path.file_name().is_some_and(|name| name != ".env"),
    }
}
