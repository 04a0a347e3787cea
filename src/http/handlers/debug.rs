//! `/debug/pprof/*`: profiles, for those who are on this machine and for administrators: see
//! `admission`.

use super::{Handled, blocking, finish};
use crate::http::problem::Problem;
use crate::http::service::RequestInfo;
use crate::http::{App, json, reply};
use crate::telemetry::profile::{self, CpuProfile, MAX_FREQUENCY_HZ, ProfileError, Turn};
use http::{Method, StatusCode};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use warp::reply::Response;

/// How long a CPU profile may be, in s.
const SECONDS: RangeInclusive<u32> = 1..=300;
/// How often it is looked whether the server stops: a profile that goes on would hold it up.
const LOOK_EVERY: Duration = Duration::from_millis(250);

const PPROF: &str = "application/octet-stream";
const SVG: &str = "image/svg+xml";

type Parameters = Vec<(String, String)>;

pub(in crate::http) async fn profile(
    app: Arc<App>,
    info: Arc<RequestInfo>,
    parameters: Parameters,
) -> Response {
    let handled = cpu(&app, &info, &parameters, 30, CpuProfile::pprof).await;
    finish(handled.map(|taken| reply::bytes(taken, PPROF)), &info)
}

pub(in crate::http) async fn flamegraph(
    app: Arc<App>,
    info: Arc<RequestInfo>,
    parameters: Parameters,
) -> Response {
    let handled = cpu(&app, &info, &parameters, 10, CpuProfile::flamegraph).await;
    finish(handled.map(|taken| reply::bytes(taken, SVG)), &info)
}

pub(in crate::http) async fn heap(app: Arc<App>, info: Arc<RequestInfo>) -> Response {
    finish(handle_heap(&app, &info).await, &info)
}

async fn handle_heap(app: &App, info: &RequestInfo) -> Handled {
    if info.method == Method::HEAD {
        return Ok(reply::bytes(Vec::new(), PPROF));
    }
    let turn = turn()?;
    let taken = blocking(&app.profiles, move |_| Ok(profile::heap(&turn)?));
    Ok(reply::bytes(taken.await?, PPROF))
}

/// Takes a CPU profile and makes something of it. Dropping the future ends the profile, which is
/// what happens when the client leaves.
async fn cpu(
    app: &App,
    info: &RequestInfo,
    parameters: &Parameters,
    seconds: u32,
    make: fn(CpuProfile) -> Result<Vec<u8>, ProfileError>,
) -> Result<Vec<u8>, Problem> {
    let wanted = Wanted::read(parameters, seconds)?;
    // Nobody would see it.
    if info.method == Method::HEAD {
        return Ok(Vec::new());
    }
    let turn = turn()?;
    let frequency = wanted.frequency;
    let started = blocking(&app.profiles, move |_| {
        Ok(CpuProfile::start(turn, frequency)?)
    });
    let running = started.await?;
    let end = Instant::now() + Duration::from_secs(wanted.seconds.into());
    while Instant::now() < end && !app.is_stopping() {
        sleep_until(end.min(Instant::now() + LOOK_EVERY)).await;
    }
    blocking(&app.profiles, move |_| Ok(make(running)?)).await
}

fn turn() -> Result<Turn, Problem> {
    Turn::take().ok_or_else(|| {
        let detail = "another profile is being taken; there is one at a time";
        Problem::new(StatusCode::CONFLICT, "profile_running", detail)
    })
}

impl From<ProfileError> for Problem {
    fn from(error: ProfileError) -> Self {
        match error {
            ProfileError::Failed(cause) => Self::internal(cause),
            ProfileError::HeapIsOff => {
                let detail = "the heap is not sampled: MALLOC_CONF says so";
                Self::new(StatusCode::NOT_FOUND, "heap_profile_off", detail)
            }
        }
    }
}

/// What is asked for.
struct Wanted {
    seconds: u32,
    frequency: u32,
}

impl Wanted {
    fn read(parameters: &Parameters, seconds: u32) -> Result<Self, Problem> {
        let mut wanted = Self {
            seconds,
            frequency: MAX_FREQUENCY_HZ,
        };
        let mut seen = Vec::new();
        for (name, value) in parameters {
            if seen.contains(&name) {
                let detail = format!("`{name}` stands twice");
                return Err(Problem::field(name.as_str(), detail));
            }
            match name.as_str() {
                "seconds" => wanted.seconds = number(name, value, SECONDS)?,
                "frequency" => wanted.frequency = number(name, value, 1..=MAX_FREQUENCY_HZ)?,
                other => return Err(json::unknown_field(other, &["seconds", "frequency"])),
            }
            seen.push(name);
        }
        Ok(wanted)
    }
}

fn number(name: &str, text: &str, range: RangeInclusive<u32>) -> Result<u32, Problem> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let text = crate::domain::query::shorten(text, 40);
        let (least, most) = (range.start(), range.end());
        Problem::field(
            name,
            format!("`{name}` must be {least} to {most}, got {text:?}"),
        )
    })
}
