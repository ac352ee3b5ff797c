//! The built components: what they import and export, and how large they are.
//!
//! This pins the pair of SDK and Spin: a component of another SDK would import another version of `wasi:http`, which the Spin that
//! the README names does not offer.

use std::fs;

use insta::{assert_snapshot, with_settings};
use wasmparser::{Parser, Payload};

use crate::project_files::{folders, root, started_by, toml};

/// The only version of HTTP that a component speaks which answers requests.
const HTTP: &str = "0.3.0";

/// What a scheduled component may import beside WASI 0.2: its handler's types.
const CRON_TYPES: [&str; 3] = ["error", "fermyon:spin-cron/cron-types@2.0.0", "metadata"];

/// What every component stays below.
const SIZE_LIMIT_BYTES: usize = 3 * 1024 * 1024;

/// What a component asks of its host and offers to it: names of interfaces with their versions.
struct Interfaces {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Interfaces {
    fn of(name: &str) -> Self {
        let mut interfaces = Self {
            imports: Vec::new(),
            exports: Vec::new(),
        };
        let mut depth = 0;
        for payload in Parser::new(0).parse_all(&read(name)) {
            match payload.unwrap() {
                Payload::Version { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::ComponentImportSection(imports) if depth == 1 => {
                    interfaces
                        .imports
                        .extend(imports.into_iter().map(|import| import.unwrap().name.0.to_owned()));
                }
                Payload::ComponentExportSection(exports) if depth == 1 => {
                    interfaces
                        .exports
                        .extend(exports.into_iter().map(|export| export.unwrap().name.0.to_owned()));
                }
                _ => {}
            }
        }
        interfaces.imports.sort();
        interfaces.exports.sort();
        interfaces
    }
}

/// The component's bytes, from where spin.toml says that they are.
fn read(name: &str) -> Vec<u8> {
    let source = toml("spin.toml")["component"][name]["source"]
        .as_str()
        .unwrap()
        .to_owned();
    fs::read(root().join(&source)).unwrap_or_else(|error| panic!("{source}: {error}; build it: cargo xtask build"))
}

#[test]
fn imports_and_exports_are_the_known_ones() {
    for name in folders("functions") {
        let interfaces = Interfaces::of(&name);
        let imports = interfaces.imports.iter().map(|name| format!("import {name}"));
        let exports = interfaces.exports.iter().map(|name| format!("export {name}"));
        let lines: Vec<_> = imports.chain(exports).collect();

        with_settings!({ snapshot_suffix => &name, omit_expression => true }, {
            assert_snapshot!("interfaces", lines.join("\n"));
        });
    }
}

#[test]
fn a_component_that_answers_requests_handles_the_one_version_of_http() {
    for name in started_by("http") {
        let interfaces = Interfaces::of(&name);
        let all = interfaces.imports.iter().chain(&interfaces.exports);
        let others: Vec<_> = all
            .filter(|interface| interface.starts_with("wasi:http/"))
            .filter(|interface| interface.split_once('@').map(|(_, version)| version) != Some(HTTP))
            .collect();

        assert!(
            interfaces.exports.contains(&format!("wasi:http/handler@{HTTP}")),
            "{name}: {:?}",
            interfaces.exports
        );
        assert!(others.is_empty(), "{name} speaks {others:?}");
    }
}

/// The cron trigger plugin brings an older host than the Spin that starts it.
#[test]
fn a_scheduled_component_imports_wasi_0_2_alone() {
    let scheduled = started_by("cron");
    assert_eq!(scheduled, ["heartbeat-schedule"]);
    for name in scheduled {
        let interfaces = Interfaces::of(&name);
        let others: Vec<_> = interfaces
            .imports
            .iter()
            .filter(|import| !CRON_TYPES.contains(&import.as_str()))
            .filter(|import| !import.starts_with("wasi:") || !import.contains("@0.2."))
            .collect();

        assert_eq!(others, Vec::<&String>::new(), "{name}");
        assert_eq!(interfaces.exports, ["handle-cron-event"], "{name}");
    }
}

#[test]
fn a_component_reaches_the_outside_through_spin_and_http_alone() {
    for name in folders("functions") {
        let others: Vec<_> = Interfaces::of(&name)
            .imports
            .into_iter()
            .filter(|import| !CRON_TYPES.contains(&import.as_str()))
            .filter(|import| {
                ["wasi:sockets/", "wasi:keyvalue/", "fermyon:"]
                    .iter()
                    .any(|way| import.starts_with(way))
            })
            .collect();

        assert!(others.is_empty(), "{name} imports {others:?}");
    }
}

#[test]
fn a_component_is_small() {
    for name in folders("functions") {
        let size = read(&name).len();

        assert!(size <= SIZE_LIMIT_BYTES, "{name} has {size} bytes");
    }
}
