//! The embedded Postgres, run for real: started, killed, found again, and left behind.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use agentopia_stack::{Health, Postgres, PostgresOptions, Progress, Quiet, StackError};
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
    PostgresOptions { fast: true, ..PostgresOptions::new(data) }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn count(url: &str) -> i64 {
    connect(url).await.query_one("SELECT count(*) FROM kept", &[]).await.unwrap().get(0)
}

/// Waits until `condition` holds, for at most ten seconds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(10), "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.contains("(postgres)") && !stat.contains(") Z")
}

fn send(signal: &str, pid: i32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

#[tokio::test]
async fn a_second_start_finds_its_data_port_and_passwords() {
    let data = tempfile::tempdir().unwrap();
    let steps = Steps::default();
    let first = Postgres::start(options(data.path()), &steps).await.unwrap();
    let url = first.admin_url().to_owned();
    assert!(steps.contain("making a database cluster"));
    let client = connect(&url).await;
    client.batch_execute("CREATE EXTENSION vector; CREATE TABLE kept AS SELECT '[1,2]'::vector AS v").await.unwrap();
    let pid = first.pid().unwrap();
    first.stop().await.unwrap();
    assert!(!is_alive(pid), "nothing is left running");

    let steps = Steps::default();
    let begin = Instant::now();
    let second = Postgres::start(options(data.path()), &steps).await.unwrap();
    let took = begin.elapsed();

    assert_eq!(second.admin_url(), url);
    assert_eq!(agentopia_stack::postgres::recorded_admin_url(data.path()).unwrap(), Some(url.clone()));
    assert!(!steps.contain("making a database cluster"));
    assert!(took < Duration::from_secs(5), "a second start took {took:?}");
    assert_eq!(count(&url).await, 1);
    second.stop().await.unwrap();
}

#[tokio::test]
async fn two_folders_run_side_by_side_and_one_folder_does_not_run_twice() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (first, second) =
        tokio::join!(Postgres::start(options(one.path()), &Quiet), Postgres::start(options(other.path()), &Quiet));
    let (first, second) = (first.unwrap(), second.unwrap());

    let again = Postgres::start(options(one.path()), &Quiet).await.unwrap_err();

    assert_ne!(first.admin_url(), second.admin_url());
    assert_ne!(first.secrets().jwt_secret(), second.secrets().jwt_secret());
    assert!(matches!(&again, StackError::Busy(folder) if folder == one.path()), "{again}");
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
    client.batch_execute("CREATE TABLE kept (id int); SET synchronous_commit = on; INSERT INTO kept VALUES (1)").await.unwrap();

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
    send("-KILL", postgres.pid().unwrap());
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
    let show = async |name: &str| client.query_one(&format!("SHOW {name}"), &[]).await.unwrap().get::<_, String>(0);
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

/// Not a test of its own: what [`a_killed_process_leaves_no_server`] runs as another process.
#[tokio::test]
async fn holder() {
    let Some(data) = std::env::var_os("AGENTOPIA_STACK_TEST_DATA") else { return };
    let data = Path::new(&data);
    let postgres = Postgres::start(options(data), &Quiet).await.unwrap();
    fs::write(data.join("pid.new"), postgres.pid().unwrap().to_string()).unwrap();
    fs::rename(data.join("pid.new"), data.join("pid")).unwrap();
    std::future::pending::<()>().await;
}

/// Runs [`holder`] until its server is there; gives both processes.
async fn hold(data: &Path) -> (std::process::Child, i32) {
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "holder", "--nocapture"])
        .env("AGENTOPIA_STACK_TEST_DATA", data)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while !data.join("pid").exists() {
        assert!(begin.elapsed() < Duration::from_secs(60) && holder.try_wait().unwrap().is_none(), "no server was started");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    (holder, fs::read_to_string(data.join("pid")).unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_killed_process_leaves_no_server() {
    let data = tempfile::tempdir().unwrap();
    let (mut holder, server) = hold(data.path()).await;
    assert!(is_alive(server));

    holder.kill().unwrap();
    holder.wait().unwrap();

    until("the guardian has stopped the server", || !is_alive(server)).await;
    Postgres::start(options(data.path()), &Quiet).await.unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_left_behind_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    let (mut holder, server) = hold(data.path()).await;
    let guardian = Command::new("pgrep").args(["-f", &format!("postgres-guardian {server}$")]).output().unwrap();
    let guardian: i32 = String::from_utf8(guardian.stdout).unwrap().trim().parse().unwrap();
    send("-KILL", guardian);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(is_alive(server), "without its guardian the server goes on");

    let postgres = Postgres::start(options(data.path()), &Quiet).await.unwrap();

    assert!(!is_alive(server));
    assert_ne!(postgres.pid(), Some(server));
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_given_is_used_and_left_alone() {
    let (data, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Postgres::start(options(data.path()), &Quiet).await.unwrap();
    let url = server.admin_url().to_owned();
    let given = PostgresOptions { database_url: Some(url.clone()), ..options(elsewhere.path()) };

    let mut postgres = Postgres::start(given, &Quiet).await.unwrap();

    assert_eq!(postgres.admin_url(), url);
    assert_eq!(postgres.pid(), None);
    assert!(postgres.restart().await.unwrap_err().to_string().contains("not ours"));
    postgres.stop().await.unwrap();
    connect(&url).await.query_one("SELECT 1", &[]).await.unwrap();
    server.stop().await.unwrap();
}
