//! Keeping a store: what it holds, whether it is sound, copies of it.
//!
//! These work on the folder, whether or not a daemon serves from it; only a restore wants the
//! folder for itself.

use super::fault::{Fault, Location};
use super::prepare::text_terms;
use super::snapshot::{read_model, read_vector};
use super::{file_in, lock, read, schema, verify, write};
use crate::domain::{Chunk, CollectionInfo};
use crate::store::{CheckReport, StoreError, StoreInfo};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Problems of one kind that are told one by one; beyond, their number is.
const MAX_TOLD: usize = 20;

/// Counts and sizes, without what a search would keep in memory.
pub(super) fn info(connection: &Connection, location: &Location) -> Result<StoreInfo, Fault> {
    let model = read_model(connection)?;
    let collections = read::collections(connection)?;
    let disk_bytes = ["", "-wal", "-shm"]
        .iter()
        .filter_map(|suffix| std::fs::metadata(beside(location.path(), suffix)).ok())
        .map(|metadata| metadata.len())
        .sum();
    Ok(StoreInfo {
        kind: "embedded",
        dimensions: model.as_ref().map(|model| model.dimensions),
        model: model.map(|model| model.name),
        documents: collections.iter().map(|info| info.documents).sum(),
        chunks: collections.iter().map(|info| info.chunks).sum(),
        disk_bytes,
        memory_bytes: 0,
        location: location.text(),
        schema_version: schema::SCHEMA_VERSION,
        database: None,
    })
}

/// The store's counts and sizes, read without loading its vectors.
///
/// # Errors
/// When there is no store in the folder, or it cannot be read.
pub fn store_info(folder: &Path) -> Result<StoreInfo, StoreError> {
    let (connection, location) = open_existing(&file_in(folder))?;
    let read = info(&connection, &location).map_err(location.explain("counting"))?;
    location.access().still_holds(&location)?;
    Ok(read)
}

/// The collections with their counts.
///
/// # Errors
/// When there is no store in the folder, or it cannot be read.
pub fn collections(folder: &Path) -> Result<Vec<CollectionInfo>, StoreError> {
    let (connection, location) = open_existing(&file_in(folder))?;
    let read = read::collections(&connection).map_err(location.explain("listing collections"))?;
    location.access().still_holds(&location)?;
    Ok(read)
}

/// Looks at everything in the store; reads it once from beginning to end.
///
/// # Errors
/// When there is no store in the folder, or it cannot be read at all.
pub fn check(folder: &Path) -> Result<CheckReport, StoreError> {
    let (connection, location) = open_existing(&file_in(folder))?;
    let read = check_file(&connection).map_err(location.explain("checking it"))?;
    location.access().still_holds(&location)?;
    Ok(read)
}

fn check_file(connection: &Connection) -> Result<CheckReport, Fault> {
    // One transaction: a daemon may write meanwhile.
    connection.execute_batch("BEGIN")?;
    let count = |table: &str| {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        connection.query_row(&sql, [], |row| row.get(0))
    };
    let mut report = CheckReport {
        documents: count("documents")?,
        chunks: count("chunks")?,
        ..CheckReport::default()
    };
    check_pages(connection, &mut report)?;
    check_vectors(connection, &mut report)?;
    tell(&mut report, verify::contents(connection)?);
    check_counts(connection, &mut report)?;
    check_text_indexes(connection, &mut report)?;
    connection.execute_batch("COMMIT")?;
    Ok(report)
}

fn check_pages(connection: &Connection, report: &mut CheckReport) -> Result<(), Fault> {
    let mut statement = connection.prepare("PRAGMA integrity_check(20)")?;
    let lines = statement.query_map([], |row| row.get::<_, String>(0))?;
    for line in lines {
        let line = line?;
        if line != "ok" {
            report.problems.push(format!("SQLite: {line}"));
        }
    }
    let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
    let rows = statement.query_map([], |row| {
        let (table, id): (String, Option<i64>) = (row.get(0)?, row.get(1)?);
        Ok(format!(
            "row {} of {table} belongs to nothing",
            id.unwrap_or_default()
        ))
    })?;
    tell(report, rows.collect::<Result<_, _>>()?);
    Ok(())
}

