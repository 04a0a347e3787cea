//! What another reading of the configuration changes in a daemon that runs.

use super::{Config, keys};

/// Keys that take effect when the daemon starts: what it listens on, which store, which model, and
/// where log lines go.
pub const AT_START: &[&str] = &[
    "server.listen",
    "store.kind",
    "store.path",
    "embedding.kind",
    "embedding.model",
    "embedding.models_dir",
    "embedding.dimensions",
    "log.format",
];

/// With TLS or without is what the daemon is started with, lest a key that is gone by mistake turns it off.
/// Which certificate it is may change.
const TLS: [&str; 2] = ["server.tls_cert", "server.tls_key"];

/// Keys with another value than before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that can take effect at once.
    pub live: Vec<&'static str>,
    /// Those of [`AT_START`].
    pub at_start: Vec<&'static str>,
}

impl Changes {
    /// Whether a key that begins with one of `prefixes` changed and takes effect at once.
    #[must_use]
    pub fn touch(&self, prefixes: &[&str]) -> bool {
        let begins = |key: &&str| prefixes.iter().any(|prefix| key.starts_with(prefix));
        self.live.iter().any(begins)
    }
}

impl Config {
    /// What is another value than in `former`.
    #[must_use]
    pub fn changes_since(&self, former: &Self) -> Changes {
        let mut changes = Changes::default();
        for key in keys::KEYS {
            if self.digests.get(key.path) == former.digests.get(key.path) {
                continue;
            }
            if AT_START.contains(&key.path) {
                changes.at_start.push(key.path);
            } else {
                changes.live.push(key.path);
            }
        }
        // A DSN makes the store PostgreSQL where no kind is said.
        if self.store_kind != former.store_kind {
            changes.live.retain(|key| *key != "store.dsn");
            changes.at_start.retain(|key| *key != "store.kind");
            changes.at_start.push("store.kind");
        }
        if self.speaks_tls() != former.speaks_tls() {
            changes.live.retain(|key| !TLS.contains(key));
            changes.at_start.extend(TLS);
        }
        changes
    }

