//! Which index drives a list of messages.
//!
//! A filter on hashes or with few matches is fetched whole through its index and sorted. Filters with many
//! matches are walked in the order of the list, each value by itself, and merged; the walk ends with the
//! page. What is left, is tested row by row.

use super::message_filter::{FilterTexts, MessageFilter, MessageQuery, Start, StoredStatuses};
use super::sql::{Sql, bound};
use super::{SMALL, SortOrder};
use crate::StoreError;
use crate::engine::Session;

/// Most values that are walked one by one and merged.
const MERGED_VALUES: usize = 16;

/// A filter with an index of its own.
#[derive(Debug, Clone, Copy)]
struct Indexed {
    column: &'static str,
    index: &'static str,
    /// Whether the index continues with `time, item_hash`.
    by_time: bool,
    values: fn(&FilterTexts) -> Option<&[String]>,
}

/// From the most to the least telling.
const INDEXED: [Indexed; 10] = [
    Indexed {
        column: "m.content_hash",
        index: "messages_content_hash",
        by_time: true,
        values: |filter| filter.content_hashes.as_deref(),
    },
    Indexed {
        column: "m.reference",
        index: "messages_reference",
        by_time: true,
        values: |filter| filter.references.as_deref(),
    },
    Indexed {
        column: "m.content_key",
        index: "messages_content_key",
        by_time: false,
        values: |filter| filter.content_keys.as_deref(),
    },
    Indexed {
        column: "m.owner",
        index: "messages_owner",
        by_time: true,
        values: |filter| filter.owners.as_deref(),
    },
    Indexed {
        column: "m.sender",
        index: "messages_sender",
        by_time: true,
        values: |filter| filter.senders.as_deref(),
    },
    Indexed {
        column: "m.content_type",
        index: "messages_content_type",
        by_time: true,
        values: |filter| filter.content_types.as_deref(),
    },
    Indexed {
        column: "m.chain",
        index: "messages_chain",
        by_time: true,
        // The index leaves out the chain of nearly all messages.
        values: |filter| filter.chains.as_deref().filter(|chains| chains.iter().all(|chain| chain != "ETH")),
    },
    Indexed {
        column: "m.payment_type",
        index: "messages_payment",
        by_time: true,
        values: |filter| filter.payment_types.as_deref(),
    },
    Indexed {
        column: "m.channel",
        index: "messages_channel",
        by_time: true,
        values: |filter| filter.channels.as_deref(),
    },
    Indexed {
        column: "m.message_type",
        index: "messages_type",
        by_time: true,
        values: |filter| filter.types.as_deref(),
    },
];

/// What the condition must say for the partial index to be used.
fn partial(index: &str) -> &'static str {
    if index == "messages_chain" { "m.chain <> 'ETH' AND " } else { "" }
}

