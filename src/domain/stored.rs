//! What goes into a store, and what it says of what it holds.

use super::{Chunk, CollectionName, ContentHash, Embedding, Metadata, SourceName};
use time::OffsetDateTime;
use uuid::Uuid;

/// A document ready to be stored: written whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub struct EmbeddedDocument {
    /// Where it goes.
    pub collection: CollectionName,
    /// The key to replace by, inside its collection.
    pub source: SourceName,
    /// Its title; may be empty.
    pub title: String,
    /// What the caller attached.
    pub metadata: Metadata,
    /// Decides whether there is anything to do.
    pub content_hash: ContentHash,
    /// Size of the original, in bytes.
    pub bytes: u64,
    /// Its chunks in order, each with its vector. May be empty.
    pub chunks: Vec<(Chunk, Embedding)>,
}

/// What storing one document did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpsertStatus {
    /// It was not there.
    Created,
    /// Another version was there.
    Replaced,
    /// The same content hash was there; nothing was written.
    Unchanged,
}

/// The outcome for one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upserted {
    /// Its id, the same for as long as the source stays: UUID v5 of collection and source.
    pub id: Uuid,
    /// How many chunks it has now.
    pub chunks: usize,
    /// What was done.
    pub status: UpsertStatus,
}

/// A document as the store lists it, without its text.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDocument {
    /// Its id.
    pub id: Uuid,
    /// Its collection.
    pub collection: CollectionName,
    /// Its key.
    pub source: SourceName,
    /// Its title; may be empty.
    pub title: String,
    /// What the caller attached.
    pub metadata: Metadata,
    /// Its content hash.
    pub content_hash: ContentHash,
    /// How many chunks it has.
    pub chunks: u64,
    /// Size of the original, in bytes.
    pub bytes: u64,
    /// When it was first stored.
    pub created_at: OffsetDateTime,
    /// When it was last replaced.
    pub updated_at: OffsetDateTime,
}

/// A collection and its counts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct CollectionInfo {
    /// Its name.
    pub name: CollectionName,
    /// Documents in it.
    pub documents: u64,
    /// Chunks in it.
    pub chunks: u64,
}

/// The namespace of alfred's own v5 UUIDs (RFC 9562): itself v5 of the DNS name `alfred.invalid`.
const NAMESPACE: Uuid = Uuid::from_u128(0x9c79_ba8f_375c_598c_9756_ada0_dff3_45d0);

/// The id of the document with this source: the same in every store.
#[must_use]
pub fn document_id(collection: &CollectionName, source: &SourceName) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{collection}\n{source}").as_bytes())
}

/// The id of a chunk: stable while its document, position and text stay.
#[must_use]
pub fn chunk_id(document: Uuid, chunk: &Chunk) -> Uuid {
    chunk_id_of(document, chunk.position, &chunk.text)
}

/// The same of its parts.
#[must_use]
pub fn chunk_id_of(document: Uuid, position: u32, text: &str) -> Uuid {
    Uuid::new_v5(&document, format!("{position}\n{text}").as_bytes())
}
