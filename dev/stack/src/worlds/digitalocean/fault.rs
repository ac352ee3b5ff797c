//! The ways in which the world behaves badly on request.

use std::time::Duration;

/// A way to behave badly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 429: with `Retry-After` as for the limit of a minute, or without it as for the limit of an hour.
    RateLimited(Option<Duration>),
    /// 500, and nothing is done.
    ServerError,
    /// 503, and nothing is done.
    Unavailable,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 422 with this message.
    Invalid(String),
    /// 422 because the droplet is in the middle of something else.
    Pending,
    /// What was asked is done, and no answer comes.
    Stall,
    /// What was asked is done, and the connection is dropped instead of an answer.
    Drop,
    /// What was asked is done, and the answer is 500.
    DoneAndFailed,
    /// What was asked is done, and the answer is a page of HTML.
    Malformed,
    /// Nothing is done, and no answer comes.
    Silence,
    /// The droplet is made, and stays `new` until [`super::DigitalOceanWorld::activate`].
    NeverBoots,
    /// The droplet is made, and is in no list for this long.
    Unlisted(Duration),
}

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Any.
    Any,
    /// `POST /v2/droplets`
    Create,
    /// `GET /v2/droplets/<id>`
    Show,
    /// `GET /v2/droplets`
    List,
    /// `DELETE /v2/droplets/<id>`
    Delete,
    /// `GET /v2/regions`
    Regions,
    /// `GET /v2/sizes`
    Sizes,
}

/// Which requests a fault strikes.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    call: Call,
    pub(super) fault: Fault,
    times: Option<u32>,
    about: Option<String>,
}

impl FaultPlan {
    /// The next request of a kind.
    pub fn new(call: Call, fault: Fault) -> Self {
        Self {
            call,
            fault,
            times: Some(1),
            about: None,
        }
    }

    /// So many of them.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// All of them, until [`super::DigitalOceanWorld::mend`].
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// Only requests with this text in their query or body, or in the name or a tag of the droplet that they are for:
    /// tests that run side by side do not use up each other's faults.
    #[must_use]
    pub fn about(mut self, text: impl Into<String>) -> Self {
        self.about = Some(text.into());
        self
    }

    /// Whether it is spent.
    pub(super) fn is_spent(&self) -> bool {
        self.times == Some(0)
    }

    /// Whether it is for requests with this text.
    pub(super) fn is_about(&self, text: &str) -> bool {
        self.about.as_deref() == Some(text)
    }

    /// Strikes, if the request is one that it is for.
    pub(super) fn strikes(&mut self, call: Call, text: &str) -> bool {
        let is_meant = [Call::Any, call].contains(&self.call)
            && self.about.as_deref().is_none_or(|about| text.contains(about))
            && !self.is_spent();
        if is_meant {
            self.times = self.times.map(|times| times - 1);
        }
        is_meant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_strikes_what_it_is_for_and_so_often() {
        let mut plan = FaultPlan::new(Call::Create, Fault::ServerError).times(2).about("tb-1");

        let struck: Vec<_> = [
            (Call::Delete, "tb-1"),
            (Call::Create, "tb-2"),
            (Call::Create, "a tb-1"),
            (Call::Create, "tb-1"),
            (Call::Create, "tb-1"),
        ]
        .into_iter()
        .map(|(call, text)| plan.strikes(call, text))
        .collect();

        assert_eq!(struck, [false, false, true, true, false]);
        assert!(plan.is_spent() && plan.is_about("tb-1"));
    }

    #[test]
    fn a_plan_may_last() {
        let mut plan = FaultPlan::new(Call::Any, Fault::Unauthorized).always();

        assert!((0..100).all(|_| plan.strikes(Call::Sizes, "")));
    }
}
