//! The database as tests see it: as its owner, or as PostgREST would let a user see it.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio_postgres::types::{FromSqlOwned, ToSql};
use tokio_postgres::{Client, NoTls, Row};
use uuid::Uuid;

use crate::background;
use crate::tenants::User;

/// Parameters of a statement.
pub type Parameters<'a> = &'a [&'a (dyn ToSql + Sync)];

/// The database, as its owner, whom no policy binds. All tests share one connection; statements on it are pipelined.
#[derive(Debug)]
pub struct Database {
    admin_url: String,
    client: Mutex<Option<Arc<Client>>>,
}

impl Database {
    pub(crate) fn new(admin_url: &str) -> Self {
        Self {
            admin_url: admin_url.to_owned(),
            client: Mutex::new(None),
        }
    }

    /// The owner's URL.
    pub fn url(&self) -> &str {
        &self.admin_url
    }

    /// All rows.
    pub async fn rows(&self, statement: &str, parameters: Parameters<'_>) -> Vec<Row> {
        self.client()
            .await
            .query(statement, parameters)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"))
    }

    /// The first column of all rows.
    pub async fn column<T: FromSqlOwned>(&self, statement: &str, parameters: Parameters<'_>) -> Vec<T> {
        self.rows(statement, parameters)
            .await
            .iter()
            .map(|row| row.get(0))
            .collect()
    }

    /// The one column of the one row.
    pub async fn scalar<T: FromSqlOwned>(&self, statement: &str, parameters: Parameters<'_>) -> T {
        let mut found = self.column(statement, parameters).await;
        assert_eq!(found.len(), 1, "one row: {statement}");
        found.remove(0)
    }

    /// Runs a statement; returns how many rows it wrote.
    pub async fn execute(&self, statement: &str, parameters: Parameters<'_>) -> u64 {
        self.client()
            .await
            .execute(statement, parameters)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"))
    }

    /// Runs an INSERT that returns the id.
    pub(crate) async fn insert(&self, statement: &str, parameters: Parameters<'_>) -> Uuid {
        self.scalar(statement, parameters).await
    }

    /// What is said in a channel, a direct or an outside conversation, oldest first, each as "sender: text".
    ///
    /// The sender is the user's or the agent's name, or the id that another service gives to a person.
    pub async fn transcript(&self, conversation: Uuid) -> Vec<String> {
        self.column(
            "SELECT coalesce(profile.full_name, agent.name, message.sender_external_id, message.sender_kind)
                 || ': ' || message.content || CASE WHEN message.is_partial THEN ' [partial]' ELSE '' END
             FROM public.chat_messages AS message
             LEFT JOIN public.user_profiles AS profile ON profile.id = message.sender_user_id
             LEFT JOIN public.agents AS agent ON agent.id = message.sender_agent_id
             WHERE $1 IN (message.channel_id, message.direct_conversation_id, message.outside_conversation_id)
             ORDER BY message.created_at, message.id",
            &[&conversation],
        )
        .await
    }

    /// The direct conversation of a user and an agent, if there is one.
    pub async fn direct_conversation(&self, user: Uuid, agent: Uuid) -> Option<Uuid> {
        let statement = "SELECT id FROM public.direct_conversations WHERE user_id = $1 AND agent_id = $2";
        self.column(statement, &[&user, &agent]).await.pop()
    }

    /// What is said between a user and an agent, as [`Database::transcript`] gives it.
    pub async fn direct_transcript(&self, user: Uuid, agent: Uuid) -> Vec<String> {
        match self.direct_conversation(user, agent).await {
            Some(conversation) => self.transcript(conversation).await,
            None => Vec::new(),
        }
    }

    /// The shared connection, made anew if the last one has ended.
    async fn client(&self) -> Arc<Client> {
        let mut kept = self.client.lock().await;
        if let Some(client) = kept.as_ref().filter(|client| !client.is_closed()) {
            return Arc::clone(client);
        }
        let client = Arc::new(connect(&self.admin_url).await);
        *kept = Some(Arc::clone(&client));
        client
    }

    /// A transaction in a role, with a token's claims, as PostgREST opens it for each request.
    pub(crate) async fn session(&self, role: &str, claims: &Value) -> Session {
        let client = connect(&self.admin_url).await;
        client.batch_execute("BEGIN").await.unwrap();
        let set = "SELECT set_config('request.jwt.claims', $1, true), set_config('role', $2, true)";
        client.query_one(set, &[&claims.to_string(), &role]).await.unwrap();
        Session(client)
    }

    pub(crate) async fn session_of(&self, user: &User) -> Session {
        let claims = json!({ "sub": user.id, "role": "authenticated", "aud": "authenticated", "email": user.email });
        self.session("authenticated", &claims).await
    }
}

/// A transaction in a user's role. Dropped, it is rolled back.
#[derive(Debug)]
pub struct Session(Client);

impl std::ops::Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl Session {
    /// All rows, or the refusal's SQLSTATE and text; the transaction goes on after a refusal.
    pub async fn attempt(&self, statement: &str, parameters: Parameters<'_>) -> Result<Vec<Row>, String> {
        self.batch_execute("SAVEPOINT attempt").await.unwrap();
        let result = self.query(statement, parameters).await;
        let end = if result.is_ok() {
            "RELEASE SAVEPOINT attempt"
        } else {
            "ROLLBACK TO SAVEPOINT attempt"
        };
        self.batch_execute(end).await.unwrap();
        result.map_err(|error| match error.as_db_error() {
            Some(refusal) => format!("{} {}", refusal.code().code(), refusal.message()),
            None => panic!("{statement}: {error:?}"),
        })
    }
}

/// Connects on the runtime that lasts: the test that asks first must not take the connection with it.
async fn connect(url: &str) -> Client {
    let url = url.to_owned();
    background::run(async move {
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        // An error is the end of the connection, which its next user notices.
        tokio::spawn(async move { _ = connection.await });
        client
    })
    .await
}
