//! Moves a database from one engine, or one place, to another.
//!
//! Every table is copied as it is, in batches that are committed one by one; what a table holds does
//! not matter here, and a table or a column that a later migration adds is copied like the others. A
//! note in the target's `meta` says that a conversion is under way, from what, and which tables are
//! done: a conversion that was killed goes on after the last finished table, and no node takes a half
//! database for a whole one. The end is a check of all counts and of the state's digest, computed
//! anew on both sides.

use crate::digest::Sums;
use crate::engine::{Session, Value, values};
use crate::writer::{COMMIT as LAST, last_seq};
use crate::{Location, StateDigest, Store, StoreError};

/// Where the note stands in `meta`.
const NOTE: &str = "converting";
/// Rows of one statement.
const ROWS: usize = 64;
/// Bytes of text that may wait for a statement; more than that goes row by row.
const BYTES: usize = 4 * 1024 * 1024;
/// Rows of one transaction.
const COMMIT: u64 = 16_384;
/// Not copied: each engine has migrations of its own, and the small state goes last.
const APART: [&str; 2] = ["migrations", "meta"];

/// Why a conversion did not come to its end. The source is never changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// One of the databases.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing to convert.
    #[error(
        "there is no database at {location}; name the file of a node ('node.sqlite3' in its data folder)"
    )]
    NoSource {
        /// Where it should be.
        location: Location,
    },
    /// Source and target are one.
    #[error("{location} can't be converted into itself; choose another target")]
    Itself {
        /// The database.
        location: Location,
    },
    /// The target holds something.
    #[error("the database {location} is not empty ({rows} rows in '{table}'); choose an empty one")]
    NotEmpty {
        /// The target.
        location: Location,
        /// A table with rows.
        table: String,
        /// How many.
        rows: u64,
    },
    /// The target is the unfinished copy of something else.
    #[error(
        "the database {location} holds an unfinished conversion of another database, or of an older state \
         of this one; choose an empty one"
    )]
    Unfinished {
        /// The target.
        location: Location,
    },
    /// The source itself is an unfinished copy.
    #[error("the database {location} is an unfinished conversion; convert from where it came from")]
    HalfSource {
        /// The source.
        location: Location,
    },
    /// A table has other columns in the target.
    #[error("table '{table}' has other columns in the target: {source_columns} there {target_columns}")]
    Shape {
        /// The table.
        table: String,
        /// Its columns in the source.
        source_columns: String,
        /// Its columns in the target.
        target_columns: String,
    },
    /// What was copied is not what was there.
    #[error(
        "{what} differs: {source_value} in the source, {target_value} in the target; the target is not used \
         by any node; report this, please"
    )]
    Differs {
        /// What.
        what: String,
        /// There.
        source_value: String,
        /// Here.
        target_value: String,
    },
}

impl Store {
    /// Whether a conversion into this database began and did not end: nothing may use it.
    ///
    /// # Errors
    /// When the database can't be read.
    pub async fn is_unfinished_copy(&self) -> Result<bool, StoreError> {
        Ok(self.meta(NOTE).await?.is_some())
    }
}

/// What happens while a database is converted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConvertEvent {
    /// The work is known.
    Begun {
        /// Rows to copy, of all tables.
        rows: u64,
        /// Of them, rows that an earlier run has copied already.
        done: u64,
    },
    /// Rows are in the target; they are durable with their batch.
    Copied {
        /// Of which table.
        table: String,
        /// Rows of all tables so far.
        rows: u64,
    },
    /// Everything is copied; counts and digests are compared.
    Checking,
}

/// A finished conversion.
#[derive(Debug, Clone)]
pub struct Conversion {
    /// Each table with its rows, the same on both sides.
    pub tables: Vec<(String, u64)>,
    /// The state's digest, computed from the tables of the source and of the target.
    pub digest: StateDigest,
}

