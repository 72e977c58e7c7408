//! What is kept in memory is what the database holds, after every change.

use aleph_types::MessageType;

use super::{ROWS, hash_of, insert, some};
use crate::engine::{Session, values};
use crate::queries::catalogue::Catalogue;
use crate::queries::message_filter::{MessageFilter, MessageQuery, Start};
use crate::queries::posts::{self, PostFilter, PostQuery};
use crate::queries::{SortOrder, accounts, messages};

/// Lists that need everything that is kept.
fn lists(session: &Session, catalogue: &Catalogue) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let filter = MessageFilter {
        senders: some(&["0xS1"]),
        channels: some(&["C1"]),
        types: Some(vec![MessageType::Post]),
        ..MessageFilter::default()
    };
    for (filter, by_confirmation) in
        [(filter.clone(), false), (filter, true), (MessageFilter::default(), true)]
    {
        for offset in [0, 600, 2_500] {
            let (filter, start) = (filter.clone(), Start::Offset(offset));
            let query = MessageQuery { filter, order: SortOrder::Descending, start, limit: 30 };
            let page = messages::list(session, catalogue, &query, by_confirmation).unwrap();
            found.push(page.iter().map(|one| one.message.item_hash.to_string()).collect());
        }
    }
    let filter = PostFilter { tags: some(&["frequent"]), owners: some(&["0xO1"]), ..PostFilter::default() };
    for by_confirmation in [false, true] {
        let (filter, start) = (filter.clone(), Start::Offset(500));
        let query = PostQuery { filter, by_confirmation, order: SortOrder::Ascending, start, limit: 900 };
        let page = posts::list(session, catalogue, &query).unwrap();
        found.push(page.iter().map(|one| one.original.to_string()).collect());
    }
    let counts = accounts::address_counts(session, catalogue, None).unwrap();
    found.push(vec![format!("{counts:?}")]);
    found
}

/// One catalogue hears of every change, another begins with the state after it.
pub(super) fn what_is_kept_follows_every_change(session: &Session) {
    // Readers can't write, and other tests use this database.
    let follower = Catalogue::default();
    let same = |what: &str| {
        assert_eq!(lists(session, &follower), lists(session, &Catalogue::default()), "{what}");
    };
    same("at first");
    let Some(writer) = super::writer_of(session) else { return };
    let change = |what: &str, sql: &str, touched: &[i64]| {
        writer.execute(sql, &[]).unwrap();
        follower.changes().add(touched);
        same(what);
    };
    for number in [ROWS + 1, ROWS + 3, ROWS + 5] {
        insert(writer, number).unwrap();
        same("a new message");
    }
    let seq = ROWS + 4;
    change(
        "confirmed",
        &format!("UPDATE messages SET confirmed_at = 5, confirmed_height = 7 WHERE seq = {seq}"),
        &[seq],
    );
    change("an earlier time", &format!("UPDATE messages SET time = 77 WHERE seq = {seq}"), &[seq]);
    change("a newer version", &format!("UPDATE posts SET last_updated = 3 WHERE message = {seq}"), &[seq]);
    let hash = hash_of(seq - 1);
    change(
        "removing",
        &format!("UPDATE statuses SET status = 'removing' WHERE item_hash = '{hash}'"),
        &[seq],
    );
    change(
        "not any more",
        &format!("UPDATE statuses SET status = 'processed' WHERE item_hash = '{hash}'"),
        &[seq],
    );
    for seq in [seq, ROWS + 2, ROWS + 6] {
        for table in ["posts WHERE message", "message_tags WHERE message", "messages WHERE seq"] {
            writer.execute(&format!("DELETE FROM {table} = {seq}"), values![]).unwrap();
        }
        let hash = hash_of(seq - 1);
        writer.execute("DELETE FROM statuses WHERE item_hash = ?1", values![&hash]).unwrap();
        let number = seq - 1;
        writer.execute(&format!("DELETE FROM aggregates WHERE owner = '0xO{number}'"), values![]).unwrap();
        follower.changes().add(&[seq]);
        same("gone");
    }
    // More changes than are followed one by one.
    follower.changes().add(&vec![1; 70_000]);
    same("everything");
}
