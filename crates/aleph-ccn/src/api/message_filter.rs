//! The filters of message lists and sockets (`spec: ccn-api.md §3.1`).

use aleph_store::queries::{MessageFilter, SkeletonFilter, SortOrder, StoredStatuses};
use aleph_types::{MessageStatus, MessageType};
use axum::http::StatusCode;

use super::errors::ApiError;
use super::message_json::ContentFormat;
use super::params::{Names, Params};

/// What a request for messages asks for, paging aside.
#[derive(Debug, Clone, Default)]
pub(super) struct MessageRequest {
    pub(super) filter: MessageFilter,
    pub(super) order: SortOrder,
    pub(super) by_confirmation: bool,
    pub(super) format: ContentFormat,
    /// Messages that are gone, if these are asked for.
    pub(super) gone: Option<MessageStatus>,
    /// Filters that gone messages can't be tested by.
    unsupported: Vec<&'static str>,
}

const REFS: Names = &["refs"];
const CONTENT_TYPES: Names = &["contentTypes", "content_types"];
const CONTENT_HASHES: Names = &["contentHashes", "content_hashes"];
const CONTENT_KEYS: Names = &["contentKeys", "content_keys"];
const TAGS: Names = &["tags"];
const START_BLOCK: Names = &["startBlock", "start_block"];
const END_BLOCK: Names = &["endBlock", "end_block"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SortBy {
    Time,
    Confirmation,
}

impl std::str::FromStr for SortBy {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "time" => Ok(SortBy::Time),
            "tx-time" => Ok(SortBy::Confirmation),
            _ => Err(()),
        }
    }
}

/// Whether `sortBy` asks for the order of confirmation.
pub(super) fn by_confirmation(params: &mut Params) -> bool {
    params.word::<SortBy>(&["sortBy", "sort_by"], "order: time, tx-time") == Some(SortBy::Confirmation)
}

impl MessageRequest {
    pub(super) fn read(params: &mut Params) -> Self {
        let mut request = Self::default();
        let by_confirmation = by_confirmation(params);
        request.order = params.sort_order(&["sortOrder", "sort_order"]);

        let one = params.word::<MessageType>(&["msgType", "message_type"], "message type");
        let many = params.words::<MessageType>(&["msgTypes", "message_types"], "message type");
        request.filter.types = match (one, many) {
            (None, many) => many,
            (Some(one), None) => Some(vec![one]),
            (Some(one), Some(many)) => Some(many.into_iter().filter(|word| *word == one).collect()),
        };
        let statuses = params.words::<MessageStatus>(&["msgStatuses", "message_statuses"], "message status");
        request.filter.senders = params.list(&["addresses"]);
        request.filter.owners = params.list(&["owners"]);
        request.filter.references = params.list(REFS);
        request.filter.content_hashes = params.hashes(CONTENT_HASHES);
        request.filter.content_keys = params.list(CONTENT_KEYS);
        request.filter.content_types = params.list(CONTENT_TYPES);
        request.filter.chains = params.words(&["chains"], "chain");
        request.filter.channels = params.list(&["channels"]);
        request.filter.tags = params.list(TAGS);
        request.filter.hashes = params.hashes(&["hashes"]);
        request.filter.payment_types = params.words(&["paymentTypes", "payment_types"], "payment type");
        (request.filter.start, request.filter.end) = params.dates();
        let start_block = params.integer(START_BLOCK, 0, 0);
        let end_block = params.integer(END_BLOCK, 0, 0);
        if start_block > 0 && end_block > 0 && end_block < start_block {
            params.conflict("end block cannot be lower than start block.");
        }
        let block = |height| Some(height).filter(|height| *height > 0);
        (request.filter.start_block, request.filter.end_block) = (block(start_block), block(end_block));
        request.by_confirmation = by_confirmation || start_block > 0 || end_block > 0;

        let excluded = params.flag(&["excludeContent", "exclude_content"], false);
        let otherwise = if excluded { ContentFormat::None } else { ContentFormat::Full };
        request.format = params
            .word(&["contentFormat", "content_format"], "content format: full, headers, none")
            .unwrap_or(otherwise);

        for names in [REFS, CONTENT_TYPES, CONTENT_HASHES, CONTENT_KEYS, TAGS] {
            if params.has(names) {
                request.unsupported.extend(names.first());
            }
        }
        if start_block > 0 {
            request.unsupported.push("startBlock");
        }
        if end_block > 0 {
            request.unsupported.push("endBlock");
        }
        if let Some(statuses) = statuses {
            request.filter.statuses = StoredStatuses {
                processed: statuses.contains(&MessageStatus::Processed),
                removing: statuses.contains(&MessageStatus::Removing),
            };
            let gone =
                |status: &&MessageStatus| matches!(status, MessageStatus::Forgotten | MessageStatus::Removed);
            request.gone = statuses.iter().find(gone).copied();
            if request.gone.is_some() && statuses.iter().any(|status| Some(*status) != request.gone) {
                // Told apart below, where the answer is 400.
                request.unsupported.insert(0, MIXED);
            }
        }
        request
    }

