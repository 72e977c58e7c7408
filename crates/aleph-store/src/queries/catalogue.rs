//! Sets and orders of messages in memory, for what no index of the database can answer in bounded time:
//! pages far from the start of a list, filters whose rows are many each and few together, and counts.
//!
//! A filter's rows are read once through their index, as places in the order of processing, and kept as a
//! set ([`ids`]); several filters are the intersection of their sets. A list's members are kept in its
//! order ([`order`]): a page is found by walking that order until the page is full, or by ordering the set,
//! whichever is less, and an unfiltered page by its number alone. Both need time that grows with the number
//! of messages at about a millisecond a million, and none of the database's pages.
//!
//! Nothing of it is stored and the writer does not wait for it. Every request brings it up to date first,
//! with the new messages and with those that the writer changed or deleted ([`Changes`]), so a page shows
//! what is committed, as a statement would. What is not used is given up, and made again when it is.

mod facts;
mod gone;
mod ids;
mod order;
mod tally;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aleph_types::MessageType;
use parking_lot::{RwLock, RwLockWriteGuard};

pub(super) use self::facts::{Column, Key, Trait};
use self::facts::{Facts, place};
use self::ids::Ids;
use self::order::{From, Order};
use self::tally::Tally;
use super::SortOrder;
use super::aggregates::KeptAggregates;
use super::message_filter::Start;
use super::sql::Sql;
use crate::StoreError;
use crate::changes::{Changes, Touched};
use crate::engine::{Session, Snapshot, values};

/// Bytes of sets that are kept: of two million messages some 128 of the largest.
const SETS_BYTES: usize = 32 * 1024 * 1024;

/// New and changed messages that are brought in one by one; with more, everything is read anew when it is
/// asked for.
const ONE_BY_ONE: i64 = 20_000;

/// Requests for which something that nobody asks for is kept.
const KEPT_FOR: u64 = 100_000;

/// The place of a member without a confirmation: they are the newest.
const UNCONFIRMED: i64 = i64::MAX;

/// A list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum List {
    /// Messages by envelope time.
    Messages,
    /// Messages by first confirmation, then envelope time.
    Confirmed,
    /// Messages by reception.
    Received,
    /// Posts by last update; their members are the originals.
    Posts,
    /// Posts by the first confirmation of the original, then creation, then the hash of the shown version.
    ConfirmedPosts,
}

/// Which members of a list.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    pub(super) list: List,
    /// Members are in all of these …
    pub(super) all: Vec<Key>,
    /// … and in none of these.
    pub(super) none: Vec<Key>,
    /// Least and first too great time: of [`List::Messages`] or [`List::Posts`] for those lists and their
    /// orders by confirmation, of reception for the other.
    pub(super) times: (Option<i64>, Option<i64>),
    /// Lowest height of the first confirmation (members without one pass), and the first too high one
    /// (members without one don't).
    pub(super) blocks: (Option<i64>, Option<i64>),
}

impl Selection {
    pub(super) fn new(list: List) -> Self {
        Self { list, all: Vec::new(), none: Vec::new(), times: (None, None), blocks: (None, None) }
    }

    /// Adds "has one of these values", if there are values.
    pub(super) fn with(mut self, of: Trait, values: &Option<Vec<String>>) -> Self {
        if let Some(values) = values {
            self.all.push(Key { of, values: values.clone() });
        }
        self
    }

    /// The orders that it needs.
    fn lists(&self) -> Vec<List> {
        let mut lists = vec![self.list];
        if self.times != (None, None) {
            lists.extend(match self.list {
                List::Confirmed => Some(List::Messages),
                List::ConfirmedPosts => Some(List::Posts),
                _ => None,
            });
        }
        lists
    }

    /// Whether its members are those of sets, and no order is needed to count them: every place in a set is
    /// one of a message.
    fn counts_sets(&self) -> bool {
        let of_messages = matches!(self.list, List::Messages | List::Confirmed | List::Received);
        of_messages && self.times == (None, None) && !self.all.is_empty()
    }

