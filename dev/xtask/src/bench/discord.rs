//! How long people on Discord wait while agents think: for the word that an answer comes, and for what is answered at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agentopia_application::Application;
use agentopia_domain::discord::commands::{AGENTS, ASK, OPTION_AGENT, OPTION_QUESTION};
use agentopia_stack::demo;
use agentopia_stack::worlds::discord::{self, Acknowledged, Guild, Person, VisibleMessage, Way};
use agentopia_stack::worlds::openai::{OpenAiOptions, OpenAiWorld};
use agentopia_stack::worlds::{DiscordOptions, DiscordWorld};
use anyhow::{Context, ensure};
use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;
use tokio_postgres::Client;
use uuid::Uuid;

use super::edge::{self, row};
use super::load::{self, Throughput, Work, percentile};
use super::setup::{Bench, DURATION, NO_LIMIT};
use super::statement::connect;

/// People who ask at once.
const ASKERS: usize = 32;
/// How often all of them ask, after the first time.
const ROUNDS: usize = 3;
/// How long the model takes.
const THINKING: Duration = Duration::from_secs(10);
/// The words of a reply.
const WORDS: u32 = 40;
/// How often each of the others asks for something.
const PACE: Duration = Duration::from_millis(25);
/// How long Discord waits.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long what was left behind may take.
const SWEEPS_LIMIT: Duration = Duration::from_secs(120);

/// Models of the stand-in, of which one thinks.
const QUICK: &str = "gpt-4o-mini";
const SLOW: &str = "stand-in-slow";
/// The agent's name, by which it is found if a measurement did not come to its end.
const AGENT: &str = "Discord benchmark";

const INTERACTIONS: &str = "/functions/v1/discord-interaction-handler";
const HEALTH: &str = "/functions/v1/discord-interaction-handler/health";
const CHAT_HEALTH: &str = "/functions/v1/chat/health";

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    let database = connect(bench.postgres.admin_url()).await?;
    let openai = OpenAiWorld::start(OpenAiOptions {
        slow_interval: THINKING / WORDS,
        reply_deltas: Some(WORDS as usize),
        ..OpenAiOptions::default()
    })
    .await?;
    let discord = DiscordWorld::start(DiscordOptions::default()).await?;
    let no_limit = NO_LIMIT.to_string();
    let application = bench
        .start_another(&[
            ("openai_origin", &openai.origin()),
            ("discord_origin", &discord.origin()),
            ("discord_interactions_per_minute", &no_limit),
            ("discord_interactions_burst", &no_limit),
        ])
        .await?;
    let scene = Arc::new(Scene::new(bench, &database, discord, &application).await?);

    tokio::task::block_in_place(|| ping(&scene))?;
    let measured = ask(bench, &database, &scene, &application).await;
    remove_agent(&database).await?;
    application.stop().await;
    openai.stop().await;
    measured
}

/// An agent whose bot is in a guild, and where the application is told what people do there.
struct Scene {
    discord: DiscordWorld,
    application: discord::Application,
    guild: Guild,
    agent: Uuid,
    /// Where the application serves.
    origin: String,
}

impl Scene {
    /// Makes it, and connects the agent as its owner does.
    async fn new(
        bench: &Bench,
        database: &Client,
        discord: DiscordWorld,
        served: &Application,
    ) -> anyhow::Result<Self> {
        let application = discord.create_application()?;
        let bot = discord.create_bot(&application)?;
        let guild = discord.create_guild("Benchmark");
        discord.add_to_guild(application.id, guild.id);

        remove_agent(database).await?;
        let statement = "INSERT INTO public.agents (user_id, name, model) VALUES ($1, $2, $3) RETURNING id";
        let agent: Uuid = database
            .query_one(statement, &[&demo::ADA.id, &AGENT, &QUICK])
            .await?
            .get(0);
        let origin = served.url().to_owned();
        let client = reqwest::Client::builder().no_proxy().build()?;
        for (method, rest, body) in [
            (Method::PUT, "connection", json!({ "bot_token": bot.token })),
            (
                Method::PUT,
                "enabled-guilds",
                json!({ "guilds": [{ "guild_id": guild.id.to_string() }] }),
            ),
            (Method::POST, "commands", json!({})),
        ] {
            let url = format!("{origin}/functions/v1/manage-discord-worker/agents/{agent}/{rest}");
            let request = client.request(method, url).bearer_auth(&bench.token).json(&body);
            let response = request.send().await?;
            let status = response.status();
            ensure!(
                status.is_success(),
                "{rest}: answered {status} {}",
                response.text().await?
            );
        }
        Ok(Self {
            discord,
            application,
            guild,
            agent,
            origin,
        })
    }

