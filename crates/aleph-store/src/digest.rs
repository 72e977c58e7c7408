//! One hash over the state that every node should share, kept up to date with each change.
//!
//! Each row of the covered tables is hashed (SHA-256 of the table's name and the columns, each with its
//! kind and length), and the hashes of a table are summed modulo 2²⁵⁶. A sum knows no order, so nodes that
//! processed the same messages in different orders agree; a change costs one hash for the row that goes and
//! one for the row that comes. The sums stand in `meta` and change in the transaction that changes the
//! rows. The state's digest is the SHA-256 of all tables' sums; one sum a table makes a difference findable.
//!
//! Covered is what messages did and all nodes decide alike: fates that are final (processed, removing,
//! forgotten, removed), posts and the version that they show, amends, aggregates and each field with the
//! element that set it, tags, the pins of STORE messages, machines and what they need, balances, the
//! history of credits and the lots that are left. Not
//! covered is what belongs to one node: places in its order of processing, times of reception, what waits
//! or was refused here, which files are on its disk, grace times, allocations, costs (they follow the prices
//! at the time of processing), deadlines of removals, and which of several FORGETs
//! came first. Message texts are covered by their hashes.
//!
//! The digest shows that two nodes differ, by fault or by bug. It proves nothing to anyone: a node can
//! answer any digest, and sums of hashes are no commitment against somebody who chooses the rows
//! (`docs/adr/0010-state-digest.md`).

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use crate::engine::{Session, Value, values};
use crate::{Store, StoreError};

/// Rises when what is hashed changes: sums of another version are computed anew at the start.
const VERSION: &str = "2";

/// Where the sums stand in `meta`.
const KEY: &str = "digest";

/// A table that the digest covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Statuses,
    Posts,
    Amends,
    Aggregates,
    AggregateFields,
    FileTags,
    FilePins,
    Vms,
    VmReferences,
    Balances,
    CreditHistory,
    CreditLots,
}

impl Part {
    const ALL: [Part; 12] = [
        Part::Statuses,
        Part::Posts,
        Part::Amends,
        Part::Aggregates,
        Part::AggregateFields,
        Part::FileTags,
        Part::FilePins,
        Part::Vms,
        Part::VmReferences,
        Part::Balances,
        Part::CreditHistory,
        Part::CreditLots,
    ];

    fn table(self) -> &'static str {
        match self {
            Part::Statuses => "statuses",
            Part::Posts => "posts",
            Part::Amends => "amends",
            Part::Aggregates => "aggregates",
            Part::AggregateFields => "aggregate_fields",
            Part::FileTags => "file_tags",
            Part::FilePins => "file_pins",
            Part::Vms => "vms",
            Part::VmReferences => "vm_references",
            Part::Balances => "balances",
            Part::CreditHistory => "credit_history",
            Part::CreditLots => "credit_lots",
        }
    }

    /// What is hashed of a row, in this order.
    fn columns(self) -> &'static str {
        match self {
            Part::Statuses => "item_hash, status",
            Part::Posts => "original, owner, post_type, reference, channel, created, latest, last_updated",
            Part::Amends => "original, time, amend",
            Part::Aggregates => "owner, key, created, first_hash, updated, last_hash, elements",
            Part::AggregateFields => "owner, key, field, value, time, hash",
            Part::FileTags => "tag, owner, file, message, time",
            Part::FilePins => "file, pinned_by, owner, reference, tag, created",
            Part::Vms => {
                "item_hash, message_type, owner, created, replaces, allow_amend, on_message, persistent"
            }
            Part::VmReferences => "reference, vm",
            Part::Balances => "address, chain, dapp, amount, height",
            Part::CreditHistory => {
                "credit_ref, credit_index, time, is_expense, kind, address, amount, expiration, \
                 requested_expiration, price, bonus_amount, tx_hash, token, chain, provider, origin, \
                 origin_ref, payment_method, expense_count, expense_size_mib"
            }
            Part::CreditLots => "time, credit_ref, credit_index, owner, remaining, expiration",
        }
    }

    /// Which rows are covered.
    fn covered(self) -> &'static str {
        match self {
            Part::Statuses => "status IN ('processed', 'removing', 'forgotten', 'removed')",
            Part::FilePins => "kind = 'message'",
            _ => "TRUE",
        }
    }
}

