//! The embedded Postgres, run for real: started, killed, found again, and left behind.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use agentopia_stack::postgres::FunctionsLogin;
use agentopia_stack::{Health, Postgres, PostgresOptions, Progress, Quiet, StackError};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio_postgres::{Client, NoTls};

/// Notes the steps.
#[derive(Default)]
struct Steps(std::sync::Mutex<Vec<String>>);

impl Progress for Steps {
    fn step(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

impl Steps {
    fn contain(&self, text: &str) -> bool {
        self.0.lock().unwrap().iter().any(|step| step.contains(text))
    }
}

/// Options for a quick database in `data`.
fn options(data: &Path) -> PostgresOptions {
    PostgresOptions {
        fast: true,
        ..PostgresOptions::new(data)
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn count(url: &str) -> i64 {
    connect(url)
        .await
        .query_one("SELECT count(*) FROM kept", &[])
        .await
        .unwrap()
        .get(0)
}

/// Waits until `condition` holds, for at most ten seconds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(
            begin.elapsed() < Duration::from_secs(10),
            "waited too long until {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a process runs; one that has ended and waits for its parent to notice does not.
fn is_alive(pid: i32) -> bool {
    let is_zombie = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z"));
    test_kill_process(Pid::from_raw(pid).unwrap()).is_ok() && !is_zombie
}

fn send(signal: Signal, pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

#[tokio::test]
async fn a_second_start_finds_its_data_port_and_passwords() {
    let data = tempfile::tempdir().unwrap();
    let steps = Steps::default();
    let first = Postgres::start(options(data.path()), &steps).await.unwrap();
    let url = first.admin_url().to_owned();
    assert!(steps.contain("making a database cluster"));
    let client = connect(&url).await;
    client
        .batch_execute("CREATE EXTENSION vector; CREATE TABLE kept AS SELECT '[1,2]'::vector AS v")
        .await
        .unwrap();
    let pid = first.pid().unwrap();
    first.stop().await.unwrap();
    assert!(!is_alive(pid), "nothing is left running");

    let steps = Steps::default();
    let begin = Instant::now();
    let second = Postgres::start(options(data.path()), &steps).await.unwrap();
    let took = begin.elapsed();

    assert_eq!(second.admin_url(), url);
    assert_eq!(
        agentopia_stack::postgres::recorded_admin_url(data.path()).unwrap(),
        Some(url.clone())
    );
    assert!(!steps.contain("making a database cluster"));
    assert!(took < Duration::from_secs(5), "a second start took {took:?}");
    assert_eq!(count(&url).await, 1);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn two_folders_run_side_by_side_and_one_folder_does_not_run_twice() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) = tokio::join!(
        Postgres::start(options(one.path()), &Quiet),
        Postgres::start(options(other.path()), &Quiet)
    );
    let (first, second) = (first.unwrap(), second.unwrap());

    let again = Postgres::start(options(one.path()), &Quiet).await.unwrap_err();

    assert_ne!(first.admin_url(), second.admin_url());
    assert_ne!(first.secrets().jwt_secret(), second.secrets().jwt_secret());
    assert!(
        matches!(&again, StackError::Busy(folder) if folder == one.path()),
        "{again}"
    );
    for url in [first.admin_url(), second.admin_url()] {
        connect(url).await.query_one("SELECT 1", &[]).await.unwrap();
    }
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_server_comes_back_with_what_was_committed() {
    let data = tempfile::tempdir().unwrap();
    let mut postgres = Postgres::start(options(data.path()), &Quiet).await.unwrap();
    let url = postgres.admin_url().to_owned();
    let client = connect(&url).await;
    // Synchronous, because the quick settings may lose the last moment of a crash.
    client
        .batch_execute("CREATE TABLE kept (id int); SET synchronous_commit = on; INSERT INTO kept VALUES (1)")
        .await
        .unwrap();

    postgres.kill().await.unwrap();
    assert_eq!(*postgres.watch().borrow(), Health::Stopped);
    assert!(client.query_one("SELECT 1", &[]).await.is_err());
    postgres.restart().await.unwrap();

    assert_eq!(postgres.admin_url(), url);
    assert_eq!(count(&url).await, 1);
    assert_eq!(*postgres.watch().borrow(), Health::Running);

    // From a running server too, and by a crash that leaves its children to notice by themselves.
    postgres.restart().await.unwrap();
    let died = postgres.died();
    send(Signal::KILL, postgres.pid().unwrap());
    let how = tokio::time::timeout(Duration::from_secs(10), died).await.unwrap();
    assert!(how.contains("ended unexpectedly") && how.contains("SIGKILL"), "{how}");
    postgres.restart().await.unwrap();
    assert_eq!(count(&url).await, 1);
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn the_server_is_closed_to_those_without_a_password() {
    let data = tempfile::tempdir().unwrap();
    let postgres = Postgres::start(options(data.path()), &Quiet).await.unwrap();
    let password = postgres.secrets().database_admin_password();

    let wrong = tokio_postgres::connect(&postgres.admin_url().replace(password, "guess"), NoTls).await;

    assert_eq!(wrong.err().unwrap().as_db_error().unwrap().code().code(), "28P01");
    let client = connect(postgres.admin_url()).await;
    let show = async |name: &str| {
        client
            .query_one(&format!("SHOW {name}"), &[])
            .await
            .unwrap()
            .get::<_, String>(0)
    };
    assert_eq!(show("listen_addresses").await, "127.0.0.1");
    assert_eq!(show("unix_socket_directories").await, "");
    assert_eq!(show("password_encryption").await, "scram-sha-256");
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn dropping_it_ends_the_server() {
    let data = tempfile::tempdir().unwrap();
    let postgres = Postgres::start(options(data.path()), &Quiet).await.unwrap();
    let pid = postgres.pid().unwrap();
    assert!(is_alive(pid));

    drop(postgres);

    assert!(!is_alive(pid));
}

/// Has another process hold a server; gives the process, and the server's.
async fn hold(data: &Path) -> (Child, i32) {
    let mut holder = Command::new(env!("CARGO_BIN_EXE_agentopia-postgres"))
        .arg(data)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut url = String::new();
    BufReader::new(holder.stdout.take().unwrap())
        .read_line(&mut url)
        .unwrap();
    let client = connect(url.trim()).await;
    let file: String = client
        .query_one("SELECT pg_read_file('postmaster.pid')", &[])
        .await
        .unwrap()
        .get(0);
    (holder, file.lines().next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_killed_process_leaves_no_server() {
    let data = tempfile::tempdir().unwrap();
    let (mut holder, server) = hold(data.path()).await;
    assert!(is_alive(server));

    holder.kill().unwrap();
    holder.wait().unwrap();

    until("the guardian has stopped the server", || !is_alive(server)).await;
    Postgres::start(options(data.path()), &Quiet)
        .await
        .unwrap()
        .stop()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_signal_ends_the_process_and_its_server() {
    let data = tempfile::tempdir().unwrap();
    let (mut holder, server) = hold(data.path()).await;

    send(Signal::TERM, holder.id().try_into().unwrap());

    assert!(holder.wait().unwrap().success());
    assert!(!is_alive(server));
}

#[tokio::test]
async fn a_folder_that_the_servers_account_cannot_reach_is_served_from_elsewhere() {
    let data = tempfile::tempdir().unwrap();
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o700)).unwrap();

    for _ in 0..2 {
        let postgres = Postgres::start(options(data.path()), &Quiet).await.unwrap();
        connect(postgres.admin_url())
            .await
            .batch_execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 1")
            .await
            .unwrap();
        assert_eq!(count(postgres.admin_url()).await, 1);
        postgres.stop().await.unwrap();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_server_that_was_left_behind_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    let (mut holder, server) = hold(data.path()).await;
    let guardian = fs::read_dir("/proc").unwrap().flatten().find(|process| {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        command.ends_with(format!("\0postgres-guardian\0{server}\0").as_bytes())
    });
    let guardian: i32 = guardian.unwrap().file_name().to_str().unwrap().parse().unwrap();
    send(Signal::KILL, guardian);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(is_alive(server), "without its guardian the server goes on");

    let postgres = Postgres::start(options(data.path()), &Quiet).await.unwrap();

    assert!(!is_alive(server));
    assert_ne!(postgres.pid(), Some(server));
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn the_functions_log_in_as_their_role_and_an_existing_login_is_left_alone() {
    let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut own = Postgres::start(options(data.path()), &Quiet).await.unwrap();
    let owner = connect(own.admin_url()).await;
    assert!(
        matches!(own.open_functions_login().await.unwrap(), FunctionsLogin::Owner(why) if why.contains("migrations"))
    );
    owner
        .batch_execute("CREATE ROLE agentopia_functions LOGIN")
        .await
        .unwrap();
    let given = PostgresOptions {
        database_url: Some(own.admin_url().to_owned()),
        ..options(elsewhere.path())
    };
    let role = async |url: &str| {
        connect(url)
            .await
            .query_one("SELECT current_user::text", &[])
            .await
            .unwrap()
            .get::<_, String>(0)
    };

    assert_eq!(own.open_functions_login().await.unwrap(), FunctionsLogin::Role);
    assert_eq!(role(&own.functions_url()).await, "agentopia_functions");

    let mut other = Postgres::start(given.clone(), &Quiet).await.unwrap();
    let login = other.open_functions_login().await.unwrap();
    assert!(
        matches!(&login, FunctionsLogin::Owner(why) if why.contains("FUNCTIONS_DATABASE_URL")),
        "{login:?}"
    );
    assert_eq!(role(&other.functions_url()).await, "postgres");
    assert_eq!(
        role(&own.functions_url()).await,
        "agentopia_functions",
        "the first login still works"
    );

    let told = PostgresOptions {
        functions_database_url: Some(own.functions_url()),
        ..given.clone()
    };
    let mut told = Postgres::start(told, &Quiet).await.unwrap();
    assert_eq!(told.open_functions_login().await.unwrap(), FunctionsLogin::Given);
    assert_eq!(told.functions_url(), own.functions_url());

    owner
        .batch_execute("ALTER ROLE agentopia_functions PASSWORD NULL")
        .await
        .unwrap();
    assert_eq!(other.open_functions_login().await.unwrap(), FunctionsLogin::Role);
    assert_eq!(role(&other.functions_url()).await, "agentopia_functions");
    own.stop().await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_given_is_used_and_left_alone() {
    let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Postgres::start(options(data.path()), &Quiet).await.unwrap();
    let url = server.admin_url().to_owned();
    let given = PostgresOptions {
        database_url: Some(url.clone()),
        ..options(elsewhere.path())
    };

    let mut postgres = Postgres::start(given, &Quiet).await.unwrap();

    assert_eq!(postgres.admin_url(), url);
    assert_eq!(postgres.pid(), None);
    assert!(postgres.restart().await.unwrap_err().to_string().contains("not ours"));
    postgres.stop().await.unwrap();
    connect(&url).await.query_one("SELECT 1", &[]).await.unwrap();
    server.stop().await.unwrap();
}
