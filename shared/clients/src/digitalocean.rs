//! DigitalOcean's API v2 (<https://docs.digitalocean.com/reference/api/>), as far as a toolbox's machine needs it.
//!
//! Nothing is repeated in here: creating has no idempotency key, so that only a caller who looks for the machine by its tag first may ask again.

mod wire;

use std::net::Ipv4Addr;
use std::time::Duration;

use agentopia_domain::retry::Failure;
use agentopia_platform::RequestContext;
use agentopia_platform::outbound::{self, Limits, OutboundError};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::Method;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use url::form_urlencoded;

/// The name under which calls are logged.
pub const PROVIDER: &str = "digitalocean";

const ERROR_MAX_BYTES: usize = 64 * 1024;
const DROPLET_MAX_BYTES: usize = 256 * 1024;
/// 200 droplets, each with its region's and its image's lists in it.
const PAGE_MAX_BYTES: usize = 8 * 1024 * 1024;
const PAGE_ROWS: u32 = 200;
const PAGES_MAX: u32 = 10;

/// DigitalOcean.
#[derive(Debug)]
pub struct DigitalOcean {
    /// Where the API is, without a slash at the end: `https://api.digitalocean.com`.
    pub base_url: String,
    /// The account's token.
    pub token: SecretString,
    /// How long a call may take, part by part.
    pub limits: Limits,
}

/// A machine that is asked for. It has no `Debug`: the user data holds a secret.
#[derive(Clone, Copy)]
pub struct NewDroplet<'a> {
    /// The machine's hostname: letters, digits, `.` and `-`.
    pub name: &'a str,
    /// The slug of a region.
    pub region: &'a str,
    /// The slug of a size.
    pub size: &'a str,
    /// The slug or the number of an image.
    pub image: &'a str,
    /// Tags of letters, digits, `:`, `-` and `_`. They are there from the first moment on.
    pub tags: &'a [String],
    /// The fingerprints or the numbers of the account's keys that may log in as root.
    pub ssh_keys: &'a [String],
    /// What cloud-init does at the first boot; at most 64 KiB.
    pub user_data: &'a str,
}

/// A machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Droplet {
    /// DigitalOcean's number for it.
    pub id: u64,
    /// The name that it was created with.
    pub name: String,
    /// Where it is in its life.
    pub status: DropletStatus,
    /// The tags that it bears.
    pub tags: Vec<String>,
    /// The slug of its region.
    pub region: String,
    /// The slug of its size.
    pub size: String,
    /// Its address on the internet; there is none before it is [`DropletStatus::Active`].
    pub public_ipv4: Option<Ipv4Addr>,
    /// When it was asked for.
    pub created_at: Option<DateTime<Utc>>,
}

/// Where a machine is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DropletStatus {
    /// It is being made.
    New,
    /// It runs.
    Active,
    /// It is switched off, and costs what it costs when it runs.
    Off,
    /// It is an archive.
    Archive,
    /// A status that this client does not know.
    Unknown,
}

/// What deleting found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deleted {
    /// The machine is being destroyed.
    Done,
    /// There is no such machine.
    Absent,
}

/// A region, under the field names of the API, which are those of the web frontend too.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Region {
    /// Its identifier, such as `nyc3`.
    pub slug: String,
    /// Its name for people.
    pub name: String,
    /// Whether it takes new machines.
    pub available: bool,
    /// What it offers, such as `metadata`.
    #[serde(default)]
    pub features: Vec<String>,
    /// The slugs of its sizes; empty for a token without the right to read them.
    #[serde(default)]
    pub sizes: Vec<String>,
}

/// A size of machine, under the field names of the API, which are those of the web frontend too.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Size {
    /// Its identifier, such as `s-1vcpu-1gb`.
    pub slug: String,
    /// Memory in megabytes.
    pub memory: u64,
    /// Virtual processors.
    pub vcpus: u32,
    /// Disk in gigabytes.
    pub disk: u64,
    /// Outgoing traffic in terabytes a month.
    pub transfer: f64,
    /// US dollars a month.
    pub price_monthly: f64,
    /// US dollars an hour.
    pub price_hourly: f64,
    /// The slugs of the regions that have it.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Whether new machines may have it.
    pub available: bool,
    /// Its class, such as `Basic`.
    #[serde(default)]
    pub description: String,
}

