//! DigitalOcean's API v2, as far as a toolbox's machine needs it: droplets, regions, sizes.
//!
//! Droplets are made, come up, are listed by tag and are destroyed, as the
//! [API reference](https://docs.digitalocean.com/reference/api/) says and the service is known to do. What they are told
//! by their user data is there to be read, so that something else can play the machine. A [fault plan](FaultPlan) makes
//! requests fail in the ways that lose machines.

mod catalog;
mod droplets;
mod fault;
mod refusal;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::answer::{Answer, Delivery};
use super::connection::Connection;
use super::server::Server;
use crate::StackError;
use droplets::{Machine, Wanted};
use refusal::Refusal;

pub use droplets::{Boot, Droplet, Status};
pub use fault::{Call, Fault, FaultPlan};

/// The record keeps this many requests, the newest.
const RECORD_LIMIT: usize = 20_000;

/// The largest body that is read.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// The number of the first droplet.
const FIRST_ID: u64 = 412_000_001;

/// What a list has on a page if nothing else is asked for, and at most.
const PAGE_ROWS: (usize, usize) = (20, 200);

/// What an account may ask for in an hour, by the headers.
const HOURLY_LIMIT: usize = 5_000;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const RATE_REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RATE_RESET: HeaderName = HeaderName::from_static("ratelimit-reset");

/// How the world behaves.
#[derive(Debug, Clone)]
pub struct DigitalOceanOptions {
    /// The only token that is accepted.
    pub token: String,
    /// When a droplet becomes active.
    pub boot: Boot,
    /// How long after its making a droplet is in no list.
    pub listing_delay: Duration,
    /// How many requests a minute takes; DigitalOcean takes 250. Without it there is no limit, for tests that share the
    /// world.
    pub per_minute: Option<usize>,
    /// The number of the first droplet. No number ever comes again: a world that follows another on the same database
    /// begins higher.
    pub first_id: u64,
}

impl Default for DigitalOceanOptions {
    fn default() -> Self {
        Self {
            token: "dop_v1_stand-in".to_owned(),
            boot: Boot::After(Duration::ZERO),
            listing_delay: Duration::ZERO,
            per_minute: None,
            first_id: FIRST_ID,
        }
    }
}

/// A request that the world received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The method, such as `POST`.
    pub method: String,
    /// The path and query.
    pub path: String,
    /// Whether it carried the token.
    pub is_authorized: bool,
}

/// A stand-in for DigitalOcean.
#[derive(Debug)]
pub struct DigitalOceanWorld {
    server: Server,
    state: Arc<Mutex<Account>>,
}

impl DigitalOceanWorld {
    /// Starts a world without droplets.
    pub async fn start(options: DigitalOceanOptions) -> Result<Self, StackError> {
        let state = Arc::new(Mutex::new(Account {
            last_id: options.first_id.saturating_sub(1),
            options,
            ..Account::default()
        }));
        let router = Router::new()
            .fallback(answer)
            .layer(DefaultBodyLimit::disable())
            .with_state(Arc::clone(&state));
        Ok(Self {
            server: Server::start("digitalocean", router).await?,
            state,
        })
    }

    /// The origin, which stands for `https://api.digitalocean.com`.
    pub fn origin(&self) -> String {
        self.server.origin()
    }

    /// The token that is accepted.
    pub fn token(&self) -> String {
        self.account().options.token.clone()
    }

    /// The droplets that there are now, oldest first.
    pub fn droplets(&self) -> Vec<Droplet> {
        self.watch().now()
    }

    /// The droplets, for whoever plays the machines.
    pub fn watch(&self) -> Droplets {
        Droplets(Arc::clone(&self.state))
    }

    /// The droplets that bear a tag now, oldest first.
    pub fn droplets_tagged(&self, tag: &str) -> Vec<Droplet> {
        let mut droplets = self.droplets();
        droplets.retain(|droplet| droplet.tags.iter().any(|own| own == tag));
        droplets
    }

    /// How many droplets were made through the API, whether they are still there or not.
    pub fn created_count(&self) -> usize {
        self.account().created.len()
    }

