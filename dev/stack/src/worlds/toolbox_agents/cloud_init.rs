//! What cloud-init makes of a machine's user data, as far as these machines are told things by it.
//!
//! What [cloud-init](https://cloudinit.readthedocs.io/en/latest/reference/modules.html) would pass over with a warning in a log that nobody
//! reads is refused here. The document is read as JSON, which is YAML and what the functions write.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// The first line, without which cloud-init takes user data for something else.
const HEADER: &str = "#cloud-config";

/// The folder of all that a machine is told.
const FOLDER: &str = "/etc/agentopia/";

/// What begins a secret, of all kinds that there are: machines' tokens, DigitalOcean's, model providers' keys, users' tokens.
const SECRETS: [&str; 5] = ["agt_boot_", "agt_tb_", "dop_v1_", "sk-", "eyJ"];

/// Of so many letters, what follows is a secret and not a word.
const SECRET_MIN_CHARS: usize = 20;

/// The one secret that belongs on a machine.
const BOOTSTRAP: &str = "agt_boot_";

/// What a machine knows when it has booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Boot {
    /// Where the functions are, without a slash at the end.
    pub(super) functions_url: String,
    /// What it proves itself with at its first contact.
    pub(super) bootstrap_token: String,
    /// The image of the agent.
    pub(super) image: String,
    /// The toolbox that it is to become.
    pub(super) toolbox_id: Uuid,
    /// What its owner calls that.
    pub(super) toolbox_name: String,
}

/// A file that is written before commands run.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    path: String,
    owner: String,
    permissions: String,
    content: String,
}

/// What stands in the file about the toolbox.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Toolbox {
    id: Uuid,
    name: String,
}

impl Boot {
    /// Reads user data; the error is what is wrong with it.
    pub(super) fn read(user_data: &str) -> Result<Self, String> {
        let (header, document) = user_data.split_once('\n').unwrap_or((user_data, ""));
        if header.trim_end() != HEADER {
            return Err(format!("its user data begins with {header:?} and not with {HEADER:?}"));
        }
        let mut document: Map<String, Value> =
            serde_json::from_str(document).map_err(|error| format!("its user data is no document in JSON: {error}"))?;
        let files = files(document.remove("write_files"))?;
        let commands = commands(document.remove("runcmd"))?;
        if let Some(module) = document.keys().next() {
            return Err(format!("its user data has '{module}', which is not known"));
        }
        check_secrets(&files)?;

        // As the image of the machine has neither the script nor anything else below this folder.
        for command in &commands {
            for word in command.iter().filter(|word| word.starts_with(FOLDER)) {
                content(&files, word)?;
            }
        }
        let script = commands
            .iter()
            .flatten()
            .find_map(|word| files.get(word.as_str()))
            .ok_or("no command runs a file that was written")?;
        let told = |name: &str| -> Result<String, String> {
            // The script knows its folder, and the files by their names.
            if !script.content.contains(name) {
                return Err(format!("the script does not read {FOLDER}{name}"));
            }
            Ok(content(&files, &format!("{FOLDER}{name}"))?.to_owned())
        };
        let toolbox: Toolbox = serde_json::from_str(content(&files, &format!("{FOLDER}toolbox.json"))?)
            .map_err(|error| format!("{FOLDER}toolbox.json is not what it should be: {error}"))?;
        let boot = Self {
            functions_url: told("functions_url")?,
            bootstrap_token: told("bootstrap_token")?,
            image: told("agent_image")?,
            toolbox_id: toolbox.id,
            toolbox_name: toolbox.name,
        };
        if !boot.bootstrap_token.starts_with(BOOTSTRAP) {
            return Err(format!("{FOLDER}bootstrap_token is no bootstrap token"));
        }
        if !boot.functions_url.starts_with("http") || boot.functions_url.ends_with('/') {
            return Err(format!("'{}' is not where functions are", boot.functions_url));
        }
        Ok(boot)
    }
}

