//! `cargo xtask token`.

use std::path::Path;
use std::time::Duration;

use agentopia_stack::{Secrets, demo, token};
use anyhow::Context;

/// A working day.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

pub(crate) fn print(email: &str, data: &Path) -> anyhow::Result<()> {
    println!("{}", sign(email, &Secrets::load_or_create(data)?)?);
    Ok(())
}

/// Signs a token for the demo user of that address.
pub(crate) fn sign(email: &str, secrets: &Secrets) -> anyhow::Result<String> {
    let user = demo::USERS.iter().find(|user| user.email == email).with_context(|| {
        let known: Vec<_> = demo::USERS.iter().map(|user| user.email).collect();
        format!("there is no demo user {email}: there are {}", known.join(" and "))
    })?;
    Ok(token::user_token(secrets.jwt_secret(), user.id, user.email, LIFETIME)?)
}
