//! A client of the functions that says what it does.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use reqwest::{Method, StatusCode};
use serde_json::Value;

/// How often is looked whether something has come true.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How long a call may take.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// Calls as one user.
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Client {
    pub(super) fn new(url: &str, token: &str) -> anyhow::Result<Self> {
        Ok(Self {
            http: reqwest::Client::builder().no_proxy().timeout(CALL_LIMIT).build()?,
            url: url.to_owned(),
            token: token.to_owned(),
        })
    }

    /// Whether there is an application at all, and one that knows this user.
    pub(super) async fn check_health(&self) -> anyhow::Result<()> {
        let url = format!("{}/functions/v1/heartbeat/health", self.url);
        let answered = self.http.get(url).send().await;
        ensure!(
            answered.is_ok_and(|response| response.status().is_success()),
            "nothing serves at {}: run `cargo xtask up` first, and name its --port and --data here too",
            self.url
        );
        let listed = self.call(Method::GET, "/functions/v1/toolboxes-user", None).await?;
        ensure!(
            listed.status != StatusCode::UNAUTHORIZED,
            "the application at {} does not know the demo user: name the --data of its `cargo xtask up`",
            self.url
        );
        Ok(())
    }

    /// A call to a function, whatever comes of it.
    pub(super) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        self.call_at(&self.url, method, path, body).await
    }

    /// A call to another origin.
    pub(super) async fn call_at(
        &self,
        origin: &str,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let mut request = self.http.request(method.clone(), format!("{origin}{path}"));
        if origin == self.url {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.with_context(|| format!("{method} {path}"))?;
        let status = response.status();
        let body = response.bytes().await.with_context(|| format!("{method} {path}"))?;
        Ok(Answer {
            status,
            body: serde_json::from_slice(&body).unwrap_or(Value::Null),
        })
    }

    /// A step: a call that must be answered with this status.
    pub(super) async fn step(
        &self,
        what: &str,
        expected: StatusCode,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Value> {
        let began = Instant::now();
        let answer = self.call(method, path, body).await?;
        if answer.status != expected {
            bail!("{what}: answered {} and not {expected}: {}", answer.status, answer.body);
        }
        done(what, &answer.status.to_string(), began);
        Ok(answer.body)
    }

    /// A step: something that must come true in time. `look` says how it is, and whether that is it.
    pub(super) async fn wait(
        &self,
        what: &str,
        deadline: Duration,
        path: &str,
        look: impl Fn(&Answer) -> (String, bool),
    ) -> anyhow::Result<Value> {
        let began = Instant::now();
        loop {
            let answer = self.call(Method::GET, path, None).await?;
            let (how, is_it) = look(&answer);
            if is_it {
                done(what, &how, began);
                return Ok(answer.body);
            }
            if began.elapsed() > deadline {
                bail!("{what}: it is {how} after {} s", deadline.as_secs());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// Says that a step has come true.
pub(super) fn done(what: &str, how: &str, began: Instant) {
    println!("✓ {what}: {how} ({:.1} s)", began.elapsed().as_secs_f64());
}

/// A text of an answer.
pub(super) fn text<'a>(body: &'a Value, field: &str) -> anyhow::Result<&'a str> {
    body.get(field)
        .and_then(Value::as_str)
        .with_context(|| format!("there is no {field} in {body}"))
}
