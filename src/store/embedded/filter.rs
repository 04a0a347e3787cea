//! Filters, evaluated once a document and kept.
//!
//! Documents never change under their row id (replacing one makes a new row), so that a kept
//! evaluation only ever has to look at documents newer than the last one it saw.

use super::fault::Fault;
use super::index::{CollectionIndex, RowMask};
use crate::domain::Filter;
use moka::sync::Cache;
use roaring::RoaringTreemap;
use rusqlite::Connection;
use serde_json::{Map, Value};
use std::sync::{Arc, Mutex, PoisonError};

/// Filters whose evaluation is kept: with a million rows one takes 0.2 MB.
const KEPT: u64 = 64;

pub(super) struct FilterCache {
    entries: Cache<(i64, String), Arc<Mutex<Entry>>>,
}

#[derive(Default)]
struct Entry {
    passing: RoaringTreemap,
    last_document: i64,
    /// The rows of the snapshot with this revision.
    mask: Option<(u64, Arc<RowMask>)>,
}

impl FilterCache {
    pub(super) fn new() -> Self {
        Self {
            entries: Cache::new(KEPT),
        }
    }

    /// The rows of `index`, which is of the snapshot `revision`, that `filter` lets through; `None`
    /// when it lets everything through.
    pub(super) fn mask(
        &self,
        connection: &Connection,
        index: &CollectionIndex,
        revision: u64,
        filter: &Filter,
    ) -> Result<Option<Arc<RowMask>>, Fault> {
        if filter.is_empty() {
            return Ok(None);
        }
        let key = (
            index.id,
            format!("{:?} {:?}", filter.source, filter.metadata),
        );
        let entry = self.entries.get_with(key, Arc::default);
        let mut entry = entry.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, mask)) = entry.mask.as_ref().filter(|(seen, _)| *seen == revision) {
            return Ok(Some(Arc::clone(mask)));
        }
        evaluate_new(connection, index.id, filter, &mut entry)?;
        let mask = Arc::new(index.mask(|document| {
            u64::try_from(document).is_ok_and(|document| entry.passing.contains(document))
        }));
        entry.mask = Some((revision, Arc::clone(&mask)));
        Ok(Some(mask))
    }
}

fn evaluate_new(
    connection: &Connection,
    collection: i64,
    filter: &Filter,
    entry: &mut Entry,
) -> Result<(), Fault> {
    // The first time through the collection's own index; later by row id, the newest rows alone.
    let sql = if entry.last_document == 0 {
        "SELECT id, source, metadata FROM documents WHERE collection_id = ?1 AND id > ?2"
    } else {
        "SELECT id, source, metadata FROM documents WHERE +collection_id = ?1 AND id > ?2"
    };
    let matcher = filter.source_matcher();
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([collection, entry.last_document])?;
    let mut last = entry.last_document;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        last = last.max(id);
        let source = row.get_ref(1)?.as_str().unwrap_or_default();
        let is_wanted = || matcher.as_ref().is_some_and(|glob| glob.is_match(source));
        if filter.source.is_some() && !is_wanted() {
            continue;
        }
        let metadata = row.get_ref(2)?.as_str().unwrap_or_default();
        if metadata_matches(&filter.metadata, metadata) {
            entry.passing.insert(u64::try_from(id).unwrap_or_default());
        }
    }
    entry.last_document = last;
    Ok(())
}

fn metadata_matches(conditions: &[(String, Value)], metadata: &str) -> bool {
    if conditions.is_empty() {
        return true;
    }
    let Ok(metadata) = serde_json::from_str::<Map<String, Value>>(metadata) else {
        return false;
    };
    conditions
        .iter()
        .all(|(key, wanted)| metadata.get(key).is_some_and(|value| equal(value, wanted)))
}

/// JSON equality in which 1 and 1.0 are the same number.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    let (Value::Number(x), Value::Number(y)) = (a, b) else {
        return a == b;
    };
    x == y || (!(x.is_f64() && y.is_f64()) && same_number(x, y))
}

/// Whether an integer and a float, or two integers, are the same number.
fn same_number(x: &serde_json::Number, y: &serde_json::Number) -> bool {
    let exact = |n: &serde_json::Number| -> Option<i128> {
        if let Some(integer) = n.as_i128() {
            return Some(integer);
        }
        let float = n.as_f64()?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "whole and below 2^64, so that it fits"
        )]
        (float.fract() == 0.0 && float.abs() < 1.8e19).then_some(float as i128)
    };
    exact(x).is_some_and(|x| exact(y) == Some(x))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_equal_by_value_and_never_to_text() {
        assert!(equal(&json!(1), &json!(1.0)));
        assert!(equal(&json!(-3.0), &json!(-3)));
        assert!(equal(&json!(0.1), &json!(0.1)));
        assert!(!equal(&json!(1), &json!(1.5)));
        assert!(!equal(&json!(1), &json!("1")));
        assert!(!equal(&json!(1), &json!(true)));
        assert!(!equal(
            &json!(9_007_199_254_740_993_i64),
            &json!(9_007_199_254_740_992.0)
        ));
        assert!(!equal(&json!(null), &json!(0)));
    }
}