/// A sum of hashes modulo 2²⁵⁶ (least significant word first), and of how many rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sum {
    words: [u64; 4],
    rows: u64,
}

impl Sum {
    fn add(&mut self, hash: [u64; 4]) {
        let mut carry = false;
        for (word, other) in self.words.iter_mut().zip(hash) {
            let (sum, one) = word.overflowing_add(other);
            let (sum, two) = sum.overflowing_add(u64::from(carry));
            *word = sum;
            carry = one | two;
        }
        self.rows = self.rows.wrapping_add(1);
    }

    fn subtract(&mut self, hash: [u64; 4]) {
        let mut borrow = false;
        for (word, other) in self.words.iter_mut().zip(hash) {
            let (rest, one) = word.overflowing_sub(other);
            let (rest, two) = rest.overflowing_sub(u64::from(borrow));
            *word = rest;
            borrow = one | two;
        }
        self.rows = self.rows.wrapping_sub(1);
    }

    fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (place, word) in bytes.chunks_exact_mut(8).zip(self.words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    fn from_bytes(bytes: &[u8; 32], rows: u64) -> Self {
        Self { words: words(bytes), rows }
    }
}

fn words(bytes: &[u8; 32]) -> [u64; 4] {
    let mut words = [0; 4];
    for (word, place) in words.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = place.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}

/// The SHA-256 of a row as a number, least significant word first.
pub(crate) type RowHash = [u64; 4];

/// SHA-256 of a row.
struct RowHasher(Sha256);

impl RowHasher {
    fn new(part: Part) -> Self {
        let mut row = Self(Sha256::new());
        row.push(Value::Text(part.table()));
        row
    }

    fn push(&mut self, value: Value<'_>) {
        let mut sized = |kind: u8, bytes: &[u8]| {
            self.0.update([kind]);
            self.0.update((bytes.len() as u64).to_le_bytes());
            self.0.update(bytes);
        };
        match value {
            Value::Null => sized(0, &[]),
            Value::Int(number) => sized(1, &number.to_le_bytes()),
            Value::Text(text) => sized(3, text.as_bytes()),
            Value::Texts(texts) => texts.iter().for_each(|text| sized(3, text.as_bytes())),
        }
    }

    fn finish(self) -> RowHash {
        words(&self.0.finalize().into())
    }
}

fn row_hash(part: Part, columns: &[Value<'_>]) -> RowHash {
    let mut row = RowHasher::new(part);
    for column in columns {
        row.push(*column);
    }
    row.finish()
}

/// The sums of all tables as one transaction changes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sums {
    parts: [Sum; Part::ALL.len()],
    changed: bool,
    /// See [`Sums::touch`].
    touched: Vec<i64>,
    /// See [`Sums::let_go`].
    let_go: bool,
}

impl Sums {
    /// The sums that stand in the database; `None` if there are none of this version.
    fn stored(session: &Session) -> Result<Option<Self>, StoreError> {
        let text =
            session.first("SELECT value FROM meta WHERE key = ?1", values![KEY], |row| row.string(0))?;
        let Some(text) = text else { return Ok(None) };
        let mut words = text.split(' ');
        if words.next() != Some(VERSION) {
            return Ok(None);
        }
        let mut sums = Self { parts: Default::default(), changed: false, touched: Vec::new(), let_go: false };
        for part in &mut sums.parts {
            *part = words.next().and_then(read_sum).ok_or_else(|| StoreError::corrupt("digest", &text))?;
        }
        Ok(Some(sums))
    }

    /// The sums that a transaction begins with.
    pub(crate) fn load(session: &Session) -> Result<Self, StoreError> {
        Self::stored(session)?.ok_or_else(|| StoreError::corrupt("digest", "of another version"))
    }