/// The files, by their paths.
fn files(value: Option<Value>) -> Result<BTreeMap<String, WrittenFile>, String> {
    let files: Vec<WrittenFile> = serde_json::from_value(value.unwrap_or_else(|| Value::Array(Vec::new())))
        .map_err(|error| format!("'write_files' is not what it should be: {error}"))?;
    let mut by_path = BTreeMap::new();
    for file in files {
        let path = file.path.clone();
        if !path.starts_with('/') {
            return Err(format!("the path '{path}' does not begin at the root"));
        }
        if file.owner != "root:root" {
            return Err(format!("{path} is to belong to '{}'", file.owner));
        }
        mode(&file)?;
        if by_path.insert(path.clone(), file).is_some() {
            return Err(format!("{path} is written twice"));
        }
    }
    Ok(by_path)
}

/// The commands, each in its words.
fn commands(value: Option<Value>) -> Result<Vec<Vec<String>>, String> {
    let commands: Vec<Vec<String>> = serde_json::from_value(value.unwrap_or_else(|| Value::Array(Vec::new())))
        .map_err(|error| format!("'runcmd' is not a list of commands in words: {error}"))?;
    if commands.iter().any(Vec::is_empty) {
        return Err("'runcmd' has a command without a word".to_owned());
    }
    Ok(commands)
}

/// Who may do what with a file, such as `0o600`.
fn mode(file: &WrittenFile) -> Result<u32, String> {
    u32::from_str_radix(&file.permissions, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777 && file.permissions.len() >= 3)
        .ok_or_else(|| format!("{} has '{}' for permissions", file.path, file.permissions))
}

/// Anybody on a machine can read its user data, so that there may be one secret in it, the one that is soon worth nothing.
fn check_secrets(files: &BTreeMap<String, WrittenFile>) -> Result<(), String> {
    let mut holding = Vec::new();
    for (path, file) in files {
        for begins in SECRETS {
            for _ in 0..secrets(&file.content, begins) {
                holding.push((path, begins, mode(file)?));
            }
        }
    }
    match holding.as_slice() {
        [] => Err("there is no bootstrap token in its user data".to_owned()),
        [(path, _, mode)] if mode & 0o077 != 0 => Err(format!("{path} holds a secret, and everybody may read it")),
        [(path, begins, _)] if *begins != BOOTSTRAP => {
            Err(format!("{path} holds a secret that begins with '{begins}'"))
        }
        [_] => Ok(()),
        [(first, ..), (second, ..), ..] => Err(format!("there are several secrets, in {first} and in {second}")),
    }
}

/// How many texts there are that begin so and are as long as secrets.
fn secrets(text: &str, begins: &str) -> usize {
    let is_letter = |character: char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_');
    let starts = text.match_indices(begins).filter(|(start, _)| {
        let (before, from) = text.split_at(*start);
        let is_word = !before.ends_with(is_letter);
        let letters = from
            .chars()
            .skip(begins.len())
            .take_while(|character| is_letter(*character));
        is_word && letters.count() >= SECRET_MIN_CHARS
    });
    starts.count()
}

fn content<'a>(files: &'a BTreeMap<String, WrittenFile>, path: &str) -> Result<&'a str, String> {
    files
        .get(path)
        .map(|file| file.content.as_str())
        .filter(|content| !content.is_empty())
        .ok_or_else(|| format!("{path} is missing"))
}

#[cfg(test)]
mod tests {
    use agentopia_domain::ids::ToolboxId;
    use agentopia_domain::toolbox::cloud_init::{CloudInit, user_data};
    use serde_json::json;

    use super::*;