/// Why a call did not do what was asked.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum DigitalOceanError {
    /// Too many requests in this minute or this hour.
    #[error("DigitalOcean limits the rate")]
    RateLimited {
        /// When the next request may come, if DigitalOcean said so.
        retry_after: Option<Duration>,
    },
    /// The token is not accepted, or may not do this.
    #[error("DigitalOcean does not accept the token")]
    Unauthorized,
    /// What was asked for cannot be had.
    #[error("DigitalOcean refused: {message}")]
    Invalid {
        /// DigitalOcean's sentence, cut to 300 characters, without control characters.
        message: String,
    },
    /// The machine is in the middle of something else.
    #[error("the droplet has a pending event")]
    Busy,
    /// There is no such thing.
    #[error("DigitalOcean does not have it")]
    NotFound,
    /// DigitalOcean failed.
    #[error("DigitalOcean failed: {0}")]
    Failed(String),
    /// A time limit passed.
    #[error("DigitalOcean was too slow")]
    TimedOut,
    /// There was no connection, or it broke.
    #[error("the connection to DigitalOcean broke: {0}")]
    Broken(String),
    /// What arrived is not what the API says.
    #[error("DigitalOcean's answer is malformed: {0}")]
    Malformed(String),
    /// The request cannot be sent as things are set up.
    #[error("the request cannot be sent: {0}")]
    Unsendable(String),
}

impl DigitalOcean {
    /// All machines that bear a tag.
    ///
    /// # Errors
    ///
    /// If not all of them can be told, which includes that there are more than 2,000.
    pub async fn list_droplets_by_tag(
        &self,
        context: &RequestContext,
        tag: &str,
    ) -> Result<Vec<Droplet>, DigitalOceanError> {
        let tag: String = form_urlencoded::byte_serialize(tag.as_bytes()).collect();
        let rows: Vec<wire::Droplet> = self.list(context, &format!("droplets?tag_name={tag}&")).await?;
        Ok(rows.into_iter().map(Droplet::from).collect())
    }

