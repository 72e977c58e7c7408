use std::borrow::Cow;
use std::sync::LazyLock;

use aleph_types::{Address, Channel, ItemHash, Timestamp};

use super::SortOrder;
use super::catalogue::{Catalogue, Key, List, Selection, Trait};
use super::message_filter::{Start, distinct};
use super::message_plan::{FEW, SHALLOW};
use super::messages::{self, MessageRow, StoredMessage};
use super::sql::{Sql, bound, times_from};
use crate::engine::{Row, Session, values};
use crate::{Store, StoreError};

/// Filters of the posts (`spec: ccn-api.md §5`): all must hold, an empty list never does.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub struct PostFilter {
    pub owners: Option<Vec<String>>,
    /// Hashes of original posts.
    pub originals: Option<Vec<ItemHash>>,
    pub references: Option<Vec<String>>,
    /// Types of the originals.
    pub types: Option<Vec<String>>,
    /// Of the latest version.
    pub tags: Option<Vec<String>>,
    pub channels: Option<Vec<String>>,
    /// First time of last update.
    pub start: Option<Timestamp>,
    /// First one that is too late.
    pub end: Option<Timestamp>,
}

/// A page of posts, by last update, ties by the original's hash; or by the first confirmation of the
/// original (those without one are the newest), then by creation, then by the hash of the shown version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostQuery {
    /// Which.
    pub filter: PostFilter,
    /// By first confirmation; then `start` must be an offset.
    pub by_confirmation: bool,
    /// Direction.
    pub order: SortOrder,
    /// First row.
    pub start: Start,
    /// Most rows.
    pub limit: u64,
}

/// A post as readers see it: the original merged with its latest amend.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPost {
    /// Hash of the original.
    pub original: ItemHash,
    /// `content.address` of the original.
    pub owner: Address,
    /// `content.type` of the original.
    pub post_type: String,
    /// `content.ref` of the original.
    pub reference: Option<String>,
    /// Channel of the original.
    pub channel: Option<Channel>,
    /// When its author wrote the original.
    pub created: Timestamp,
    /// When its author wrote the shown version.
    pub last_updated: Timestamp,
    /// The message that holds the shown version.
    pub latest: StoredMessage,
    /// The original's message, where that is another.
    pub original_message: Option<StoredMessage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Drive {
    Originals,
    /// Few messages have one of the tags.
    Tags,
    /// The posts among few messages, then sorted.
    Few(Trait),
    Updated,
}

type Texts = Option<Vec<String>>;

struct Plan {
    owners: Texts,
    originals: Texts,
    references: Texts,
    types: Texts,
    tags: Texts,
    channels: Texts,
    start: Option<i64>,
    end: Option<i64>,
    drive: Drive,
}

/// How a page is found; see [`message_plan`](super::message_plan).
pub(super) enum Way {
    /// Nothing can match.
    Nothing,
    /// A statement finds it in bounded time.
    Statement(Sql),
    /// The catalogue does.
    Catalogue(Selection),
}

impl Plan {
    fn choose(session: &Session, filter: &PostFilter) -> Result<Option<Self>, StoreError> {
        let mut plan = Self {
            owners: distinct(&filter.owners),
            originals: distinct(&filter.originals),
            references: distinct(&filter.references),
            types: distinct(&filter.types),
            tags: distinct(&filter.tags),
            channels: distinct(&filter.channels),
            start: filter.start.map(|time| time.as_micros()),
            end: filter.end.map(|time| time.as_micros()),
            drive: Drive::Updated,
        };
        let lists =
            [&plan.owners, &plan.originals, &plan.references, &plan.types, &plan.tags, &plan.channels];
        if lists.into_iter().any(|values| values.as_ref().is_some_and(Vec::is_empty)) {
            return Ok(None);
        }
        plan.drive = plan.best_drive(session)?;
        Ok(Some(plan))
    }

