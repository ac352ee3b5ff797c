//! Discord's rate limits, as far as its answers have told of them (<https://discord.com/developers/docs/topics/rate-limits>).
//!
//! Discord counts calls in buckets. Which calls share one is told by a name in the answer's headers; each caller, and each resource at the head
//! of a path, has a bucket of that name of its own. What is kept here is a memory and no promise: others may draw from the same bucket, and then
//! Discord refuses a call that was let through.

use std::collections::BTreeMap;
use std::time::Duration;

/// The most buckets that are remembered.
const BUCKETS_MAX: usize = 1024;

/// No bucket counts as empty for longer than this, whatever an answer said: then Discord is asked again.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// The longest name of a bucket that is believed.
const NAME_MAX_BYTES: usize = 128;

/// What a call draws on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Route {
    /// The call: its method, and its path with names in place of ids, such as `GET /guilds/{guild_id}/channels`.
    pub call: &'static str,
    /// Stands for whoever calls, that is for a token, and is not the token.
    pub caller: u64,
    /// Stands for the resource at the head of the path that has limits of its own: a guild, a channel, or a webhook and its token. 0 if there is none.
    pub resource: u64,
}

/// What an answer's headers say of the bucket of its call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// The bucket's name, `X-RateLimit-Bucket`.
    pub bucket: Option<String>,
    /// How many more calls it takes, `X-RateLimit-Remaining`.
    pub remaining: u32,
    /// When it is full again, `X-RateLimit-Reset-After`.
    pub reset_after: Duration,
}

/// What a refused call tells of the calls after it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reach {
    /// The call's bucket is empty.
    Bucket,
    /// Whoever called has called too often, wherever.
    Caller,
    /// Whatever comes from here is refused.
    Everyone,
}

/// That a call would be refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Held {
    /// When it may be made.
    pub retry_after: Duration,
    /// What holds it back.
    pub reach: Reach,
}

/// What is known of the buckets. Time is since some moment that stays the same, and never goes back.
#[derive(Debug, Default)]
pub struct Buckets {
    /// The name of the bucket of each call, as far as Discord has told it.
    names: BTreeMap<&'static str, String>,
    windows: BTreeMap<Key, Window>,
    callers: BTreeMap<u64, Duration>,
    everyone: Option<Duration>,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Key {
    /// The bucket's name, or else the call.
    name: String,
    caller: u64,
    resource: u64,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    remaining: u32,
    ends_at: Duration,
}

impl Buckets {
    /// Nothing is known.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            names: BTreeMap::new(),
            windows: BTreeMap::new(),
            callers: BTreeMap::new(),
            everyone: None,
        }
    }

    /// Draws a call from its bucket.
    ///
    /// # Errors
    ///
    /// If it is known that Discord would refuse it. Nothing is drawn then.
    pub fn take(&mut self, route: Route, now: Duration) -> Result<(), Held> {
        let held = |ends_at: Option<Duration>, reach| {
            let retry_after = ends_at?.checked_sub(now).filter(|left| !left.is_zero())?;
            Some(Held { retry_after, reach })
        };
        let key = self.key(route);
        let window = self.windows.get_mut(&key).filter(|window| window.ends_at > now);
        let empty = window.as_ref().filter(|window| window.remaining == 0);

        let longest = [
            held(self.everyone, Reach::Everyone),
            held(self.callers.get(&route.caller).copied(), Reach::Caller),
            held(empty.map(|window| window.ends_at), Reach::Bucket),
        ]
        .into_iter()
        .flatten()
        .max_by_key(|held| held.retry_after);
        if let Some(held) = longest {
            return Err(held);
        }
        if let Some(window) = window {
            window.remaining = window.remaining.saturating_sub(1);
        }
        Ok(())
    }

    /// Takes over what an answer says of the bucket of its call. The last answer counts.
    pub fn note(&mut self, route: Route, seen: Seen, now: Duration) {
        if let Some(name) = seen.bucket.filter(|name| (1..=NAME_MAX_BYTES).contains(&name.len())) {
            let before = self.key(route);
            self.names.insert(route.call, name);
            if before != self.key(route) {
                self.windows.remove(&before);
            }
        }
        let window = Window {
            remaining: seen.remaining,
            ends_at: now.saturating_add(seen.reset_after.min(LONGEST)),
        };
        self.keep(self.key(route), window, now);
    }

    /// Takes over that a call was refused, and until when calls like it will be.
    pub fn refuse(&mut self, route: Route, reach: Reach, retry_after: Duration, now: Duration) {
        let ends_at = now.saturating_add(retry_after.min(LONGEST));
        match reach {
            Reach::Bucket => self.keep(self.key(route), Window { remaining: 0, ends_at }, now),
            Reach::Caller => {
                make_room(&mut self.callers, |ends_at| *ends_at, now);
                self.callers.insert(route.caller, ends_at);
            }
            Reach::Everyone => self.everyone = Some(ends_at),
        }
    }

    fn keep(&mut self, key: Key, window: Window, now: Duration) {
        make_room(&mut self.windows, |window| window.ends_at, now);
        self.windows.insert(key, window);
    }

    fn key(&self, route: Route) -> Key {
        let name = self.names.get(route.call).map_or(route.call, String::as_str);
        Key {
            name: name.to_owned(),
            caller: route.caller,
            resource: route.resource,
        }
    }
}

/// Makes room for one more: forgets what is over, and if nothing is, what is over soonest.
fn make_room<K: Clone + Ord, V>(kept: &mut BTreeMap<K, V>, ends_at: impl Fn(&V) -> Duration, now: Duration) {
    if kept.len() < BUCKETS_MAX {
        return;
    }
    kept.retain(|_, value| ends_at(value) > now);
    if kept.len() < BUCKETS_MAX {
        return;
    }
    let soonest = kept
        .iter()
        .min_by_key(|(_, value)| ends_at(value))
        .map(|(key, _)| key.clone());
    if let Some(key) = soonest {
        kept.remove(&key);
    }
}
