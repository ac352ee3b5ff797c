//! Which failures of an outside service are worth another attempt, and when.

use std::time::Duration;

/// How an attempt failed, as far as trying again goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The same call may succeed soon; the service may have said when.
    Transient {
        /// What `Retry-After` said.
        retry_after: Option<Duration>,
    },
    /// The same call will fail in the same way.
    Permanent,
}

/// How often and how patiently a call is repeated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryPolicy {
    /// Attempts after the first.
    pub retries: u32,
    /// The upper bound of the first pause; each further bound is twice the one before.
    pub base: Duration,
    /// No pause is longer than this, whatever the service asks for.
    pub longest_pause: Duration,
}

impl RetryPolicy {
    /// The pause before attempt `attempt + 2`, or `None` if the call is not to be repeated.
    ///
    /// `attempt` counts failures so far from zero, `time_left` is what remains until the caller's deadline, and `random` is
    /// drawn uniformly from 0 to 1. The pause is drawn from zero to the bound ("full jitter"), so that callers that failed together do
    /// not return together; a `Retry-After` is kept to the letter or, if it exceeds what may be waited, ends the attempts.
    #[must_use]
    pub fn pause(&self, failure: Failure, attempt: u32, time_left: Duration, random: f64) -> Option<Duration> {
        let Failure::Transient { retry_after } = failure else {
            return None;
        };
        if attempt >= self.retries {
            return None;
        }

        let bound = self
            .base
            .saturating_mul(2_u32.saturating_pow(attempt))
            .min(self.longest_pause);
        let jittered = bound.mul_f64(random.clamp(0.0, 1.0));
        let pause = match retry_after {
            Some(asked) if asked > self.longest_pause => return None,
            Some(asked) => asked.saturating_add(jittered.min(asked / 10)),
            None => jittered,
        };

        (pause < time_left).then_some(pause)
    }

    /// The pause before durable work is taken up again that failed `attempts` times before it failed like this.
    ///
    /// `random` is drawn uniformly from 0 to 1. Half of the bound is certain, so that nothing is tried again at once; a `Retry-After` is kept to the letter, however
    /// long it is, and what will fail in the same way is tried as seldom as the policy has it.
    #[must_use]
    pub fn pause_of_job(&self, failure: Failure, attempts: u32, random: f64) -> Duration {
        let asked = match failure {
            Failure::Transient { retry_after } => retry_after,
            Failure::Permanent => Some(self.longest_pause),
        };
        let unasked = Failure::Transient { retry_after: None };
        let jitter = 0.5 + random / 2.0;
        asked
            .or_else(|| self.pause(unasked, attempts, Duration::MAX, jitter))
            .unwrap_or(self.longest_pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        retries: 2,
        base: Duration::from_millis(500),
        longest_pause: Duration::from_secs(10),
    };
    const LONG: Duration = Duration::from_secs(60);

    fn transient(retry_after: Option<u64>) -> Failure {
        Failure::Transient {
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn pauses_follow_the_table() {
        let cases = [
            ("first, by jitter", transient(None), 0, LONG, 0.5, Some(250)),
            ("second, twice the bound", transient(None), 1, LONG, 0.5, Some(500)),
            ("no third", transient(None), 2, LONG, 0.5, None),
            ("permanent", Failure::Permanent, 0, LONG, 0.5, None),
            ("as the service asks", transient(Some(2)), 0, LONG, 0.0, Some(2000)),
            ("asks for too much", transient(Some(11)), 0, LONG, 0.0, None),
            (
                "no time left for it",
                transient(Some(2)),
                0,
                Duration::from_secs(2),
                0.0,
                None,
            ),
            ("jitter out of range", transient(None), 0, LONG, 7.0, Some(500)),
        ];

        for (name, failure, attempt, time_left, random, expected) in cases {
            let pause = POLICY.pause(failure, attempt, time_left, random);
            assert_eq!(pause, expected.map(Duration::from_millis), "{name}");
        }
    }

    #[test]
    fn pauses_of_jobs_grow_and_follow_what_was_asked() {
        let patience = RetryPolicy {
            retries: u32::MAX,
            base: Duration::from_secs(10),
            longest_pause: Duration::from_secs(600),
        };
        let hour = Some(3600);

        for (attempts, least, most) in [(0, 5, 10), (3, 40, 80), (40, 300, 600)] {
            for (random, expected) in [(0.0, least), (1.0, most)] {
                let pause = patience.pause_of_job(transient(None), attempts, random);
                assert_eq!(pause, Duration::from_secs(expected), "{attempts} {random}");
            }
        }
        assert_eq!(
            patience.pause_of_job(transient(hour), 0, 0.5),
            Duration::from_secs(3600)
        );
        assert_eq!(
            patience.pause_of_job(Failure::Permanent, 0, 0.5),
            patience.longest_pause
        );
        assert_eq!(POLICY.pause_of_job(transient(None), 2, 0.5), POLICY.longest_pause);
    }
}