fn check_vectors(connection: &Connection, report: &mut CheckReport) -> Result<(), Fault> {
    let dimensions = read_model(connection)?.map_or(0, |model| model.dimensions);
    let mut statement = connection.prepare(
        "SELECT c.id, v.embedding FROM chunks c LEFT JOIN vectors v ON v.chunk_id = c.id
         UNION ALL
         SELECT v.chunk_id, 'orphan' FROM vectors v
         WHERE v.chunk_id NOT IN (SELECT id FROM chunks)",
    )?;
    let mut problems = Vec::new();
    let mut vector = Vec::new();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let chunk: i64 = row.get(0)?;
        let read = read_vector(row.get_ref(1)?.as_blob().ok(), dimensions, &mut vector);
        if let Err(problem) = read {
            problems.push(format!("vector of chunk {chunk}: {problem}"));
            continue;
        }
        let norm: f32 = vector.iter().map(|v| v * v).sum();
        if (norm - 1.0).abs() > 1e-3 {
            problems.push(format!(
                "vector of chunk {chunk}: its length is {}",
                norm.sqrt()
            ));
        }
    }
    tell(report, problems);
    Ok(())
}

fn check_counts(connection: &Connection, report: &mut CheckReport) -> Result<(), Fault> {
    let mut statement = connection.prepare(
        "SELECT k.name, k.documents, k.chunks,
                (SELECT COUNT(*) FROM documents d WHERE d.collection_id = k.id),
                (SELECT COUNT(*) FROM documents d JOIN chunks c ON c.document_id = d.id
                 WHERE d.collection_id = k.id)
         FROM collections k",
    )?;
    let rows = statement.query_map([], |row| {
        let name: String = row.get(0)?;
        let numbers: [i64; 4] = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
        Ok((name, numbers))
    })?;
    for row in rows {
        let (name, [documents, chunks, actual_documents, actual_chunks]) = row?;
        if (documents, chunks) != (actual_documents, actual_chunks) {
            report.problems.push(format!(
                "collection {name:?} counts {documents} documents and {chunks} chunks, and has \
                 {actual_documents} and {actual_chunks}"
            ));
        }
    }
    let sql = "SELECT d.source FROM documents d
               WHERE d.chunks <> (SELECT COUNT(*) FROM chunks c WHERE c.document_id = d.id)";
    let mut statement = connection.prepare(sql)?;
    let sources = statement.query_map([], |row| {
        Ok(format!(
            "document {:?} lacks chunks",
            row.get::<_, String>(0)?
        ))
    })?;
    tell(report, sources.collect::<Result<_, _>>()?);
    Ok(())
}

fn check_text_indexes(connection: &Connection, report: &mut CheckReport) -> Result<(), Fault> {
    // An index that differs from texts that are damaged themselves is not to be made of them.
    let is_sound = report.problems.is_empty();
    for (id, name) in collection_ids(connection)? {
        let differing = format!(
            "SELECT COUNT(*) FROM (SELECT chunk_id FROM vectors WHERE collection_id = {id}
                 EXCEPT SELECT id FROM fts_{id}_docsize)
             UNION ALL
             SELECT COUNT(*) FROM (SELECT id FROM fts_{id}_docsize
                 EXCEPT SELECT chunk_id FROM vectors WHERE collection_id = {id})"
        );
        let problem = match connection.prepare(&differing) {
            Err(error) => Some(error.to_string()),
            Ok(mut statement) => {
                let counts = statement.query_map([], |row| row.get::<_, i64>(0))?;
                let counts = counts.collect::<Result<Vec<_>, _>>()?;
                if counts == [0, 0] {
                    is_sound
                        .then(|| verify::text_index(connection, id))
                        .transpose()?
                        .flatten()
                } else {
                    Some(format!(
                        "lacks {} chunks and has {} too many",
                        counts[0], counts[1]
                    ))
                }
            }
        };
        if let Some(problem) = problem {
            report.text_index_differs = true;
            report
                .problems
                .push(format!("the text index of collection {name:?} {problem}"));
        }
    }
    Ok(())
}