    /// How many droplets with a tag were made through the API, whether they are still there or not.
    pub fn created_tagged(&self, tag: &str) -> usize {
        let account = self.account();
        let bears = |tags: &&Vec<String>| tags.iter().any(|own| own == tag);
        account.created.iter().filter(bears).count()
    }

    /// The droplets that were destroyed through the API, in this order.
    pub fn deleted(&self) -> Vec<u64> {
        self.account().deleted.clone()
    }

    /// A droplet that somebody else made in the account, or that was left there; it is active.
    pub fn seed_droplet(&self, name: &str, tags: &[&str]) -> u64 {
        let mut account = self.account();
        let wanted = Wanted::foreign(name, tags);
        account.add(wanted, Boot::After(Duration::ZERO), Duration::ZERO)
    }

    /// Lets a droplet come up now.
    pub fn activate(&self, id: u64) {
        self.set_status(id, Status::Active);
    }

    /// Moves a droplet on in its life, as its owner can in the control panel.
    pub fn set_status(&self, id: u64, status: Status) {
        if let Some(machine) = self.account().machines.get_mut(&id) {
            machine.set_status(status);
        }
    }

    /// Destroys a droplet as its owner can in the control panel.
    pub fn remove_droplet(&self, id: u64) {
        self.account().machines.remove(&id);
    }

    /// Decides when droplets that are made from now on become active.
    pub fn set_boot(&self, boot: Boot) {
        self.account().options.boot = boot;
    }

    /// Decides how long droplets that are made from now on are in no list.
    pub fn set_listing_delay(&self, delay: Duration) {
        self.account().options.listing_delay = delay;
    }

    /// Lets all droplets be in lists, at once and from now on.
    pub fn end_listing_delay(&self) {
        let mut account = self.account();
        account.options.listing_delay = Duration::ZERO;
        account.machines.values_mut().for_each(Machine::list);
    }

    /// Makes requests fail.
    pub fn fail(&self, plan: FaultPlan) {
        self.account().plans.push(plan);
    }

    /// Ends the faults of requests about `text`.
    pub fn mend(&self, text: &str) {
        self.account().plans.retain(|plan| !plan.is_about(text));
    }

    /// What was received, oldest first.
    pub fn requests(&self) -> Vec<Received> {
        self.account().received.iter().cloned().collect()
    }

    /// Requests that a correct client does not make: unknown paths, malformed or unsupported bodies.
    pub fn complaints(&self) -> Vec<String> {
        self.account().complaints.clone()
    }

    /// Ends the world; connections to it are refused from then on.
    pub async fn stop(self) {
        drop(self);
    }

    /// The account, to look at or to change.
    fn account(&self) -> MutexGuard<'_, Account> {
        lock(&self.state)
    }
}

/// The droplets of a world. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Droplets(Arc<Mutex<Account>>);

impl Droplets {
    /// Those that there are now, oldest first.
    pub fn now(&self) -> Vec<Droplet> {
        let mut account = lock(&self.0);
        let machines = account.machines.values_mut();
        machines.map(|machine| machine.droplet().clone()).collect()
    }
}

/// What an account has.
#[derive(Debug, Default)]
struct Account {
    options: DigitalOceanOptions,
    machines: BTreeMap<u64, Machine>,
    last_id: u64,
    /// The tags of each droplet that was made.
    created: Vec<Vec<String>>,
    deleted: Vec<u64>,
    plans: Vec<FaultPlan>,
    received: VecDeque<Received>,
    complaints: Vec<String>,
    /// When the requests of the last hour came.
    times: VecDeque<Instant>,
}

/// What a path means.
enum Route {
    Create,
    List,
    Show(u64),
    Delete(u64),
    Regions,
    Sizes,
}

impl Route {
    fn find(method: &str, path: &str) -> Option<Self> {
        let id = || path.strip_prefix("/v2/droplets/")?.parse().ok();
        Some(match (method, path) {
            ("POST", "/v2/droplets") => Self::Create,
            ("GET", "/v2/droplets") => Self::List,
            ("GET", "/v2/regions") => Self::Regions,
            ("GET", "/v2/sizes") => Self::Sizes,
            ("GET", _) => Self::Show(id()?),
            ("DELETE", _) => Self::Delete(id()?),
            _ => return None,
        })
    }

