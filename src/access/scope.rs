//! Which collections somebody sees.

use crate::domain::CollectionName;
use std::collections::BTreeSet;
use std::sync::Arc;

/// All collections, or those that a key is bound to. The default is all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope(Option<Arc<BTreeSet<CollectionName>>>);

impl Scope {
    /// These and no others.
    #[must_use]
    pub fn bound_to(names: BTreeSet<CollectionName>) -> Self {
        Self(Some(Arc::new(names)))
    }

    /// Whether there are collections that are not seen.
    #[must_use]
    pub fn is_bound(&self) -> bool {
        self.0.is_some()
    }

    /// Whether `name` is seen, should there be such a collection.
    #[must_use]
    pub fn sees(&self, name: &CollectionName) -> bool {
        self.0.as_ref().is_none_or(|names| names.contains(name))
    }

    /// The names that it is bound to; none for all.
    pub fn names(&self) -> impl Iterator<Item = &CollectionName> {
        self.0.iter().flat_map(|names| names.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bound_means_these_and_no_others() {
        let name = |name| CollectionName::new(name).unwrap();
        let scope = Scope::bound_to([name("a"), name("b")].into());
        assert!(scope.sees(&name("a")) && !scope.sees(&CollectionName::default()));
        assert!(scope.is_bound() && scope.names().count() == 2);
        assert!(Scope::default().sees(&name("c")) && !Scope::default().is_bound());
    }
}
