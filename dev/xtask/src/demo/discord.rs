//! A bot's life on Discord.

use std::path::Path;
use std::time::{Duration, Instant};

use agentopia_domain::discord::commands::{
    ACTIVATE, ASK, ASK_ABOUT, DEACTIVATE, OPTION_AGENT, OPTION_EPHEMERAL, OPTION_QUESTION,
};
use agentopia_domain::discord::split::MESSAGE_MAX_CHARS;
use agentopia_stack::demo;
use agentopia_stack::worlds::openai::ANNOUNCEMENT;
use anyhow::{Context, bail, ensure};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{Answer, Client, done, text};
use crate::up::DISCORD_STAND_IN_FILE;

const MANAGE: &str = "/functions/v1/manage-discord-worker";

const QUESTION: &str = "What is on today?";

/// How long a worker may take to come or to go: it has a minute to start, and the schedule looks after it twice a minute.
const WORKER_LIMIT: Duration = Duration::from_secs(180);

/// How much of a message is printed.
const SHOWN_CHARS: usize = 70;

/// Plays it, and cleans up behind it.
pub(super) async fn play(client: &Client, data: &Path) -> anyhow::Result<()> {
    let began = Instant::now();
    let stand_in = StandIn::find(client, data).await?;
    let bot = format!("{MANAGE}/agents/{}", demo::ATLAS);
    let connection = format!("{bot}/connection");

    let body = json!({
        "application_id": stand_in.application_id,
        "public_key": stand_in.public_key,
        "bot_token": stand_in.bot_token,
    });
    client
        .step(
            "a bot is connected to the agent Atlas",
            StatusCode::OK,
            Method::PUT,
            &connection,
            Some(&body),
        )
        .await?;
    let played = live(client, &stand_in, &bot).await;
    if played.is_err() {
        match client.call(Method::DELETE, &connection, None).await {
            Ok(answer) if answer.status == StatusCode::NO_CONTENT => println!("· the bot is disconnected"),
            _ => println!("· the bot is left connected to the agent {}", demo::ATLAS),
        }
    }
    played?;
    println!("All of it came true, in {:.0} s.", began.elapsed().as_secs_f64());
    Ok(())
}

async fn live(client: &Client, stand_in: &StandIn, bot: &str) -> anyhow::Result<()> {
    let connection = format!("{bot}/connection");
    stand_in
        .validate(
            client,
            "Discord accepts the URL for interactions: a PING is answered, a forged one refused",
        )
        .await?;
    let commands = format!("{bot}/commands");
    let register = async |what| client.step(what, StatusCode::OK, Method::POST, &commands, None).await;
    register("its commands are registered").await?;
    let again = register("they are compared, and not registered again").await?;
    ensure!(
        again.get("changed") == Some(&json!(false)),
        "they were registered again: {again}"
    );
    client
        .step(
            "the agent may be used in the guild",
            StatusCode::OK,
            Method::PUT,
            &format!("{bot}/enabled-guilds"),
            Some(&json!({ "guilds": [{ "guild_id": stand_in.guild_id }] })),
        )
        .await?;

    let agent = json!({ OPTION_AGENT: demo::ATLAS });
    let activate = json!({ "command": ACTIVATE, "options": agent });
    let started = stand_in
        .use_command(client, "somebody there starts it", &activate)
        .await?;
    says(&started, "is starting")?;
    let until = async |what, status| client.wait(what, WORKER_LIMIT, &connection, is_worker(status)).await;
    until("its worker is there", "active").await?;

    ask(client, stand_in).await?;

    let deactivate = json!({ "command": DEACTIVATE, "options": agent });
    let stopped = stand_in
        .use_command(client, "somebody there stops it", &deactivate)
        .await?;
    says(&stopped, "is stopping")?;
    until("its worker is gone", "inactive").await?;

    client
        .step(
            "the bot is disconnected",
            StatusCode::NO_CONTENT,
            Method::DELETE,
            &connection,
            None,
        )
        .await?;
    let began = Instant::now();
    let what = "it does not answer any more";
    let seen = stand_in.see(client, what, &question(false)).await?;
    ensure!(seen.messages.is_empty(), "{what}: it says {:?}", seen.messages);
    done(what, "no message", began);
    Ok(())
}

/// The agent is asked in the ways there are.
async fn ask(client: &Client, stand_in: &StandIn) -> anyhow::Result<()> {
    let answer = stand_in
        .use_command(client, "it is asked, and answers", &question(false))
        .await?;
    ensure!(
        answer.iter().all(|message| !message.ephemeral),
        "not everybody sees the answer: {answer:?}"
    );
    // What a real model says is not known.
    let is_stand_in = answer.iter().any(|message| message.content.starts_with(ANNOUNCEMENT));
    if is_stand_in {
        println!("· no model is behind it: a stand-in says what it was told");
        says(&answer, QUESTION)?;
    } else {
        println!("· a real model answers: how long it answers is its own affair");
    }

    let hidden = stand_in
        .use_command(client, "it answers whoever asks alone", &question(true))
        .await?;
    ensure!(
        hidden.iter().all(|message| message.ephemeral),
        "everybody sees the answer: {hidden:?}"
    );

    let line = |number| format!("{number}. Something that has to be said about this, and at some length.");
    let lines: Vec<_> = (1..=50).map(line).collect();
    let about = json!({ "command": ASK_ABOUT, "message": lines.join("\n") });
    let long = stand_in
        .use_command(
            client,
            "it is asked about a long message, and answers at length",
            &about,
        )
        .await?;
    if is_stand_in {
        let seen = long.iter().flat_map(|message| message.content.lines());
        let quoted: Vec<_> = seen.filter(|seen| lines.iter().any(|line| line == seen)).collect();
        ensure!(
            long.len() > 1 && quoted == lines,
            "the answer is not there as a whole, once, in several messages: {long:?}"
        );
    }
    Ok(())
}

