//! Where `up` finds Discord, and who runs bots' workers.

mod people;

use std::path::Path;
use std::time::Duration;

use agentopia_application::Settings;
use agentopia_stack::Progress as _;
use agentopia_stack::demo;
use agentopia_stack::worlds::worker_manager::Pace;
use agentopia_stack::worlds::{DiscordOptions, DiscordWorld, WorkerManagerOptions, WorkerManagerWorld};
use anyhow::bail;

use super::variable;
use crate::terminal::Terminal;
use people::People;

pub(crate) use people::FILE;

/// About what a real worker takes.
const LOGIN: Duration = Duration::from_secs(1);

/// Whoever tries something out does not want to wait longer until a worker hears that it is to stop.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What stands in for Discord and for the worker manager.
pub(super) struct StandIns {
    people: Option<People>,
    manager: Option<WorkerManagerWorld>,
}

/// Sets up the Discord and the worker manager of the environment, or stand-ins. Whoever has real machines or real workers has the real Discord.
pub(super) async fn provider(settings: &mut Settings) -> anyhow::Result<StandIns> {
    let (url, token) = (variable("WORKER_MANAGER_URL"), variable("WORKER_MANAGER_TOKEN"));
    let is_real = token.is_some() || variable("DIGITALOCEAN_TOKEN").is_some();
    let people = match variable("DISCORD_ORIGIN") {
        Some(origin) => {
            settings.set("discord_origin", origin.trim_end_matches('/'));
            None
        }
        None if is_real => None,
        None => {
            Terminal
                .step("Discord: neither a DISCORD_ORIGIN nor anything that needs the real one, starting a stand-in");
            let world = DiscordWorld::start(DiscordOptions::default()).await?;
            settings.set("discord_origin", world.origin());
            Some(People::new(world)?)
        }
    };
    let manager = match (url, token) {
        (url, Some(token)) => {
            settings.set("worker_manager_token", token);
            if let Some(url) = url {
                settings.set("worker_manager_url", url.trim_end_matches('/'));
            }
            if variable("PUBLIC_URL").is_none() {
                Terminal.step(
                    "worker manager: no PUBLIC_URL, so that only workers on this machine will reach this application",
                );
            }
            None
        }
        (Some(_), None) => bail!("WORKER_MANAGER_URL is set, and WORKER_MANAGER_TOKEN is not"),
        (None, None) => {
            Terminal.step("worker manager: no WORKER_MANAGER_TOKEN, starting a stand-in, whose workers only play");
            let world = WorkerManagerWorld::start(WorkerManagerOptions {
                login_after: LOGIN,
                pace: Pace::AsTold { at_most: REPORT_EVERY },
                ..WorkerManagerOptions::default()
            })
            .await?;
            settings
                .set("worker_manager_url", world.url())
                .set("worker_manager_token", world.token());
            Some(world)
        }
    };
    Ok(StandIns { people, manager })
}

impl StandIns {
    /// The stand-in for Discord, if there is one.
    pub(super) fn discord(&self) -> Option<&DiscordWorld> {
        self.people.as_ref().map(People::discord)
    }

    /// Lets people on the stand-in for Discord use the application at `url`, and notes in the folder of `data` where they are told what to do.
    pub(super) async fn open(&mut self, url: &str, data: &Path) -> anyhow::Result<()> {
        match &mut self.people {
            Some(people) => people.open(url, data).await,
            None => Ok(()),
        }
    }

    /// Says what is none, and what to try with it.
    pub(super) fn introduce(&self, url: &str) {
        if let Some(people) = &self.people {
            people.introduce(url);
        }
        if let Some(manager) = &self.manager {
            println!(
                "There is no WORKER_MANAGER_TOKEN, so that bots' workers only play. One that is active hears a message by"
            );
            let (guild, channel, author) = self
                .people
                .as_ref()
                .map_or_else(|| ("…".to_owned(), "…".to_owned(), "…".to_owned()), People::whereabouts);
            println!(
                "  curl {}/workers/{}/say -d '{{\"guildId\":\"{guild}\",\"channelId\":\"{channel}\",\"authorId\":\"{author}\",\"message\":\"Hello!\"}}'",
                manager.url(),
                demo::ATLAS
            );
        }
    }

    /// Ends them.
    pub(super) async fn stop(self) {
        if let Some(manager) = self.manager {
            manager.stop().await;
        }
        if let Some(people) = self.people {
            people.stop().await;
        }
    }
}
