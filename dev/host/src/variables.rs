//! The application's variables: where values come from, templates over them, and the interfaces by which components read them.

use crate::HostError;
use crate::bindings::store;
use crate::bindings::variables::{Error, Host, HostWithStore};
use crate::manifest::Manifest;
use crate::state::{Instance, InstanceOf};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use wasmtime::component::Accessor;

/// What the interface's functions fail with: an error for the guest.
pub(crate) type Failure = wasmtime_wasi::TrappableError<Error>;

/// The same of `wasi:config/store`.
pub(crate) type StoreFailure = wasmtime_wasi::TrappableError<store::Error>;

/// The values of the application's variables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values(BTreeMap<String, String>);

impl Values {
    /// Takes each variable's value from `given`, else from `.env` beside the manifest, else from its default.
    pub(crate) fn resolve(
        manifest: &Manifest,
        folder: &Path,
        given: &BTreeMap<String, String>,
    ) -> Result<Self, HostError> {
        if let Some(name) = given.keys().find(|name| !manifest.variables.contains_key(*name)) {
            return Err(HostError::UnknownVariable(name.clone()));
        }
        let file = std::fs::read_to_string(folder.join(".env"))
            .map(|text| parse_env_file(&text))
            .unwrap_or_default();
        let mut values = BTreeMap::new();
        for (name, variable) in &manifest.variables {
            let value = given
                .get(name)
                .or_else(|| file.get(&format!("SPIN_VARIABLE_{}", name.to_uppercase())))
                .or(variable.default.as_ref())
                .ok_or_else(|| HostError::MissingVariable(name.clone()))?;
            values.insert(name.clone(), value.clone());
        }
        Ok(Self(values))
    }

    /// Fills a template in: each `{{ name }}` becomes the variable's value.
    pub(crate) fn fill(&self, template: &str) -> Result<String, String> {
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some((literal, expression)) = rest.split_once("{{") {
            let (name, after) = expression.split_once("}}").ok_or("unmatched '{{' in template")?;
            let name = name.trim();
            let value = self
                .0
                .get(name)
                .ok_or_else(|| format!("unknown variable `{name}` in template"))?;
            filled.push_str(literal);
            filled.push_str(value);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// The variables that one component sees.
#[derive(Debug)]
pub(crate) struct ComponentVariables {
    component: String,
    values: HashMap<String, String>,
}

impl ComponentVariables {
    /// Fills the component's templates in.
    pub(crate) fn resolve(
        component: &str,
        templates: &BTreeMap<String, String>,
        values: &Values,
    ) -> Result<Self, String> {
        let mut resolved = HashMap::new();
        for (name, template) in templates {
            check_name(name)?;
            resolved.insert(name.clone(), values.fill(template)?);
        }
        Ok(Self {
            component: component.to_owned(),
            values: resolved,
        })
    }

    /// A variable's value, or the error that Spin gives.
    pub(crate) fn get(&self, name: &str) -> Result<String, Error> {
        check_name(name).map_err(Error::InvalidName)?;
        self.values
            .get(name)
            .cloned()
            .ok_or_else(|| Error::Undefined(format!("no variable for {:?}.{name:?}", self.component)))
    }

    /// All variables with their values.
    fn all(&self) -> Vec<(String, String)> {
        let all = self.values.iter();
        all.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// Checks a variable's name by Spin's rules; the error quotes the name and gives the reason.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let reason = if name.is_empty() {
        "must not be empty".to_owned()
    } else if let Some(invalid) = name
        .chars()
        .find(|character| !matches!(character, 'a'..='z' | '0'..='9' | '_'))
    {
        format!(
            "invalid character {invalid:?}. Variable names may contain only lower-case letters, numbers, and underscores."
        )
    } else if !name.starts_with(|character: char| character.is_ascii_lowercase()) {
        "must start with a lowercase ASCII letter".to_owned()
    } else if name.ends_with('_') {
        "must end with a lowercase ASCII letter or digit".to_owned()
    } else if name.contains("__") {
        "must not contain multiple consecutive underscores".to_owned()
    } else {
        return Ok(());
    };
    Err(format!("{name:?}: {reason}"))
}

/// Reads `NAME=value` lines; values may be quoted, lines may begin with `export`, `#` begins a comment.
fn parse_env_file(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), unquote(value.trim())))
        .collect()
}

fn unquote(value: &str) -> String {
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote)) {
            return inner.to_owned();
        }
    }
    value
        .split_once(" #")
        .map_or(value, |(before, _)| before.trim_end())
        .to_owned()
}

impl<T: Send> HostWithStore<T> for InstanceOf {
    async fn get(accessor: &Accessor<T, Self>, name: String) -> Result<String, Failure> {
        accessor
            .with(|mut access| access.get().component.variables.get(&name))
            .map_err(Failure::from)
    }
}

impl Host for Instance {
    fn convert_error(&mut self, error: Failure) -> wasmtime::Result<Error> {
        error.downcast()
    }
}

/// `wasi:config/store`, as Spin has it: what is not a variable's name is the name of no variable.
impl store::Host for Instance {
    async fn get(&mut self, name: String) -> Result<Option<String>, StoreFailure> {
        Ok(self.component.variables.get(&name).ok())
    }

    async fn get_all(&mut self) -> Result<Vec<(String, String)>, StoreFailure> {
        Ok(self.component.variables.all())
    }

    fn convert_error(&mut self, error: StoreFailure) -> wasmtime::Result<store::Error> {
        error.downcast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values(BTreeMap::from([
            ("host".into(), "db.example".into()),
            ("empty".into(), String::new()),
        ]))
    }

    #[test]
    fn templates_are_filled_in() {
        assert_eq!(values().fill("plain").unwrap(), "plain");
        assert_eq!(
            values().fill("postgres://{{ host }}:5432/{{host}}").unwrap(),
            "postgres://db.example:5432/db.example"
        );
        assert_eq!(values().fill("[{{ empty }}]").unwrap(), "[]");
        assert!(values().fill("{{ nobody }}").unwrap_err().contains("nobody"));
        assert!(values().fill("{{ host").is_err());
    }

    #[test]
    fn names_follow_the_rules_of_spin() {
        for name in ["a", "abc", "a1b2c3", "a_1", "a_1_b_3"] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for name in ["", "aX", "1bc", "_x", "x.y", "x_", "a__b", "x-y"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn env_file_is_read() {
        let file = parse_env_file("# comment\nexport A=1\nB = \"two words\" # why\nC='#3'\nD=4 # four\nnothing\n");

        let expected = [("A", "1"), ("B", "two words"), ("C", "#3"), ("D", "4")];
        assert_eq!(file, expected.map(|(name, value)| (name.into(), value.into())).into());
    }
}
