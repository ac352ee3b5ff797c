//! The documentation says what is: its links lead somewhere, its tables are those of the manifest, its commands and codes exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::project_files::{folders, read, root, started_by, toml, written, written_with};

/// The rows of the Markdown table whose heading row has `first` as its first cell, cells without their backquotes.
fn table(text: &str, first: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
        inner
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect()
    };
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with('|') || cells(line)[0] != first);
    assert!(lines.next().is_some(), "there is no table that begins with {first}");
    lines
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(cells)
        .collect()
}

/// The anchors of a document: its headings as GitHub names them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |character: &char| character.is_alphanumeric() || [' ', '-', '_'].contains(character);
    headings
        .map(|heading| heading.trim_start_matches('#').trim().to_lowercase())
        .map(|heading| heading.chars().filter(kept).collect::<String>().replace(' ', "-"))
        .collect()
}

/// The targets of a document's links.
fn links(text: &str) -> Vec<&str> {
    text.split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target)
        .collect()
}

/// A path with its `..` resolved by name.
fn normal(path: &Path) -> PathBuf {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(parts.pop()),
            Component::CurDir => {}
            other => parts.push(other),
        }
    }
    parts.into_iter().collect()
}

/// What stands between `before` and the next `"`, wherever `before` occurs in sources below `folders`; between the two there may be
/// white space.
fn quoted_after(before: &str, folders: &[&str], extension: &str, quote: char) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for path in written_with(extension) {
        if !folders.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        let text = read(&path);
        // Tests come last in a file, and make up what they like.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for rest in text.split(before).skip(1) {
            let argument = rest.split_once(',').map_or(rest, |(_, argument)| argument).trim_start();
            if let Some(rest) = argument.strip_prefix(quote) {
                found.insert(rest.split(quote).next().unwrap_or_default().to_owned());
            }
        }
    }
    found
}

