//! `spin.toml`, manifest version 2, as far as this application uses it.
//!
//! Whatever is not known here is refused by name rather than ignored, so that a manifest that starts does what it says.
//! Field names and defaults are those of Spin's
//! [manifest reference](https://spinframework.dev/manifest-reference).

use crate::HostError;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A whole manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Always 2.
    pub spin_manifest_version: u32,
    /// Name and version.
    pub application: Application,
    /// The application's variables.
    #[serde(default)]
    pub variables: BTreeMap<String, Variable>,
    /// What starts components.
    #[serde(default)]
    pub trigger: Triggers,
    /// The components by id.
    #[serde(default)]
    pub component: BTreeMap<String, Component>,
}

/// `[application]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Application {
    /// The application's name.
    pub name: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// Who wrote it.
    #[serde(default)]
    pub authors: Vec<String>,
}

/// One of `[variables]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// The value if nothing else gives one.
    pub default: Option<String>,
    /// Whether a value must be given from outside.
    #[serde(default)]
    pub required: bool,
    /// Whether the value is to be kept out of logs.
    #[serde(default)]
    pub secret: bool,
    /// What it is for.
    pub description: Option<String>,
}

/// `[[trigger.http]]` and `[[trigger.cron]]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Triggers {
    /// Routes.
    #[serde(default)]
    pub http: Vec<HttpTrigger>,
    /// Schedules.
    #[serde(default)]
    pub cron: Vec<CronTrigger>,
}

/// `[[trigger.http]]`: a route and who answers it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpTrigger {
    /// The trigger's id.
    pub id: Option<String>,
    /// The path or pattern.
    pub route: Route,
    /// The component that answers.
    pub component: Option<String>,
    /// The answer itself, in place of a component.
    pub static_response: Option<StaticResponse>,
}

/// A route: a path, a pattern that ends in `/...`, or a component that only others of the application can call.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged)]
pub enum Route {
    /// An exact path, or a prefix with `/...`.
    Path(String),
    /// `{ private = true }`.
    Private(PrivateRoute),
}

/// `{ private = true }`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct PrivateRoute {
    /// Always true.
    pub private: bool,
}

/// An answer that needs no component.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StaticResponse {
    /// The status, 200 by default.
    pub status_code: Option<u16>,
    /// The headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body, empty by default.
    pub body: Option<String>,
}

/// `[[trigger.cron]]`: a schedule and whom it starts, as the cron trigger plugin has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CronTrigger {
    /// The trigger's id.
    pub id: Option<String>,
    /// When, of UTC and with seconds as the first field.
    pub cron_expression: String,
    /// The component that is started.
    pub component: String,
}

/// `[component.…]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// The component's file, relative to the manifest's folder.
    pub source: String,
    /// What it is.
    #[serde(default)]
    pub description: String,
    /// What it may call, as `scheme://host[:port]`.
    #[serde(default)]
    pub allowed_outbound_hosts: Vec<String>,
    /// Its own variables, as templates over the application's.
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
    /// Its environment variables.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// How `spin build` builds it; nothing that a host needs.
    pub build: Option<Build>,
}

/// `[component.….build]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Build {
    /// The command or commands.
    pub command: Commands,
    /// Where they run, relative to the manifest's folder.
    pub workdir: Option<String>,
    /// What `spin watch` watches.
    #[serde(default)]
    pub watch: Vec<String>,
}

/// One command or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Commands {
    /// One command.
    One(String),
    /// Several, one after the other.
    Many(Vec<String>),
}

