//! Brings a database to the state of a folder of SQL files.
//!
//! - `<version>_<name>.sql` are **migrations**: applied once, in the order of their versions, never edited afterwards.
//! - `operations/<area>.sql` are **operations**: `create or replace`, applied again whenever their text changes, and
//!   all of them whenever a migration was applied.
//!
//! Each file is one transaction together with its record, so that a file that fails leaves nothing behind. Its
//! statements are sent one by one, so that every error is one of a line. It takes the rights of the database's owner,
//! not a superuser, and a direct or session-pooled connection: the lock against a second runner is the session's.

mod script;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tokio_postgres::error::ErrorPosition;
use tokio_postgres::{Client, Transaction};

use crate::database::{self, describe};
use crate::secrets::hex;
use crate::{Progress, StackError};
use script::Statement;

/// Locks out a second runner. The number is this project's own.
const LOCK: i64 = 0x6167_656e_746f_7069;

/// Where the runner keeps what it did.
const RECORDS: &str = "
    CREATE SCHEMA IF NOT EXISTS app;
    CREATE TABLE IF NOT EXISTS app.schema_migrations (
        version bigint NOT NULL CONSTRAINT schema_migrations_pkey PRIMARY KEY,
        name text NOT NULL,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    );
    CREATE TABLE IF NOT EXISTS app.operation_files (
        name text NOT NULL CONSTRAINT operation_files_pkey PRIMARY KEY,
        checksum text NOT NULL,
        applied_at timestamptz NOT NULL DEFAULT now()
    );
    REVOKE ALL ON app.schema_migrations, app.operation_files FROM PUBLIC;
";

/// A file waits at most this long for a lock that the running application holds, and then fails whole.
const LIMITS: &str = "SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = 0";

/// What a run did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The migrations that were applied, by file name, in order.
    pub migrations: Vec<String>,
    /// The operation files that were applied.
    pub operations: Vec<String>,
}

impl Report {
    /// Whether the database was up to date already.
    pub fn is_empty(&self) -> bool {
        self.migrations.is_empty() && self.operations.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return formatter.write_str("nothing to do, the database is up to date");
        }
        let counted = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let migrations = counted(self.migrations.len(), "migration");
        let operations = counted(self.operations.len(), "operation file");
        write!(formatter, "{migrations} and {operations} applied")
    }
}

/// Why a run ended early. What was applied before stays; the file that is named left nothing.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// A statement of a file was refused.
    #[error("{}:{line}:{column}: {message}", .file.display())]
    Statement {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
        /// The database's words.
        message: String,
    },

    /// An applied file was edited.
    #[error("{} has changed since it was applied: migrations are never edited, add a new one", .0.display())]
    Changed(PathBuf),

    /// The database is ahead of the folder.
    #[error("the database has {name}, which {} does not have: use the checkout that has it", .folder.display())]
    Ahead {
        /// The migration's file name.
        name: String,
        /// The folder that was given.
        folder: PathBuf,
    },

    /// A file's name or text is not what the runner takes.
    #[error("{}: {reason}", .file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },

    /// The database cannot be reached or used at all, or the folder not read.
    #[error(transparent)]
    Stack(#[from] StackError),
}

/// Applies what `folder` has and the database has not.
pub async fn migrate(url: &str, folder: &Path, progress: &dyn Progress) -> Result<Report, MigrateError> {
    let migrations = read_migrations(folder)?;
    let operations = read_operations(&folder.join("operations"))?;

    let mut client = database::connect(url).await?;
    lock(&client, progress).await?;
    client
        .batch_execute(RECORDS)
        .await
        .map_err(StackError::database("the records of migrations cannot be made"))?;

    let mut report = Report::default();
    for migration in pending(&client, migrations, folder).await? {
        progress.step(&format!("migration {}", migration.name));
        let version = migration.version.unwrap_or_default();
        let record = "INSERT INTO app.schema_migrations (version, name, checksum) VALUES ($1, $2, $3)";
        apply(
            &mut client,
            &migration,
            record,
            &[&version, &migration.name, &migration.checksum],
        )
        .await?;
        report.migrations.push(migration.name);
    }
    for file in operations {
        if report.migrations.is_empty() && is_current(&client, &file).await? {
            continue;
        }
        progress.step(&format!("operations {}", file.name));
        let record = "INSERT INTO app.operation_files (name, checksum) VALUES ($1, $2)
                      ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = now()";
        apply(&mut client, &file, record, &[&file.name, &file.checksum]).await?;
        report.operations.push(file.name);
    }
    Ok(report)
}

/// A file of the folder.
#[derive(Debug)]
struct SqlFile {
    path: PathBuf,
    name: String,
    /// The number before the name; operations have none.
    version: Option<i64>,
    text: String,
    checksum: String,
}

/// Reads the migrations in order.
fn read_migrations(folder: &Path) -> Result<Vec<SqlFile>, MigrateError> {
    let mut files = read_folder(folder)?;
    for file in &mut files {
        let digits = file.name.split_once('_').map(|(digits, _)| digits);
        let digits = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        file.version = digits.and_then(|digits| digits.parse().ok());
        if file.version.is_none() {
            let reason = "a migration is named <digits>_<name>.sql".to_owned();
            return Err(MigrateError::File {
                file: file.path.clone(),
                reason,
            });
        }
    }
    files.sort_by_key(|file| file.version);
    for (file, next) in files.iter().zip(files.iter().skip(1)) {
        if file.version == next.version {
            let reason = format!("{} has the same version", file.name);
            return Err(MigrateError::File {
                file: next.path.clone(),
                reason,
            });
        }
    }
    Ok(files)
}

