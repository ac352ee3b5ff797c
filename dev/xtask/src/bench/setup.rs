//! What is measured: a stack of its own, fast and without limits.

use std::time::Duration;

use agentopia_application::{
    Application, ApplicationOptions, Settings, Target, add_wasm_target, build, checkout, migrations,
};
use agentopia_host::{LogSink, PoolMode};
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

const NO_LIMIT: &str = "100000000";

/// The application, its database and the model that it asks.
pub(crate) struct Bench {
    pub(crate) postgres: Postgres,
    pub(crate) openai: OpenAiWorld,
    pub(crate) application: Application,
    /// A demo user's token.
    pub(crate) token: String,
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
            .set("jwt_secret", postgres.secrets().jwt_secret());
        for limit in [
            "chat_user_per_minute",
            "chat_user_burst",
            "chat_agent_per_minute",
            "chat_agent_burst",
        ] {
            settings.set(limit, NO_LIMIT);
        }
        let options = ApplicationOptions {
            logs: LogSink::File(checkout().join("target/bench-logs")),
            pool: pool(),
            ..ApplicationOptions::new(settings)
        };
        let application = Application::start(options).await?;
        Ok(Self {
            postgres,
            openai,
            application,
            token,
        })
    }

    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.application.stop().await;
        self.openai.stop().await;
        self.postgres.stop().await?;
        Ok(())
    }
}

/// `AGENTOPIA_POOL=spin` measures with the database pool as Spin has it.
fn pool() -> PoolMode {
    match std::env::var_os("AGENTOPIA_POOL") {
        Some(pool) if pool == "spin" => PoolMode::Spin,
        _ => PoolMode::Isolated,
    }
}
