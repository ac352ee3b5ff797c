//! What a machine is told at its first boot is done here by a real shell: the files are written, and the script is run, with stand-ins for the
//! programs that reach out of it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use agentopia_tests::{DEADLINE, Stack, eventually_some};
use http::StatusCode;
use insta::assert_snapshot;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::heartbeat_support::HEARTBEAT;
use crate::toolbox_machines::{Ordered, stack};

/// Writes down how it is called, and says and does what it finds then.
const CURL: &str = r#"#!/bin/sh
cd "$PROGRAMS"
printf '%s\n' "$@" > called && mv called call
until [ -f answer ]; do /bin/sleep 0.02; done
cat answer; rm answer; exit "$(cat code)"
"#;

/// Writes down how it is called.
const OTHER: &str = r#"#!/bin/sh
printf '%s %s\n' "${0##*/}" "$*" >> "$PROGRAMS/log"
"#;

/// A machine that boots: a folder in which its files are, and programs of its own.
struct Machine {
    folder: TempDir,
}

impl Machine {
    /// Does what cloud-init does with the files of user data.
    fn new(document: &Value) -> Self {
        let machine = Self {
            folder: TempDir::new().unwrap(),
        };
        fs::create_dir(machine.programs()).unwrap();
        let others = ["sleep", "docker", "iptables", "apt-get"].map(|name| (name, OTHER));
        for (name, text) in [("curl", CURL)].into_iter().chain(others) {
            write(&machine.programs().join(name), text, 0o700);
        }
        for file in document["write_files"].as_array().unwrap() {
            let text = |field: &str| file[field].as_str().unwrap();
            let mode = u32::from_str_radix(text("permissions"), 8).unwrap();
            write(
                Path::new(&machine.place(text("path"))),
                &machine.place(text("content")),
                mode,
            );
        }
        machine
    }

    /// Runs its command.
    fn boot(&self, document: &Value) -> Child {
        let command: Vec<String> = serde_json::from_value(document["runcmd"][0].clone()).unwrap();
        let (program, arguments) = command.split_first().unwrap();
        let path = std::env::var_os("PATH").unwrap();
        let paths = [self.programs()].into_iter().chain(std::env::split_paths(&path));
        Command::new(program)
            .args(arguments.iter().map(|argument| self.place(argument)))
            .env("PATH", std::env::join_paths(paths).unwrap())
            .env("PROGRAMS", self.programs())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// How its `curl` is called next, word by word.
    async fn called(&self) -> Vec<String> {
        let call = self.programs().join("call");
        let words = eventually_some("the script calls", DEADLINE, async || fs::read_to_string(&call).ok()).await;
        fs::remove_file(call).unwrap();
        words.lines().map(str::to_owned).collect()
    }

    /// What its `curl` prints, and ends with.
    fn answer(&self, text: &str, code: u8) {
        let programs = self.programs();
        fs::write(programs.join("code"), code.to_string()).unwrap();
        fs::write(programs.join("answering"), text).unwrap();
        fs::rename(programs.join("answering"), programs.join("answer")).unwrap();
    }

    fn programs(&self) -> PathBuf {
        self.folder.path().join("programs")
    }

    /// A text in which the machine's own folder is the one here.
    fn place(&self, text: &str) -> String {
        text.replace(
            "/etc/agentopia",
            &self.folder.path().join("agentopia").display().to_string(),
        )
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("agentopia").join(name)
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Makes the call that the script's `curl` was told to make.
async fn make(stack: &Stack, words: &[String]) -> (StatusCode, String) {
    let after = |word: &'static str| {
        let positions = words.iter().enumerate().filter(move |(_, found)| *found == word);
        positions.map(|(position, _)| words[position + 1].as_str())
    };
    assert_eq!(after("-X").collect::<Vec<_>>(), ["POST"]);
    let url = words.last().unwrap().strip_prefix(stack.url()).unwrap();
    let mut request = stack.post(url).body(after("--data").next().unwrap().to_owned());
    for header in after("-H") {
        let (name, value) = header.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    let response = request.await;
    (response.status(), response.text().to_owned())
}

#[tokio::test]
async fn the_script_registers_and_starts_the_agent() {
    let stack = stack().await;
    let toolbox = Ordered::new(stack).await;
    stack.toolbox_agents().hold_registration(toolbox.id);
    toolbox
        .sweep_until(stack, "there is a machine", async || {
            !toolbox.droplets(stack).is_empty()
        })
        .await;
    let user_data = toolbox.droplets(stack).remove(0).user_data;
    let document: Value = serde_json::from_str(user_data.strip_prefix("#cloud-config\n").unwrap()).unwrap();
    let machine = Machine::new(&document);

    let mut booting = machine.boot(&document);
    // There is no network yet; then there is, and the answer is lost on the way; then it arrives.
    let first = machine.called().await;
    machine.answer("", 7);
    let second = machine.called().await;
    let (lost, _) = make(stack, &second).await;
    machine.answer("", 28);
    let third = machine.called().await;
    let (registered, answer) = make(stack, &third).await;
    machine.answer(&answer, 0);
    let ended = booting.wait().await.unwrap();

    assert!(ended.success(), "{ended}");
    assert_eq!((lost, registered), (StatusCode::OK, StatusCode::OK));
    assert!(first == second && second == third, "the same claim each time");
    let environment = fs::read_to_string(machine.file("agent.env")).unwrap();
    let variables: Vec<_> = environment.lines().map(|line| line.split_once('=').unwrap()).collect();
    let [("DTMA_BEARER_TOKEN", token), ("AGENTOPIA_API_BASE_URL", url)] = variables.as_slice() else {
        panic!("{environment}")
    };
    assert_eq!(*url, format!("{}/functions/v1", stack.url()));
    let mode = fs::metadata(machine.file("agent.env")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may read the token");
    assert!(!machine.file("bootstrap_token").exists() && !machine.file("registered").exists());
    assert_snapshot!(fs::read_to_string(machine.programs().join("log")).unwrap(), @r"
    sleep 5
    sleep 5
    iptables -I FORWARD -d 169.254.169.254 -j DROP
    docker rm -f dtma_manager
    docker run -d --name dtma_manager --restart always --env-file agent.env -v /var/run/docker.sock:/var/run/docker.sock ghcr.io/agentopia/dtma:latest
    ");

    let response = stack.post(HEARTBEAT).bearer(token).json(&json!({})).await;
    assert_eq!(response.status(), StatusCode::OK, "{response}");
    assert_eq!(toolbox.status(stack).await, "active");
}
