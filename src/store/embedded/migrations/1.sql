-- Facts about the store: store_id, and once there is a document model and dimensions.
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE collections (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    name      TEXT NOT NULL UNIQUE,
    documents INTEGER NOT NULL DEFAULT 0, -- counts, kept by every write
    chunks    INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE documents (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid          BLOB NOT NULL UNIQUE,
    collection_id INTEGER NOT NULL REFERENCES collections (id),
    source        TEXT NOT NULL,
    title         TEXT NOT NULL,
    content_hash  BLOB NOT NULL,
    metadata      TEXT NOT NULL,             -- a JSON object
    bytes         INTEGER NOT NULL,
    chunks        INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,          -- Unix time
    updated_at_ms INTEGER NOT NULL,
    UNIQUE (collection_id, source)
);

CREATE TABLE chunks (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid        BLOB NOT NULL,
    document_id INTEGER NOT NULL REFERENCES documents (id),
    position    INTEGER NOT NULL,
    title_path  TEXT NOT NULL,               -- a JSON array of strings
    page        INTEGER,
    tokens      INTEGER NOT NULL,
    text        TEXT NOT NULL,
    UNIQUE (document_id, position)
);

-- Apart from chunks, so that opening a store reads nothing else.
CREATE TABLE vectors (
    chunk_id      INTEGER PRIMARY KEY REFERENCES chunks (id),
    document_id   INTEGER NOT NULL,
    collection_id INTEGER NOT NULL,
    embedding     BLOB NOT NULL              -- f32, little endian, unit length
);

-- The latest deleted documents, for readers that keep vectors in memory.
CREATE TABLE tombstones (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    document_id   INTEGER NOT NULL,
    collection_id INTEGER NOT NULL
);