    fn interactions_url(&self) -> String {
        format!("{}{INTERACTIONS}", self.origin)
    }

    /// Somebody asks the agent, and waits until the request is over.
    async fn ask(&self) -> anyhow::Result<Asked> {
        let person = self.discord.create_person(&self.guild, "Robin");
        let options = [
            (OPTION_AGENT, json!(self.agent)),
            (OPTION_QUESTION, json!("What do you think?")),
        ];
        let interaction = self.discord.use_command(&self.application, &person, ASK, &options)?;
        let url = self.interactions_url();
        let outcome = self.discord.deliver(&self.application, &url, &interaction).await?;
        Ok(Asked {
            interaction: interaction.id,
            acknowledged: outcome.acknowledged,
        })
    }

    /// Whether all that is to be seen of an answer is that it will come.
    fn is_open(&self, asked: &Asked) -> bool {
        let visible = self.discord.visible(asked.interaction);
        visible.iter().any(|message| message.is_thinking)
    }

    /// Whether there is one whole answer, once.
    fn has_answer(&self, asked: &Asked) -> bool {
        let visible = self.discord.visible(asked.interaction);
        let reply = ["word"; WORDS as usize].join(" ");
        let is_reply = |message: &VisibleMessage| message.content == reply && message.edits == 1;
        matches!(visible.as_slice(), [message] if is_reply(message))
    }
}

/// A question, and when Discord heard that the answer would come.
struct Asked {
    interaction: u64,
    acknowledged: Option<Acknowledged>,
}

impl Asked {
    fn is_late(&self) -> bool {
        self.acknowledged.is_none_or(|first| first.after > PATIENCE)
    }
}

/// What a verified `PING` costs beside an empty request: a look for keys, and as many verifications as for any other interaction.
fn ping(scene: &Scene) -> anyhow::Result<()> {
    let id = scene.application.id.to_string();
    let body = json!({
        "id": id, "application_id": id, "type": 1, "token": "ping", "version": 1, "entitlements": [],
    })
    .to_string();
    let timestamp = timestamp()?;
    let signature = scene.application.sign(&timestamp, body.as_bytes());
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static(INTERACTIONS);
    let headers = request.headers_mut();
    headers.insert("host", HeaderValue::from_static("bench"));
    headers.insert("content-type", HeaderValue::from_static("application/json"));
    headers.insert("x-signature-ed25519", HeaderValue::try_from(signature)?);
    headers.insert("x-signature-timestamp", HeaderValue::try_from(timestamp)?);
    let send = |duration| load::http(&scene.origin, ASKERS, duration, std::slice::from_ref(&request));

    // Instances and connections are warm when it counts.
    send(DURATION / 5)?;
    let pinged = send(DURATION)?;
    let nothing = edge::get(&scene.origin, HEALTH, DURATION)?;

    println!(
        "\ndiscord: a verified PING, {ASKERS} connections, {} s each",
        DURATION.as_secs()
    );
    row("PING", &pinged);
    row("nothing, through the component", &nothing);
    println!(
        "  ratio to nothing {:.2}; processor time of component and host for one {}, for nothing {}",
        pinged.per_second / nothing.per_second,
        processor(&pinged),
        processor(&nothing),
    );
    Ok(())
}