    /// Filters that an index of the messages finds: a post has these columns of its original.
    fn indexed(&self) -> [(Trait, &'static str, Option<&[String]>); 3] {
        [
            (Trait::Reference, "p.reference", self.references.as_deref()),
            (Trait::Owner, "p.owner", self.owners.as_deref()),
            (Trait::ContentType, "p.post_type", self.types.as_deref()),
        ]
    }

    /// `(SELECT …)` with the places of the messages that one of the [`Self::indexed`] filters finds.
    fn push_places(&self, sql: &mut Sql, of: Trait) {
        let values = self.indexed().into_iter().find(|(one, ..)| *one == of).and_then(|(.., values)| values);
        let key = Key { of, values: values.unwrap_or_default().to_vec() };
        for (number, statement) in key.statements().into_iter().enumerate() {
            sql.push(if number == 0 { "(" } else { " UNION ALL " }).append(statement);
        }
        sql.push(")");
    }

    /// How many filters there are, times aside.
    fn filters(&self) -> usize {
        [&self.owners, &self.originals, &self.references, &self.types, &self.tags, &self.channels]
            .into_iter()
            .filter(|values| values.is_some())
            .count()
    }

    /// Whether few rows are fetched whole.
    fn reaches_few(&self) -> bool {
        !matches!(self.drive, Drive::Updated)
    }

    /// Whether a statement finds the page in bounded time.
    fn is_bounded(&self, query: &PostQuery) -> bool {
        let walked = match &query.start {
            Start::Offset(offset) => offset.saturating_add(query.limit),
            Start::After(..) => query.limit,
        };
        self.reaches_few() || !query.by_confirmation && walked <= SHALLOW && self.filters() == 0
    }

    fn selection(&self, by_confirmation: bool) -> Selection {
        let list = if by_confirmation { List::ConfirmedPosts } else { List::Posts };
        let selection = Selection::new(list)
            .with(Trait::Owner, &self.owners)
            .with(Trait::Reference, &self.references)
            .with(Trait::ContentType, &self.types)
            .with(Trait::Channel, &self.channels)
            .with(Trait::PostTag, &self.tags);
        Selection { times: (self.start, self.end), ..selection }
    }

    fn best_drive(&self, session: &Session) -> Result<Drive, StoreError> {
        if self.originals.is_some() {
            return Ok(Drive::Originals);
        }
        let mut fewest: Option<(u64, Drive)> = None;
        let mut offer = |rows: u64, drive: Drive| {
            if rows <= FEW && fewest.is_none_or(|(least, _)| rows < least) {
                fewest = Some((rows, drive));
            }
        };
        if let Some(tags) = &self.tags {
            let mut sql = Sql::new("SELECT count(*) FROM (SELECT 1 FROM message_tags WHERE ");
            sql.one_of("tag", tags).push(" LIMIT ").bind(bound(FEW + 1)).push(") AS counted");
            offer(sql.count(session)?, Drive::Tags);
        }
        for (of, _, values) in self.indexed() {
            if values.is_some() {
                let mut sql = Sql::new("SELECT count(*) FROM (SELECT k.seq FROM ");
                self.push_places(&mut sql, of);
                sql.push(" AS k LIMIT ").bind(bound(FEW + 1)).push(") AS counted");
                offer(sql.count(session)?, Drive::Few(of));
            }
        }
        Ok(fewest.map_or(Drive::Updated, |(_, drive)| drive))
    }

    fn push_selection(&self, sql: &mut Sql, times: (Option<i64>, Option<i64>)) {
        match self.drive {
            Drive::Originals => {
                sql.push(
                    " FROM posts p WHERE p.message IN \
                          (SELECT m.seq FROM messages m INDEXED BY messages_hash WHERE ",
                );
                sql.one_of("m.item_hash", self.originals.as_deref().unwrap_or_default()).push(")");
            }
            Drive::Tags => {
                sql.push(" FROM (SELECT DISTINCT message FROM message_tags WHERE ");
                sql.one_of("tag", self.tags.as_deref().unwrap_or_default());
                sql.push(
                    ") t CROSS JOIN messages m ON m.seq = t.message CROSS JOIN posts p \
                     ON p.message = CASE m.content_type WHEN 'amend' \
                     THEN (SELECT o.seq FROM messages o INDEXED BY messages_hash \
                     WHERE substr(o.item_hash, 1, 12) = substr(m.reference, 1, 12) \
                     AND o.item_hash = m.reference) ELSE m.seq END WHERE p.latest_message = m.seq",
                );
            }
            Drive::Few(of) => {
                sql.push(" FROM ");
                self.push_places(sql, of);
                sql.push(" AS k CROSS JOIN posts p ON p.message = k.seq WHERE TRUE");
            }
            Drive::Updated => {
                sql.push(" FROM posts p INDEXED BY posts_updated WHERE TRUE");
            }
        }
        for (_, column, values) in self.indexed() {
            sql.and_one_of(column, values);
        }
        sql.and_one_of("p.channel", self.channels.as_deref());
        if self.drive != Drive::Tags
            && let Some(tags) = self.tags.as_deref()
        {
            sql.push(" AND EXISTS (SELECT 1 FROM message_tags t WHERE t.message = p.latest_message AND ");
            sql.one_of("t.tag", tags).push(")");
        }
        sql.and_between("p.last_updated", times.0, times.1);
    }

    fn list_sql(&self, query: &PostQuery) -> Sql {
        let mut sql = Sql::new("SELECT p.message");
        if query.by_confirmation {
            // Few rows: each is looked up, and all are sorted.
            sql.push(CONFIRMED_AT);
        }
        let times = match &query.start {
            Start::Offset(_) => (self.start, self.end),
            Start::After(time, _) => times_from((self.start, self.end), query.order, time.as_micros()),
        };
        self.push_selection(&mut sql, times);
        let order = query.order.sql();
        if query.by_confirmation {
            sql.push(" ORDER BY confirmed ")
                .push(order)
                .push(", p.created ")
                .push(order)
                .push(", p.latest LIMIT ");
            sql.bind(bound(query.limit));
        } else {
            if let Start::After(time, hash) = &query.start {
                let (time, later) = (time.as_micros(), query.order.later());
                sql.push(" AND (p.last_updated ").push(later).push(" ").bind(time);
                sql.push(" OR p.original > ").bind(hash.as_str().to_owned()).push(")");
            }
            sql.push(" ORDER BY p.last_updated ").push(order).push(", p.original LIMIT ");
            sql.bind(bound(query.limit));
        }
        if let Start::Offset(offset) = query.start {
            sql.push(" OFFSET ").bind(bound(offset));
        }
        sql
    }
}

const COLUMNS: &str = "p.original, p.owner, p.post_type, p.reference, p.channel, p.created, p.last_updated, \
     p.message, p.latest_message";

/// The first confirmation of the original; without one it is the newest.
const CONFIRMED_AT: &str = ", COALESCE((SELECT o.confirmed_at FROM messages o WHERE o.seq = p.message), \
     9223372036854775807) AS confirmed";

/// A post while its row is read, see [`MessageRow`].
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names are those of a stored post's fields")]
pub struct PostRow<'r> {
    pub original: &'r str,
    pub owner: &'r str,
    pub post_type: &'r str,
    pub reference: Option<&'r str>,
    pub channel: Option<&'r str>,
    pub created: Timestamp,
    pub last_updated: Timestamp,
    /// The message that holds the shown version.
    pub latest: MessageRow<'r>,
    /// The original's message, where that is another.
    pub original_message: Option<Cow<'r, StoredMessage>>,
}

