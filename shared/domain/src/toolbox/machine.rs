//! How a toolbox comes to have one machine, or none: a step at a time, from what is recorded and what the provider shows.
//!
//! The provider has no idempotency key, so making a machine is an *attempt*: it is recorded first and named in the machine's tags. What was made
//! without our hearing of it is found by its tag; what has not shown itself after [`SETTLE`] was not made. [`next_step`] has no memory: whoever
//! dies between two steps is followed by another who looks again. A droplet that does not bear the toolbox's tag is never touched, whatever the
//! records say.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::ids::{ToolboxId, UserId};

/// How long after an attempt began its machine may still appear: the longest call that asks for one, and the time until tags are searched.
pub const SETTLE: Duration = Duration::from_secs(90);
/// How long a machine may take from being asked for until it speaks.
pub const BOOT_LIMIT: Duration = Duration::from_secs(600);
/// How many attempts are made for one request of the owner.
pub const ATTEMPTS: u32 = 3;
/// How long it is tried altogether, a provider that fails included.
pub const PROVISION_LIMIT: Duration = Duration::from_secs(3600);

const LOOK_AGAIN: Duration = Duration::from_secs(10);
const CHECK_GONE: Duration = Duration::from_secs(5);

/// The tags of a deployment's machines.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tags {
    prefix: String,
}

/// What is recorded of a toolbox, as far as its machine goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Toolbox {
    /// Whether its owner wants there to be one: everything but deletion.
    pub is_wanted: bool,
    /// Whether a machine was asked for and has not been given up.
    pub is_provisioning: bool,
    /// The attempt whose machine is the toolbox's.
    pub attempt: Option<Uuid>,
    /// Whether its address is recorded.
    pub has_address: bool,
    /// When its owner last asked for a machine.
    pub requested_at: DateTime<Utc>,
    /// How many attempts were made since.
    pub attempts_made: u32,
}

/// An attempt of which a machine may exist.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// Its id, which is in the machine's tags.
    pub id: Uuid,
    /// When it was recorded, before the provider was asked.
    pub started_at: DateTime<Utc>,
    /// Its machine, once the provider has told.
    pub droplet_id: Option<u64>,
    /// When its machine must have spoken.
    pub boot_deadline: DateTime<Utc>,
}

/// A machine as the provider shows it. It bears the toolbox's tag.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Machine {
    /// The provider's id.
    pub droplet_id: u64,
    /// What the provider calls it.
    pub name: String,
    /// The attempt that its tags name.
    pub attempt: Option<Uuid>,
    /// Its public address, once it runs and has one.
    pub address: Option<std::net::Ipv4Addr>,
}

/// What to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing is left to do until the owner asks for something.
    Settled,
    /// Nothing is left of it: its record may go.
    Gone,
    /// Record an attempt, then ask the provider for a machine.
    Create,
    /// Record that this machine is the attempt's.
    Adopt {
        /// The attempt.
        attempt: Uuid,
        /// Its machine.
        machine: Machine,
    },
    /// Record the machine's address, and that it is to speak.
    NoteAddress {
        /// The attempt.
        attempt: Uuid,
        /// Its machine's address.
        address: std::net::Ipv4Addr,
    },
    /// Void what this machine could speak with, and then destroy it, unless it has spoken at the last moment. Look again.
    Expire {
        /// The attempt.
        attempt: Uuid,
        /// Its machine.
        droplet_id: u64,
    },
    /// Destroy these machines, and look again.
    Destroy(Vec<u64>),
    /// Record that there will be no machine.
    Fail(Failure),
    /// Look again after this long.
    Wait(Duration),
}

/// Why there will be no machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    /// It did not speak in time.
    #[error("The machine did not report within {} minutes of being started. It was destroyed; redeploy to try again.", BOOT_LIMIT.as_secs() / 60)]
    Silent,
    /// It is not there any more.
    #[error("The machine disappeared at the provider before it reported. Redeploy to try again.")]
    Vanished,
    /// The provider took every request for one, and none appeared.
    #[error("The provider did not make a machine in {ATTEMPTS} attempts. Redeploy to try again.")]
    NotMade,
    /// It was tried for too long.
    #[error("The provider could not be reached for too long. Redeploy to try again.")]
    TooLong,
}

impl Tags {
    /// The tags of the deployment that has this prefix.
    #[must_use]
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// What every machine of the deployment bears.
    #[must_use]
    pub fn common(&self) -> String {
        format!("{}:toolbox", self.prefix)
    }

