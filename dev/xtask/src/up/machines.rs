//! Where `up` gets machines from, and where alerts about them go.

use agentopia_application::Settings;
use agentopia_stack::Progress as _;
use agentopia_stack::worlds::digitalocean::Boot;
use agentopia_stack::worlds::discord::Webhook;
use agentopia_stack::worlds::toolbox_agents::{Pace, Plays};
use agentopia_stack::worlds::{
    DigitalOceanOptions, DigitalOceanWorld, DiscordWorld, ToolboxAgentsOptions, ToolboxAgentsWorld,
};
use std::time::{Duration, SystemTime};

use super::variable;
use crate::terminal::Terminal;

/// About a tenth of what a real droplet takes.
const BOOT: Duration = Duration::from_secs(5);

/// Whoever tries something out does not want to wait longer for a machine to hear of it.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// What stands in for DigitalOcean and what runs on its machines, with a webhook where Discord is a stand-in.
pub(super) struct StandIns {
    digitalocean: DigitalOceanWorld,
    toolbox_agents: ToolboxAgentsWorld,
    owners_webhook: Option<Webhook>,
}

/// Sets up the provider of the environment's token, or a stand-in. Alerts go to the stand-in for Discord, where there is one.
pub(super) async fn provider(
    settings: &mut Settings,
    discord: Option<&DiscordWorld>,
) -> anyhow::Result<Option<StandIns>> {
    let public_url = variable("PUBLIC_URL");
    if let Some(url) = &public_url {
        settings.set("public_url", url.trim_end_matches('/'));
    }
    match discord {
        Some(discord) => {
            settings.set("alert_webhook_url", discord.create_webhook()?.url);
        }
        None => {
            if let Some(url) = variable("ALERT_WEBHOOK_URL") {
                settings.set("alert_webhook_url", url);
            }
        }
    }
    if let Some(token) = variable("DIGITALOCEAN_TOKEN") {
        settings.set("digitalocean_token", token);
        if public_url.is_none() {
            Terminal.step("DigitalOcean: no PUBLIC_URL, so that machines will not reach this application");
        }
        return Ok(None);
    }

    Terminal.step("DigitalOcean: no DIGITALOCEAN_TOKEN, starting a stand-in");
    let digitalocean = DigitalOceanWorld::start(DigitalOceanOptions {
        boot: Boot::After(BOOT),
        first_id: first_id(),
        ..DigitalOceanOptions::default()
    })
    .await?;
    let toolbox_agents = ToolboxAgentsOptions {
        pace: Pace::AsTold { at_most: REPORT_EVERY },
        plays: Plays::All,
    };
    let toolbox_agents = ToolboxAgentsWorld::start(&digitalocean, toolbox_agents).await?;
    settings
        .set("digitalocean_origin", digitalocean.origin())
        .set("digitalocean_token", digitalocean.token());
    Ok(Some(StandIns {
        owners_webhook: discord.map(DiscordWorld::create_webhook).transpose()?,
        digitalocean,
        toolbox_agents,
    }))
}

/// A number that no droplet of an earlier run has: the database remembers those.
#[expect(
    clippy::disallowed_methods,
    reason = "a tool of the developer's machine, which is the edge itself"
)]
fn first_id() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(1, |elapsed| elapsed.as_secs())
}

impl StandIns {
    /// Says that machines are none.
    pub(super) fn introduce(&self) {
        println!(
            "There is no DIGITALOCEAN_TOKEN, so that machines are a stand-in's, on which a stand-in for the agent runs."
        );
        println!("It plays a toolbox's life with you: cargo xtask demo toolbox");
        if let Some(webhook) = &self.owners_webhook {
            println!(
                "Alerts go to a stand-in for Discord, which has a webhook for you: {}",
                webhook.url
            );
        }
    }

    /// Ends them.
    pub(super) async fn stop(self) {
        self.toolbox_agents.stop().await;
        self.digitalocean.stop().await;
    }
}
