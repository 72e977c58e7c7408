//! Signed messages that build on each other: posts, documents that several write to, and forgets.

use std::collections::VecDeque;

use aleph_sdk::{Account, MessageBuilder};
use aleph_types::{Chain, ItemHash, MessageType};
use serde_json::{Value, json};

use crate::WeatherError;
use crate::sky::next;

/// Who publishes.
const AUTHORS: u8 = 12;
/// Documents of each author.
const KEYS: u64 = 3;
/// A post is forgotten after so many later ones at the earliest.
const FORGET_AFTER: usize = 200;

/// One message on its way to a node.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) hash: String,
    /// Body of `POST /api/v0/messages`.
    pub(crate) body: String,
}

/// Writes letters, each another one.
#[derive(Debug)]
pub(crate) struct Author {
    accounts: Vec<Account>,
    number: u64,
    dice: u64,
    posts: VecDeque<(usize, ItemHash)>,
}

impl Author {
    pub(crate) fn new(seed: u64) -> Result<Self, WeatherError> {
        let accounts =
            (1..=AUTHORS).map(|byte| Account::from_secret(Chain::Eth, &[byte; 32])).collect::<Result<_, _>>();
        let accounts = accounts.map_err(|error| WeatherError::Broken(format!("no key: {error}")))?;
        Ok(Self { accounts, number: 0, dice: seed, posts: VecDeque::new() })
    }

    /// The next letter: of twenty about fifteen are posts, four change a document, one forgets.
    pub(crate) fn write(&mut self) -> Result<Letter, WeatherError> {
        self.number += 1;
        let (number, kind) = (self.number, next(&mut self.dice) % 20);
        let author = (next(&mut self.dice) % u64::from(AUTHORS)) as usize;
        if kind == 0
            && self.posts.len() > FORGET_AFTER
            && let Some((author, target)) = self.posts.pop_front()
        {
            return self.letter(author, MessageType::Forget, json!({ "hashes": [target], "reason": "" }));
        }
        if kind <= 4 {
            let key = next(&mut self.dice) % KEYS;
            let field = next(&mut self.dice) % 16;
            let content = json!({ "key": format!("k{key}"), "content": { format!("f{field}"): number } });
            return self.letter(author, MessageType::Aggregate, content);
        }
        let text = "weather ".repeat(40);
        let content = json!({ "type": "note", "content": { "n": number, "text": text } });
        let letter = self.letter(author, MessageType::Post, content)?;
        if let Ok(hash) = ItemHash::parse(&letter.hash) {
            self.posts.push_back((author, hash));
        }
        Ok(letter)
    }

    fn letter(
        &self,
        author: usize,
        message_type: MessageType,
        content: Value,
    ) -> Result<Letter, WeatherError> {
        let Value::Object(content) = content else {
            return Err(WeatherError::Broken("no message: its content is no object".to_owned()));
        };
        let account = &self.accounts[author];
        let message = MessageBuilder::custom(message_type, content)
            .channel("WEATHER")
            .build(account)
            .and_then(|unsigned| unsigned.sign(account))
            .map_err(|error| WeatherError::Broken(format!("no message: {error}")))?;
        let body = json!({ "message": message.to_wire(), "sync": false }).to_string();
        Ok(Letter { hash: message.item_hash.as_str().to_owned(), body })
    }
}