impl Manifest {
    /// Reads and checks a manifest.
    pub fn load(path: &Path) -> Result<Self, HostError> {
        let text = std::fs::read_to_string(path).map_err(|source| HostError::ReadManifest {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|reason| HostError::Manifest {
            path: path.to_owned(),
            reason,
        })
    }

    /// Parses and checks a manifest's text; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let manifest: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The file of a component, seen from the manifest at `path`.
    pub fn source(&self, path: &Path, component: &str) -> Option<PathBuf> {
        let component = self.component.get(component)?;
        Some(path.parent().unwrap_or(Path::new("")).join(&component.source))
    }

    fn check(&self) -> Result<(), String> {
        if self.spin_manifest_version != 2 {
            return Err(format!(
                "spin_manifest_version is {}, but only 2 is known",
                self.spin_manifest_version
            ));
        }
        for (name, variable) in &self.variables {
            crate::variables::check_name(name).map_err(|reason| format!("variable {reason}"))?;
            if variable.required == variable.default.is_some() {
                return Err(format!(
                    "variable `{name}` must have either a `default` or `required = true`"
                ));
            }
        }
        for (index, trigger) in self.trigger.http.iter().enumerate() {
            let place = trigger.id.clone().unwrap_or_else(|| format!("number {}", index + 1));
            match (&trigger.component, &trigger.static_response) {
                (Some(component), None) => self.check_component(component, &format!("HTTP trigger {place}"))?,
                (None, Some(_)) if matches!(trigger.route, Route::Private(_)) => {
                    return Err(format!("HTTP trigger {place}: a static_response needs a path"));
                }
                (None, Some(_)) => {}
                _ => {
                    return Err(format!(
                        "HTTP trigger {place} must have either `component` or `static_response`"
                    ));
                }
            }
            if trigger.route == Route::Private(PrivateRoute { private: false }) {
                return Err(format!(
                    "HTTP trigger {place}: route must be a path or `{{ private = true }}`"
                ));
            }
        }
        for (index, trigger) in self.trigger.cron.iter().enumerate() {
            let place = trigger.id.clone().unwrap_or_else(|| format!("number {}", index + 1));
            self.check_component(&trigger.component, &format!("cron trigger {place}"))?;
            crate::cron::parse(&trigger.cron_expression)
                .map_err(|reason| format!("cron trigger {place}: `{}`: {reason}", trigger.cron_expression))?;
        }
        Ok(())
    }

    fn check_component(&self, component: &str, place: &str) -> Result<(), String> {
        if self.component.contains_key(component) {
            Ok(())
        } else {
            Err(format!("{place} names component `{component}`, which is not defined"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        spin_manifest_version = 2
        [application]
        name = "small"
        [[trigger.http]]
        route = "/..."
        component = "one"
        [component.one]
        source = "one.wasm"
    "#;

    #[test]
    fn small_manifest_is_read() {
        let manifest = Manifest::parse(SMALL).unwrap();

        assert_eq!(manifest.trigger.http[0].route, Route::Path("/...".into()));
        assert_eq!(
            manifest.source(Path::new("/app/spin.toml"), "one"),
            Some(PathBuf::from("/app/one.wasm"))
        );
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let refusals = [
            (SMALL.replace("name =", "nom = 1\nname ="), "nom"),
            (SMALL.replace("[component.one]", "[component.one]\nfiles = []"), "files"),
            (
                SMALL.replace("route =", "executor = { type = \"wagi\" }\nroute ="),
                "executor",
            ),
            (SMALL.replace("[[trigger.http]]", "[[trigger.redis]]"), "redis"),
            (SMALL.replace("component = \"one\"", "component = \"two\""), "`two`"),
            (SMALL.replace("version = 2", "version = 1"), "spin_manifest_version"),
            (format!("{SMALL}\n[variables]\nBad = {{ required = true }}"), "Bad"),
            (
                format!("{SMALL}\n[variables]\nboth = {{ required = true, default = \"\" }}"),
                "both",
            ),
            (
                format!("{SMALL}\n[[trigger.cron]]\ncron_expression = \"no\"\ncomponent = \"one\""),
                "`no`",
            ),
            (SMALL.replace("\"/...\"", "{ private = false }"), "private"),
        ];

        for (text, named) in refusals {
            let reason = Manifest::parse(&text).unwrap_err();
            assert!(reason.contains(named), "{reason:?} does not name {named}");
        }
    }
}
