//! What the sweep costs over many toolboxes of which few are due, and how its statements are planned.

use std::time::{Duration, Instant};

use agentopia_application::Application;
use agentopia_domain::ids::UserId;
use agentopia_domain::secrets::{AlertWebhookContext, Keyring};
use agentopia_stack::worlds::{DiscordOptions, DiscordWorld};
use anyhow::{Context, ensure};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio_postgres::Client;
use uuid::Uuid;

use super::credentials::nonce;
use super::load::{connect as connect_http, percentile, post};
use super::plans::{self, Scan};
use super::setup::Bench;
use super::statement::{self, connect};
use super::toolboxes;

const TOOLBOXES: i32 = 100_000;
const OWNERS: u32 = 1_000;
/// One of each owner's.
const OVERDUE: i32 = 1_000;
/// Silent for long already.
const TO_BE_REMINDED: i32 = 100;
/// Sweeps that find nothing.
const IDLE_SWEEPS: usize = 21;
const TABLE: &str = "account_tool_environments";

const JUST_NOW: &str = "UPDATE app.sweep_state SET swept_at = clock_timestamp(), pruned_at = clock_timestamp()";
const LONG_AGO: &str = "UPDATE app.sweep_state SET swept_at = clock_timestamp() - interval '1 hour'";

/// From which share of those that speak on a silence is one of many: never here, and always.
const SHARES: [(&str, u32); 2] = [("an alert to each owner", 50), ("one alert to the operator", 1)];

/// An owner of toolboxes, and where it is told.
struct Owner {
    id: Uuid,
    webhook_id: String,
    webhook_sealed: String,
}

pub(crate) async fn measure(bench: &Bench) -> anyhow::Result<()> {
    println!(
        "\nsweep: {TOOLBOXES} toolboxes of {OWNERS} owners, {OVERDUE} of them overdue, {TO_BE_REMINDED} silent ones to be reminded of"
    );
    let database = connect(bench.postgres.admin_url()).await?;
    let discord = DiscordWorld::start(DiscordOptions::default()).await?;
    let owners = owners(&discord, bench)?;

    fill(&database, &owners).await?;
    let by_index = explain(bench).await?;
    for (whom, percent) in SHARES {
        time(bench, &database, &discord, &owners, whom, percent).await?;
    }
    toolboxes::clear(&database).await?;
    discord.stop().await;
    ensure!(
        by_index,
        "a statement of the sweep reads {TABLE} from end to end: see above"
    );
    Ok(())
}

/// Measures one sweep that has something to do, and those after it.
async fn time(
    bench: &Bench,
    database: &Client,
    discord: &DiscordWorld,
    owners: &[Owner],
    whom: &str,
    percent: u32,
) -> anyhow::Result<()> {
    let application = bench
        .start_another(&[
            ("discord_origin", &discord.origin()),
            ("alert_webhook_url", &discord.create_webhook()?.url),
            ("alerts_mass_percent", &percent.to_string()),
            ("alerts_settle_seconds", "0"),
        ])
        .await?;
    let token = bench.postgres.secrets().service_token();
    // Instance and connection are there when it counts.
    toolboxes::clear(database).await?;
    sweep(&application, token).await?;
    fill(database, owners).await?;
    database.batch_execute(JUST_NOW).await?;

    let operation = operation(bench, percent).await?;
    let (took, swept) = sweep(&application, token).await?;
    ensure!(
        is(&swept, "/toolboxes/silent", &json!(OVERDUE))
            && is(&swept, "/toolboxes/reminded", &json!(TO_BE_REMINDED))
            && is(&swept, "/toolboxes/is_mass", &json!(percent == 1)),
        "the sweep did something else: {swept}"
    );
    println!(
        "  flips {OVERDUE}, {whom:<26} {:>7.1} ms, of which the operation {:.1} ms; alerts raised {}, sent {}",
        milliseconds(took),
        milliseconds(operation),
        swept.pointer("/toolboxes/alerts").unwrap_or(&Value::Null),
        swept.pointer("/alerts").unwrap_or(&Value::Null),
    );

    database.batch_execute("TRUNCATE app.jobs").await?;
    let mut times = Vec::new();
    for _ in 0..IDLE_SWEEPS {
        let (took, swept) = sweep(&application, token).await?;
        ensure!(
            is(&swept, "/toolboxes/silent", &json!(0)) && is(&swept, "/alerts", &json!(0)),
            "a sweep found something: {swept}"
        );
        times.push(took);
    }
    println!(
        "  finds nothing, {IDLE_SWEEPS} times{:>19} {:>7.1} ms p50, {:.1} ms at most",
        "",
        milliseconds(percentile(&mut times, 0.5)),
        milliseconds(percentile(&mut times, 1.0)),
    );
    application.stop().await;
    Ok(())
}