/// Reads the operations in order; a folder without them is fine.
fn read_operations(folder: &Path) -> Result<Vec<SqlFile>, MigrateError> {
    let mut files = if folder.is_dir() {
        read_folder(folder)?
    } else {
        Vec::new()
    };
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

/// Reads every `.sql` file of a folder.
fn read_folder(folder: &Path) -> Result<Vec<SqlFile>, StackError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(StackError::file("read", folder))? {
        let path = entry.map_err(StackError::file("read", folder))?.path();
        if path.extension().is_none_or(|extension| extension != "sql") || !path.is_file() {
            continue;
        }
        let text = fs::read_to_string(&path).map_err(StackError::file("read", &path))?;
        files.push(SqlFile {
            name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            version: None,
            checksum: hex(&Sha256::digest(text.as_bytes())),
            path,
            text,
        });
    }
    Ok(files)
}

/// Waits until no other runner works on the database. The lock goes with the connection.
async fn lock(client: &Client, progress: &dyn Progress) -> Result<(), StackError> {
    let failed = "the lock against another run cannot be taken";
    let locked = client
        .query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK])
        .await
        .map_err(StackError::database(failed))?;
    if locked.get(0) {
        return Ok(());
    }
    progress.step("another run is migrating this database, waiting");
    client
        .execute("SELECT pg_advisory_lock($1)", &[&LOCK])
        .await
        .map_err(StackError::database(failed))?;
    Ok(())
}

/// The migrations that the database has not, after a check of those that it has.
async fn pending(client: &Client, files: Vec<SqlFile>, folder: &Path) -> Result<Vec<SqlFile>, MigrateError> {
    let mut pending = files;
    let applied = client
        .query(
            "SELECT version, name, checksum FROM app.schema_migrations ORDER BY version",
            &[],
        )
        .await
        .map_err(StackError::database("the records of migrations cannot be read"))?;
    for row in applied {
        let (version, name, checksum): (i64, String, String) = (row.get(0), row.get(1), row.get(2));
        let Some(index) = pending.iter().position(|file| file.version == Some(version)) else {
            return Err(MigrateError::Ahead {
                name,
                folder: folder.to_owned(),
            });
        };
        let file = pending.remove(index);
        if file.checksum != checksum {
            return Err(MigrateError::Changed(file.path));
        }
    }
    Ok(pending)
}

/// Whether the database has this very text of an operation file.
async fn is_current(client: &Client, file: &SqlFile) -> Result<bool, StackError> {
    let row = client
        .query_opt(
            "SELECT checksum = $2 FROM app.operation_files WHERE name = $1",
            &[&file.name, &file.checksum],
        )
        .await
        .map_err(StackError::database("the records of operations cannot be read"))?;
    Ok(row.is_some_and(|row| row.get(0)))
}

/// Applies one file and its record in one transaction.
async fn apply(
    client: &mut Client,
    file: &SqlFile,
    record: &str,
    values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<(), MigrateError> {
    let statements = script::split(&file.text);
    if let Some(statement) = statements.iter().find(|statement| statement.controls_transaction()) {
        let (line, column) = statement.line_and_column(&file.text, 0);
        let message = "a file is one transaction of the runner's: it cannot begin or end one".to_owned();
        return Err(MigrateError::Statement {
            file: file.path.clone(),
            line,
            column,
            message,
        });
    }

    let transaction = client
        .transaction()
        .await
        .map_err(StackError::database("no transaction can be begun"))?;
    transaction
        .batch_execute(LIMITS)
        .await
        .map_err(StackError::database("the limits of a migration cannot be set"))?;
    for statement in &statements {
        transaction
            .batch_execute(statement.text)
            .await
            .map_err(|error| refused(file, statement, &error))?;
    }
    finish(transaction, record, values)
        .await
        .map_err(StackError::database(format!(
            "{} cannot be recorded",
            file.path.display()
        )))?;
    Ok(())
}

/// Records a file and commits.
async fn finish(
    transaction: Transaction<'_>,
    record: &str,
    values: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<(), tokio_postgres::Error> {
    transaction.execute(record, values).await?;
    transaction.commit().await
}

/// The error of a statement: where the server points to, else where the statement begins.
fn refused(file: &SqlFile, statement: &Statement<'_>, error: &tokio_postgres::Error) -> MigrateError {
    let refusal = error.as_db_error();
    let offset = match refusal.and_then(|refusal| refusal.position()) {
        Some(ErrorPosition::Original(position)) => usize::try_from(*position).unwrap_or_default().saturating_sub(1),
        Some(ErrorPosition::Internal { .. }) | None => 0,
    };
    let (line, column) = statement.line_and_column(&file.text, offset);
    let mut message = describe(error);
    if let Some(context) = refusal.and_then(|refusal| refusal.where_()) {
        message.push_str(&format!("; in {}", context.replace('\n', ", ")));
    }
    MigrateError::Statement {
        file: file.path.clone(),
        line,
        column,
        message,
    }
}
