//! The checkout keeps its own rules: what lies where, who may name what, which text is not left lying about.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use crate::project_files::{folders, members, read, root, started_by, toml, written, written_with};

/// What agentopia-domain may depend on: data, its serialization, and nothing that does anything.
const DOMAIN_DEPENDENCIES: [&str; 10] = [
    "base64",
    "chacha20poly1305",
    "chrono",
    "hmac",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "uuid",
    "zeroize",
];

/// Nothing but dependencies; native tools may have it, and it names what others only have through others.
const BUILD_ONCE: &str = "agentopia-build-once";

/// Which of our crates a crate may depend on. What is not listed here may depend on none.
const ARROWS: [(&str, &[&str]); 9] = [
    (
        "functions/*",
        &["agentopia-clients", "agentopia-domain", "agentopia-platform"],
    ),
    ("shared/clients", &["agentopia-domain", "agentopia-platform"]),
    ("shared/domain", &[]),
    ("shared/platform", &["agentopia-domain"]),
    ("dev/application", &["agentopia-host", "agentopia-stack"]),
    ("dev/host", &[]),
    ("dev/stack", &["agentopia-domain"]),
    (
        "dev/xtask",
        &[
            "agentopia-application",
            "agentopia-domain",
            "agentopia-host",
            "agentopia-stack",
        ],
    ),
    // The domain, for the rules that operations are given.
    (
        "tests",
        &[
            "agentopia-application",
            "agentopia-domain",
            "agentopia-host",
            "agentopia-stack",
        ],
    ),
];

/// The folders at the root. Another one needs a reason in docs/ARCHITECTURE.md.
const TOP_LEVEL: [&str; 9] = [
    ".cargo",
    ".ci",
    "dev",
    "docs",
    "functions",
    "migrations",
    "shared",
    "tests",
    "wit",
];

/// Every dependency that a package declares, with its table: `dependencies`, `dev-dependencies`, for any target.
fn dependencies(package: &toml::Table) -> Vec<(String, toml::Value)> {
    let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
    let targets = package
        .get("target")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flatten();
    let targeted = targets.filter_map(|(_, target)| target.as_table());
    std::iter::once(package)
        .chain(targeted)
        .flat_map(|owner| tables.iter().filter_map(|name| owner.get(*name)?.as_table()))
        .flat_map(|table| table.iter().map(|(name, value)| (name.clone(), value.clone())))
        .collect()
}

/// Where a pattern stands in a file, as `path:line`.
fn places(path: &str, pattern: &str) -> Vec<String> {
    let text = read(path);
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains(pattern));
    lines
        .map(|(index, line)| format!("{path}:{}: {}", index + 1, line.trim()))
        .collect()
}

