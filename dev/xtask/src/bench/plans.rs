//! How Postgres does the statements inside an operation, as its `auto_explain` tells.

use std::future::poll_fn;

use anyhow::Context;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, NoTls};

use super::statement;

/// All that the session of the functions' role has, and plans with what they came to, of statements within functions too, to the client.
const SESSION: &str = "
    SET search_path = '';
    SET plan_cache_mode = force_generic_plan;
    SET auto_explain.log_min_duration = 0;
    SET auto_explain.log_nested_statements = on;
    SET auto_explain.log_analyze = on;
    SET auto_explain.log_timing = off;
    SET client_min_messages = log";

/// How a statement reads a table.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    /// How the statement begins.
    pub(crate) statement: String,
    /// The node of the plan.
    pub(crate) node: String,
    /// How often the statement ran like this.
    pub(crate) times: usize,
    /// How many rows that came to in all.
    pub(crate) rows: f64,
}

impl Scan {
    /// Whether it reads the table from end to end.
    pub(crate) fn is_sequential(&self) -> bool {
        self.node.contains("Seq Scan")
    }
}

/// Runs `before` and an operation as the database's owner, takes both back, and tells how `table` was read.
pub(crate) async fn scans(
    admin_url: &str,
    before: &str,
    operation: &str,
    caller: &Value,
    input: &Value,
    table: &str,
) -> anyhow::Result<Vec<Scan>> {
    let (client, mut connection) = tokio_postgres::connect(admin_url, NoTls).await?;
    let (sender, mut told) = mpsc::unbounded_channel();
    let serving = tokio::spawn(async move {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notice(notice) = message? {
                // Nobody listens any more only if this is given up.
                let _given_up = sender.send(notice.message().to_owned());
            }
        }
        Ok::<_, tokio_postgres::Error>(())
    });
    client
        .batch_execute("LOAD 'auto_explain'")
        .await
        .context("plans are told by Postgres' module auto_explain, which this one does not have")?;
    client.batch_execute(SESSION).await?;
    client.batch_execute("BEGIN").await?;
    client.batch_execute(before).await?;
    client
        .query_one(&statement::call(operation), &[&caller.to_string(), &input.to_string()])
        .await?;
    client.batch_execute("ROLLBACK").await?;
    drop(client);
    serving.await??;

    let mut scans: Vec<Scan> = Vec::new();
    while let Some(text) = told.recv().await {
        for scan in scans_of(&text, table) {
            let known = scans
                .iter_mut()
                .find(|known| (&known.statement, &known.node) == (&scan.statement, &scan.node));
            match known {
                Some(known) => {
                    known.times += 1;
                    known.rows += scan.rows;
                }
                None => scans.push(scan),
            }
        }
    }
    Ok(scans)
}

/// The scans of one statement. Its text comes before its plan, whose nodes have costs.
fn scans_of(text: &str, table: &str) -> Vec<Scan> {
    let is_node = |line: &&str| line.contains("  (cost=");
    let statement = text
        .lines()
        .take_while(|line| !is_node(line))
        .collect::<Vec<_>>()
        .join(" ");
    let statement = statement
        .split_once("Query Text: ")
        .map_or("", |(_, statement)| statement);
    let statement: Vec<&str> = statement.split_whitespace().collect();
    let statement: String = statement.join(" ").chars().take(90).collect();

    let on_table = format!(" on {table}");
    text.lines()
        .filter(is_node)
        .filter_map(|line| line.split_once("  (cost="))
        .filter(|(node, _)| node.contains("Scan") && node.contains(&on_table))
        .map(|(node, figures)| Scan {
            statement: statement.clone(),
            node: node.trim().trim_start_matches("->").trim().to_owned(),
            times: 1,
            rows: figure(figures, "actual rows=") * figure(figures, "loops="),
        })
        .collect()
}

/// The number after `name`; none where the node was not needed.
fn figure(figures: &str, name: &str) -> f64 {
    let digits = figures.split_once(name).map_or("", |(_, rest)| rest);
    let end = digits
        .find(|character: char| !character.is_ascii_digit() && character != '.')
        .unwrap_or(digits.len());
    digits
        .get(..end)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "duration: 1.234 ms  plan:
Query Text: UPDATE public.boxes AS b
        SET a = 1
        FROM due
Update on boxes b  (cost=0.42..8.44 rows=0 width=0) (actual rows=0.00 loops=1)
  ->  Nested Loop  (cost=0.42..8.44 rows=1 width=10) (actual rows=6.00 loops=1)
        ->  Seq Scan on due  (cost=0.00..1.00 rows=1 width=10) (actual rows=3.00 loops=1)
        ->  Index Scan using boxes_pkey on boxes b  (cost=0.42..8.44 rows=1 width=10) (actual rows=2 loops=3)
              Index Cond: (id = due.id)
  ->  Seq Scan on boxes other  (cost=0.00..1.00 rows=1 width=10) (never executed)";

    #[test]
    fn scans_of_a_table_are_found_in_a_plan() {
        let scans = scans_of(TEXT, "boxes");

        let found: Vec<_> = scans
            .iter()
            .map(|scan| (scan.node.as_str(), scan.rows, scan.is_sequential()))
            .collect();
        assert_eq!(
            found,
            [
                ("Index Scan using boxes_pkey on boxes b", 6.0, false),
                ("Seq Scan on boxes other", 0.0, true)
            ]
        );
        assert_eq!(scans[0].statement, "UPDATE public.boxes AS b SET a = 1 FROM due");
    }
}