    fn call(&self) -> Call {
        match self {
            Self::Create => Call::Create,
            Self::List => Call::List,
            Self::Show(_) => Call::Show,
            Self::Delete(_) => Call::Delete,
            Self::Regions => Call::Regions,
            Self::Sizes => Call::Sizes,
        }
    }

    fn id(&self) -> Option<u64> {
        match self {
            Self::Show(id) | Self::Delete(id) => Some(*id),
            Self::Create | Self::List | Self::Regions | Self::Sizes => None,
        }
    }
}

impl Account {
    /// Does what a request asks, or what a fault makes of it.
    fn handle(&mut self, parts: &Parts, body: &[u8], origin: &str) -> (Answer, Delivery) {
        let is_authorized = self.is_authorized(&parts.headers);
        if self.received.len() == RECORD_LIMIT {
            self.received.pop_front();
        }
        self.received.push_back(Received {
            method: parts.method.to_string(),
            path: parts.uri.to_string(),
            is_authorized,
        });
        if let Some(wait) = self.count() {
            return (self.limited(Refusal::too_many().answer(), Some(wait)), Delivery::Whole);
        }
        let Some(route) = Route::find(parts.method.as_str(), parts.uri.path()) else {
            return (self.refuse(parts, &Refusal::path()), Delivery::Whole);
        };
        if !is_authorized {
            return (self.refuse(parts, &Refusal::unauthorized()), Delivery::Whole);
        }

        let fault = self.fault(&route, parts, body);
        let (is_done, delivery) = match &fault {
            None | Some(Fault::DoneAndFailed | Fault::Malformed | Fault::NeverBoots | Fault::Unlisted(_)) => {
                (true, Delivery::Whole)
            }
            Some(Fault::Stall) => (true, Delivery::Withheld),
            Some(Fault::Drop) => (true, Delivery::Dropped),
            Some(Fault::Silence) => (false, Delivery::Withheld),
            Some(_) => (false, Delivery::Whole),
        };
        let done = if is_done {
            match self.perform(&route, parts, body, origin, fault.as_ref()) {
                Ok(answer) => answer,
                Err(refusal) => return (self.refuse(parts, &refusal), delivery),
            }
        } else {
            Answer::empty(StatusCode::NO_CONTENT)
        };
        let answer = match fault {
            Some(Fault::RateLimited(wait)) => {
                return (self.limited(Refusal::too_many().answer(), wait), delivery);
            }
            Some(Fault::ServerError | Fault::DoneAndFailed) => Refusal::server_error().answer(),
            Some(Fault::Unavailable) => Refusal::unavailable().answer(),
            Some(Fault::Unauthorized) => Refusal::unauthorized().answer(),
            Some(Fault::Forbidden) => Refusal::forbidden().answer(),
            Some(Fault::Invalid(message)) => Refusal::unprocessable(message).answer(),
            Some(Fault::Pending) => Refusal::pending().answer(),
            Some(Fault::Malformed) => Answer::page(StatusCode::OK, "<html>It works!</html>"),
            None | Some(Fault::Stall | Fault::Drop | Fault::Silence | Fault::NeverBoots | Fault::Unlisted(_)) => done,
        };
        (self.with_rates(answer), delivery)
    }

