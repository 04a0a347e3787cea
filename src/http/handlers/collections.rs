//! `/v1/collections`.

use super::{Handled, blocking, check_seen, finish, narrowed};
use crate::domain::CollectionName;
use crate::http::service::RequestInfo;
use crate::http::{App, reply};
use crate::store::StoreError;
use serde_json::{Value, json};
use std::sync::Arc;
use warp::reply::Response;

pub(in crate::http) async fn list(app: Arc<App>, info: Arc<RequestInfo>) -> Response {
    finish(handle_list(&app, &info).await, &info)
}

async fn handle_list(app: &Arc<App>, info: &RequestInfo) -> Handled {
    let repo = Arc::clone(&app.cases.repo);
    let scope = info.guest.scope();
    let collections = blocking(&app.reads, move |_| {
        let collections = repo.collections()?;
        let seen = collections.iter().filter(|info| scope.sees(&info.name));
        let collections: Vec<Value> = seen.map(reply::collection).collect();
        Ok(json!({"collections": collections}))
    });
    Ok(reply::ok(&collections.await?))
}

pub(in crate::http) async fn delete(
    name: String,
    app: Arc<App>,
    info: Arc<RequestInfo>,
) -> Response {
    finish(handle_delete(&app, &info, &name).await, &info)
}

async fn handle_delete(app: &Arc<App>, info: &RequestInfo, name: &str) -> Handled {
    let name = CollectionName::new(name)?;
    check_seen(app, info, &name).await?;
    let scope = info.guest.scope();
    let repo = Arc::clone(&app.cases.repo);
    let deleted = blocking(&app.writes, move |_| {
        if let Some(deleted) = repo.delete_collection(&name)? {
            let mut body = reply::collection(&deleted);
            body["status"] = json!("deleted");
            return Ok(body);
        }
        let known = repo.collections()?;
        let known = known
            .into_iter()
            .map(|known| known.name.to_string())
            .collect();
        let name = name.to_string();
        Err(narrowed(&scope, StoreError::UnknownCollection { name, known }).into())
    });
    let deleted = deleted.await;
    app.metrics.corpus.changed();
    Ok(reply::ok(&deleted?))
}
