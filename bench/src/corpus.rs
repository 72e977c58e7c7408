//! Signed messages, made before the clock starts.

use aleph_crypto::EvmKey;
use aleph_types::{Address, Chain, Channel, ItemHash, ItemType, Message, MessageType, Timestamp};
use anyhow::Result;

/// Different senders.
const SENDERS: usize = 500;

/// `count` inline POSTs of about 1 KB, as JSON envelopes.
pub(crate) fn posts(count: usize) -> Result<Vec<Vec<u8>>> {
    let keys = (0..SENDERS)
        .map(|index| {
            let mut secret = [7u8; 32];
            secret[..8].copy_from_slice(&(index as u64 + 1).to_be_bytes());
            EvmKey::from_bytes(secret)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let padding = "lorem ipsum dolor sit amet ".repeat(20);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = count.div_ceil(threads);
    let mut all = Vec::with_capacity(count);
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|thread| {
                let (keys, padding) = (&keys, &padding);
                scope.spawn(move || {
                    (thread * share..((thread + 1) * share).min(count))
                        .map(|index| post(&keys[index % SENDERS], index, padding))
                        .collect::<Result<Vec<_>>>()
                })
            })
            .collect();
        for part in parts {
            match part.join() {
                Ok(messages) => all.extend(messages?),
                Err(_) => anyhow::bail!("a signing thread panicked"),
            }
        }
        Ok(())
    })?;
    Ok(all)
}

fn post(key: &EvmKey, index: usize, padding: &str) -> Result<Vec<u8>> {
    let sender = Address::from(key.address().to_string());
    let time = 1_750_000_000.0 + index as f64 / 100.0;
    let text = serde_json::json!({
        "address": sender, "time": time, "type": format!("bench-{}", index % 20),
        "content": { "number": index, "text": padding },
    })
    .to_string();
    let mut message = Message {
        item_hash: ItemHash::sha256(text.as_bytes()),
        message_type: MessageType::Post,
        chain: Chain::Eth,
        sender,
        signature: None,
        item_type: ItemType::Inline,
        item_content: Some(text.into()),
        time: Timestamp::from_secs_f64(time)?,
        channel: Some(Channel::from(format!("channel-{}", index % 10))),
    };
    message.signature = Some(key.sign_message(&message));
    Ok(serde_json::to_vec(&message.to_wire())?)
}
