//! Which path and method goes where: a table of templates, and warp's filters.
//!
//! The table names routes in metrics and logs and fills `Allow`; a test holds it, the filters and
//! the OpenAPI document together.

use super::App;
use super::handlers;
use super::handlers::console::{self, Wanted};
use super::problem::Problem;
use super::reply;
use super::service::RequestInfo;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;
use tower::Service as _;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::reply::Response;

/// A path with its methods.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The path, with `{name}` for a segment that varies.
    pub(super) template: &'static str,
    /// Its methods, as `Allow` lists them.
    pub(super) allow: &'static str,
}

const fn route(template: &'static str, allow: &'static str) -> Route {
    Route { template, allow }
}

/// A file that the flight recorder took in a bad moment of a run.
pub(super) const EVIDENCE: &str = "/v1/runs/{name}/evidence/{moment}/{file}";

/// Every route, the busiest first.
pub(super) const ROUTES: &[Route] = &[
    route("/v1/query", "POST"),
    route("/v1/documents", "GET, HEAD, POST"),
    route("/v1/documents/{id}", "GET, HEAD, DELETE"),
    route("/v1/collections", "GET, HEAD"),
    route("/v1/collections/{name}", "DELETE"),
    route("/v1/status", "GET, HEAD"),
    route("/healthz", "GET, HEAD"),
    route("/health", "GET, HEAD"),
    route("/livez", "GET, HEAD"),
    route("/readyz", "GET, HEAD"),
    route("/metrics", "GET, HEAD"),
    route("/debug/pprof/profile", "GET, HEAD"),
    route("/debug/pprof/flamegraph", "GET, HEAD"),
    route("/debug/pprof/heap", "GET, HEAD"),
    route("/v1/reload", "POST"),
    route("/openapi.json", "GET, HEAD"),
    route("/v1/runs", "GET, HEAD"),
    route("/v1/runs/{name}/report.html", "GET, HEAD"),
    route(EVIDENCE, "GET, HEAD"),
    route("/", "GET, HEAD"),
    route("/console/{file}", "GET, HEAD"),
];

/// The route of a path; a slash at the end makes no difference.
pub(super) fn find(path: &str) -> Option<&'static Route> {
    let path = match path.strip_suffix('/') {
        Some("") | None => path,
        Some(path) => path,
    };
    ROUTES.iter().find(|route| route.has(path))
}

impl Route {
    fn has(&self, path: &str) -> bool {
        let mut segments = path.split('/');
        let is_next = |wanted: &str| {
            let segment = segments.next();
            let is_any = wanted.starts_with('{');
            segment.is_some_and(|segment| segment == wanted || is_any && !segment.is_empty())
        };
        self.template.split('/').all(is_next) && segments.next().is_none()
    }
}

/// All routes as one function.
pub(super) type Routes =
    Arc<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response> + Send + Sync>;

/// Builds the filters over `app`.
pub(super) fn build(app: &Arc<App>) -> Routes {
    let v1 = documents(app).or(collections(app)).unify();
    let v1 = warp::path("v1").and(v1.or(runs(app)).unify());
    let routes = query(app)
        .or(v1)
        .unify()
        .or(console(app))
        .unify()
        .or(admin(app))
        .unify()
        .or(debug(app))
        .unify()
        .or(nothing())
        .unify();
    let service = warp::service(routes.boxed());
    Arc::new(move |request| {
        let reply = service.clone().call(request);
        Box::pin(reply.map(|reply| match reply {
            Ok(response) => response,
            Err(never) => match never {},
        }))
    })
}

type Info = Arc<RequestInfo>;

/// What every handler gets: the application and the request's info.
fn with(
    app: &Arc<App>,
) -> impl Filter<Extract = (Arc<App>, Info), Error = warp::Rejection> + Clone + use<> {
    let app = Arc::clone(app);
    warp::any()
        .map(move || Arc::clone(&app))
        .and(warp::ext::get::<Info>())
}

fn get() -> impl Filter<Extract = (), Error = warp::Rejection> + Copy {
    warp::get().or(warp::head()).unify()
}

fn query(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    warp::path!("v1" / "query")
        .and(warp::post())
        .and(with(app))
        .and(warp::body::stream())
        .then(handlers::query::answer)
        .boxed()
}

fn documents(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let put = warp::post()
        .and(warp::path::end())
        .and(with(app))
        .and(warp::body::stream())
        .then(handlers::documents::put);
    let list = get()
        .and(warp::path::end())
        .and(with(app))
        .and(warp::query::<Vec<(String, String)>>())
        .then(handlers::documents::list);
    let one = get()
        .and(warp::path::param::<String>())
        .and(warp::path::end())
        .and(with(app))
        .then(handlers::documents::get);
    let delete = warp::delete()
        .and(warp::path::param::<String>())
        .and(warp::path::end())
        .and(with(app))
        .then(handlers::documents::delete);
    let any = put
        .boxed()
        .or(list.boxed())
        .unify()
        .or(one.boxed())
        .unify()
        .or(delete)
        .unify();
    warp::path("documents").and(any).boxed()
}

