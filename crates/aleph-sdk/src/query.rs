use aleph_types::{Address, Chain, ItemHash, MessageStatus, MessageType, Timestamp};

/// A pair of a query's name and its value.
type Pair = (&'static str, String);

/// Which way a listing is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortOrder {
    /// Newest first.
    #[default]
    NewestFirst,
    /// Oldest first.
    OldestFirst,
}

impl SortOrder {
    fn as_query(self) -> String {
        match self {
            Self::NewestFirst => "-1".to_owned(),
            Self::OldestFirst => "1".to_owned(),
        }
    }
}

/// Which page of a listing, and how long pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRequest {
    /// 1 is the first.
    pub number: u32,
    /// Items a page; 0 means all at once.
    pub size: u32,
}

impl Default for PageRequest {
    fn default() -> Self {
        Self { number: 1, size: 20 }
    }
}

impl PageRequest {
    /// The first page with `size` items.
    pub fn first(size: u32) -> Self {
        Self { number: 1, size }
    }

    pub(crate) fn append(self, query: &mut Vec<Pair>) {
        query.push(("page", self.number.to_string()));
        query.push(("pagination", self.size.to_string()));
    }
}

/// A page of a listing that is read by number.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberedPage<T> {
    /// What is on the page.
    pub items: Vec<T>,
    /// Its number, from 1.
    pub page: u64,
    /// Items a page.
    pub per_page: u64,
    /// Items in all, as far as the node counts them; may be some minutes old.
    pub total: Option<u64>,
}

/// A page of a listing that is read by cursor.
#[derive(Debug, Clone, PartialEq)]
pub struct CursorPage<T> {
    /// What is on the page.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}

/// Which messages (`spec: ccn-api.md §3.1`). Conditions that are empty don't filter; within one condition
/// any value matches; all conditions must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MessageFilter {
    /// Types of message.
    pub types: Vec<MessageType>,
    /// Statuses; empty means processed and removing.
    pub statuses: Vec<MessageStatus>,
    /// Who signed.
    pub senders: Vec<Address>,
    /// On whose behalf: `content.address`.
    pub owners: Vec<Address>,
    /// `content.ref`.
    pub refs: Vec<String>,
    /// `content.item_hash`: files of STORE messages.
    pub content_hashes: Vec<ItemHash>,
    /// `content.key`: keys of AGGREGATE messages.
    pub content_keys: Vec<String>,
    /// `content.type`: types of POST messages.
    pub content_types: Vec<String>,
    /// Chains of the senders.
    pub chains: Vec<Chain>,
    /// Labels.
    pub channels: Vec<String>,
    /// Tags.
    pub tags: Vec<String>,
    /// The messages themselves.
    pub hashes: Vec<ItemHash>,
    /// Earliest time, inclusive.
    pub start: Option<Timestamp>,
    /// Latest time, exclusive.
    pub end: Option<Timestamp>,
    /// Direction.
    pub order: SortOrder,
}

fn push_list<T: AsRef<str>>(query: &mut Vec<Pair>, name: &'static str, values: &[T]) {
    if !values.is_empty() {
        let joined = values.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(",");
        query.push((name, joined));
    }
}

fn push_words<T: Copy>(
    query: &mut Vec<Pair>,
    name: &'static str,
    values: &[T],
    word: impl Fn(T) -> &'static str,
) {
    let words: Vec<&str> = values.iter().map(|value| word(*value)).collect();
    push_list(query, name, &words);
}

fn push_time(query: &mut Vec<Pair>, name: &'static str, time: Option<Timestamp>) {
    if let Some(time) = time {
        query.push((name, format!("{}", time.as_secs_f64())));
    }
}

impl MessageFilter {
    /// The filter as query parameters, in the names of the API.
    pub(crate) fn to_query(&self) -> Vec<Pair> {
        let mut query = Vec::new();
        push_words(&mut query, "msgTypes", &self.types, MessageType::as_str);
        push_words(&mut query, "msgStatuses", &self.statuses, MessageStatus::as_str);
        push_list(&mut query, "addresses", &self.senders);
        push_list(&mut query, "owners", &self.owners);
        push_list(&mut query, "refs", &self.refs);
        push_list(&mut query, "contentHashes", &self.content_hashes);
        push_list(&mut query, "contentKeys", &self.content_keys);
        push_list(&mut query, "contentTypes", &self.content_types);
        push_words(&mut query, "chains", &self.chains, Chain::as_str);
        push_list(&mut query, "channels", &self.channels);
        push_list(&mut query, "tags", &self.tags);
        push_list(&mut query, "hashes", &self.hashes);
        push_time(&mut query, "startDate", self.start);
        push_time(&mut query, "endDate", self.end);
        if self.order != SortOrder::default() {
            query.push(("sortOrder", self.order.as_query()));
        }
        query
    }
}

/// Which posts (`spec: ccn-api.md §5`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PostFilter {
    /// Types of the originals.
    pub types: Vec<String>,
    /// Owners.
    pub owners: Vec<Address>,
    /// Original posts.
    pub hashes: Vec<ItemHash>,
    /// `ref` of the originals.
    pub refs: Vec<String>,
    /// Tags of the latest versions.
    pub tags: Vec<String>,
    /// Labels.
    pub channels: Vec<String>,
    /// Earliest last update, inclusive.
    pub start: Option<Timestamp>,
    /// Latest last update, exclusive.
    pub end: Option<Timestamp>,
    /// Direction.
    pub order: SortOrder,
}

impl PostFilter {
    pub(crate) fn to_query(&self) -> Vec<Pair> {
        let mut query = Vec::new();
        push_list(&mut query, "types", &self.types);
        push_list(&mut query, "addresses", &self.owners);
        push_list(&mut query, "hashes", &self.hashes);
        push_list(&mut query, "refs", &self.refs);
        push_list(&mut query, "tags", &self.tags);
        push_list(&mut query, "channels", &self.channels);
        push_time(&mut query, "startDate", self.start);
        push_time(&mut query, "endDate", self.end);
        if self.order != SortOrder::default() {
            query.push(("sortOrder", self.order.as_query()));
        }
        query
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_use_the_names_of_the_api() {
        let filter = MessageFilter {
            types: vec![MessageType::Post, MessageType::VProgram],
            owners: vec![Address::from("0xA"), Address::from("0xB")],
            content_types: vec!["note".into()],
            start: Some(Timestamp::from_micros(1_714_564_800_250_000)),
            order: SortOrder::OldestFirst,
            ..MessageFilter::default()
        };
        let expected = [
            ("msgTypes", "POST,V-PROGRAM"),
            ("owners", "0xA,0xB"),
            ("contentTypes", "note"),
            ("startDate", "1714564800.25"),
            ("sortOrder", "1"),
        ];
        let query = filter.to_query();
        let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(query, expected);
        assert!(MessageFilter::default().to_query().is_empty());
        assert!(PostFilter::default().to_query().is_empty());
    }
}