    fn has_blocks(&self) -> bool {
        self.blocks != (None, None)
    }
}

/// A value with the number of the request that used it last.
#[derive(Debug)]
struct Used<T> {
    value: T,
    at: AtomicU64,
}

impl<T> Used<T> {
    fn new(value: T, now: u64) -> Self {
        Self { value, at: AtomicU64::new(now) }
    }
}

/// The values of a column by message: numbers of texts.
#[derive(Debug, Default)]
struct Values {
    texts: Vec<String>,
    numbers: HashMap<String, u32>,
    /// By place; 0 is none, `n` is `texts[n - 1]`.
    of: Vec<u32>,
}

impl Values {
    fn number(&mut self, text: &str) -> Result<u32, StoreError> {
        if let Some(number) = self.numbers.get(text) {
            return Ok(*number);
        }
        self.texts.push(text.to_owned());
        let number = place(self.texts.len() as i64)?;
        self.numbers.insert(text.to_owned(), number);
        Ok(number)
    }

    fn set(&mut self, place: u32, text: Option<&str>) -> Result<(), StoreError> {
        let number = text.map_or(Ok(0), |text| self.number(text))?;
        self.put(place, number);
        Ok(())
    }

    fn put(&mut self, place: u32, number: u32) {
        let place = place as usize;
        if place >= self.of.len() {
            self.of.resize(place + 1 + place / 16, 0);
        }
        self.of[place] = number;
    }

    fn read(session: &Session, column: Column) -> Result<Self, StoreError> {
        let mut values = Self::default();
        for sql in column.statements() {
            let mut last = (String::new(), 0);
            sql.each(session, |row| {
                let text = row.text(0)?;
                // Rows of a value follow each other.
                if last.1 == 0 || last.0 != text {
                    last = (text.to_owned(), values.number(text)?);
                }
                values.put(place(row.int(1)?)?, last.1);
                Ok(())
            })?;
        }
        Ok(values)
    }

    fn number_of(&self, place: u32) -> u32 {
        self.of.get(place as usize).copied().unwrap_or_default()
    }
}

/// The set of what is being removed.
fn removing() -> Key {
    Key { of: Trait::Removing, values: Vec::new() }
}

/// The order of a list.
#[derive(Debug)]
enum AnyOrder {
    ByOne(Order<i64>),
    ByTwo(Order<(i64, i64)>),
}

#[derive(Debug, Default)]
struct Known {
    /// The last place in the order of processing that it knows of.
    last: i64,
    sets: HashMap<Key, Used<Ids>>,
    orders: HashMap<List, Used<AnyOrder>>,
    columns: HashMap<Column, Used<Values>>,
    /// By height of the first confirmation.
    heights: Option<Used<Order<i64>>>,
    /// While what it is made of is there.
    tally: Option<Tally>,
}

/// The sets and orders of one store.
#[derive(Debug, Default)]
pub(crate) struct Catalogue {
    changes: Arc<Changes>,
    known: RwLock<Known>,
    gone: gone::GoneLists,
    aggregates: KeptAggregates,
    requests: AtomicU64,
}

/// What a request needs.
#[derive(Default)]
struct Needs<'a> {
    sets: Vec<&'a Key>,
    orders: Vec<List>,
    columns: &'a [Column],
    heights: bool,
    /// With the columns of senders and types and the set of what is being removed.
    tally: bool,
}

impl Catalogue {
    /// Where the writer tells what it changes.
    pub(crate) fn changes(&self) -> Arc<Changes> {
        Arc::clone(&self.changes)
    }

    /// What is kept of lists of aggregates.
    pub(super) fn aggregates(&self) -> &KeptAggregates {
        &self.aggregates
    }

