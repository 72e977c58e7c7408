//! How a page of messages is found, in time that is bounded whatever is asked for.
//!
//! A filter on hashes or with few matches is fetched whole through its index, tested row by row and sorted.
//! The start of a list with one filter, or none, and what follows a cursor, is walked in its order through
//! an index that has that order: each value by itself, merged, and no row but those of the page. All else
//! (pages far from the start, several filters with many matches each, orders without an index) is looked up
//! in the [`catalogue`](super::catalogue).

use super::SortOrder;
use super::catalogue::{Key, List, Selection, Trait};
use super::message_filter::{FilterTexts, MessageFilter, MessageQuery, Start, StoredStatuses};
use super::sql::{Sql, bound, times_from};
use crate::StoreError;
use crate::engine::Session;
use crate::statuses::has_hash;

/// Most values that are walked one by one and merged.
const MERGED_VALUES: usize = 16;

/// Rows of a filter that are fetched whole and tested one by one.
pub(super) const FEW: u64 = 256;

/// Rows that are walked in an index before the page begins.
pub(super) const SHALLOW: u64 = 500;

/// An index that holds rows of a filter's values.
#[derive(Debug)]
struct Walk {
    index: &'static str,
    /// What is compared with the values, or with the numbers of these owners.
    column: &'static str,
    by_number: bool,
    /// What the condition must say for a partial index to be used.
    partial: &'static str,
}

const fn walk(index: &'static str, column: &'static str) -> Walk {
    walk_some(index, column, "")
}

const fn walk_some(index: &'static str, column: &'static str, partial: &'static str) -> Walk {
    Walk { index, column, by_number: false, partial }
}

/// Messages that their owner sent.
const OWN: Walk = Walk { index: "messages_own", column: "m.own", by_number: true, partial: "" };

const TYPE: Walk = walk("messages_type", "m.message_type");

/// A filter with indexes of its own.
#[derive(Debug)]
struct Indexed {
    column: &'static str,
    /// Together they hold each row once.
    walks: &'static [Walk],
    /// Whether the indexes continue with `time`.
    by_time: bool,
    values: fn(&FilterTexts) -> Option<&[String]>,
}

/// From the most to the least telling.
static INDEXED: [Indexed; 10] = [
    Indexed {
        column: "m.content_hash",
        walks: &[walk("messages_content_hash", "m.content_hash")],
        by_time: true,
        values: |filter| filter.content_hashes.as_deref(),
    },
    Indexed {
        column: "m.reference",
        walks: &[walk("messages_reference", "m.reference")],
        by_time: true,
        values: |filter| filter.references.as_deref(),
    },
    Indexed {
        column: "m.content_key",
        walks: &[walk("messages_content_key", "m.content_key")],
        by_time: false,
        values: |filter| filter.content_keys.as_deref(),
    },
    Indexed {
        column: "m.owner",
        walks: &[OWN, walk_some("messages_owner", "m.owner", "m.sender <> m.owner AND ")],
        by_time: true,
        values: |filter| filter.owners.as_deref(),
    },
    Indexed {
        column: "m.sender",
        walks: &[OWN, walk_some("messages_sender", "m.sender", "m.sender <> m.owner AND ")],
        by_time: true,
        values: |filter| filter.senders.as_deref(),
    },
    Indexed {
        column: "m.content_type",
        walks: &[walk("messages_content_type", "m.content_type")],
        by_time: true,
        values: |filter| filter.content_types.as_deref(),
    },
    Indexed {
        column: "m.chain",
        walks: &[walk_some("messages_chain", "m.chain", "m.chain <> 'ETH' AND ")],
        by_time: true,
        // The index leaves out the chain of nearly all messages.
        values: |filter| filter.chains.as_deref().filter(|chains| chains.iter().all(|chain| chain != "ETH")),
    },
    Indexed {
        column: "m.payment_type",
        walks: &[walk("messages_payment", "m.payment_type")],
        by_time: true,
        values: |filter| filter.payment_types.as_deref(),
    },
    Indexed {
        column: "m.channel",
        walks: &[walk("messages_channel", "m.channel")],
        by_time: true,
        values: |filter| filter.channels.as_deref(),
    },
    Indexed {
        column: "m.message_type",
        walks: &[TYPE],
        by_time: true,
        values: |filter| filter.types.as_deref(),
    },
];