impl<'r> From<&'r StoredPost> for PostRow<'r> {
    fn from(post: &'r StoredPost) -> Self {
        Self {
            original: post.original.as_str(),
            owner: post.owner.as_str(),
            post_type: &post.post_type,
            reference: post.reference.as_deref(),
            channel: post.channel.as_ref().map(|channel| channel.as_str()),
            created: post.created,
            last_updated: post.last_updated,
            latest: MessageRow::from(&post.latest),
            original_message: post.original_message.as_ref().map(Cow::Borrowed),
        }
    }
}

impl<'r> PostRow<'r> {
    /// From the [`COLUMNS`] of a post and the row of its shown version.
    fn read(session: &Session, post: &'r Row<'_>, latest: &'r Row<'_>) -> Result<Self, StoreError> {
        let (message, latest_message) = (post.int(7)?, post.int(8)?);
        let is_amended = message != latest_message;
        let original_message = if is_amended { messages::by_seq(session, message)? } else { None };
        Ok(Self {
            original: post.text(0)?,
            owner: post.text(1)?,
            post_type: post.text(2)?,
            reference: post.opt_text(3)?,
            channel: post.opt_text(4)?,
            created: post.time(5)?,
            last_updated: post.time(6)?,
            latest: MessageRow::read(session, latest)?,
            original_message: original_message.map(Cow::Owned),
        })
    }
}

static ROW: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {COLUMNS} FROM posts p WHERE p.message = ?1"));

/// Passes the post of the original at this place to `visit`; says whether it is there.
fn visit_by_seq(session: &Session, seq: i64, visit: impl FnOnce(&PostRow<'_>)) -> Result<bool, StoreError> {
    if session.is_remote() {
        let found = by_seq(session, seq)?;
        return Ok(found.inspect(|post| visit(&PostRow::from(post))).is_some());
    }
    // Two statements: with both tables in one, SQLite plans it anew for each number that is bound, because
    // messages have partial indexes.
    let read = |post: &Row<'_>| {
        let latest = post.int(8)?;
        let read = |row: &Row<'_>| {
            visit(&PostRow::read(session, post, row)?);
            Ok(())
        };
        session.first(&messages::ROW, values![latest], read)
    };
    Ok(session.first(&ROW, values![seq], read)?.flatten().is_some())
}

