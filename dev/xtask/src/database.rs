//! `cargo xtask migrate` and `cargo xtask database-url`.

use std::path::Path;

use agentopia_stack::postgres::recorded_admin_url;
use anyhow::Context;

use crate::terminal::Terminal;

pub(crate) async fn migrate(database_url: &str) -> anyhow::Result<()> {
    let report = agentopia_stack::migrate(database_url, &agentopia_application::migrations(), &Terminal).await?;
    println!("{report}");
    Ok(())
}

pub(crate) fn print_url(data: &Path) -> anyhow::Result<()> {
    let given = given_database_url();
    let recorded = if given.is_some() {
        given
    } else {
        recorded_admin_url(data)?
    };
    println!(
        "{}",
        recorded.context("there is no database yet: run `cargo xtask up`")?
    );
    Ok(())
}

/// `DATABASE_URL`, if it is set.
#[expect(clippy::disallowed_methods, reason = "this is where the tool reads its environment")]
pub(crate) fn given_database_url() -> Option<String> {
    std::env::var("DATABASE_URL").ok().filter(|url| !url.is_empty())
}

/// `FUNCTIONS_DATABASE_URL`, if it is set.
#[expect(clippy::disallowed_methods, reason = "this is where the tool reads its environment")]
pub(crate) fn given_functions_url() -> Option<String> {
    std::env::var("FUNCTIONS_DATABASE_URL")
        .ok()
        .filter(|url| !url.is_empty())
}