fn is(swept: &Value, path: &str, expected: &Value) -> bool {
    swept.pointer(path) == Some(expected)
}

/// The operation alone, taken back.
async fn operation(bench: &Bench, percent: u32) -> anyhow::Result<Duration> {
    let database = connect(&bench.postgres.functions_url()).await?;
    let statement = database.prepare(&statement::call("sweep_toolboxes")).await?;
    let (caller, input) = (statement::service("heartbeat").to_string(), input(percent).to_string());

    database.batch_execute("BEGIN").await?;
    let began = Instant::now();
    let row = database.query_one(&statement, &[&caller, &input]).await?;
    let took = began.elapsed();
    database.batch_execute("ROLLBACK").await?;

    let swept: Value = serde_json::from_str(row.get(0))?;
    ensure!(
        is(&swept, "/silent", &json!(OVERDUE)),
        "the operation did something else: {swept}"
    );
    Ok(took)
}

fn input(percent: u32) -> Value {
    json!({
        "limit": 10_000, "late_after_seconds": 300, "settle_seconds": 0, "mass_minimum": 10, "mass_percent": percent,
        "remind_after_seconds": 86_400, "has_operator": true,
    })
}

/// Asks for a sweep.
async fn sweep(application: &Application, token: &str) -> anyhow::Result<(Duration, Value)> {
    let address = application.url().strip_prefix("http://").context("not an http URL")?;
    let mut sender = connect_http(address).await?;
    let request = post("/functions/v1/heartbeat/sweep", token, &json!({}))?;

    let began = Instant::now();
    let response = sender.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    let took = began.elapsed();

    ensure!(
        status.is_success(),
        "answered {status}: {}",
        String::from_utf8_lossy(&body)
    );
    Ok((took, serde_json::from_slice(&body)?))
}

/// Prints how the statements within the sweep read toolboxes; says whether all of them do so by an index.
async fn explain(bench: &Bench) -> anyhow::Result<bool> {
    let mut by_index = true;
    let cases = [
        ("on time, an alert to each owner", JUST_NOW, 50),
        ("on time, one alert to the operator", JUST_NOW, 1),
        ("late", LONG_AGO, 50),
    ];
    for (what, before, percent) in cases {
        println!("  plans of a sweep that comes {what}");
        let caller = statement::service("heartbeat");
        let url = bench.postgres.admin_url();
        let scans = plans::scans(url, before, "sweep_toolboxes", &caller, &input(percent), TABLE).await?;
        ensure!(!scans.is_empty(), "no statement reads {TABLE}: the plans were not told");
        for Scan {
            statement,
            node,
            times,
            rows,
        } in &scans
        {
            println!("    {times:>5} × {statement}\n            {node}, {rows} rows");
        }
        by_index &= !scans.iter().any(Scan::is_sequential);
    }
    println!(
        "  sequential scan over {TABLE}: {}",
        if by_index { "none" } else { "there is one" }
    );
    Ok(by_index)
}

