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

#[cfg(test)]
mod tests {
    use agentopia_domain::discord::buckets::Reach;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn the_headers_of_a_bucket_are_read() {
        let all = [
            ("x-ratelimit-limit", "5"),
            ("x-ratelimit-remaining", "0"),
            ("x-ratelimit-reset", "1470173023.123"),
            ("x-ratelimit-reset-after", "64.57"),
            ("x-ratelimit-bucket", "abcd1234"),
        ];
        let expected = Seen {
            bucket: Some("abcd1234".to_owned()),
            remaining: 0,
            reset_after: Duration::from_millis(64_570),
        };

        assert_eq!(seen(&headers(&all)), Some(expected));
        for (name, value) in [
            ("x-ratelimit-remaining", "-1"),
            ("x-ratelimit-remaining", ""),
            ("x-ratelimit-reset-after", "NaN"),
            ("x-ratelimit-reset-after", "-1"),
            ("x-ratelimit-reset-after", "1e300"),
        ] {
            let mut headers = headers(&all);
            headers.insert(name, value.parse().unwrap());
            assert_eq!(seen(&headers), None, "{name}: {value}");
        }
        assert_eq!(seen(&HeaderMap::new()), None);
    }

    #[test]
    fn a_call_is_held_back_for_its_token_and_resource_alone() {
        let (token, other) = (SecretString::from("one of this test"), SecretString::from("another"));
        let call = "GET /of/this/test";
        let drained = route(call, &token, "1");

        take(drained).unwrap();
        note(
            drained,
            &headers(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset-after", "60")]),
        );

        let Err(DiscordError::RateLimited {
            retry_after: Some(retry_after),
            global: false,
            shared: false,
            held_back: true,
        }) = take(drained)
        else {
            panic!("it was let through");
        };
        assert!(retry_after <= Duration::from_secs(60) && retry_after > Duration::from_secs(30));
        assert_eq!(take(route(call, &token, "2")), Ok(()));
        assert_eq!(take(route(call, &other, "1")), Ok(()));
    }

    #[test]
    fn a_refusal_holds_back_as_far_as_it_reaches() {
        let token = SecretString::from("one more of this test");
        let refusal = |status, limit| Refusal {
            status,
            code: None,
            retry_after: Some(Duration::from_secs(60)),
            limit,
            shared: false,
        };
        let (bucket, elsewhere) = (route("GET /a", &token, ""), route("GET /b", &token, ""));

        refuse(bucket, &refusal(500, None));
        assert_eq!(take(bucket), Ok(()));
        refuse(bucket, &refusal(429, Some(Reach::Bucket)));
        assert!(matches!(
            take(bucket),
            Err(DiscordError::RateLimited { global: false, .. })
        ));
        assert_eq!(take(elsewhere), Ok(()));
        refuse(bucket, &refusal(429, Some(Reach::Caller)));
        assert!(matches!(
            take(elsewhere),
            Err(DiscordError::RateLimited { global: true, .. })
        ));
    }
}
