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
const PATIENCE: Duration = Duration::from_secs(3);

/// An application, as its developer sees it.
#[derive(Debug, Clone)]
pub struct Application {
    /// Its id.
    pub id: u64,
    /// The key by which its interactions are verified, in lower-case hexadecimal.
    pub public_key: String,
    key: Arc<SigningKey>,
}

/// What came of an interaction.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The status.
    pub status: u16,
    /// The body; null if it is not JSON, which Discord does not take.
    pub body: Value,
    /// How long it took.
    pub elapsed: Duration,
}

impl Application {
    pub(super) fn new(id: u64) -> Result<Self, StackError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| StackError::Failed(format!("there is no entropy: {error}")))?;
        let key = SigningKey::from_bytes(&secret);
        Ok(Self {
            id,
            public_key: hex(key.verifying_key().as_bytes()),
            key: Arc::new(key),
        })
    }

    /// The signature over a timestamp and a body, in hexadecimal.
    pub fn sign(&self, timestamp: &str, body: &[u8]) -> String {
        let message = [timestamp.as_bytes(), body].concat();
        hex(&self.key.sign(&message).to_bytes())
    }

    /// Posts an interaction, as it happens when somebody uses a command.
    pub async fn interact(&self, url: &str, payload: &Value) -> Result<Delivered, StackError> {
        let (timestamp, body) = (now().timestamp().to_string(), payload.to_string());
        let signature = self.sign(&timestamp, body.as_bytes());
        post(url, &timestamp, &signature, body).await
    }

    /// Does what Discord does when a developer saves the URL for interactions: it is accepted if it answers a `PING`, and refuses one whose
    /// signature is wrong. The error says why it would not be.
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

        let (timestamp, body) = (now().timestamp().to_string(), ping.to_string());
        let of_another = self.sign(&timestamp, b"another body");
        let forged = post(url, &timestamp, &of_another, body).await?;
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

async fn post(url: &str, timestamp: &str, signature: &str, body: String) -> Result<Delivered, StackError> {
    let failed = |error: reqwest::Error| StackError::Failed(format!("an interaction was not answered: {error}"));
    let client = Client::builder().no_proxy().timeout(PATIENCE).build().map_err(failed)?;
    let started = Instant::now();
    let response = client
        .post(url)
        .header("user-agent", "Discord-Interactions/1.0 (+https://discord.com)")
        .header(CONTENT_TYPE, "application/json")
        .header("x-signature-ed25519", signature)
        .header("x-signature-timestamp", timestamp)
        .body(body)
        .send()
        .await
        .map_err(failed)?;
    let status = response.status().as_u16();
    let body = response.bytes().await.map_err(failed)?;
    Ok(Delivered {
        status,
        body: serde_json::from_slice(&body).unwrap_or_default(),
        elapsed: started.elapsed(),
    })
}

fn not_validated(why: &str) -> StackError {
    StackError::Failed(format!(
        "the specified interactions endpoint url could not be verified: {why}"
    ))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