fn collections(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let list = get()
        .and(warp::path!("collections"))
        .and(with(app))
        .then(handlers::collections::list);
    let delete = warp::delete()
        .and(warp::path!("collections" / String))
        .and(with(app))
        .then(handlers::collections::delete);
    let status = get()
        .and(warp::path!("status"))
        .and(with(app))
        .then(handlers::admin::status);
    list.boxed()
        .or(delete.boxed())
        .unify()
        .or(status)
        .unify()
        .boxed()
}

fn runs(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let list = get()
        .and(warp::path!("runs"))
        .and(with(app))
        .and(warp::query::<Vec<(String, String)>>())
        .then(handlers::runs::list);
    let report = get()
        .and(warp::path!("runs" / String / "report.html"))
        .and(with(app))
        .then(handlers::runs::report);
    let evidence = get()
        .and(warp::path!("runs" / String / "evidence" / String / String))
        .and(with(app))
        .then(
            |run: String, moment: String, file: String, app: Arc<App>, info: Info| {
                handlers::runs::evidence([run, moment, file], app, info)
            },
        );
    let any = list.boxed().or(report.boxed()).unify();
    any.or(evidence.boxed()).unify().boxed()
}

fn console(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let wanted = || warp::header::headers_cloned().map(|headers: HeaderMap| Wanted::of(&headers));
    let page = get()
        .and(warp::path::end())
        .and(with(app))
        .and(wanted())
        .map(|app: Arc<App>, info: Info, wanted: Wanted| console::page(&app, &info, &wanted));
    let file = get()
        .and(warp::path!("console" / String))
        .and(with(app))
        .and(wanted())
        .map(|name: String, app: Arc<App>, info: Info, wanted: Wanted| {
            console::file(&name, &app, &info, &wanted)
        });
    page.boxed().or(file.boxed()).unify().boxed()
}

fn admin(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let health = warp::path!("healthz").or(warp::path!("health")).unify();
    let health = get().and(health).map(handlers::admin::health);
    let ready = get()
        .and(warp::path!("readyz"))
        .and(with(app))
        .map(|app: Arc<App>, info: Info| handlers::admin::ready(&app, &info));
    let live = get()
        .and(warp::path!("livez"))
        .and(with(app))
        .then(handlers::admin::live);
    let openapi = get()
        .and(warp::path!("openapi.json"))
        .map(handlers::admin::openapi);
    let metrics = get()
        .and(warp::path!("metrics"))
        .and(with(app))
        .then(handlers::admin::metrics);
    let reload = warp::post()
        .and(warp::path!("v1" / "reload"))
        .and(with(app))
        .then(handlers::admin::reload);
    let state = health.or(ready).unify().boxed();
    let state = state.or(live).unify().or(openapi).unify().boxed();
    let state = state.or(metrics).unify().boxed();
    state.or(reload).unify().boxed()
}

fn debug(app: &Arc<App>) -> BoxedFilter<(Response,)> {
    let parameters = warp::query::<Vec<(String, String)>>;
    let profile = warp::path!("profile")
        .and(with(app))
        .and(parameters())
        .then(handlers::debug::profile);
    let flamegraph = warp::path!("flamegraph")
        .and(with(app))
        .and(parameters())
        .then(handlers::debug::flamegraph);
    let heap = warp::path!("heap")
        .and(with(app))
        .then(handlers::debug::heap);
    let any = profile.or(flamegraph).unify().or(heap).unify();
    get()
        .and(warp::path!("debug" / "pprof" / ..))
        .and(any)
        .boxed()
}

/// What no filter took: 405 where the path has other methods, else 404.
fn nothing() -> BoxedFilter<(Response,)> {
    warp::any()
        .and(warp::path::full())
        .and(warp::ext::get::<Info>())
        .map(|path: warp::path::FullPath, info: Info| {
            reply::problem(unserved(path.as_str(), &info), &info)
        })
        .boxed()
}

/// What is wrong with a request that no filter takes.
pub(super) fn unserved(path: &str, info: &RequestInfo) -> Problem {
    let shown = crate::domain::query::shorten(path, 80);
    match info.route {
        Some(route) if !is_allowed(route, &info.method) => {
            let method = crate::domain::query::shorten(info.method.as_str(), 20);
            let detail = format!("{shown} takes {}, not {method}", route.allow);
            let mut problem =
                Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail);
            problem.allow = Some(route.allow);
            problem
        }
        Some(_) => Problem::malformed("bad_parameters", "the query string cannot be read"),
        None => Problem::not_found(format!(
            "there is no {shown}; see /openapi.json for what there is"
        )),
    }
}

fn is_allowed(route: &Route, method: &http::Method) -> bool {
    route
        .allow
        .split(", ")
        .any(|allowed| allowed == method.as_str())
}
