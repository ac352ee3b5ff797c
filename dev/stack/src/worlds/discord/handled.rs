//! What becomes of a call: its answer, when it comes and whether it does.

use std::time::Duration;

use axum::http::{StatusCode, header};

use super::fault::Fault;
use super::refusal::{Refusal, Scope, is_shared, limited};
use crate::worlds::answer::{Answer, Delivery};

/// What becomes of a call.
#[derive(Debug)]
pub(super) enum Handled {
    /// It is answered, or not.
    Answered {
        answer: Answer,
        delivery: Delivery,
        /// How long the answer is held back.
        delay: Duration,
    },
    /// It is done and answered after this time.
    Later(Duration),
}

impl Handled {
    /// The answer at once.
    pub(super) fn whole(answer: Answer) -> Self {
        Self::with(answer, Delivery::Whole)
    }

    fn with(answer: Answer, delivery: Delivery) -> Self {
        Self::Answered {
            answer,
            delivery,
            delay: Duration::ZERO,
        }
    }

    /// What a fault makes of a call that is then not done.
    pub(super) fn before(fault: Fault) -> Option<Self> {
        Some(Self::whole(match fault {
            Fault::RateLimited { retry_after, global } => {
                limited(retry_after, if global { Scope::Global } else { Scope::User })
            }
            Fault::SharedLimit(wait) => limited(wait, Scope::Shared),
            Fault::Banned(wait) => Answer::page(StatusCode::TOO_MANY_REQUESTS, "<html>error code: 1015</html>")
                .with(header::RETRY_AFTER, wait.as_secs_f64().ceil()),
            Fault::Blocked => Answer::page(StatusCode::FORBIDDEN, "<html>error code: 1010</html>"),
            Fault::ServerError => Refusal::server_error().answer(),
            Fault::Silence => return Some(Self::with(Answer::empty(StatusCode::OK), Delivery::Withheld)),
            Fault::Break => return Some(Self::with(Answer::empty(StatusCode::OK), Delivery::Dropped)),
            Fault::Late(delay) => return Some(Self::Later(delay)),
            Fault::Stall | Fault::Drop | Fault::DoneAndFailed | Fault::Malformed | Fault::Delayed(_) => return None,
        }))
    }

    /// What a fault makes of the answer to a call that is done.
    pub(super) fn after(answer: Answer, fault: Option<Fault>) -> Self {
        match fault {
            Some(Fault::DoneAndFailed) => Self::whole(Refusal::server_error().answer()),
            Some(Fault::Malformed) => Self::whole(Answer::page(StatusCode::OK, "<html>It works!</html>")),
            Some(Fault::Stall) => Self::with(answer, Delivery::Withheld),
            Some(Fault::Drop) => Self::with(answer, Delivery::Dropped),
            Some(Fault::Delayed(delay)) => Self::Answered {
                answer,
                delivery: Delivery::Whole,
                delay,
            },
            _ => Self::whole(answer),
        }
    }

    /// With something done to the answer.
    pub(super) fn map(self, change: impl FnOnce(Answer) -> Answer) -> Self {
        match self {
            Self::Answered {
                answer,
                delivery,
                delay,
            } => Self::Answered {
                answer: change(answer),
                delivery,
                delay,
            },
            Self::Later(delay) => Self::Later(delay),
        }
    }

    /// Whether Discord counts it as an invalid request.
    pub(super) fn is_invalid_request(&self) -> bool {
        match self {
            Self::Answered { answer, .. } => match answer.status() {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => true,
                StatusCode::TOO_MANY_REQUESTS => !is_shared(answer),
                _ => false,
            },
            Self::Later(_) => false,
        }
    }

    /// The status that the client sees, if it sees an answer.
    pub(super) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Answered {
                answer,
                delivery: Delivery::Whole,
                ..
            } => Some(answer.status()),
            _ => None,
        }
    }
}