    /// Writes the sums down, if they changed.
    pub(crate) fn store(&self, session: &Session) -> Result<(), StoreError> {
        if !self.changed {
            return Ok(());
        }
        let mut text = VERSION.to_owned();
        for part in &self.parts {
            text.push_str(&format!(" {}:{}", hex::encode(part.bytes()), part.rows));
        }
        session.execute(
            "INSERT INTO meta (key, value) VALUES (?1, ?2) \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            values![KEY, &text],
        )
    }

    /// The sums of what the tables hold.
    pub(crate) fn of_tables(session: &Session) -> Result<Self, StoreError> {
        let mut sums = Self::of_nothing();
        for part in Part::ALL {
            sums.add_stored(session, part, "TRUE", &[])?;
        }
        // Those whose status has no row of its own.
        let at_once = "SELECT m.item_hash, 'processed' FROM messages m \
             WHERE NOT EXISTS (SELECT 1 FROM statuses s WHERE s.item_hash = m.item_hash)";
        sums.each_row(session, Part::Statuses, at_once, &[], Sum::add)?;
        Ok(sums)
    }

    /// The sums of empty tables.
    pub(crate) fn of_nothing() -> Self {
        Self { parts: Default::default(), changed: true, touched: Vec::new(), let_go: false }
    }

    /// As they are once they are stored.
    pub(crate) fn as_stored(&self) -> Self {
        Self { parts: self.parts, changed: false, touched: Vec::new(), let_go: false }
    }

    /// The message at this place, or what hangs on it (status, confirmations, post), changes or goes: what
    /// readers keep in memory must be told.
    pub(crate) fn touch(&mut self, seq: i64) {
        self.touched.push(seq);
    }

    /// A message is forgotten or removed from now on.
    pub(crate) fn let_go(&mut self) {
        self.let_go = true;
    }

    /// Whether messages went.
    pub(crate) fn has_let_go(&self) -> bool {
        self.let_go
    }

    /// The places that were touched.
    pub(crate) fn touched(&self) -> &[i64] {
        &self.touched
    }

