//! Makes in the PostgreSQL of this machine what alfred needs: a role, a database, the extension; and a file of
//! settings by which the daemon uses them. What is there already stays as it is, so that it can be run again.

use crate::failure::Failure;
use crate::program::{Asked, tell};
use crate::secret::Secret;
use std::path::Path;
use std::time::Duration;

/// Longest that one statement may take; making a database copies a template.
const PATIENCE: Duration = Duration::from_mins(1);
/// An answer is a word, or the server's complaint.
const MAX_BYTES: u64 = 64 * 1024;

/// What is wanted in the database server.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The role that owns the database.
    pub role: String,
    /// Its password; none where its system user is enough (peer authentication).
    pub password: Option<Secret>,
    /// The database.
    pub database: String,
}

/// Runs SQL as the database's superuser.
pub trait Sql {
    /// What the statements printed, without the white space around it.
    ///
    /// # Errors
    /// The server's words.
    fn run(&self, database: &str, statements: String) -> Result<String, String>;
}

/// `psql` as the system user postgres, on the server of this port. Statements go in on its stdin, since they may hold
/// a password.
#[derive(Clone, Copy, Debug)]
pub struct Psql {
    /// The port that its unix socket is named after.
    pub port: u16,
}

impl Sql for Psql {
    fn run(&self, database: &str, statements: String) -> Result<String, String> {
        let port = self.port.to_string();
        let said = tell(
            Asked {
                program: "runuser",
                arguments: &[
                    "-u",
                    "postgres",
                    "--",
                    "env",
                    // Nothing that leads to another server, and a folder that postgres may enter.
                    "--chdir=/",
                    "--unset=PGHOST",
                    "--unset=PGHOSTADDR",
                    "--unset=PGSERVICE",
                    "--unset=PGUSER",
                    "psql",
                    "--no-psqlrc",
                    "--quiet",
                    "--tuples-only",
                    "--no-align",
                    "--set=ON_ERROR_STOP=1",
                    "--port",
                    &port,
                    "--dbname",
                    database,
                ],
                environment: &[("PGOPTIONS", "-c client_min_messages=error")],
                stderr: true,
                patience: PATIENCE,
                max_bytes: MAX_BYTES,
            },
            statements,
        );
        said.map(|text| text.trim().to_owned())
            .map_err(|error| error.to_string())
    }
}

/// Makes what is wanted; answers a line for each thing: what was made, or that it was there.
///
/// # Errors
/// When the server refuses.
pub fn database(wanted: &Wanted, sql: &dyn Sql) -> Result<Vec<String>, Failure> {
    let Wanted {
        role,
        password,
        database,
    } = wanted;
    let mut done = Vec::with_capacity(3);
    let ask = |database: &str, what: &str, statements: String| {
        sql.run(database, statements).map_err(|words| {
            Failure::failed(format!("cannot provide {what} in PostgreSQL")).because(words)
        })
    };
    let what = format!("the role {role}");
    let found = ask(
        "postgres",
        &what,
        format!("SELECT 1 FROM pg_roles WHERE rolname = {};", literal(role)),
    )?;
    let with_password = password.as_ref().map_or_else(String::new, |password| {
        format!(" PASSWORD {}", literal(password.reveal()))
    });
    if found.is_empty() {
        let statement = format!("CREATE ROLE {} LOGIN{with_password};", identifier(role));
        ask("postgres", &what, statement)?;
        done.push(format!("created {what}"));
    } else if password.is_some() {
        let statement = format!("ALTER ROLE {}{with_password};", identifier(role));
        ask("postgres", &what, statement)?;
        done.push(format!(
            "{what} is there; its password is that of POSTGRES_DSN"
        ));
    } else {
        done.push(format!("{what} is there"));
    }
    let what = format!("the database {database}");
    let name = literal(database);
    let query = format!("SELECT 1 FROM pg_database WHERE datname = {name};");
    if ask("postgres", &what, query)?.is_empty() {
        let (name, owner) = (identifier(database), identifier(role));
        let statement = format!("CREATE DATABASE {name} OWNER {owner};");
        ask("postgres", &what, statement)?;
        done.push(format!("created {what}"));
    } else {
        done.push(format!("{what} is there"));
    }
    done.push(extension(database, sql)?);
    Ok(done)
}

fn extension(database: &str, sql: &dyn Sql) -> Result<String, Failure> {
    const VERSION: &str = "SELECT extversion FROM pg_extension WHERE extname = 'vector';";
    let what = format!("the extension vector of {database}");
    let refused = |words: String| {
        Failure::failed(format!("cannot provide {what}"))
            .because(words)
            .hint(
                "install pgvector for this version of PostgreSQL, as apt install postgresql-17-pgvector",
            )
    };
    let version = sql.run(database, VERSION.to_owned()).map_err(refused)?;
    if !version.is_empty() {
        return Ok(format!("{what} is there, version {version}"));
    }
    let made = sql.run(database, format!("CREATE EXTENSION vector; {VERSION}"));
    Ok(format!(
        "created {what}, version {}",
        made.map_err(refused)?
    ))
}