    /// What binds a machine to its toolbox and its owner.
    #[must_use]
    pub fn toolbox(&self, toolbox: ToolboxId, owner: UserId) -> String {
        format!("{}:tb:{toolbox}:{owner}", self.prefix)
    }

    /// What names the attempt.
    #[must_use]
    pub fn attempt(&self, attempt: Uuid) -> String {
        format!("{}:attempt:{attempt}", self.prefix)
    }

    /// The attempt that a machine's tags name, if they name one.
    #[must_use]
    pub fn attempt_in(&self, tags: &[String]) -> Option<Uuid> {
        let mut named = tags.iter().filter_map(|tag| {
            let id = tag.strip_prefix(self.prefix.as_str())?.strip_prefix(":attempt:")?;
            Uuid::try_parse(id).ok()
        });
        let attempt = named.next()?;
        named.next().is_none().then_some(attempt)
    }
}

/// What to do next. `toolbox` is `None` when it is gone, owner and all; `attempts` are those that have not ended; `machines` bear the toolbox's
/// tag.
#[must_use]
pub fn next_step(toolbox: Option<&Toolbox>, attempts: &[Attempt], machines: &[Machine], now: DateTime<Utc>) -> Step {
    match toolbox.filter(|toolbox| toolbox.is_wanted) {
        Some(toolbox) => towards_one(toolbox, attempts, machines, now),
        None => towards_none(attempts, machines, now),
    }
}

fn towards_none(attempts: &[Attempt], machines: &[Machine], now: DateTime<Utc>) -> Step {
    if !machines.is_empty() {
        return Step::Destroy(ids(machines));
    }
    match attempts.iter().filter_map(|attempt| unsettled(attempt, now)).max() {
        Some(pause) => Step::Wait(pause),
        None => Step::Gone,
    }
}

fn towards_one(toolbox: &Toolbox, attempts: &[Attempt], machines: &[Machine], now: DateTime<Utc>) -> Step {
    let (mut own, mut surplus): (Vec<Machine>, Vec<Machine>) = machines
        .iter()
        .cloned()
        .partition(|machine| machine.attempt.is_some() && machine.attempt == toolbox.attempt);
    // One attempt asks once; should there be two all the same, the older is the one that may have been adopted.
    own.sort_by_key(|machine| machine.droplet_id);
    let machine = if own.is_empty() { None } else { Some(own.remove(0)) };
    surplus.extend(own);
    if !surplus.is_empty() {
        return Step::Destroy(ids(&surplus));
    }
    let attempt = toolbox
        .attempt
        .and_then(|id| attempts.iter().find(|attempt| attempt.id == id));
    if !toolbox.is_provisioning {
        return settle(toolbox, attempt, machine, now);
    }

    match (attempt, machine) {
        (None, _) => begin(toolbox, now),
        (Some(attempt), None) if attempt.droplet_id.is_some() => Step::Fail(if now >= attempt.boot_deadline {
            Failure::Silent
        } else {
            Failure::Vanished
        }),
        (Some(attempt), None) => match unsettled(attempt, now) {
            Some(pause) => Step::Wait(pause.min(LOOK_AGAIN)),
            None => begin(toolbox, now),
        },
        (Some(attempt), Some(machine)) if attempt.droplet_id != Some(machine.droplet_id) => Step::Adopt {
            attempt: attempt.id,
            machine,
        },
        (Some(attempt), Some(machine)) if now >= attempt.boot_deadline => {
            // Looked at again when it is gone, and then given up.
            Step::Expire {
                attempt: attempt.id,
                droplet_id: machine.droplet_id,
            }
        }
        (Some(attempt), Some(machine)) => match machine.address {
            Some(address) if !toolbox.has_address => Step::NoteAddress {
                attempt: attempt.id,
                address,
            },
            Some(_) => Step::Wait(until(attempt.boot_deadline, now)),
            None => Step::Wait(LOOK_AGAIN.min(until(attempt.boot_deadline, now))),
        },
    }
}

