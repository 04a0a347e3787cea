//! `/v1/runs`: recorded soak runs, read-only.

use super::console::secured;
use super::{Handled, blocking, finish};
use crate::http::problem::Problem;
use crate::http::runs::RunsError;
use crate::http::service::RequestInfo;
use crate::http::{App, json, reply};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, HeaderValue};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use warp::reply::Response;

/// Runs a list has unless said otherwise.
const DEFAULT_LIMIT: usize = 50;
/// Most runs of a list: of each one two files are read.
const MAX_LIMIT: usize = 200;
/// Longest name of a run, in bytes: as long as names of files are.
const MAX_NAME_BYTES: usize = 255;

/// A report runs its own script, which draws its plots; as a document without an origin, so that the
/// script reaches neither the console nor the API, whatever the run folder holds.
const REPORT_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; \
    style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; sandbox allow-scripts allow-downloads";
/// Of a file of evidence, which is saved and not shown.
const FILE_POLICY: &str = "default-src 'none'; sandbox";

type Parameters = Vec<(String, String)>;

pub(in crate::http) async fn list(
    app: Arc<App>,
    info: Arc<RequestInfo>,
    parameters: Parameters,
) -> Response {
    finish(handle_list(&app, &parameters).await, &info)
}

async fn handle_list(app: &Arc<App>, parameters: &Parameters) -> Handled {
    let most = limit(parameters)?;
    let runs = Arc::clone(&app.runs);
    let listed = blocking(&app.reads, move |_| {
        let listed = runs.list(most).map_err(|error| problem("", error))?;
        Ok(json!({"runs": listed.runs, "total": listed.total}))
    });
    Ok(reply::ok(&listed.await?))
}

fn limit(parameters: &Parameters) -> Result<usize, Problem> {
    let mut limit = None;
    for (name, value) in parameters {
        if name != "limit" {
            return Err(json::unknown_field(name, &["limit"]));
        }
        if limit.is_some() {
            return Err(Problem::field("limit", "`limit` stands twice"));
        }
        let number = value.parse().ok();
        let number = number.filter(|number| (1..=MAX_LIMIT).contains(number));
        let shown = crate::domain::query::shorten(value, 40);
        let detail = format!("`limit` must be 1 to {MAX_LIMIT}, got {shown:?}");
        limit = Some(number.ok_or_else(|| Problem::field("limit", detail))?);
    }
    Ok(limit.unwrap_or(DEFAULT_LIMIT))
}

pub(in crate::http) async fn report(
    name: String,
    app: Arc<App>,
    info: Arc<RequestInfo>,
) -> Response {
    finish(handle_report(&app, &name).await, &info)
}

async fn handle_report(app: &Arc<App>, text: &str) -> Handled {
    let name = run_name(text).ok_or_else(|| problem(text, RunsError::NotFound))?;
    let runs = Arc::clone(&app.runs);
    let left = Left::default();
    let has_left = Arc::clone(&left.0);
    let made = blocking(&app.reports, move |_| {
        let is_wanted = || !has_left.load(Ordering::Relaxed);
        let made = runs.report(&name, &is_wanted);
        made.map_err(|error| problem(&name, error))
    });
    let mut response = reply::bytes(made.await?, "text/html; charset=utf-8");
    secured(&mut response, REPORT_POLICY);
    let private = HeaderValue::from_static("private, no-cache");
    response.headers_mut().insert(CACHE_CONTROL, private);
    Ok(response)
}

pub(in crate::http) async fn evidence(
    names: [String; 3],
    app: Arc<App>,
    info: Arc<RequestInfo>,
) -> Response {
    finish(handle_evidence(&app, &names).await, &info)
}

async fn handle_evidence(app: &Arc<App>, names: &[String; 3]) -> Handled {
    let file = names.join("/");
    let [Some(run), Some(moment), Some(name)] = names.each_ref().map(|name| run_name(name)) else {
        return Err(no_file(&file));
    };
    let runs = Arc::clone(&app.runs);
    let read = blocking(&app.reads, move |_| {
        let read = runs.evidence([&run, &moment, &name]);
        read.map_err(|error| match error {
            RunsError::NotFound => no_file(&file),
            error => problem(&run, error),
        })
    });
    let mut response = reply::bytes(read.await?, "application/octet-stream");
    secured(&mut response, FILE_POLICY);
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    Ok(response)
}

fn no_file(file: &str) -> Problem {
    let shown = crate::domain::query::shorten(file, 120);
    Problem::not_found(format!("no run has the evidence {shown:?}"))
}

/// Set when it is dropped, as the future of a request whose client leaves is.
#[derive(Default)]
struct Left(Arc<AtomicBool>);

impl Drop for Left {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The name of a folder, from a segment of a path; `None` when it is none, or leads elsewhere.
fn run_name(segment: &str) -> Option<String> {
    let name = percent_decoded(segment)?;
    let is_one = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
    (is_one && name.len() <= MAX_NAME_BYTES).then_some(name)
}

/// Text whose `%2F` and so on are decoded (RFC 3986); `None` when it is no text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

fn problem(name: &str, error: RunsError) -> Problem {
    let shown = crate::domain::query::shorten(name, 80);
    let conflict =
        |kind: &'static str, detail: String| Problem::new(StatusCode::CONFLICT, kind, detail);
    match error {
        RunsError::NotFound => Problem::not_found(format!(
            "there is no run {shown:?}; GET /v1/runs lists them"
        )),
        RunsError::TooLarge { .. } => {
            let detail = format!(
                "the run {shown:?} is too large here: {error}; its folder has all of it, and `alfred report \
                 --format html` writes its report"
            );
            conflict("run_too_large", detail)
        }
        RunsError::Abandoned => Problem::overloaded(error.to_string()),
        // With paths, which stay in the journal.
        RunsError::Failed(cause) if name.is_empty() => {
            let detail = "the folder of runs (soak.runs_dir) cannot be read";
            let mut problem = conflict("runs_unreadable", detail.to_owned());
            problem.cause = Some(cause.into());
            problem
        }
        RunsError::Failed(cause) => {
            let detail = format!("the run {shown:?} cannot be read; see `alfred runs show`");
            let mut problem = conflict("run_damaged", detail);
            problem.cause = Some(cause.into());
            problem
        }
    }
}

#[cfg(test)]
mod tests {
    use super::run_name;

    #[test]
    fn a_name_is_one_component_and_nothing_else() {
        for (segment, name) in [
            (
                "20261123T134501Z-soak-1f0c2d3e",
                "20261123T134501Z-soak-1f0c2d3e",
            ),
            ("a%20b", "a b"),
            ("%C3%A4", "ä"),
            ("a..b", "a..b"),
        ] {
            assert_eq!(run_name(segment).as_deref(), Some(name));
        }
        for bad in [
            "",
            ".",
            "..",
            "%2e%2e",
            ".hidden",
            "%2E",
            "a%2Fb",
            "..%2f..%2fetc",
            "a%5Cb",
            "a%00",
            "%",
            "%4",
            "%zz",
            "%+1",
            "%ff",
        ] {
            assert_eq!(run_name(bad), None, "{bad}");
        }
        assert_eq!(run_name(&"a".repeat(256)), None);
    }
}
