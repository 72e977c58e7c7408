//! Pages: by number and by cursor (`spec: ccn-api.md §1.3`), written piece by piece so that a request for
//! everything needs no more memory than one for a page.

use std::future::Future;

use aleph_store::queries::Start;
use aleph_types::{ItemHash, Timestamp};
use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::errors::{ApiError, json_answer};
use super::json::Object;
use super::params::{Names, Params};

/// Rows that are read and written at once.
const PIECE: u64 = 500;

/// Largest page in cursor mode.
const CURSOR_PAGE: u64 = 200;

const PER_PAGE: Names = &["pagination"];
const PAGE: Names = &["page"];
const CURSOR: Names = &["cursor"];

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Paging {
    /// `per_page` 0 means all.
    Page { per_page: u64, page: u64 },
    /// `after` is `None` at the start.
    Cursor { per_page: u64, after: Option<Cursor> },
}

impl Paging {
    /// Reads `pagination`, `page` and `cursor`.
    pub(super) fn read(params: &mut Params, default: u64, least: u64, most: u64) -> Result<Self, ApiError> {
        let per_page = params.bounded_integer(PER_PAGE, default, least, most);
        let page = params.integer(PAGE, 1, 1);
        let Some(cursor) = params.text(CURSOR) else {
            return Ok(Self::Page { per_page, page });
        };
        if per_page == 0 {
            return Err(ApiError::unprocessable("pagination=0 is not allowed with cursor-based pagination"));
        }
        let after = if cursor.is_empty() { None } else { Some(Cursor::decode(&cursor)?) };
        Ok(Self::Cursor { per_page: per_page.min(CURSOR_PAGE), after })
    }

    /// The same with the page number from the path.
    pub(super) fn at_page(mut self, number: Option<u64>) -> Self {
        if let (Self::Page { page, .. }, Some(number)) = (&mut self, number) {
            *page = number;
        }
        self
    }

    /// Where a list by time and hash starts.
    pub(super) fn start(&self) -> Result<Start, ApiError> {
        match self {
            Self::Page { .. } => Ok(Start::Offset(self.offset())),
            Self::Cursor { after: None, .. } => Ok(Start::Offset(0)),
            Self::Cursor { after: Some(cursor), .. } => {
                Ok(Start::After(cursor.time("t")?, cursor.hash("h")?))
            }
        }
    }

    /// Rows before the page.
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Page { per_page, page } => (page - 1).saturating_mul(*per_page),
            Self::Cursor { .. } => 0,
        }
    }

    /// Rows of the page; `None` means all.
    pub(super) fn size(&self) -> Option<u64> {
        match self {
            Self::Page { per_page: 0, .. } => None,
            Self::Page { per_page, .. } | Self::Cursor { per_page, .. } => Some(*per_page),
        }
    }
}

/// A decoded cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor(Map<String, Value>);

impl Cursor {
    pub(super) fn decode(text: &str) -> Result<Self, ApiError> {
        let invalid = || ApiError::unprocessable("Invalid cursor: it is none that this API gave");
        let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|_| invalid())?;
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            _ => Err(invalid()),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<&str, ApiError> {
        match self.0.get(key) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => Err(ApiError::unprocessable("Invalid cursor: a field has the wrong type")),
            None => Err(ApiError::unprocessable("Invalid cursor: missing required fields")),
        }
    }

    pub(super) fn number(&self, key: &str) -> Result<u64, ApiError> {
        match self.0.get(key) {
            Some(value) => value
                .as_u64()
                .ok_or_else(|| ApiError::unprocessable("Invalid cursor: a field has the wrong type")),
            None => Err(ApiError::unprocessable("Invalid cursor: missing required fields")),
        }
    }

    pub(super) fn integer(&self, key: &str) -> Result<i64, ApiError> {
        let wrong = || ApiError::unprocessable("Invalid cursor: a field has the wrong type");
        self.value(key)?.as_i64().ok_or_else(wrong)
    }

    /// A field of any type.
    pub(super) fn value(&self, key: &str) -> Result<&Value, ApiError> {
        self.0.get(key).ok_or_else(|| ApiError::unprocessable("Invalid cursor: missing required fields"))
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn time(&self, key: &str) -> Result<Timestamp, ApiError> {
        parse_iso(self.text(key)?)
            .ok_or_else(|| ApiError::unprocessable("Invalid cursor: a field holds no time"))
    }

    fn hash(&self, key: &str) -> Result<ItemHash, ApiError> {
        ItemHash::recognise(self.text(key)?)
            .map_err(|_| ApiError::unprocessable("Invalid cursor: a field holds no item hash"))
    }

    /// The text of a cursor; `fields` must name its keys in sorted order.
    pub(super) fn encode(fields: &Value) -> String {
        URL_SAFE_NO_PAD.encode(fields.to_string())
    }

    /// The cursor of lists by time and hash.
    pub(super) fn of(time: Timestamp, hash: &str) -> String {
        Self::encode(&json!({ "h": hash, "t": time.iso_offset().to_string() }))
    }
}

