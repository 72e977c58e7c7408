//! PostgreSQL 15: a connection, statements that are prepared once, changes that travel together.
//!
//! Changes inside a transaction are put in a queue that is sent with the next query, or with the commit, in
//! one go: their answers are awaited together. A message then costs as many round trips as it has
//! questions.
//!
//! Connections over TCP are encrypted as the URL asks (`sslmode`).

mod dialect;
mod tls;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::error::Error;
use std::pin::Pin;
use std::task::Poll;

use bytes::{BufMut, BytesMut};
use futures_util::future::maybe_done;
use futures_util::{StreamExt, poll};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, RowStream, Statement};

use self::wire::Wire;
use super::known::KnownStatuses;
use super::{EngineError, Row, Value};
use crate::StoreError;
use crate::location::PostgresUrl;

/// Statements that stay prepared on a connection.
const STATEMENTS: usize = 256;

/// Changes, and bytes of their values, that wait in the queue before they are sent anyway.
const QUEUE_LENGTH: usize = 512;
const QUEUE_BYTES: usize = 1024 * 1024;

/// Plans follow the order in which statements name their tables, and never walk a table where an index
/// would do: a plan that is made while a table is empty is kept while it grows. Nothing is compiled for a
/// single use.
const SETTINGS: &str = "SET jit = off; SET join_collapse_limit = 1; SET enable_seqscan = off; \
     SET timezone = 'UTC'; SET application_name = 'alephd'";

/// Readers never write.
const READER_SETTINGS: &str = "SET default_transaction_read_only = on";

/// Stands in questions for NUL, which no text of PostgreSQL can hold: what is asked with it is not there.
const NO_NUL: &str = "\u{fffd}\u{1}\u{fffd}";

/// What is acknowledged is on the disk, whatever the server's default is. A server that is set to even
/// stricter ways keeps them.
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', false) \
     WHERE current_setting('synchronous_commit') = 'off' AND current_setting('fsync') = 'on'";

/// One writer a database (and schema): held as long as the connection stands.
const LOCK: &str = "SELECT pg_try_advisory_lock(hashtext('alephd'), hashtext(current_schema()))";

/// A connection to a server.
#[derive(Debug)]
pub(crate) struct PostgresSession {
    wire: Wire,
    client: Client,
    statements: RefCell<HashMap<Box<str>, Statement>>,
    queue: RefCell<Queue>,
    known: KnownStatuses,
    state: Cell<State>,
    only_reads: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Every statement stands for itself.
    Idle,
    Transaction,
    /// A statement of the transaction failed: nothing of it can be kept.
    Failed,
}

#[derive(Debug, Default)]
struct Queue {
    changes: Vec<Change>,
    bytes: usize,
}

#[derive(Debug)]
struct Change {
    statement: Statement,
    values: Vec<Owned>,
}

/// A value that waits in the queue.
#[derive(Debug)]
enum Owned {
    Null,
    Int(i64),
    Text(Box<str>),
    Texts(Vec<String>),
}

impl Owned {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Int(number) => Self::Int(number),
            Value::Text(text) => Self::Text(text.into()),
            Value::Texts(texts) => Self::Texts(texts.to_vec()),
        }
    }

    fn without_nul(value: Value<'_>) -> Self {
        let replaced = |text: &str| text.replace('\0', NO_NUL);
        match value {
            Value::Text(text) => Self::Text(replaced(text).into()),
            Value::Texts(texts) => Self::Texts(texts.iter().map(|text| replaced(text)).collect()),
            other => Self::from(other),
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Int(number) => Value::Int(*number),
            Self::Text(text) => Value::Text(text),
            Self::Texts(texts) => Value::Texts(texts),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Null | Self::Int(_) => 8,
            Self::Text(text) => text.len(),
            Self::Texts(texts) => texts.iter().map(String::len).sum(),
        }
    }
}

impl PostgresSession {
    /// The connection that writes: the only one of its database.
    pub(crate) fn writer(url: &PostgresUrl) -> Result<Self, StoreError> {
        let session = Self::connect(url)?;
        session.first(DURABLE, &[], |_| Ok(()))?;
        if !session.first(LOCK, &[], |row| row.flag(0))?.unwrap_or_default() {
            return Err(StoreError::InUse);
        }
        Ok(session)
    }

    /// A connection that only reads.
    pub(crate) fn reader(url: &PostgresUrl) -> Result<Self, StoreError> {
        let session = Self::connect(url)?;
        session.batch(READER_SETTINGS)?;
        Ok(Self { only_reads: true, ..session })
    }