    /// A snapshot, and what it shows: the newest message, and how often stored ones had changed at least. While
    /// both stay, nothing that hangs on messages changes.
    pub(super) fn versioned<'s>(
        &self,
        session: &'s Session,
    ) -> Result<(Snapshot<'s>, (i64, u64)), StoreError> {
        // Before the snapshot begins: what is counted is committed there.
        let changes = self.changes.count();
        let snapshot = session.snapshot()?;
        let newest = newest(&snapshot)?;
        Ok((snapshot, (newest, changes)))
    }

    /// A page of rows, each read by `read` in the snapshot in which the page was found.
    pub(super) fn page<T>(
        &self,
        session: &Session,
        selection: &Selection,
        direction: SortOrder,
        start: &Start,
        limit: u64,
        read: impl Fn(&Session, i64) -> Result<Option<T>, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let add = |session: &Session, place: i64, rows: &mut Vec<T>| {
            let row = read(session, place)?;
            let is_there = row.is_some();
            rows.extend(row);
            Ok(is_there)
        };
        self.page_into(session, selection, direction, start, limit, Vec::new, add)
    }

    /// A page whose rows `add` puts one by one into what `begin` makes, in the snapshot in which the page was
    /// found; `add` says whether the row is there.
    #[allow(clippy::too_many_arguments, reason = "a page's place takes five of them")]
    pub(super) fn page_into<A>(
        &self,
        session: &Session,
        selection: &Selection,
        direction: SortOrder,
        start: &Start,
        limit: u64,
        begin: impl Fn() -> A,
        mut add: impl FnMut(&Session, i64, &mut A) -> Result<bool, StoreError>,
    ) -> Result<A, StoreError> {
        let needs = Needs {
            sets: selection.all.iter().chain(&selection.none).collect(),
            orders: selection.lists(),
            heights: selection.has_blocks(),
            ..Needs::default()
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        // A commit may delete a message between its end and its report; then it is asked for again.
        for last_try in [false, false, true] {
            let (snapshot, places) = self.with(session, &needs, |snapshot, known| {
                known.page(snapshot, selection, direction, start, limit)
            })?;
            let mut page = begin();
            let mut missing = Vec::new();
            for place in &places {
                if !add(&snapshot, i64::from(*place), &mut page)? {
                    missing.push(i64::from(*place));
                }
            }
            if missing.is_empty() || last_try {
                return Ok(page);
            }
            self.changes.add(&missing);
        }
        Ok(begin())
    }

    /// How many members a selection has.
    pub(super) fn count(&self, session: &Session, selection: &Selection) -> Result<u64, StoreError> {
        let needs = Needs {
            sets: selection.all.iter().chain(&selection.none).collect(),
            orders: if selection.counts_sets() { Vec::new() } else { selection.lists() },
            heights: selection.has_blocks(),
            ..Needs::default()
        };
        let (_snapshot, count) = self.with(session, &needs, |_, known| known.count(selection))?;
        Ok(count as u64)
    }

    /// The values of a column among the members of `all`, ascending.
    pub(super) fn distinct(
        &self,
        session: &Session,
        all: &[Key],
        column: Column,
    ) -> Result<BTreeSet<String>, StoreError> {
        let needs = Needs { sets: all.iter().collect(), columns: &[column], ..Needs::default() };
        let (_snapshot, found) = self.with(session, &needs, |_, known| {
            let Some(values) = known.columns.get(&column).map(|used| &used.value) else {
                return Ok(BTreeSet::new());
            };
            let mut seen = vec![false; values.texts.len() + 1];
            if let Some(set) = known.set_of(all, &[]) {
                set.each(|place| seen[values.number_of(place) as usize] = true);
            }
            let texts = values.texts.iter().zip(&seen[1..]);
            Ok(texts.filter(|(_, seen)| **seen).map(|(text, _)| text.clone()).collect())
        })?;
        Ok(found)
    }

    /// Messages by sender and type, those whose grace time runs aside: `visit` gets each pair with its count;
    /// of these senders, or of all.
    pub(super) fn count_senders(
        &self,
        session: &Session,
        senders: Option<&BTreeSet<&str>>,
        mut visit: impl FnMut(&str, MessageType, u64),
    ) -> Result<(), StoreError> {
        let removing = removing();
        let (sets, columns) = (vec![&removing], &[Column::Sender, Column::Type]);
        let needs = Needs { sets, columns, tally: true, ..Needs::default() };
        self.with(session, &needs, |_, known| {
            let (Some(of_senders), Some(types), Some(tally)) =
                (known.columns.get(&Column::Sender), known.columns.get(&Column::Type), &known.tally)
            else {
                return Ok(());
            };
            let mut visit_one = |sender: &str, number: u32| -> Result<(), StoreError> {
                for (kind, name) in (1u32..).zip(&types.value.texts) {
                    let count = tally.get(number, kind);
                    if count > 0 {
                        let kind = name.parse().map_err(|_| StoreError::corrupt("message type", name))?;
                        visit(sender, kind, u64::from(count));
                    }
                }
                Ok(())
            };
            match senders {
                Some(senders) => senders.iter().try_for_each(|sender| {
                    let number = of_senders.value.numbers.get(*sender);
                    number.map_or(Ok(()), |number| visit_one(sender, *number))
                }),
                None => (1u32..)
                    .zip(&of_senders.value.texts)
                    .try_for_each(|(number, sender)| visit_one(sender, number)),
            }
        })?;
        Ok(())
    }

    /// Runs `answer` on what is known and up to date with a snapshot, which it returns with the answer.
    fn with<'s, T>(
        &self,
        session: &'s Session,
        needs: &Needs<'_>,
        mut answer: impl FnMut(&Session, &Known) -> Result<T, StoreError>,
    ) -> Result<(Snapshot<'s>, T), StoreError> {
        let now = self.requests.fetch_add(1, Ordering::Relaxed);
        {
            let known = self.known.read();
            // Begun under the lock: nobody's snapshot is older than what is known.
            let snapshot = session.snapshot()?;
            if self.changes.is_empty() && known.has(needs, now) && known.is_current(&snapshot)? {
                let found = answer(&snapshot, &known)?;
                return Ok((snapshot, found));
            }
        }
        let mut known = self.known.write();
        // Taken before the snapshot begins: all of it is committed there.
        let touched = self.changes.take();
        let snapshot = session.snapshot()?;
        let prepared = known.catch_up(&snapshot, touched).and_then(|()| known.prepare(&snapshot, needs, now));
        if let Err(error) = prepared {
            // Half of the changes may be in.
            *known = Known::default();
            return Err(error);
        }
        let known = RwLockWriteGuard::downgrade(known);
        let found = answer(&snapshot, &known)?;
        Ok((snapshot, found))
    }
}