fn collection_ids(connection: &Connection) -> Result<Vec<(i64, String)>, Fault> {
    let mut statement = connection.prepare("SELECT id, name FROM collections ORDER BY id")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn tell(report: &mut CheckReport, mut problems: Vec<String>) {
    let more = problems.len().saturating_sub(MAX_TOLD);
    problems.truncate(MAX_TOLD);
    if more > 0 {
        problems.push(format!("and {more} more of this kind"));
    }
    report.problems.append(&mut problems);
}

/// Makes the text indexes of all collections anew from the chunks; returns how many chunks they
/// hold. In one transaction: a daemon goes on with the old ones until it is done.
///
/// # Errors
/// When the store cannot be read or written.
pub fn rebuild_text_index(folder: &Path) -> Result<u64, StoreError> {
    let (mut connection, location) = open_existing(&file_in(folder))?;
    rebuild(&mut connection).map_err(location.explain("making the text index anew"))
}

fn rebuild(connection: &mut Connection) -> Result<u64, Fault> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut indexed = 0;
    for (collection, _) in collection_ids(&transaction)? {
        schema::drop_text_index(&transaction, collection)?;
        schema::create_text_index(&transaction, collection)?;
        let mut statement = transaction.prepare(
            "SELECT c.id, c.title_path, c.text FROM documents d
             JOIN chunks c ON c.document_id = d.id WHERE d.collection_id = ?1 ORDER BY c.id",
        )?;
        let mut rows = statement.query([collection])?;
        while let Some(row) = rows.next()? {
            let (id, title_path): (i64, String) = (row.get(0)?, row.get(1)?);
            let chunk = Chunk {
                position: 0,
                title_path: serde_json::from_str(&title_path).unwrap_or_default(),
                page: None,
                text: row.get(2)?,
                tokens: 0,
            };
            write::index_text(&transaction, collection, id, &text_terms(&chunk))?;
            indexed += 1;
        }
    }
    transaction.commit()?;
    Ok(indexed)
}

/// Copies the store to `target` while it may be served and written: one moment of it, complete,
/// synced, under its name only when it is whole. Returns its size in bytes.
///
/// # Errors
/// When `target` exists and `overwrite` is false, or cannot be written; when the store cannot be
/// read.
pub fn backup(folder: &Path, target: &Path, overwrite: bool) -> Result<u64, StoreError> {
    let (connection, location) = open_existing(&file_in(folder))?;
    let target_location = Location::new(target);
    check_backup_target(folder, target, &target_location)?;
    let part = temporary_beside(target)?;
    copy_database(&connection, part.path()).map_err(|fault| match fault {
        // What goes wrong while copying is nearly always the place it goes to.
        Fault::Sql(_) => target_location.explain("writing the backup")(fault),
        other => location.explain("reading for the backup")(other),
    })?;
    // A copy of a damaged store must not take the place of the last good one.
    check_copy(location.path(), part.path())?;
    location.access().still_holds(&location)?;
    let bytes = sync_file(part.path()).map_err(|error| not_writable(target, &error))?;
    let placed = if overwrite {
        part.persist(target).map_err(|failed| failed.error)
    } else {
        part.persist_noclobber(target)
            .map_err(|failed| failed.error)
    };
    placed.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            target_location.cannot_open("it exists already, and was not to be overwritten")
        }
        _ => not_writable(target, &error),
    })?;
    sync_folder_of(target)?;
    Ok(bytes)
}

/// Refuses to put a backup where it would destroy something: over the store itself or its logs, by
/// whatever name, or over a link, device or pipe.
fn check_backup_target(
    folder: &Path,
    target: &Path,
    location: &Location,
) -> Result<(), StoreError> {
    let Ok(there) = std::fs::symlink_metadata(target) else {
        return Ok(());
    };
    if !there.is_file() {
        return Err(location.cannot_open("it is no regular file, and a backup would replace it"));
    }
    let store = file_in(folder);
    for own in [
        store.clone(),
        beside(&store, "-wal"),
        beside(&store, "-shm"),
    ] {
        let is_same = std::fs::metadata(own)
            .is_ok_and(|own| (own.dev(), own.ino()) == (there.dev(), there.ino()));
        if is_same {
            return Err(location.cannot_open("it is the store itself; name another file"));
        }
    }
    Ok(())
}

