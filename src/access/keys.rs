//! The keys in force, looked up by what a client presents.

use super::file::Entry;
use super::key::{Digest, Role};
use super::limit::Bucket;
use super::scope::Scope;
use std::collections::HashMap;
use std::sync::Arc;

/// Most keys: each is a few hundred bytes, and who needs more has a gateway that knows its users.
pub const MAX_KEYS: usize = 1_000;

/// A key in force.
#[derive(Debug)]
pub struct Key {
    /// Its name, which may be logged.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Where.
    pub scope: Scope,
    /// What it has used up of its rate.
    pub spent: Arc<Bucket>,
    digest: Digest,
}

/// All of them; may be empty, and then nobody is let in.
#[derive(Debug, Default)]
pub struct Keys(HashMap<u64, Arc<Key>>);

impl Keys {
    /// The keys of `entries`, which [`super::file::parse`] has found to be different ones.
    #[must_use]
    pub fn new(entries: Vec<Entry>) -> Self {
        let key = |entry: Entry| {
            let key = Key {
                name: entry.name,
                role: entry.role,
                scope: entry.scope,
                spent: Arc::default(),
                digest: entry.digest,
            };
            (key.digest.short(), Arc::new(key))
        };
        Self(entries.into_iter().map(key).collect())
    }

    /// The key that `presented` is, if any: one hash, one look into a table, one comparison in constant
    /// time.
    #[must_use]
    pub fn find(&self, presented: &[u8]) -> Option<&Arc<Key>> {
        let digest = Digest::of(presented);
        let found = self.0.get(&digest.short());
        found.filter(|key| key.digest == digest)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody is let in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Goes on with what the same keys have used up in `former`.
    pub(super) fn follow(&mut self, former: &Self) {
        for (short, key) in &mut self.0 {
            if let Some(before) = former.0.get(short)
                && let Some(key) = Arc::get_mut(key)
            {
                key.spent = Arc::clone(&before.spent);
            }
        }
    }
}

/// The same keys with the same names, roles and collections.
impl PartialEq for Keys {
    fn eq(&self, other: &Self) -> bool {
        let same = |(short, key): (&u64, &Arc<Key>)| {
            other.0.get(short).is_some_and(|other| {
                key.digest == other.digest
                    && key.name == other.name
                    && key.role == other.role
                    && key.scope == other.scope
            })
        };
        self.0.len() == other.0.len() && self.0.iter().all(same)
    }
}

#[cfg(test)]
mod tests {
    use super::super::limit::Quota;
    use super::*;

    fn entry(name: &str, key: &str) -> Entry {
        Entry {
            name: name.to_owned(),
            role: Role::Query,
            scope: Scope::default(),
            digest: Digest::of(key.as_bytes()),
            created_at: None,
        }
    }

    #[test]
    fn a_key_is_found_by_the_whole_of_it() {
        let keys = Keys::new(vec![entry("a", "key-a"), entry("b", "key-b")]);
        assert_eq!(keys.find(b"key-b").unwrap().name, "b");
        for wrong in ["", "key", "key-", "key-c", "key-b ", "KEY-B"] {
            assert!(keys.find(wrong.as_bytes()).is_none(), "{wrong}");
        }
        assert!(Keys::default().find(b"key-a").is_none());
    }

    #[test]
    fn a_digest_that_begins_the_same_is_another_one() {
        let keys = Keys::new(vec![entry("a", "key-a")]);
        let mut forged = keys.0.clone();
        let short = Digest::of(b"key-b").short();
        forged.insert(short, Arc::clone(keys.find(b"key-a").unwrap()));
        assert!(Keys(forged).find(b"key-b").is_none());
    }

    #[test]
    fn what_was_used_up_is_known_after_a_reload() {
        let before = Keys::new(vec![entry("a", "key-a")]);
        let mut after = Keys::new(vec![entry("renamed", "key-a"), entry("b", "key-b")]);
        assert!(before != after);
        after.follow(&before);
        let quota = Quota::new(1, 1).unwrap();
        before.find(b"key-a").unwrap().spent.take(0, quota).unwrap();
        assert!(after.find(b"key-a").unwrap().spent.take(0, quota).is_err());
        assert!(after.find(b"key-b").unwrap().spent.take(0, quota).is_ok());
        assert!(before == Keys::new(vec![entry("a", "key-a")]));
    }
}
