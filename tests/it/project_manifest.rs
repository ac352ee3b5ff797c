//! `spin.toml` against the functions: which there are, how they are reached, what each may see and reach.

use std::collections::BTreeSet;

use insta::assert_snapshot;

use crate::project_files::{folders, started_by, toml};

/// The table of one component.
struct Component {
    name: String,
    table: toml::Table,
}

impl Component {
    fn text(&self, field: &str) -> &str {
        self.table[field].as_str().unwrap()
    }

    /// What it sees: the names of its variables with their templates.
    fn variables(&self) -> Vec<(&str, &str)> {
        let variables = self
            .table
            .get("variables")
            .and_then(toml::Value::as_table)
            .into_iter()
            .flatten();
        variables
            .map(|(name, template)| (name.as_str(), template.as_str().unwrap()))
            .collect()
    }

    /// Where it may send requests.
    fn allowed_hosts(&self) -> Vec<&str> {
        self.table["allowed_outbound_hosts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|host| host.as_str().unwrap())
            .collect()
    }
}

fn components() -> Vec<Component> {
    let manifest = toml("spin.toml");
    let tables = manifest["component"].as_table().unwrap();
    let components = tables.iter().map(|(name, table)| Component {
        name: name.clone(),
        table: table.as_table().unwrap().clone(),
    });
    components.collect()
}

/// The routes as (route, component).
fn routes() -> Vec<(String, String)> {
    let manifest = toml("spin.toml");
    let triggers = manifest["trigger"]["http"].as_array().unwrap();
    let text = |trigger: &toml::Value, field: &str| trigger[field].as_str().unwrap().to_owned();
    triggers
        .iter()
        .map(|trigger| (text(trigger, "route"), text(trigger, "component")))
        .collect()
}

/// The application's variables that a template names.
fn named(template: &str) -> Vec<&str> {
    let after_braces = template.split("{{").skip(1);
    after_braces
        .map(|rest| rest.split_once("}}").unwrap().0.trim())
        .collect()
}

#[test]
fn components_are_the_folders_of_functions() {
    let names: BTreeSet<_> = components().into_iter().map(|component| component.name).collect();

    assert_eq!(names, folders("functions").into_iter().collect());
}

#[test]
fn each_component_is_built_from_its_own_package() {
    for component in components() {
        let name = &component.name;
        let file = name.replace('-', "_");
        let build = component.table["build"].as_table().unwrap();
        let watched: Vec<_> = build["watch"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(toml::Value::as_str)
            .collect();

        assert_eq!(
            component.text("source"),
            format!("target/wasm32-wasip2/release/{file}.wasm")
        );
        assert_eq!(
            build["command"].as_str().unwrap(),
            format!("cargo build --release --target wasm32-wasip2 --package {name}")
        );
        // What a schedule starts is made of its world, and of none of our crates.
        let made_of = if started_by("cron").contains(name) {
            "wit/**/*.wit"
        } else {
            "shared/**/*.rs"
        };
        assert_eq!(watched, [&*format!("functions/{name}/**/*.rs"), made_of, "Cargo.toml"]);
        assert!(component.text("description").ends_with('.'), "{name}");
    }
}

#[test]
fn every_component_is_reached_by_its_name_or_started_by_a_schedule() {
    let (routes, scheduled) = (routes(), started_by("cron"));

    for component in components() {
        let route = format!("/functions/v1/{}/...", component.name);
        assert_ne!(
            routes.contains(&(route, component.name.clone())),
            scheduled.contains(&component.name),
            "{}",
            component.name
        );
    }
}

#[test]
fn the_schedules_are_the_known_ones() {
    let manifest = toml("spin.toml");
    let schedules: Vec<_> = manifest["trigger"]["cron"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trigger| {
            format!(
                "{} {}",
                trigger["cron_expression"].as_str().unwrap(),
                trigger["component"].as_str().unwrap()
            )
        })
        .collect();

    assert_snapshot!(schedules.join("\n"), @"*/30 * * * * * heartbeat-schedule");
}

#[test]
fn the_other_routes_are_those_of_earlier_clients() {
    let aliases: Vec<_> = routes()
        .into_iter()
        .filter(|(route, component)| *route != format!("/functions/v1/{component}/..."))
        .map(|(route, component)| format!("{route} {component}"))
        .collect();

    assert_snapshot!(aliases.join("\n"), @r"
    /functions/v1/admin-force-stop-worker/... manage-discord-worker
    /functions/v1/discord-connect/... manage-discord-worker
    /functions/v1/discord-disconnect/... manage-discord-worker
    /functions/v1/discord-get-bot-guilds/... manage-discord-worker
    /functions/v1/discord-get-guild-channels/... manage-discord-worker
    /functions/v1/get-enabled-guilds/... manage-discord-worker
    /functions/v1/get-worker-status/... manage-discord-worker
    /functions/v1/register-agent-commands/... manage-discord-worker
    /functions/v1/update-agent-discord-token/... manage-discord-worker
    /functions/v1/update-enabled-guilds/... manage-discord-worker
    /functions/v1/toolbox-tools/... toolboxes-user
    /functions/v1/digitalocean-options/... toolboxes-user
    /functions/v1/dtma/get-agent-tool-credentials/... get-agent-tool-credentials
    /functions/v1/dtma/heartbeat/... heartbeat
    ");
}

#[test]
fn variables_are_declared_and_used() {
    let manifest = toml("spin.toml");
    let declared: BTreeSet<_> = manifest["variables"].as_table().unwrap().keys().cloned().collect();
    let mut used = BTreeSet::new();
    for component in components() {
        let templates = component.variables().into_iter().map(|(_, template)| template);
        for template in templates.chain(component.allowed_hosts()) {
            used.extend(named(template).into_iter().map(str::to_owned));
        }
    }

    assert_eq!(used, declared);
}

#[test]
fn what_is_secret_by_its_name_is_declared_so_and_has_no_default() {
    let manifest = toml("spin.toml");
    let mut secrets = Vec::new();
    for (name, variable) in manifest["variables"].as_table().unwrap() {
        let by_name = ["password", "secret", "key", "keyring", "token", "webhook_url"]
            .iter()
            .any(|word| name.ends_with(word) && !name.ends_with("public_key"));
        let declared = variable.get("secret").and_then(toml::Value::as_bool) == Some(true);

        assert_eq!(declared, by_name, "{name}");
        if declared {
            let default = variable
                .get("default")
                .and_then(toml::Value::as_str)
                .unwrap_or_default();
            assert_eq!(default, "", "{name}");
            secrets.push(name.clone());
        }
    }

    assert_eq!(
        secrets,
        [
            "alert_webhook_url",
            "credential_keyring",
            "database_password",
            "digitalocean_token",
            "jwt_secret",
            "openai_api_key",
            "service_token",
            "worker_manager_token",
        ]
    );
}

#[test]
fn a_component_sees_and_reaches_what_it_needs() {
    let mut lines = Vec::new();
    for component in components() {
        lines.push(component.name.clone());
        lines.extend(
            component
                .allowed_hosts()
                .into_iter()
                .map(|host| format!("  reaches {host}")),
        );
        let variables = component.variables();
        lines.extend(
            variables
                .into_iter()
                .map(|(name, template)| format!("  sees {name} = {template}")),
        );
        let others: Vec<_> = component
            .table
            .keys()
            .filter(|field| {
                !["description", "source", "allowed_outbound_hosts", "variables", "build"].contains(&field.as_str())
            })
            .collect();
        assert!(others.is_empty(), "{} also has {others:?}", component.name);
    }

    assert_snapshot!(lines.join("\n"));
}

#[test]
fn a_secret_is_seen_only_by_those_who_may_reach_whom_it_is_for() {
    for component in components() {
        let hosts = component.allowed_hosts().join(" ");
        for (name, template) in component.variables() {
            for secret in named(template) {
                let reached = match secret {
                    "database_password" => "{{ database_host }}",
                    "openai_api_key" => "{{ openai_origin }}",
                    // The function that is asked knows the token too, and sends it nowhere.
                    "service_token" if started_by("cron").contains(&component.name) => "{{ public_url }}",
                    _ => continue,
                };
                assert!(hosts.contains(reached), "{} sees {secret} in {name}", component.name);
            }
        }
    }
}
