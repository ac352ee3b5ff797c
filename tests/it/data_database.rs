//! Databases of a test's own, on the server that all tests share, and what the data tests say to them.

use std::fmt::Display;
use std::sync::atomic::{AtomicU32, Ordering};

use agentopia_application::migrations;
use agentopia_stack::{Quiet, migrate};
use agentopia_tests::{Parameters, Stack};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

/// The tenant of tests/data/tenant.sql.
pub(crate) const TENANT: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_a000_0000_0000_00a0);

/// The first agent of that tenant.
pub(crate) const AGENT: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_a000_0000_0000_0001);

const FIXTURE: &str = include_str!("../data/tenant.sql");

/// What the names of these databases begin with.
const PREFIX: &str = "data_test";

/// A database that no other test uses. The next run removes it.
pub(crate) struct Database {
    config: Config,
}

impl Database {
    /// A database with nothing in it.
    pub(crate) async fn empty() -> Self {
        Self::made_from("template0").await
    }

    /// A database with all migrations and no rows but theirs.
    pub(crate) async fn migrated() -> Self {
        static MIGRATED: OnceCell<()> = OnceCell::const_new();
        let template = format!("{PREFIX}_template");
        MIGRATED
            .get_or_init(async || {
                server()
                    .await
                    .batch_execute(&format!("CREATE DATABASE {template}"))
                    .await
                    .unwrap();
                let url = on_server(&template).await.url();
                migrate(&url, &migrations(), &Quiet)
                    .await
                    .unwrap_or_else(|error| panic!("{error}"));
            })
            .await;
        Self::made_from(&template).await
    }

    /// As `migrated`, with the tenant of tests/data/tenant.sql.
    pub(crate) async fn with_tenant() -> Self {
        let database = Self::migrated().await;
        database.owner().await.batch_execute(FIXTURE).await.unwrap();
        database
    }

    async fn made_from(template: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("{PREFIX}_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let client = server().await;
        client
            .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"))
            .await
            .unwrap();
        on_server(&name).await
    }

    /// The URL of the owner, who is a superuser.
    pub(crate) fn url(&self) -> String {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let password = text(self.config.get_password().unwrap());
        let (user, name) = (self.config.get_user().unwrap(), self.config.get_dbname().unwrap());
        let port = self.config.get_ports()[0];
        format!("postgres://{user}:{password}@127.0.0.1:{port}/{name}?sslmode=disable")
    }

    /// A connection of the owner.
    pub(crate) async fn owner(&self) -> Client {
        connect(&self.config).await
    }

    /// A connection of the functions' login role.
    pub(crate) async fn functions(&self) -> Client {
        let [_, _, password, ..] = Stack::shared().await.secrets();
        self.login("agentopia_functions", password).await
    }

    /// A connection of another role.
    pub(crate) async fn login(&self, role: &str, password: &str) -> Client {
        let mut config = self.config.clone();
        connect(config.user(role).password(password)).await
    }
}

/// A database of the shared server, by its name.
async fn on_server(name: &str) -> Database {
    let mut config: Config = Stack::shared().await.db().url().parse().unwrap();
    config.dbname(name);
    Database { config }
}

/// The server's own database. Whoever asks first removes what an earlier run left.
async fn server() -> Client {
    static CLEAN: OnceCell<()> = OnceCell::const_new();
    let client = on_server("postgres").await.owner().await;
    CLEAN
        .get_or_init(async || {
            let old = "SELECT datname FROM pg_database WHERE starts_with(datname, $1)";
            for row in client.query(old, &[&PREFIX]).await.unwrap() {
                let name: String = row.get(0);
                client
                    .batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
                    .await
                    .unwrap();
            }
        })
        .await;
    client
}

/// Connects for as long as the test runs.
pub(crate) async fn connect(config: &Config) -> Client {
    let (client, connection) = config.connect(NoTls).await.unwrap();
    // An error is the end of the connection, which its next user notices.
    tokio::spawn(async move { _ = connection.await });
    client
}

/// The first column of all rows, as text.
pub(crate) async fn texts(client: &Client, statement: &str, parameters: Parameters<'_>) -> Vec<String> {
    let rows = client
        .query(statement, parameters)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// The first column of the one row, as a number.
pub(crate) async fn count(client: &Client, statement: &str, parameters: Parameters<'_>) -> i64 {
    client
        .query_one(statement, parameters)
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error:?}"))
        .get(0)
}

/// The SQLSTATE of a refusal; for `PT…` followed by its code, for a violated constraint by its name.
pub(crate) fn refusal(error: &tokio_postgres::Error) -> String {
    let error = error.as_db_error().unwrap_or_else(|| panic!("{error:?}"));
    let state = error.code().code();
    let told = if state.starts_with("PT") {
        error.detail()
    } else {
        error.constraint()
    };
    told.map_or_else(|| state.to_owned(), |told| format!("{state} {told}"))
}

/// Runs a statement and says how many rows it wrote or returned, or how it was refused.
pub(crate) async fn attempt(client: &Client, statement: &str, parameters: Parameters<'_>) -> Result<u64, String> {
    client
        .execute(statement, parameters)
        .await
        .map_err(|error| refusal(&error))
}

/// A user as an operation's caller.
pub(crate) fn user(id: impl Display) -> Value {
    json!({ "kind": "user", "id": id.to_string(), "claims": {} })
}

/// Calls an operation as the functions do.
pub(crate) async fn call(client: &Client, operation: &str, caller: &Value, input: &Value) -> Result<Value, String> {
    let statement = format!("SELECT api.{operation}($1::text::jsonb, $2::text::jsonb)::text");
    let row = client
        .query_one(&statement, &[&caller.to_string(), &input.to_string()])
        .await;
    row.map(|row| serde_json::from_str(row.get(0)).unwrap())
        .map_err(|error| refusal(&error))
}

/// A user who signed up and confirmed an address.
pub(crate) async fn sign_up(owner: &Client, email: &str) -> Uuid {
    let statement = "INSERT INTO auth.users (id, email, email_confirmed_at)
                     VALUES (gen_random_uuid(), $1, now()) RETURNING id";
    owner.query_one(statement, &[&email]).await.unwrap().get(0)
}

/// Begins a transaction in which row level security sees the user.
pub(crate) async fn become_user(owner: &Client, id: Uuid) {
    let claims = json!({ "sub": id, "role": "authenticated" }).to_string();
    owner.batch_execute("BEGIN").await.unwrap();
    let set = "SELECT set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)";
    owner.query_one(set, &[&claims]).await.unwrap();
}
