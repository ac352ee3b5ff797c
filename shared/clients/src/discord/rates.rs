//! What this instance knows of Discord's rate limits. It is one memory for all requests, and gone with the instance.

use std::hash::{BuildHasher, RandomState};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use agentopia_domain::discord::buckets::{Buckets, Reach, Route, Seen};
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};

use super::DiscordError;
use super::refusal::Refusal;

static BUCKETS: Mutex<Buckets> = Mutex::new(Buckets::new());
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Seeded at random: what a token is stood for by tells nothing of it, elsewhere or later.
static HASHES: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// What a call draws on. A token stands for whoever has it.
pub(super) fn route(call: &'static str, token: &SecretString, resource: &str) -> Route {
    Route {
        call,
        caller: HASHES.hash_one(token.expose_secret()),
        resource: if resource.is_empty() {
            0
        } else {
            HASHES.hash_one(resource)
        },
    }
}

/// Draws a call from its bucket.
pub(super) fn take(route: Route) -> Result<(), DiscordError> {
    buckets().take(route, now()).map_err(|held| DiscordError::RateLimited {
        retry_after: Some(held.retry_after),
        global: held.reach != Reach::Bucket,
        shared: false,
        held_back: true,
    })
}

/// Takes over what an answer's headers say.
pub(super) fn note(route: Route, headers: &HeaderMap) {
    if let Some(seen) = seen(headers) {
        buckets().note(route, seen, now());
    }
}

/// Takes over that a call was refused, if it was for its rate.
pub(super) fn refuse(route: Route, refusal: &Refusal) {
    if let (Some(reach), Some(retry_after)) = (refusal.limit, refusal.retry_after) {
        buckets().refuse(route, reach, retry_after, now());
    }
}

/// What the headers say of a bucket, if they say enough.
fn seen(headers: &HeaderMap) -> Option<Seen> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let reset_after = text("x-ratelimit-reset-after")?.trim().parse::<f64>().ok()?;
    Some(Seen {
        bucket: text("x-ratelimit-bucket").map(str::to_owned),
        remaining: text("x-ratelimit-remaining")?.trim().parse().ok()?,
        reset_after: Duration::try_from_secs_f64(reset_after).ok()?,
    })
}

fn now() -> Duration {
    STARTED.elapsed()
}

fn buckets() -> MutexGuard<'static, Buckets> {
    BUCKETS.lock().unwrap_or_else(PoisonError::into_inner)
}
