//! The ways in which Discord behaves badly on request, and the kinds of calls that they strike.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A way to behave badly. What is done stands for a message that is taken, an edit that is made, an interaction that is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 429, for this webhook or for all that the client calls.
    RateLimited {
        /// When the next call may come.
        retry_after: Duration,
        /// Whether all calls are meant.
        global: bool,
    },
    /// 429 because the resource is limited for all who use it, which is not counted as an invalid request.
    SharedLimit(Duration),
    /// 429 of what stands before Discord: a page of HTML with `Retry-After`.
    Banned(Duration),
    /// 403 of what stands before Discord: a page of HTML.
    Blocked,
    /// 500, and nothing is done.
    ServerError,
    /// It is done, and no answer comes.
    Stall,
    /// It is done, and the connection is dropped instead of an answer.
    Drop,
    /// It is done, and the answer is 500.
    DoneAndFailed,
    /// It is done, and the answer is not what the API says.
    Malformed,
    /// Nothing is done, and no answer comes.
    Silence,
    /// Nothing is done, and the connection is dropped.
    Break,
    /// It is done at once, and the answer comes after this time.
    Delayed(Duration),
    /// It is done and answered after this time.
    Late(Duration),
}

/// A kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Call {
    /// Any.
    Any,
    /// `GET /users/@me`
    User,
    /// `GET /applications/@me`
    Application,
    /// `GET /users/@me/guilds`
    Guilds,
    /// `GET /guilds/<id>/channels`
    Channels,
    /// `GET /applications/<id>/commands`
    Commands,
    /// `PUT /applications/<id>/commands`
    OverwriteCommands,
    /// `POST /channels/<id>/messages`
    CreateMessage,
    /// `POST /interactions/<id>/<token>/callback`
    Callback,
    /// `GET /webhooks/<application>/<token>/messages/@original`
    Original,
    /// `PATCH /webhooks/<application>/<token>/messages/@original`
    Edit,
    /// `DELETE /webhooks/<application>/<token>/messages/@original`
    Delete,
    /// `POST /webhooks/<application>/<token>`
    FollowUp,
}

impl Call {
    /// Whether it is authorized by an interaction's token, and so not in the bot's global limit.
    pub(super) fn is_of_interaction(self) -> bool {
        matches!(
            self,
            Self::Callback | Self::Original | Self::Edit | Self::Delete | Self::FollowUp
        )
    }
}

/// Faults to come, by the interaction or the application whose calls they strike.
#[derive(Debug, Default)]
pub(super) struct Faults(BTreeMap<u64, VecDeque<(Call, Fault)>>);

impl Faults {
    /// Plans the same fault so many times.
    pub(super) fn plan(&mut self, subject: u64, call: Call, fault: Fault, times: usize) {
        let planned = self.0.entry(subject).or_default();
        planned.extend(std::iter::repeat_n((call, fault), times));
    }

    /// Forgets what is planned.
    pub(super) fn mend(&mut self, subject: u64) {
        self.0.remove(&subject);
    }

    /// The fault that strikes a call about these subjects, which is then spent.
    pub(super) fn strike(&mut self, subjects: impl IntoIterator<Item = u64>, call: Call) -> Option<Fault> {
        subjects.into_iter().find_map(|subject| {
            let planned = self.0.get_mut(&subject)?;
            let position = planned
                .iter()
                .position(|(for_call, _)| [Call::Any, call].contains(for_call))?;
            planned.remove(position).map(|(_, fault)| fault)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_what_it_is_for_and_so_often() {
        let mut faults = Faults::default();
        faults.plan(1, Call::Edit, Fault::ServerError, 1);
        faults.plan(2, Call::Any, Fault::Silence, 2);

        let struck: Vec<_> = [Call::Callback, Call::Edit, Call::Edit, Call::Edit]
            .map(|call| faults.strike([1, 2], call))
            .into();

        let (first, second) = (Some(Fault::Silence), Some(Fault::ServerError));
        assert_eq!(struck, [first, second, first, None]);
    }

    #[test]
    fn what_is_mended_does_not_fail() {
        let mut faults = Faults::default();
        faults.plan(1, Call::Any, Fault::ServerError, 5);

        faults.mend(1);

        assert_eq!(faults.strike([1], Call::User), None);
    }
}
