//! The host's database connections: what one request does to a connection must not reach the next, and what Postgres says must
//! reach the guest as Spin says it.
//!
//! The probe component of `tests/probe` is the application. Everything here needs nothing of the database but a login.

use agentopia_host::{Host, HostOptions, LogSink, MemoryLog, PoolMode, Statistics};
use agentopia_tests::{DEADLINE, database_url, eventually};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tempfile::TempDir;

/// The probe, built once.
fn probe() -> &'static Path {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    PROBE.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--release", "--target", "wasm32-wasip2", "-p", "host-probe"])
            .arg("--message-format=json-render-diagnostics")
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "the probe does not build");
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
            .filter_map(|name| name.as_str().map(PathBuf::from))
            .find(|path| path.ends_with("host_probe.wasm"))
            .unwrap()
    })
}

/// The probe with a database.
struct ProbeApp {
    host: Host,
    client: reqwest::Client,
    log: Arc<MemoryLog>,
    _folder: TempDir,
}

impl ProbeApp {
    /// Runs the probe with one connection at most, so that each request gets what the last one left.
    async fn start(database_url: &str, pool: PoolMode) -> Self {
        Self::start_with(database_url, |options| {
            options.pool = pool;
            options.max_connections = 1;
        })
        .await
    }

    async fn start_with(database_url: &str, change: impl FnOnce(&mut HostOptions)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let manifest = format!(
            r#"
                spin_manifest_version = 2
                [application]
                name = "probe"
                [variables]
                database_url = {{ required = true, secret = true }}
                [[trigger.http]]
                route = "/..."
                component = "probe"
                [component.probe]
                source = {:?}
                allowed_outbound_hosts = ["postgres://*:*"]
                variables = {{ database_url = "{{{{ database_url }}}}" }}
            "#,
            probe()
        );
        std::fs::write(folder.path().join("spin.toml"), manifest).unwrap();
        let log = Arc::new(MemoryLog::default());
        let mut options = HostOptions::new(folder.path().join("spin.toml"));
        options.variables.insert("database_url".into(), database_url.into());
        options.logs = LogSink::Memory(Arc::clone(&log));
        options.cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
        change(&mut options);
        let host = Host::start(options).await.unwrap();
        Self {
            host,
            client: reqwest::Client::new(),
            log,
            _folder: folder,
        }
    }

