//! Postgres' programs: those of the machine if they can serve, else those of the wheel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::Account;
use super::wheel;
use crate::{Progress, StackError};

/// The oldest server that the migrations run on.
pub(super) const OLDEST_MAJOR: u32 = 15;

/// The oldest pgvector with HNSW indexes.
pub(super) const OLDEST_VECTOR: (u32, u32) = (0, 5);

/// An installation of Postgres that has pgvector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    /// The folder of `postgres`, `initdb` and the like.
    pub(super) bin: PathBuf,
    /// Shared libraries to be found first, if the installation brings its own.
    pub(super) lib: Option<PathBuf>,
    /// The major version.
    pub(super) major: u32,
}

impl Binaries {
    /// Finds an installation; `data_major` is the version of a cluster that is already there, which no other can open.
    pub(super) async fn find(
        account: Account,
        cache: &Path,
        data_major: Option<u32>,
        progress: &dyn Progress,
    ) -> Result<Self, StackError> {
        let suits = |found: &Self| data_major.is_none_or(|major| major == found.major);
        if let Some(found) = local().into_iter().filter(suits).max_by_key(|found| found.major) {
            progress.step(&format!(
                "Postgres: PostgreSQL {} of this machine ({})",
                found.major,
                found.bin.display()
            ));
            return Ok(found);
        }
        match data_major {
            Some(major) if major != wheel::MAJOR => Err(StackError::Prerequisite(format!(
                "the data folder was made by PostgreSQL {major}, which is no longer here with pgvector: install it \
                 again, or remove the data folder to start anew"
            ))),
            _ => wheel::install(account, cache, progress).await,
        }
    }

    /// A command for one of the programs, as the server's account and without the caller's environment, so that no
    /// `PG…` variable or language changes what it does.
    pub(super) fn command(&self, program: &str, account: Account, folder: &Path) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder)
            .env("LC_ALL", "C")
            .current_dir(folder)
            .stdin(Stdio::null());
        if let Some(lib) = &self.lib {
            command.env("LD_LIBRARY_PATH", lib).env("DYLD_LIBRARY_PATH", lib);
        }
        account.lend_to(&mut command);
        command
    }
}

/// Every installation on this machine that is new enough and has pgvector.
fn local() -> Vec<Binaries> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    for parent in [
        "/usr/lib/postgresql",
        "/opt/homebrew/opt",
        "/usr/local/opt",
        "/home/linuxbrew/.linuxbrew/opt",
        "/usr",
    ] {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        folders.extend(
            entries
                .filter(|entry| is_named_for_postgres(parent, entry))
                .map(|entry| entry.path().join("bin")),
        );
    }
    // `/usr/bin/postgres` may be a link into the real installation, beside which `initdb` stands.
    let mut folders: Vec<PathBuf> = folders
        .into_iter()
        .filter_map(|folder| {
            folder
                .join("postgres")
                .canonicalize()
                .ok()?
                .parent()
                .map(Path::to_owned)
        })
        .collect();
    folders.sort();
    folders.dedup();
    folders.into_iter().filter_map(|bin| inspect(&bin)).collect()
}

/// Whether a folder of `parent` can be an installation: `15`, `postgresql@17`, `pgsql-16`.
fn is_named_for_postgres(parent: &str, entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    match parent {
        "/usr/lib/postgresql" => true,
        "/usr" => name.starts_with("pgsql-"),
        _ => name.starts_with("postgresql"),
    }
}

/// Looks at one folder of programs.
fn inspect(bin: &Path) -> Option<Binaries> {
    if !bin.join("initdb").is_file() {
        return None;
    }
    let major = major_of(&output(&bin.join("postgres"), "--version")?)?;
    let shared = output(&bin.join("pg_config"), "--sharedir").map(|folder| PathBuf::from(folder.trim()));
    let debian = PathBuf::from(format!("/usr/share/postgresql/{major}"));
    let control = [
        shared,
        Some(bin.join("../share")),
        Some(bin.join("../share/postgresql")),
        Some(debian),
    ]
    .into_iter()
    .flatten()
    .find_map(|folder| fs::read_to_string(folder.join("extension/vector.control")).ok())?;
    let vector = vector_version(&control)?;
    (major >= OLDEST_MAJOR && vector >= OLDEST_VECTOR).then(|| Binaries {
        bin: bin.to_owned(),
        lib: None,
        major,
    })
}

/// What a program prints for one argument, if it succeeds.
fn output(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The major version in `postgres (PostgreSQL) 16.4 (Debian 16.4-1)`.
fn major_of(version: &str) -> Option<u32> {
    let number = version.split_whitespace().nth(2)?;
    number
        .split(|character: char| !character.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

/// The version that an extension's control file names.
fn vector_version(control: &str) -> Option<(u32, u32)> {
    let line = control
        .lines()
        .find_map(|line| line.trim().strip_prefix("default_version"))?;
    parse_version(line.trim_start_matches([' ', '=']).trim_matches(['\'', ' ']))
}

/// The first two parts of a version.
pub(super) fn parse_version(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// An installation whose programs print what a real one would.
    fn installation(version: &str, vector: Option<&str>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        let extension = folder.path().join("share/extension");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(&extension).unwrap();
        for program in ["postgres", "initdb"] {
            let script = format!("#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n");
            fs::write(bin.join(program), script).unwrap();
            fs::set_permissions(bin.join(program), fs::Permissions::from_mode(0o755)).unwrap();
        }
        if let Some(vector) = vector {
            let control = format!("comment = 'vector data type'\ndefault_version = '{vector}'\nrelocatable = true\n");
            fs::write(extension.join("vector.control"), control).unwrap();
        }
        folder
    }

    #[test]
    fn only_an_installation_that_is_new_enough_and_has_pgvector_serves() {
        for (version, vector, serves) in [
            ("16.4 (Debian 16.4-1.pgdg120+1)", Some("0.7.4"), Some(16)),
            ("18beta1", Some("0.10.0"), Some(18)),
            ("14.9", Some("0.8.0"), None),
            ("16.4", Some("0.4.4"), None),
            ("16.4", None, None),
        ] {
            let folder = installation(version, vector);

            let found = inspect(&folder.path().join("bin")).map(|found| found.major);

            assert_eq!(found, serves, "{version} with pgvector {vector:?}");
        }
    }
}