fn hash_of(session: &Session, place: u32) -> Result<String, StoreError> {
    let sql = "SELECT item_hash FROM messages WHERE seq = ?1";
    // A place that is gone sorts anywhere: it is about to be taken out.
    Ok(session.first(sql, values![i64::from(place)], |row| row.string(0))?.unwrap_or_default())
}

fn latest_of(session: &Session, place: u32) -> Result<String, StoreError> {
    let sql = "SELECT latest FROM posts WHERE message = ?1";
    Ok(session.first(sql, values![i64::from(place)], |row| row.string(0))?.unwrap_or_default())
}

impl List {
    /// What breaks ties of its keys.
    fn hash_of(self, session: &Session, place: u32) -> Result<String, StoreError> {
        match self {
            List::ConfirmedPosts => latest_of(session, place),
            _ => hash_of(session, place),
        }
    }

    /// The statement that reads its members, in their order.
    pub(super) fn statement(self) -> Sql {
        Sql::new(match self {
            List::Messages => {
                "SELECT m.time, m.seq FROM messages m INDEXED BY messages_time ORDER BY m.time, m.item_hash"
            }
            List::Received => {
                "SELECT m.reception_time, m.seq FROM messages m INDEXED BY messages_reception \
                 ORDER BY m.reception_time, m.item_hash"
            }
            List::Posts => {
                "SELECT p.last_updated, p.message FROM posts p INDEXED BY posts_updated \
                 ORDER BY p.last_updated, p.original"
            }
            List::Confirmed => {
                "SELECT m.confirmed_at, m.seq, m.time FROM messages m INDEXED BY messages_confirmed \
                 WHERE m.confirmed_at IS NOT NULL ORDER BY m.confirmed_at, m.time, m.item_hash"
            }
            List::ConfirmedPosts => "SELECT p.created, p.message FROM posts p ORDER BY p.message",
        })
    }
}

