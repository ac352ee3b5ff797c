//! The migration runner on small folders of SQL, and on the project's own.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use agentopia_stack::demo;
use agentopia_stack::migrate::{MigrateError, Report, migrate};
use agentopia_stack::{Postgres, PostgresOptions, Quiet};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// A server with a new database for each part of a test.
struct Server {
    postgres: Postgres,
    databases: AtomicU32,
    _data: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let options = PostgresOptions {
            fast: true,
            ..PostgresOptions::new(data.path())
        };
        let postgres = Postgres::start(options, &Quiet).await.unwrap();
        Self {
            postgres,
            databases: AtomicU32::new(0),
            _data: data,
        }
    }

    /// The URL of an empty database.
    async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::SeqCst));
        connect(self.postgres.admin_url())
            .await
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .unwrap();
        self.postgres.admin_url().replace("/agentopia?", &format!("/{name}?"))
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn number(url: &str, query: &str) -> i64 {
    connect(url).await.query_one(query, &[]).await.unwrap().get(0)
}

/// A folder of migrations; names with a slash are operations.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("operations")).unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

async fn run(url: &str, folder: &Path) -> Result<Report, MigrateError> {
    migrate(url, folder, &Quiet).await
}

/// `<file>:<line>:<column>: <message>` without the folder.
fn shown(error: &MigrateError, folder: &Path) -> String {
    error.to_string().replace(&format!("{}/", folder.display()), "")
}

const TABLE: (&str, &str) = (
    "1_create_table.sql",
    "CREATE TABLE item (id int);\nINSERT INTO item VALUES (1);\n",
);
const FUNCTION: (&str, &str) = (
    "operations/items.sql",
    "CREATE OR REPLACE FUNCTION items() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM item; $$;",
);

#[tokio::test]
async fn files_are_applied_in_order_and_once() {
    let server = Server::start().await;
    let url = server.database().await;
    let folder = folder(&[
        ("10_add_more.sql", "INSERT INTO item VALUES (2)"),
        TABLE,
        FUNCTION,
        ("README.md", "no SQL"),
    ]);

    let first = run(&url, folder.path()).await.unwrap();
    let second = run(&url, folder.path()).await.unwrap();

    assert_eq!(
        first.migrations,
        ["1_create_table.sql", "10_add_more.sql"],
        "by number, not by text"
    );
    assert_eq!(first.operations, ["items.sql"]);
    assert!(second.is_empty());
    assert_eq!(first.to_string(), "2 migrations and 1 operation file applied");
    assert_eq!(second.to_string(), "nothing to do, the database is up to date");
    assert_eq!(number(&url, "SELECT items()").await, 2);
}

