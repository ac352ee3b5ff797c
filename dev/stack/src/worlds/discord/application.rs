//! Applications, and the interactions that Discord posts for them to the URL that they name.
//!
//! Requests are those of the [documentation](https://discord.com/developers/docs/interactions/overview#preparing-for-interactions): signed with the
//! application's key, over the timestamp and the body as it is sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ed25519_dalek::{Signer as _, SigningKey};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::now;
use crate::StackError;

/// How long Discord waits for the first answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// An application, as its developer sees it.
#[derive(Debug, Clone)]
pub struct Application {
    /// Its id.
    pub id: u64,
    /// The key by which its interactions are verified, in lower-case hexadecimal.
    pub public_key: String,
    key: Arc<SigningKey>,
}

/// What a request to the URL for interactions was answered with.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The status.
    pub status: u16,
    /// The body; null if it is not JSON, which Discord does not take.
    pub body: Value,
    /// How long it took.
    pub elapsed: Duration,
    /// Whether there was no body at all.
    pub is_empty: bool,
}

/// What is wrong with a request that nobody but Discord can have sent, and that Discord has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forgery {
    /// It is signed with another application's key.
    AnotherKey,
    /// Its body is not the one that was signed.
    AlteredBody,
    /// Its timestamp is not the one that was signed.
    AlteredTimestamp,
    /// It is signed as of so long ago.
    Stale(Duration),
    /// Its signature is no signature.
    Malformed,
    /// It has no signature.
    Unsigned,
    /// It has no timestamp.
    Untimed,
}

impl Forgery {
    /// One of each kind; what is stale is ten minutes old.
    pub const ALL: [Self; 7] = [
        Self::AnotherKey,
        Self::AlteredBody,
        Self::AlteredTimestamp,
        Self::Stale(Duration::from_secs(600)),
        Self::Malformed,
        Self::Unsigned,
        Self::Untimed,
    ];
}

impl Application {
    pub(super) fn new(id: u64) -> Result<Self, StackError> {
        let key = key()?;
        Ok(Self {
            id,
            public_key: hex(key.verifying_key().as_bytes()),
            key: Arc::new(key),
        })
    }

    /// The signature over a timestamp and a body, in hexadecimal.
    pub fn sign(&self, timestamp: &str, body: &[u8]) -> String {
        sign(&self.key, timestamp, body)
    }

    /// Posts an interaction, as it happens when somebody uses a command. The world does not know of it: it can be answered only inline.
    pub async fn interact(&self, url: &str, payload: &Value) -> Result<Delivered, StackError> {
        let posted = self.post(url, payload, PATIENCE).await;
        posted.map_err(|error| StackError::Failed(format!("an interaction was not answered: {error}")))
    }

    /// Posts an interaction and waits so long for its answer.
    pub(super) async fn post(
        &self,
        url: &str,
        payload: &Value,
        patience: Duration,
    ) -> Result<Delivered, reqwest::Error> {
        let (timestamp, body) = (now().timestamp().to_string(), payload.to_string());
        let signature = self.sign(&timestamp, body.as_bytes());
        post(url, Some(&timestamp), Some(&signature), body, patience).await
    }

    /// Posts an interaction that is not to be believed.
    pub async fn forge(&self, url: &str, payload: &Value, forgery: Forgery) -> Result<Delivered, StackError> {
        let signed_at = now().timestamp();
        let (mut timestamp, body) = (signed_at.to_string(), payload.to_string());
        let mut signature = self.sign(&timestamp, body.as_bytes());
        match forgery {
            Forgery::AnotherKey => signature = sign(&key()?, &timestamp, body.as_bytes()),
            Forgery::AlteredBody => signature = self.sign(&timestamp, format!("{body} ").as_bytes()),
            Forgery::AlteredTimestamp => timestamp = (signed_at - 1).to_string(),
            Forgery::Stale(age) => {
                let age = i64::try_from(age.as_secs()).unwrap_or_default();
                timestamp = signed_at.saturating_sub(age).to_string();
                signature = self.sign(&timestamp, body.as_bytes());
            }
            Forgery::Malformed => signature = "z".repeat(signature.len()),
            Forgery::Unsigned | Forgery::Untimed => {}
        }
        let timestamp = (forgery != Forgery::Untimed).then_some(&*timestamp);
        let signature = (forgery != Forgery::Unsigned).then_some(&*signature);
        let posted = post(url, timestamp, signature, body, PATIENCE).await;
        posted.map_err(|error| StackError::Failed(format!("a forged interaction was not answered: {error}")))
    }

    /// Does what Discord does when a developer saves the URL for interactions, and from time to time: it is accepted if it answers a `PING`, and
    /// refuses one whose signature is wrong. The error says why it would not be.
    pub async fn validate_endpoint(&self, url: &str) -> Result<(), StackError> {
        let ping = json!({
            "id": self.id.to_string(), "application_id": self.id.to_string(), "type": 1, "token": "ping", "version": 1,
            "entitlements": [],
        });
        let answered = self.interact(url, &ping).await?;
        if (answered.status, answered.body.get("type")) != (200, Some(&json!(1))) {
            return Err(not_validated(&format!(
                "a PING is answered with {} {}",
                answered.status, answered.body
            )));
        }

        let forged = self.forge(url, &ping, Forgery::AlteredBody).await?;
        if forged.status == 401 {
            Ok(())
        } else {
            Err(not_validated(&format!(
                "a forged PING is answered with {}",
                forged.status
            )))
        }
    }
}

async fn post(
    url: &str,
    timestamp: Option<&str>,
    signature: Option<&str>,
    body: String,
    patience: Duration,
) -> Result<Delivered, reqwest::Error> {
    let client = Client::builder().no_proxy().timeout(patience).build()?;
    let started = Instant::now();
    let mut request = client
        .post(url)
        .header("user-agent", "Discord-Interactions/1.0 (+https://discord.com)")
        .header(CONTENT_TYPE, "application/json");
    for (name, value) in [("x-signature-ed25519", signature), ("x-signature-timestamp", timestamp)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    let response = request.body(body).send().await?;
    let status = response.status().as_u16();
    let body = response.bytes().await?;
    Ok(Delivered {
        status,
        body: serde_json::from_slice(&body).unwrap_or_default(),
        elapsed: started.elapsed(),
        is_empty: body.is_empty(),
    })
}

fn not_validated(why: &str) -> StackError {
    StackError::Failed(format!(
        "the specified interactions endpoint url could not be verified: {why}"
    ))
}

fn key() -> Result<SigningKey, StackError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(|error| StackError::Failed(format!("there is no entropy: {error}")))?;
    Ok(SigningKey::from_bytes(&secret))
}

fn sign(key: &SigningKey, timestamp: &str, body: &[u8]) -> String {
    let message = [timestamp.as_bytes(), body].concat();
    hex(&key.sign(&message).to_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