/// Measures what is answered at once, and when it is said of the rest that it will be; alone, and while the model thinks about many questions.
async fn ask(bench: &Bench, database: &Client, scene: &Arc<Scene>, application: &Application) -> anyhow::Result<()> {
    println!(
        "\ndiscord: {ASKERS} /ask at once with a model that takes {} s, {} times; beside them /agents and two GET health, each every {} ms",
        THINKING.as_secs(),
        1 + ROUNDS,
        PACE.as_millis(),
    );
    // Instances and connections are warm when it counts.
    let others = Others::begin(scene).await?;
    tokio::time::sleep(DURATION / 5).await;
    others.end().await?;
    let others = Others::begin(scene).await?;
    tokio::time::sleep(DURATION).await;
    let mut alone = others.end().await?;
    let quick = ask_one_by_one(scene).await?;

    let statement = "UPDATE public.agents SET model = $2 WHERE id = $1";
    database.execute(statement, &[&scene.agent, &SLOW]).await?;
    let before = application.statistics();
    let others = Others::begin(scene).await?;
    let began = Instant::now();
    let first = ask_at_once(scene).await?;
    let mut again = Vec::new();
    for _ in 0..ROUNDS {
        again.extend(ask_at_once(scene).await?);
    }
    let took = began.elapsed();
    let mut meanwhile = others.end().await?;
    let after = application.statistics();

    println!("  until Discord hears that the answer to an /ask comes");
    let mut alone_deferred = times(&quick);
    show("alone", &mut alone_deferred);
    show("at once, with few instances there", &mut times(&first));
    let mut deferred = times(&again);
    show("at once, with instances there", &mut deferred);
    ratio(&mut alone_deferred, &mut deferred);
    for (what, alone, meanwhile) in [
        ("/agents", &mut alone.agents, &mut meanwhile.agents),
        (
            "GET health of the same component",
            &mut alone.health,
            &mut meanwhile.health,
        ),
        ("GET health of chat", &mut alone.chat_health, &mut meanwhile.chat_health),
    ] {
        println!("  {what}");
        show("alone", alone);
        show("meanwhile", meanwhile);
        ratio(alone, meanwhile);
    }
    if let (Some(before), Some(after)) = (before, after) {
        let made = |component: &str| {
            let of = |statistics: &agentopia_host::Statistics| statistics.components.get(component).copied();
            let instances = |statistics| of(statistics).unwrap_or_default().instances;
            instances(&after) - instances(&before)
        };
        println!(
            "  instances made meanwhile: discord-interaction-handler {}, chat {}",
            made("discord-interaction-handler"),
            made("chat")
        );
    }

    let slow: Vec<_> = first.into_iter().chain(again).collect();
    finish(bench, scene, &slow).await?;
    let all: Vec<_> = quick.into_iter().chain(slow).collect();
    check(scene, &all, took)
}

/// Prints what became of all questions; an error if one was not answered once, or Discord did not hear in time that it would be.
fn check(scene: &Scene, all: &[Asked], took: Duration) -> anyhow::Result<()> {
    let slow = ASKERS * (1 + ROUNDS);
    let answered = all.iter().filter(|asked| scene.has_answer(asked)).count();
    let late = all.iter().filter(|asked| asked.is_late()).count();
    let is_inline = |asked: &&Asked| asked.acknowledged.is_some_and(|first| first.way == Way::Inline);
    println!(
        "  answered {answered} of {} ({slow} of them in {:.1} s), each exactly once; left to a sweep {}; acknowledged too late {late}",
        all.len(),
        took.as_secs_f64(),
        all.iter().filter(is_inline).count(),
    );
    let complaints = scene.discord.complaints();

    ensure!(
        answered == all.len(),
        "an answer is missing, is there twice or is another"
    );
    ensure!(late == 0, "Discord has waited for more than {} s", PATIENCE.as_secs());
    ensure!(complaints.is_empty(), "the stand-in complains: {complaints:?}");
    Ok(())
}

/// Asks again as soon as there is an answer, for as long as a figure is measured.
async fn ask_one_by_one(scene: &Scene) -> anyhow::Result<Vec<Asked>> {
    let began = Instant::now();
    let mut all = Vec::new();
    while began.elapsed() < DURATION {
        all.push(scene.ask().await?);
    }
    Ok(all)
}

/// All ask at the same instant, and have their answers.
async fn ask_at_once(scene: &Arc<Scene>) -> anyhow::Result<Vec<Asked>> {
    let began = Instant::now();
    let mut askers = JoinSet::new();
    for _ in 0..ASKERS {
        let scene = scene.clone();
        askers.spawn(async move { scene.ask().await });
    }
    let all: Vec<_> = askers.join_all().await.into_iter().collect::<anyhow::Result<_>>()?;

    let is_left = |asked: &Asked| asked.acknowledged.is_none_or(|first| first.way == Way::Inline);
    ensure!(
        began.elapsed() >= THINKING || all.iter().all(is_left),
        "the model did not take {} s",
        THINKING.as_secs()
    );
    Ok(all)
}

