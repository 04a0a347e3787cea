//! `/v1/collections`.

use super::{Handled, blocking, finish};
use crate::domain::CollectionName;
use crate::http::service::RequestInfo;
use crate::http::{App, reply};
use crate::store::StoreError;
use serde_json::{Value, json};
use std::sync::Arc;
use warp::reply::Response;

pub(in crate::http) async fn list(app: Arc<App>, info: Arc<RequestInfo>) -> Response {
    finish(handle_list(&app).await, &info)
}

async fn handle_list(app: &Arc<App>) -> Handled {
    let repo = Arc::clone(&app.cases.repo);
    let collections = blocking(&app.reads, move |_| {
        let collections: Vec<Value> = repo.collections()?.iter().map(reply::collection).collect();
        Ok(json!({"collections": collections}))
    });
    Ok(reply::ok(&collections.await?))
}

pub(in crate::http) async fn delete(
    name: String,
    app: Arc<App>,
    info: Arc<RequestInfo>,
) -> Response {
    finish(handle_delete(&app, &name).await, &info)
}

async fn handle_delete(app: &Arc<App>, name: &str) -> Handled {
    let name = CollectionName::new(name)?;
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
        Err(StoreError::UnknownCollection { name, known }.into())
    });
    let deleted = deleted.await;
    app.metrics.corpus.changed();
    Ok(reply::ok(&deleted?))
}
