//! The stack under test: the application, its database, and the worlds around it.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agentopia_application::{Application, ApplicationOptions, Settings, checkout, manifest, migrations};
use agentopia_host::{LogSink, MemoryLog, PoolMode, Statistics};
use agentopia_stack::postgres::DATABASE;
use agentopia_stack::worlds::discord::Webhook;
use agentopia_stack::worlds::toolbox_agents::{Pace, Plays};
use agentopia_stack::worlds::{
    DigitalOceanOptions, DigitalOceanWorld, DiscordOptions, DiscordWorld, JwksWorld, OpenAiOptions, OpenAiWorld,
    ToolboxAgentsOptions, ToolboxAgentsWorld, WorkerManagerOptions, WorkerManagerWorld,
};
use agentopia_stack::{Postgres, PostgresOptions, Quiet, StackError, migrate};
use http::Method;
use serde_json::Value;
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::{Config, NoTls};

use crate::background;
use crate::database::{Database, Session};
use crate::logs::Logs;
use crate::request::Request;
use crate::tenants::{Tool, User};

/// The key by which the functions ask the model provider: a text that must not be in any log.
const OPENAI_KEY: &str = "sk-canary-of-the-model-provider";

/// The token by which the schedule asks for the sweep: the same.
const SERVICE_TOKEN: &str = "canary-of-the-service-token";

/// The keys that seal tenants' secrets: the same.
pub const KEYRING: &str = "tests-2026:Y2FuYXJ5LW9mLXRoZS1rZXktdGhhdC1zZWFscy1pdCE=";

/// The token by which the functions ask for machines: the same.
const DIGITALOCEAN_TOKEN: &str = "dop_v1_canary-of-the-machines";

/// The token by which the functions ask for bots' workers: the same.
const WORKER_MANAGER_TOKEN: &str = "canary-of-the-worker-manager";

/// What the token of every webhook begins with: the same.
const WEBHOOK_TOKENS: &str = "canary-of-a-webhook-";

/// How often toolboxes report, limits allowing.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// How many test runs may go on at once on one checkout.
const RUNS_AT_ONCE: u32 = 16;

/// A running application and what it works with.
#[derive(Debug)]
pub struct Stack {
    base: Arc<Base>,
    application: Application,
    logs: Logs,
}

/// What several applications may share.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) db: Database,
    pub(crate) jwks: JwksWorld,
    pub(crate) jwt_secret: String,
    openai: OpenAiWorld,
    digitalocean: DigitalOceanWorld,
    toolbox_agents: ToolboxAgentsWorld,
    discord: DiscordWorld,
    worker_manager: WorkerManagerWorld,
    operators_webhook: Webhook,
    /// The server ends with this; a process of its own ends it should we not come to it.
    postgres: Mutex<Postgres>,
    functions_url: String,
}

/// What of a committed transaction survives the death of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// Perhaps nothing, which is quick.
    None,
    /// All.
    Full,
}

/// How an application differs from the one that the tests share.
#[derive(Debug, Default)]
pub struct StackOptions {
    /// Values for variables of spin.toml.
    pub settings: Vec<(&'static str, String)>,
}

impl StackOptions {
    /// Sets a variable of spin.toml.
    #[must_use]
    pub fn set(mut self, name: &'static str, value: impl ToString) -> Self {
        self.settings.push((name, value.to_string()));
        self
    }
}

impl Stack {
    /// The stack that all tests of this process share.
    ///
    /// # Panics
    ///
    /// With a sentence, if it cannot be started.
    pub async fn shared() -> &'static Self {
        static SHARED: OnceCell<Stack> = OnceCell::const_new();
        SHARED
            .get_or_init(|| {
                background::run(async {
                    let base = Arc::new(Base::start("shared", Durability::None).await);
                    Self::start(base, StackOptions::default()).await
                })
            })
            .await
    }

    /// Another application on the shared database and worlds, set up otherwise, for one test.
    pub async fn beside_shared(options: StackOptions) -> Self {
        Self::shared().await.beside(options).await
    }

    /// Another application on this one's database and worlds, set up otherwise.
    pub async fn beside(&self, options: StackOptions) -> Self {
        background::run(Self::start(Arc::clone(&self.base), options)).await
    }

    /// A stack that shares nothing, for a test that breaks the database.
    pub async fn of_its_own(options: StackOptions) -> Self {
        background::run(async {
            let base = Arc::new(Base::start("own", Durability::Full).await);
            Self::start(base, options).await
        })
        .await
    }

    /// Ends the application as [`Stack::kill`] does, and starts another in its place, at the same address.
    ///
    /// # Panics
    ///
    /// With a sentence, if it cannot be started.
    pub async fn restart(self, options: StackOptions) -> Self {
        let base = Arc::clone(&self.base);
        let (_, port) = self.url().rsplit_once(':').unwrap();
        let port = port.parse().unwrap();
        self.kill().await;
        background::run(Self::start_at(port, base, options)).await
    }

    async fn start(base: Arc<Base>, options: StackOptions) -> Self {
        Self::start_at(0, base, options).await
    }

