//! The job of a toolbox's machine: look, let the domain say what is next, do it, write it.
//!
//! A second run does no harm: a machine is asked for only under an attempt that was recorded first, and looked up by its tag before another is;
//! destroying is repeated until the provider shows nothing. A machine without the toolbox's own tag is not touched.

use std::time::Duration;

use agentopia_clients::digitalocean::{DigitalOcean, DigitalOceanError, Droplet, NewDroplet};
use agentopia_domain::ids::{ToolboxId, UserId};
use agentopia_domain::toolbox::cloud_init::{self, CloudInit};
use agentopia_domain::toolbox::machine::{self, Attempt, BOOT_LIMIT, Machine, SETTLE, Step, Toolbox};
use agentopia_domain::toolbox::status::ToolboxStatus;
use agentopia_platform::bearer::BootstrapToken;
use agentopia_platform::db::OperationError;
use agentopia_platform::db::jobs::{self, Job, Settlement};
use agentopia_platform::db::machines::{self, Advanced, DesiredState, KnownMachine, KnownToolbox, MachineChange};
use agentopia_platform::log::Level;
use agentopia_platform::{RequestContext, random};
use uuid::Uuid;

use super::{Brake, LEASE, pause};
use crate::app::App;

/// Steps that are taken in one go. None needs more; a job that goes round in circles ends here and is looked at again.
const STEPS: usize = 6;
/// When a machine is looked at again that was just asked for, or just told to go.
const SOON: Duration = Duration::from_secs(10);
/// Without a provider's token.
const UNCONFIGURED: Duration = Duration::from_secs(60);

/// Why a job is left before its end.
#[derive(Debug, thiserror::Error)]
enum Hindered {
    #[error(transparent)]
    Database(#[from] OperationError),
    #[error(transparent)]
    Provider(#[from] DigitalOceanError),
    #[error("no token for DigitalOcean is configured")]
    Unconfigured,
}

/// Takes a machine as far as it goes for now.
pub(super) async fn work(app: &App, context: &RequestContext, job: &Job, brake: &Brake) -> Result<(), OperationError> {
    let Ok(toolbox_id) = job.key.parse::<ToolboxId>() else {
        context.line(Level::Error, "job_without_a_toolbox").emit();
        jobs::settle_job(&app.db, context, job, &Settlement::Done).await?;
        return Ok(());
    };
    let work = Work {
        app,
        context,
        job,
        toolbox_id,
    };
    if let Some(pause) = brake.pause() {
        return work.leave(Settlement::Untouched(pause), None).await;
    }

    match work.steps().await {
        Ok(()) => Ok(()),
        Err(hindered) => work.report(hindered, brake).await,
    }
}

struct Work<'a> {
    app: &'a App,
    context: &'a RequestContext,
    job: &'a Job,
    toolbox_id: ToolboxId,
}

impl Work<'_> {
    async fn steps(&self) -> Result<(), Hindered> {
        for _ in 0..STEPS {
            let known = machines::read_machine(&self.app.db, self.context, self.toolbox_id).await?;
            let Some(owner_id) = known.owner_id else {
                // Neither a toolbox nor an attempt is left.
                self.leave(Settlement::Done, None).await?;
                return Ok(());
            };
            let attempts: Vec<Attempt> = known.attempts.iter().map(Attempt::from).collect();
            if let Some(toolbox) = known.toolbox.as_ref().map(recorded)
                && machine::is_hopeless(&toolbox, &attempts, known.now)
            {
                // Even if the provider cannot be asked.
                self.fail(&known, machine::Failure::TooLong.to_string()).await?;
                return Ok(());
            }
            let Some(provider) = &self.app.machines.provider else {
                let is_wanted = known
                    .toolbox
                    .as_ref()
                    .map(recorded)
                    .is_some_and(|toolbox| toolbox.is_wanted);
                if !is_wanted && !known.was_attempted {
                    self.leave(Settlement::Done, Some(MachineChange::Gone)).await?;
                    return Ok(());
                }
                return Err(Hindered::Unconfigured);
            };
            let seen = self.look(provider, owner_id, &attempts).await?;
            let step = machine::next_step(
                known.toolbox.as_ref().map(recorded).as_ref(),
                &attempts,
                &seen,
                known.now,
            );
            if !self.take(provider, owner_id, &known, step).await? {
                return Ok(());
            }
        }
        self.leave(Settlement::Again(SOON), None).await?;
        Ok(())
    }