    /// A machine; `None` if there is none of this number.
    ///
    /// # Errors
    ///
    /// If it cannot be told.
    pub async fn get_droplet(&self, context: &RequestContext, id: u64) -> Result<Option<Droplet>, DigitalOceanError> {
        let request = self.request(Method::GET, &format!("droplets/{id}"), Bytes::new())?;
        match self.call(context, request, DROPLET_MAX_BYTES).await {
            Ok(body) => wire::droplet(&body).map(Some),
            Err(DigitalOceanError::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for a machine, once.
    ///
    /// # Errors
    ///
    /// If there is no answer that there will be one. If [`DigitalOceanError::is_ambiguous`], there may be one all the same.
    pub async fn create_droplet(
        &self,
        context: &RequestContext,
        droplet: &NewDroplet<'_>,
    ) -> Result<Droplet, DigitalOceanError> {
        let body = serde_json::to_vec(&wire::CreateDroplet::from(droplet))
            .map_err(|error| DigitalOceanError::Unsendable(error.to_string()))?;
        let request = self.request(Method::POST, "droplets", body.into())?;
        let body = self.call(context, request, DROPLET_MAX_BYTES).await?;
        wire::droplet(&body)
    }

    /// Destroys a machine and its disk.
    ///
    /// # Errors
    ///
    /// If there is no answer that it is going or gone. Asking again does no harm.
    pub async fn delete_droplet(&self, context: &RequestContext, id: u64) -> Result<Deleted, DigitalOceanError> {
        let request = self.request(Method::DELETE, &format!("droplets/{id}"), Bytes::new())?;
        match self.call(context, request, ERROR_MAX_BYTES).await {
            Ok(_) => Ok(Deleted::Done),
            Err(DigitalOceanError::NotFound) => Ok(Deleted::Absent),
            Err(error) => Err(error),
        }
    }

    /// All regions.
    ///
    /// # Errors
    ///
    /// If they cannot be told.
    pub async fn list_regions(&self, context: &RequestContext) -> Result<Vec<Region>, DigitalOceanError> {
        self.list(context, "regions?").await
    }

    /// All sizes.
    ///
    /// # Errors
    ///
    /// If they cannot be told.
    pub async fn list_sizes(&self, context: &RequestContext) -> Result<Vec<Size>, DigitalOceanError> {
        self.list(context, "sizes?").await
    }

    /// Collects the pages of a list. The address of the next one is made here: what the answer gives may lead anywhere.
    async fn list<T: DeserializeOwned>(
        &self,
        context: &RequestContext,
        path: &str,
    ) -> Result<Vec<T>, DigitalOceanError> {
        let mut rows = Vec::new();
        for number in 1..=PAGES_MAX {
            let path = format!("{path}per_page={PAGE_ROWS}&page={number}");
            let request = self.request(Method::GET, &path, Bytes::new())?;
            let body = self.call(context, request, PAGE_MAX_BYTES).await?;
            let page = wire::page(&body)?;
            rows.extend(page.rows);
            if !page.has_next {
                return Ok(rows);
            }
        }
        Err(DigitalOceanError::Malformed(format!(
            "there are more than {PAGES_MAX} pages"
        )))
    }

    /// A request below `/v2/`.
    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<http::Request<Bytes>, DigitalOceanError> {
        let mut token = HeaderValue::try_from(format!("Bearer {}", self.token.expose_secret()))
            .map_err(|_| DigitalOceanError::Unsendable("the token is not a header value".to_owned()))?;
        token.set_sensitive(true);

        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}/v2/{path}", self.base_url))
            .header(AUTHORIZATION, token)
            .header(ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request
            .body(body)
            .map_err(|error| DigitalOceanError::Unsendable(error.to_string()))
    }

    /// Sends a request; the body of an answer that is a success.
    async fn call(
        &self,
        context: &RequestContext,
        request: http::Request<Bytes>,
        body_limit: usize,
    ) -> Result<Bytes, DigitalOceanError> {
        let response = outbound::send(context, PROVIDER, request, self.limits).await?;
        let status = response.status;
        if status.is_success() {
            return Ok(response.bytes(body_limit).await?);
        }

        let retry_after = retry_after(&response.headers, context.now());
        let body = response.bytes(ERROR_MAX_BYTES).await.unwrap_or_default();
        Err(wire::refusal(status.as_u16(), retry_after, &body))
    }
}

impl DigitalOceanError {
    /// Whether what was asked for may have been done all the same: a machine may have been created.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Failed(_) | Self::TimedOut | Self::Broken(_) | Self::Malformed(_) => true,
            Self::RateLimited { .. }
            | Self::Unauthorized
            | Self::Invalid { .. }
            | Self::Busy
            | Self::NotFound
            | Self::Unsendable(_) => false,
        }
    }

    /// Whether the same request may succeed when it is repeated; a creation only after a look for what it made.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::RateLimited { retry_after } => Failure::Transient {
                retry_after: *retry_after,
            },
            Self::Busy | Self::Failed(_) | Self::TimedOut | Self::Broken(_) => Failure::Transient { retry_after: None },
            Self::Unauthorized | Self::Invalid { .. } | Self::NotFound | Self::Malformed(_) | Self::Unsendable(_) => {
                Failure::Permanent
            }
        }
    }
}

impl From<OutboundError> for DigitalOceanError {
    fn from(error: OutboundError) -> Self {
        match error {
            OutboundError::TimedOut => Self::TimedOut,
            OutboundError::Denied(cause) => Self::Unsendable(cause),
            OutboundError::Broken(cause) => Self::Broken(cause),
        }
    }
}

