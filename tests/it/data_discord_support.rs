//! The tenant's bot of tests/data/tenant.sql, and what the data tests of Discord ask of it.

use agentopia_domain::discord::worker::{report_transitions, start_transitions, stop_transitions};
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::data_database::{AGENT, Database, TENANT, call, sign_up, texts, user};

/// The row of the tenant's bot.
pub(crate) const BOT: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_a000_0000_0000_0050);

/// The tenant's second agent, which has no bot.
pub(crate) const SECOND_AGENT: Uuid = Uuid::from_u128(0x0000_0000_0000_4000_a000_0000_0000_0002);

/// The application of the tenant's bot.
pub(crate) const APPLICATION: &str = "423456789012345678";

/// The guild in which the tenant's agent may be used.
pub(crate) const GUILD: &str = "223456789012345678";

/// The public key of the tenant's connections.
pub(crate) fn key() -> String {
    "ab".repeat(32)
}

/// A hash or a fingerprint that is told from others by a digit.
pub(crate) fn hash(digit: u8) -> String {
    digit.to_string().repeat(64)
}

/// What the functions call as when no user is about.
pub(crate) fn service() -> Value {
    json!({ "kind": "service", "name": "manage-discord-worker" })
}

/// An object with other values in some of its fields.
pub(crate) fn with(mut object: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        object[name] = value.clone();
    }
    object
}

/// A bot whose token Discord has confirmed.
pub(crate) fn bot(fingerprint: u8) -> Value {
    json!({
        "user_id": "5", "username": "atlas", "token_sealed": format!("canary-sealed-{fingerprint}"), "key_id": "k",
        "fingerprints": [hash(fingerprint)],
    })
}

/// The database with the tenant, whose bot has a token and no worker.
pub(crate) struct Bots {
    pub(crate) database: Database,
    pub(crate) owner: Client,
    pub(crate) functions: Client,
}

impl Bots {
    pub(crate) async fn new() -> Self {
        let database = Database::with_tenant().await;
        let owner = database.owner().await;
        owner
            .batch_execute(
                "DELETE FROM app.jobs; DELETE FROM app.discord_interactions; DELETE FROM app.discord_starts;
                 UPDATE public.agent_discord_connections SET worker_token_hash = NULL",
            )
            .await
            .unwrap();
        Self {
            owner,
            functions: database.functions().await,
            database,
        }
    }

    /// Connections for operations that are called at once.
    pub(crate) async fn clients(&self, number: usize) -> Vec<Client> {
        let mut clients = Vec::new();
        for _ in 0..number {
            clients.push(self.database.functions().await);
        }
        clients
    }

    /// Calls an operation as the tenant.
    pub(crate) async fn ask(&self, operation: &str, input: &Value) -> Result<Value, String> {
        call(&self.functions, operation, &user(TENANT), input).await
    }

    /// Calls an operation as a function.
    pub(crate) async fn serve(&self, operation: &str, input: &Value) -> Result<Value, String> {
        call(&self.functions, operation, &service(), input).await
    }

    pub(crate) async fn run(&self, statement: &str) {
        self.owner
            .batch_execute(statement)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }

    /// The one text that a statement gives.
    pub(crate) async fn text(&self, statement: &str) -> String {
        texts(&self.owner, statement, &[]).await.remove(0)
    }

    /// What an expression is for the row of the tenant's bot.
    pub(crate) async fn bot(&self, expression: &str) -> String {
        self.text(&format!(
            "SELECT ({expression})::text FROM public.agent_discord_connections WHERE id = '{BOT}'"
        ))
        .await
    }

    /// Writes columns of the row of the tenant's bot.
    pub(crate) async fn set(&self, columns: &str) {
        self.run(&format!(
            "UPDATE public.agent_discord_connections SET {columns} WHERE id = '{BOT}'"
        ))
        .await;
    }