#[derive(Debug)]
struct Table {
    name: String,
    columns: Vec<String>,
    rows: u64,
}

/// Copies the database at `from` to the one at `to`, which must be empty, or the unfinished copy of the
/// same source. No node may run on either: the caller sees to that where the engine does not.
///
/// # Errors
/// See [`ConvertError`]. After an error or a kill the same call goes on.
pub fn convert(
    from: &Location,
    to: &Location,
    tell: &mut dyn FnMut(ConvertEvent),
) -> Result<Conversion, ConvertError> {
    if from == to {
        return Err(ConvertError::Itself { location: from.clone() });
    }
    if let Location::Sqlite(path) = from
        && !path.is_file()
    {
        return Err(ConvertError::NoSource { location: from.clone() });
    }
    // both schemas are brought up to date first, so that their tables are the same
    let (_, source) = Store::open(from)?;
    let (_, target) = Store::open(to)?;
    let (source, target) = (source.session(), target.session());
    if meta(source, NOTE)?.is_some() {
        return Err(ConvertError::HalfSource { location: from.clone() });
    }
    let tables = tables(source, target)?;
    let mut copy = Copy::prepare(source, target, &tables, to)?;
    let rows = tables.iter().map(|table| table.rows).sum();
    copy.rows = tables.iter().filter(|table| copy.is_done(table)).map(|table| table.rows).sum();
    tell(ConvertEvent::Begun { rows, done: copy.rows });
    for table in &tables {
        if !copy.is_done(table) {
            let outcome = copy.table(table, tell);
            if outcome.is_err() {
                copy.target.roll_back();
            }
            outcome?;
        }
    }
    tell(ConvertEvent::Checking);
    copy.check(&tables)
}

/// One conversion at work.
struct Copy<'a> {
    source: &'a Session,
    target: &'a Session,
    /// What the note says: the state of the source, and the tables that are done.
    origin: String,
    done: Vec<String>,
    /// Rows so far.
    rows: u64,
}

impl<'a> Copy<'a> {
    /// Finds the target empty, or goes on with a copy of the same source.
    fn prepare(
        source: &'a Session,
        target: &'a Session,
        tables: &[Table],
        to: &Location,
    ) -> Result<Self, ConvertError> {
        let origin = origin(source)?;
        let done = match meta(target, NOTE)? {
            Some(note) => {
                let mut lines = note.lines().map(str::to_owned);
                if lines.next().as_deref() != Some(&origin) {
                    return Err(ConvertError::Unfinished { location: to.clone() });
                }
                lines.collect()
            }
            None => {
                for table in tables {
                    let rows = count(target, &table.name)?;
                    if rows > 0 {
                        let table = table.name.clone();
                        return Err(ConvertError::NotEmpty { location: to.clone(), table, rows });
                    }
                }
                Vec::new()
            }
        };
        let copy = Self { source, target, origin, done, rows: 0 };
        target.begin()?;
        copy.write_note()?;
        target.commit()?;
        Ok(copy)
    }

    fn is_done(&self, table: &Table) -> bool {
        self.done.contains(&table.name)
    }

    fn write_note(&self) -> Result<(), StoreError> {
        let note = std::iter::once(&self.origin).chain(&self.done).map(String::as_str);
        set_meta(self.target, NOTE, &note.collect::<Vec<_>>().join("\n"))
    }

    fn table(&mut self, table: &Table, tell: &mut dyn FnMut(ConvertEvent)) -> Result<(), ConvertError> {
        let target = self.target;
        target.begin()?;
        // what a killed run left of it
        target.execute(&format!("DELETE FROM {}", table.name), &[])?;
        let columns = table.columns.join(", ");
        let mut batch = Batch::new(table);
        let mut uncommitted = 0;
        self.source.each(&format!("SELECT {columns} FROM {}", table.name), &[], |row| {
            for column in 0..table.columns.len() {
                batch.push(row.value(column)?);
            }
            if batch.is_full() {
                let rows = batch.write(target)?;
                self.rows += rows;
                uncommitted += rows;
                tell(ConvertEvent::Copied { table: table.name.clone(), rows: self.rows });
            }
            if uncommitted >= COMMIT {
                target.commit()?;
                target.begin()?;
                uncommitted = 0;
            }
            Ok(())
        })?;
        self.rows += batch.write(target)?;
        self.done.push(table.name.clone());
        self.write_note()?;
        target.commit()?;
        tell(ConvertEvent::Copied { table: table.name.clone(), rows: self.rows });
        Ok(())
    }