#[test]
fn relative_links_resolve() {
    let mut broken = Vec::new();
    for path in written_with("md") {
        let text = read(&path);
        for link in links(&text)
            .into_iter()
            .filter(|link| !link.contains("://") && !link.starts_with("mailto:"))
        {
            let (file, anchor) = link
                .split_once('#')
                .map_or((link, None), |(file, anchor)| (file, Some(anchor)));
            let target = normal(&Path::new(&path).parent().unwrap().join(file));
            let target = if file.is_empty() { PathBuf::from(&path) } else { target };
            let exists = root().join(&target).exists();
            if !exists || anchor.is_some_and(|anchor| !anchors(&read(&target)).contains(anchor)) {
                broken.push(format!("{path}: {link}"));
            }
        }
    }

    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn paths_that_are_named_exist() {
    let known = [
        "functions/",
        "shared/",
        "migrations/",
        "tests/",
        "dev/",
        "docs/",
        "wit/",
    ];
    let documents = [
        "README.md",
        "CONTRIBUTING.md",
        "docs/ARCHITECTURE.md",
        "docs/OPERATIONS.md",
        "docs/API.md",
        "wit/README.md",
    ];
    let mut missing = Vec::new();
    for document in documents {
        let text = read(document);
        let words = text.split(|character: char| character.is_whitespace() || "`()|,;:".contains(character));
        for word in words
            .filter_map(|word| word.split('#').next())
            .map(|word| word.trim_end_matches('.'))
        {
            let named = known.iter().any(|folder| word.starts_with(folder)) && !word.contains(['<', '*', '{', '…']);
            if named && !root().join(word).exists() {
                missing.push(format!("{document}: {word}"));
            }
        }
    }

    assert_eq!(missing, Vec::<String>::new());
}

#[test]
fn the_readme_lists_the_functions() {
    let readme = read("README.md");
    let manifest = toml("spin.toml");

    let listed: Vec<_> = table(&readme, "Function")
        .into_iter()
        .map(|row| row[0].clone())
        .collect();

    let mut linked: Vec<_> = folders("functions")
        .into_iter()
        .map(|name| format!("[{name}](functions/{name}/README.md)"))
        .collect();
    linked.sort();
    let mut sorted = listed.clone();
    sorted.sort();
    assert_eq!(sorted, linked);
    assert_eq!(listed.len(), manifest["component"].as_table().unwrap().len());
}

#[test]
fn the_readme_lists_the_settings_with_their_defaults() {
    let manifest = toml("spin.toml");
    let declared: Vec<_> = manifest["variables"]
        .as_table()
        .unwrap()
        .iter()
        .map(|(name, variable)| {
            let text = |field: &str| {
                variable
                    .get(field)
                    .and_then(toml::Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let is = |field: &str| variable.get(field).and_then(toml::Value::as_bool) == Some(true);
            let default = match (is("required"), is("secret")) {
                (true, _) => "required".to_owned(),
                (false, true) => "empty".to_owned(),
                (false, false) => text("default"),
            };
            (name.clone(), default)
        })
        .collect();

    let listed: BTreeMap<_, _> = table(&read("README.md"), "Setting")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone()))
        .collect();

    assert_eq!(listed, declared.into_iter().collect());
}

/// Spin runs a manifest that has schedules without its plugin if it is told to start everything else.
#[test]
fn the_readme_names_what_runs_without_the_schedule() {
    let readme = read("README.md");

    let mut named: Vec<_> = readme
        .split("--component-id ")
        .skip(1)
        .filter_map(|rest| rest.split_whitespace().next())
        .collect();
    named.sort_unstable();

    assert_eq!(named, started_by("http"));
}

#[test]
fn the_commands_that_documents_name_exist() {
    let source = read("dev/xtask/src/main.rs");
    let commands = source
        .split_once("enum Command {")
        .unwrap()
        .1
        .split_once("\n}")
        .unwrap()
        .0;
    let variants = commands.lines().filter_map(|line| line.strip_prefix("    "));
    let names: BTreeSet<_> = variants
        .filter(|line| line.starts_with(|character: char| character.is_ascii_uppercase()))
        .map(|line| {
            line.trim_end_matches([',', '{', ' '])
                .split(['(', ' '])
                .next()
                .unwrap_or_default()
        })
        .map(|variant| {
            let kebab = variant.chars().flat_map(|letter| {
                let dash = letter.is_ascii_uppercase().then_some('-');
                dash.into_iter().chain([letter.to_ascii_lowercase()])
            });
            kebab.collect::<String>().trim_start_matches('-').to_owned()
        })
        .collect();
    let mut unknown = Vec::new();
    let mut mentioned = BTreeSet::new();
    for path in written()
        .into_iter()
        .filter(|path| path.ends_with(".md") || path.ends_with("/run"))
    {
        let text = read(&path);
        for rest in text.split("cargo xtask ").skip(1) {
            let ends = |character: char| !character.is_ascii_lowercase() && character != '-';
            let name = rest.split(ends).next().unwrap_or_default();
            if names.contains(name) {
                mentioned.insert(name.to_owned());
            } else {
                unknown.push(format!("{path}: cargo xtask {name}"));
            }
        }
    }

    assert_eq!(unknown, Vec::<String>::new());
    assert_eq!(mentioned, names, "commands that no document names");
}

#[test]
fn the_api_document_names_every_code() {
    let text = read("docs/API.md");
    let edges = ["functions/", "shared/platform/"];
    let mut codes = BTreeSet::new();
    for kind in [
        "Invalid",
        "Unauthenticated",
        "Forbidden",
        "NotFound",
        "MethodNotAllowed",
        "Conflict",
        "TooLarge",
    ] {
        codes.extend(quoted_after(&format!("Kind::{kind}"), &edges, "rs", '"'));
    }
    for kind in [
        "UnsupportedMediaType",
        "Unprocessable",
        "RateLimited",
        "Internal",
        "BadGateway",
    ] {
        codes.extend(quoted_after(&format!("Kind::{kind}"), &edges, "rs", '"'));
    }
    for kind in ["Unavailable", "GatewayTimeout"] {
        codes.extend(quoted_after(&format!("Kind::{kind}"), &edges, "rs", '"'));
    }
    let raised = quoted_after("app.refuse(", &["migrations/operations/"], "sql", '\'');
    assert!(
        codes.contains("body_too_large") && raised.contains("rate_limited"),
        "the search finds nothing"
    );
    codes.extend(raised);
    codes.extend(quoted_after("app.refused(", &["migrations/operations/"], "sql", '\''));

    let unnamed: Vec<_> = codes
        .into_iter()
        .filter(|code| !text.contains(&format!("`{code}`")))
        .collect();

    assert_eq!(unnamed, Vec::<String>::new());
}

#[test]
fn the_operations_document_names_every_event_of_the_log() {
    let text = read("docs/OPERATIONS.md");
    let edges = ["functions/", "shared/"];
    let mut events = BTreeSet::new();
    for level in [
        "Level::Info",
        "Level::Warn",
        "Level::Error",
        "self.line(level",
        ".line(level",
    ] {
        events.extend(quoted_after(level, &edges, "rs", '"'));
    }
    events.extend(quoted_after("log_best_effort(&self.context", &edges, "rs", '"'));
    assert!(
        events.contains("request") && events.contains("outbound"),
        "the search finds only {events:?}"
    );

    let unnamed: Vec<_> = events
        .into_iter()
        .filter(|event| !text.contains(&format!("`{event}`")))
        .collect();

    assert_eq!(unnamed, Vec::<String>::new());
}

#[test]
fn the_map_names_every_top_level_folder_and_crate() {
    let text = read("docs/ARCHITECTURE.md");
    let tops = folders(".").into_iter().filter(|name| !name.starts_with('.'));
    let crates = ["shared", "dev"]
        .into_iter()
        .flat_map(|top| folders(top).into_iter().map(move |name| format!("{top}/{name}")));

    for name in tops.chain(crates) {
        assert!(text.contains(&format!("`{name}/`")), "`{name}/` is not on the map");
    }
}

#[test]
fn the_repository_speaks_of_itself_alone() {
    let foreign = [concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("../sh", "ared")];
    let mut found = Vec::new();
    for path in written().into_iter().filter(|path| path != "Cargo.lock") {
        let text = read(&path);
        found.extend(
            foreign
                .iter()
                .filter(|mark| text.contains(**mark))
                .map(|mark| format!("{path}: {mark}")),
        );
    }

    assert_eq!(found, Vec::<String>::new());
}
