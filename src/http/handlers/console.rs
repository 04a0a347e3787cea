//! The console at `/`: a page, its style and its script, from the binary alone.
//!
//! The files are in `src/console/`. They are the same for everybody and hold nothing of the corpus, so
//! they need no key; the page asks for one and sends it with what it asks of the API.

use super::{Handled, finish};
use crate::http::problem::Problem;
use crate::http::service::RequestInfo;
use crate::http::{App, Peer, reply};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::io::Write as _;
use std::sync::LazyLock;
use warp::reply::Response;

/// What the page may do: load its own files and ask the daemon it came from, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The page into which the console puts a report that only a key opens: it runs the report's script as a
/// document without an origin, and may ask nobody.
const VIEWER_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; \
    style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; sandbox allow-scripts";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// In the page as it is written: no key is needed.
const OPEN: &str = "data-keys=\"no\"";
/// In its stead where there are keys, so that the page asks for one before it is refused.
const LOCKED: &str = "data-keys=\"yes\"";

/// One file of the console.
struct File {
    name: &'static str,
    content_type: &'static str,
    packed: LazyLock<Packed>,
}

/// A file as it is sent.
struct Packed {
    plain: Bytes,
    gzip: Bytes,
    etag: HeaderValue,
}

impl Packed {
    fn of(text: &str) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        // Into memory: nothing to fail.
        let _ = encoder.write_all(text.as_bytes());
        let gzip = encoder.finish().unwrap_or_default();
        let digest = blake3::hash(text.as_bytes()).to_hex();
        // Weak, since packed or not it is the same.
        let etag = HeaderValue::from_str(&format!("W/\"{}\"", &digest[..16]));
        Self {
            plain: Bytes::from(text.to_owned()),
            gzip: gzip.into(),
            etag: etag.unwrap_or_else(|_| HeaderValue::from_static("W/\"0\"")),
        }
    }
}

macro_rules! kept {
    ($name:literal, $content_type:expr) => {
        kept!($name, $content_type, concat!("../../console/", $name))
    };
    ($name:literal, $content_type:expr, $path:expr) => {
        File {
            name: $name,
            content_type: $content_type,
            packed: LazyLock::new(|| Packed::of(include_str!($path))),
        }
    };
}

const INDEX: &str = include_str!("../../console/index.html");

static OPEN_INDEX: LazyLock<Packed> = LazyLock::new(|| Packed::of(INDEX));
static LOCKED_INDEX: LazyLock<Packed> =
    LazyLock::new(|| Packed::of(&INDEX.replacen(OPEN, LOCKED, 1)));

/// The files beside the page; uPlot is the one that reports of runs draw with.
static FILES: [File; 15] = [
    kept!("console.css", CSS),
    kept!("main.js", SCRIPT),
    kept!("dom.js", SCRIPT),
    kept!("words.js", SCRIPT),
    kept!("api.js", SCRIPT),
    kept!("access.js", SCRIPT),
    kept!("status.js", SCRIPT),
    kept!("plots.js", SCRIPT),
    kept!("ask.js", SCRIPT),
    kept!("documents.js", SCRIPT),
    kept!("runs.js", SCRIPT),
    kept!("icon.svg", "image/svg+xml"),
    kept!(
        "uplot.js",
        SCRIPT,
        "../../report/html/vendor/uplot/uPlot.iife.min.js"
    ),
    kept!(
        "uplot.css",
        CSS,
        "../../report/html/vendor/uplot/uPlot.min.css"
    ),
    kept!(
        "uplot-licence.txt",
        TEXT,
        "../../report/html/vendor/uplot/LICENSE"
    ),
];

static VIEWER: LazyLock<Packed> =
    LazyLock::new(|| Packed::of(include_str!("../../console/viewer.html")));

/// What of a request decides how a file is sent.
#[derive(Clone, Debug, Default)]
pub(in crate::http) struct Wanted {
    /// `Accept-Encoding`.
    encodings: Option<String>,
    /// `If-None-Match`.
    known: Option<String>,
}

impl Wanted {
    /// From the headers of a request; what is no text is as good as left out.
    pub(in crate::http) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            let value = headers.get(name)?.to_str().ok();
            value.map(str::to_owned)
        };
        Self {
            encodings: text(header::ACCEPT_ENCODING),
            known: text(header::IF_NONE_MATCH),
        }
    }

    /// Whether the client unpacks gzip (RFC 9110, section 12.5.3; `q=0` is a no).
    fn takes_gzip(&self) -> bool {
        let list = self.encodings.as_deref().unwrap_or_default();
        list.split(',').any(|one| {
            let (name, weight) = one.split_once(';').unwrap_or((one, ""));
            let weight = weight.trim().trim_start_matches("q=");
            let is_no = weight.parse::<f32>().is_ok_and(|weight| weight <= 0.0);
            name.trim().eq_ignore_ascii_case("gzip") && !is_no
        })
    }

    fn knows(&self, etag: &HeaderValue) -> bool {
        let list = self.known.as_deref().unwrap_or_default();
        list.split(',')
            .any(|known| known.trim().as_bytes() == etag.as_bytes())
    }
}