    /// Compares both sides, then takes the note away: from here on the target is a node's database.
    fn check(self, tables: &[Table]) -> Result<Conversion, ConvertError> {
        for table in tables {
            let (there, here) = (count(self.source, &table.name)?, count(self.target, &table.name)?);
            differ(&format!("the number of rows of '{}'", table.name), there, here)?;
        }
        let there = Sums::of_tables(self.source)?;
        let here = Sums::of_tables(self.target)?;
        let digest = there.to_digest();
        differ("the state's digest", &digest.digest, &here.to_digest().digest)?;
        let kept = Sums::load(self.source)?.to_digest();
        differ("the digest that the source keeps, and the one of its tables,", &kept.digest, &digest.digest)?;
        self.target.begin()?;
        self.target.execute("DELETE FROM meta", &[])?;
        let small = self
            .source
            .rows("SELECT key, value FROM meta", &[], |row| Ok((row.string(0)?, row.string(1)?)))?;
        for (key, value) in &small {
            set_meta(self.target, key, value)?;
        }
        // places of messages that are gone are not used again, whichever way an engine remembers them
        set_meta(self.target, LAST, &format!("{} 0", last_seq(self.source)?))?;
        count_on(self.target)?;
        self.target.commit()?;
        let tables = tables.iter().map(|table| (table.name.clone(), table.rows)).collect();
        Ok(Conversion { tables, digest })
    }
}

/// Rows on their way, bounded in number and size.
struct Batch {
    width: usize,
    /// `INSERT INTO table (columns) VALUES `
    insert: String,
    values: Vec<Owned>,
    bytes: usize,
}

enum Owned {
    Null,
    Int(i64),
    Text(String),
}

