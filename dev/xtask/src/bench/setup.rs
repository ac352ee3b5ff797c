//! What is measured: a stack of its own, fast and without limits.

use std::time::Duration;

use agentopia_application::{
    Application, ApplicationOptions, Settings, Target, add_wasm_target, build, checkout, migrations,
};
use agentopia_host::{ComponentStatistics, LogSink, PoolMode};
use agentopia_stack::worlds::openai::{OpenAiOptions, OpenAiWorld};
use agentopia_stack::{Postgres, PostgresOptions, demo, migrate};

use crate::terminal::Terminal;
use crate::token;

/// How long each figure is measured.
pub(crate) const DURATION: Duration = Duration::from_secs(5);
/// A stream of the stand-in: so many deltas.
pub(crate) const DELTAS: u32 = 40;
/// One delta in this time.
pub(crate) const DELTA_INTERVAL: Duration = Duration::from_millis(10);

/// More per minute, and at once, than anything here asks for.
pub(crate) const NO_LIMIT: u32 = 100_000_000;

/// The application, its database and the model that it asks.
pub(crate) struct Bench {
    pub(crate) postgres: Postgres,
    pub(crate) openai: OpenAiWorld,
    pub(crate) application: Application,
    /// A demo user's token.
    pub(crate) token: String,
    settings: Settings,
}

impl Bench {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        add_wasm_target(&Terminal).await?;
        build(Target::Application, &Terminal).await?;

        let folder = checkout().join("target/bench-stack");
        let mut postgres = Postgres::start(
            PostgresOptions {
                fast: true,
                ..PostgresOptions::new(folder)
            },
            &Terminal,
        )
        .await?;
        migrate(postgres.admin_url(), &migrations(), &Terminal).await?;
        postgres.open_functions_login().await?;
        demo::load(postgres.admin_url()).await?;
        let openai = OpenAiWorld::start(OpenAiOptions {
            delta_interval: DELTA_INTERVAL,
            reply_deltas: Some(DELTAS as usize),
            ..OpenAiOptions::default()
        })
        .await?;
        let token = token::sign(demo::USERS[0].email, postgres.secrets())?;

        let mut settings = Settings::default();
        settings
            .database(&postgres.functions_url())?
            .openai(&openai.url(), "stand-in")?
            .set("jwt_secret", postgres.secrets().jwt_secret())
            .set("service_token", postgres.secrets().service_token())
            .set("credential_keyring", postgres.secrets().credential_keyring());
        for limit in [
            "chat_user_per_minute",
            "chat_user_burst",
            "chat_agent_per_minute",
            "chat_agent_burst",
            "heartbeats_per_minute",
            "heartbeats_burst",
            "credentials_per_minute",
            "credentials_burst",
        ] {
            settings.set(limit, NO_LIMIT.to_string());
        }
        let application = start(settings.clone()).await?;
        Ok(Self {
            postgres,
            openai,
            application,
            token,
            settings,
        })
    }

    /// Another application on the same database, with more settings.
    pub(crate) async fn start_another(&self, more: &[(&str, &str)]) -> anyhow::Result<Application> {
        let mut settings = self.settings.clone();
        for (name, value) in more {
            settings.set(name, *value);
        }
        start(settings).await
    }

    /// What `component` has done since the application started, if it runs on our host.
    pub(crate) fn statistics(&self, component: &str) -> Option<ComponentStatistics> {
        let statistics = self.application.statistics()?;
        Some(statistics.components.get(component).copied().unwrap_or_default())
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.application.stop().await;
        self.openai.stop().await;
        self.postgres.stop().await?;
        Ok(())
    }
}

async fn start(settings: Settings) -> anyhow::Result<Application> {
    let options = ApplicationOptions {
        logs: LogSink::File(checkout().join("target/bench-logs")),
        pool: pool(),
        ..ApplicationOptions::new(settings)
    };
    Application::start(options).await
}

/// `AGENTOPIA_POOL=spin` measures with the database pool as Spin has it.
fn pool() -> PoolMode {
    match std::env::var_os("AGENTOPIA_POOL") {
        Some(pool) if pool == "spin" => PoolMode::Spin,
        _ => PoolMode::Isolated,
    }
}