#[tokio::test]
async fn operations_follow_their_text_and_every_migration() {
    let server = Server::start().await;
    let url = server.database().await;
    let other = (
        "operations/other.sql",
        "CREATE OR REPLACE FUNCTION other() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    );
    let folder = folder(&[TABLE, FUNCTION, other]);
    run(&url, folder.path()).await.unwrap();

    fs::write(
        folder.path().join(FUNCTION.0),
        FUNCTION.1.replace("count(*)", "count(*) + 40"),
    )
    .unwrap();
    let edited = run(&url, folder.path()).await.unwrap();
    fs::write(folder.path().join("2_add.sql"), "INSERT INTO item VALUES (2)").unwrap();
    let migrated = run(&url, folder.path()).await.unwrap();

    assert_eq!(
        (edited.migrations.len(), edited.operations),
        (0, vec!["items.sql".to_owned()])
    );
    assert_eq!(migrated.operations, ["items.sql", "other.sql"]);
    assert_eq!(number(&url, "SELECT items()").await, 42);
}

#[tokio::test]
async fn a_file_that_fails_leaves_nothing_and_is_named_with_its_line() {
    let server = Server::start().await;
    for (text, expected) in [
        (
            "CREATE TABLE half (id int);\n\nSELECT 'ü',\n  wrong;",
            "2_fails.sql:4:3: column \"wrong\" does not exist (42703)",
        ),
        (
            "CREATE TABLE half (id int);\nCREATE TABEL x ();",
            "2_fails.sql:2:8: syntax error at or near \"TABEL\" (42601)",
        ),
        (
            "CREATE TABLE half (id int);\n-- twice\nCREATE TABLE item ();",
            "2_fails.sql:3:1: relation \"item\" already exists (42P07)",
        ),
        (
            "CREATE TABLE half (id int);\nDO $$\nBEGIN\n    RAISE EXCEPTION 'no' USING HINT = 'try';\nEND $$;",
            "2_fails.sql:2:1: no (P0001); hint: try; in PL/pgSQL function inline_code_block line 3 at RAISE",
        ),
        (
            "CREATE TABLE half (id int);\nCOMMIT;",
            "2_fails.sql:2:1: a file is one transaction of the runner's: it cannot begin or end one",
        ),
        (
            "CREATE TABLE half (id int);\nCREATE INDEX CONCURRENTLY ON half (id);",
            "2_fails.sql:2:1: CREATE INDEX CONCURRENTLY cannot run inside a transaction block (25001)",
        ),
    ] {
        let url = server.database().await;
        let folder = folder(&[TABLE, ("2_fails.sql", text), FUNCTION]);

        let error = run(&url, folder.path()).await.unwrap_err();

        assert_eq!(shown(&error, folder.path()), expected);
        assert_eq!(
            number(&url, "SELECT count(*) FROM pg_class WHERE relname = 'half'").await,
            0,
            "nothing of the file"
        );
        assert_eq!(
            number(&url, "SELECT max(version) FROM app.schema_migrations").await,
            1,
            "all of the file before"
        );
        fs::write(folder.path().join("2_fails.sql"), "INSERT INTO item VALUES (2)").unwrap();
        assert_eq!(
            run(&url, folder.path()).await.unwrap().migrations,
            ["2_fails.sql"],
            "mended, it goes on from there"
        );
    }
}

#[tokio::test]
async fn an_operation_that_fails_is_named_and_tried_again() {
    let server = Server::start().await;
    let url = server.database().await;
    let folder = folder(&[
        TABLE,
        (
            "operations/bad.sql",
            "CREATE FUNCTION f() RETURNS int\nLANGUAGE sql AS $$ SELECT nothing $$;",
        ),
    ]);

    let error = run(&url, folder.path()).await.unwrap_err();

    assert_eq!(
        shown(&error, folder.path()),
        "operations/bad.sql:2:27: column \"nothing\" does not exist (42703)"
    );
    fs::write(folder.path().join("operations/bad.sql"), "SELECT 1").unwrap();
    assert_eq!(run(&url, folder.path()).await.unwrap().operations, ["bad.sql"]);
}

#[tokio::test]
async fn what_does_not_fit_the_database_or_the_folder_is_refused() {
    let server = Server::start().await;
    let url = server.database().await;
    let applied = folder(&[TABLE]);
    run(&url, applied.path()).await.unwrap();

    let edited = folder(&[("1_create_table.sql", "CREATE TABLE item (id bigint);")]);
    let behind = folder(&[("2_later.sql", "SELECT 1")]);
    let doubled = folder(&[("3_one.sql", ""), ("03_two.sql", "")]);
    let unnamed = folder(&[("first.sql", "")]);

    for (folder, expected) in [
        (
            edited,
            "1_create_table.sql has changed since it was applied: migrations are never edited, add a new one",
        ),
        (behind, "the database has 1_create_table.sql, which"),
        (doubled, "has the same version"),
        (unnamed, "first.sql: a migration is named <digits>_<name>.sql"),
    ] {
        let error = shown(&run(&url, folder.path()).await.unwrap_err(), folder.path());
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn two_runners_at_once_apply_each_file_once() {
    let server = Server::start().await;
    let url = server.database().await;
    let slow = ("2_slow.sql", "SELECT pg_sleep(0.3); INSERT INTO item VALUES (2)");
    let folder = folder(&[TABLE, slow, FUNCTION]);

    let (one, other) = tokio::join!(run(&url, folder.path()), run(&url, folder.path()));

    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!([one.migrations.len(), other.migrations.len()].iter().sum::<usize>(), 2);
    assert_eq!(number(&url, "SELECT count(*) FROM item").await, 2);
}

#[tokio::test]
async fn an_owner_who_is_no_superuser_can_migrate() {
    let server = Server::start().await;
    let url = server.database().await;
    let database = url.rsplit('/').next().unwrap().split('?').next().unwrap();
    let owner = format!("CREATE ROLE plain LOGIN PASSWORD 'plain'; ALTER DATABASE {database} OWNER TO plain");
    connect(&url).await.batch_execute(&owner).await.unwrap();
    let password = server.postgres.secrets().database_admin_password();
    let plain = url.replace(&format!("postgres:{password}@"), "plain:plain@");
    let folder = folder(&[TABLE, FUNCTION]);

    let report = run(&plain, folder.path()).await.unwrap();

    assert_eq!(report.migrations.len(), 1);
    assert!(run(&plain, folder.path()).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_demo_data_fits_the_migrations_and_loads_twice() {
    let server = Server::start().await;
    let url = server.database().await;
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations");
    run(&url, &migrations).await.unwrap();

    demo::load(&url).await.unwrap();
    let client = connect(&url).await;
    client
        .batch_execute("UPDATE public.agents SET name = 'Renamed' WHERE name = 'Beacon'")
        .await
        .unwrap();
    let census = "SELECT (SELECT count(*) FROM auth.users) + (SELECT count(*) FROM public.workspace_members)
                       + (SELECT count(*) FROM public.chat_messages)";
    let rows = number(&url, census).await;
    demo::load(&url).await.unwrap();

    assert_eq!(number(&url, census).await, rows);
    assert_eq!(
        number(&url, "SELECT count(*) FROM public.agents WHERE name = 'Renamed'").await,
        1,
        "edits stay"
    );
    for (table, ids) in [
        ("auth.users", demo::USERS.map(|user| user.id).to_vec()),
        ("public.agents", vec![demo::ATLAS, demo::QUILL, demo::BEACON]),
        ("public.teams", vec![demo::ANALYSTS, demo::WATCH]),
        ("public.workspaces", vec![demo::ENGINE_ROOM, demo::HARBOUR]),
        (
            "public.chat_channels",
            vec![
                demo::ENGINE_ROOM_GENERAL,
                demo::ENGINE_ROOM_IDEAS,
                demo::HARBOUR_GENERAL,
                demo::HARBOUR_IDEAS,
            ],
        ),
        ("public.direct_conversations", vec![demo::ADA_WITH_QUILL]),
    ] {
        let query = format!("SELECT array_agg(id ORDER BY id) FROM {table}");
        let found: Vec<Uuid> = client.query_one(&query, &[]).await.unwrap().get(0);
        assert_eq!(found, ids, "{table} has the documented ids and no other");
    }
    for user in demo::USERS {
        let query =
            "SELECT full_name, (SELECT email FROM auth.users WHERE id = $1) FROM public.user_profiles WHERE id = $1";
        let row = client.query_one(query, &[&user.id]).await.unwrap();
        assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), (user.name, user.email));
    }
}
