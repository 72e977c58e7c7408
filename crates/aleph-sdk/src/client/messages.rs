use aleph_types::{ItemHash, MessageStatus};
use serde::Deserialize;

use super::Client;
use crate::error::Result;
use crate::query::{CursorPage, MessageFilter, NumberedPage, PageRequest};
use crate::served::{MessageState, ServedMessage};

impl Client {
    /// The message and its status, or `None` when this node does not know it.
    pub async fn find_message(&self, hash: &ItemHash) -> Result<Option<MessageState>> {
        self.get_optional(&format!("/api/v0/messages/{hash}"), &[], "a message with its status").await
    }

    /// The message and its status.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) when this node does not know it.
    pub async fn message(&self, hash: &ItemHash) -> Result<MessageState> {
        self.find_message(hash).await?.ok_or_else(|| self.not_found("message", hash))
    }

    /// The status alone, or `None` when this node does not know the message.
    pub async fn message_status(&self, hash: &ItemHash) -> Result<Option<MessageStatus>> {
        #[derive(Deserialize)]
        struct Answer {
            status: MessageStatus,
        }
        let path = format!("/api/v0/messages/{hash}/status");
        let answer: Option<Answer> = self.get_optional(&path, &[], "a message's status").await?;
        Ok(answer.map(|answer| answer.status))
    }

    /// One page of messages, newest first unless the filter says otherwise.
    pub async fn messages(
        &self,
        filter: &MessageFilter,
        page: PageRequest,
    ) -> Result<NumberedPage<ServedMessage>> {
        #[derive(Deserialize)]
        struct Answer {
            messages: Vec<ServedMessage>,
            pagination_page: u64,
            pagination_per_page: u64,
            pagination_total: Option<u64>,
        }
        let mut query = filter.to_query();
        page.append(&mut query);
        let answer: Answer = self.get_json("/api/v0/messages.json", &query, "a page of messages").await?;
        Ok(NumberedPage {
            items: answer.messages,
            page: answer.pagination_page,
            per_page: answer.pagination_per_page,
            total: answer.pagination_total,
        })
    }

    /// The messages after `cursor`, at most `size` (a node caps it at 200); `None` starts at the beginning.
    ///
    /// Unlike numbered pages this neither repeats nor skips messages that arrive meanwhile.
    pub async fn messages_after(
        &self,
        filter: &MessageFilter,
        cursor: Option<&str>,
        size: u32,
    ) -> Result<CursorPage<ServedMessage>> {
        #[derive(Deserialize)]
        struct Answer {
            messages: Vec<ServedMessage>,
            next_cursor: Option<String>,
        }
        let mut query = filter.to_query();
        query.push(("cursor", cursor.unwrap_or_default().to_owned()));
        query.push(("pagination", size.to_string()));
        let answer: Answer = self.get_json("/api/v0/messages.json", &query, "a page of messages").await?;
        Ok(CursorPage { items: answer.messages, next: answer.next_cursor })
    }

    /// Every message that matches, up to `most`, page by page.
    pub async fn all_messages(&self, filter: &MessageFilter, most: usize) -> Result<Vec<ServedMessage>> {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        while found.len() < most {
            let size = (most - found.len()).min(200) as u32;
            let page = self.messages_after(filter, cursor.as_deref(), size).await?;
            found.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        found.truncate(most);
        Ok(found)
    }
}