    const NAME: &str = "Ada's task-box agt_boot_ $(reboot)\n\u{2028}";
    const TOKEN: &str = "agt_boot_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn of_the_functions() -> String {
        user_data(&CloudInit {
            functions_url: "http://127.0.0.1:3000/functions/v1",
            bootstrap_token: TOKEN,
            agent_image: "registry.example/agent:1",
            toolbox_id: ToolboxId(Uuid::from_u128(7)),
            toolbox_name: NAME,
        })
    }

    #[test]
    fn what_the_functions_write_is_read() {
        let boot = Boot::read(&of_the_functions()).unwrap();

        assert_eq!(boot.functions_url, "http://127.0.0.1:3000/functions/v1");
        assert_eq!(boot.bootstrap_token, TOKEN);
        assert_eq!(boot.image, "registry.example/agent:1");
        assert_eq!(
            (boot.toolbox_id, boot.toolbox_name.as_str()),
            (Uuid::from_u128(7), NAME)
        );
    }

    /// User data with one thing changed.
    fn changed(change: impl FnOnce(&mut Value)) -> Result<Boot, String> {
        let original = of_the_functions();
        let mut document = serde_json::from_str(original.split_once('\n').unwrap().1).unwrap();
        change(&mut document);
        Boot::read(&format!("{HEADER}\n{document}"))
    }

    #[test]
    fn what_cloud_init_would_not_do_is_refused() {
        let index = |document: &Value, name: &str| {
            let files = document["write_files"].as_array().unwrap();
            files
                .iter()
                .position(|file| file["path"].as_str().unwrap().ends_with(name))
                .unwrap()
        };
        let refusals = [
            Boot::read(""),
            Boot::read("#!/bin/sh\nreboot"),
            Boot::read("#cloud-config\nruncmd:\n  - reboot"),
            changed(|document| document["users"] = json!([])),
            changed(|document| document["runcmd"] = json!("reboot")),
            changed(|document| document["runcmd"] = json!([["/bin/sh", "/etc/agentopia/other.sh"]])),
            changed(|document| document["runcmd"] = json!([["reboot"]])),
            changed(|document| {
                let token = index(document, "bootstrap_token");
                document["write_files"].as_array_mut().unwrap().remove(token);
            }),
            changed(|document| {
                let token = index(document, "bootstrap_token");
                document["write_files"][token]["permissions"] = json!("0644");
            }),
            changed(|document| {
                let image = index(document, "agent_image");
                document["write_files"][image]["content"] = json!(TOKEN);
            }),
            changed(|document| {
                let token = index(document, "bootstrap_token");
                document["write_files"][token]["content"] = json!(format!("dop_v1_{}", "a".repeat(64)));
            }),
            changed(|document| {
                let image = index(document, "agent_image");
                document["write_files"].as_array_mut().unwrap().remove(image);
            }),
            changed(|document| document["write_files"][0]["permissions"] = json!(600)),
            changed(|document| document["write_files"][0]["permissions"] = json!("rw")),
            changed(|document| document["write_files"][0]["encoding"] = json!("b64")),
            changed(|document| document["write_files"][1]["path"] = document["write_files"][0]["path"].clone()),
        ];

        let refusals: Vec<_> = refusals.into_iter().map(Result::unwrap_err).collect();
        insta::assert_snapshot!(refusals.join("\n"), @r##"
        its user data begins with "" and not with "#cloud-config"
        its user data begins with "#!/bin/sh" and not with "#cloud-config"
        its user data is no document in JSON: expected value at line 1 column 1
        its user data has 'users', which is not known
        'runcmd' is not a list of commands in words: invalid type: string "reboot", expected a sequence
        /etc/agentopia/other.sh is missing
        no command runs a file that was written
        there is no bootstrap token in its user data
        /etc/agentopia/bootstrap_token holds a secret, and everybody may read it
        there are several secrets, in /etc/agentopia/agent_image and in /etc/agentopia/bootstrap_token
        /etc/agentopia/bootstrap_token holds a secret that begins with 'dop_v1_'
        /etc/agentopia/agent_image is missing
        'write_files' is not what it should be: invalid type: integer `600`, expected a string
        /etc/agentopia/functions_url has 'rw' for permissions
        'write_files' is not what it should be: unknown field `encoding`, expected one of `path`, `owner`, `permissions`, `content`
        /etc/agentopia/functions_url is written twice
        "##);
    }
}
