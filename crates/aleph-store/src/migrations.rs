//! Numbered SQL files, applied at start, each in a transaction of its own and guarded by a checksum.

use std::hash::{BuildHasher, RandomState};

use sha2::{Digest, Sha256};

use crate::engine::{Session, values};
use crate::{Location, StoreError};

/// Every migration of SQLite, in order. An applied file never changes; add a new one instead.
const SQLITE: &[&str] = &[
    include_str!("../migrations/sqlite/0001_core.sql"),
    include_str!("../migrations/sqlite/0002_rare_filters.sql"),
    include_str!("../migrations/sqlite/0003_origin.sql"),
    include_str!("../migrations/sqlite/0004_confirmations.sql"),
    include_str!("../migrations/sqlite/0005_posts_by_place.sql"),
    include_str!("../migrations/sqlite/0006_own_messages.sql"),
    include_str!("../migrations/sqlite/0007_money.sql"),
    include_str!("../migrations/sqlite/0008_hidden_fields.sql"),
    include_str!("../migrations/sqlite/0009_settling.sql"),
];

/// Every migration of PostgreSQL, in the same way.
const POSTGRES: &[&str] = &[
    include_str!("../migrations/postgres/0001_core.sql"),
    include_str!("../migrations/postgres/0002_confirmations.sql"),
    include_str!("../migrations/postgres/0003_posts_by_place.sql"),
    include_str!("../migrations/postgres/0004_own_messages.sql"),
    include_str!("../migrations/postgres/0005_channel_starts.sql"),
    include_str!("../migrations/postgres/0006_money.sql"),
    include_str!("../migrations/postgres/0007_hidden_fields.sql"),
    include_str!("../migrations/postgres/0008_settling.sql"),
];

pub(crate) fn apply(session: &Session, location: &Location) -> Result<(), StoreError> {
    let migrations = match session {
        Session::Sqlite(_) => SQLITE,
        Session::Postgres(_) => POSTGRES,
    };
    session.batch(
        "CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, checksum TEXT NOT NULL)",
    )?;
    let applied = session.rows("SELECT number, checksum FROM migrations ORDER BY number", &[], |row| {
        Ok((usize::try_from(row.int(0)?).unwrap_or_default(), row.string(1)?))
    })?;
    if let Some((found, _)) = applied.last()
        && *found > migrations.len()
    {
        let (found, known) = (*found, migrations.len());
        return Err(StoreError::NewerSchema { location: location.clone(), found, known });
    }
    for (index, sql) in migrations.iter().enumerate() {
        let number = index + 1;
        let checksum = hex::encode(Sha256::digest(sql.as_bytes()));
        match applied.iter().find(|(applied, _)| *applied == number) {
            Some((_, applied)) if *applied == checksum => {}
            Some(_) => return Err(StoreError::ForeignSchema { location: location.clone(), number }),
            None => {
                let done = apply_one(session, number, sql, &checksum);
                if done.is_err() {
                    session.roll_back();
                }
                done?;
            }
        }
    }
    // Others read this node's log from where they stopped; a new database starts a new log.
    let identity = format!("{:016x}", RandomState::new().hash_one(location.to_string()));
    session.execute(
        "INSERT INTO meta (key, value) VALUES ('database', ?1) ON CONFLICT (key) DO NOTHING",
        values![&identity],
    )
}

fn apply_one(session: &Session, number: usize, sql: &str, checksum: &str) -> Result<(), StoreError> {
    session.begin()?;
    session.batch(sql)?;
    session.execute(
        "INSERT INTO migrations (number, checksum) VALUES (?1, ?2)",
        values![number as u64, checksum],
    )?;
    session.commit()
}
