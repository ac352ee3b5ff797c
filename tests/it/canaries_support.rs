//! What the tests have in common that look for secrets where they must not be.

use std::fmt::Write as _;

use agentopia_tests::Stack;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The ways in which a text may be written.
pub(crate) fn forms(canary: &str) -> Vec<String> {
    let hex = canary.bytes().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    });
    vec![
        canary.to_owned(),
        hex,
        STANDARD.encode(canary),
        STANDARD_NO_PAD.encode(canary),
        URL_SAFE_NO_PAD.encode(canary),
    ]
}

/// All rows of all tables of the database, as text.
pub(crate) async fn dump(stack: &Stack) -> Vec<(String, String)> {
    let tables: Vec<String> = stack
        .db()
        .column(
            "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
             WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1",
            &[],
        )
        .await;
    for one in ["app.audit_log", "app.discord_interactions"] {
        assert!(tables.iter().any(|table| table == one), "{tables:?}");
    }
    let mut rows = Vec::new();
    for table in tables {
        let statement = format!("SELECT t::text FROM {table} AS t");
        let of_table: Vec<String> = stack.db().column(&statement, &[]).await;
        rows.extend(of_table.into_iter().map(|row| (table.clone(), row)));
    }
    rows
}

/// Refuses a text that has one of these in it.
pub(crate) fn assert_without(what: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        assert!(!text.contains(secret.as_str()), "{what} has {secret}: {text}");
    }
}