    /// Starts an application on a port; 0 for a free one.
    async fn start_at(port: u16, base: Arc<Base>, options: StackOptions) -> Self {
        require_components();
        let mut settings = Settings::default();
        settings
            .database(&base.functions_url)
            .unwrap()
            .openai(&base.openai.url(), OPENAI_KEY)
            .unwrap();
        settings
            .set("jwt_secret", &base.jwt_secret)
            .set("service_token", SERVICE_TOKEN)
            .set("credential_keyring", KEYRING)
            .set("supabase_origin", base.jwks.origin())
            .set("digitalocean_origin", base.digitalocean.origin())
            .set("digitalocean_token", DIGITALOCEAN_TOKEN)
            .set("discord_origin", base.discord.origin())
            .set("alert_webhook_url", &base.operators_webhook.url)
            .set("worker_manager_url", base.worker_manager.url())
            .set("worker_manager_token", WORKER_MANAGER_TOKEN)
            // Nothing is waited for in tests.
            .set("alerts_settle_seconds", "0");
        for (name, value) in options.settings {
            settings.set(name, value);
        }

        let mut application = ApplicationOptions::new(settings);
        application.pool = pool();
        application.port = port;
        let is_ours = application.runner == agentopia_application::Runner::Host;
        let logs = Logs(is_ours.then(Arc::<MemoryLog>::default));
        if let Some(log) = &logs.0 {
            application.logs = LogSink::Memory(Arc::clone(log));
        }
        let application = Application::start(application)
            .await
            .unwrap_or_else(|error| panic!("{error:#}"));

        Self {
            base,
            application,
            logs,
        }
    }

    /// Where the application serves, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> &str {
        self.application.url()
    }

    /// The database.
    #[must_use]
    pub fn db(&self) -> &Database {
        &self.base.db
    }

    /// The model provider.
    #[must_use]
    pub fn openai(&self) -> &OpenAiWorld {
        &self.base.openai
    }

    /// The provider of machines.
    #[must_use]
    pub fn digitalocean(&self) -> &DigitalOceanWorld {
        &self.base.digitalocean
    }

    /// What runs on machines: on those whose droplets a test has asked to be played, and on no others.
    #[must_use]
    pub fn toolbox_agents(&self) -> &ToolboxAgentsWorld {
        &self.base.toolbox_agents
    }

    /// Discord.
    #[must_use]
    pub fn discord(&self) -> &DiscordWorld {
        &self.base.discord
    }

    /// The manager of bots' workers, and the workers.
    #[must_use]
    pub fn worker_manager(&self) -> &WorkerManagerWorld {
        &self.base.worker_manager
    }

    /// The operator's webhook, to which alerts go that no owner takes.
    #[must_use]
    pub fn operators_webhook(&self) -> &Webhook {
        &self.base.operators_webhook
    }

    /// Supabase Auth's published keys.
    #[must_use]
    pub fn jwks(&self) -> &JwksWorld {
        &self.base.jwks
    }

    /// The secret that signs users' tokens with HS256.
    #[must_use]
    pub fn jwt_secret(&self) -> &str {
        &self.base.jwt_secret
    }

    /// The token by which the schedule asks for the sweep.
    #[must_use]
    pub fn service_token(&self) -> &'static str {
        SERVICE_TOKEN
    }

    /// Starts a component as its schedule would, and waits for its end; the schedules themselves do not run.
    ///
    /// # Errors
    ///
    /// If the component fails, or the application runs on Spin.
    pub async fn run_schedule(&self, component: &str) -> anyhow::Result<()> {
        self.application.run_schedule(component).await
    }

    /// The texts that must not be in any log.
    #[must_use]
    pub fn secrets(&self) -> [&str; 8] {
        let password = self.base.functions_url.split([':', '@']).nth(2).unwrap();
        let (_, key) = KEYRING.split_once(':').unwrap();
        [
            OPENAI_KEY,
            &self.base.jwt_secret,
            password,
            SERVICE_TOKEN,
            key,
            DIGITALOCEAN_TOKEN,
            WORKER_MANAGER_TOKEN,
            WEBHOOK_TOKENS,
        ]
    }

    /// The database's server, to break it.
    #[must_use]
    pub fn postgres(&self) -> &Mutex<Postgres> {
        &self.base.postgres
    }

    /// What our host counted; `None` on Spin.
    #[must_use]
    pub fn statistics(&self) -> Option<Statistics> {
        self.application.statistics()
    }

    /// All that a component logged; `None` on Spin, which keeps logs of its own.
    #[must_use]
    pub fn log(&self, component: &str) -> Option<Vec<String>> {
        self.logs.lines(component)
    }

    /// What a component logged about one request; `None` on Spin.
    #[must_use]
    pub fn request_log(&self, component: &str, request_id: &str) -> Option<Vec<Value>> {
        self.logs.of_request(component, request_id)
    }

    /// A new user, who is called Ada.
    pub async fn user(&self) -> User {
        self.user_named("Ada").await
    }

    /// A new user.
    pub async fn user_named(&self, name: &str) -> User {
        User::sign_up(Arc::clone(&self.base), name).await
    }

    /// A new tool of the catalog, which asks for these secrets and has these capabilities.
    pub async fn tool(&self, secrets: &Value, capabilities: &Value) -> Tool {
        Tool::add(&self.base, secrets, capabilities).await
    }

    /// The functions' own URL of the database.
    #[must_use]
    pub fn functions_database_url(&self) -> &str {
        &self.base.functions_url
    }

    /// A transaction in which row level security sees the user.
    pub async fn as_user(&self, user: &User) -> Session {
        self.db().session_of(user).await
    }

    /// A transaction in another role, with a token's claims.
    pub async fn as_role(&self, role: &str, claims: &Value) -> Session {
        self.db().session(role, claims).await
    }

    /// A request with any method.
    pub fn request(&self, method: Method, path: &str) -> Request {
        Request::new(method, &format!("{}{path}", self.url()))
    }

    /// A GET.
    pub fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    /// A POST.
    pub fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    /// Ends the application at once, requests in flight included, as the death of its process would.
    pub async fn kill(self) {
        self.application.kill().await;
    }
}

