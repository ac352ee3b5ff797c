//! The component's entry: the handler of the cron trigger plugin, which returns when the sweep has answered.

use std::io::Write as _;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::log;
use crate::settings::Settings;
use crate::tick::{Answer, TickError};

use self::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use self::bindings::wasi::config::store;
use self::bindings::wasi::http::outgoing_handler;
use self::bindings::wasi::http::types::{Fields, IncomingResponse, Method, OutgoingRequest, RequestOptions, Scheme};
use self::bindings::wasi::io::poll;
use self::bindings::{Error, Guest, Metadata};

#[expect(
    unsafe_code,
    reason = "the generated export passes memory across the component's border"
)]
mod bindings {
    //! The world of wit/heartbeat-schedule.wit.

    wit_bindgen::generate!({
        world: "heartbeat-schedule",
        path: "../../wit",
        generate_all,
    });

    export!(HeartbeatSchedule with_types_in self);

    use super::HeartbeatSchedule;
}

/// How long connecting may take; the whole has its limit besides.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The longest request id that is believed to be one.
const REQUEST_ID_MAX_BYTES: usize = 128;

struct HeartbeatSchedule;

impl Guest for HeartbeatSchedule {
    fn handle_cron_event(_: Metadata) -> Result<(), Error> {
        let begun = monotonic_clock::now();
        let outcome = Settings::read(variable)
            .map_err(TickError::from)
            .and_then(|settings| request_sweep(&settings)?.judge());
        let took = Duration::from_nanos(monotonic_clock::now().saturating_sub(begun));

        let line = log::line(now(), took, &outcome);
        // There is nowhere left to report that stderr is closed.
        let _closed = std::io::stderr().write_all(line.as_bytes());
        outcome.map(drop).map_err(|error| Error::Other(error.to_string()))
    }
}

fn variable(name: &'static str) -> Result<Option<String>, String> {
    store::get(name).map_err(|error| match error {
        store::Error::Upstream(cause) | store::Error::Io(cause) => cause,
    })
}

/// Posts, and waits for the answer's head. What its body says is in the function's log.
fn request_sweep(settings: &Settings) -> Result<Answer, TickError> {
    let pending =
        outgoing_handler::handle(request(settings)?, Some(options(settings)?)).map_err(|code| unreachable(&code))?;

    let limit = monotonic_clock::subscribe_duration(nanoseconds(settings.timeout));
    let answered = pending.subscribe();
    poll::poll(&[&answered, &limit]);
    match pending.get() {
        Some(Ok(Ok(response))) => Ok(answer(&response)),
        Some(Ok(Err(code))) => Err(unreachable(&code)),
        Some(Err(())) => Err(unreachable(&"the answer was taken already")),
        None => Err(TickError::TimedOut(settings.timeout)),
    }
}

fn request(settings: &Settings) -> Result<OutgoingRequest, TickError> {
    let fields = Fields::from_list(&settings.headers()).map_err(|error| unreachable(&error))?;
    let request = OutgoingRequest::new(fields);
    let scheme = if settings.secure { Scheme::Https } else { Scheme::Http };
    request
        .set_method(&Method::Post)
        .and_then(|()| request.set_scheme(Some(&scheme)))
        .and_then(|()| request.set_authority(Some(&settings.authority)))
        .and_then(|()| request.set_path_with_query(Some(&settings.path)))
        .map_err(|()| unreachable(&"the host does not accept the URL"))?;
    Ok(request)
}

/// The head's limit is the whole's, which is kept by the clock: the host's own would be 600 seconds.
fn options(settings: &Settings) -> Result<RequestOptions, TickError> {
    let options = RequestOptions::new();
    let connecting = nanoseconds(settings.timeout.min(CONNECT_TIMEOUT));
    options
        .set_connect_timeout(Some(connecting))
        .map_err(|()| unreachable(&"the host knows no limit for connecting"))?;
    Ok(options)
}

fn answer(response: &IncomingResponse) -> Answer {
    let request_id = response.headers().get("x-request-id").into_iter().next();
    Answer {
        status: response.status(),
        request_id: request_id
            .and_then(|id| String::from_utf8(id).ok())
            .filter(|id| id.len() <= REQUEST_ID_MAX_BYTES),
    }
}

fn unreachable(cause: &impl std::fmt::Debug) -> TickError {
    TickError::Unreachable(format!("{cause:?}"))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn now() -> DateTime<Utc> {
    let now = wall_clock::now();
    let seconds = i64::try_from(now.seconds).unwrap_or_default();
    DateTime::from_timestamp(seconds, now.nanoseconds).unwrap_or_default()
}
