//! A guild on the stand-in for Discord, with an application whose bot can be connected, and somebody in it who does what is asked over HTTP.
//!
//! | Route | Does |
//! |---|---|
//! | `GET /` | tells what an agent's owner has from Discord's developer portal, and where the bot is |
//! | `POST /validate` | does what Discord does when the owner saves the application's URL for interactions |
//! | `POST /use` | uses a command, `{"command", "options": {…}}`, or one of a message's menu, `{"command", "message"}`, and tells what is to be seen |

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use agentopia_stack::demo;
use agentopia_stack::worlds::DiscordWorld;
use agentopia_stack::worlds::discord::{Application, Bot, Guild, Interaction, Person, VisibleMessage};
use anyhow::Context as _;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// The file in the data folder that says where the routes are.
pub(crate) const FILE: &str = "discord-stand-in.url";

/// How long an answer may be waited for; an interaction's token lives no longer.
const ANSWER_LIMIT: Duration = Duration::from_secs(15 * 60);

/// How often it is looked whether there is one.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The guild, what is in it, and the routes.
pub(super) struct People {
    scene: Arc<Scene>,
    open: Option<Open>,
}

/// Routes that are served.
struct Open {
    url: String,
    file: PathBuf,
    server: AbortHandle,
}

struct Scene {
    discord: DiscordWorld,
    application: Application,
    bot: Bot,
    guild: Guild,
    person: Person,
}

impl People {
    /// Makes the guild and all that is in it.
    pub(super) fn new(discord: DiscordWorld) -> anyhow::Result<Self> {
        let application = discord.create_application()?;
        let bot = discord.create_bot(&application)?;
        let guild = discord.create_guild("Stand-in");
        discord.add_to_guild(application.id, guild.id);
        let person = discord.create_person(&guild, "Robin").who_may(Person::MANAGE_GUILD);
        let scene = Scene {
            discord,
            application,
            bot,
            guild,
            person,
        };
        Ok(Self {
            scene: Arc::new(scene),
            open: None,
        })
    }

    pub(super) fn discord(&self) -> &DiscordWorld {
        &self.scene.discord
    }

    /// The ids of the guild, of its channel, and of who is in it.
    pub(super) fn whereabouts(&self) -> (String, String, String) {
        let Scene { guild, person, .. } = &*self.scene;
        (guild.id.to_string(), guild.general.to_string(), person.id.to_string())
    }

    /// Serves the routes for the application at `url`.
    pub(super) async fn open(&mut self, url: &str, data: &Path) -> anyhow::Result<()> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let own = format!("http://{}", listener.local_addr()?);
        let play = Play {
            scene: Arc::clone(&self.scene),
            interactions_url: format!("{url}/functions/v1/discord-interaction-handler"),
        };
        let router = Router::new()
            .route("/", get(show))
            .route("/validate", post(validate))
            .route("/use", post(use_command))
            .with_state(play);
        let file = data.join(FILE);
        fs::write(&file, &own).with_context(|| format!("{} cannot be written", file.display()))?;
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        self.open = Some(Open {
            url: own,
            file,
            server: server.abort_handle(),
        });
        Ok(())
    }

    /// Says what there is to try.
    pub(super) fn introduce(&self, url: &str) {
        let Scene {
            application,
            bot,
            guild,
            ..
        } = &*self.scene;
        println!(
            "Discord is a stand-in too. Its guild {} has a bot that can be connected to an agent:",
            guild.id
        );
        println!(
            "  PUT {url}/functions/v1/manage-discord-worker/agents/{}/connection",
            demo::ATLAS
        );
        println!(
            "  {{\"application_id\":\"{}\",\"public_key\":\"{}\",\"bot_token\":\"{}\"}}",
            application.id, application.public_key, bot.token
        );
        println!("It plays the bot's life with you: cargo xtask demo discord");
        if let Some(open) = &self.open {
            println!(
                "Once the guild is enabled and the commands are registered (docs/API.md), somebody in it uses one by"
            );
            println!(
                "  curl {}/use -H 'Content-Type: application/json' -d '{{\"command\":\"ask\",\"options\":{{\"agent\":\"{}\",\"question\":\"Hello!\"}}}}'",
                open.url,
                demo::ATLAS
            );
        }
    }

    /// Ends it all.
    pub(super) async fn stop(self) {
        if let Some(open) = self.open {
            open.server.abort();
            if let Err(error) = fs::remove_file(&open.file) {
                eprintln!("{} is left: {error}", open.file.display());
            }
        }
        if let Some(scene) = Arc::into_inner(self.scene) {
            scene.discord.stop().await;
        }
    }
}

/// What the routes work with.
#[derive(Clone)]
struct Play {
    scene: Arc<Scene>,
    interactions_url: String,
}

/// `GET /`
async fn show(State(play): State<Play>) -> Json<Value> {
    let scene = &play.scene;
    Json(json!({
        "application_id": scene.application.id.to_string(),
        "public_key": scene.application.public_key,
        "bot_token": scene.bot.token,
        "bot_user_id": scene.bot.user_id.to_string(),
        "guild_id": scene.guild.id.to_string(),
        "channel_id": scene.guild.general.to_string(),
        "interactions_url": play.interactions_url,
    }))
}

/// `POST /validate`
async fn validate(State(play): State<Play>) -> (StatusCode, Json<Value>) {
    match play.scene.application.validate_endpoint(&play.interactions_url).await {
        Ok(()) => (StatusCode::OK, Json(json!({ "accepted": true }))),
        Err(error) => refuse(&error),
    }
}

/// A command, and what is filled in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UseCommand {
    command: String,
    #[serde(default)]
    options: Map<String, Value>,
    /// The text of the message from whose menu it is used.
    message: Option<String>,
}

/// `POST /use`
async fn use_command(State(play): State<Play>, Json(wanted): Json<UseCommand>) -> (StatusCode, Json<Value>) {
    let Scene {
        discord,
        application,
        person,
        ..
    } = &*play.scene;
    let options = wanted.options.iter();
    let options: Vec<_> = options.map(|(name, value)| (name.as_str(), value.clone())).collect();
    let interaction = match &wanted.message {
        Some(text) => discord.use_message_command(application, person, &wanted.command, text),
        None => discord.use_command(application, person, &wanted.command, &options),
    };
    let delivered = match interaction {
        Ok(interaction) => deliver(&play, interaction).await,
        Err(error) => Err(error),
    };
    match delivered {
        Ok(seen) => (StatusCode::OK, Json(seen)),
        Err(error) => refuse(&error),
    }
}

/// Delivers an interaction, and waits for its answer.
async fn deliver(play: &Play, interaction: Interaction) -> Result<Value, agentopia_stack::StackError> {
    let Scene {
        discord, application, ..
    } = &*play.scene;
    let began = Instant::now();
    discord
        .deliver(application, &play.interactions_url, &interaction)
        .await?;
    let is_thinking = || {
        discord
            .visible(interaction.id)
            .iter()
            .any(|message| message.is_thinking)
    };
    while is_thinking() && began.elapsed() < ANSWER_LIMIT {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let messages: Vec<_> = discord.visible(interaction.id).iter().map(describe).collect();
    Ok(json!({ "messages": messages, "did_not_respond": discord.has_failed(interaction.id) }))
}

fn describe(message: &VisibleMessage) -> Value {
    json!({
        "content": message.content,
        "ephemeral": message.is_ephemeral,
        "thinking": message.is_thinking,
        "file": message.file,
    })
}

fn refuse(error: &agentopia_stack::StackError) -> (StatusCode, Json<Value>) {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error.to_string() })))
}