/// A toolbox that has a machine which speaks, or has been given up. A machine may have spoken before it was heard that it is made.
fn settle(toolbox: &Toolbox, attempt: Option<&Attempt>, machine: Option<Machine>, now: DateTime<Utc>) -> Step {
    match (attempt, machine) {
        (Some(attempt), Some(machine)) if attempt.droplet_id != Some(machine.droplet_id) => Step::Adopt {
            attempt: attempt.id,
            machine,
        },
        (Some(attempt), Some(machine)) if !toolbox.has_address => match machine.address {
            Some(address) => Step::NoteAddress {
                attempt: attempt.id,
                address,
            },
            None => Step::Settled,
        },
        (Some(attempt), None) => match unsettled(attempt, now) {
            Some(pause) => Step::Wait(pause.min(LOOK_AGAIN)),
            None => Step::Settled,
        },
        // The machine of an attempt before this one, should it have been made all the same, will have shown itself by then.
        (Some(attempt), Some(_)) if toolbox.attempts_made > 1 && now < attempt.boot_deadline => {
            Step::Wait(until(attempt.boot_deadline, now))
        }
        _ => Step::Settled,
    }
}

fn begin(toolbox: &Toolbox, now: DateTime<Utc>) -> Step {
    if toolbox.attempts_made >= ATTEMPTS {
        Step::Fail(Failure::NotMade)
    } else if is_too_long(toolbox.requested_at, now) {
        Step::Fail(Failure::TooLong)
    } else {
        Step::Create
    }
}

/// Whether a request has been tried for too long, and there is no machine of its that would have to be destroyed first.
#[must_use]
pub fn is_hopeless(toolbox: &Toolbox, attempts: &[Attempt], now: DateTime<Utc>) -> bool {
    toolbox.is_wanted && toolbox.is_provisioning && attempts.is_empty() && is_too_long(toolbox.requested_at, now)
}

fn is_too_long(requested_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (now - requested_at)
        .to_std()
        .is_ok_and(|elapsed| elapsed > PROVISION_LIMIT)
}

/// How long a machine of this attempt may still appear; `None` if it is known, or cannot any more.
fn unsettled(attempt: &Attempt, now: DateTime<Utc>) -> Option<Duration> {
    let pause = until(attempt.started_at + SETTLE, now);
    (attempt.droplet_id.is_none() && !pause.is_zero()).then_some(pause.max(CHECK_GONE))
}

fn until(moment: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (moment - now).to_std().unwrap_or_default()
}