/// Rows that one statement reaches through one index: in the list's order those of one value, sorted those
/// of several.
#[derive(Debug, Clone)]
struct Share {
    walk: &'static Walk,
    /// The filter's column, which needs no other test.
    of: &'static str,
    values: Vec<String>,
}

impl Share {
    /// ` FROM … WHERE …` of these values.
    fn push_to(&self, sql: &mut Sql) {
        sql.push(" FROM messages m INDEXED BY ").push(self.walk.index).push(" WHERE ");
        sql.push(self.walk.partial);
        if self.walk.by_number {
            sql.one_of_owners(self.walk.column, &self.values);
        } else {
            sql.one_of(self.walk.column, &self.values);
        }
    }
}

/// How the rows are reached.
#[derive(Debug, Clone)]
enum Drive {
    /// One by one, by hash.
    Hashes,
    /// All with one of the tags, then sorted.
    Tags,
    /// Through the indexes of one filter, one share after the other.
    Indexed(Vec<Share>),
    /// In the list's order, all.
    Time,
}

/// The selected rows' places: `(time, item_hash, seq)`.
pub(super) type Place = (i64, String, i64);

/// A filter that is ready to run.
pub(super) struct Plan {
    texts: FilterTexts,
    start: Option<i64>,
    end: Option<i64>,
    blocks: (Option<i64>, Option<i64>),
    statuses: StoredStatuses,
    drive: Drive,
    /// The driving filter has few rows.
    is_whole: bool,
}

impl Plan {
    /// Chooses the driving index. `None`: nothing can match.
    pub(super) fn choose(session: &Session, filter: &MessageFilter) -> Result<Option<Self>, StoreError> {
        let texts = FilterTexts::from(filter);
        let statuses = filter.statuses;
        if texts.matches_nothing() || !(statuses.processed || statuses.removing) {
            return Ok(None);
        }
        let start = filter.start.map(|time| time.as_micros());
        let end = filter.end.map(|time| time.as_micros());
        let blocks = (filter.start_block.map(bound), filter.end_block.map(bound));
        let mut plan = Self { texts, start, end, blocks, statuses, drive: Drive::Time, is_whole: false };
        (plan.drive, plan.is_whole) = plan.best_drive(session)?;
        Ok(Some(plan))
    }