    fn connect(url: &PostgresUrl) -> Result<Self, StoreError> {
        let (client, wire) = Wire::connect(url)?;
        let session = Self {
            wire,
            client,
            statements: RefCell::default(),
            queue: RefCell::default(),
            known: KnownStatuses::default(),
            state: Cell::new(State::Idle),
            only_reads: false,
        };
        session.batch(SETTINGS)?;
        let encoding =
            session.first("SELECT current_setting('server_encoding')", &[], |row| row.string(0))?;
        match encoding {
            Some(encoding) if encoding != "UTF8" => Err(StoreError::Encoding { encoding }),
            _ => Ok(session),
        }
    }

    /// Whether the connection stands, as far as can be told without asking the server.
    pub(crate) fn is_open(&self) -> bool {
        self.wire.is_open()
    }

    pub(super) fn rows<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        self.each(sql, values, |row| {
            found.push(read(row)?);
            Ok(())
        })?;
        Ok(found)
    }

    pub(super) fn each(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut visit: impl FnMut(&Row<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut rows = self.query(sql, values)?;
        while let Some(row) = self.next(&mut rows)? {
            visit(&Row::Postgres(&row))?;
        }
        Ok(())
    }

    pub(super) fn first<T>(
        &self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut rows = self.query(sql, values)?;
        let Some(row) = self.next(&mut rows)? else { return Ok(None) };
        let answer = read(&Row::Postgres(&row))?;
        // To the end: an error may still follow.
        while self.next(&mut rows)?.is_some() {}
        Ok(Some(answer))
    }

    /// Puts a change off inside a transaction.
    pub(super) fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<(), StoreError> {
        if self.state.get() == State::Idle {
            return self.execute_counted(sql, values).map(|_| ());
        }
        self.put_off(sql, values)?;
        let is_long = {
            let queue = self.queue.borrow();
            queue.changes.len() >= QUEUE_LENGTH || queue.bytes >= QUEUE_BYTES
        };
        if is_long { self.flush() } else { Ok(()) }
    }

    pub(super) fn execute_counted(&self, sql: &str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let mut rows = self.query(sql, values)?;
        while self.next(&mut rows)?.is_some() {}
        Ok(rows.rows_affected().unwrap_or_default())
    }

    pub(super) fn batch(&self, sql: &str) -> Result<(), StoreError> {
        self.flush()?;
        let done = self.wire.run(self.client.batch_execute(sql));
        self.check(done)
    }

    pub(super) fn begin(&self) -> Result<(), StoreError> {
        self.begin_with("BEGIN")
    }

    pub(super) fn begin_snapshot(&self) -> Result<(), StoreError> {
        self.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    }

    fn begin_with(&self, sql: &str) -> Result<(), StoreError> {
        self.state.set(State::Transaction);
        self.known.open();
        self.put_off(sql, &[]).inspect_err(|_| self.state.set(State::Idle))
    }

    pub(super) fn commit(&self) -> Result<(), StoreError> {
        if self.state.get() == State::Failed {
            return Err(EngineError::Undone.into());
        }
        self.put_off("COMMIT", &[])?;
        self.flush()?;
        self.known.close();
        self.state.set(State::Idle);
        Ok(())
    }

    pub(super) fn roll_back(&self) {
        *self.queue.borrow_mut() = Queue::default();
        self.known.close();
        if self.state.replace(State::Idle) != State::Idle {
            // Whether or not the transaction was begun: what follows waits behind it.
            self.wire.send(self.client.batch_execute("ROLLBACK"));
        }
    }

    /// What the open transaction knows.
    pub(super) fn known(&self) -> &KnownStatuses {
        &self.known
    }

    /// The statement for this text, prepared when it is met for the first time.
    fn statement(&self, sql: &str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.borrow().get(sql) {
            return Ok(statement.clone());
        }
        // An error of an earlier change is told as that, not as one of this statement.
        self.flush()?;
        let prepared = self.wire.run(self.client.prepare(&dialect::translate(sql)));
        let statement = self.check(prepared)?;
        let mut statements = self.statements.borrow_mut();
        if statements.len() >= STATEMENTS {
            statements.clear();
        }
        statements.insert(sql.into(), statement.clone());
        Ok(statement)
    }

    fn put_off(&self, sql: &str, values: &[Value<'_>]) -> Result<(), StoreError> {
        let statement = self.statement(sql)?;
        let values: Vec<Owned> = values.iter().map(|value| Owned::from(*value)).collect();
        let mut queue = self.queue.borrow_mut();
        queue.bytes += values.iter().map(Owned::size).sum::<usize>();
        queue.changes.push(Change { statement, values });
        Ok(())
    }

    /// Sends what waits in the queue and awaits the answers.
    fn flush(&self) -> Result<(), StoreError> {
        if self.queue.borrow().changes.is_empty() {
            return Ok(());
        }
        let queue = self.queue.take();
        let done = self.wire.run(async { self.sent(&queue).await.finish().await });
        self.check(done)
    }

    /// Sends what waits in the queue and a query behind it, in one go.
    fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Pin<Box<RowStream>>, StoreError> {
        if self.only_reads && values.iter().any(holds_nul) {
            let owned: Vec<Owned> = values.iter().map(|value| Owned::without_nul(*value)).collect();
            let values: Vec<Value<'_>> = owned.iter().map(Owned::value).collect();
            return self.query(sql, &values);
        }
        let statement = self.statement(sql)?;
        let queue = self.queue.take();
        let done = self.wire.run(async {
            if queue.changes.is_empty() {
                return self.client.query_raw(&statement, values.iter().copied()).await.map(Box::pin);
            }
            let changes = self.sent(&queue).await;
            let mut query = Box::pin(self.client.query_raw(&statement, values.iter().copied()));
            // The first poll sends it behind the changes.
            let early = poll!(&mut query);
            changes.finish().await?;
            let rows = match early {
                Poll::Ready(rows) => rows,
                Poll::Pending => query.await,
            };
            rows.map(Box::pin)
        });
        self.check(done)
    }

    /// The changes of a queue, on their way in this order.
    async fn sent<'q>(&'q self, queue: &'q Queue) -> Sent<'q> {
        let mut answers = Vec::with_capacity(queue.changes.len());
        for change in &queue.changes {
            let values = change.values.iter().map(Owned::value);
            let mut answer: Answer<'q> =
                Box::pin(maybe_done(Box::pin(self.client.execute_raw(&change.statement, values)) as _));
            // The first poll is what sends it.
            let _ = poll!(&mut answer);
            answers.push(answer);
        }
        Sent { answers }
    }

    fn next(&self, rows: &mut Pin<Box<RowStream>>) -> Result<Option<tokio_postgres::Row>, StoreError> {
        let next = self.wire.run(async { rows.next().await.transpose() });
        self.check(next)
    }

    /// Notes that the transaction failed.
    fn check<T>(&self, done: Result<Result<T, tokio_postgres::Error>, StoreError>) -> Result<T, StoreError> {
        let done = done.and_then(|done| done.map_err(|error| EngineError::from(error).into()));
        if done.is_err() && self.state.get() == State::Transaction {
            self.state.set(State::Failed);
        }
        done
    }
}

type Execute<'q> = Pin<Box<dyn Future<Output = Result<u64, tokio_postgres::Error>> + 'q>>;
type Answer<'q> = Pin<Box<futures_util::future::MaybeDone<Execute<'q>>>>;

/// Changes whose answers are still to come.
struct Sent<'q> {
    answers: Vec<Answer<'q>>,
}

