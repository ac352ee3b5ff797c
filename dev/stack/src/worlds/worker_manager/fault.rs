//! The ways in which the worker manager behaves badly on request, and the kinds of calls that they strike.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use uuid::Uuid;

/// A way to behave badly. What is done stands for a worker that is started or stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This status, and nothing is done.
    Status(u16),
    /// 429, with `Retry-After` or without it.
    RateLimited(Option<Duration>),
    /// 500 with a message that repeats what was sent, secrets and all, and nothing is done.
    Babble,
    /// It is done, and no answer comes.
    Stall,
    /// It is done, and the connection is dropped instead of an answer.
    Drop,
    /// It is done, and the answer is 500.
    DoneAndFailed,
    /// It is done, and the answer is a page of HTML.
    Malformed,
    /// Nothing is done, and no answer comes.
    Silence,
    /// Nothing is done, and the connection is dropped.
    Break,
}

impl Fault {
    /// Whether what was asked is done all the same.
    pub(super) fn is_done(self) -> bool {
        matches!(self, Self::Stall | Self::Drop | Self::DoneAndFailed | Self::Malformed)
    }
}

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Any.
    Any,
    /// `POST /start-worker`
    Start,
    /// `POST /stop-worker`
    Stop,
    /// `POST /restart-worker`
    Restart,
    /// `GET /status`
    Status,
    /// `GET /list-workers`
    List,
}

/// Faults to come, by the agent whose calls they strike; those of none strike all.
#[derive(Debug, Default)]
pub(super) struct Faults(BTreeMap<Option<Uuid>, VecDeque<(Call, Fault)>>);

impl Faults {
    /// Plans the same fault so many times.
    pub(super) fn plan(&mut self, agent: Option<Uuid>, call: Call, fault: Fault, times: usize) {
        let planned = self.0.entry(agent).or_default();
        planned.extend(std::iter::repeat_n((call, fault), times));
    }

    /// Forgets what is planned.
    pub(super) fn mend(&mut self, agent: Option<Uuid>) {
        self.0.remove(&agent);
    }

    /// The fault that strikes a call, which is then spent.
    pub(super) fn strike(&mut self, agent: Option<Uuid>, call: Call) -> Option<Fault> {
        let subjects = [agent.map(Some), Some(None)];
        subjects.into_iter().flatten().find_map(|subject| {
            let planned = self.0.get_mut(&subject)?;
            let is_meant = |(meant, _): &(Call, Fault)| [Call::Any, call].contains(meant);
            let position = planned.iter().position(is_meant)?;
            planned.remove(position).map(|(_, fault)| fault)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: Uuid = Uuid::from_u128(1);

    #[test]
    fn a_fault_strikes_what_it_is_for_and_so_often() {
        let mut faults = Faults::default();
        faults.plan(Some(AGENT), Call::Stop, Fault::Stall, 2);
        faults.plan(None, Call::Any, Fault::Break, 1);

        let struck: Vec<_> = [
            (Some(AGENT), Call::Stop),
            (Some(Uuid::from_u128(2)), Call::Stop),
            (Some(Uuid::from_u128(2)), Call::Stop),
            (Some(AGENT), Call::Start),
            (Some(AGENT), Call::Stop),
            (Some(AGENT), Call::Stop),
            (None, Call::List),
        ]
        .into_iter()
        .map(|(agent, call)| faults.strike(agent, call))
        .collect();

        let (stall, broken) = (Some(Fault::Stall), Some(Fault::Break));
        assert_eq!(struck, [stall, broken, None, None, stall, None, None]);
    }

    #[test]
    fn what_is_mended_does_not_fail() {
        let mut faults = Faults::default();
        faults.plan(Some(AGENT), Call::Any, Fault::Silence, 5);

        faults.mend(Some(AGENT));

        assert_eq!(faults.strike(Some(AGENT), Call::Start), None);
    }
}