impl Known {
    fn is_current(&self, session: &Session) -> Result<bool, StoreError> {
        Ok(newest(session)? <= self.last)
    }

    /// Whether everything is there; what is, is marked as used.
    fn has(&self, needs: &Needs<'_>, now: u64) -> bool {
        fn mark<T>(used: Option<&Used<T>>, now: u64) -> bool {
            used.inspect(|used| used.at.store(now, Ordering::Relaxed)).is_some()
        }
        needs.sets.iter().all(|key| mark(self.sets.get(*key), now))
            && needs.orders.iter().all(|list| mark(self.orders.get(list), now))
            && needs.columns.iter().all(|column| mark(self.columns.get(column), now))
            && (!needs.heights || mark(self.heights.as_ref(), now))
            && (!needs.tally || self.tally.is_some())
    }

    /// Brings everything up to date with a snapshot.
    fn catch_up(&mut self, session: &Session, touched: Touched) -> Result<(), StoreError> {
        let newest = newest(session)?;
        let is_empty = self.sets.is_empty() && self.orders.is_empty() && self.columns.is_empty();
        let Touched::Messages(touched) = touched else {
            *self = Self { last: newest, ..Self::default() };
            return Ok(());
        };
        let new = newest.saturating_sub(self.last);
        if is_empty || new.saturating_add(touched.len() as i64) > ONE_BY_ONE {
            *self = Self { last: newest, ..Self::default() };
            return Ok(());
        }
        let mut changed: BTreeSet<i64> = touched.into_iter().filter(|seq| *seq <= self.last).collect();
        changed.extend(self.last + 1..=newest);
        self.last = self.last.max(newest);
        let mut facts = Vec::with_capacity(changed.len());
        for seq in changed {
            facts.push((place(seq)?, Facts::read(session, seq)?));
        }
        self.change(session, &facts)
    }

    fn change(&mut self, session: &Session, changed: &[(u32, Option<Facts>)]) -> Result<(), StoreError> {
        if changed.is_empty() {
            return Ok(());
        }
        let mut tally = self.tally.take();
        if let Some(tally) = &mut tally {
            changed.iter().for_each(|(place, _)| tally.add(self, *place, u32::wrapping_sub));
        }
        for (key, set) in &mut self.sets {
            for (place, facts) in changed {
                set.value.set(*place, facts.as_ref().is_some_and(|facts| facts.is_in(key)));
            }
        }
        for (column, values) in &mut self.columns {
            for (place, facts) in changed {
                values.value.set(*place, facts.as_ref().and_then(|facts| facts.column(*column)))?;
            }
        }
        if let Some(tally) = &mut tally {
            changed.iter().for_each(|(place, _)| tally.add(self, *place, u32::wrapping_add));
        }
        self.tally = tally;
        let places = Ids::of(changed.iter().map(|(place, _)| *place).collect());
        if let Some(heights) = &mut self.heights {
            heights.value.remove(&places);
            let new = changed.iter().filter_map(|(place, facts)| {
                let facts = facts.as_ref()?;
                Some((facts.confirmed_height?, facts.item_hash.clone(), *place))
            });
            // Nobody asks which of those at one height comes first.
            heights.value.insert(new.collect(), |_| Ok(String::new()))?;
        }
        for (list, order) in &mut self.orders {
            let there = || changed.iter().filter_map(|(place, facts)| Some((*place, facts.as_ref()?)));
            let hash_of = |place| list.hash_of(session, place);
            match &mut order.value {
                AnyOrder::ByOne(order) => {
                    order.remove(&places);
                    let entry = |(place, facts): (u32, &Facts)| {
                        let key = match list {
                            List::Received => facts.reception,
                            List::Posts => facts.post.as_ref()?.last_updated,
                            _ => facts.time,
                        };
                        Some((key, facts.item_hash.clone(), place))
                    };
                    order.insert(there().filter_map(entry).collect(), hash_of)?;
                }
                AnyOrder::ByTwo(order) => {
                    order.remove(&places);
                    let entry = |(place, facts): (u32, &Facts)| {
                        let at = facts.confirmed_at.unwrap_or(UNCONFIRMED);
                        Some(match list {
                            List::ConfirmedPosts => {
                                let post = facts.post.as_ref()?;
                                ((at, post.created), post.latest.clone(), place)
                            }
                            _ => ((at, facts.time), facts.item_hash.clone(), place),
                        })
                    };
                    order.insert(there().filter_map(entry).collect(), hash_of)?;
                }
            }
        }
        Ok(())
    }

