//! Values for the variables of spin.toml.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use url::Url;

/// Values for the variables of spin.toml, by name. What is not set keeps the manifest's default.
#[derive(Clone, Debug, Default)]
pub struct Settings(BTreeMap<String, String>);

impl Settings {
    /// Sets one.
    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Sets one that nothing has set yet.
    pub fn set_default(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.0.entry(name.to_owned()).or_insert_with(|| value.into());
        self
    }

    /// The database, by the URL that the functions log in with.
    ///
    /// # Errors
    ///
    /// If the URL lacks a part that the manifest asks for.
    pub fn database(&mut self, url: &str) -> anyhow::Result<&mut Self> {
        let url = Url::parse(url).context("the database's URL is not a URL")?;
        let host = url.host_str().context("the database's URL has no host")?;
        ensure!(url.password().is_some(), "the database's URL has no password");
        // The parts stay percent-encoded: the manifest puts them back into a URL.
        self.set("database_host", format!("{host}:{}", url.port().unwrap_or(5432)))
            .set("database_name", url.path().trim_start_matches('/'))
            .set("database_user", url.username())
            .set("database_password", url.password().unwrap_or_default());
        if let Some(options) = url.query() {
            self.set("database_options", options);
        }
        Ok(self)
    }

    /// The model provider, by its base URL, such as `https://api.openai.com/v1`.
    ///
    /// # Errors
    ///
    /// If it is not a URL with a host.
    pub fn openai(&mut self, base_url: &str, key: &str) -> anyhow::Result<&mut Self> {
        let url = Url::parse(base_url).context("OPENAI_BASE_URL is not a URL")?;
        ensure!(url.has_host(), "OPENAI_BASE_URL has no host");
        self.set("openai_origin", url.origin().ascii_serialization())
            .set("openai_base_path", url.path().trim_end_matches('/'))
            .set("openai_api_key", key);
        Ok(self)
    }

    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_url_is_taken_apart() {
        let mut settings = Settings::default();
        settings
            .database("postgres://me:p%40ss@db.example/agentopia?sslmode=require")
            .unwrap();

        let parts: Vec<_> = settings
            .variables()
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            parts,
            [
                "database_host=db.example:5432",
                "database_name=agentopia",
                "database_options=sslmode=require",
                "database_password=p%40ss",
                "database_user=me",
            ],
        );
    }

    #[test]
    fn a_default_gives_way_to_what_is_set() {
        let mut settings = Settings::default();
        settings
            .set("public_url", "https://api.example")
            .set_default("public_url", "http://127.0.0.1:3000")
            .set_default("service_token", "s3cret");

        let variables = settings.variables();
        assert_eq!(variables["public_url"], "https://api.example");
        assert_eq!(variables["service_token"], "s3cret");
    }

    #[test]
    fn a_base_url_is_an_origin_and_a_path() {
        let mut settings = Settings::default();
        settings.openai("http://127.0.0.1:4000/v1/", "key").unwrap();

        assert_eq!(settings.variables()["openai_origin"], "http://127.0.0.1:4000");
        assert_eq!(settings.variables()["openai_base_path"], "/v1");
    }
}
