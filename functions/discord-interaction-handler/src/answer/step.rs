//! What is next on an answer's way, and what a message's fate means for it. No memory, no clock: who dies between two steps is followed by another who looks
//! at what is written.

use agentopia_clients::discord::DiscordError;
use agentopia_platform::db::discord_interactions::Progress;

/// What is known of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    /// Of how many parts the answer is, if it is known.
    pub(super) parts: Option<u32>,
    /// Whether it is known that Discord was told of an answer to come.
    pub(super) is_told: bool,
    /// How far it has come.
    pub(super) progress: Progress,
    /// Whether the interaction's token is over.
    pub(super) is_over: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// See what whoever asked sees, before anything is done for them.
    Look,
    /// Find the answer, and write it.
    Find,
    /// Send a part, counted from 1: the first is the edit of the original message, which may be repeated; the others are messages of their own, which may not.
    Send(u32),
    /// A message was interrupted that may not be repeated: show all of the answer by an edit.
    SendWhole,
    /// All of it is there.
    Finish,
    /// Nothing is there, and nothing can be: say so in the channel.
    TellInChannel,
    /// Nothing can be done any more, and something may be there.
    Expire,
}

/// The next step.
pub(super) fn next_step(state: &State) -> Step {
    let Progress {
        parts_begun,
        parts_sent,
        is_doubtful,
    } = state.progress;
    let is_interrupted = parts_begun > parts_sent;

    match state.parts {
        Some(parts) if parts_sent >= parts => Step::Finish,
        _ if state.is_over && (is_doubtful || parts_begun > 0) => Step::Expire,
        _ if state.is_over => Step::TellInChannel,
        None if !state.is_told => Step::Look,
        None => Step::Find,
        Some(_) if is_interrupted && parts_begun > 1 => Step::SendWhole,
        Some(_) => Step::Send(parts_sent + 1),
    }
}

/// What a call's end means for the message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// It is there.
    There,
    /// It is not there, and may be sent again.
    NotThere,
    /// It may be there.
    Doubtful,
    /// Discord takes this message never.
    Refused,
    /// Discord takes no message for this interaction any more.
    Gone,
}