    /// Whether the token is the account's.
    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let value = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        value.strip_prefix("Bearer ") == Some(&self.options.token)
    }

    /// The fault that strikes a request.
    fn fault(&mut self, route: &Route, parts: &Parts, body: &[u8]) -> Option<Fault> {
        let query = parts.uri.query().unwrap_or_default();
        let query: Vec<String> = form_urlencoded::parse(query.as_bytes())
            .map(|(_, value)| value.into_owned())
            .collect();
        let machine = route.id().and_then(|id| self.machines.get(&id)).map(Machine::text);
        let text = format!(
            "{} {} {}",
            query.join(" "),
            String::from_utf8_lossy(body),
            machine.unwrap_or_default()
        );
        let call = route.call();
        let position = self.plans.iter_mut().position(|plan| plan.strikes(call, &text))?;
        let fault = self.plans.get(position).map(|plan| plan.fault.clone());
        self.plans.retain(|plan| !plan.is_spent());
        fault
    }

    /// Does what a request asks.
    fn perform(
        &mut self,
        route: &Route,
        parts: &Parts,
        body: &[u8],
        origin: &str,
        fault: Option<&Fault>,
    ) -> Result<Answer, Refusal> {
        match route {
            Route::Create => {
                if !is_json(&parts.headers) {
                    return Err(Refusal::malformed("The request body is not announced as JSON."));
                }
                let wanted = Wanted::parse(body)?;
                let boot = match fault {
                    Some(Fault::NeverBoots) => Boot::Never,
                    _ => self.options.boot,
                };
                let unlisted = match fault {
                    Some(Fault::Unlisted(delay)) => *delay,
                    _ => self.options.listing_delay,
                };
                self.created.push(wanted.tags.clone());
                let id = self.add(wanted, boot, unlisted);
                let droplet = self.machines.get_mut(&id).map(Machine::show_new);
                let action =
                    json!({ "id": id * 3, "rel": "create", "href": format!("{origin}/v2/actions/{}", id * 3) });
                Ok(Answer::json(
                    StatusCode::ACCEPTED,
                    &json!({ "droplet": droplet, "links": { "actions": [action] } }),
                ))
            }
            Route::List => {
                let query = Query::parse(parts, &["tag_name"])?;
                if query.tag.as_deref().is_some_and(|tag| !droplets::is_tag(tag)) {
                    return Err(Refusal::malformed("The tag name is invalid"));
                }
                let bears = |machine: &mut Machine| {
                    let tags = &machine.droplet().tags;
                    query.tag.as_ref().is_none_or(|tag| tags.contains(tag))
                };
                let mut rows = Vec::new();
                for machine in self.machines.values_mut() {
                    if machine.is_listed() && bears(machine) {
                        rows.push(machine.show());
                        machine.look();
                    }
                }
                Ok(query.page("droplets", rows, origin))
            }
            Route::Show(id) => {
                let machine = self.machines.get_mut(id).ok_or_else(Refusal::not_found)?;
                let droplet = machine.show();
                machine.look();
                Ok(Answer::json(StatusCode::OK, &json!({ "droplet": droplet })))
            }
            Route::Delete(id) => {
                self.machines.remove(id).ok_or_else(Refusal::not_found)?;
                self.deleted.push(*id);
                Ok(Answer::empty(StatusCode::NO_CONTENT))
            }
            Route::Regions => {
                let rows = catalog::REGIONS.iter().map(catalog::Region::show).collect();
                Ok(Query::parse(parts, &[])?.page("regions", rows, origin))
            }
            Route::Sizes => {
                let rows = catalog::SIZES.iter().map(catalog::Size::show).collect();
                Ok(Query::parse(parts, &[])?.page("sizes", rows, origin))
            }
        }
    }

    /// Makes a droplet.
    fn add(&mut self, wanted: Wanted, boot: Boot, unlisted: Duration) -> u64 {
        self.last_id += 1;
        self.machines
            .insert(self.last_id, Machine::new(self.last_id, wanted, boot, unlisted));
        self.last_id
    }

    /// Counts a request; how long to wait if it is one too many.
    fn count(&mut self) -> Option<Duration> {
        const MINUTE: Duration = Duration::from_secs(60);
        while self.times.front().is_some_and(|time| time.elapsed() >= 60 * MINUTE) {
            self.times.pop_front();
        }
        let limit = self.options.per_minute.unwrap_or(usize::MAX);
        let nth_last = self
            .times
            .len()
            .checked_sub(limit)
            .and_then(|index| self.times.get(index));
        let wait = nth_last.and_then(|time| MINUTE.checked_sub(time.elapsed()));
        if wait.is_none() {
            self.times.push_back(Instant::now());
        }
        wait
    }

    /// The answer to a request that is refused.
    fn refuse(&mut self, parts: &Parts, refusal: &Refusal) -> Answer {
        if refusal.is_complaint {
            self.complaints
                .push(format!("{} {}: {}", parts.method, parts.uri, refusal.message));
        }
        self.with_rates(refusal.answer())
    }

    /// Adds what each answer says about the rate.
    fn with_rates(&self, answer: Answer) -> Answer {
        let used = self.times.len();
        answer
            .with(RATE_LIMIT, HOURLY_LIMIT)
            .with(RATE_REMAINING, HOURLY_LIMIT.saturating_sub(used))
            .with(RATE_RESET, now().timestamp() + 3_600)
    }

    /// Adds what an answer to one request too many says about the rate. `wait` is for the limit of a minute.
    fn limited(&self, answer: Answer, wait: Option<Duration>) -> Answer {
        let answer = answer
            .with(RATE_LIMIT, HOURLY_LIMIT)
            .with(RATE_REMAINING, 0)
            .with(RATE_RESET, now().timestamp() + 60);
        match wait {
            Some(wait) => answer.with(header::RETRY_AFTER, wait.as_secs_f64().ceil()),
            None => answer,
        }
    }
}