/// Replaces the store in `folder` with the one in `file`, which is checked first. Returns what the
/// check saw.
///
/// # Errors
/// [`StoreError::Damaged`] when `file` is no sound store, [`StoreError::Busy`] while any process
/// has the store open, [`StoreError::Open`] when there is a store already and `overwrite` is
/// false.
pub fn restore(file: &Path, folder: &Path, overwrite: bool) -> Result<CheckReport, StoreError> {
    // Before anything is made: a mistyped name leaves nothing behind.
    File::open(file).map_err(|error| StoreError::Open {
        path: file.to_owned(),
        problem: error.to_string(),
    })?;
    lock::prepare_folder(folder)?;
    let _lock = lock::ExclusiveLock::take(folder)?;
    let target = file_in(folder);
    if target.exists() && !overwrite {
        let location = Location::new(&target);
        return Err(location.cannot_open("there is a store already, not to be overwritten"));
    }
    // Copied first and checked as a copy: checking would leave files beside a read-only original.
    let part = temporary_beside(&target)?;
    std::fs::copy(file, part.path()).map_err(|error| StoreError::Open {
        path: file.to_owned(),
        problem: error.to_string(),
    })?;
    let report = check_copy(file, part.path())?;
    sync_file(part.path()).map_err(|error| not_writable(&target, &error))?;
    // A write-ahead log must never meet another database than its own.
    for suffix in ["-wal", "-shm"] {
        let log = beside(&target, suffix);
        match std::fs::remove_file(&log) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(not_writable(&log, &error));
            }
            _ => {}
        }
    }
    sync_folder_of(&target)?;
    lock::give_to_owner_of(folder, part.path());
    part.persist(&target)
        .map_err(|failed| not_writable(&target, &failed.error))?;
    sync_folder_of(&target)?;
    Ok(report)
}

fn check_copy(original: &Path, copy: &Path) -> Result<CheckReport, StoreError> {
    let as_original = Location::new(original);
    let report = {
        let connection = open_file(copy, &as_original)?;
        check_file(&connection).map_err(as_original.explain("checking it"))
    };
    for suffix in ["-wal", "-shm"] {
        // Closing removes them; after damage they may be left.
        let _ = std::fs::remove_file(beside(copy, suffix));
    }
    let report = report?;
    match report.problems.first() {
        None => Ok(report),
        Some(first) => Err(as_original.damaged(format!(
            "{first}{}",
            match report.problems.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more problems)"),
            }
        ))),
    }
}

fn copy_database(from: &Connection, to: &Path) -> Result<(), Fault> {
    let mut copy = Connection::open(to)?;
    let backup = Backup::new(from, &mut copy)?;
    // In one step: it reads one snapshot of the write-ahead log, and no writer waits for that.
    match backup.step(-1)? {
        StepResult::Done => Ok(()),
        other => Err(Fault::Unsound(format!("the copy did not end: {other:?}"))),
    }
}

fn open_existing(file: &Path) -> Result<(Connection, Location), StoreError> {
    let location = Location::for_reading(file)?;
    let connection = schema::connect_reader(&location).map_err(location.explain("opening it"))?;
    refuse_empty(&connection, &location)?;
    Ok((connection, location))
}

/// Opens a file that must be a store of a schema this build knows; messages speak of `location`.
fn open_file(file: &Path, location: &Location) -> Result<Connection, StoreError> {
    let connection =
        schema::connect(file, OpenFlags::empty()).map_err(location.explain("opening it"))?;
    refuse_empty(&connection, location)?;
    Ok(connection)
}

fn refuse_empty(connection: &Connection, location: &Location) -> Result<(), StoreError> {
    match schema::version_of(connection, location)? {
        0 => Err(location.damaged("it is empty")),
        _ => Ok(()),
    }
}

fn temporary_beside(target: &Path) -> Result<tempfile::NamedTempFile, StoreError> {
    let folder = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    tempfile::Builder::new()
        .prefix(".alfred-")
        .suffix(".part")
        .tempfile_in(folder)
        .map_err(|error| not_writable(target, &error))
}

fn sync_file(file: &Path) -> std::io::Result<u64> {
    let file = File::options().read(true).write(true).open(file)?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

fn sync_folder_of(file: &Path) -> Result<(), StoreError> {
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| not_writable(file, &error))
}

fn not_writable(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::NotWritable {
        location: path.display().to_string(),
        problem: error.to_string(),
    }
}

/// The file beside the store's, as its log.
pub(super) fn beside(file: &Path, suffix: &str) -> std::path::PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