/// Has what was left behind be answered by sweeps, which the schedule would ask for.
async fn finish(bench: &Bench, scene: &Scene, all: &[Asked]) -> anyhow::Result<()> {
    let address = scene.origin.strip_prefix("http://").context("not an http URL")?;
    let began = Instant::now();
    while all.iter().any(|asked| scene.is_open(asked)) && began.elapsed() < SWEEPS_LIMIT {
        let mut sender = load::connect(address).await?;
        let path = "/functions/v1/discord-interaction-handler/sweep";
        let request = load::post(path, bench.postgres.secrets().service_token(), &json!({}))?;
        let swept = sender.send_request(request).await?;
        ensure!(swept.status().is_success(), "the sweep answered {}", swept.status());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Those who ask for what is answered at once.
struct Others {
    over: Arc<AtomicBool>,
    agents: JoinHandle<anyhow::Result<Vec<Duration>>>,
    health: JoinHandle<anyhow::Result<Vec<Duration>>>,
    chat_health: JoinHandle<anyhow::Result<Vec<Duration>>>,
}

/// How long they waited.
struct Waited {
    agents: Vec<Duration>,
    health: Vec<Duration>,
    chat_health: Vec<Duration>,
}

impl Others {
    async fn begin(scene: &Arc<Scene>) -> anyhow::Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let agents = Agents {
            person: scene.discord.create_person(&scene.guild, "Kim"),
            scene: scene.clone(),
        };
        Ok(Self {
            agents: tokio::spawn(paced(agents, over.clone())),
            health: tokio::spawn(paced(Health::of(scene, HEALTH).await?, over.clone())),
            chat_health: tokio::spawn(paced(Health::of(scene, CHAT_HEALTH).await?, over.clone())),
            over,
        })
    }

    async fn end(self) -> anyhow::Result<Waited> {
        self.over.store(true, Ordering::Relaxed);
        Ok(Waited {
            agents: self.agents.await??,
            health: self.health.await??,
            chat_health: self.chat_health.await??,
        })
    }
}

/// Does it at an even pace until it is over, and says how long it took each time.
async fn paced(mut work: impl Work, over: Arc<AtomicBool>) -> anyhow::Result<Vec<Duration>> {
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        pace.tick().await;
        let began = Instant::now();
        work.once().await?;
        times.push(began.elapsed());
    }
    Ok(times)
}

/// Uses `/agents`.
struct Agents {
    scene: Arc<Scene>,
    person: Person,
}

impl Work for Agents {
    async fn once(&mut self) -> anyhow::Result<()> {
        let Scene {
            discord, application, ..
        } = &*self.scene;
        let interaction = discord.use_command(application, &self.person, AGENTS, &[])?;
        let url = self.scene.interactions_url();
        let outcome = discord.deliver(application, &url, &interaction).await?;
        let visible = discord.visible(interaction.id);
        ensure!(
            visible.iter().any(|message| message.content.contains(AGENT)),
            "/agents is answered with {outcome:?}"
        );
        Ok(())
    }
}

/// Gets a component's health.
struct Health {
    sender: SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
}

impl Health {
    async fn of(scene: &Scene, path: &'static str) -> anyhow::Result<Self> {
        let address = scene.origin.strip_prefix("http://").context("not an http URL")?;
        let mut request = Request::new(Full::default());
        *request.uri_mut() = http::Uri::from_static(path);
        request.headers_mut().insert("host", HeaderValue::from_static("bench"));
        Ok(Self {
            sender: load::connect(address).await?,
            request,
        })
    }
}

impl Work for Health {
    async fn once(&mut self) -> anyhow::Result<()> {
        self.sender.ready().await?;
        let response = self.sender.send_request(self.request.clone()).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let body: Value = serde_json::from_slice(&body)?;
        ensure!(
            status.is_success() && body.get("status") == Some(&json!("healthy")),
            "the health is {status} {body}"
        );
        Ok(())
    }
}

/// Removes the agent, and with it all that belongs to it.
async fn remove_agent(database: &Client) -> anyhow::Result<()> {
    let statement = "DELETE FROM public.agents WHERE user_id = $1 AND name = $2";
    database.execute(statement, &[&demo::ADA.id, &AGENT]).await?;
    Ok(())
}

/// When Discord heard of the answers, of those of which it did.
fn times(all: &[Asked]) -> Vec<Duration> {
    let heard = all.iter().filter_map(|asked| asked.acknowledged);
    heard.map(|first| first.after).collect()
}

/// One line of a table of times.
fn show(name: &str, times: &mut [Duration]) {
    println!(
        "    {name:<36} {:>5} times   p50 {:>7.2} ms   p99 {:>7.2} ms   max {:>7.2} ms",
        times.len(),
        milliseconds(percentile(times, 0.5)),
        milliseconds(percentile(times, 0.99)),
        milliseconds(percentile(times, 1.0)),
    );
}

/// What the others' questions add.
fn ratio(alone: &mut [Duration], meanwhile: &mut [Duration]) {
    let mut ratio = |share| percentile(meanwhile, share).as_secs_f64() / percentile(alone, share).as_secs_f64();
    println!("    ratio p50 {:.2}, p99 {:.2}", ratio(0.5), ratio(0.99));
}

fn processor(throughput: &Throughput) -> String {
    throughput.processor.map_or_else(
        || "unknown".to_owned(),
        |time| format!("{:.0} µs", time.as_secs_f64() * 1e6),
    )
}

#[expect(clippy::disallowed_methods, reason = "a signature is as of the time of day")]
fn timestamp() -> anyhow::Result<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(now.as_secs().to_string())
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