    /// The machines that are the toolbox's: by its tag, and by the numbers that were recorded, because a search may lag behind.
    async fn look(
        &self,
        provider: &DigitalOcean,
        owner_id: UserId,
        attempts: &[Attempt],
    ) -> Result<Vec<Machine>, DigitalOceanError> {
        let tag = self.app.machines.tags.toolbox(self.toolbox_id, owner_id);
        let mut droplets = provider.list_droplets_by_tag(self.context, &tag).await?;
        for id in attempts.iter().filter_map(|attempt| attempt.droplet_id) {
            if !droplets.iter().any(|droplet| droplet.id == id)
                && let Some(droplet) = provider.get_droplet(self.context, id).await?
            {
                droplets.push(droplet);
            }
        }

        let (own, foreign): (Vec<Droplet>, Vec<Droplet>) =
            droplets.into_iter().partition(|droplet| droplet.tags.contains(&tag));
        for droplet in foreign {
            self.context
                .line(Level::Warn, "foreign_machine_left_alone")
                .with("droplet", droplet.id)
                .with("toolbox", self.toolbox_id.to_string())
                .emit();
        }
        Ok(own.into_iter().map(|droplet| self.machine(droplet)).collect())
    }

    fn machine(&self, droplet: Droplet) -> Machine {
        Machine {
            droplet_id: droplet.id,
            attempt: self.app.machines.tags.attempt_in(&droplet.tags),
            address: droplet.public_ipv4,
            name: droplet.name,
        }
    }

    /// Takes a step. Whether to look for another at once.
    async fn take(
        &self,
        provider: &DigitalOcean,
        owner_id: UserId,
        known: &KnownMachine,
        step: Step,
    ) -> Result<bool, Hindered> {
        match step {
            Step::Settled => self.leave(Settlement::Done, None).await?,
            Step::Gone => self.leave(Settlement::Done, Some(MachineChange::Gone)).await?,
            Step::Wait(time) => {
                let nothing_hinders = MachineChange::Note { message: None };
                self.leave(Settlement::Again(time), Some(nothing_hinders)).await?;
            }
            Step::Fail(failure) => self.fail(known, failure.to_string()).await?,
            Step::Destroy(ids) => {
                for id in ids {
                    provider.delete_droplet(self.context, id).await?;
                    self.note("machine_destroyed", id);
                }
                self.leave(Settlement::Again(SOON), None).await?;
            }
            Step::Expire { attempt, droplet_id } => {
                let change = MachineChange::Expire { attempt_id: attempt };
                let expired = self.advance_to(&Settlement::Keep(LEASE), Some(&change)).await?;
                if expired.held && expired.applied {
                    provider.delete_droplet(self.context, droplet_id).await?;
                    self.note("machine_destroyed", droplet_id);
                }
                self.leave(Settlement::Again(SOON), None).await?;
            }
            Step::Adopt { attempt, machine } => {
                return Ok(self.adopt(attempt, &machine, Settlement::Keep(LEASE)).await?);
            }
            Step::NoteAddress { attempt, address } => {
                let change = MachineChange::Address {
                    attempt_id: attempt,
                    address,
                };
                return Ok(self.advance(&Settlement::Keep(LEASE), Some(&change)).await?);
            }
            Step::Create => match &known.toolbox {
                Some(toolbox) => self.create(provider, owner_id, toolbox, known).await?,
                None => self.leave(Settlement::Again(SOON), None).await?,
            },
        }
        Ok(false)
    }

    /// Records an attempt, and asks for its machine, once.
    async fn create(
        &self,
        provider: &DigitalOcean,
        owner_id: UserId,
        toolbox: &KnownToolbox,
        known: &KnownMachine,
    ) -> Result<(), Hindered> {
        let machines = &self.app.machines;
        let (attempt_id, token) = (random::uuid(), BootstrapToken::generate());
        let begin = MachineChange::BeginAttempt {
            attempt_id,
            bootstrap_token_hash: token.hash_hex(),
            boot_seconds: BOOT_LIMIT.as_secs(),
        };
        let advanced = self.advance_to(&Settlement::Keep(LEASE), Some(&begin)).await?;
        if !advanced.held {
            return Ok(());
        }
        if !advanced.applied {
            // Its owner has thought better of it.
            self.leave(Settlement::Again(Duration::ZERO), None).await?;
            return Ok(());
        }

        let user_data = cloud_init::user_data(&CloudInit {
            functions_url: &machines.functions_url,
            bootstrap_token: token.expose(),
            agent_image: &machines.agent_image,
            toolbox_id: self.toolbox_id,
            toolbox_name: toolbox.name.as_deref().unwrap_or_default(),
        });
        let tags = [
            machines.tags.common(),
            machines.tags.toolbox(self.toolbox_id, owner_id),
            machines.tags.attempt(attempt_id),
        ];
        let asked = NewDroplet {
            name: &hostname(owner_id, self.toolbox_id),
            region: &toolbox.region_slug,
            size: &toolbox.size_slug,
            image: &toolbox.image_slug,
            tags: &tags,
            ssh_keys: &machines.ssh_keys,
            user_data: &user_data,
        };
        match provider.create_droplet(self.context, &asked).await {
            Ok(droplet) => {
                self.note("machine_created", droplet.id);
                let machine = self.machine(droplet);
                self.adopt(attempt_id, &machine, Settlement::Again(SOON)).await?;
                Ok(())
            }
            Err(DigitalOceanError::Invalid { message }) => {
                self.fail(known, format!("The provider cannot make this machine: {message}"))
                    .await?;
                Ok(())
            }
            Err(error) => {
                if !error.is_ambiguous() {
                    let withdraw = MachineChange::WithdrawAttempt { attempt_id };
                    self.advance(&Settlement::Keep(LEASE), Some(&withdraw)).await?;
                }
                Err(error.into())
            }
        }
    }