    fn best_drive(&self, session: &Session) -> Result<(Drive, bool), StoreError> {
        if self.texts.hashes.is_some() {
            return Ok((Drive::Hashes, true));
        }
        let present: Vec<(&'static Indexed, &[String])> =
            INDEXED.iter().filter_map(|indexed| Some((indexed, (indexed.values)(&self.texts)?))).collect();
        let tags = self.texts.tags.as_deref();
        // A lone filter in list order needs no comparison.
        if let ([(indexed, values @ [_])], None) = (present.as_slice(), tags)
            && indexed.by_time
            && !self.has_other_tests()
        {
            return Ok((self.ordered(session, indexed, values)?, false));
        }

        let mut fewest: Option<(u64, Drive)> = None;
        let mut offer = |rows: u64, drive: Drive| {
            if rows <= FEW && fewest.as_ref().is_none_or(|(least, _)| rows < *least) {
                fewest = Some((rows, drive));
            }
        };
        if let Some(tags) = tags {
            let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1 FROM message_tags WHERE ");
            sql.one_of("tag", tags).push(" LIMIT ").bind(bound(FEW + 1)).push(") AS counted");
            offer(sql.count(session)?, Drive::Tags);
        }
        for (indexed, values) in &present {
            let (mut rows, mut shares) = (0, Vec::new());
            for walk in indexed.walks {
                let share = Share { walk, of: indexed.column, values: values.to_vec() };
                let of_share = self.count_of(session, &share, indexed.by_time, FEW + 1)?;
                rows += of_share;
                if of_share > 0 || indexed.walks.len() == 1 {
                    shares.push(share);
                }
            }
            offer(rows, Drive::Indexed(shares));
        }
        if let Some((_, drive)) = fewest {
            return Ok((drive, true));
        }
        Ok((Drive::Time, false))
    }

    /// One value after the other, each in the list's order. Where several indexes hold a filter's rows,
    /// those without any are left out, so that mostly one statement gives the page.
    fn ordered(
        &self,
        session: &Session,
        indexed: &'static Indexed,
        values: &[String],
    ) -> Result<Drive, StoreError> {
        let mut shares = Vec::new();
        for value in values {
            for walk in indexed.walks {
                let share = Share { walk, of: indexed.column, values: vec![value.clone()] };
                if indexed.walks.len() == 1 || self.count_of(session, &share, indexed.by_time, 1)? > 0 {
                    shares.push(share);
                }
            }
        }
        Ok(Drive::Indexed(shares))
    }

    /// Rows of a share between the filter's times, counting at most `most`.
    fn count_of(
        &self,
        session: &Session,
        share: &Share,
        by_time: bool,
        most: u64,
    ) -> Result<u64, StoreError> {
        let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1");
        share.push_to(&mut sql);
        if by_time {
            sql.and_between("m.time", self.start, self.end);
        }
        sql.push(" LIMIT ").bind(bound(most)).push(") AS counted");
        sql.count(session)
    }

    /// `FROM … WHERE …`; `share` is the one that a drive through indexes walks now.
    fn push_selection(&self, sql: &mut Sql, share: Option<&Share>, times: (Option<i64>, Option<i64>)) {
        let texts = &self.texts;
        match &self.drive {
            Drive::Hashes => {
                let hashes = texts.hashes.as_deref().unwrap_or_default();
                sql.push(" FROM json_each(").bind_list(hashes);
                sql.push(concat!(
                    ") h CROSS JOIN messages m INDEXED BY messages_hash ON ",
                    has_hash!("h.value"),
                    " WHERE TRUE"
                ));
            }
            Drive::Tags => {
                let tags = texts.tags.as_deref().unwrap_or_default();
                sql.push(" FROM (SELECT DISTINCT message FROM message_tags WHERE ").one_of("tag", tags);
                sql.push(") t CROSS JOIN messages m ON m.seq = t.message WHERE TRUE");
            }
            Drive::Indexed(_) => {
                if let Some(share) = share {
                    share.push_to(sql);
                }
            }
            Drive::Time => {
                sql.push(" FROM messages m INDEXED BY messages_time WHERE TRUE");
            }
        }
        for indexed in &INDEXED {
            // A key's walk through the aggregates still has to test the key, but not the type.
            let driven = share.is_some_and(|share| share.of == indexed.column);
            if !driven {
                sql.and_one_of(indexed.column, (indexed.values)(texts));
            }
        }
        if texts.chains.as_ref().is_some_and(|chains| chains.iter().any(|chain| chain == "ETH")) {
            sql.and_one_of("m.chain", texts.chains.as_deref());
        }
        if !matches!(self.drive, Drive::Tags)
            && let Some(tags) = texts.tags.as_deref()
        {
            sql.push(" AND EXISTS (SELECT 1 FROM message_tags t WHERE t.message = m.seq AND ")
                .one_of("t.tag", tags);
            sql.push(")");
        }
        sql.and_between("m.time", times.0, times.1);
        if let Some(start) = self.blocks.0 {
            sql.push(" AND (m.confirmed_height IS NULL OR m.confirmed_height >= ").bind(start).push(")");
        }
        if let Some(end) = self.blocks.1 {
            sql.push(" AND m.confirmed_height < ").bind(end);
        }
        match (self.statuses.processed, self.statuses.removing) {
            (true, true) => {}
            (processed, _) => {
                sql.push(if processed { " AND NOT EXISTS" } else { " AND EXISTS" });
                sql.push(
                    " (SELECT 1 FROM statuses r INDEXED BY statuses_removing \
                     WHERE r.item_hash = m.item_hash AND r.status = 'removing')",
                );
            }
        }
    }

    fn places_sql(&self, order: SortOrder, start: &Start, limit: u64, share: Option<&Share>) -> Sql {
        let mut sql = Sql::new("SELECT m.time, m.item_hash, m.seq");
        let times = match start {
            Start::Offset(_) => (self.start, self.end),
            Start::After(time, _) => times_from((self.start, self.end), order, time.as_micros()),
        };
        self.push_selection(&mut sql, share, times);
        if let Start::After(time, hash) = start {
            let time = time.as_micros();
            let later = order.later();
            sql.push(" AND (m.time ").push(later).push(" ").bind(time);
            sql.push(" OR m.item_hash > ").bind(hash.as_str().to_owned()).push(")");
        }
        sql.push(" ORDER BY m.time ").push(order.sql()).push(", m.item_hash LIMIT ").bind(bound(limit));
        if let Start::Offset(offset) = start
            && *offset > 0
        {
            sql.push(" OFFSET ").bind(bound(*offset));
        }
        sql
    }

    /// The statements that together hold the page.
    #[cfg(test)]
    pub(super) fn statements(&self, query: &MessageQuery) -> Vec<Sql> {
        match &self.drive {
            Drive::Indexed(shares) => shares
                .iter()
                .map(|share| self.places_sql(query.order, &query.start, query.limit, Some(share)))
                .collect(),
            _ => vec![self.places_sql(query.order, &query.start, query.limit, None)],
        }
    }

    /// Where the rows of the page are, in the list's order.
    pub(super) fn places(&self, session: &Session, query: &MessageQuery) -> Result<Vec<Place>, StoreError> {
        let read = |sql: Sql| sql.rows(session, |row| Ok((row.int(0)?, row.string(1)?, row.int(2)?)));
        match &self.drive {
            Drive::Indexed(shares) if shares.len() > 1 => {
                let (skipped, start) = match &query.start {
                    Start::Offset(offset) => (*offset, Start::Offset(0)),
                    after @ Start::After(..) => (0, after.clone()),
                };
                let each = query.limit.saturating_add(skipped);
                let mut places: Vec<Place> = Vec::new();
                for share in shares {
                    places.extend(read(self.places_sql(query.order, &start, each, Some(share)))?);
                }
                places.sort_unstable_by(|a, b| {
                    let by_time = match query.order {
                        SortOrder::Descending => b.0.cmp(&a.0),
                        SortOrder::Ascending => a.0.cmp(&b.0),
                    };
                    by_time.then_with(|| a.1.cmp(&b.1))
                });
                let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
                let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
                Ok(places.into_iter().skip(skipped).take(limit).collect())
            }
            Drive::Indexed(shares) => match shares.first() {
                None => Ok(Vec::new()),
                share => read(self.places_sql(query.order, &query.start, query.limit, share)),
            },
            _ => read(self.places_sql(query.order, &query.start, query.limit, None)),
        }
    }

    /// Where the rows of a page by first confirmation are: those without one are the newest
    /// (`spec: ccn-api.md §3.1`). For few rows.
    pub(super) fn places_by_confirmation(
        &self,
        session: &Session,
        order: SortOrder,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<i64>, StoreError> {
        let statements = match &self.drive {
            Drive::Indexed(shares) => {
                shares.iter().map(|share| self.by_confirmation_sql(Some(share))).collect()
            }
            _ => vec![self.by_confirmation_sql(None)],
        };
        let mut rows: Vec<((i64, i64), String, i64)> = Vec::new();
        for sql in statements {
            rows.extend(sql.rows(session, |row| {
                let at = row.opt_int(0)?.unwrap_or(i64::MAX);
                Ok(((at, row.int(1)?), row.string(2)?, row.int(3)?))
            })?);
        }
        rows.sort_unstable_by(|one, other| {
            let by_time = match order {
                SortOrder::Descending => other.0.cmp(&one.0),
                SortOrder::Ascending => one.0.cmp(&other.0),
            };
            by_time.then_with(|| one.1.cmp(&other.1))
        });
        let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(rows.into_iter().skip(skipped).take(limit).map(|(_, _, seq)| seq).collect())
    }

    fn by_confirmation_sql(&self, share: Option<&Share>) -> Sql {
        let mut sql = Sql::new("SELECT m.confirmed_at, m.time, m.item_hash, m.seq");
        self.push_selection(&mut sql, share, (self.start, self.end));
        sql
    }

    /// Whether rows have to pass tests besides those of the filters that have indexes.
    fn has_other_tests(&self) -> bool {
        let is_eth = |chains: &Vec<String>| chains.iter().any(|chain| chain == "ETH");
        self.texts.tags.is_some()
            || self.texts.chains.as_ref().is_some_and(is_eth)
            || self.blocks != (None, None)
            || !(self.statuses.processed && self.statuses.removing)
    }

    /// Whether few rows are fetched whole.
    pub(super) fn reaches_few(&self) -> bool {
        match &self.drive {
            Drive::Hashes | Drive::Tags => true,
            Drive::Indexed(_) => self.is_whole,
            Drive::Time => false,
        }
    }

    /// Whether a statement finds the page in bounded time.
    pub(super) fn is_bounded(&self, start: &Start, limit: u64) -> bool {
        let walked = match start {
            Start::Offset(offset) => offset.saturating_add(limit),
            Start::After(..) => limit,
        };
        match &self.drive {
            _ if self.reaches_few() => true,
            Drive::Indexed(shares) => {
                shares.len() <= MERGED_VALUES && walked.saturating_mul(shares.len().max(1) as u64) <= SHALLOW
            }
            Drive::Time => {
                let has_filters = INDEXED.iter().any(|indexed| (indexed.values)(&self.texts).is_some());
                !has_filters && !self.has_other_tests() && walked <= SHALLOW
            }
            Drive::Hashes | Drive::Tags => true,
        }
    }

    /// The same rows for the catalogue.
    pub(super) fn selection(&self, list: List) -> Selection {
        let texts = &self.texts;
        let mut selection = Selection::new(list)
            .with(Trait::Type, &texts.types)
            .with(Trait::Sender, &texts.senders)
            .with(Trait::Owner, &texts.owners)
            .with(Trait::Reference, &texts.references)
            .with(Trait::ContentHash, &texts.content_hashes)
            .with(Trait::ContentKey, &texts.content_keys)
            .with(Trait::ContentType, &texts.content_types)
            .with(Trait::Channel, &texts.channels)
            .with(Trait::Tag, &texts.tags)
            .with(Trait::Payment, &texts.payment_types);
        if let Some(chains) = &texts.chains {
            // Nearly all are of ETH: what is kept is the others, and those that are not wanted.
            if chains.iter().any(|chain| chain == "ETH") {
                selection.none.push(Key { of: Trait::ChainOtherThan, values: chains.clone() });
            } else {
                selection = selection.with(Trait::Chain, &texts.chains);
            }
        }
        let removing = Key { of: Trait::Removing, values: Vec::new() };
        match (self.statuses.processed, self.statuses.removing) {
            (true, true) => {}
            (true, false) => selection.none.push(removing),
            (false, _) => selection.all.push(removing),
        }
        Selection { times: (self.start, self.end), blocks: self.blocks, ..selection }
    }

    /// How many rows match, counting at most `most`.
    pub(super) fn count(&self, session: &Session, most: u64) -> Result<u64, StoreError> {
        let one = |share: Option<&Share>, most: u64| {
            let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1");
            self.push_selection(&mut sql, share, (self.start, self.end));
            sql.push(" LIMIT ").bind(bound(most)).push(") AS counted");
            sql.count(session)
        };
        match &self.drive {
            Drive::Indexed(shares) => {
                let mut total = 0;
                for share in shares {
                    if total >= most {
                        break;
                    }
                    total += one(Some(share), most - total)?;
                }
                Ok(total)
            }
            _ => one(None, most),
        }
    }
}