/// How the rows are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Drive {
    /// One by one, by hash.
    Hashes,
    /// All with one of the tags, then sorted.
    Tags,
    /// All with one of the values of this column, then sorted.
    Few(&'static str, &'static str),
    /// In the list's order, one value after the other.
    Ordered(&'static str, &'static str, Vec<String>),
    /// The messages whose grace time runs.
    Removing,
    /// In the list's order, all.
    Time,
    /// In the order of their first confirmation, all that have one.
    Confirmation,
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
        let mut plan = Self { texts, start, end, blocks, statuses, drive: Drive::Time };
        plan.drive = plan.best_drive(session)?;
        Ok(Some(plan))
    }

    fn best_drive(&self, session: &Session) -> Result<Drive, StoreError> {
        if self.texts.hashes.is_some() {
            return Ok(Drive::Hashes);
        }
        if !self.statuses.processed {
            return Ok(Drive::Removing);
        }
        let present: Vec<(Indexed, &[String])> =
            INDEXED.iter().filter_map(|indexed| Some((*indexed, (indexed.values)(&self.texts)?))).collect();
        let tags = self.texts.tags.as_deref();
        // A lone filter in list order needs no comparison.
        if let ([(indexed, [value])], None) = (present.as_slice(), tags)
            && indexed.by_time
        {
            return Ok(Drive::Ordered(indexed.column, indexed.index, vec![value.clone()]));
        }

        let mut fewest: Option<(u64, Drive)> = None;
        let mut offer = |rows: u64, drive: Drive| {
            if rows <= SMALL && fewest.as_ref().is_none_or(|(least, _)| rows < *least) {
                fewest = Some((rows, drive));
            }
        };
        if let Some(tags) = tags {
            let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1 FROM message_tags WHERE ");
            sql.one_of("tag", tags).push(" LIMIT ").bind(bound(SMALL + 1)).push(") AS counted");
            offer(sql.count(session)?, Drive::Tags);
        }
        for (indexed, values) in &present {
            let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1 FROM messages m INDEXED BY ");
            sql.push(indexed.index).push(" WHERE ").push(partial(indexed.index));
            sql.one_of(indexed.column, values);
            if indexed.by_time {
                sql.and_between("m.time", self.start, self.end);
            }
            sql.push(" LIMIT ").bind(bound(SMALL + 1)).push(") AS counted");
            offer(sql.count(session)?, Drive::Few(indexed.column, indexed.index));
        }
        if let Some((_, drive)) = fewest {
            return Ok(drive);
        }
        // All are large: walk the most telling one in list order.
        for (indexed, values) in present {
            if indexed.by_time && values.len() <= MERGED_VALUES {
                return Ok(Drive::Ordered(indexed.column, indexed.index, values.to_vec()));
            }
            if !indexed.by_time && self.texts.types.is_none() {
                // Only aggregates have keys.
                return Ok(Drive::Ordered("m.message_type", "messages_type", vec!["AGGREGATE".to_owned()]));
            }
        }
        Ok(Drive::Time)
    }

    /// `FROM … WHERE …`; `value` is the one that an ordered drive walks now.
    fn push_selection(&self, sql: &mut Sql, value: Option<&String>) {
        let texts = &self.texts;
        match &self.drive {
            Drive::Hashes => {
                let hashes = texts.hashes.as_deref().unwrap_or_default();
                sql.push(" FROM json_each(").bind_list(hashes);
                sql.push(
                    ") h CROSS JOIN statuses s ON s.item_hash = h.value \
                     CROSS JOIN messages m ON m.seq = s.message WHERE TRUE",
                );
            }
            Drive::Removing => {
                sql.push(
                    " FROM statuses s INDEXED BY statuses_removing \
                     CROSS JOIN messages m ON m.seq = s.message WHERE s.status = 'removing'",
                );
            }
            Drive::Tags => {
                let tags = texts.tags.as_deref().unwrap_or_default();
                sql.push(" FROM (SELECT DISTINCT message FROM message_tags WHERE ").one_of("tag", tags);
                sql.push(") t CROSS JOIN messages m ON m.seq = t.message WHERE TRUE");
            }
            Drive::Few(column, index) => {
                sql.push(" FROM messages m INDEXED BY ").push(index).push(" WHERE ").push(partial(index));
                let values = INDEXED
                    .iter()
                    .find(|indexed| indexed.column == *column)
                    .and_then(|indexed| (indexed.values)(texts))
                    .unwrap_or_default();
                sql.one_of(column, values);
            }
            Drive::Ordered(column, index, _) => {
                sql.push(" FROM messages m INDEXED BY ").push(index).push(" WHERE ").push(partial(index));
                sql.push(column).push(" = ").bind(value.cloned().unwrap_or_default());
            }
            Drive::Time => {
                sql.push(" FROM messages m INDEXED BY messages_time WHERE TRUE");
            }
            Drive::Confirmation => {
                sql.push(" FROM messages m INDEXED BY messages_confirmed WHERE m.confirmed_at IS NOT NULL");
            }
        }
        for indexed in &INDEXED {
            let driven = match &self.drive {
                Drive::Few(column, _) => *column == indexed.column,
                // A key's walk through the aggregates still has to test the key, but not the type.
                Drive::Ordered(column, _, _) => *column == indexed.column,
                _ => false,
            };
            if !driven {
                sql.and_one_of(indexed.column, (indexed.values)(texts));
            }
        }
        if texts.chains.as_ref().is_some_and(|chains| chains.iter().any(|chain| chain == "ETH")) {
            sql.and_one_of("m.chain", texts.chains.as_deref());
        }
        if self.drive != Drive::Tags
            && let Some(tags) = texts.tags.as_deref()
        {
            sql.push(" AND EXISTS (SELECT 1 FROM message_tags t WHERE t.message = m.seq AND ")
                .one_of("t.tag", tags);
            sql.push(")");
        }
        sql.and_between("m.time", self.start, self.end);
        if let Some(start) = self.blocks.0 {
            sql.push(" AND (m.confirmed_height IS NULL OR m.confirmed_height >= ").bind(start).push(")");
        }
        if let Some(end) = self.blocks.1 {
            sql.push(" AND m.confirmed_height < ").bind(end);
        }
        match (self.statuses.processed, self.statuses.removing, &self.drive) {
            (true, true, _) | (_, _, Drive::Removing) => {}
            (processed, _, _) => {
                sql.push(if processed { " AND NOT EXISTS" } else { " AND EXISTS" });
                sql.push(
                    " (SELECT 1 FROM statuses r INDEXED BY statuses_removing \
                     WHERE r.item_hash = m.item_hash AND r.status = 'removing')",
                );
            }
        }
    }

    fn places_sql(&self, order: SortOrder, start: &Start, limit: u64, value: Option<&String>) -> Sql {
        let mut sql = Sql::new("SELECT m.time, m.item_hash, m.seq");
        self.push_selection(&mut sql, value);
        if let Start::After(time, hash) = start {
            let time = time.as_micros();
            let later = order.later();
            sql.push(" AND m.time ").push(later).push("= ").bind(time);
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
            Drive::Ordered(_, _, values) => values
                .iter()
                .map(|value| self.places_sql(query.order, &query.start, query.limit, Some(value)))
                .collect(),
            _ => vec![self.places_sql(query.order, &query.start, query.limit, None)],
        }
    }

    /// Where the rows of the page are, in the list's order.
    pub(super) fn places(&self, session: &Session, query: &MessageQuery) -> Result<Vec<Place>, StoreError> {
        let read = |sql: Sql| sql.rows(session, |row| Ok((row.int(0)?, row.string(1)?, row.int(2)?)));
        match &self.drive {
            Drive::Ordered(_, _, values) if values.len() > 1 => {
                let (skipped, start) = match &query.start {
                    Start::Offset(offset) => (*offset, Start::Offset(0)),
                    after @ Start::After(..) => (0, after.clone()),
                };
                let each = query.limit.saturating_add(skipped);
                let mut places: Vec<Place> = Vec::new();
                for value in values {
                    places.extend(read(self.places_sql(query.order, &start, each, Some(value)))?);
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
            Drive::Ordered(_, _, values) => {
                read(self.places_sql(query.order, &query.start, query.limit, values.first()))
            }
            _ => read(self.places_sql(query.order, &query.start, query.limit, None)),
        }
    }

    /// Where the rows of a page by first confirmation are: those without one are the newest
    /// (`spec: ccn-api.md §3.1`). Both halves are walked one after the other.
    pub(super) fn places_by_confirmation(
        &self,
        session: &Session,
        order: SortOrder,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<i64>, StoreError> {
        let halves = match order {
            SortOrder::Descending => [false, true],
            SortOrder::Ascending => [true, false],
        };
        let (mut skipped, mut left) = (offset, limit);
        let mut places = Vec::new();
        for confirmed in halves {
            if left == 0 {
                break;
            }
            let rows = self.half(session, order, confirmed, skipped.saturating_add(left))?;
            let page = rows.iter().skip(usize::try_from(skipped).unwrap_or(usize::MAX));
            let before = places.len();
            places.extend(page.map(|(_, _, _, seq)| *seq));
            left = left.saturating_sub((places.len() - before) as u64);
            skipped = skipped.saturating_sub(rows.len() as u64);
        }
        Ok(places)
    }

    /// The first `most` rows with or without a confirmation: `(confirmed_at, time, item_hash, seq)`.
    fn half(
        &self,
        session: &Session,
        order: SortOrder,
        confirmed: bool,
        most: u64,
    ) -> Result<Vec<(i64, i64, String, i64)>, StoreError> {
        let values: Vec<Option<&String>> = match &self.drive {
            Drive::Ordered(_, _, values) => values.iter().map(Some).collect(),
            _ => vec![None],
        };
        let mut rows = Vec::new();
        for value in &values {
            let mut sql = Sql::new("SELECT COALESCE(m.confirmed_at, 0), m.time, m.item_hash, m.seq");
            self.push_half(&mut sql, confirmed, *value);
            if confirmed {
                sql.push(" ORDER BY m.confirmed_at ").push(order.sql()).push(", m.time ").push(order.sql());
            } else {
                sql.push(" ORDER BY m.time ").push(order.sql());
            }
            sql.push(", m.item_hash LIMIT ").bind(bound(most));
            rows.extend(
                sql.rows(session, |row| Ok((row.int(0)?, row.int(1)?, row.string(2)?, row.int(3)?)))?,
            );
        }
        if values.len() > 1 {
            rows.sort_unstable_by(|one: &(i64, i64, String, i64), other| {
                let by_time = match order {
                    SortOrder::Descending => (other.0, other.1).cmp(&(one.0, one.1)),
                    SortOrder::Ascending => (one.0, one.1).cmp(&(other.0, other.1)),
                };
                by_time.then_with(|| one.2.cmp(&other.2))
            });
            rows.truncate(usize::try_from(most).unwrap_or(usize::MAX));
        }
        Ok(rows)
    }

    fn push_half(&self, sql: &mut Sql, confirmed: bool, value: Option<&String>) {
        if confirmed && self.drive == Drive::Time {
            // All that are confirmed, in their own order.
            let walk = Self {
                texts: self.texts.clone(),
                start: self.start,
                end: self.end,
                blocks: self.blocks,
                statuses: self.statuses,
                drive: Drive::Confirmation,
            };
            walk.push_selection(sql, None);
            return;
        }
        self.push_selection(sql, value);
        sql.push(if confirmed { " AND m.confirmed_at IS NOT NULL" } else { " AND m.confirmed_at IS NULL" });
    }

    /// How many rows match, counting at most `most`.
    pub(super) fn count(&self, session: &Session, most: u64) -> Result<u64, StoreError> {
        let one = |value: Option<&String>, most: u64| {
            let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1");
            self.push_selection(&mut sql, value);
            sql.push(" LIMIT ").bind(bound(most)).push(") AS counted");
            sql.count(session)
        };
        match &self.drive {
            Drive::Ordered(_, _, values) => {
                let mut total = 0;
                for value in values {
                    if total >= most {
                        break;
                    }
                    total += one(Some(value), most - total)?;
                }
                Ok(total)
            }
            _ => one(None, most),
        }
    }
}