    /// Makes what is missing, and gives up what nobody needs.
    fn prepare(&mut self, session: &Session, needs: &Needs<'_>, now: u64) -> Result<(), StoreError> {
        self.sets.retain(|_, used| now.saturating_sub(used.at.load(Ordering::Relaxed)) < KEPT_FOR);
        self.orders.retain(|_, used| now.saturating_sub(used.at.load(Ordering::Relaxed)) < KEPT_FOR);
        self.columns.retain(|_, used| now.saturating_sub(used.at.load(Ordering::Relaxed)) < KEPT_FOR);
        self.check_tally();
        for key in &needs.sets {
            if !self.sets.contains_key(*key) {
                let set = key.read(session)?;
                self.sets.insert((*key).clone(), Used::new(set, now));
            }
        }
        self.make_room(needs);
        self.check_tally();
        for list in &needs.orders {
            self.make_order(session, *list, now)?;
        }
        for column in needs.columns {
            if !self.columns.contains_key(column) {
                self.columns.insert(*column, Used::new(Values::read(session, *column)?, now));
            }
        }
        if needs.tally && self.tally.is_none() {
            self.tally = Some(Tally::of(self));
        }
        if needs.heights && self.heights.is_none() {
            let sql = Sql::new(
                "SELECT m.confirmed_height, m.seq FROM messages m INDEXED BY messages_confirmed \
                 WHERE m.confirmed_at IS NOT NULL",
            );
            let mut heights = Vec::new();
            sql.each(session, |row| {
                heights.push((row.opt_int(0)?.unwrap_or_default(), place(row.int(1)?)?));
                Ok(())
            })?;
            heights.sort_unstable();
            self.heights = Some(Used::new(Order::of(heights), now));
        }
        self.has(needs, now);
        Ok(())
    }

    /// Gives the tally up when something went that it is made of.
    fn check_tally(&mut self) {
        let has_columns = [Column::Sender, Column::Type].iter().all(|one| self.columns.contains_key(one));
        if !has_columns || !self.sets.contains_key(&removing()) {
            self.tally = None;
        }
    }

    /// Gives up the sets that were not needed for longest, down to the bound.
    fn make_room(&mut self, needs: &Needs<'_>) {
        let mut bytes: usize = self.sets.values().map(|used| used.value.bytes()).sum();
        if bytes <= SETS_BYTES {
            return;
        }
        let mut oldest: Vec<(u64, usize, Key)> = self
            .sets
            .iter()
            .filter(|(key, _)| !needs.sets.contains(key))
            .map(|(key, used)| (used.at.load(Ordering::Relaxed), used.value.bytes(), key.clone()))
            .collect();
        oldest.sort_unstable_by_key(|(at, _, _)| *at);
        for (_, of_set, key) in oldest {
            if bytes <= SETS_BYTES {
                return;
            }
            bytes -= of_set;
            self.sets.remove(&key);
        }
    }

