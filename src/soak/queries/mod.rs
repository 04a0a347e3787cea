//! What requests are made of: a query set, cycled or shuffled, and templates that it fills.

mod read;
mod shuffle;
mod template;

pub use read::{QueriesError, QuerySet};
pub use template::{QUERY, Template};

use super::relevance::Relevant;
use bytes::Bytes;
use http::Uri;
use shuffle::permuted;
use std::sync::Arc;

/// What one request says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Path and query.
    pub uri: Uri,
    /// The body; may be empty.
    pub body: Bytes,
}

/// A path that a query makes is none.
#[derive(Debug, thiserror::Error)]
#[error("query {number} of the query set makes the path {path:?}, which is none: {problem}")]
pub struct PathError {
    /// 1-based.
    number: usize,
    path: String,
    problem: String,
}

/// Which query a request takes, and what makes it differ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Each pass over the query set in an order of its own, by this seed.
    pub shuffle: Option<u64>,
    /// What makes queries of this run different from those of another, and from each other.
    pub mark: Option<String>,
}

/// Requests by number.
#[derive(Clone, Debug)]
pub struct Requests {
    set: QuerySet,
    path: Template,
    body: Template,
    order: Order,
    /// Made once, one a query; empty when each is different.
    ready: Vec<Said>,
}

impl Requests {
    /// Requests to `path` with `body`, both filled from `set`. With a mark in `order`, what stands
    /// for `{{query}}` gets ` (mark-number)` appended, so that none is asked twice.
    ///
    /// # Errors
    /// When a query makes a path that is none.
    pub fn new(
        set: QuerySet,
        path: Template,
        body: Template,
        order: Order,
    ) -> Result<Self, PathError> {
        let mut requests = Self {
            set,
            path,
            body,
            order,
            ready: Vec::new(),
        };
        let made = (0..requests.set.len().max(1)).map(|place| requests.made(place, ""));
        let ready = made.collect::<Result<_, _>>()?;
        if requests.order.mark.is_none() {
            requests.ready = ready;
        }
        Ok(requests)
    }

    /// How many queries there are.
    #[must_use]
    pub fn queries(&self) -> u64 {
        self.set.len() as u64
    }

    /// Which sources answer which queries, where that is known.
    #[must_use]
    pub fn relevant(&self) -> Option<&Arc<Relevant>> {
        self.set.relevant()
    }

    /// The place in the query set of what request `number` asks.
    #[must_use]
    pub fn place_of(&self, number: u64) -> usize {
        let length = self.set.len().max(1) as u64;
        let (pass, place) = (number / length, number % length);
        let place = match self.order.shuffle {
            Some(seed) => permuted(place, length, seed, pass),
            None => place,
        };
        usize::try_from(place).unwrap_or(0)
    }

    /// What request `number` says.
    #[must_use]
    pub fn of(&self, number: u64) -> Said {
        let place = self.place_of(number);
        if let Some(ready) = self.ready.get(place) {
            return ready.clone();
        }
        let mark = self.order.mark.as_deref().unwrap_or_default();
        // The same query without a mark made a path, and the mark is letters, digits, - and ( ).
        self.made(place, &format!(" ({mark}-{number})"))
            .unwrap_or_else(|_| Said {
                uri: Uri::from_static("/"),
                body: Bytes::new(),
            })
    }

    fn made(&self, place: usize, mark: &str) -> Result<Said, PathError> {
        let row = self.set.row(place);
        let path = self.path.fill_path(row, mark);
        Ok(Said {
            uri: path.parse().map_err(|error| PathError {
                number: place + 1,
                problem: format!("{error}"),
                path,
            })?,
            body: Bytes::from(self.body.fill_json(row, mark)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn requests(texts: &[&str], path: &str, body: &str, order: Order) -> Requests {
        let (path, body) = (Template::new(path).unwrap(), Template::new(body).unwrap());
        let columns = Template::columns([&path, &body]);
        let set = QuerySet::of_texts(texts, &columns);
        Requests::new(set, path.bound(&columns), body.bound(&columns), order).unwrap()
    }

    #[test]
    fn queries_are_cycled_into_paths_and_bodies() {
        let made = requests(
            &["a b&c", "ü/?"],
            "/s?q={{query}}",
            "[\"{{query}}\"]",
            Order::default(),
        );
        assert_eq!(made.of(0).uri, "/s?q=a%20b%26c");
        assert_eq!(made.of(3).uri, "/s?q=%C3%BC%2F%3F");
        assert_eq!(made.of(2).body, &b"[\"a b&c\"]"[..]);
    }

    #[test]
    fn marked_queries_differ() {
        let order = Order {
            mark: Some("x1".to_owned()),
            shuffle: None,
        };
        let made = requests(&["a"], "/", "{\"query\": \"{{query}}\"}", order);
        assert_eq!(made.of(7).body, &br#"{"query": "a (x1-7)"}"#[..]);
        assert_ne!(made.of(7), made.of(8));
    }

    #[test]
    fn each_pass_of_a_shuffle_has_every_query_once_in_its_own_order() {
        let texts: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let shuffled = |seed| {
            let order = Order {
                shuffle: Some(seed),
                mark: None,
            };
            let made = requests(&texts, "/", "{{query}}", order);
            (0..300).map(|n| made.of(n).body).collect::<Vec<_>>()
        };
        let seen = shuffled(1);
        for pass in seen.chunks(100) {
            assert_eq!(pass.iter().collect::<BTreeSet<_>>().len(), 100);
        }
        assert_ne!(seen[..100], seen[100..200]);
        assert_eq!(seen, shuffled(1));
        assert_ne!(seen, shuffled(2));
    }

    #[test]
    fn a_request_needs_no_query() {
        let made = requests(&[], "/health", "", Order::default());
        assert_eq!(made.of(5).uri, "/health");
        assert_eq!((made.of(5).body.len(), made.queries()), (0, 0));
    }
}
