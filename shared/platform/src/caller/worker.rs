//! `caller::Worker`: a Discord worker, by the hash of the token that it was started with; and `caller::UserOrWorker`, for routes that serve both.
//!
//! As with machines, whose token it is and whether that worker still runs, the operation finds out in the statement that does the work.

use axum::extract::{FromRef, FromRequestParts};
use http::request::Parts;

use super::toolbox::presented;
use super::{TokenRefusals, User, UserTokens, bearer};
use crate::bearer::{TokenHash, WorkerToken};
use crate::error::ApiError;

/// The gateway worker of an agent's bot, which presents a token of the right form.
#[derive(Clone, Debug)]
pub struct Worker {
    /// The proof, for operations: they look the worker up by it.
    pub token_hash: TokenHash,
}

/// Who may talk to agents.
#[derive(Clone, Debug)]
pub enum UserOrWorker {
    /// A person, for themselves.
    User(User),
    /// A worker, for the people whom its bot hears.
    Worker(Worker),
}

impl<S> FromRequestParts<S> for Worker
where
    S: Send + Sync,
    TokenRefusals: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let token_hash = presented(parts, TokenRefusals::from_ref(state), WorkerToken::hash_presented)?;
        Ok(Self { token_hash })
    }
}

/// What begins as a worker's token does is a worker's or nobody's; everything else is judged as a user's.
impl<S> FromRequestParts<S> for UserOrWorker
where
    S: Send + Sync,
    TokenRefusals: FromRef<S>,
    UserTokens: FromRef<S>,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        if bearer(parts).is_some_and(|token| token.starts_with(WorkerToken::PREFIX)) {
            Worker::from_request_parts(parts, state).await.map(Self::Worker)
        } else {
            User::from_request_parts(parts, state).await.map(Self::User)
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use http::header::AUTHORIZATION;

    use super::*;
    use crate::bearer::ToolboxToken;

    const REFUSALS: TokenRefusals = TokenRefusals {
        missing: "missing",
        invalid: "invalid",
    };

    fn worker(header: Option<&str>) -> Result<TokenHash, ApiError> {
        let mut request = http::Request::builder();
        if let Some(header) = header {
            request = request.header(AUTHORIZATION, header);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        block_on(Worker::from_request_parts(&mut parts, &REFUSALS)).map(|worker| worker.token_hash)
    }

    #[test]
    fn a_worker_is_known_by_the_hash_of_its_token() {
        let token = WorkerToken::generate();

        assert_eq!(
            worker(Some(&format!("Bearer {}", token.expose()))).unwrap(),
            token.hash_hex()
        );
    }

    #[test]
    fn what_is_no_workers_token_is_nobodys() {
        let toolbox = format!("Bearer {}", ToolboxToken::generate().expose());
        for (header, code, message) in [
            (None, "missing_token", "missing"),
            (Some("Bearer agt_wk_"), "invalid_token", "invalid"),
            (Some("Bearer agt_wk_short"), "invalid_token", "invalid"),
            (Some(toolbox.as_str()), "invalid_token", "invalid"),
        ] {
            let error = worker(header).unwrap_err();

            assert_eq!(
                (error.status().as_u16(), error.code(), error.message()),
                (401, code, message),
                "{header:?}"
            );
        }
    }
}