/// The fate of a message.
pub(super) fn fate(result: &Result<(), DiscordError>) -> Fate {
    let Err(error) = result else {
        return Fate::There;
    };
    match error {
        // It was taken, however the answer reads.
        DiscordError::Malformed(_) => Fate::There,
        DiscordError::RateLimited { .. } | DiscordError::Unsendable(_) => Fate::NotThere,
        DiscordError::Failed(_) | DiscordError::TimedOut | DiscordError::Broken(_) => Fate::Doubtful,
        DiscordError::UnknownInteraction
        | DiscordError::UnknownWebhook(_)
        | DiscordError::UnknownMessage
        | DiscordError::NotFound(_) => Fate::Gone,
        DiscordError::Unauthorized(_)
        | DiscordError::Forbidden(_)
        | DiscordError::Refused(_)
        | DiscordError::AlreadyAcknowledged => Fate::Refused,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use agentopia_domain::retry::Failure;
    use proptest::prelude::*;

    use super::*;

    fn state(parts: Option<u32>, (parts_begun, parts_sent): (u32, u32), is_doubtful: bool, is_over: bool) -> State {
        State {
            parts,
            is_told: true,
            progress: Progress {
                parts_begun,
                parts_sent,
                is_doubtful,
            },
            is_over,
        }
    }

    #[test]
    fn each_state_has_its_step() {
        let cases = [
            ("nothing is known", None, (0, 0), false, false, Step::Find),
            ("the answer is known", Some(1), (0, 0), false, false, Step::Send(1)),
            ("an edit was interrupted", Some(1), (1, 0), false, false, Step::Send(1)),
            ("an edit may be there", Some(3), (1, 0), true, false, Step::Send(1)),
            ("a part is there", Some(3), (1, 1), false, false, Step::Send(2)),
            (
                "a message was interrupted",
                Some(3),
                (2, 1),
                false,
                false,
                Step::SendWhole,
            ),
            ("the last one was", Some(3), (3, 2), true, false, Step::SendWhole),
            ("all is there", Some(3), (3, 3), false, false, Step::Finish),
            ("all is there, and late", Some(1), (1, 1), false, true, Step::Finish),
            ("too late for anything", None, (0, 0), false, true, Step::TellInChannel),
            ("too late to send", Some(1), (0, 0), false, true, Step::TellInChannel),
            ("too late to look", Some(1), (1, 0), false, true, Step::Expire),
            ("too late for the rest", Some(2), (1, 1), false, true, Step::Expire),
            (
                "an edit may be there, and late",
                Some(1),
                (0, 0),
                true,
                true,
                Step::Expire,
            ),
        ];

        for (name, parts, counts, is_doubtful, is_over, expected) in cases {
            let step = next_step(&state(parts, counts, is_doubtful, is_over));
            assert_eq!(step, expected, "{name}");
        }
    }

    #[test]
    fn nothing_is_done_for_whom_nobody_has_told_that_it_would_be() {
        let unknown = |parts, is_over| State {
            is_told: false,
            ..state(parts, (0, 0), false, is_over)
        };

        assert_eq!(next_step(&unknown(None, false)), Step::Look);
        // Whoever has written the answer knew.
        assert_eq!(next_step(&unknown(Some(1), false)), Step::Send(1));
        assert_eq!(next_step(&unknown(None, true)), Step::TellInChannel);
    }

    #[test]
    fn what_may_be_there_is_told_from_what_is_not() {
        let limited = DiscordError::RateLimited {
            retry_after: Some(Duration::from_secs(1)),
            global: false,
            shared: false,
            held_back: false,
        };
        let cases = [
            (Ok(()), Fate::There),
            (Err(DiscordError::Malformed("no id".into())), Fate::There),
            (Err(limited), Fate::NotThere),
            (Err(DiscordError::Unsendable("host".into())), Fate::NotThere),
            (Err(DiscordError::Failed("500".into())), Fate::Doubtful),
            (Err(DiscordError::TimedOut), Fate::Doubtful),
            (Err(DiscordError::Broken("reset".into())), Fate::Doubtful),
            (Err(DiscordError::UnknownWebhook("404 10015".into())), Fate::Gone),
            (Err(DiscordError::UnknownMessage), Fate::Gone),
            (Err(DiscordError::NotFound("404".into())), Fate::Gone),
            (Err(DiscordError::Refused("400 50035".into())), Fate::Refused),
            (Err(DiscordError::Forbidden("403".into())), Fate::Refused),
        ];

        for (result, expected) in cases {
            assert_eq!(fate(&result), expected, "{result:?}");
            if let Err(error) = &result {
                let may_be_there = matches!(expected, Fate::There | Fate::Doubtful);
                assert_eq!(may_be_there, error.is_ambiguous(), "{error}");
                let is_worth_it = matches!(error.failure(), Failure::Transient { .. });
                assert_eq!(
                    is_worth_it,
                    matches!(expected, Fate::NotThere | Fate::Doubtful),
                    "{error}"
                );
            }
        }
    }

    /// How a part's sending goes: it is taken and known to be, taken and not known to be, not taken; and how the one who sends goes on.
    #[derive(Clone, Copy, Debug)]
    enum Luck {
        Sent,
        TakenAndDied,
        DiedBefore,
    }

    proptest! {
        /// However often whoever sends dies, and wherever: no further message is there twice, and all of the answer is.
        #[test]
        fn no_message_is_sent_twice(
            parts in 1..5_u32,
            lucks in prop::collection::vec(
                prop_oneof![Just(Luck::Sent), Just(Luck::TakenAndDied), Just(Luck::DiedBefore)], 0..12,
            ),
        ) {
            let mut progress = Progress { parts_begun: 0, parts_sent: 0, is_doubtful: false };
            let mut messages = Vec::new();
            let mut is_whole = false;
            let mut lucks = lucks.into_iter().chain(std::iter::repeat(Luck::Sent));
            for _ in 0..40 {
                let step = next_step(&State { parts: Some(parts), is_told: false, progress, is_over: false });
                let luck = lucks.next().unwrap();
                match step {
                    Step::Finish => break,
                    Step::Send(part) => {
                        progress.parts_begun = part;
                        if !matches!(luck, Luck::DiedBefore) {
                            if part > 1 {
                                messages.push(part);
                            } else {
                                is_whole = parts == 1;
                            }
                        }
                        if matches!(luck, Luck::Sent) {
                            progress.parts_sent = part;
                        }
                    }
                    Step::SendWhole => {
                        if !matches!(luck, Luck::DiedBefore) {
                            is_whole = true;
                        }
                        if matches!(luck, Luck::Sent) {
                            break;
                        }
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }

            let mut distinct = messages.clone();
            distinct.dedup();
            prop_assert_eq!(&messages, &distinct);
            let all: Vec<u32> = (2..=parts).collect();
            prop_assert!(is_whole || messages == all, "{messages:?} of {parts}");
        }
    }
}
