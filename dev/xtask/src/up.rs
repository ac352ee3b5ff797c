//! `cargo xtask up`: everything that the application needs, and the application.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use agentopia_application::{Application, ApplicationOptions, Settings, Target, add_wasm_target, build, migrations};
use agentopia_stack::postgres::FunctionsLogin;
use agentopia_stack::worlds::openai::{OpenAiOptions, OpenAiWorld};
use agentopia_stack::{Postgres, PostgresOptions, Progress, demo, migrate};
use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::terminal::Terminal;
use crate::{database, reseal, token};

mod discord;
mod machines;

pub(crate) use discord::FILE as DISCORD_STAND_IN_FILE;

const OPENAI: &str = "https://api.openai.com/v1";

/// Serves until Ctrl-C, SIGTERM or the end of the database, and stops what it started.
pub(crate) async fn up(port: u16, data: PathBuf, demo: bool) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Before minutes are spent on building.
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
        format!("port {port} of 127.0.0.1 is in use: stop what uses it, or choose another with --port")
    })?;

    let running = tokio::select! {
        running = Running::start(port, data, demo) => running?,
        _ = interrupt.recv() => bail!("interrupted before it served"),
        _ = terminate.recv() => bail!("terminated before it served"),
    };
    running.introduce()?;

    let died = running.postgres.died();
    let crash = tokio::select! {
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
        how = died => Some(how),
    };
    running.stop().await?;
    match crash {
        None => Ok(()),
        Some(how) => bail!("the database ended by itself: {how}"),
    }
}

/// All that was started.
struct Running {
    postgres: Postgres,
    openai: Option<OpenAiWorld>,
    discord: discord::StandIns,
    machines: Option<machines::StandIns>,
    application: Application,
}

impl Running {
    async fn start(port: u16, data: PathBuf, demo: bool) -> anyhow::Result<Self> {
        add_wasm_target(&Terminal).await?;
        build(Target::Application, &Terminal).await?;

        let mut options = PostgresOptions::new(data.clone());
        options.database_url = database::given_database_url();
        options.functions_database_url = database::given_functions_url();
        let mut postgres = Postgres::start(options, &Terminal).await?;
        let report = migrate(postgres.admin_url(), &migrations(), &Terminal).await?;
        Terminal.step(&format!("migrations: {report}"));
        if let FunctionsLogin::Owner(why) = postgres.open_functions_login().await? {
            Terminal.step(&format!(
                "Postgres: the functions log in as the owner, without row level security's protection ({why})"
            ));
        }
        let is_ours = postgres.pid().is_some();
        if demo || is_ours {
            demo::load(postgres.admin_url()).await?;
        }

        let mut settings = Settings::default();
        settings
            .database(&postgres.functions_url())?
            .set("jwt_secret", postgres.secrets().jwt_secret())
            .set("service_token", postgres.secrets().service_token())
            .set(
                "credential_keyring",
                reseal::given_keyring().unwrap_or_else(|| postgres.secrets().credential_keyring().to_owned()),
            );
        if !is_ours {
            supabase_tokens(&mut settings);
        }
        let openai = model_provider(&mut settings).await?;
        let mut discord = discord::provider(&mut settings).await?;
        let machines = machines::provider(&mut settings, discord.discord()).await?;

        Terminal.step("components: starting");
        let mut options = ApplicationOptions::new(settings);
        options.port = port;
        options.schedules = options.runner.runs_schedules().await?;
        if !options.schedules {
            Terminal.step("schedule: not running, since Spin has no cron trigger: spin plugins install trigger-cron");
        }
        let application = Application::start(options).await?;
        discord.open(application.url(), &data).await?;
        Ok(Self {
            postgres,
            openai,
            discord,
            machines,
            application,
        })
    }

    /// Says that it serves, and what to try.
    fn introduce(&self) -> anyhow::Result<()> {
        let url = self.application.url();
        println!("ready {url}");
        println!();
        if self.postgres.pid().is_none() {
            println!("The database is yours: call it with the token of one of its users.");
            return Ok(());
        }

        let user = demo::ADA;
        let token = token::sign(user.email, self.postgres.secrets())?;
        println!("Try it, as the demo user {}:", user.email);
        println!();
        println!("curl -N {url}/functions/v1/chat \\");
        println!("  -H 'Authorization: Bearer {token}' \\");
        println!("  -H 'Content-Type: application/json' -H 'Accept: text/event-stream' \\");
        println!(
            "  -d '{{\"agentId\":\"{}\",\"message\":\"Hello! Who are you?\"}}'",
            demo::ATLAS
        );
        println!();
        if self.openai.is_some() {
            println!("There is no OPENAI_API_KEY, so that a stand-in answers, and says so.");
        }
        if let Some(machines) = &self.machines {
            machines.introduce();
        }
        self.discord.introduce(url);
        println!(
            "More tokens: cargo xtask token <email>. The database: psql \"$(cargo xtask database-url)\". Ctrl-C stops everything."
        );
        Ok(())
    }

    async fn stop(self) -> anyhow::Result<()> {
        Terminal.step("stopping");
        self.application.stop().await;
        if let Some(openai) = self.openai {
            openai.stop().await;
        }
        if let Some(machines) = self.machines {
            machines.stop().await;
        }
        self.discord.stop().await;
        self.postgres.stop().await?;
        Ok(())
    }
}

/// Users of a given database have tokens of the Supabase project that it belongs to.
fn supabase_tokens(settings: &mut Settings) {
    if let Some(origin) = variable("SUPABASE_URL") {
        settings.set("supabase_origin", origin.trim_end_matches('/'));
    }
    if let Some(secret) = variable("SUPABASE_JWT_SECRET") {
        settings.set("jwt_secret", secret);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where `up` reads its environment")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The provider of the environment's key, or a stand-in that says that it is one.
async fn model_provider(settings: &mut Settings) -> anyhow::Result<Option<OpenAiWorld>> {
    if let Some(model) = variable("OPENAI_MODEL") {
        settings.set("openai_default_model", model);
    }
    match variable("OPENAI_API_KEY") {
        Some(key) => {
            settings.openai(variable("OPENAI_BASE_URL").as_deref().unwrap_or(OPENAI), &key)?;
            Ok(None)
        }
        None => {
            Terminal.step("OpenAI: no OPENAI_API_KEY, starting a stand-in");
            let world = OpenAiWorld::start(OpenAiOptions {
                announce: true,
                ..OpenAiOptions::default()
            })
            .await?;
            settings.openai(&world.url(), "stand-in")?;
            Ok(Some(world))
        }
    }
}