impl Batch {
    fn new(table: &Table) -> Self {
        let insert = format!("INSERT INTO {} ({}) VALUES ", table.name, table.columns.join(", "));
        Self { width: table.columns.len(), insert, values: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, value: Value<'_>) {
        self.values.push(match value {
            Value::Null => Owned::Null,
            Value::Int(number) => Owned::Int(number),
            Value::Text(text) => {
                self.bytes += text.len();
                Owned::Text(text.to_owned())
            }
            // no column holds lists
            Value::Texts(_) => Owned::Null,
        });
    }

    fn is_full(&self) -> bool {
        self.values.len() >= ROWS * self.width || self.bytes >= BYTES
    }

    /// Writes what is there; returns how many rows. Two statements a table are all that an engine has to
    /// prepare: one for a whole batch, one for a single row.
    fn write(&mut self, target: &Session) -> Result<u64, StoreError> {
        let rows = self.values.len() / self.width;
        let values: Vec<Value<'_>> = self
            .values
            .iter()
            .map(|value| match value {
                Owned::Null => Value::Null,
                Owned::Int(number) => Value::Int(*number),
                Owned::Text(text) => Value::Text(text),
            })
            .collect();
        if rows == ROWS {
            target.execute(&self.statement(ROWS), &values)?;
        } else {
            let statement = self.statement(1);
            for row in values.chunks(self.width) {
                target.execute(&statement, row)?;
            }
        }
        self.values.clear();
        self.bytes = 0;
        Ok(rows as u64)
    }

    fn statement(&self, rows: usize) -> String {
        let row = |row: usize| {
            let places = (1..=self.width).map(|column| format!("?{}", row * self.width + column));
            format!("({})", places.collect::<Vec<_>>().join(", "))
        };
        let rows = (0..rows).map(row).collect::<Vec<_>>();
        format!("{}{}", self.insert, rows.join(", "))
    }
}

/// The tables of both sides, which must have the same columns.
fn tables(source: &Session, target: &Session) -> Result<Vec<Table>, ConvertError> {
    let mut found = Vec::new();
    for name in table_names(source)? {
        if APART.contains(&name.as_str()) {
            continue;
        }
        let columns = columns_of(source, &name)?;
        let sorted = |mut columns: Vec<String>| {
            columns.sort();
            columns.join(", ")
        };
        let (there, here) = (sorted(columns.clone()), sorted(columns_of(target, &name)?));
        if there != here {
            return Err(ConvertError::Shape { table: name, source_columns: there, target_columns: here });
        }
        let rows = count(source, &name)?;
        found.push(Table { name, columns, rows });
    }
    Ok(found)
}

fn table_names(session: &Session) -> Result<Vec<String>, StoreError> {
    let sql = match session {
        Session::Sqlite(_) => {
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name"
        }
        Session::Postgres(_) => {
            "SELECT CAST(table_name AS TEXT) FROM information_schema.tables \
             WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' ORDER BY 1"
        }
    };
    session.rows(sql, &[], |row| row.string(0))
}

fn columns_of(session: &Session, table: &str) -> Result<Vec<String>, StoreError> {
    let sql = match session {
        Session::Sqlite(_) => "SELECT name FROM pragma_table_info(?1) ORDER BY cid",
        Session::Postgres(_) => {
            "SELECT CAST(column_name AS TEXT) FROM information_schema.columns \
             WHERE table_schema = current_schema() AND table_name = ?1 ORDER BY ordinal_position"
        }
    };
    session.rows(sql, values![table], |row| row.string(0))
}

/// PostgreSQL counts the numbers that it gives out itself apart from the rows.
fn count_on(target: &Session) -> Result<(), StoreError> {
    let Session::Postgres(_) = target else { return Ok(()) };
    let counted = target.rows(
        "SELECT CAST(table_name AS TEXT), CAST(column_name AS TEXT) FROM information_schema.columns \
         WHERE table_schema = current_schema() AND is_identity = 'YES'",
        &[],
        |row| Ok((row.string(0)?, row.string(1)?)),
    )?;
    for (table, column) in counted {
        let next = format!(
            "SELECT setval(pg_get_serial_sequence('{table}', '{column}'), coalesce(max({column}), 0) + 1, false) \
             FROM {table}"
        );
        target.first(&next, &[], |_| Ok(()))?;
    }
    Ok(())
}

/// Names a state of a database: another conversion of the same state may be gone on with.
fn origin(source: &Session) -> Result<String, StoreError> {
    let identity = meta(source, "database")?.unwrap_or_default();
    let digest = Sums::load(source)?.to_digest().digest;
    let messages = count(source, "messages")?;
    let pending = count(source, "pending")?;
    Ok(format!("{identity} {digest} {messages} {pending}"))
}

fn meta(session: &Session, key: &str) -> Result<Option<String>, StoreError> {
    session.first("SELECT value FROM meta WHERE key = ?1", values![key], |row| row.string(0))
}

fn set_meta(session: &Session, key: &str, value: &str) -> Result<(), StoreError> {
    session.execute(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) \
         ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        values![key, value],
    )
}

fn count(session: &Session, table: &str) -> Result<u64, StoreError> {
    session.count(&format!("SELECT count(*) FROM {table}"), &[])
}

fn differ<T: PartialEq + ToString>(what: &str, there: T, here: T) -> Result<(), ConvertError> {
    if there == here {
        return Ok(());
    }
    Err(ConvertError::Differs {
        what: what.to_owned(),
        source_value: there.to_string(),
        target_value: here.to_string(),
    })
}
