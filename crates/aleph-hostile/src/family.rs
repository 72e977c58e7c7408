//! Families of signatures: keys of our own, and where the bytes are in their texts.

use std::cell::RefCell;
use std::collections::HashMap;

use aleph_crypto::{Nuls2Network, NulsTemplate, SigningKey, TezosCurve, TezosPayload, check};
use aleph_types::{Chain, ItemHash, ItemType, Message, MessageType, SignatureFamily, Timestamp};

use crate::codec::Codec;
use crate::script::Script;

/// Seconds of the envelope, of which wallets of Tezos sign the milliseconds.
const TIMES: [i64; 4] = [1_663_944_079_029_400, 0, -1, 253_402_300_799_999_999];
const SECRETS: usize = 2;
const CONTENTS: usize = 2;

/// What is fuzzed together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Family {
    kind: SignatureFamily,
    /// Where a signature holds bytes: the way inside of its JSON, `""` for the text itself.
    pub(crate) parts: &'static [(&'static str, Codec)],
    /// How an address holds bytes, where there is more to it than its text.
    pub(crate) address: Option<Codec>,
}

pub(crate) const EVM: Family = Family {
    kind: SignatureFamily::Evm,
    parts: &[("", Codec::PrefixedHex)],
    address: Some(Codec::PrefixedHex),
};
pub(crate) const SOLANA: Family = Family {
    kind: SignatureFamily::Solana,
    parts: &[("/signature", Codec::Base58), ("/publicKey", Codec::Base58)],
    address: Some(Codec::Base58),
};
pub(crate) const TEZOS: Family = Family {
    kind: SignatureFamily::Tezos,
    parts: &[("/signature", Codec::Base58Check), ("/publicKey", Codec::Base58Check)],
    address: Some(Codec::Base58Check),
};
pub(crate) const COSMOS: Family = Family {
    kind: SignatureFamily::Cosmos,
    parts: &[("/signature", Codec::Base64), ("/pub_key/value", Codec::Base64)],
    address: None,
};
pub(crate) const SUBSTRATE: Family = Family {
    kind: SignatureFamily::Substrate,
    parts: &[("/data", Codec::PrefixedHex)],
    address: Some(Codec::Ss58),
};
pub(crate) const AVALANCHE: Family =
    Family { kind: SignatureFamily::Avalanche, parts: &[("", Codec::Cb58)], address: None };
pub(crate) const NULS2: Family = Family {
    kind: SignatureFamily::Nuls2,
    parts: &[("", Codec::Base64)],
    // `NULSd`; the other network's prefix is one longer.
    address: Some(Codec::After(5)),
};
pub(crate) const NULS: Family =
    Family { kind: SignatureFamily::Nuls, parts: &[("", Codec::Hex)], address: Some(Codec::Base58) };

/// A message of a key of ours, with what the signature covers apart from the buffer.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) message: Message,
    pub(crate) covers_time: bool,
}

impl Family {
    fn keys(self, secret: [u8; 32]) -> Vec<(SigningKey, bool)> {
        let mut keys = Vec::new();
        match self.kind {
            SignatureFamily::Evm | SignatureFamily::Solana => {
                let chains = Chain::ALL.into_iter().filter(|chain| chain.family() == self.kind);
                keys.extend(chains.map(|chain| SigningKey::for_chain(chain, secret)));
            }
            SignatureFamily::Tezos => {
                for curve in [TezosCurve::Ed25519, TezosCurve::Secp256k1, TezosCurve::P256] {
                    keys.push(SigningKey::tezos(secret, curve, TezosPayload::Raw));
                    let dapp = "https://aleph.im/\"é\\".into();
                    keys.push(SigningKey::tezos(secret, curve, TezosPayload::Micheline { dapp }));
                }
            }
            SignatureFamily::Cosmos => {
                keys.extend(["cosmos", "osmo"].map(|hrp| SigningKey::cosmos(secret, hrp)));
            }
            SignatureFamily::Substrate => {
                for network in [0, 42, 64, 16383] {
                    keys.push(SigningKey::substrate(secret, network, false));
                    keys.push(SigningKey::substrate(secret, network, true));
                }
            }
            SignatureFamily::Avalanche => {
                keys.extend(["X", "P", "C"].map(|chain| SigningKey::avalanche(secret, chain)));
            }
            SignatureFamily::Nuls2 => {
                keys.extend([Nuls2Network::Main, Nuls2Network::Test].map(|of| SigningKey::nuls2(secret, of)));
            }
            SignatureFamily::Nuls => {
                for template in [NulsTemplate::Shown, NulsTemplate::Bytes] {
                    keys.extend([8964, 261, -1].map(|chain| SigningKey::nuls(secret, chain, template)));
                }
            }
            SignatureFamily::None => {}
        }
        let covers_time = |index: usize| self.kind == SignatureFamily::Tezos && index % 2 == 1;
        keys.into_iter()
            .enumerate()
            .map(|(index, key)| (key.expect("the secret is one of any curve"), covers_time(index)))
            .collect()
    }

    /// A message that the script chooses, validly signed.
    pub(crate) fn signed(self, script: &mut Script<'_>) -> Signed {
        /// By everything that was chosen: there are few, and signing costs as much as verifying.
        type Made = HashMap<(SignatureFamily, [usize; 5]), Signed>;
        type Keys = HashMap<(SignatureFamily, usize), Vec<(SigningKey, bool)>>;
        thread_local! {
            static MADE: RefCell<Made> = RefCell::default();
            static KEYS: RefCell<Keys> = RefCell::default();
        }
        let secret = script.below(SECRETS);
        let count = KEYS.with_borrow_mut(|keys| {
            let byte = u8::try_from(secret + 5).expect("there are few");
            keys.entry((self.kind, secret)).or_insert_with(|| self.keys([byte; 32])).len()
        });
        let choice = [
            secret,
            script.below(count),
            script.below(MessageType::ALL.len()),
            script.below(CONTENTS),
            script.below(TIMES.len()),
        ];
        MADE.with_borrow_mut(|made| {
            let made = made.entry((self.kind, choice)).or_insert_with(|| {
                let (key, covers_time) =
                    KEYS.with_borrow(|keys| keys[&(self.kind, secret)][choice[1]].clone());
                sign(&key, covers_time, choice)
            });
            made.clone()
        })
    }
}

fn sign(key: &SigningKey, covers_time: bool, choice: [usize; 5]) -> Signed {
    let mut message = Message {
        item_hash: ItemHash::sha256(&choice[3].to_le_bytes()),
        message_type: MessageType::ALL[choice[2]],
        chain: key.chain(),
        sender: key.address().clone(),
        signature: None,
        item_type: ItemType::Storage,
        item_content: None,
        time: Timestamp::from_micros(TIMES[choice[4]]),
        channel: None,
    };
    message.signature = Some(key.sign_message(&message));
    assert_eq!(check(&message), Ok(()), "what {key:?} signs verifies");
    Signed { message, covers_time }
}