    /// Takes the values of [`AT_START`] from the configuration that the daemon was started with.
    pub fn keep_started(&mut self, started: &Self) {
        let mut kept = AT_START.to_vec();
        if self.speaks_tls() != started.speaks_tls() {
            kept.extend(TLS);
        }
        let (raw, old) = (&mut self.raw, &started.raw);
        if kept.contains(&TLS[0]) {
            raw.server.tls_cert.clone_from(&old.server.tls_cert);
            raw.server.tls_key.clone_from(&old.server.tls_key);
        }
        raw.server.listen.clone_from(&old.server.listen);
        raw.store.kind.clone_from(&old.store.kind);
        raw.store.path.clone_from(&old.store.path);
        if self.store_kind != started.store_kind {
            raw.store.dsn.clone_from(&old.store.dsn);
        }
        raw.embedding.kind.clone_from(&old.embedding.kind);
        raw.embedding.model.clone_from(&old.embedding.model);
        raw.embedding
            .models_dir
            .clone_from(&old.embedding.models_dir);
        raw.embedding.dimensions = old.embedding.dimensions;
        raw.log.format.clone_from(&old.log.format);
        self.store_kind = started.store_kind;
        self.embedding_kind = started.embedding_kind;
        self.store_dir.clone_from(&started.store_dir);
        self.models_dir.clone_from(&started.models_dir);
        kept.push("store.dsn");
        for key in kept {
            if key == "store.dsn" && self.raw.store.dsn != old.store.dsn {
                continue;
            }
            if let Some(origin) = started.origins.get(key) {
                self.origins.insert(key, origin.clone());
            }
            if let Some(digest) = started.digests.get(key) {
                self.digests.insert(key, *digest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, StoreKind};

    fn config(said: &[(&str, &str)]) -> Config {
        let said: Vec<(String, String)> = said
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("alfred.toml");
        std::fs::write(&file, "").unwrap();
        Config::load(Some(&file), &Environment::default(), &said).unwrap()
    }

    #[test]
    fn every_key_that_waits_for_a_start_exists() {
        for key in AT_START {
            assert!(keys::KEYS.iter().any(|known| known.path == *key), "{key}");
        }
    }

    #[test]
    fn changes_are_told_apart_and_secrets_count() {
        let old = config(&[("embedding.api_key", "one"), ("log.level", "info")]);
        let new = config(&[
            ("embedding.api_key", "two"),
            ("log.level", "debug"),
            ("server.listen", "127.0.0.1:9"),
        ]);
        let changes = new.changes_since(&old);
        assert_eq!(changes.live, ["embedding.api_key", "log.level"]);
        assert_eq!(changes.at_start, ["server.listen"]);
        assert!(changes.touch(&["embedding."]) && !changes.touch(&["server."]));
        assert_eq!(old.changes_since(&old), Changes::default());
    }

    #[test]
    fn what_waits_for_a_start_is_kept_and_told_again() {
        let old = config(&[("embedding.model", "a")]);
        let mut new = config(&[("embedding.model", "b"), ("server.max_in_flight", "3")]);
        new.keep_started(&old);
        assert_eq!(new.raw.embedding.model, "a");
        assert_eq!(new.raw.server.max_in_flight, 3);
        assert_eq!(new.changes_since(&old).at_start, [""; 0]);
        let again = config(&[("embedding.model", "b"), ("server.max_in_flight", "3")]);
        assert_eq!(again.changes_since(&new).at_start, ["embedding.model"]);
    }

    #[test]
    fn every_key_that_waits_for_a_start_is_kept() {
        let old = config(&[]);
        for key in AT_START {
            let other = match *key {
                "server.listen" => "127.0.0.1:9",
                "store.kind" => "postgres",
                "embedding.kind" => "openai",
                "embedding.dimensions" => "7",
                "log.format" => "json",
                _ => "another",
            };
            let dsn = ("store.dsn", "postgresql://a@localhost/b");
            let mut new = match *key {
                "store.kind" => config(&[(key, other), dsn]),
                _ => config(&[(key, other)]),
            };
            assert_eq!(new.changes_since(&old).at_start, [*key]);
            new.keep_started(&old);
            assert_eq!(format!("{:?}", new.raw), format!("{:?}", old.raw), "{key}");
            assert_eq!(new.changes_since(&old), Changes::default(), "{key}");
        }
    }

    #[test]
    fn tls_is_turned_on_and_off_at_a_start_and_changed_at_a_reload() {
        let tls = |name| [("server.tls_cert", name), ("server.tls_key", name)];
        let (plain, one, two) = (config(&[]), config(&tls("one")), config(&tls("two")));
        assert_eq!(two.changes_since(&one).live, TLS);
        assert_eq!(two.changes_since(&one).at_start, [""; 0]);
        for (former, new) in [(&plain, &one), (&one, &plain)] {
            let changes = new.changes_since(former);
            assert_eq!((changes.live.len(), changes.at_start), (0, TLS.to_vec()));
            let mut new = new.clone();
            new.keep_started(former);
            assert_eq!(new.speaks_tls(), former.speaks_tls());
            assert_eq!(new.changes_since(former), Changes::default());
        }
        let mut changed = two.clone();
        changed.keep_started(&one);
        assert_eq!(changed.raw.server.tls_key, "two");
    }

    #[test]
    fn a_new_dsn_may_mean_another_store() {
        let old = config(&[]);
        let mut new = config(&[("store.dsn", "postgresql://a@localhost/b")]);
        assert_eq!(new.store_kind, StoreKind::Postgres);
        let changes = new.changes_since(&old);
        assert_eq!(changes.at_start, ["store.kind"]);
        assert_eq!(changes.live, [""; 0]);
        new.keep_started(&old);
        assert_eq!(new.store_kind, StoreKind::Embedded);
    }
}