/// The owner's URL of the shared database.
pub async fn database_url() -> String {
    Stack::shared().await.db().url().to_owned()
}

impl Base {
    async fn start(name: &str, durability: Durability) -> Self {
        let mut postgres = start_postgres(name, durability).await;
        empty(postgres.admin_url()).await;
        migrate(postgres.admin_url(), &migrations(), &Quiet)
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        postgres.open_functions_login().await.unwrap();
        let digitalocean = DigitalOceanWorld::start(DigitalOceanOptions {
            token: DIGITALOCEAN_TOKEN.to_owned(),
            ..DigitalOceanOptions::default()
        });
        let discord = DiscordWorld::start(DiscordOptions {
            token_prefix: WEBHOOK_TOKENS.to_owned(),
            ..DiscordOptions::default()
        });
        let worker_manager = WorkerManagerWorld::start(WorkerManagerOptions {
            token: WORKER_MANAGER_TOKEN.to_owned(),
            ..WorkerManagerOptions::default()
        });
        let (digitalocean, discord) = (digitalocean.await.unwrap(), discord.await.unwrap());
        let toolbox_agents = ToolboxAgentsOptions {
            pace: Pace::Every(REPORT_EVERY),
            plays: Plays::Chosen,
        };

        Self {
            db: Database::new(postgres.admin_url()),
            jwks: JwksWorld::start(&[]).await.unwrap(),
            jwt_secret: postgres.secrets().jwt_secret().to_owned(),
            openai: OpenAiWorld::start(OpenAiOptions::default()).await.unwrap(),
            toolbox_agents: ToolboxAgentsWorld::start(&digitalocean, toolbox_agents).await.unwrap(),
            digitalocean,
            operators_webhook: discord.create_webhook().unwrap(),
            discord,
            worker_manager: worker_manager.await.unwrap(),
            functions_url: postgres.functions_url(),
            postgres: Mutex::new(postgres),
        }
    }
}

/// Starts a server in the first data folder that no other test run holds.
async fn start_postgres(name: &str, durability: Durability) -> Postgres {
    for run in 0..RUNS_AT_ONCE {
        let data = checkout().join(format!("target/test-stack/{name}-{run}"));
        let options = PostgresOptions {
            fast: durability == Durability::None,
            ..PostgresOptions::new(data)
        };
        match Postgres::start(options, &Quiet).await {
            Ok(postgres) => return postgres,
            Err(StackError::Busy(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("{RUNS_AT_ONCE} test runs are going on at once");
}

/// Makes the database anew: what an earlier run left must not matter.
async fn empty(admin_url: &str) {
    let mut config: Config = admin_url.parse().unwrap();
    let (client, connection) = config.dbname("postgres").connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    // Two statements: neither may stand in a transaction.
    client
        .batch_execute(&format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"))
        .await
        .unwrap();
    client
        .batch_execute(&format!("CREATE DATABASE {DATABASE}"))
        .await
        .unwrap();
}

/// How the host's database pool recycles connections: `AGENTOPIA_POOL=spin` makes it do as Spin does.
fn pool() -> PoolMode {
    match std::env::var_os("AGENTOPIA_POOL") {
        Some(mode) if mode == "spin" => PoolMode::Spin,
        Some(mode) if mode != "isolated" => panic!("AGENTOPIA_POOL is isolated or spin, not {}", mode.display()),
        _ => PoolMode::Isolated,
    }
}

/// The tests run what was built, and do not build it: it takes too long to do unasked.
fn require_components() {
    let manifest = fs::read_to_string(manifest()).unwrap();
    let sources = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("source = \"")?.strip_suffix('"'));
    let missing: Vec<PathBuf> = sources
        .map(|source| checkout().join(source))
        .filter(|path| !path.is_file())
        .collect();
    assert!(
        missing.is_empty(),
        "{missing:?} are missing: run `cargo xtask build` first"
    );
}
