//! The application's other functions, called inside of it, as a service (<https://spinframework.dev/v3/http-outbound#local-service-chaining>).

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{StatusCode, header};
use secrecy::{ExposeSecret, SecretString};
use thiserror::Error;

use crate::context::RequestContext;
use crate::outbound::{self, Limits, within};
use crate::settings::{self, SettingsError};

/// The largest answer of a function, in bytes.
const ANSWER_MAX_BYTES: usize = 2 * 1024 * 1024;

/// The functions beside this one, and what they are shown.
#[derive(Debug)]
pub struct OtherFunctions {
    token: Option<SecretString>,
}

/// A call of a function.
#[derive(Clone, Debug)]
pub struct FunctionCall<'a> {
    /// The function.
    pub function: &'static str,
    /// Where in it: `/sweep`.
    pub path: &'static str,
    /// What makes it the same call when it is made again.
    pub idempotency_key: Option<&'a str>,
    /// What is asked, as JSON; empty for nothing.
    pub body: Bytes,
    /// How long it may take.
    pub limit: Duration,
}

/// What a function answered, whatever its status.
#[derive(Debug)]
pub struct FunctionAnswer {
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
    headers: HeaderMap,
}

/// Why a function did not answer. Whether it did what was asked is unknown.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("it does not answer: {0}")]
pub struct Unanswered(String);

impl OtherFunctions {
    /// With the deployment's service token, from the setting `service_token`. Where it is empty the others refuse.
    ///
    /// # Errors
    ///
    /// If the setting is missing.
    pub async fn from_settings() -> Result<Self, SettingsError> {
        Ok(Self {
            token: settings::secret("service_token").await?,
        })
    }

    /// Makes a call, once.
    ///
    /// # Errors
    ///
    /// If there is no answer within its limit.
    pub async fn post(&self, context: &RequestContext, call: &FunctionCall<'_>) -> Result<FunctionAnswer, Unanswered> {
        // Inside the application Spin keeps no limit of a call.
        let answer = within(call.limit, self.send(context, call)).await;
        answer.unwrap_or_else(|| Err(Unanswered("it was too slow".to_owned())))
    }

    async fn send(&self, context: &RequestContext, call: &FunctionCall<'_>) -> Result<FunctionAnswer, Unanswered> {
        let limits = Limits {
            connect: call.limit,
            first_byte: call.limit,
            between_bytes: call.limit,
        };
        let unanswered = |error: outbound::OutboundError| Unanswered(error.to_string());
        let response = outbound::send(context, call.function, self.request(call)?, limits)
            .await
            .map_err(unanswered)?;

        Ok(FunctionAnswer {
            status: response.status,
            headers: response.headers.clone(),
            body: response.bytes(ANSWER_MAX_BYTES).await.map_err(unanswered)?,
        })
    }

    fn request(&self, call: &FunctionCall<'_>) -> Result<http::Request<Bytes>, Unanswered> {
        let (function, path) = (call.function, call.path);
        let mut request = http::Request::post(format!("http://{function}.spin.internal/functions/v1/{function}{path}"))
            .header(ACCEPT, "application/json");
        if !call.body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            let mut token = HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
                .map_err(|_| Unanswered("the service token is not a header value".to_owned()))?;
            token.set_sensitive(true);
            request = request.header(AUTHORIZATION, token);
        }
        if let Some(key) = call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        request
            .body(call.body.clone())
            .map_err(|_| Unanswered("the address is not a URL".to_owned()))
    }
}

impl FunctionAnswer {
    /// `Retry-After`, which our functions give in seconds.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_secs(seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(token: &str, body: &'static str) -> Result<http::Request<Bytes>, Unanswered> {
        let functions = OtherFunctions {
            token: Some(token.into()),
        };
        functions.request(&FunctionCall {
            function: "chat",
            path: "/outside",
            idempotency_key: Some("k"),
            body: body.into(),
            limit: Duration::from_secs(1),
        })
    }

    #[test]
    fn a_call_stays_inside_and_does_not_show_the_token() {
        let request = request("canary", "{}").unwrap();

        assert_eq!(request.uri(), "http://chat.spin.internal/functions/v1/chat/outside");
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer canary");
        assert_eq!(request.headers()["idempotency-key"], "k");
        assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
        assert!(!format!("{request:?}").contains("canary"));
    }

    #[test]
    fn what_is_no_token_is_not_repeated() {
        let error = request("canary\n", "").unwrap_err();

        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}