/// The post of the original at this place.
fn by_seq(session: &Session, seq: i64) -> Result<Option<StoredPost>, StoreError> {
    let read = |row: &Row<'_>| {
        let post = (
            row.hash(0)?,
            row.address(1)?,
            row.string(2)?,
            row.opt_string(3)?,
            row.opt_text(4)?.map(Channel::from),
            row.time(5)?,
            row.time(6)?,
        );
        Ok((post, row.int(7)?, row.int(8)?))
    };
    let Some((post, message, latest)) = session.first(&ROW, values![seq], read)? else { return Ok(None) };
    let Some(latest_message) = messages::by_seq(session, latest)? else { return Ok(None) };
    let original_message = if message == latest { None } else { messages::by_seq(session, message)? };
    let (original, owner, post_type, reference, channel, created, last_updated) = post;
    Ok(Some(StoredPost {
        original,
        owner,
        post_type,
        reference,
        channel,
        created,
        last_updated,
        latest: latest_message,
        original_message,
    }))
}

pub(super) fn way(session: &Session, query: &PostQuery) -> Result<Way, StoreError> {
    Ok(match Plan::choose(session, &query.filter)? {
        None => Way::Nothing,
        Some(plan) if plan.is_bounded(query) => Way::Statement(plan.list_sql(query)),
        Some(plan) => Way::Catalogue(plan.selection(query.by_confirmation)),
    })
}

/// A page.
#[cfg(test)]
pub(super) fn list(
    session: &Session,
    catalogue: &Catalogue,
    query: &PostQuery,
) -> Result<Vec<StoredPost>, StoreError> {
    page_into(session, catalogue, query, Vec::new, |session, seq, found| {
        let post = by_seq(session, seq)?;
        let is_there = post.is_some();
        found.extend(post);
        Ok(is_there)
    })
}

/// The same rows, each passed to `add` while it is read; `begin` makes what they go into.
pub(super) fn write<A>(
    session: &Session,
    catalogue: &Catalogue,
    query: &PostQuery,
    begin: impl Fn() -> A,
    mut add: impl FnMut(&mut A, &PostRow<'_>),
) -> Result<A, StoreError> {
    page_into(session, catalogue, query, begin, |session, seq, page| {
        visit_by_seq(session, seq, |row| add(page, row))
    })
}

fn page_into<A>(
    session: &Session,
    catalogue: &Catalogue,
    query: &PostQuery,
    begin: impl Fn() -> A,
    mut add: impl FnMut(&Session, i64, &mut A) -> Result<bool, StoreError>,
) -> Result<A, StoreError> {
    let selection = {
        let snapshot = session.snapshot()?;
        match way(&snapshot, query)? {
            Way::Nothing => return Ok(begin()),
            Way::Statement(sql) => {
                let mut page = begin();
                for seq in sql.rows(&snapshot, |row| row.int(0))? {
                    add(&snapshot, seq, &mut page)?;
                }
                return Ok(page);
            }
            Way::Catalogue(selection) => selection,
        }
    };
    catalogue.page_into(session, &selection, query.order, &query.start, query.limit, begin, add)
}

pub(super) fn count(
    session: &Session,
    catalogue: &Catalogue,
    filter: &PostFilter,
) -> Result<u64, StoreError> {
    let selection = {
        let snapshot = session.snapshot()?;
        let Some(plan) = Plan::choose(&snapshot, filter)? else { return Ok(0) };
        if plan.reaches_few() {
            let mut sql = Sql::new("SELECT count(*)");
            plan.push_selection(&mut sql, (plan.start, plan.end));
            return sql.count(&snapshot);
        }
        plan.selection(false)
    };
    catalogue.count(session, &selection)
}

impl Store {
    /// A page of posts. `begin` makes what `add` puts the rows into, one after the other, while they are read;
    /// both may be called again from the beginning.
    pub async fn write_posts<A: Send + 'static>(
        &self,
        query: PostQuery,
        begin: impl Fn() -> A + Send + 'static,
        add: impl Fn(&mut A, &PostRow<'_>) + Send + 'static,
    ) -> Result<A, StoreError> {
        let catalogue = self.catalogue();
        self.read(move |session| write(session, &catalogue, &query, begin, add)).await
    }

    /// How many posts match.
    pub async fn count_posts(&self, filter: PostFilter) -> Result<u64, StoreError> {
        let catalogue = self.catalogue();
        self.read(move |session| count(session, &catalogue, &filter)).await
    }
}
