//! What it costs that an operation is called by a component, against the same work done natively.

use std::time::Duration;

use agentopia_stack::demo;
use serde_json::json;
use tokio_postgres::{Client, Statement};

use super::edge::row;
use super::load::{self, Throughput, Work};
use super::setup::{Bench, DURATION};
use super::statement::{self, connect};

const CONNECTIONS: usize = 32;
const MESSAGE: &str = "A message of a benchmark.";

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    let component = || tokio::task::block_in_place(|| through_component(bench, DURATION));
    let url = bench.postgres.functions_url();

    tokio::task::block_in_place(|| through_component(bench, DURATION / 5))?;
    let same = tokio::task::block_in_place(|| same_statement(&url))?;
    let through = component()?;
    let by_hand = tokio::task::block_in_place(|| transaction(&url))?;

    println!(
        "\noperation: a message to a channel, {CONNECTIONS} connections, {} s each",
        DURATION.as_secs()
    );
    row("the statement, natively", &same);
    row("BEGIN, claims, INSERT, COMMIT, natively", &by_hand);
    row("POST /functions/v1/chat through the component", &through);
    println!(
        "  ratio to the statement {:.2} (aim ≥ 0.5), to the transaction {:.2} (aim ≥ 1)",
        through.per_second / same.per_second,
        through.per_second / by_hand.per_second,
    );
    Ok(())
}

fn through_component(bench: &Bench, duration: Duration) -> anyhow::Result<Throughput> {
    let body = json!({ "message": MESSAGE, "channelId": demo::ENGINE_ROOM_GENERAL });
    let request = load::post("/functions/v1/chat", &bench.token, &body)?;
    load::http(bench.application.url(), CONNECTIONS, duration, &[request])
}

fn claims() -> serde_json::Value {
    json!({ "sub": demo::USERS[0].id, "role": "authenticated", "email": demo::USERS[0].email })
}

fn same_statement(url: &str) -> anyhow::Result<Throughput> {
    let caller = json!({ "kind": "user", "id": demo::USERS[0].id, "claims": claims() });
    let input = json!({
        "channel_id": demo::ENGINE_ROOM_GENERAL, "workspace_id": null, "message": MESSAGE,
        "user_per_minute": 100_000_000, "user_burst": 100_000_000,
        "idempotency_key": null, "request_hash": "0".repeat(64), "lease_seconds": 90,
    });
    statement::run(url, CONNECTIONS, "post_message", &caller, &[input])
}

/// What a function would do without operations: four exchanges, and without limits or idempotency.
struct Transaction {
    client: Client,
    become_user: Statement,
    insert: Statement,
    claims: String,
}

impl Work for Transaction {
    async fn once(&mut self) -> anyhow::Result<()> {
        self.client.batch_execute("BEGIN").await?;
        self.client.query(&self.become_user, &[&self.claims]).await?;
        self.client
            .query_one(
                &self.insert,
                &[&demo::ENGINE_ROOM_GENERAL, &demo::USERS[0].id, &MESSAGE],
            )
            .await?;
        self.client.batch_execute("COMMIT").await?;
        Ok(())
    }
}

fn transaction(url: &str) -> anyhow::Result<Throughput> {
    let url = url.to_owned();
    load::closed_loop(CONNECTIONS, DURATION, move |_| {
        let url = url.clone();
        async move {
            let (client, claims) = (connect(&url).await?, claims().to_string());
            let become_user =
                "SELECT set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)";
            let become_user = client.prepare(become_user).await?;
            let insert = "INSERT INTO public.chat_messages (channel_id, sender_kind, sender_user_id, content) \
                          VALUES ($1, 'user', $2, $3) RETURNING id, created_at";
            // Without rights of its own the login role cannot prepare it before it has become the user.
            client.batch_execute("BEGIN").await?;
            client.query(&become_user, &[&claims]).await?;
            let insert = client.prepare(insert).await?;
            client.batch_execute("COMMIT").await?;
            Ok(Transaction {
                client,
                become_user,
                insert,
                claims,
            })
        }
    })
}