    /// The jobs of a kind: what became of them, how often each was asked for, and whether it is due.
    pub(crate) async fn jobs(&self, kind: &str) -> Vec<String> {
        let statement = "SELECT concat_ws(' ', coalesce(outcome, 'open'), requested,
                                          CASE WHEN run_after <= clock_timestamp() THEN 'due' ELSE 'later' END)
                         FROM app.jobs WHERE kind = $1 ORDER BY created_at";
        texts(&self.owner, statement, &[&kind]).await
    }

    /// Begins to start the tenant's worker.
    pub(crate) async fn start(&self, changes: &Value) -> Result<Value, String> {
        self.ask("begin_worker_start", &start(changes)).await
    }

    /// Begins to stop the tenant's worker.
    pub(crate) async fn stop(&self, changes: &Value) -> Result<Value, String> {
        self.ask("begin_worker_stop", &stop(changes)).await
    }

    /// The worker with the first token reports a status under a lease.
    pub(crate) async fn report(&self, lease: &Value, status: &str, changes: &Value) -> Result<Value, String> {
        let input = with(
            json!({
                "token_hash": hash(1), "lease_id": lease, "status": status, "transitions": report_transitions(),
                "lease_seconds": 180, "error_code": null, "error_message": null, "report": null,
                "per_minute": 6000, "burst": 100,
            }),
            changes,
        );
        self.serve("report_worker", &input).await
    }

    /// Starts the tenant's worker, which is active then. Gives its lease.
    pub(crate) async fn active(&self) -> Value {
        let lease = self.start(&json!({})).await.unwrap()["lease_id"].clone();
        let reported = self.report(&lease, "active", &json!({})).await.unwrap();
        assert_eq!(reported["status"], "active");
        lease
    }

    /// How often the bot of an application was started lately.
    pub(crate) async fn starts(&self, application: &str) -> String {
        let starts = format!("SELECT starts::text FROM app.discord_starts WHERE application_id = '{application}'");
        self.text(&starts).await
    }

    /// Another user, whose agent is connected with the application and the key of the tenant, without a token.
    pub(crate) async fn copycat(&self) -> (Uuid, Uuid) {
        let id = sign_up(&self.owner, "copycat@example.com").await;
        let statement = "WITH made AS (INSERT INTO public.agents (user_id, name) VALUES ($1, 'Copy') RETURNING id),
                         connected AS (
                             INSERT INTO public.agent_discord_connections
                                 (user_id, agent_id, guild_id, discord_app_id, discord_public_key)
                             SELECT $1, made.id, guild.id, $2, $3 FROM made, unnest(ARRAY[NULL, $4::text]) AS guild (id)
                         )
                         SELECT id FROM made";
        let agent = self
            .owner
            .query_one(statement, &[&id, &APPLICATION, &key(), &GUILD])
            .await
            .unwrap()
            .get(0);
        (id, agent)
    }
}

/// The input of the operations that ask for an agent and a limit alone.
pub(crate) fn of(agent: Uuid) -> Value {
    json!({ "agent_id": agent, "per_minute": 60, "burst": 100 })
}

/// The input of `api.begin_worker_start`.
pub(crate) fn start(changes: &Value) -> Value {
    let input = json!({
        "agent_id": AGENT, "transitions": start_transitions(), "token_hash": hash(1), "start_seconds": 60,
        "starts_per_day": 100,
    });
    with(input, changes)
}

/// The input of `api.begin_worker_stop`.
pub(crate) fn stop(changes: &Value) -> Value {
    let input = json!({ "agent_id": AGENT, "transitions": stop_transitions(), "stop_seconds": 30 });
    with(input, changes)
}

/// The input of `api.begin_interaction`.
pub(crate) fn interaction(changes: &Value) -> Value {
    let input = json!({
        "interaction_id": "1", "application_id": APPLICATION, "public_key": key(), "own_key": false, "kind": "ask",
        "guild_id": GUILD, "channel_id": "7", "author_id": "8", "author_name": "Ada", "agent": AGENT,
        "message": "canary-question", "is_ephemeral": false, "token_sealed": "canary-sealed-token",
        "expires_seconds": 870, "lease_seconds": 90, "per_minute": 6000, "burst": 100,
    });
    with(input, changes)
}

/// The names of an object's fields.
pub(crate) fn names(document: &Value) -> String {
    let names: Vec<_> = document.as_object().unwrap().keys().cloned().collect();
    names.join(" ")
}