    async fn adopt(&self, attempt: Uuid, machine: &Machine, then: Settlement) -> Result<bool, OperationError> {
        let change = MachineChange::Adopt {
            attempt_id: attempt,
            droplet_id: machine.droplet_id,
            droplet_name: &machine.name,
        };
        self.advance(&then, Some(&change)).await
    }

    /// There will be no machine. One that appears all the same is looked for once more.
    async fn fail(&self, known: &KnownMachine, message: String) -> Result<(), OperationError> {
        let change = known.toolbox.as_ref().map(|toolbox| MachineChange::Fail {
            message,
            provision_requested_at: toolbox.provision_requested_at,
        });
        self.leave(Settlement::Again(SETTLE), change).await
    }

    /// Tells the owner what hinders, and tries again later.
    async fn report(&self, hindered: Hindered, brake: &Brake) -> Result<(), OperationError> {
        let cause = hindered.to_string();
        let error = match hindered {
            // There is nothing to write it to.
            Hindered::Database(error) => return Err(error),
            Hindered::Provider(error) => Some(error),
            Hindered::Unconfigured => None,
        };
        let (after, message) = match &error {
            None => (
                UNCONFIGURED,
                "No provider of machines is configured. The platform's operator has to mend this.",
            ),
            Some(error) => (
                pause(self.job.attempts, error.failure()),
                match error {
                    DigitalOceanError::RateLimited { .. } => {
                        "The provider limits how much it is asked. It is tried again by itself."
                    }
                    DigitalOceanError::Unauthorized => {
                        "The provider does not accept the platform's account. Its operator has to mend this."
                    }
                    _ => "The provider does not answer as it should. It is tried again by itself.",
                },
            ),
        };
        let change = MachineChange::Note { message: Some(message) };
        self.context
            .line(Level::Warn, "machine_hindered")
            .with("toolbox", self.toolbox_id.to_string())
            .with("cause", cause.as_str())
            .emit();
        let settlement = if matches!(error, Some(DigitalOceanError::RateLimited { .. })) {
            brake.pull(after);
            Settlement::Paused { after, cause }
        } else {
            Settlement::Failed { after, cause }
        };
        self.leave(settlement, Some(change)).await
    }

    /// Writes the last step, and leaves the job.
    async fn leave(&self, settlement: Settlement, change: Option<MachineChange<'_>>) -> Result<(), OperationError> {
        self.advance(&settlement, change.as_ref()).await.map(|_| ())
    }

    /// Writes a step. Whether the lease still is.
    async fn advance(
        &self,
        settlement: &Settlement,
        change: Option<&MachineChange<'_>>,
    ) -> Result<bool, OperationError> {
        Ok(self.advance_to(settlement, change).await?.held)
    }

    /// Writes a step.
    async fn advance_to(
        &self,
        settlement: &Settlement,
        change: Option<&MachineChange<'_>>,
    ) -> Result<Advanced, OperationError> {
        machines::advance_machine(
            &self.app.db,
            self.context,
            self.toolbox_id,
            self.job,
            settlement,
            change,
        )
        .await
    }

    fn note(&self, event: &'static str, droplet: u64) {
        self.context
            .line(Level::Info, event)
            .with("droplet", droplet)
            .with("toolbox", self.toolbox_id.to_string())
            .emit();
    }
}

/// A toolbox as the domain judges it.
fn recorded(toolbox: &KnownToolbox) -> Toolbox {
    Toolbox {
        is_wanted: toolbox.desired_state != DesiredState::Deleted,
        is_provisioning: matches!(
            toolbox.status,
            ToolboxStatus::PendingProvision | ToolboxStatus::Provisioning | ToolboxStatus::AwaitingHeartbeat
        ),
        attempt: toolbox.attempt_id,
        has_address: toolbox.has_address,
        requested_at: toolbox.provision_requested_at,
        attempts_made: toolbox.attempts_made,
    }
}

/// A host name that tells an operator whose machine it is, as it always did.
fn hostname(owner_id: UserId, toolbox_id: ToolboxId) -> String {
    let begin = |id: Uuid| id.simple().to_string().chars().take(8).collect::<String>();
    format!("toolbox-{}-{}", begin(owner_id.0), begin(toolbox_id.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_after_owner_and_toolbox() {
        let name = hostname(UserId(Uuid::from_u128(1 << 96)), ToolboxId(Uuid::from_u128(2 << 96)));

        assert_eq!(name, "toolbox-00000001-00000002");
    }
}