fn ids(machines: &[Machine]) -> Vec<u64> {
    machines.iter().map(|machine| machine.droplet_id).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Uuid = Uuid::from_u128(1);
    const OTHER: Uuid = Uuid::from_u128(2);

    fn at(seconds: u64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    fn toolbox(attempt: Option<Uuid>) -> Toolbox {
        Toolbox {
            is_wanted: true,
            is_provisioning: true,
            attempt,
            has_address: false,
            requested_at: at(0),
            attempts_made: u32::from(attempt.is_some()),
        }
    }

    fn attempt(droplet_id: Option<u64>) -> Attempt {
        Attempt {
            id: FIRST,
            started_at: at(0),
            droplet_id,
            boot_deadline: at(0) + BOOT_LIMIT,
        }
    }

    fn machine(droplet_id: u64, attempt: Option<Uuid>, has_address: bool) -> Machine {
        Machine {
            droplet_id,
            name: "toolbox".to_owned(),
            attempt,
            address: has_address.then_some(std::net::Ipv4Addr::new(203, 0, 113, 7)),
        }
    }

    fn adopt(machine: Machine) -> Step {
        Step::Adopt {
            attempt: FIRST,
            machine,
        }
    }

    const ADDRESS: Step = Step::NoteAddress {
        attempt: FIRST,
        address: std::net::Ipv4Addr::new(203, 0, 113, 7),
    };

    const fn wait(seconds: u64) -> Step {
        Step::Wait(Duration::from_secs(seconds))
    }

    #[test]
    fn a_wanted_machine_comes_step_by_step() {
        let own = |id, address| machine(id, Some(FIRST), address);
        let cases = [
            ("nothing yet", toolbox(None), vec![], vec![], 0, Step::Create),
            (
                "a stray first",
                toolbox(None),
                vec![],
                vec![machine(7, None, false)],
                0,
                Step::Destroy(vec![7]),
            ),
            (
                "asked, not seen",
                toolbox(Some(FIRST)),
                vec![attempt(None)],
                vec![],
                1,
                wait(10),
            ),
            (
                "never made",
                toolbox(Some(FIRST)),
                vec![attempt(None)],
                vec![],
                90,
                Step::Create,
            ),
            (
                "made unheard",
                toolbox(Some(FIRST)),
                vec![attempt(None)],
                vec![own(7, false)],
                1,
                adopt(own(7, false)),
            ),
            (
                "boots",
                toolbox(Some(FIRST)),
                vec![attempt(Some(7))],
                vec![own(7, false)],
                20,
                wait(10),
            ),
            (
                "runs",
                toolbox(Some(FIRST)),
                vec![attempt(Some(7))],
                vec![own(7, true)],
                30,
                ADDRESS,
            ),
            (
                "is late",
                toolbox(Some(FIRST)),
                vec![attempt(Some(7))],
                vec![own(7, true)],
                600,
                Step::Expire {
                    attempt: FIRST,
                    droplet_id: 7,
                },
            ),
            (
                "was late",
                toolbox(Some(FIRST)),
                vec![attempt(Some(7))],
                vec![],
                601,
                Step::Fail(Failure::Silent),
            ),
            (
                "vanished",
                toolbox(Some(FIRST)),
                vec![attempt(Some(7))],
                vec![],
                60,
                Step::Fail(Failure::Vanished),
            ),
            (
                "made twice",
                toolbox(Some(FIRST)),
                vec![attempt(None)],
                vec![own(9, true), own(8, true)],
                1,
                Step::Destroy(vec![9]),
            ),
            (
                "of another attempt",
                toolbox(Some(FIRST)),
                vec![attempt(None)],
                vec![machine(5, Some(OTHER), true)],
                1,
                Step::Destroy(vec![5]),
            ),
        ];
        for (name, toolbox, attempts, machines, seconds, expected) in cases {
            assert_eq!(
                next_step(Some(&toolbox), &attempts, &machines, at(seconds)),
                expected,
                "{name}"
            );
        }

        let known = Toolbox {
            has_address: true,
            ..toolbox(Some(FIRST))
        };
        let speaking = Toolbox {
            is_provisioning: false,
            ..known.clone()
        };
        let tired = Toolbox {
            attempts_made: ATTEMPTS,
            ..toolbox(None)
        };
        let attempts = [attempt(Some(7))];
        let machines = [own(7, true)];
        assert_eq!(next_step(Some(&known), &attempts, &machines, at(30)), wait(570));
        assert_eq!(
            next_step(Some(&speaking), &attempts, &machines, at(9000)),
            Step::Settled
        );
        assert_eq!(next_step(Some(&speaking), &attempts, &[], at(9000)), Step::Settled);
        let unheard = [attempt(None)];
        let early = |machines: &[Machine], seconds| next_step(Some(&speaking), &unheard, machines, at(seconds));
        assert_eq!(
            early(&machines, 30),
            adopt(own(7, true)),
            "spoke before it was heard of"
        );
        assert_eq!((early(&[], 30), early(&[], 90)), (wait(10), Step::Settled));
        let second = Toolbox {
            attempts_made: 2,
            ..speaking.clone()
        };
        let later = |seconds| next_step(Some(&second), &attempts, &machines, at(seconds));
        assert_eq!(
            (later(30), later(600)),
            (wait(570), Step::Settled),
            "the first may appear"
        );
        assert_eq!(next_step(Some(&tired), &[], &[], at(1)), Step::Fail(Failure::NotMade));
        assert_eq!(
            next_step(Some(&toolbox(None)), &[], &[], at(3601)),
            Step::Fail(Failure::TooLong)
        );
    }

    #[test]
    fn an_unwanted_machine_goes_and_takes_its_record() {
        let unwanted = Toolbox {
            is_wanted: false,
            ..toolbox(Some(FIRST))
        };
        for toolbox in [Some(&unwanted), None] {
            let next = |attempts: &[Attempt], machines: &[Machine], seconds| {
                next_step(toolbox, attempts, machines, at(seconds))
            };

            assert_eq!(
                next(
                    &[attempt(Some(7))],
                    &[machine(7, Some(FIRST), true), machine(8, None, true)],
                    5
                ),
                Step::Destroy(vec![7, 8])
            );
            assert_eq!(next(&[attempt(Some(7))], &[], 5), Step::Gone);
            assert_eq!(next(&[attempt(None)], &[], 5), wait(85));
            assert_eq!(next(&[attempt(None)], &[], 90), Step::Gone);
            assert_eq!(next(&[], &[], 0), Step::Gone);
        }
    }

    #[test]
    fn tags_name_toolbox_owner_and_attempt() {
        let tags = Tags::new("agentopia");
        let (toolbox, owner) = (ToolboxId(FIRST), UserId(OTHER));

        assert_eq!(tags.common(), "agentopia:toolbox");
        assert_eq!(
            tags.toolbox(toolbox, owner),
            "agentopia:tb:00000000-0000-0000-0000-000000000001:00000000-0000-0000-0000-000000000002"
        );
        let named = [tags.common(), tags.attempt(FIRST)];
        assert_eq!(tags.attempt_in(&named), Some(FIRST));
        assert_eq!(Tags::new("staging").attempt_in(&named), None);
        assert_eq!(tags.attempt_in(&[tags.attempt(FIRST), tags.attempt(OTHER)]), None);
    }

    /// What is recorded and what the provider has, driven by `next_step` while everything that can go wrong does.
    #[derive(Debug)]
    struct Simulation {
        toolbox: Toolbox,
        attempts: Vec<Attempt>,
        machines: Vec<Machine>,
        now: u64,
        made: u64,
        recorded: bool,
    }

    /// How a step goes.
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Luck {
        Well,
        DiesBefore,
        DiesAfter,
        ProviderFails,
    }

    impl Simulation {
        /// Takes a step. Returns whether nothing is left to do.
        fn step(&mut self, luck: Luck) -> bool {
            let now = at(self.now);
            let step = next_step(Some(&self.toolbox), &self.attempts, &self.machines, now);
            if luck == Luck::DiesBefore {
                // The lease runs out before another comes.
                self.now += 60;
                return false;
            }
            match step {
                Step::Settled => return true,
                Step::Gone => {
                    assert!(self.machines.is_empty(), "a machine outlives its record: {self:?}");
                    self.recorded = false;
                    return true;
                }
                Step::Create => {
                    let id = Uuid::from_u128(u128::from(self.now) + 1000);
                    self.attempts = vec![Attempt {
                        id,
                        started_at: now,
                        droplet_id: None,
                        boot_deadline: now + BOOT_LIMIT,
                    }];
                    self.toolbox.attempt = Some(id);
                    self.toolbox.attempts_made += 1;
                    if luck != Luck::ProviderFails {
                        self.made += 1;
                        self.machines.push(machine(self.made, Some(id), true));
                    }
                    if luck == Luck::Well {
                        self.attempts[0].droplet_id = Some(self.made);
                    }
                }
                Step::Adopt { attempt, machine } => {
                    assert_eq!(Some(attempt), self.toolbox.attempt);
                    self.attempts[0].droplet_id = Some(machine.droplet_id);
                }
                Step::NoteAddress { .. } => self.toolbox.has_address = true,
                Step::Expire { droplet_id, .. } if luck != Luck::ProviderFails => {
                    self.machines.retain(|machine| machine.droplet_id != droplet_id);
                }
                Step::Expire { .. } => {}
                Step::Destroy(ids) if luck != Luck::ProviderFails => {
                    self.machines.retain(|machine| !ids.contains(&machine.droplet_id));
                }
                Step::Destroy(_) => {}
                Step::Fail(_) => {
                    self.toolbox.attempt = None;
                    self.toolbox.is_provisioning = false;
                    self.attempts.clear();
                }
                Step::Wait(pause) => self.now += pause.as_secs(),
            }
            self.now += if luck == Luck::Well { 1 } else { 60 };
            self.now += 1;
            assert!(self.machines.len() <= 1, "two machines: {self:?}");
            false
        }

        fn until_settled(&mut self) {
            for _ in 0..200 {
                if self.step(Luck::Well) {
                    return;
                }
            }
            panic!("it does not settle: {self:?}");
        }
    }

    fn luck() -> impl Strategy<Value = Luck> {
        prop_oneof![
            4 => Just(Luck::Well),
            1 => Just(Luck::DiesBefore),
            1 => Just(Luck::DiesAfter),
            1 => Just(Luck::ProviderFails),
        ]
    }

    proptest! {
        #[test]
        fn whatever_dies_there_is_one_machine_or_none(
            before in prop::collection::vec(luck(), 0..40),
            after in prop::collection::vec(luck(), 0..40),
        ) {
            let mut world = Simulation {
                toolbox: toolbox(None), attempts: vec![], machines: vec![], now: 0, made: 0, recorded: true,
            };

            for luck in before {
                world.step(luck);
            }
            world.toolbox.is_wanted = false;
            for luck in after {
                world.step(luck);
            }
            world.until_settled();

            prop_assert!(world.machines.is_empty() && !world.recorded);
        }
    }
}