impl Sent<'_> {
    /// Awaits all answers; the first error is the one that counts, for it caused the others.
    async fn finish(self) -> Result<(), tokio_postgres::Error> {
        let mut first = Ok(());
        for mut answer in self.answers {
            answer.as_mut().await;
            if let Some(Err(error)) = answer.as_mut().take_output()
                && first.is_ok()
            {
                first = Err(error);
            }
        }
        first
    }
}

fn holds_nul(value: &Value<'_>) -> bool {
    match value {
        Value::Null | Value::Int(_) => false,
        Value::Text(text) => text.contains('\0'),
        Value::Texts(texts) => texts.iter().any(|text| text.contains('\0')),
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Int(number) if *ty == Type::INT8 => out.put_i64(*number),
            Self::Int(number) if *ty == Type::INT4 => out.put_i32((*number).try_into()?),
            Self::Text(text) => return text.to_sql(ty, out),
            Self::Texts(texts) => return texts.to_sql(ty, out),
            Self::Int(_) => return Err(format!("a number is bound where {ty} is expected").into()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// A column as this crate stores or counts it.
pub(super) fn value(row: &tokio_postgres::Row, column: usize) -> Result<Value<'_>, StoreError> {
    let Some(description) = row.columns().get(column) else {
        return Err(StoreError::corrupt("column", column.to_string()));
    };
    let found = match *description.type_() {
        Type::INT8 => row.try_get::<_, Option<i64>>(column).map(|number| number.map(Value::Int)),
        Type::INT4 => {
            row.try_get::<_, Option<i32>>(column).map(|number| number.map(|number| Value::Int(number.into())))
        }
        Type::BOOL => {
            row.try_get::<_, Option<bool>>(column).map(|flag| flag.map(|flag| Value::Int(flag.into())))
        }
        _ => row.try_get::<_, Option<&str>>(column).map(|text| text.map(Value::Text)),
    };
    Ok(found.map_err(EngineError::from)?.unwrap_or(Value::Null))
}