/// `GET /`.
pub(in crate::http) fn page(app: &App, info: &RequestInfo, wanted: &Wanted) -> Response {
    let needs_key = app.policy.keys.is_some() && info.peer != Peer::Unix;
    let page = if needs_key {
        &LOCKED_INDEX
    } else {
        &OPEN_INDEX
    };
    let handled = check_on(app).map(|()| send(page, HTML, POLICY, wanted));
    finish(handled, info)
}

/// `GET /console/{file}`.
pub(in crate::http) fn file(
    name: &str,
    app: &App,
    info: &RequestInfo,
    wanted: &Wanted,
) -> Response {
    finish(find(name, app, wanted), info)
}

fn find(name: &str, app: &App, wanted: &Wanted) -> Handled {
    check_on(app)?;
    if name == "viewer.html" {
        return Ok(send(&VIEWER, HTML, VIEWER_POLICY, wanted));
    }
    let found = FILES.iter().find(|file| file.name == name);
    let file = found.ok_or_else(|| {
        let shown = crate::domain::query::shorten(name, 80);
        Problem::not_found(format!("the console has no file {shown:?}"))
    })?;
    Ok(send(&file.packed, file.content_type, POLICY, wanted))
}

fn check_on(app: &App) -> Result<(), Problem> {
    if app.settings.console {
        return Ok(());
    }
    Err(Problem::not_found(
        "the console is turned off (server.console)",
    ))
}

fn send(
    packed: &Packed,
    content_type: &'static str,
    policy: &'static str,
    wanted: &Wanted,
) -> Response {
    let known = wanted.knows(&packed.etag);
    let gzip = wanted.takes_gzip();
    let body = match (known, gzip) {
        (true, _) => Bytes::new(),
        (false, true) => packed.gzip.clone(),
        (false, false) => packed.plain.clone(),
    };
    let mut response = reply::bytes(body, content_type);
    secured(&mut response, policy);
    let headers = response.headers_mut();
    headers.insert(header::ETAG, packed.etag.clone());
    // Asked for each time, so that an upgrade shows at once; answered with 304 else.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if known {
        headers.remove(header::CONTENT_TYPE);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else if gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Adds what every page for a browser has.
pub(super) fn secured(response: &mut Response, policy: &'static str) {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page and its files: name, bytes, and bytes as packed.
    fn packed_sizes() -> Vec<(&'static str, usize, usize)> {
        let size = |name, packed: &Packed| (name, packed.plain.len(), packed.gzip.len());
        let mut sizes = vec![
            size("index.html", &OPEN_INDEX),
            size("viewer.html", &VIEWER),
        ];
        sizes.extend(FILES.iter().map(|file| size(file.name, &file.packed)));
        sizes
    }

    #[test]
    fn all_of_it_is_small() {
        let sizes = packed_sizes();
        let plain: usize = sizes.iter().map(|(_, plain, _)| plain).sum();
        let packed: usize = sizes.iter().map(|(_, _, packed)| packed).sum();
        println!("{sizes:?}: {plain} bytes, {packed} packed");
        assert!(packed < 150_000, "{packed} bytes: {sizes:?}");
        assert!(sizes.iter().all(|(_, _, packed)| *packed > 20), "{sizes:?}");
    }

    #[test]
    fn the_page_says_whether_it_needs_a_key_and_runs_no_inline_code() {
        assert_eq!(INDEX.matches(OPEN).count(), 1);
        assert_ne!(OPEN_INDEX.etag, LOCKED_INDEX.etag);
        assert!(!INDEX.contains("<style") && !INDEX.contains(" style="));
        assert!(!INDEX.contains(" onclick") && !INDEX.contains("javascript:"));
        for script in INDEX.split("<script").skip(1) {
            assert!(script.contains(" src=\"console/"), "{script}");
        }
    }

    #[test]
    fn no_script_makes_markup_of_text() {
        for file in &FILES {
            if file.name == "uplot.js" || file.content_type != SCRIPT {
                continue;
            }
            let text = std::str::from_utf8(&file.packed.plain).unwrap();
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "new Function",
                "setAttribute(\"style",
            ] {
                assert!(!text.contains(word), "{} has {word}", file.name);
            }
        }
    }

    #[test]
    fn gzip_is_sent_to_who_takes_it() {
        let takes = |encodings: &str| {
            let encodings = Some(encodings.to_owned());
            let known = None;
            Wanted { encodings, known }.takes_gzip()
        };
        for yes in ["gzip", "br, GZIP;q=0.5", "deflate,gzip "] {
            assert!(takes(yes), "{yes}");
        }
        for no in ["", "br", "gzip;q=0", "gzip; q=0.0", "x-gzip"] {
            assert!(!takes(no), "{no}");
        }
        assert!(!Wanted::default().takes_gzip());
    }
}
