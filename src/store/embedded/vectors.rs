//! Vectors read one after another.

use super::fault::Fault;
use super::snapshot::{CHECKSUM_BYTES, read_vector};
use rusqlite::blob::Blob;
use rusqlite::{Connection, MAIN_DB, OptionalExtension};

/// Reads vectors of chunks within the transaction of a connection.
///
/// They are taken from the page as they are (incremental blob I/O): a statement for each would copy the whole
/// row into memory of its own first, which was half of all that a hybrid search allocated.
pub(super) struct VectorReader<'a> {
    connection: &'a Connection,
    /// On the row that was read last.
    blob: Option<Blob<'a>>,
    /// The row's bytes, of which as many are used as it has.
    bytes: Vec<u8>,
    dimensions: usize,
    values: Vec<f32>,
}

impl<'a> VectorReader<'a> {
    pub(super) fn new(connection: &'a Connection, dimensions: usize) -> Self {
        Self {
            connection,
            blob: None,
            bytes: vec![0; 4 * dimensions + CHECKSUM_BYTES],
            dimensions,
            values: Vec::with_capacity(dimensions),
        }
    }

    /// The vector of a chunk; `None` when there is no such chunk.
    ///
    /// # Errors
    /// When the store cannot be read, or the vector is unsound.
    pub(super) fn read(&mut self, chunk: i64) -> Result<Option<&[f32]>, Fault> {
        let dimensions = self.dimensions;
        let read = if let Some(length) = self.seek(chunk) {
            read_vector(Some(&self.bytes[..length]), dimensions, &mut self.values)
        } else {
            // It is not there, or not as it should be: the statement tells which.
            let mut statement = self
                .connection
                .prepare_cached("SELECT embedding FROM vectors WHERE chunk_id = ?1")?;
            let values = &mut self.values;
            let read = statement
                .query_row([chunk], |row| {
                    Ok(read_vector(
                        row.get_ref(0)?.as_blob().ok(),
                        dimensions,
                        values,
                    ))
                })
                .optional()?;
            let Some(read) = read else { return Ok(None) };
            read
        };
        read.map_err(|problem| Fault::Unsound(format!("vector of chunk {chunk}: {problem}")))?;
        Ok(Some(&self.values))
    }

    /// Fills `bytes` with the value of a row, if it is as long as a vector; its length.
    fn seek(&mut self, chunk: i64) -> Option<usize> {
        let blob = match self.blob.take() {
            Some(mut blob) => blob.reopen(chunk).map(|()| blob),
            None => self
                .connection
                .blob_open(MAIN_DB, c"vectors", c"embedding", chunk, true),
        };
        // One that could not be moved is of no more use.
        let blob = self.blob.insert(blob.ok()?);
        let length = blob.len();
        let bytes = self.bytes.get_mut(..length)?;
        let is_read = length >= 4 * self.dimensions && blob.read_at_exact(bytes, 0).is_ok();
        is_read.then_some(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_beside_ones_that_are_gone_or_unsound() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE vectors (chunk_id INTEGER PRIMARY KEY, embedding);
                 INSERT INTO vectors VALUES (1, X'0000803F00000040'), (3, X'0000803F'),
                     (4, NULL), (5, X'0000807F0000807F'), (6, X'0000404000008040'),
                     (7, X'0000803F0000004076A53F2E'), (8, X'0000803F0000004076A53F2F');",
            )
            .unwrap();
        let mut vectors = VectorReader::new(&connection, 2);
        let unsound = |read: Result<Option<&[f32]>, Fault>| match read {
            Err(Fault::Unsound(problem)) => problem,
            other => panic!("{other:?}"),
        };
        assert_eq!(vectors.read(1).unwrap(), Some(&[1.0, 2.0][..]));
        assert_eq!(vectors.read(2).unwrap(), None);
        assert_eq!(
            unsound(vectors.read(3)),
            "vector of chunk 3: it has 4 bytes, not 8"
        );
        assert_eq!(
            unsound(vectors.read(4)),
            "vector of chunk 4: it is not a blob"
        );
        assert_eq!(
            unsound(vectors.read(5)),
            "vector of chunk 5: it has values that are not finite"
        );
        assert_eq!(vectors.read(2).unwrap(), None);
        assert_eq!(vectors.read(6).unwrap(), Some(&[3.0, 4.0][..]));
        assert_eq!(vectors.read(7).unwrap(), Some(&[1.0, 2.0][..]));
        assert_eq!(
            unsound(vectors.read(8)),
            "vector of chunk 8: its checksum does not match"
        );
    }
}
