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
    include_str!("../migrations/sqlite/0010_short_keys.sql"),
    include_str!("../migrations/sqlite/0011_posts_by_messages.sql"),
    include_str!("../migrations/sqlite/0012_lists_of_money.sql"),
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
    include_str!("../migrations/postgres/0009_short_keys.sql"),
    include_str!("../migrations/postgres/0010_posts_by_messages.sql"),
    include_str!("../migrations/postgres/0011_lists_of_money.sql"),
];

pub(crate) fn apply(session: &Session, location: &Location) -> Result<(), StoreError> {
    apply_these(session, location, of_engine(session))
}

fn of_engine(session: &Session) -> &'static [&'static str] {
    match session {
        Session::Sqlite(_) => SQLITE,
        Session::Postgres(_) => POSTGRES,
    }
}

fn apply_these(session: &Session, location: &Location, migrations: &[&str]) -> Result<(), StoreError> {
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

#[cfg(test)]
mod tests {
    use aleph_test_postgres::{Options, Server};

    use super::*;
    use crate::digest::Sums;
    use crate::statuses::{record_of, status_of};
    use crate::{PostgresUrl, store};

    /// The first migration that makes keys short.
    fn short_keys(session: &Session) -> usize {
        of_engine(session).iter().position(|sql| sql.contains("CREATE TABLE owners")).unwrap()
    }

    /// Messages 1 to 9 of three owners, as the schema before kept them: the second is not sent by its owner,
    /// the third is on its way out, the fourth first came as an earlier copy, the fifth is forgotten.
    fn fill(session: &Session) {
        for seq in 1..=9_i64 {
            let hash = format!("{seq:064}");
            let owner = format!("0xO{}", seq % 3);
            let sender = if seq == 2 { "0xdelegate" } else { owner.as_str() };
            let status = match seq {
                3 => "removing",
                5 => "forgotten",
                _ => "processed",
            };
            let met = if seq == 4 { 1 } else { seq * 10 };
            let is_stored = seq != 5;
            session
                .execute(
                    "INSERT INTO statuses (item_hash, status, reception_time, message) VALUES (?1,?2,?3,?4)",
                    values![&hash, status, met, is_stored.then_some(seq)],
                )
                .unwrap();
            if !is_stored {
                continue;
            }
            session
                .execute(
                    "INSERT INTO messages (seq, item_hash, message_type, chain, sender, owner, item_type, \
                     item_content, size, time, content_time, reception_time) \
                     VALUES (?1,?2,'POST','ETH',?3,?4,'inline','{}',2,?5,?5,?5)",
                    values![seq, &hash, sender, &owner, seq * 10],
                )
                .unwrap();
            session
                .execute(
                    "INSERT INTO posts (original, message, owner, post_type, created, latest, \
                     latest_message, last_updated) VALUES (?1,?2,?3,'note',?2,?1,?2,?2)",
                    values![&hash, seq, &owner],
                )
                .unwrap();
        }
    }

    fn keys_become_short_and_the_state_stays(session: &Session, location: &Location) {
        let before = &of_engine(session)[..short_keys(session)];
        apply_these(session, location, before).unwrap();
        fill(session);
        apply(session, location).unwrap();

        let numbers = |sql: &str| session.rows(sql, &[], |row| row.opt_int(0)).unwrap();
        assert_eq!(numbers("SELECT id FROM owners ORDER BY address"), [Some(3), Some(1), Some(2)]);
        // what their owners sent: not the second
        assert_eq!(
            numbers("SELECT own FROM messages ORDER BY seq"),
            [Some(1), None, Some(3), Some(1), Some(3), Some(1), Some(2), Some(3)]
        );
        // a row for what is more than processed at once
        let hashes = session
            .rows("SELECT item_hash FROM statuses ORDER BY item_hash", &[], |row| row.string(0))
            .unwrap();
        assert_eq!(hashes, [3, 4, 5].map(|seq| format!("{seq:064}")));
        for seq in 1..=9_i64 {
            let record = record_of(session, &format!("{seq:064}")).unwrap().unwrap();
            assert_eq!(record.message, (seq != 5).then_some(seq));
            assert_eq!(record.reception_time.as_micros(), if seq == 4 { 1 } else { seq * 10 });
            let status = match seq {
                3 => "removing",
                5 => "forgotten",
                _ => "processed",
            };
            assert_eq!(record.status.as_str(), status);
        }
        assert!(status_of(session, &"9".repeat(64)).unwrap().is_none());
        // the digest counts each hash once, in whichever table it is
        let digest = Sums::of_tables(session).unwrap().to_digest();
        assert_eq!((digest.messages, digest.parts["posts"].rows), (9, 8));
        let mut expected = Sums::of_nothing();
        for seq in 1..=9_i64 {
            let status = match seq {
                3 => "removing",
                5 => "forgotten",
                _ => "processed",
            };
            expected.add(crate::digest::Part::Statuses, values![&format!("{seq:064}"), status]);
        }
        assert_eq!(digest.parts["statuses"], expected.to_digest().parts["statuses"]);
    }

    #[test]
    fn keys_become_short_on_sqlite() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::from(folder.path().join("node.sqlite3"));
        let session = store::open_writer(&location).unwrap();
        keys_become_short_and_the_state_stays(&session, &location);
    }

    #[test]
    fn keys_become_short_on_postgres() {
        let server = Server::start(Options::fast()).unwrap();
        let url: PostgresUrl = server.database("node").unwrap().parse().unwrap();
        let location = Location::Postgres(url);
        let session = store::open_writer(&location).unwrap();
        keys_become_short_and_the_state_stays(&session, &location);
    }
}
