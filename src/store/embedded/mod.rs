//! The embedded store: SQLite as the source of truth, vectors in memory.
