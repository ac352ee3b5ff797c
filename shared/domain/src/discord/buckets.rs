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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GUILDS: Route = Route {
        call: "GET /users/@me/guilds",
        caller: 1,
        resource: 0,
    };
    const EDIT: Route = Route {
        call: "PATCH /webhooks/{application_id}/{token}/messages/@original",
        caller: 2,
        resource: 7,
    };
    const FOLLOW_UP: Route = Route {
        call: "POST /webhooks/{application_id}/{token}",
        ..EDIT
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn seen(bucket: Option<&str>, remaining: u32, reset_after: u64) -> Seen {
        Seen {
            bucket: bucket.map(str::to_owned),
            remaining,
            reset_after: seconds(reset_after),
        }
    }

    fn held(retry_after: u64, reach: Reach) -> Result<(), Held> {
        Err(Held {
            retry_after: seconds(retry_after),
            reach,
        })
    }

    #[test]
    fn an_empty_bucket_holds_its_calls_back_until_it_is_full() {
        let mut buckets = Buckets::new();
        assert_eq!(buckets.take(GUILDS, seconds(0)), Ok(()));

        buckets.note(GUILDS, seen(None, 0, 5), seconds(10));

        assert_eq!(buckets.take(GUILDS, seconds(10)), held(5, Reach::Bucket));
        assert_eq!(buckets.take(GUILDS, seconds(14)), held(1, Reach::Bucket));
        assert_eq!(buckets.take(GUILDS, seconds(15)), Ok(()));
        assert_eq!(buckets.take(GUILDS, seconds(15)), Ok(()));
    }

    #[test]
    fn calls_that_are_under_way_are_counted() {
        let mut buckets = Buckets::new();

        buckets.note(GUILDS, seen(None, 2, 5), seconds(0));

        assert_eq!(buckets.take(GUILDS, seconds(1)), Ok(()));
        assert_eq!(buckets.take(GUILDS, seconds(1)), Ok(()));
        assert_eq!(buckets.take(GUILDS, seconds(1)), held(4, Reach::Bucket));
    }

    #[test]
    fn calls_share_the_bucket_that_discord_names() {
        let mut buckets = Buckets::new();
        buckets.note(EDIT, seen(Some("abcd"), 3, 5), seconds(0));
        buckets.note(FOLLOW_UP, seen(Some("abcd"), 0, 5), seconds(0));

        assert_eq!(buckets.take(EDIT, seconds(1)), held(4, Reach::Bucket));
        let (of_another, elsewhere) = (Route { caller: 3, ..EDIT }, Route { resource: 8, ..EDIT });
        assert_eq!(buckets.take(of_another, seconds(1)), Ok(()));
        assert_eq!(buckets.take(elsewhere, seconds(1)), Ok(()));
    }

    #[test]
    fn a_bucket_that_gets_a_name_is_not_remembered_under_two() {
        let mut buckets = Buckets::new();
        buckets.note(EDIT, seen(None, 0, 60), seconds(0));

        buckets.note(EDIT, seen(Some("abcd"), 4, 5), seconds(1));

        assert_eq!(buckets.take(EDIT, seconds(1)), Ok(()));
        assert_eq!(buckets.windows.len(), 1);
    }

    #[test]
    fn a_refusal_holds_back_as_far_as_it_reaches() {
        let mut buckets = Buckets::new();
        buckets.refuse(EDIT, Reach::Bucket, seconds(3), seconds(0));
        assert_eq!(buckets.take(EDIT, seconds(1)), held(2, Reach::Bucket));
        assert_eq!(buckets.take(FOLLOW_UP, seconds(1)), Ok(()));

        buckets.refuse(EDIT, Reach::Caller, seconds(5), seconds(0));
        assert_eq!(buckets.take(EDIT, seconds(1)), held(4, Reach::Caller));
        assert_eq!(buckets.take(FOLLOW_UP, seconds(1)), held(4, Reach::Caller));
        assert_eq!(buckets.take(GUILDS, seconds(1)), Ok(()));

        buckets.refuse(EDIT, Reach::Everyone, seconds(4), seconds(0));
        assert_eq!(buckets.take(GUILDS, seconds(1)), held(3, Reach::Everyone));
        assert_eq!(buckets.take(GUILDS, seconds(4)), Ok(()));
        assert_eq!(buckets.take(EDIT, seconds(4)), held(1, Reach::Caller));
        assert_eq!(buckets.take(EDIT, seconds(5)), Ok(()));
    }

    #[test]
    fn nothing_is_held_back_for_days() {
        let mut buckets = Buckets::new();
        buckets.note(EDIT, seen(None, 0, u64::MAX), seconds(1));
        buckets.refuse(GUILDS, Reach::Everyone, Duration::MAX, seconds(1));

        assert_eq!(buckets.take(EDIT, seconds(1)), held(3600, Reach::Bucket));
        assert_eq!(buckets.take(GUILDS, seconds(3601)), Ok(()));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_what_matters_longest_is_kept() {
        let mut buckets = Buckets::new();
        let guild = |resource| Route {
            call: "GET /guilds/{guild_id}/channels",
            caller: resource,
            resource,
        };

        for resource in 0..5000 {
            buckets.note(
                guild(resource),
                seen(Some("abcd"), 0, 3000 - resource % 2500),
                seconds(1),
            );
            buckets.refuse(guild(resource), Reach::Caller, seconds(5), seconds(1));
        }

        assert_eq!(
            (buckets.windows.len(), buckets.callers.len()),
            (BUCKETS_MAX, BUCKETS_MAX)
        );
        assert_eq!(buckets.names.len(), 1);
        assert_eq!(buckets.take(guild(0), seconds(7)), held(2994, Reach::Bucket));
        assert_eq!(buckets.take(guild(2400), seconds(7)), Ok(()));
        buckets.note(guild(1), seen(None, 1, 1), seconds(10_000));
        assert_eq!(buckets.windows.len(), 1);
    }

    #[derive(Clone, Debug)]
    enum Event {
        Take,
        Note(Seen),
        Refuse(Reach, Duration),
    }

    fn event() -> impl Strategy<Value = Event> {
        let duration = (0_u64..10_000).prop_map(Duration::from_millis);
        let reach = prop_oneof![Just(Reach::Bucket), Just(Reach::Caller), Just(Reach::Everyone)];
        let bucket = prop::option::of("[a-c]");
        prop_oneof![
            Just(Event::Take),
            (bucket, 0_u32..4, duration.clone()).prop_map(|(bucket, remaining, reset_after)| Event::Note(Seen {
                bucket,
                remaining,
                reset_after
            })),
            (reach, duration).prop_map(|(reach, duration)| Event::Refuse(reach, duration)),
        ]
    }

    proptest! {
        #[test]
        fn whoever_waits_as_told_is_let_through(
            events in prop::collection::vec((0_u64..3, 0_u64..2000, event()), 0..60),
            asked in 0_u64..3,
        ) {
            let mut buckets = Buckets::new();
            let route = |resource| Route { resource, caller: resource / 2, ..EDIT };
            let mut now = Duration::ZERO;
            for (resource, later, event) in events {
                now += Duration::from_millis(later);
                match event {
                    Event::Take => _ = buckets.take(route(resource), now),
                    Event::Note(seen) => buckets.note(route(resource), seen, now),
                    Event::Refuse(reach, retry_after) => buckets.refuse(route(resource), reach, retry_after, now),
                }
            }

            if let Err(held) = buckets.take(route(asked), now) {
                prop_assert!(!held.retry_after.is_zero() && held.retry_after <= Duration::from_secs(10));
                let early = now + held.retry_after - Duration::from_nanos(1);
                prop_assert!(buckets.take(route(asked), early).is_err());
                prop_assert_eq!(buckets.take(route(asked), now + held.retry_after), Ok(()));
            }
        }

        #[test]
        fn no_more_calls_go_than_a_bucket_takes(remaining in 0_u32..20, tries in 0_usize..40) {
            let mut buckets = Buckets::new();
            buckets.note(EDIT, seen(Some("abcd"), remaining, 5), seconds(0));

            let let_through = (0..tries).filter(|_| buckets.take(EDIT, seconds(1)).is_ok()).count();

            prop_assert_eq!(let_through, tries.min(usize::try_from(remaining).unwrap()));
        }
    }
}