#[test]
fn every_module_says_what_it_holds() {
    let silent: Vec<_> = written_with("rs")
        .into_iter()
        .filter(|path| {
            let text = read(path);
            let first = text.lines().next().unwrap_or_default();
            let says = first.strip_prefix("//! ").is_some_and(|words| words.len() > 3);
            !says && first != "#![doc = include_str!(\"../README.md\")]"
        })
        .collect();

    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn a_module_is_a_file_beside_its_folder() {
    let old: Vec<_> = written_with("rs")
        .into_iter()
        .filter(|path| path.ends_with("/mod.rs"))
        .collect();

    assert_eq!(old, Vec::<String>::new());
}

#[test]
fn functions_and_shared_crates_hold_no_sql_but_the_call_of_an_operation() {
    let words = [
        "SELECT ",
        "INSERT INTO ",
        "UPDATE ",
        "DELETE FROM ",
        "CREATE ",
        "ALTER ",
        "BEGIN;",
        "SET LOCAL ",
    ];
    let sql: Vec<_> = written_with("rs")
        .into_iter()
        .filter(|path| path.starts_with("functions/") || path.starts_with("shared/"))
        .flat_map(|path| {
            words
                .iter()
                .flat_map(|word| places(&path, &format!("\"{word}")))
                .collect::<Vec<_>>()
        })
        .map(|place| place.split_once(": ").unwrap().1.to_owned())
        .collect();

    assert_eq!(
        sql,
        [r#"let statement = format!("SELECT api.{operation}($1::text::jsonb, $2::text::jsonb)::text");"#]
    );
}

#[test]
fn the_entry_is_the_same_in_every_function_that_answers_requests() {
    let mut entries = BTreeMap::<String, Vec<String>>::new();
    for name in started_by("http") {
        entries
            .entry(read(format!("functions/{name}/src/component.rs")))
            .or_default()
            .push(name);
    }

    assert_eq!(entries.len(), 1, "{:?}", entries.values().collect::<Vec<_>>());
}

#[test]
fn only_platform_and_the_entries_name_spin() {
    let others: Vec<_> = written_with("rs")
        .into_iter()
        .filter(|path| {
            !path.starts_with("shared/platform/src/runtime") && !path.starts_with("tests/probe/src/component")
        })
        .filter(|path| !(path.starts_with("functions/") && path.ends_with("/src/component.rs")))
        .flat_map(|path| places(&path, concat!("spin", "_sdk::")))
        .collect();

    assert_eq!(others, Vec::<String>::new());
}

#[test]
fn spin_is_a_dependency_of_components_alone_and_for_wasm_alone() {
    let answering: Vec<_> = started_by("http")
        .iter()
        .map(|name| format!("functions/{name}"))
        .collect();
    for member in members() {
        let package = toml(format!("{member}/Cargo.toml"));
        let named = dependencies(&package).iter().any(|(name, _)| name == "spin-sdk");
        let for_wasm = package.get("target").and_then(|target| {
            target
                .get("cfg(target_family = \"wasm\")")?
                .get("dependencies")?
                .get("spin-sdk")
        });
        let may = answering.contains(&member) || ["shared/platform", "tests/probe"].contains(&member.as_str());

        assert_eq!((named, for_wasm.is_some()), (may, may), "{member}");
    }
}

#[test]
fn what_a_schedule_starts_has_bindings_of_its_own_and_none_of_our_crates() {
    for name in started_by("cron") {
        let names: Vec<_> = dependencies(&toml(format!("functions/{name}/Cargo.toml")))
            .into_iter()
            .map(|(name, _)| name)
            .collect();

        assert!(names.contains(&"wit-bindgen".to_owned()), "{name}: {names:?}");
        assert!(
            !names.iter().any(|name| name.starts_with("agentopia-")),
            "{name}: {names:?}"
        );
    }
}

#[test]
fn the_domain_depends_on_nothing_that_acts() {
    let package = toml("shared/domain/Cargo.toml");

    let names: Vec<_> = package["dependencies"].as_table().unwrap().keys().collect();

    assert_eq!(names, DOMAIN_DEPENDENCIES);
    assert!(!package.contains_key("target") && !package.contains_key("build-dependencies"));
}

#[test]
fn dependencies_among_our_crates_point_inwards() {
    for member in members() {
        let kind = if member.starts_with("functions/") {
            "functions/*"
        } else {
            &member
        };
        let allowed = ARROWS
            .iter()
            .find(|(name, _)| *name == kind)
            .map_or(&[][..], |(_, allowed)| allowed);
        let ours = dependencies(&toml(format!("{member}/Cargo.toml")))
            .into_iter()
            .map(|(name, _)| name);

        for name in ours.filter(|name| name.starts_with("agentopia-")) {
            let for_a_tool = name == BUILD_ONCE && (member.starts_with("dev/") || member == "tests");
            assert!(
                for_a_tool || allowed.contains(&name.as_str()),
                "{member} depends on {name}"
            );
        }
    }
}

#[test]
fn members_inherit_what_the_workspace_decides() {
    for member in members() {
        let package = toml(format!("{member}/Cargo.toml"));
        let inherited = |value: Option<&toml::Value>| value.and_then(|value| value.get("workspace")?.as_bool());

        assert_eq!(inherited(package.get("lints")), Some(true), "{member}: lints");
        for field in ["version", "edition", "rust-version", "license", "publish"] {
            assert_eq!(
                inherited(package["package"].get(field)),
                Some(true),
                "{member}: {field}"
            );
        }
        if package["package"]["name"].as_str() == Some(BUILD_ONCE) {
            continue;
        }
        for (name, value) in dependencies(&package) {
            assert_eq!(
                inherited(Some(&value)),
                Some(true),
                "{member}: {name} has a version of its own"
            );
        }
    }
}

/// Each dependency that a command builds for this machine, with its features.
fn built_by(arguments: &[&str]) -> BTreeSet<String> {
    let tree = [
        "tree",
        "--offline",
        "--locked",
        "--prefix",
        "none",
        "--no-dedupe",
        "--format",
        "{p} {f}",
    ];
    let output = Command::new(env!("CARGO"))
        .current_dir(root())
        .args(tree)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .filter(|line| !line.contains(root().to_str().unwrap()))
        .map(str::to_owned)
        .collect()
}

#[test]
fn what_one_command_built_the_others_need_not_build_again() {
    let all = built_by(&["--workspace", "--edges", "normal,build,dev"]);

    for package in ["agentopia-tests", "agentopia-xtask"] {
        let own = built_by(&["--package", package, "--edges", "normal,build"]);
        let again: Vec<_> = own.difference(&all).collect();
        assert_eq!(
            again,
            Vec::<&String>::new(),
            "{package} builds these for itself: add their features to dev/build-once"
        );
    }
}

#[test]
fn function_packages_are_named_as_their_folders() {
    for name in folders("functions") {
        let package = toml(format!("functions/{name}/Cargo.toml"));

        assert_eq!(package["package"]["name"].as_str(), Some(name.as_str()));
        assert_eq!(
            package["lib"]["crate-type"].as_array().unwrap(),
            &["cdylib".into()],
            "{name}"
        );
    }
}

#[test]
fn the_root_has_the_known_folders() {
    assert_eq!(folders("."), TOP_LEVEL);
}

#[test]
fn text_is_clean() {
    let mut unclean = Vec::new();
    for path in written() {
        let text = read(&path);
        let is_snapshot = path.ends_with(".snap");
        for (index, line) in text.lines().enumerate() {
            let trailing = line.trim_end() != line && !is_snapshot;
            if trailing || line.contains('\t') || line.contains('\r') {
                unclean.push(format!("{path}:{}", index + 1));
            }
        }
        if !text.is_empty() && (!text.ends_with('\n') || text.ends_with("\n\n")) {
            unclean.push(format!("{path}: ends without one newline"));
        }
    }

    assert_eq!(unclean, Vec::<String>::new());
}

#[test]
fn nothing_is_left_for_later() {
    // Written apart, or this file would find itself.
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
        concat!("#[", "allow("),
        concat!("should", "_panic"),
        concat!("//! ", "Placeholder"),
    ];
    let left: Vec<_> = written()
        .into_iter()
        .filter(|path| path != "Cargo.lock")
        .flat_map(|path| marks.iter().flat_map(|mark| places(&path, mark)).collect::<Vec<_>>())
        .collect();

    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn ci_runs_the_readmes_test_command_and_nothing_else() {
    let commands: Vec<_> = read(".ci/run")
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with("set ") && !line.starts_with("cd "))
        .map(str::to_owned)
        .collect();

    assert_eq!(commands, ["cargo xtask test"]);
    assert!(
        read("README.md").lines().any(|line| line == commands[0]),
        "the README does not have it"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = std::fs::metadata(root().join(".ci/run")).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, ".ci/run is not executable");
    }
}
