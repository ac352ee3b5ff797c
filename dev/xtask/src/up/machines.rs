//! Where `up` gets machines from, and where alerts about them go.

use agentopia_application::Settings;
use agentopia_stack::Progress as _;
use agentopia_stack::worlds::digitalocean::Boot;
use agentopia_stack::worlds::discord::Webhook;
use agentopia_stack::worlds::{DigitalOceanOptions, DigitalOceanWorld, DiscordOptions, DiscordWorld};
use std::time::Duration;

use super::variable;
use crate::terminal::Terminal;

/// About a tenth of what a real droplet takes.
const BOOT: Duration = Duration::from_secs(5);

/// What stands in for DigitalOcean, and for Discord as far as it is told of machines.
pub(super) struct StandIns {
    digitalocean: DigitalOceanWorld,
    discord: DiscordWorld,
    owners_webhook: Webhook,
}

/// Sets up the provider of the environment's token and the real Discord, or stand-ins for both.
pub(super) async fn provider(settings: &mut Settings) -> anyhow::Result<Option<StandIns>> {
    let public_url = variable("PUBLIC_URL");
    if let Some(url) = &public_url {
        settings.set("public_url", url.trim_end_matches('/'));
    }
    if let Some(token) = variable("DIGITALOCEAN_TOKEN") {
        settings.set("digitalocean_token", token);
        if let Some(url) = variable("ALERT_WEBHOOK_URL") {
            settings.set("alert_webhook_url", url);
        }
        if public_url.is_none() {
            Terminal.step("DigitalOcean: no PUBLIC_URL, so that machines will not reach this application");
        }
        return Ok(None);
    }

    Terminal.step("DigitalOcean: no DIGITALOCEAN_TOKEN, starting a stand-in, and one for Discord, where alerts go");
    let digitalocean = DigitalOceanWorld::start(DigitalOceanOptions {
        boot: Boot::After(BOOT),
        ..DigitalOceanOptions::default()
    })
    .await?;
    let discord = DiscordWorld::start(DiscordOptions::default()).await?;
    settings
        .set("digitalocean_origin", digitalocean.origin())
        .set("digitalocean_token", digitalocean.token())
        .set("discord_origin", discord.origin())
        .set("alert_webhook_url", discord.create_webhook()?.url);
    Ok(Some(StandIns {
        owners_webhook: discord.create_webhook()?,
        digitalocean,
        discord,
    }))
}

impl StandIns {
    /// Says that machines are none.
    pub(super) fn introduce(&self) {
        println!("There is no DIGITALOCEAN_TOKEN, so that machines are a stand-in's, and nothing runs on them.");
        println!(
            "Alerts go to a stand-in for Discord, which has a webhook for you: {}",
            self.owners_webhook.url
        );
    }

    /// Ends them.
    pub(super) async fn stop(self) {
        self.digitalocean.stop().await;
        self.discord.stop().await;
    }
}
