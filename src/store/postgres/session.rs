//! One connection with the statements that were prepared on it.

use postgres::types::{ToSql, Type};
use postgres::{Client, Row, Statement, Transaction};
use std::collections::HashMap;

/// A connection; statements are prepared once and then cost one round trip each.
pub(super) struct Session {
    client: Client,
    statements: HashMap<&'static str, Statement>,
    named: HashMap<String, Statement>,
}

/// Statements whose text is made at run time (names of search functions) that are kept.
const MAX_NAMED: usize = 64;

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            statements: HashMap::new(),
            named: HashMap::new(),
        }
    }

    /// The connection itself.
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Prepares every statement anew.
    pub(super) fn forget(&mut self) {
        self.statements.clear();
        self.named.clear();
    }

    /// Runs a statement that was written in the source.
    pub(super) fn query(
        &mut self,
        sql: &'static str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, postgres::Error> {
        if !self.statements.contains_key(sql) {
            let prepared = self.client.prepare(sql)?;
            self.statements.insert(sql, prepared);
        }
        let statement = &self.statements[sql];
        self.client.query(statement, parameters)
    }

    /// Runs a statement whose text was put together.
    pub(super) fn query_named(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, postgres::Error> {
        if let Some(statement) = self.named.get(sql) {
            return self.client.query(statement, parameters);
        }
        let statement = self.client.prepare(sql)?;
        let rows = self.client.query(&statement, parameters)?;
        if self.named.len() >= MAX_NAMED {
            self.named.clear();
        }
        self.named.insert(sql.to_owned(), statement);
        Ok(rows)
    }

    /// A transaction, and the type of `vector` columns as this database numbers it.
    pub(super) fn begin(&mut self) -> Result<(Transaction<'_>, Type), postgres::Error> {
        const VECTOR: &str = "SELECT NULL::vector";
        if !self.statements.contains_key(VECTOR) {
            let prepared = self.client.prepare(VECTOR)?;
            self.statements.insert(VECTOR, prepared);
        }
        let columns = self.statements.get(VECTOR).map(Statement::columns);
        let vector = columns
            .and_then(<[_]>::first)
            .map(|column| column.type_().clone());
        Ok((self.client.transaction()?, vector.unwrap_or(Type::TEXT)))
    }
}

/// Everything else that a connection can do.
impl std::ops::Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl std::ops::DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