/// An ISO 8601 time with its zone.
fn parse_iso(text: &str) -> Option<Timestamp> {
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_micros(time.as_microsecond()))
}

/// Text that gets a short beginning at last, without a copy.
#[derive(Debug)]
pub(super) struct Written(Vec<u8>);

impl Written {
    /// Bytes that a beginning may take.
    const ROOM: usize = 32;

    fn with_capacity(bytes: usize) -> Self {
        let mut text = Vec::with_capacity(bytes);
        text.resize(Self::ROOM, b' ');
        Self(text)
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.0[Self::ROOM..]
    }

    fn push_comma(&mut self) {
        if self.0.len() > Self::ROOM {
            self.0.push(b',');
        }
    }

    /// `{"<item>":[` and the text; what follows is to be written behind it. Gives where the whole begins.
    fn begun_as_list(mut self, item: &str) -> (Vec<u8>, usize) {
        let head = format!("{{\"{item}\":[");
        let begin = Self::ROOM.saturating_sub(head.len());
        self.0.splice(begin..Self::ROOM, head.bytes());
        (self.0, begin)
    }
}

/// Some rows of a list, written.
pub(super) struct Piece<C> {
    /// The rows as JSON, each after the first with a comma before it.
    pub(super) json: Written,
    /// How many.
    pub(super) rows: u64,
    /// Where the rows after them start; `None` for no row.
    pub(super) last: Option<C>,
}

/// Bytes of a row that room is made for.
const ROW: usize = 1_200;

impl<C> Piece<C> {
    /// Writes rows; `place` says where the list goes on after the last.
    pub(super) fn of<T>(
        rows: &[T],
        mut write: impl FnMut(&mut Vec<u8>, &T),
        place: impl Fn(&T) -> C,
    ) -> Self {
        let mut json = Written::with_capacity(Written::ROOM + 300 + rows.len() * ROW);
        for row in rows {
            json.push_comma();
            write(&mut json.0, row);
        }
        Self { json, rows: rows.len() as u64, last: rows.last().map(place) }
    }
}

/// Rows of a list by time and hash, written one by one while they are read.
#[derive(Debug)]
pub(super) struct Rows {
    json: Written,
    rows: u64,
    most: u64,
    last: Option<Timestamp>,
    last_hash: String,
    /// Whether more than `most` came; they are not written.
    pub(super) more: bool,
}

impl Rows {
    pub(super) fn new(most: u64) -> Self {
        let expected = usize::try_from(most.min(PIECE)).unwrap_or_default();
        let json = Written::with_capacity(Written::ROOM + 300 + expected * ROW);
        Self { json, rows: 0, most, last: None, last_hash: String::new(), more: false }
    }

    /// The row with this time and hash.
    pub(super) fn add(&mut self, time: Timestamp, hash: &str, write: impl FnOnce(&mut Vec<u8>)) {
        if self.rows == self.most {
            self.more = true;
            return;
        }
        self.json.push_comma();
        write(&mut self.json.0);
        self.rows += 1;
        self.last = Some(time);
        self.last_hash.clear();
        self.last_hash.push_str(hash);
    }

    /// How many were written.
    pub(super) fn len(&self) -> u64 {
        self.rows
    }

    /// `place` says where the list goes on after the row with this time and hash.
    pub(super) fn into_piece<C>(
        self,
        place: impl FnOnce(Timestamp, &str) -> Result<C, ApiError>,
    ) -> Result<Piece<C>, ApiError> {
        let Self { json, rows, last, last_hash, .. } = self;
        let last = last.map(|time| place(time, &last_hash)).transpose()?;
        Ok(Piece { json, rows, last })
    }

    /// The same as a page by cursor.
    pub(super) fn into_page(self, item: &'static str, per_page: u64) -> Response {
        let next = self.last.filter(|_| self.more).map(|time| Cursor::of(time, &self.last_hash));
        by_cursor(item, per_page, self.json, next.as_deref(), |_| ())
    }
}

