//! How many calls Discord takes in what time, and how it says so
//! (<https://discord.com/developers/docs/topics/rate-limits>).
//!
//! Each route of an application is a bucket of its own, and so is each guild, channel or interaction in it. All calls of a bot count towards its
//! global limit as well, except those that an interaction's token authorizes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use axum::http::HeaderName;

use super::fault::Call;
use super::now;
use crate::worlds::answer::Answer;

/// So many calls in what time.
pub(super) type Limit = (usize, Duration);

/// The calls of the last while.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<Instant>);

impl Window {
    /// Counts a call; how long to wait if it is one too many.
    pub(super) fn count(&mut self, (limit, time): Limit) -> Option<Duration> {
        while self.0.front().is_some_and(|call| call.elapsed() >= time) {
            self.0.pop_front();
        }
        if self.0.len() < limit {
            self.0.push_back(Instant::now());
            return None;
        }
        Some(self.left(time))
    }

    /// Adds what each answer says about the rate.
    pub(super) fn describe(&self, answer: Answer, (limit, time): Limit, bucket: &str) -> Answer {
        let left = self.left(time).as_secs_f64();
        let resets_at = now().timestamp() as f64 + left;
        let name = HeaderName::from_static;
        answer
            .with(name("x-ratelimit-limit"), limit)
            .with(name("x-ratelimit-remaining"), limit.saturating_sub(self.0.len()))
            .with(name("x-ratelimit-reset"), format!("{resets_at:.3}"))
            .with(name("x-ratelimit-reset-after"), format!("{left:.3}"))
            .with(name("x-ratelimit-bucket"), bucket)
    }

    /// How long until the first of the calls counts no more.
    fn left(&self, time: Duration) -> Duration {
        let first = self.0.front();
        first.and_then(|call| time.checked_sub(call.elapsed())).unwrap_or(time)
    }
}

/// What a call is one too many of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Excess {
    pub(super) wait: Duration,
    pub(super) is_global: bool,
}

/// The limits of all applications.
#[derive(Debug)]
pub(super) struct Limits {
    default: Limit,
    default_global: Limit,
    by_call: BTreeMap<(u64, Call), Limit>,
    global: BTreeMap<u64, Limit>,
    windows: BTreeMap<(u64, Call, String), Window>,
    global_windows: BTreeMap<u64, Window>,
}

impl Limits {
    pub(super) fn new(default: Limit, default_global: Limit) -> Self {
        Self {
            default,
            default_global,
            by_call: BTreeMap::new(),
            global: BTreeMap::new(),
            windows: BTreeMap::new(),
            global_windows: BTreeMap::new(),
        }
    }

    pub(super) fn set(&mut self, application: u64, call: Call, limit: Limit) {
        self.by_call.insert((application, call), limit);
    }

    pub(super) fn set_global(&mut self, application: u64, limit: Limit) {
        self.global.insert(application, limit);
    }

    /// Counts a call about the resource that the route's limit is for.
    pub(super) fn count(&mut self, application: u64, call: Call, resource: &str) -> Option<Excess> {
        if !call.is_of_interaction() {
            let limit = self.global.get(&application).copied().unwrap_or(self.default_global);
            let window = self.global_windows.entry(application).or_default();
            if let Some(wait) = window.count(limit) {
                return Some(Excess { wait, is_global: true });
            }
        }
        let limit = self.limit(application, call);
        let window = self
            .windows
            .entry((application, call, resource.to_owned()))
            .or_default();
        window.count(limit).map(|wait| Excess { wait, is_global: false })
    }

    /// Adds what each answer of a route says about its rate.
    pub(super) fn describe(&mut self, answer: Answer, application: u64, call: Call, resource: &str) -> Answer {
        let limit = self.limit(application, call);
        let window = self
            .windows
            .entry((application, call, resource.to_owned()))
            .or_default();
        window.describe(answer, limit, &format!("stand-in-{call:?}").to_lowercase())
    }

    fn limit(&self, application: u64, call: Call) -> Limit {
        let of = |call| self.by_call.get(&(application, call));
        of(call).or_else(|| of(Call::Any)).copied().unwrap_or(self.default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn routes_resources_and_applications_have_buckets_of_their_own() {
        let mut limits = Limits::new((10, MINUTE), (10, MINUTE));
        limits.set(1, Call::Channels, (1, MINUTE));

        let is_excess = [
            (1, Call::Channels, "a"),
            (1, Call::Channels, "a"),
            (1, Call::Channels, "b"),
            (1, Call::Guilds, "a"),
            (2, Call::Channels, "a"),
        ]
        .map(|(application, call, resource)| limits.count(application, call, resource).is_some());

        assert_eq!(is_excess, [false, true, false, false, false]);
    }

    #[test]
    fn all_calls_of_a_bot_are_limited_together_and_those_of_interactions_are_not() {
        let mut limits = Limits::new((10, MINUTE), (10, MINUTE));
        limits.set_global(1, (1, MINUTE));

        let excesses = [Call::Guilds, Call::User, Call::Callback, Call::Edit]
            .map(|call| limits.count(1, call, "").map(|excess| excess.is_global));

        assert_eq!(excesses, [None, Some(true), None, None]);
    }

    #[test]
    fn calls_count_for_their_time() {
        let mut window = Window::default();

        let first = window.count((1, Duration::from_millis(20)));
        let second = window.count((1, Duration::from_millis(20)));
        std::thread::sleep(second.unwrap());

        assert_eq!((first, window.count((1, Duration::from_millis(20)))), (None, None));
    }
}
