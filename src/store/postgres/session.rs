//! One connection with the statements that were prepared on it.

use postgres::types::{ToSql, Type};
use postgres::{Client, Row, Statement, Transaction};
use std::collections::HashMap;

/// A connection; statements are prepared once and then cost one round trip each.
pub(super) struct Session {
    client: Client,
    /// By their text. There are as many as the source has, and a few more for each kind of index.
    statements: HashMap<String, Statement>,
}

impl Session {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            statements: HashMap::new(),
        }
    }

    /// The connection itself.
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Prepares every statement anew.
    pub(super) fn forget(&mut self) {
        self.statements.clear();
    }

    /// Runs a statement.
    pub(super) fn query(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, postgres::Error> {
        let statement = self.prepared(sql)?;
        self.client.query(&statement, parameters)
    }

    /// A transaction, and the type of `vector` columns as this database numbers it.
    pub(super) fn begin(&mut self) -> Result<(Transaction<'_>, Type), postgres::Error> {
        let statement = self.prepared("SELECT NULL::vector")?;
        let column = statement.columns().first();
        let vector = column.map_or(Type::UNKNOWN, |column| column.type_().clone());
        Ok((self.client.transaction()?, vector))
    }

    /// Prepares a statement the first time; cloning one copies a pointer.
    fn prepared(&mut self, sql: &str) -> Result<Statement, postgres::Error> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql)?;
        self.statements.insert(sql.to_owned(), statement.clone());
        Ok(statement)
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