    fn make_order(&mut self, session: &Session, list: List, now: u64) -> Result<(), StoreError> {
        if self.orders.contains_key(&list) {
            return Ok(());
        }
        let order = match list {
            List::Messages | List::Received | List::Posts => {
                let mut rows = Vec::new();
                list.statement().each(session, |row| {
                    rows.push((row.int(0)?, place(row.int(1)?)?));
                    Ok(())
                })?;
                AnyOrder::ByOne(Order::of(rows))
            }
            List::Confirmed => {
                self.make_order(session, List::Messages, now)?;
                let mut rows = Vec::new();
                let mut confirmed = Vec::new();
                list.statement().each(session, |row| {
                    let place = place(row.int(1)?)?;
                    rows.push(((row.int(0)?, row.int(2)?), place));
                    confirmed.push(place);
                    Ok(())
                })?;
                let confirmed = Ids::of(confirmed);
                if let Some(Used { value: AnyOrder::ByOne(all), .. }) = self.orders.get(&List::Messages) {
                    let others = all.entries().filter(|(_, place)| !confirmed.contains(*place));
                    rows.extend(others.map(|(time, place)| ((UNCONFIRMED, time), place)));
                }
                AnyOrder::ByTwo(Order::of(rows))
            }
            List::ConfirmedPosts => {
                let mut confirmed = HashMap::new();
                List::Confirmed.statement().each(session, |row| {
                    confirmed.insert(place(row.int(1)?)?, row.int(0)?);
                    Ok(())
                })?;
                let mut rows = Vec::new();
                list.statement().each(session, |row| {
                    let place = place(row.int(1)?)?;
                    let at = confirmed.get(&place).copied().unwrap_or(UNCONFIRMED);
                    rows.push(((at, row.int(0)?), place));
                    Ok(())
                })?;
                rows.sort_unstable();
                AnyOrder::ByTwo(Order::of(with_ties_by_hash(rows, |place| latest_of(session, place))?))
            }
        };
        self.orders.insert(list, Used::new(order, now));
        Ok(())
    }