/// Where a list goes on after the row with this time and hash.
pub(super) fn after(time: Timestamp, hash: &str) -> Result<Start, ApiError> {
    let hash = ItemHash::recognise(hash).map_err(|error| ApiError::internal(&error))?;
    Ok(Start::After(time, hash))
}

/// The total that a page shows: what the page itself proves, else what `count` says.
pub(super) async fn total(
    paging: &Paging,
    rows: u64,
    count: impl Future<Output = Result<u64, ApiError>>,
) -> Result<u64, ApiError> {
    match *paging {
        Paging::Page { per_page, page } if per_page > 0 && rows < per_page && (rows > 0 || page == 1) => {
            Ok((page - 1).saturating_mul(per_page).saturating_add(rows))
        }
        _ => count.await,
    }
}

/// The answer to a request for a page by number: `{"<item>":[…],"pagination_…"}`.
///
/// `fetch` writes the rows from a place on, at most so many. Large pages are streamed.
pub(super) async fn numbered<C, F, Fut>(
    item: &'static str,
    paging: &Paging,
    first: C,
    fetch: F,
    count: impl Future<Output = Result<u64, ApiError>>,
) -> Result<Response, ApiError>
where
    C: Send + 'static,
    F: Fn(C, u64) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Piece<C>, ApiError>> + Send + 'static,
{
    let (per_page, page) = match *paging {
        Paging::Page { per_page, page } => (per_page, page),
        Paging::Cursor { per_page, .. } => (per_page, 1),
    };
    let wanted = if per_page == 0 { u64::MAX } else { per_page };
    let limit = wanted.min(PIECE);
    let piece = fetch(first, limit).await?;
    let complete = piece.rows == wanted || piece.rows < limit;
    let total = if complete { total(paging, piece.rows, count).await? } else { count.await? };

    let (mut text, begin) = piece.json.begun_as_list(item);
    let mut tail = b"],".to_vec();
    let mut fields = Vec::new();
    let mut object = Object::new(&mut fields);
    object.number("pagination_per_page", per_page).number("pagination_page", page);
    object.number("pagination_total", total).text("pagination_item", item).end();
    tail.extend_from_slice(&fields[1..]);

    let Some(place) = piece.last.filter(|_| !complete) else {
        text.extend_from_slice(&tail);
        return Ok(json_answer(StatusCode::OK, Bytes::from(text).slice(begin..)));
    };
    let remaining = wanted - piece.rows;
    let text = Bytes::from(text).slice(begin..);
    let first = futures_util::stream::once(async move { Ok::<_, std::io::Error>(text) });
    let rest = futures_util::stream::try_unfold(Some((place, remaining, fetch, tail)), |state| async move {
        let Some((place, remaining, fetch, tail)) = state else {
            return Ok(None);
        };
        let limit = remaining.min(PIECE);
        // A failure half-way can only cut the answer short.
        let piece = fetch(place, limit)
            .await
            .map_err(|error| std::io::Error::other(format!("the list broke off: {error:?}")))?;
        let mut json = Vec::with_capacity(piece.json.as_slice().len() + 1 + tail.len());
        if piece.rows > 0 {
            json.push(b',');
        }
        json.extend_from_slice(piece.json.as_slice());
        let next = match piece.last {
            Some(place) if piece.rows == limit && remaining > piece.rows => {
                Some((place, remaining - piece.rows, fetch, tail))
            }
            _ => {
                json.extend_from_slice(&tail);
                None
            }
        };
        Ok::<_, std::io::Error>(Some((Bytes::from(json), next)))
    });
    let body = Body::from_stream(futures_util::StreamExt::chain(first, rest));
    Ok(json_answer(StatusCode::OK, body))
}

