//! Numbered SQL files, applied at start, each in a transaction of its own and guarded by a checksum.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use crate::StoreError;

/// Every migration, in order. An applied file never changes; add a new one instead.
const MIGRATIONS: &[&str] = &[
    include_str!("../migrations/0001_core.sql"),
    include_str!("../migrations/0002_rare_filters.sql"),
    include_str!("../migrations/0003_origin.sql"),
];

pub(crate) fn apply(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, checksum TEXT NOT NULL)",
    )?;
    let found: usize =
        connection.query_row("SELECT COALESCE(MAX(number), 0) FROM migrations", [], |row| row.get(0))?;
    if found > MIGRATIONS.len() {
        return Err(StoreError::NewerSchema { path: path.into(), found, known: MIGRATIONS.len() });
    }
    for (index, sql) in MIGRATIONS.iter().enumerate() {
        let number = index + 1;
        let checksum = hex::encode(Sha256::digest(sql.as_bytes()));
        let applied: Option<String> = connection
            .query_row("SELECT checksum FROM migrations WHERE number = ?1", [number], |row| row.get(0))
            .optional()?;
        match applied {
            Some(applied) if applied == checksum => {}
            Some(_) => return Err(StoreError::ForeignSchema { path: path.into(), number }),
            None => {
                let transaction = connection.transaction()?;
                transaction.execute_batch(sql)?;
                transaction.execute(
                    "INSERT INTO migrations (number, checksum) VALUES (?1, ?2)",
                    (number, &checksum),
                )?;
                transaction.commit()?;
            }
        }
    }
    // Others read this node's log from where they stopped; a new database starts a new log.
    let identity = format!("{:016x}", RandomState::new().hash_one(path));
    connection.execute(
        "INSERT INTO meta (key, value) VALUES ('database', ?1) ON CONFLICT (key) DO NOTHING",
        [identity],
    )?;
    Ok(())
}