    /// A row with these columns came; returns its hash.
    pub(crate) fn add(&mut self, part: Part, columns: &[Value<'_>]) -> RowHash {
        let row = row_hash(part, columns);
        self.parts[part as usize].add(row);
        self.changed = true;
        row
    }

    /// A row with these columns goes.
    pub(crate) fn subtract(&mut self, part: Part, columns: &[Value<'_>]) {
        self.subtract_row(part, row_hash(part, columns));
    }

    /// The row with this hash goes.
    pub(crate) fn subtract_row(&mut self, part: Part, row: RowHash) {
        self.parts[part as usize].subtract(row);
        self.changed = true;
    }

    /// The rows that `condition` selects came: called after the change.
    pub(crate) fn add_stored(
        &mut self,
        session: &Session,
        part: Part,
        condition: &str,
        values: &[Value<'_>],
    ) -> Result<(), StoreError> {
        self.each_stored(session, part, condition, values, Sum::add)
    }

    /// The rows that `condition` selects go: called before the change.
    pub(crate) fn subtract_stored(
        &mut self,
        session: &Session,
        part: Part,
        condition: &str,
        values: &[Value<'_>],
    ) -> Result<(), StoreError> {
        self.each_stored(session, part, condition, values, Sum::subtract)
    }

    fn each_stored(
        &mut self,
        session: &Session,
        part: Part,
        condition: &str,
        values: &[Value<'_>],
        change: impl Fn(&mut Sum, [u64; 4]),
    ) -> Result<(), StoreError> {
        let (columns, table, covered) = (part.columns(), part.table(), part.covered());
        let sql = format!("SELECT {columns} FROM {table} WHERE {covered} AND ({condition})");
        self.each_row(session, part, &sql, values, change)
    }

    fn each_row(
        &mut self,
        session: &Session,
        part: Part,
        sql: &str,
        values: &[Value<'_>],
        change: impl Fn(&mut Sum, [u64; 4]),
    ) -> Result<(), StoreError> {
        session.each(sql, values, |row| {
            let mut hash = RowHasher::new(part);
            for column in 0..row.len() {
                hash.push(row.value(column)?);
            }
            change(&mut self.parts[part as usize], hash.finish());
            self.changed = true;
            Ok(())
        })
    }

    pub(crate) fn to_digest(&self) -> StateDigest {
        let mut whole = Sha256::new();
        whole.update(b"alephd state ");
        whole.update(VERSION);
        let mut parts = BTreeMap::new();
        for (part, sum) in Part::ALL.into_iter().zip(&self.parts) {
            whole.update(sum.bytes());
            parts.insert(part.table(), PartDigest { digest: hex::encode(sum.bytes()), rows: sum.rows });
        }
        StateDigest {
            digest: hex::encode(whole.finalize()),
            messages: self.parts[Part::Statuses as usize].rows,
            parts,
        }
    }
}

fn read_sum(text: &str) -> Option<Sum> {
    let (sum, rows) = text.split_once(':')?;
    let mut bytes = [0; 32];
    hex::decode_to_slice(sum, &mut bytes).ok()?;
    Some(Sum::from_bytes(&bytes, rows.parse().ok()?))
}

/// Computes the sums of a database that has none of this version.
pub(crate) fn prepare(session: &Session) -> Result<(), StoreError> {
    if Sums::stored(session)?.is_some() {
        return Ok(());
    }
    session.begin()?;
    let done = Sums::of_tables(session).and_then(|sums| sums.store(session)).and_then(|()| session.commit());
    if done.is_err() {
        session.roll_back();
    }
    done
}

/// The digest of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartDigest {
    /// The sum of its rows' hashes: 64 hexadecimal digits.
    pub digest: String,
    /// Rows that are covered.
    pub rows: u64,
}

/// The digest of the state that all nodes should share; see the ADR on the state digest for what it covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDigest {
    /// Over everything: 64 hexadecimal digits.
    pub digest: String,
    /// Messages whose fate is final.
    pub messages: u64,
    /// By table.
    pub parts: BTreeMap<&'static str, PartDigest>,
}

/// The digest that was kept up to date, and the one that the tables give, at one instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecomputedDigest {
    /// As kept by the writer.
    pub kept: StateDigest,
    /// As the tables are. Unless it equals `kept`, the database is damaged or a program has a bug.
    pub recomputed: StateDigest,
}

impl Store {
    /// The digest of the state after the last commit.
    pub async fn digest(&self) -> Result<StateDigest, StoreError> {
        self.read(|session| Ok(Sums::load(session)?.to_digest())).await
    }

    /// Computes the digest from the tables, beside the kept one. Reads every row: about a second for a
    /// million.
    pub async fn recompute_digest(&self) -> Result<RecomputedDigest, StoreError> {
        self.read(|session| {
            let snapshot = session.snapshot()?;
            Ok(RecomputedDigest {
                kept: Sums::load(&snapshot)?.to_digest(),
                recomputed: Sums::of_tables(&snapshot)?.to_digest(),
            })
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_carry_and_know_no_order() {
        let (big, small) = ([u64::MAX, u64::MAX, 7, u64::MAX], [1, 0, u64::MAX, 3]);
        let (mut one, mut other) = (Sum::default(), Sum::default());
        one.add(big);
        one.add(small);
        other.add(small);
        other.add(big);
        assert_eq!(one, other);
        assert_eq!((one.words, one.rows), ([0, 0, 7, 3], 2));
        one.subtract(big);
        one.subtract(small);
        assert_eq!(one, Sum::default());
        assert_eq!(read_sum(&format!("{}:2", hex::encode(other.bytes()))), Some(other));
    }

    #[test]
    fn columns_do_not_run_into_each_other() {
        let hashes = [
            row_hash(Part::Amends, values!["a", "b"]),
            row_hash(Part::Amends, values!["ab", ""]),
            row_hash(Part::Amends, values!["ab", None::<i64>]),
            row_hash(Part::Amends, values!["ab", 0_i64]),
            row_hash(Part::Posts, values!["a", "b"]),
        ];
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..index].contains(hash), "row {index}");
        }
    }
}