    /// The intersection; `None` is everything.
    fn set_of(&self, all: &[Key], none: &[Key]) -> Option<Cow<'_, Ids>> {
        let mut sets: Vec<&Ids> =
            all.iter().filter_map(|key| self.sets.get(key)).map(|used| &used.value).collect();
        sets.sort_unstable_by_key(|set| set.len());
        let mut found: Option<Cow<'_, Ids>> = None;
        for set in sets {
            found = Some(match found {
                None => Cow::Borrowed(set),
                Some(found) => Cow::Owned(found.and(set)),
            });
        }
        for key in none {
            let (Some(set), Some(gone)) = (&found, self.sets.get(key)) else { continue };
            found = Some(Cow::Owned(set.without(&gone.value)));
        }
        found
    }

    fn selected(&self, selection: &Selection) -> Option<Cow<'_, Ids>> {
        let mut all = selection.all.clone();
        all.dedup();
        let mut extra = Vec::new();
        let foreign_times = match (selection.list, selection.times) {
            (_, (None, None)) => None,
            (List::Confirmed, times) => Some((List::Messages, times)),
            (List::ConfirmedPosts, times) => Some((List::Posts, times)),
            _ => None,
        };
        if let Some((list, (low, high))) = foreign_times
            && let Some(Used { value: AnyOrder::ByOne(order), .. }) = self.orders.get(&list)
        {
            extra.push(order.set(within(order, low, high)));
        }
        let below = |height: i64| {
            let heights = self.heights.as_ref().map(|used| &used.value);
            heights.map_or_else(|| Ids::of(Vec::new()), |heights| heights.set(0..heights.lower(height)))
        };
        extra.extend(selection.blocks.1.map(below));
        let too_low = selection.blocks.0.map(below);
        let mut found = self.set_of(&all, &[]);
        for set in extra {
            found = Some(Cow::Owned(match found {
                None => set,
                Some(found) => found.and(&set),
            }));
        }
        let gone = selection.none.iter().filter_map(|key| self.sets.get(key)).map(|used| &used.value);
        let gone: Vec<&Ids> = gone.chain(&too_low).filter(|set| set.len() > 0).collect();
        if found.is_none() && !gone.is_empty() {
            found = Some(Cow::Owned(match self.orders.get(&selection.list).map(|used| &used.value) {
                Some(AnyOrder::ByOne(order)) => order.all(),
                Some(AnyOrder::ByTwo(order)) => order.all(),
                None => Ids::of(Vec::new()),
            }));
        }
        for set in gone {
            found = found.map(|found| Cow::Owned(found.without(set)));
        }
        found
    }

    fn page(
        &self,
        session: &Session,
        selection: &Selection,
        direction: SortOrder,
        start: &Start,
        limit: usize,
    ) -> Result<Vec<u32>, StoreError> {
        let set = self.selected(selection);
        let set = set.as_deref();
        let hash_of = |place| selection.list.hash_of(session, place);
        let skip = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
        match self.orders.get(&selection.list).map(|used| &used.value) {
            Some(AnyOrder::ByOne(order)) => {
                let (low, high) = selection.times;
                let from = match start {
                    Start::Offset(offset) => From::Skip(skip(*offset)),
                    Start::After(time, hash) => From::After(time.as_micros(), hash.as_str().to_owned()),
                };
                order.page(set, within(order, low, high), direction, from, limit, hash_of)
            }
            Some(AnyOrder::ByTwo(order)) => {
                // These lists have no cursors.
                let from = match start {
                    Start::Offset(offset) => From::Skip(skip(*offset)),
                    Start::After(..) => return Ok(Vec::new()),
                };
                order.page(set, 0..order.len(), direction, from, limit, hash_of)
            }
            None => Ok(Vec::new()),
        }
    }

    fn count(&self, selection: &Selection) -> Result<usize, StoreError> {
        let set = self.selected(selection);
        let set = set.as_deref();
        if let Some(set) = set
            && selection.counts_sets()
        {
            return Ok(set.len());
        }
        Ok(match self.orders.get(&selection.list).map(|used| &used.value) {
            Some(AnyOrder::ByOne(order)) => {
                let (low, high) = selection.times;
                order.count(set, within(order, low, high))
            }
            Some(AnyOrder::ByTwo(order)) => order.count(set, 0..order.len()),
            None => 0,
        })
    }
}

/// The ranks between two times.
fn within(order: &Order<i64>, low: Option<i64>, high: Option<i64>) -> std::ops::Range<usize> {
    low.map_or(0, |low| order.lower(low))..high.map_or(order.len(), |high| order.lower(high))
}

/// Puts rows of equal keys in the order of their hashes.
fn with_ties_by_hash<K: PartialEq + Copy>(
    mut rows: Vec<(K, u32)>,
    hash_of: impl Fn(u32) -> Result<String, StoreError>,
) -> Result<Vec<(K, u32)>, StoreError> {
    for tied in rows.chunk_by_mut(|one, other| one.0 == other.0).filter(|tied| tied.len() > 1) {
        let hashes = tied.iter().map(|(_, place)| hash_of(*place)).collect::<Result<Vec<_>, _>>()?;
        let mut sorted: Vec<_> = hashes.into_iter().zip(tied.iter().copied()).collect();
        sorted.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        for (row, (_, in_order)) in tied.iter_mut().zip(sorted) {
            *row = in_order;
        }
    }
    Ok(rows)
}

fn newest(session: &Session) -> Result<i64, StoreError> {
    Ok(session
        .first("SELECT max(seq) FROM messages", &[], |row| row.opt_int(0))?
        .flatten()
        .unwrap_or_default())
}
