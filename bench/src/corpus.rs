//! Messages as a network has them, made before the clock starts.
//!
//! Message number `n` is a function of `n` and of the [`Recipe`]: the same every time, distinct from every
//! other, without a list of what was made before. Senders, channels, types and keys are drawn so that few
//! are frequent and many are rare, as on the network; times grow with the number, each moved by up to an
//! hour.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use aleph_crypto::SigningKey;
use aleph_types::content::PostContent;
use aleph_types::{Address, Chain, Channel, ItemHash, ItemType, Message, MessageType, Signature, Timestamp};
use anyhow::Result;
use serde_json::json;

/// Rises when the same recipe makes other messages: what is cached is made anew.
const VERSION: u32 = 2;

/// Different senders.
const SENDERS: usize = 20_000;

/// Different channels, types of posts, and owners and keys of aggregates.
const CHANNELS: usize = 100;
const POST_TYPES: usize = 200;
const AGGREGATE_OWNERS: usize = 200;
const AGGREGATE_KEYS: usize = 20;
const AGGREGATE_FIELDS: usize = 40;

/// Files that STORE messages name.
pub(crate) const FILES: usize = 1_000;

/// Time of the first message, and seconds to the next: a million span three years.
const FIRST_TIME: f64 = 1_672_531_200.0;
const SECONDS_BETWEEN: f64 = 90.0;

/// Messages made at a time.
const CHUNK: usize = 20_000;

/// Which messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipe {
    /// Number of the first.
    pub(crate) first: usize,
    /// How many.
    pub(crate) count: usize,
    /// 70 % posts (one in 14 an amend), 15 % aggregates, 10 % stores, 5 % forgets; else new posts only.
    pub(crate) mix: bool,
    /// Whose keys sign.
    pub(crate) chain: Chain,
    /// Signed, or with a signature of the right length only (for trusted origins).
    pub(crate) signed: bool,
}

/// What a message is, without its envelope.
struct Draft {
    message_type: MessageType,
    sender: usize,
    channel: Option<usize>,
    text: String,
    time: f64,
}

/// A sequence of numbers that depends on its seed only (splitmix64).
pub(crate) struct Draws(u64);

impl Draws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to below `count`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        (self.unit() * count as f64) as usize
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1.
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Below `count`; the chance of `n` falls like 1/n.
    fn rank(&mut self, count: usize) -> usize {
        ((count as f64).powf(self.unit()) as usize).min(count) - 1
    }
}

/// The keys of all senders.
pub(crate) struct Keys(Vec<SigningKey>);

impl Keys {
    pub(crate) fn new(chain: Chain) -> Result<Self> {
        let keys = in_parallel(0, SENDERS, |index| {
            let mut secret = [7u8; 32];
            secret[..8].copy_from_slice(&(index as u64 + 1).to_be_bytes());
            Ok(SigningKey::for_chain(chain, secret)?)
        })?;
        Ok(Self(keys))
    }

    pub(crate) fn key(&self, rank: usize) -> &SigningKey {
        &self.0[rank]
    }
}

/// The content of file number `index`.
pub(crate) fn file(index: usize) -> Vec<u8> {
    format!("file {index} of the benchmark").into_bytes()
}

/// About the time of message `number`.
pub(crate) fn time_of(number: usize) -> f64 {
    FIRST_TIME + number as f64 * SECONDS_BETWEEN
}

impl Recipe {
    /// The messages as JSON envelopes, one a line, in a file of `cache`: made once.
    pub(crate) fn cached(&self, cache: &Path) -> Result<PathBuf> {
        let Self { first, count, mix, chain, signed } = self;
        let name = format!("corpus-v{VERSION}-{chain}-{first}-{count}-{mix}-{signed}.jsonl");
        let path = cache.join(name);
        if path.exists() {
            return Ok(path);
        }
        fs::create_dir_all(cache)?;
        let keys = Keys::new(self.chain)?;
        let unfinished = path.with_extension("part");
        let mut out = BufWriter::new(fs::File::create(&unfinished)?);
        for start in (0..self.count).step_by(CHUNK) {
            let chunk = CHUNK.min(self.count - start);
            for message in self.messages(&keys, start, chunk)? {
                serde_json::to_writer(&mut out, &message.to_wire())?;
                out.write_all(b"\n")?;
            }
        }
        out.into_inner().map_err(|error| error.into_error())?.sync_all()?;
        fs::rename(unfinished, &path)?;
        Ok(path)
    }

    /// Messages `start` to `start + count` of the recipe.
    pub(crate) fn messages(&self, keys: &Keys, start: usize, count: usize) -> Result<Vec<Message>> {
        in_parallel(self.first + start, count, |number| self.message(keys, number))
    }

    fn message(&self, keys: &Keys, number: usize) -> Result<Message> {
        let draft = self.draft(keys, number);
        envelope(
            keys.key(draft.sender),
            draft.message_type,
            draft.text,
            draft.time,
            draft.channel.map(|channel| Channel::from(format!("channel-{channel}"))),
            self.signed,
        )
    }