/// The answer to a request for a page by cursor: `{"<item>":[…],"pagination_per_page":n,"next_cursor":…}`,
/// with `extra` fields of the route.
pub(super) fn by_cursor(
    item: &'static str,
    per_page: u64,
    rows: Written,
    next: Option<&str>,
    extra: impl FnOnce(&mut Object<'_>),
) -> Response {
    let (mut text, begin) = rows.begun_as_list(item);
    text.push(b']');
    let mut object = Object::going_on(&mut text);
    extra(&mut object);
    object.number("pagination_per_page", per_page).optional_text("next_cursor", next).end();
    json_answer(StatusCode::OK, Bytes::from(text).slice(begin..))
}

/// The page number in a path such as `3.json`.
pub(super) fn page_of_path(file: &str) -> Result<u64, ApiError> {
    let text = file.strip_suffix(".json").ok_or_else(ApiError::not_found)?;
    match text.trim().parse::<i64>() {
        Ok(number) if number >= 1 => Ok(number.unsigned_abs()),
        Ok(_) => Err(ApiError::unprocessable("Page number must be greater than 1.")),
        Err(_) => Err(ApiError::text(StatusCode::BAD_REQUEST, format!("Invalid page value in path: {text}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_those_of_the_reference() {
        let hash = ItemHash::parse(&"ab".repeat(32)).unwrap();
        let time = Timestamp::from_micros(1_714_564_800_250_000);
        let text = "eyJoIjoiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYmFiYWJhYiIsInQi\
                    OiIyMDI0LTA1LTAxVDEyOjAwOjAwLjI1MDAwMCswMDowMCJ9";
        assert_eq!(Cursor::of(time, hash.as_str()), text);
        let paging = Paging::Cursor { per_page: 20, after: Some(Cursor::decode(text).unwrap()) };
        assert_eq!(paging.start().unwrap(), Start::After(time, hash));
    }

    #[test]
    fn foreign_cursors_are_refused() {
        for text in ["!", "bm9wZQ", "WzFd"] {
            assert!(Cursor::decode(text).is_err(), "{text}");
        }
        for fields in [json!({}), json!({"t": 1, "h": "x"}), json!({"h": "x", "t": "yesterday"})] {
            let after = Some(Cursor::decode(&Cursor::encode(&fields)).unwrap());
            assert!(Paging::Cursor { per_page: 1, after }.start().is_err(), "{fields}");
        }
    }

    #[tokio::test]
    async fn rows_get_their_frame() {
        async fn text(response: Response) -> String {
            let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
            String::from_utf8(bytes.into()).unwrap()
        }
        let rows = |most| {
            let mut rows = Rows::new(most);
            for (time, hash) in [(1, "a"), (2, "b"), (3, "c")] {
                rows.add(Timestamp::from_secs(time), hash, |out| out.extend_from_slice(hash.as_bytes()));
            }
            rows
        };
        let cursor = Cursor::of(Timestamp::from_secs(2), "b");
        let page = format!("{{\"x\":[a,b],\"pagination_per_page\":2,\"next_cursor\":\"{cursor}\"}}");
        assert_eq!(text(rows(2).into_page("x", 2)).await, page);
        let page = r#"{"x":[a,b,c],"pagination_per_page":3,"next_cursor":null}"#;
        assert_eq!(text(rows(3).into_page("x", 3)).await, page);
        assert_eq!(
            text(Rows::new(1).into_page("a name that is longer than the room before it", 1)).await,
            r#"{"a name that is longer than the room before it":[],"pagination_per_page":1,"next_cursor":null}"#
        );
        let paging = Paging::Page { per_page: 3, page: 2 };
        let fetch = move |_: u64, most: u64| async move { rows(most).into_piece(|_, _| Ok(0)) };
        let page = numbered("x", &paging, 3, fetch, async { Ok(9) }).await.unwrap();
        assert_eq!(
            text(page).await,
            r#"{"x":[a,b,c],"pagination_per_page":3,"pagination_page":2,"pagination_total":9,"pagination_item":"x"}"#
        );
    }

    #[test]
    fn pages_by_number() {
        let mut params = Params::read(Some("pagination=50&page=3"));
        let paging = Paging::read(&mut params, 20, 0, u64::MAX).unwrap();
        assert_eq!((paging.offset(), paging.size()), (100, Some(50)));
        let mut params = Params::read(Some("pagination=0&page=3"));
        let paging = Paging::read(&mut params, 20, 0, u64::MAX).unwrap();
        assert_eq!((paging.offset(), paging.size()), (0, None));
        assert!(Paging::read(&mut Params::read(Some("pagination=0&cursor=")), 20, 0, u64::MAX).is_err());
        let capped =
            Paging::read(&mut Params::read(Some("pagination=900&cursor=")), 20, 0, u64::MAX).unwrap();
        assert_eq!(capped, Paging::Cursor { per_page: 200, after: None });
        assert_eq!(page_of_path("7.json").unwrap(), 7);
        assert!(page_of_path("0.json").is_err());
        assert!(page_of_path("abc.json").is_err());
    }
}