/// Owners that are told by webhooks of their own.
fn owners(discord: &DiscordWorld, bench: &Bench) -> anyhow::Result<Vec<Owner>> {
    let keyring = Keyring::parse(bench.postgres.secrets().credential_keyring())?;
    let owner = |number: u32| {
        let id = Uuid::from_u128(0x0000_0000_0000_4000_b000_0000_0000_0000 + u128::from(number));
        let webhook = discord.create_webhook()?;
        let for_whom = AlertWebhookContext { user_id: UserId(id) };
        Ok(Owner {
            id,
            webhook_id: webhook.id.to_string(),
            webhook_sealed: keyring.seal(&for_whom, webhook.url.as_bytes(), nonce()?)?,
        })
    };
    (0..OWNERS).map(owner).collect()
}

/// Makes the toolboxes anew, in no order, as they are after a while: each speaks once a minute and is silent after three.
async fn fill(database: &Client, owners: &[Owner]) -> anyhow::Result<()> {
    toolboxes::clear(database).await?;
    let ids: Vec<Uuid> = owners.iter().map(|owner| owner.id).collect();
    let webhook_ids: Vec<&str> = owners.iter().map(|owner| owner.webhook_id.as_str()).collect();
    let sealed: Vec<&str> = owners.iter().map(|owner| owner.webhook_sealed.as_str()).collect();

    // Without what is done for each row that somebody makes.
    database.batch_execute("SET session_replication_role = replica").await?;
    database
        .execute(
            "INSERT INTO auth.users (id, email)
             SELECT owner.id, owner.id || '@benchmark.example.com'
             FROM unnest($1::uuid[]) AS owner (id)
             ON CONFLICT (id) DO NOTHING",
            &[&ids],
        )
        .await?;
    database
        .execute(
            "INSERT INTO app.alert_destinations (user_id, webhook_sealed, key_id, webhook_id)
             SELECT owner.id, owner.sealed, 'benchmark', owner.webhook_id
             FROM unnest($1::uuid[], $2::text[], $3::text[]) AS owner (id, sealed, webhook_id)",
            &[&ids, &sealed, &webhook_ids],
        )
        .await?;
    // The times of those that speak are two minutes wide, and no measurement comes near them.
    database
        .execute(
            "INSERT INTO public.account_tool_environments (
                 user_id, name, status, region_slug, size_slug, token_hash, last_heartbeat_at, dtma_last_known_version,
                 alert_after, remind_after
             )
             SELECT
                 ($1::uuid[])[1 + box.number % cardinality($1)],
                 'Toolbox ' || box.number,
                 CASE WHEN box.is_silent THEN 'unresponsive' ELSE 'active' END,
                 'fra1',
                 's-1vcpu-1gb',
                 sha256(box.number::text::bytea),
                 now(),
                 '1.0.0',
                 CASE
                     WHEN box.is_silent THEN NULL
                     WHEN box.number <= $3 THEN now() - random() * interval '1 minute'
                     ELSE now() + interval '1 hour' + random() * interval '2 minutes'
                 END,
                 CASE WHEN box.is_silent THEN now() - random() * interval '1 minute' END
             FROM (
                 SELECT number, number > $3 AND number <= $3 + $4 AS is_silent
                 FROM generate_series(1, $2) AS number
                 ORDER BY random()
             ) AS box",
            &[&ids, &TOOLBOXES, &OVERDUE, &TO_BE_REMINDED],
        )
        .await?;
    database
        .batch_execute(
            "INSERT INTO app.toolbox_flips (toolbox_id, user_id, toolbox_name, direction, at, processed_at)
             SELECT id, user_id, name, 'silent', now() - interval '1 day', now() - interval '1 day'
             FROM public.account_tool_environments
             WHERE status = 'unresponsive'",
        )
        .await?;
    database.batch_execute("RESET session_replication_role").await?;
    toolboxes::analyze(database).await
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