fn question(is_ephemeral: bool) -> Value {
    json!({
        "command": ASK,
        "options": { OPTION_AGENT: demo::ATLAS, OPTION_QUESTION: QUESTION, OPTION_EPHEMERAL: is_ephemeral },
    })
}

/// The stand-in for Discord of `up`: a bot that can be connected, in a guild with somebody who does as is asked.
struct StandIn {
    origin: String,
    application_id: String,
    public_key: String,
    bot_token: String,
    guild_id: String,
}

/// What came of a command, as whoever used it sees it.
#[derive(Debug, Deserialize)]
struct Seen {
    messages: Vec<Message>,
    did_not_respond: bool,
}

#[derive(Debug, Deserialize)]
struct Message {
    content: String,
    ephemeral: bool,
    thinking: bool,
    file: Option<String>,
}

impl StandIn {
    /// Where `up` has noted it.
    async fn find(client: &Client, data: &Path) -> anyhow::Result<Self> {
        let file = data.join(DISCORD_STAND_IN_FILE);
        let origin = std::fs::read_to_string(&file).with_context(|| {
            format!(
                "there is no {}: `cargo xtask up` has no stand-in for Discord, since it is given a DISCORD_ORIGIN, machines or workers",
                file.display()
            )
        })?;
        let shown = client.call_at(&origin, Method::GET, "/", None).await?.body;
        let field = |name| text(&shown, name).map(str::to_owned);
        Ok(Self {
            application_id: field("application_id")?,
            public_key: field("public_key")?,
            bot_token: field("bot_token")?,
            guild_id: field("guild_id")?,
            origin,
        })
    }

    /// A step: Discord does what it does when the application's owner saves the URL for interactions.
    async fn validate(&self, client: &Client, what: &str) -> anyhow::Result<()> {
        let began = Instant::now();
        let answer = client.call_at(&self.origin, Method::POST, "/validate", None).await?;
        ensure!(answer.status == StatusCode::OK, "{what}: {}", answer.body);
        done(what, "accepted", began);
        Ok(())
    }

    /// A step: somebody uses a command, and sees at least one message, all of them as they must be.
    async fn use_command(&self, client: &Client, what: &str, command: &Value) -> anyhow::Result<Vec<Message>> {
        let began = Instant::now();
        let Seen {
            messages,
            did_not_respond,
        } = self.see(client, what, command).await?;
        ensure!(!did_not_respond, "{what}: the application did not respond in time");
        let Some(first) = messages.first() else {
            bail!("{what}: there is no message");
        };
        let is_whole = |message: &Message| {
            let chars = message.content.chars().count();
            !message.thinking && (1..=MESSAGE_MAX_CHARS).contains(&chars)
        };
        ensure!(messages.iter().all(is_whole), "{what}: it is {messages:?}");
        let said = first.content.trim_start_matches(ANNOUNCEMENT).trim_start();
        let shown: String = said.chars().take(SHOWN_CHARS).collect();
        let more = match (messages.len(), &first.file) {
            (1, None) => String::new(),
            (1, Some(_)) => ", with a file".to_owned(),
            (count, _) => format!(", in {count} messages"),
        };
        done(what, &format!("{shown:?}{more}"), began);
        Ok(messages)
    }

    async fn see(&self, client: &Client, what: &str, command: &Value) -> anyhow::Result<Seen> {
        let answer = client
            .call_at(&self.origin, Method::POST, "/use", Some(command))
            .await?;
        ensure!(answer.status == StatusCode::OK, "{what}: {}", answer.body);
        serde_json::from_value(answer.body).with_context(|| what.to_owned())
    }
}

/// Whether the first message says this.
fn says(messages: &[Message], wanted: &str) -> anyhow::Result<()> {
    let content = messages.first().map(|message| message.content.as_str());
    ensure!(
        content.is_some_and(|content| content.contains(wanted)),
        "it does not say {wanted:?}: {messages:?}"
    );
    Ok(())
}

/// Whether the agent's worker is like this, and how it is.
fn is_worker(wanted: &'static str) -> impl Fn(&Answer) -> (String, bool) {
    move |answer| {
        let shown = answer.body.pointer("/connection/worker_status").and_then(Value::as_str);
        let how = shown.map_or_else(|| format!("{} {}", answer.status, answer.body), str::to_owned);
        (how, shown == Some(wanted))
    }
}