/// When the next request may come: `Retry-After` in seconds for the limit of a minute, else the moment at which the oldest request of the
/// hour no longer counts.
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<i64>().ok();
    let seconds = match number(RETRY_AFTER.as_str()) {
        Some(seconds) => seconds,
        None => number("ratelimit-reset")?.checked_sub(now.timestamp())?,
    };
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> DigitalOcean {
        DigitalOcean {
            base_url: "https://api.example".to_owned(),
            token: SecretString::from("dop_v1_canary"),
            limits: Limits {
                connect: Duration::from_secs(1),
                first_byte: Duration::from_secs(1),
                between_bytes: Duration::from_secs(1),
            },
        }
    }

    #[test]
    fn a_request_carries_the_token_and_does_not_show_it() {
        let request = client().request(Method::GET, "droplets/7", Bytes::new()).unwrap();

        assert_eq!(request.uri(), "https://api.example/v2/droplets/7");
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer dop_v1_canary");
        assert!(request.headers().get(CONTENT_TYPE).is_none());
        assert!(!format!("{request:?} {:?}", client()).contains("canary"));
    }

    #[test]
    fn a_body_is_announced_as_json() {
        let request = client().request(Method::POST, "droplets", "{}".into()).unwrap();

        assert_eq!(request.headers()[CONTENT_TYPE], "application/json");
    }

    #[test]
    fn a_token_that_is_no_header_value_is_not_repeated() {
        let client = DigitalOcean {
            token: SecretString::from("canary\n"),
            ..client()
        };

        let error = client.request(Method::GET, "regions?", Bytes::new()).unwrap_err();

        assert!(matches!(&error, DigitalOceanError::Unsendable(cause) if !cause.contains("canary")));
    }

    #[test]
    fn the_pause_is_what_digitalocean_asks_for() {
        type Headers<'a> = &'a [(&'a str, &'a str)];
        let now = DateTime::from_timestamp(1_402_425_459, 0).unwrap();
        let cases: [(Headers<'_>, Option<u64>); 7] = [
            (&[("retry-after", "29"), ("ratelimit-reset", "1402429059")], Some(29)),
            (&[("ratelimit-reset", "1402425519")], Some(60)),
            (&[("ratelimit-reset", "1402425459")], Some(0)),
            (&[("ratelimit-reset", "1402425400")], None),
            (&[("retry-after", "-1")], None),
            (&[("ratelimit-reset", "-9223372036854775808")], None),
            (&[], None),
        ];

        for (headers, expected) in cases {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(http::HeaderName::from_static(name), value.parse().unwrap());
            }
            assert_eq!(retry_after(&map, now), expected.map(Duration::from_secs), "{headers:?}");
        }
    }

    #[test]
    fn what_may_have_been_done_is_told_from_what_was_not() {
        use DigitalOceanError as Error;
        let after = Some(Duration::from_secs(2));
        let transient = |retry_after| Failure::Transient { retry_after };
        let cases = [
            (Error::RateLimited { retry_after: after }, false, transient(after)),
            (Error::Unauthorized, false, Failure::Permanent),
            (Error::Invalid { message: String::new() }, false, Failure::Permanent),
            (Error::Busy, false, transient(None)),
            (Error::NotFound, false, Failure::Permanent),
            (Error::Failed("500".into()), true, transient(None)),
            (Error::from(OutboundError::TimedOut), true, transient(None)),
            (
                Error::from(OutboundError::Broken("reset".into())),
                true,
                transient(None),
            ),
            (Error::Malformed("no id".into()), true, Failure::Permanent),
            (
                Error::from(OutboundError::Denied("host".into())),
                false,
                Failure::Permanent,
            ),
        ];

        for (error, is_ambiguous, failure) in cases {
            assert_eq!(
                (error.is_ambiguous(), error.failure()),
                (is_ambiguous, failure),
                "{error}"
            );
        }
    }
}
