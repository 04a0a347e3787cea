-- The tables. One row of `documents` is one chunk; `alfred_sources` has one row for each document.
-- The type of `embedding` gets its dimensions when the first document records its model.
CREATE TABLE alfred_settings (
    key text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE alfred_collections (
    name text COLLATE "C" PRIMARY KEY,
    documents bigint NOT NULL DEFAULT 0,
    chunks bigint NOT NULL DEFAULT 0,
    -- Terms of all chunks, for the average length that BM25 needs.
    terms bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
INSERT INTO alfred_collections (name) VALUES ('default');

CREATE TABLE alfred_sources (
    id uuid PRIMARY KEY,
    collection text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    title text NOT NULL,
    metadata jsonb NOT NULL,
    content_hash bytea NOT NULL,
    bytes bigint NOT NULL,
    chunks integer NOT NULL,
    terms bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (collection, source)
);

CREATE TABLE documents (
    id uuid PRIMARY KEY,
    document_id uuid NOT NULL,
    collection text COLLATE "C" NOT NULL,
    source text COLLATE "C" NOT NULL,
    title text NOT NULL,
    title_path text[] NOT NULL,
    chunk integer NOT NULL,
    page integer,
    content text NOT NULL,
    tokens integer NOT NULL,
    embedding vector NOT NULL,
    metadata jsonb NOT NULL,
    -- The terms as alfred makes them, each with as many positions as it has occurrences.
    lexemes text NOT NULL,
    terms integer NOT NULL,
    ts tsvector GENERATED ALWAYS AS (lexemes::tsvector) STORED,
    content_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (document_id, chunk)
);
-- A row is read whole or not at all; in one piece it is one page away.
ALTER TABLE documents SET (toast_tuple_target = 8160);
ALTER TABLE documents ALTER COLUMN embedding SET STORAGE MAIN;
ALTER TABLE documents ALTER COLUMN ts SET STORAGE MAIN;

CREATE INDEX documents_source ON documents (collection, source);
-- Without a list of pending entries, which every search would have to read as well.
CREATE INDEX documents_ts ON documents USING gin (ts) WITH (fastupdate = off);
CREATE INDEX documents_metadata ON documents USING gin (metadata jsonb_path_ops)
    WITH (fastupdate = off);