    fn draft(&self, keys: &Keys, number: usize) -> Draft {
        let mut draws = Draws(number as u64);
        let time = FIRST_TIME + number as f64 * SECONDS_BETWEEN + (draws.unit() - 0.5) * 7200.0;
        let channel = (draws.unit() > 0.2).then(|| draws.rank(CHANNELS));
        let sender = draws.rank(SENDERS);
        // What is amended or forgotten came a while before, and is a post in any mix.
        let amended = number.checked_sub(12 + 20 * 50).filter(|target| *target >= self.first);
        let forgotten = number.checked_sub(19 + 20 * 100).filter(|target| *target >= self.first);
        let address = |rank: usize| keys.key(rank).address();
        match (self.mix, number % 20, amended, forgotten) {
            (true, 13, Some(target), _) => {
                let target = self.draft(keys, target);
                let content = json!({
                    "address": address(target.sender), "time": time, "type": PostContent::AMEND,
                    "ref": ItemHash::sha256(target.text.as_bytes()),
                    "content": { "number": number, "text": filler() },
                });
                let (sender, channel) = (target.sender, target.channel);
                Draft { message_type: MessageType::Post, sender, channel, text: content.to_string(), time }
            }
            (true, 14..=16, _, _) => {
                let sender = draws.rank(AGGREGATE_OWNERS);
                let key = draws.rank(AGGREGATE_KEYS);
                let mut fields = serde_json::Map::new();
                for _ in 0..3 {
                    let value = json!({ "number": number, "text": &filler()[..filler().len() / 3] });
                    fields.insert(format!("field-{}", draws.rank(AGGREGATE_FIELDS)), value);
                }
                let content = json!({
                    "address": address(sender), "time": time, "key": format!("key-{key}"),
                    "content": fields,
                });
                let message_type = MessageType::Aggregate;
                Draft { message_type, sender, channel, text: content.to_string(), time }
            }
            (true, 17 | 18, _, _) => {
                let named = draws.rank(FILES);
                let content = json!({
                    "address": address(sender), "time": time, "item_type": "storage",
                    "item_hash": ItemHash::sha256(&file(named)), "number": number,
                });
                Draft { message_type: MessageType::Store, sender, channel, text: content.to_string(), time }
            }
            (true, 19, _, Some(target)) => {
                let target = self.draft(keys, target);
                let content = json!({
                    "address": address(target.sender), "time": time,
                    "hashes": [ItemHash::sha256(target.text.as_bytes())], "reason": "benchmark",
                });
                let (sender, message_type) = (target.sender, MessageType::Forget);
                Draft { message_type, sender, channel, text: content.to_string(), time }
            }
            _ => {
                let mut content = json!({
                    "address": address(sender), "time": time,
                    "type": format!("type-{}", draws.rank(POST_TYPES)),
                    "content": { "number": number, "text": filler() },
                });
                if draws.unit() < 0.1 {
                    content["ref"] = format!("thread-{}", draws.rank(SENDERS)).into();
                }
                Draft { message_type: MessageType::Post, sender, channel, text: content.to_string(), time }
            }
        }
    }
}

/// An inline message of `key` around the content `text`.
pub(crate) fn envelope(
    key: &SigningKey,
    message_type: MessageType,
    text: String,
    time: f64,
    channel: Option<Channel>,
    signed: bool,
) -> Result<Message> {
    let mut message = Message {
        item_hash: ItemHash::sha256(text.as_bytes()),
        message_type,
        chain: key.chain(),
        sender: Address::from(key.address().as_str()),
        signature: None,
        item_type: ItemType::Inline,
        item_content: Some(text.into()),
        time: Timestamp::from_secs_f64(time)?,
        channel,
    };
    message.signature = Some(if signed {
        key.sign_message(&message)
    } else {
        let hash = message.item_hash.as_str();
        Signature::from(format!("0x{hash}{hash}1b"))
    });
    Ok(message)
}

fn filler() -> &'static str {
    "lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor incididunt ut labore et \
     dolore magna aliqua ut enim ad minim veniam quis nostrud exercitation ullamco laboris nisi ut aliquip \
     ex ea commodo consequat duis aute irure dolor in reprehenderit in voluptate velit esse cillum dolore \
     eu fugiat nulla pariatur excepteur sint occaecat cupidatat non proident sunt in culpa qui officia \
     deserunt mollit anim id est laborum lorem ipsum dolor sit amet consectetur adipiscing elit sed do"
}

/// `count` inline POSTs of about 1 KB, as JSON envelopes.
pub(crate) fn posts(count: usize) -> Result<Vec<Vec<u8>>> {
    let recipe = Recipe { first: 0, count, mix: false, chain: Chain::Eth, signed: true };
    let keys = Keys::new(recipe.chain)?;
    recipe
        .messages(&keys, 0, count)?
        .iter()
        .map(|message| Ok(serde_json::to_vec(&message.to_wire())?))
        .collect()
}

/// `make(first)` to `make(first + count - 1)`, on all cores, in order.
fn in_parallel<T: Send>(
    first: usize,
    count: usize,
    make: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = count.div_ceil(threads).max(1);
    let mut all = Vec::with_capacity(count);
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|thread| {
                let make = &make;
                scope.spawn(move || {
                    (thread * share..((thread + 1) * share).min(count))
                        .map(|index| make(first + index))
                        .collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        for part in parts {
            match part.join() {
                Ok(made) => all.extend(made?),
                Err(_) => anyhow::bail!("a thread that makes messages panicked"),
            }
        }
        Ok(())
    })?;
    Ok(all)
}
