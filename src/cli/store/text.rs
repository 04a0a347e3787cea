//! What `alfred store info` prints.

use crate::domain::CollectionInfo;
use crate::store::{DatabaseInfo, StoreInfo};
use std::fmt::Write as _;

/// What `info` prints.
#[derive(serde::Serialize)]
pub(super) struct Described {
    #[serde(flatten)]
    pub(super) info: StoreInfo,
    pub(super) collections: Vec<CollectionInfo>,
}

/// The same for a person.
pub(super) fn describe(described: &Described) -> String {
    let info = &described.info;
    let model = match (&info.model, info.dimensions) {
        (Some(model), Some(dimensions)) => format!("{model}, {dimensions} dimensions"),
        _ => "none yet".to_owned(),
    };
    let mut text = format!(
        "location   {}\nkind       {}, schema {}\nmodel      {model}\ndocuments  {}\nchunks     {}\n\
         on disk    {} bytes",
        info.location, info.kind, info.schema_version, info.documents, info.chunks, info.disk_bytes
    );
    for collection in &described.collections {
        let _ = write!(
            text,
            "\ncollection {}: {} documents, {} chunks",
            collection.name, collection.documents, collection.chunks
        );
    }
    if let Some(database) = &info.database {
        text.push_str(&describe_database(database));
    }
    text
}

fn describe_database(database: &DatabaseInfo) -> String {
    let mut text = format!(
        "\nserver     PostgreSQL {}, pgvector {}\ntable      {} bytes, {} dead rows\n\
         analyzed   {}\nvacuumed   {}",
        database.server,
        database.pgvector,
        database.table_bytes,
        database.dead_rows,
        database.last_analyze.as_deref().unwrap_or("never"),
        database.last_vacuum.as_deref().unwrap_or("never"),
    );
    if database.index_kind.is_none() {
        text.push_str("\nindex      none for vectors: every search reads all that matches");
    }
    for index in &database.indexes {
        let state = if index.valid { "" } else { ", not usable" };
        let _ = write!(
            text,
            "\nindex      {}: {} bytes{state}",
            index.name, index.bytes
        );
    }
    text
}