    /// The filter of a list of gone messages, after the checks that only these have.
    pub(super) fn gone_filter(
        &self,
        status: MessageStatus,
        with_cursor: bool,
    ) -> Result<SkeletonFilter, ApiError> {
        let refuse = |text: String| Err(ApiError::text(StatusCode::BAD_REQUEST, text));
        if self.unsupported.first() == Some(&MIXED) {
            return refuse("msgStatuses=forgotten/removed cannot be combined with other statuses".to_owned());
        }
        if with_cursor {
            return refuse(format!("Cursor pagination is not supported for {status} message queries"));
        }
        if !self.unsupported.is_empty() {
            let names = self.unsupported.join(", ");
            return refuse(format!("Filters not supported for {status} message queries: {names}"));
        }
        let filter = &self.filter;
        Ok(SkeletonFilter {
            status,
            types: filter.types.clone(),
            senders: filter.senders.clone(),
            owners: filter.owners.clone(),
            chains: filter.chains.clone(),
            channels: filter.channels.clone(),
            hashes: filter.hashes.clone(),
            payment_types: filter.payment_types.clone(),
            start: filter.start,
            end: filter.end,
        })
    }
}

/// Marks a list of statuses that mixes gone messages with others.
const MIXED: &str = "msgStatuses";

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<MessageRequest, ApiError> {
        let mut params = Params::read(Some(query));
        let request = MessageRequest::read(&mut params);
        params.finish().map(|()| request)
    }

    #[test]
    fn both_spellings_are_known() {
        let camel =
            read("msgTypes=POST,STORE&contentTypes=a&sortOrder=1&startDate=5&msgStatuses=processed").unwrap();
        let snake = read(
            "message_types=POST,STORE&content_types=a&sort_order=1&start_date=5&message_statuses=processed",
        )
        .unwrap();
        assert_eq!(camel.filter, snake.filter);
        assert_eq!(camel.order, SortOrder::Ascending);
        assert_eq!(camel.filter.types, Some(vec![MessageType::Post, MessageType::Store]));
    }

    #[test]
    fn one_type_and_many_must_both_hold() {
        let request = read("msgType=POST&msgTypes=STORE,POST").unwrap();
        assert_eq!(request.filter.types, Some(vec![MessageType::Post]));
        assert_eq!(read("msgType=POST&msgTypes=STORE").unwrap().filter.types, Some(vec![]));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for query in [
            "msgType=post",
            "chains=ETH,XYZ",
            "hashes=",
            "sortBy=size",
            "startDate=10&endDate=5",
            "startBlock=10&endBlock=5",
            "contentFormat=some",
            "msgStatuses=done",
        ] {
            assert!(read(query).is_err(), "{query}");
        }
        // Unknown parameters are not.
        assert!(read("limit=3&content.type=x&contentKeys=profile").is_ok());
    }

    #[test]
    fn formats() {
        assert_eq!(read("excludeContent=true").unwrap().format, ContentFormat::None);
        assert_eq!(read("excludeContent=true&contentFormat=headers").unwrap().format, ContentFormat::Headers);
    }

    #[test]
    fn gone_messages_know_fewer_filters() {
        let gone = |query: &str| {
            let request = read(query).unwrap();
            request.gone_filter(request.gone.unwrap(), query.contains("cursor"))
        };
        assert!(gone("msgStatuses=forgotten&addresses=a&startDate=5").is_ok());
        for query in [
            "msgStatuses=forgotten,processed",
            "msgStatuses=forgotten,removed",
            "msgStatuses=removed&refs=x",
            "msgStatuses=forgotten&startBlock=3",
            "msgStatuses=forgotten&cursor=",
        ] {
            assert!(gone(query).is_err(), "{query}");
        }
    }
}