    async fn get(&self, path: &str) -> Value {
        self.client
            .get(format!("{}{path}", self.host.url()))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    async fn post(&self, path: &str, body: Value) -> reqwest::Response {
        self.client
            .post(format!("{}{path}", self.host.url()))
            .json(&body)
            .send()
            .await
            .unwrap()
    }

    /// Runs a statement in a request of its own.
    async fn query(&self, statement: &str, params: Value) -> Value {
        self.post("/query", json!({ "statement": statement, "params": params }))
            .await
            .json()
            .await
            .unwrap()
    }

    /// The only value that a statement answers, as Rust prints it.
    async fn value(&self, statement: &str, params: Value) -> String {
        let answer = self.query(statement, params).await;
        let value = answer.pointer("/rows/0/0").and_then(Value::as_str);
        assert!(value.is_some(), "{statement}: {answer}");
        value.unwrap().to_owned()
    }

    fn exchanges(&self) -> u64 {
        self.host.statistics().total().exchanges
    }
}

/// Another connection to the same database, for looking at it from outside.
async fn outside(database_url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(database_url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

/// A name that nobody else has.
fn unique_name() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    format!("probe_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A new table, in a schema of its own.
async fn table(database: &tokio_postgres::Client) -> String {
    let schema = unique_name();
    let statements = format!("CREATE SCHEMA {schema}; CREATE UNLOGGED TABLE {schema}.rows (number int)");
    database.batch_execute(&statements).await.unwrap();
    format!("{schema}.rows")
}

async fn drop_table(database: &tokio_postgres::Client, table: &str) {
    let (schema, _) = table.split_once('.').unwrap();
    database
        .batch_execute(&format!("DROP SCHEMA {schema} CASCADE"))
        .await
        .unwrap();
}

async fn rows(database: &tokio_postgres::Client, table: &str) -> i64 {
    database
        .query_one(&format!("SELECT count(*) FROM {table}"), &[])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn transaction_left_open_by_a_trap_does_not_reach_the_next_request() {
    transaction_left_open_is_rolled_back(&database_url().await, "/begin-and-trap", 500).await;
}

#[tokio::test]
async fn transaction_left_open_by_a_return_does_not_reach_the_next_request() {
    transaction_left_open_is_rolled_back(&database_url().await, "/begin-and-return", 200).await;
}

async fn transaction_left_open_is_rolled_back(database_url: &str, path: &str, status: u16) {
    let database = outside(database_url).await;
    let table = table(&database).await;
    let app = ProbeApp::start(database_url, PoolMode::Isolated).await;
    let insert = json!({ "statement": format!("INSERT INTO {table} VALUES (1)") });

    let response = app.post(path, insert.clone()).await;

    assert_eq!(response.status(), status);
    assert_eq!(app.get("/in-transaction").await, json!({ "in_transaction": false }));
    // What the next request writes is written.
    assert_eq!(
        app.post("/query", insert).await.json::<Value>().await.unwrap()["rows"],
        json!([])
    );
    assert_eq!(rows(&database, &table).await, 1);
    drop_table(&database, &table).await;
}

#[tokio::test]
async fn failed_transaction_does_not_reach_the_next_request() {
    let app = ProbeApp::start(&database_url().await, PoolMode::Isolated).await;

    let failed = app
        .post("/begin-and-return", json!({ "statement": "SELECT 1 / 0" }))
        .await;

    assert_eq!(failed.json::<Value>().await.unwrap()["code"], "22012");
    assert_eq!(app.get("/in-transaction").await, json!({ "in_transaction": false }));
}

#[tokio::test]
async fn pool_of_spin_leaks_an_open_transaction() {
    let app = ProbeApp::start(&database_url().await, PoolMode::Spin).await;

    app.post("/begin-and-return", json!({ "statement": "SELECT 1" })).await;

    assert_eq!(app.get("/in-transaction").await, json!({ "in_transaction": true }));
}

#[tokio::test]
async fn session_is_as_new_for_each_request_in_isolated_mode() {
    session_is_as_new(&database_url().await, PoolMode::Isolated).await;
}

#[tokio::test]
async fn session_is_as_new_for_each_request_in_spin_mode() {
    session_is_as_new(&database_url().await, PoolMode::Spin).await;
}

async fn session_is_as_new(database_url: &str, pool: PoolMode) {
    let app = ProbeApp::start(database_url, pool).await;
    let changes = [
        (
            "SELECT set_config('app.secret', 'mine', false)",
            "SELECT coalesce(current_setting('app.secret', true), '') = ''",
        ),
        (
            "SELECT set_config('role', session_user, false)",
            "SELECT current_setting('role') = 'none'",
        ),
        (
            "SET statement_timeout = '1ms'",
            "SELECT current_setting('statement_timeout') = '0'",
        ),
        (
            "CREATE TEMPORARY TABLE leftover ()",
            "SELECT to_regclass('pg_temp.leftover') IS NULL",
        ),
        (
            "SELECT pg_advisory_lock(4711)",
            "SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
        ),
        ("LISTEN leftover", "SELECT count(*) = 0 FROM pg_listening_channels()"),
    ];

    for (change, is_gone) in changes {
        let answer = app.query(change, json!([])).await;
        assert!(answer.get("error").is_none(), "{change}: {answer}");
        assert_eq!(
            app.value(is_gone, json!([])).await,
            "DbValue::Boolean(true)",
            "{change}"
        );
    }
}

#[tokio::test]
async fn repeated_statement_is_one_exchange() {
    let url = database_url().await;
    let isolated = ProbeApp::start(&url, PoolMode::Isolated).await;
    let spin = ProbeApp::start(&url, PoolMode::Spin).await;

    for app in [&isolated, &spin] {
        app.query("SELECT $1::int + 1", json!([{ "int32": 1 }])).await;
    }
    let before = [isolated.exchanges(), spin.exchanges()];
    for app in [&isolated, &spin] {
        for number in 0..10 {
            let answer = app.value("SELECT $1::int + 1", json!([{ "int32": number }])).await;
            assert_eq!(answer, format!("DbValue::Int32({})", number + 1));
        }
    }

    assert_eq!(isolated.exchanges() - before[0], 10);
    assert_eq!(spin.exchanges() - before[1], 30);
    assert_eq!(isolated.host.statistics().total().connections, 1);
}

#[tokio::test]
async fn prepared_statement_survives_what_happens_to_it() {
    let url = database_url().await;
    let database = outside(&url).await;
    let table = table(&database).await;
    let app = ProbeApp::start(&url, PoolMode::Isolated).await;
    let select = format!("SELECT * FROM {table}");
    database
        .batch_execute(&format!("INSERT INTO {table} VALUES (1)"))
        .await
        .unwrap();
    assert_eq!(app.value(&select, json!([])).await, "DbValue::Int32(1)");

    // A migration changes its columns.
    database
        .batch_execute(&format!("ALTER TABLE {table} ALTER number TYPE text"))
        .await
        .unwrap();
    assert_eq!(app.value(&select, json!([])).await, "DbValue::Str(\"1\")");

    // A guest makes the server forget it.
    app.query("DEALLOCATE ALL", json!([])).await;
    assert_eq!(app.value(&select, json!([])).await, "DbValue::Str(\"1\")");
    drop_table(&database, &table).await;
}

#[tokio::test]
async fn connection_that_the_server_closed_is_replaced_in_isolated_mode() {
    closed_connection_is_replaced(&database_url().await, PoolMode::Isolated).await;
}

#[tokio::test]
async fn connection_that_the_server_closed_is_replaced_in_spin_mode() {
    closed_connection_is_replaced(&database_url().await, PoolMode::Spin).await;
}

async fn closed_connection_is_replaced(database_url: &str, pool: PoolMode) {
    let database = outside(database_url).await;
    let app = ProbeApp::start(database_url, pool).await;
    let text = app.value("SELECT pg_backend_pid()", json!([])).await;
    let pid: i32 = text
        .trim_start_matches("DbValue::Int32(")
        .trim_end_matches(')')
        .parse()
        .unwrap();

    database
        .execute("SELECT pg_terminate_backend($1)", &[&pid])
        .await
        .unwrap();
    eventually("the backend's end", DEADLINE, async || {
        let alive = database
            .query("SELECT 1 FROM pg_stat_activity WHERE pid = $1", &[&pid])
            .await
            .unwrap();
        alive.is_empty()
    })
    .await;

    eventually("an answer over a new connection", DEADLINE, async || {
        app.query("SELECT 1", json!([])).await["rows"] == json!([["DbValue::Int32(1)"]])
    })
    .await;
    assert_eq!(app.host.statistics().total().connections, 2);
}

#[tokio::test]
async fn statement_abandoned_by_a_time_limit_does_not_hold_up_the_next_request() {
    let app = ProbeApp::start_with(&database_url().await, |options| {
        options.max_connections = 1;
        options.request_timeout = Some(Duration::from_millis(300));
    })
    .await;

    assert_eq!(
        app.post("/query", json!({ "statement": "SELECT pg_sleep(60)" }))
            .await
            .status(),
        500
    );

    // Its instance lives a little longer than its answer, and the connection with it.
    eventually("a connection", DEADLINE, async || {
        app.post("/query", json!({ "statement": "SELECT 1" })).await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn work_after_the_response_reaches_the_database() {
    let url = database_url().await;
    let database = outside(&url).await;
    let table = table(&database).await;
    let app = ProbeApp::start(&url, PoolMode::Isolated).await;

    let insert = json!({ "statement": format!("INSERT INTO {table} VALUES (1)") });
    assert_eq!(app.post("/after-response?ms=200", insert).await.status(), 202);

    assert_eq!(rows(&database, &table).await, 0);
    eventually("the row", DEADLINE, async || rows(&database, &table).await == 1).await;
    drop_table(&database, &table).await;
}

#[tokio::test]
async fn killed_host_leaves_no_connection() {
    let url = database_url().await;
    let database = outside(&url).await;
    let app = ProbeApp::start(&url, PoolMode::Isolated).await;
    let name = unique_name();
    let address = format!(
        "{url}{}application_name={name}",
        if url.contains('?') { '&' } else { '?' }
    );
    let connected = async || {
        let found = database
            .query("SELECT 1 FROM pg_stat_activity WHERE application_name = $1", &[&name])
            .await;
        found.unwrap().len()
    };
    app.post("/query", json!({ "statement": "SELECT 1", "address": address }))
        .await;
    assert_eq!(connected().await, 1);

    app.host.kill();

    eventually("the connection's end", DEADLINE, async || connected().await == 0).await;
}

#[tokio::test]
async fn many_requests_share_few_connections() {
    let app = ProbeApp::start_with(&database_url().await, |options| options.max_connections = 4).await;

    let answers =
        futures::future::join_all((0..64).map(|_| app.query("SELECT pg_sleep(0.005)::text", json!([])))).await;

    assert!(
        answers
            .iter()
            .all(|answer| answer["rows"] == json!([["DbValue::Str(\"\")"]])),
        "{answers:?}"
    );
    let statistics: Statistics = app.host.statistics();
    assert!(statistics.total().connections <= 4);
    assert_eq!(statistics.components["probe"].statements, 64);
}

#[tokio::test]
async fn long_result_streams_to_its_end_and_may_be_left() {
    let app = ProbeApp::start(&database_url().await, PoolMode::Isolated).await;

    let answer = app
        .query("SELECT n FROM generate_series(1, 10000) AS n", json!([]))
        .await;

    assert_eq!(answer["rows"].as_array().unwrap().len(), 10_000);
    assert_eq!(answer["columns"], json!([["n", "DbDataType::Int32"]]));
    assert_eq!(answer["rows"][9_999], json!(["DbValue::Int32(10000)"]));
    let failed = app
        .query("SELECT 1 / (100 - n) FROM generate_series(1, 10000) AS n", json!([]))
        .await;
    assert_eq!(failed["code"], "22012");
    assert!(app.log.lines("probe").is_empty());
}

#[tokio::test]
async fn values_reach_the_guest_as_in_spin() {
    let app = ProbeApp::start(&database_url().await, PoolMode::Isolated).await;
    let rows = [
        ("true", "DbValue::Boolean(true)"),
        ("1::smallint", "DbValue::Int16(1)"),
        ("1::int", "DbValue::Int32(1)"),
        ("1::bigint", "DbValue::Int64(1)"),
        ("1.5::real", "DbValue::Floating32(1.5)"),
        ("1.5::float8", "DbValue::Floating64(1.5)"),
        ("'x'::text", "DbValue::Str(\"x\")"),
        ("'x'::char(2)", "DbValue::Str(\"x \")"),
        ("'\\x0001'::bytea", "DbValue::Binary([0, 1])"),
        ("'2026-02-03'::date", "DbValue::Date((2026, 2, 3))"),
        ("'04:05:06.5'::time", "DbValue::Time((4, 5, 6, 500000000))"),
        (
            "'2026-02-03 04:05:06'::timestamp",
            "DbValue::Datetime((2026, 2, 3, 4, 5, 6, 0))",
        ),
        (
            "'00000000-0000-0000-0000-00000000000a'::uuid",
            "DbValue::Uuid(\"00000000-0000-0000-0000-00000000000a\")",
        ),
        (
            "'{\"b\": 12.10, \"a\": [1]}'::jsonb::text",
            "DbValue::Str(\"{\\\"a\\\": [1], \\\"b\\\": 12.10}\")",
        ),
        ("12.340::numeric", "DbValue::Decimal(\"12.340\")"),
        ("ARRAY[1, NULL]::int[]", "DbValue::ArrayInt32([Some(1), None])"),
        ("ARRAY[1, NULL]::bigint[]", "DbValue::ArrayInt64([Some(1), None])"),
        ("ARRAY['x', NULL]::text[]", "DbValue::ArrayStr([Some(\"x\"), None])"),
        (
            "ARRAY[1.5, NULL]::numeric[]",
            "DbValue::ArrayDecimal([Some(\"1.5\"), None])",
        ),
        (
            "'[1,5)'::int4range",
            "DbValue::RangeInt32((Some((1, RangeBoundKind::Inclusive)), Some((5, RangeBoundKind::Exclusive))))",
        ),
        (
            "'(,1.5]'::numrange",
            "DbValue::RangeDecimal((None, Some((\"1.5\", RangeBoundKind::Inclusive))))",
        ),
        (
            "'1 month 2 days 3 seconds'::interval",
            "DbValue::Interval(Interval { micros: 3000000, days: 2, months: 1 })",
        ),
        ("NULL::text", "DbValue::DbNull"),
        ("NULL::timestamptz", "ERROR"),
        ("now()", "ERROR"),
        ("'127.0.0.1'::inet", "DbValue::Unsupported([2, 32, 0, 4, 127, 0, 0, 1])"),
        ("'{}'::json", "DbValue::Unsupported([123, 125])"),
        ("pg_sleep(0)", "DbValue::Unsupported([])"),
    ];

    for (expression, expected) in rows {
        let answer = app.query(&format!("SELECT {expression}"), json!([])).await;
        match answer.pointer("/rows/0/0") {
            Some(value) => assert_eq!(value, expected, "{expression}"),
            None => {
                assert_eq!(expected, "ERROR", "{expression}: {answer}");
                assert_eq!(answer["error"], "query_failed", "{expression}: {answer}");
                assert!(
                    answer["text"].as_str().unwrap().contains("cannot convert between"),
                    "{expression}: {answer}"
                );
            }
        }
    }
}

#[tokio::test]
async fn jsonb_passes_through_the_hosts_json() {
    let app = ProbeApp::start(&database_url().await, PoolMode::Isolated).await;

    let answer = app
        .value("SELECT $1::jsonb", json!([{ "jsonb": "{\"b\": 12.10, \"a\": null}" }]))
        .await;

    let sorted_and_rounded = br#"{"a":null,"b":12.1}"#;
    assert_eq!(answer, format!("DbValue::Jsonb({:?})", sorted_and_rounded));
}

#[tokio::test]
async fn parameters_reach_postgres() {
    let app = ProbeApp::start(&database_url().await, PoolMode::Isolated).await;
    let rows = [
        ("bool", json!({ "boolean": true }), "true"),
        ("smallint", json!({ "int16": -2 }), "-2"),
        ("int", json!({ "int32": 5 }), "5"),
        ("bigint", json!({ "int64": 5_000_000_000_i64 }), "5000000000"),
        ("real", json!({ "floating32": 1.5 }), "1.5"),
        ("float8", json!({ "floating64": 1.5 }), "1.5"),
        ("text", json!({ "str": "it's" }), "it's"),
        ("bytea", json!({ "binary": "ab" }), "\\x6162"),
        ("date", json!({ "date": [2026, 2, 3] }), "2026-02-03"),
        ("time", json!({ "time": [4, 5, 6, 500_000_000] }), "04:05:06.5"),
        (
            "timestamp",
            json!({ "datetime": [2026, 2, 3, 4, 5, 6, 0] }),
            "2026-02-03 04:05:06",
        ),
        (
            "uuid",
            json!({ "uuid": "00000000-0000-0000-0000-00000000000a" }),
            "00000000-0000-0000-0000-00000000000a",
        ),
        ("numeric", json!({ "decimal": "12.340" }), "12.340"),
        ("int[]", json!({ "array_int32": [1, 2] }), "{1,2}"),
        ("bigint[]", json!({ "array_int64": [1, 2] }), "{1,2}"),
        ("text[]", json!({ "array_str": ["a", null] }), "{a,NULL}"),
        ("numeric[]", json!({ "array_decimal": ["1.5", null] }), "{1.5,NULL}"),
        (
            "interval",
            json!({ "interval": [1_000_000, 2, 3] }),
            "3 mons 2 days 00:00:01",
        ),
    ];

    for (kind, parameter, expected) in rows {
        let answer = app
            .value(&format!("SELECT ($1::{kind})::text"), json!([parameter]))
            .await;
        assert_eq!(answer, format!("DbValue::Str({expected:?})"), "{kind}");
    }
    let moment = app
        .value(
            "SELECT ($1::timestamptz AT TIME ZONE 'UTC')::text",
            json!([{ "timestamp": 1_000_000_000 }]),
        )
        .await;
    assert_eq!(moment, "DbValue::Str(\"2001-09-09 01:46:40\")");
    assert_eq!(
        app.value("SELECT $1::uuid IS NULL", json!([null])).await,
        "DbValue::Boolean(true)"
    );
}

#[tokio::test]
async fn raised_error_reaches_the_guest_with_its_fields() {
    let app = ProbeApp::start(&database_url().await, PoolMode::Isolated).await;
    let raise = "DO $$ BEGIN RAISE EXCEPTION 'no such agent' USING ERRCODE = 'PT404', DETAIL = 'a detail', HINT = 'a hint'; END $$";

    let answer = app.query(raise, json!([])).await;

    assert_eq!(answer["error"], "db_error");
    assert_eq!(answer["severity"], "ERROR");
    assert_eq!(answer["code"], "PT404");
    assert_eq!(answer["message"], "no such agent");
    assert_eq!(answer["detail"], "a detail");
    let extras: Vec<(String, String)> = serde_json::from_value(answer["extras"].clone()).unwrap();
    assert!(extras.contains(&("hint".into(), "a hint".into())), "{extras:?}");
    assert!(extras.iter().any(|(name, _)| name == "where_"), "{extras:?}");
}

#[tokio::test]
async fn mistakes_have_the_error_that_spin_gives() {
    let url = database_url().await;
    let app = ProbeApp::start(&url, PoolMode::Isolated).await;

    let syntax = app.query("SELEC 1", json!([])).await;
    assert_eq!(
        (&syntax["error"], &syntax["code"]),
        (&json!("db_error"), &json!("42601"))
    );
    let several = app.query("SELECT 1; SELECT 2", json!([])).await;
    assert_eq!(several["code"], "42601");
    let wrong_type = app.query("SELECT $1::int", json!([{ "str": "x" }])).await;
    assert_eq!(wrong_type["error"], "query_failed");
    let malformed = app.query("SELECT $1::uuid", json!([{ "uuid": "x" }])).await;
    assert_eq!(malformed["error"], "bad_parameter");
    let execute = json!({ "statement": "SELECT $1::uuid", "params": [{ "uuid": "x" }], "execute": true });
    let malformed = app.post("/query", execute).await.json::<Value>().await.unwrap();
    assert_eq!(malformed["error"], "value_conversion_failed");

    // Each of these got a connection that works.
    assert_eq!(app.value("SELECT 1", json!([])).await, "DbValue::Int32(1)");
}

#[tokio::test]
async fn connections_that_are_not_there_or_not_allowed_fail() {
    let app = ProbeApp::start(&database_url().await, PoolMode::Isolated).await;
    let at = async |address: &str| {
        let response = app
            .post("/query", json!({ "statement": "SELECT 1", "address": address }))
            .await;
        response.json::<Value>().await.unwrap()
    };

    let refused = at("postgres://user@127.0.0.1:1/db").await;
    assert_eq!(refused["error"], "connection_failed");
    let socket = at("host=/tmp user=user").await;
    assert_eq!(socket["text"], "Unix sockets are not supported on WebAssembly");
    let malformed = at("no address").await;
    assert_eq!(malformed["error"], "connection_failed");
}

#[tokio::test]
async fn address_must_be_among_the_allowed_hosts() {
    let folder = tempfile::tempdir().unwrap();
    let manifest = format!(
        "spin_manifest_version = 2\n[application]\nname = \"probe\"\n[[trigger.http]]\nroute = \"/...\"\ncomponent = \"probe\"\n\
         [component.probe]\nsource = {:?}\nallowed_outbound_hosts = [\"postgres://db.example:5432\", \"http://127.0.0.1:*\"]\n",
        probe()
    );
    std::fs::write(folder.path().join("spin.toml"), manifest).unwrap();
    let mut options = HostOptions::new(folder.path().join("spin.toml"));
    options.cache = Some(Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    let host = Host::start(options).await.unwrap();

    let body = json!({ "statement": "SELECT 1", "address": "postgres://user@127.0.0.1:5432/db" });
    let response = reqwest::Client::new()
        .post(format!("{}/query", host.url()))
        .json(&body)
        .send()
        .await
        .unwrap();

    let expected =
        json!({ "error": "connection_failed", "text": "address postgres://127.0.0.1:5432 is not permitted" });
    assert_eq!(response.json::<Value>().await.unwrap(), expected);
}