/// The query of a list.
struct Query {
    path: String,
    tag: Option<String>,
    page: usize,
    per_page: usize,
}

impl Query {
    /// Reads the query; of the parameters that only some lists have, `known` are taken.
    fn parse(parts: &Parts, known: &[&str]) -> Result<Self, Refusal> {
        let mut query = Self {
            path: parts.uri.path().to_owned(),
            tag: None,
            page: 1,
            per_page: PAGE_ROWS.0,
        };
        for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            let number = || value.parse().ok().filter(|number| *number > 0);
            match &*name {
                "page" => query.page = number().ok_or_else(|| Refusal::malformed("page is invalid"))?,
                "per_page" => {
                    query.per_page = number()
                        .filter(|rows| *rows <= PAGE_ROWS.1)
                        .ok_or_else(|| Refusal::malformed("per_page must be from 1 to 200"))?;
                }
                name if known.contains(&name) => query.tag = Some(value.into_owned()),
                name => return Err(Refusal::unsupported(&format!("'{name}' in a query"))),
            }
        }
        Ok(query)
    }

    /// The page of these rows that is asked for, with the addresses of the others.
    fn page(&self, name: &str, rows: Vec<Value>, origin: &str) -> Answer {
        let total = rows.len();
        let last = total.div_ceil(self.per_page).max(1);
        let mut pages = serde_json::Map::new();
        if self.page > 1 {
            pages.insert("first".to_owned(), self.address(origin, 1));
            pages.insert("prev".to_owned(), self.address(origin, self.page - 1));
        }
        if self.page < last {
            pages.insert("next".to_owned(), self.address(origin, self.page + 1));
            pages.insert("last".to_owned(), self.address(origin, last));
        }
        let links = if pages.is_empty() {
            json!({})
        } else {
            json!({ "pages": pages })
        };
        let shown: Vec<_> = rows
            .into_iter()
            .skip((self.page - 1).saturating_mul(self.per_page))
            .take(self.per_page)
            .collect();
        Answer::json(
            StatusCode::OK,
            &json!({ name: shown, "links": links, "meta": { "total": total } }),
        )
    }

    fn address(&self, origin: &str, page: usize) -> Value {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query
            .append_pair("page", &page.to_string())
            .append_pair("per_page", &self.per_page.to_string());
        if let Some(tag) = &self.tag {
            query.append_pair("tag_name", tag);
        }
        json!(format!("{origin}{}?{}", self.path, query.finish()))
    }
}

/// Answers any request.
async fn answer(
    State(state): State<Arc<Mutex<Account>>>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = match axum::body::to_bytes(body, BODY_LIMIT_BYTES).await {
        Ok(body) => body,
        Err(error) => {
            tracing::debug!(%error, "a request to the stand-in broke off");
            return StatusCode::BAD_REQUEST.into_response();
        }
    };
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let origin = format!("http://{}", host.unwrap_or("api.digitalocean.com"));

    let (answer, delivery) = lock(&state).handle(&parts, &body, &origin);

    answer.deliver(delivery, &connection).await
}

fn lock(state: &Mutex<Account>) -> MutexGuard<'_, Account> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/json"))
}

/// The time of an answer.
#[expect(
    clippy::disallowed_methods,
    reason = "a stand-in for a service that has a clock of its own"
)]
fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::Utc::now()
}