/// Writes settings where the daemon reads them, unless they are there. Answers a line, and whether they are new.
///
/// # Errors
/// When the file cannot be written.
pub fn settings(file: &Path, text: &str) -> Result<(String, bool), Failure> {
    let shown = file.display();
    if std::fs::read_to_string(file).is_ok_and(|is| is == text) {
        return Ok((format!("{shown} is as it should be"), false));
    }
    let write = || {
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(file, text)
    };
    write().map_err(|error: std::io::Error| {
        Failure::failed(format!("cannot write {shown}")).because(error)
    })?;
    Ok((format!("wrote {shown}"), true))
}

/// With the setting standard_conforming_strings, which is on unless somebody turned it off, a quote is all that
/// has to be doubled; a backslash makes it the other kind of literal, in which that is sure.
fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    }
}

fn identifier(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// A server that has what was made in it.
    #[derive(Default)]
    struct Server {
        made: RefCell<Vec<String>>,
        has_no_pgvector: bool,
    }

    impl Sql for Server {
        fn run(&self, database: &str, statements: String) -> Result<String, String> {
            let mut made = self.made.borrow_mut();
            let has = |words: &str| made.iter().any(|line| line.contains(words));
            if statements.contains("CREATE EXTENSION") && self.has_no_pgvector {
                return Err("ERROR: extension \"vector\" is not available".to_owned());
            }
            if statements.starts_with("SELECT 1 FROM pg_roles") {
                return Ok(if has("CREATE ROLE") { "1" } else { "" }.to_owned());
            }
            if statements.starts_with("SELECT 1 FROM pg_database") {
                return Ok(if has("CREATE DATABASE") { "1" } else { "" }.to_owned());
            }
            if statements.starts_with("SELECT extversion") {
                return Ok(if has("CREATE EXTENSION") { "0.8.5" } else { "" }.to_owned());
            }
            let is_extension = statements.contains("CREATE EXTENSION");
            made.push(format!("{database}: {statements}"));
            Ok(if is_extension { "0.8.5" } else { "" }.to_owned())
        }
    }

    fn wanted(password: Option<&str>) -> Wanted {
        Wanted {
            role: "alfred".to_owned(),
            password: password.map(Secret::new),
            database: "corpus".to_owned(),
        }
    }

    #[test]
    fn what_is_missing_is_made_once() {
        let server = Server::default();
        let first = database(&wanted(None), &server).unwrap();
        assert_eq!(
            first,
            [
                "created the role alfred",
                "created the database corpus",
                "created the extension vector of corpus, version 0.8.5"
            ]
        );
        let made = server.made.borrow().clone();
        assert_eq!(
            made[..2],
            [
                "postgres: CREATE ROLE \"alfred\" LOGIN;",
                "postgres: CREATE DATABASE \"corpus\" OWNER \"alfred\";"
            ]
        );
        assert!(made[2].starts_with("corpus: CREATE EXTENSION vector;"));
        let second = database(&wanted(None), &server).unwrap();
        assert!(
            second.iter().all(|line| line.contains("is there")),
            "{second:?}"
        );
        assert_eq!(*server.made.borrow(), made);
    }

    #[test]
    fn a_password_is_quoted_and_in_no_line() {
        let server = Server::default();
        let mut lines = database(&wanted(Some("it's \\ s3cr3t")), &server).unwrap();
        lines.extend(database(&wanted(Some("it's \\ s3cr3t")), &server).unwrap());
        assert!(!lines.join(" ").contains("s3cr3t"), "{lines:?}");
        let made = server.made.borrow();
        assert!(made[0].contains(r"PASSWORD E'it''s \\ s3cr3t'"), "{made:?}");
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
    }

    #[test]
    fn a_server_without_pgvector_is_told_what_it_lacks() {
        let server = Server {
            has_no_pgvector: true,
            ..Server::default()
        };
        let text = database(&wanted(None), &server).unwrap_err().render();
        assert!(
            text.contains("not available\nhint: install pgvector"),
            "{text}"
        );
    }

    #[test]
    fn settings_are_written_when_they_differ() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("conf.d/stack.toml");
        assert!(settings(&file, "a").unwrap().1);
        assert!(!settings(&file, "a").unwrap().1);
        assert!(settings(&file, "b").unwrap().1);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "b");
    }
}
