//! What lying peers make of what they send.

use aleph_ccn::stepped::SteppedNode;
use aleph_types::MessageType;
use serde_json::{Value, json};

use crate::dice::Dice;
use crate::history::{BEGINNING, signed, stranger};
use crate::world::Packet;

/// A lie in the place of `packet`.
pub(crate) fn lie(packet: Packet, dice: &mut Dice) -> Packet {
    match packet {
        Packet::Gossip(payload) => Packet::Gossip(damaged(payload.to_vec(), dice).into()),
        Packet::Frame { talk, frame } => Packet::Frame { talk, frame: damaged(frame, dice) },
        Packet::FrameAnswer { talk, frame } => Packet::FrameAnswer { talk, frame: damaged(frame, dice) },
        Packet::Parcel { talk, text } => Packet::Parcel { talk, text: parcel(&text, dice) },
        Packet::File(bytes) => Packet::File(damaged(bytes, dice)),
        // it asks for what nobody has
        Packet::Wanted { talk, .. } => Packet::Wanted { talk, elements: vec![[7; 32]; dice.roll(20)] },
        other @ Packet::FileWanted(_) => other,
    }
}

/// What no liar changes: no signature covers a channel, so of two copies with different ones nobody can tell
/// which is the author's, and the first one counts, as in the reference.
const UNSIGNED: &[u8] = br#""channel":"SIMULATION""#;

/// Bytes that were cut, changed or made up.
fn damaged(mut bytes: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    match dice.roll(4) {
        0 => bytes.truncate(bytes.len() / 2),
        1 => bytes = (0..dice.roll(200)).map(|_| dice.roll(256) as u8).collect(),
        _ => {
            let found = bytes.windows(UNSIGNED.len()).enumerate().filter(|(_, text)| *text == UNSIGNED);
            let spared: Vec<usize> = found.map(|(place, _)| place).collect();
            for _ in 0..1 + dice.roll(3) {
                if !bytes.is_empty() {
                    let place = dice.roll(bytes.len());
                    if spared.iter().any(|start| (*start..start + UNSIGNED.len()).contains(&place)) {
                        continue;
                    }
                    bytes[place] = bytes[place].wrapping_add(1 + dice.roll(255) as u8);
                }
            }
        }
    }
    bytes
}

/// Messages that were changed, left out, or said to be forgotten by somebody who may not forget them.
fn parcel(text: &str, dice: &mut Dice) -> String {
    match dice.roll(4) {
        0 => String::from_utf8_lossy(&damaged(text.as_bytes().to_vec(), dice)).into_owned(),
        1 => json!({ "messages": [], "forgotten": [], "forgets": [] }).to_string(),
        2 => {
            let mut told: Value = serde_json::from_str(text).unwrap_or_default();
            let keys = ["sender", "signature", "time", "type", "item_content"];
            for message in told["messages"].as_array_mut().into_iter().flatten() {
                let key = keys[dice.roll(keys.len())];
                message[key] = match &message[key] {
                    Value::String(text) => text.replacen(['1', 'a', 'e'], "7", 1).into(),
                    Value::Number(_) => json!(1_600_000_000),
                    _ => Value::from("x"),
                };
            }
            told.to_string()
        }
        _ => forged_tombstones(text),
    }
}

fn forged_tombstones(text: &str) -> String {
    let Some(key) = stranger() else { return text.to_owned() };
    let (mut forgotten, mut forgets) = (Vec::new(), Vec::new());
    for mut envelope in SteppedNode::envelopes(text) {
        let content = json!({ "hashes": [envelope.item_hash], "reason": "a lie" });
        let forget = signed(&key, MessageType::Forget, content, BEGINNING);
        envelope.item_content = None;
        let owner = envelope.sender.clone();
        forgotten.push(json!({ "envelope": envelope, "owner": owner, "forgotten_by": [forget.item_hash] }));
        forgets.push(serde_json::to_value(forget.to_wire()).unwrap_or_default());
    }
    json!({ "messages": [], "forgotten": forgotten, "forgets": forgets }).to_string()
}
