//! `cargo xtask reseal`, and the keyring of the environment.

use std::path::Path;

use agentopia_stack::Secrets;
use agentopia_stack::postgres::recorded_admin_url;
use agentopia_stack::reseal::{BATCH, reseal as run};
use anyhow::{Context, ensure};

use crate::database::given_database_url;
use crate::terminal::Terminal;

pub(crate) async fn reseal(database_url: Option<String>, data: &Path) -> anyhow::Result<()> {
    let url = match database_url.or_else(given_database_url) {
        Some(url) => url,
        None => recorded_admin_url(data)?.context("there is no database yet: run `cargo xtask up`")?,
    };
    let keyring = match given_keyring() {
        Some(keyring) => keyring,
        None => {
            ensure!(
                data.exists(),
                "AGENTOPIA_CREDENTIAL_KEYRING is not set, and there is no data folder"
            );
            Secrets::load_or_create(data)?.credential_keyring().to_owned()
        }
    };

    let report = run(&url, &keyring, BATCH, &Terminal).await?;

    println!("{report}");
    ensure!(
        report.unopenable.is_empty(),
        "not everything opens: the keyring lacks a key, or rows were moved"
    );
    Ok(())
}

/// `AGENTOPIA_CREDENTIAL_KEYRING`, if it is set.
#[expect(clippy::disallowed_methods, reason = "this is where the tool reads its environment")]
pub(crate) fn given_keyring() -> Option<String> {
    std::env::var("AGENTOPIA_CREDENTIAL_KEYRING")
        .ok()
        .filter(|keyring| !keyring.is_empty())
}
