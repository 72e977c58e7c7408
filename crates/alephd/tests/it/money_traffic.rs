//! Accounts with machines that they pay for, and what funds and starves them: signed messages of a network
//! with one publisher of balances and credits.

use std::sync::Arc;

use aleph_crypto::EvmKey;
use aleph_types::{Address, Chain, ItemHash, ItemType, Message, MessageType, Timestamp};
use serde_json::{Map, Value, json};

use crate::core_node::CoreNode;
use crate::traffic::Item;

/// Envelope time of what pays by holding tokens: before machines had to pay by credit.
const HELD: f64 = 1_760_000_000.0;
/// Envelope time of what pays by credit: after the change of precision.
const PAID: f64 = 1_780_000_000.0;

/// What one machine needs: tokens to hold, and credits a day.
const TOKENS: u32 = 1_000;
const CREDITS: u32 = 342_000;

/// Accounts of which one stays funded whatever happens.
const SAFE: usize = 7;

/// The accounts of a test.
pub(crate) struct Economy {
    publisher: EvmKey,
    /// Each has one machine; the first half holds tokens, the second pays by credit.
    accounts: Vec<EvmKey>,
    /// What every machine starts from.
    root: ItemHash,
    /// One machine an account, in their order.
    pub(crate) machines: Vec<ItemHash>,
    /// Everything that comes first: funds, then machines.
    funds: Vec<Item>,
    items: Vec<Item>,
}

fn key(number: usize) -> EvmKey {
    let mut bytes = [1; 32];
    bytes[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
    EvmKey::from_bytes(bytes).expect("a key")
}

fn signed(key: &EvmKey, message_type: MessageType, time: f64, channel: &str, mut content: Value) -> Item {
    let sender = Address::from(key.address().to_string());
    content["address"] = sender.as_str().into();
    content["time"] = time.into();
    let text = content.to_string();
    let mut message = Message {
        item_hash: ItemHash::sha256(text.as_bytes()),
        message_type,
        chain: Chain::Eth,
        sender,
        signature: None,
        item_type: ItemType::Inline,
        item_content: Some(text.into()),
        time: Timestamp::from_secs_f64(time).expect("a time"),
        channel: Some(channel.into()),
    };
    message.signature = Some(key.sign_message(&message));
    let body = json!({ "message": message.to_wire(), "sync": false }).to_string();
    Item { hash: message.item_hash, body, file: None }
}

fn machine(root: &ItemHash, payment: &str, size_mib: u32) -> Value {
    json!({
        "allow_amend": false, "environment": {}, "resources": {},
        "payment": { "type": payment, "chain": "ETH" },
        "rootfs": { "parent": { "ref": root }, "persistence": "host", "size_mib": size_mib },
    })
}

impl Economy {
    /// `count` accounts, half of them of each kind.
    pub(crate) fn new(count: usize) -> Self {
        let publisher = key(count);
        let accounts: Vec<EvmKey> = (0..count).map(key).collect();
        let image = b"an image that nobody boots".to_vec();
        let file = ItemHash::sha256(&image);
        let store = json!({ "item_type": "storage", "item_hash": file });
        let mut store = signed(&publisher, MessageType::Store, HELD, "MONEY", store);
        store.file = Some(image);
        let root = store.hash.clone();
        let mut economy = Self {
            publisher,
            accounts,
            root: root.clone(),
            machines: Vec::new(),
            funds: Vec::new(),
            items: Vec::new(),
        };
        economy.funds = [vec![store], economy.feed(0)].concat();
        for place in 0..count {
            let (payment, time) = if economy.holds(place) { ("hold", HELD) } else { ("credit", PAID) };
            let content = machine(&root, payment, 20);
            let machine = signed(&economy.accounts[place], MessageType::Instance, time, "MONEY", content);
            economy.machines.push(machine.hash.clone());
            economy.items.push(machine);
        }
        economy
    }

    /// One more machine, of an account that others hand their credits to when they are starved.
    pub(crate) fn extra(&self, number: u32) -> Item {
        let owner = &self.accounts[self.recipient()];
        signed(owner, MessageType::Instance, PAID, "MONEY", machine(&self.root, "credit", 21 + number))
    }

    /// Whether an account pays by holding tokens.
    fn holds(&self, place: usize) -> bool {
        place < self.accounts.len() / 2
    }

    /// Whether an account is starved by [`Economy::starve`].
    pub(crate) fn is_starved(&self, place: usize) -> bool {
        !place.is_multiple_of(SAFE)
    }

    pub(crate) fn address(&self, place: usize) -> Address {
        Address::from(self.accounts[place].address().to_string())
    }

    fn post(&self, phase: usize, kind: &str, body: Value) -> Item {
        let content = json!({ "type": kind, "content": body });
        signed(&self.publisher, MessageType::Post, PAID + 10.0 * phase as f64, "ALEPH_CREDIT", content)
    }

    fn balances(&self, phase: usize, amount: impl Fn(usize) -> u32) -> Item {
        let balances: Map<String, Value> = (0..self.accounts.len())
            .filter(|place| self.holds(*place))
            .map(|place| (self.address(place).to_string(), amount(place).into()))
            .collect();
        let body = json!({ "chain": "ETH", "main_height": phase, "balances": balances });
        self.post(phase, "balances-update", body)
    }

    /// Who gets the credits that others hand on.
    fn recipient(&self) -> usize {
        self.payers().find(|place| !self.is_starved(*place)).expect("there are more than seven")
    }

    fn payers(&self) -> impl Iterator<Item = usize> {
        self.accounts.len() / 2..self.accounts.len()
    }

    /// Enough for everybody's machine. Phases count up; each has its own time and height.
    pub(crate) fn feed(&self, phase: usize) -> Vec<Item> {
        let credits: Vec<Value> = self
            .payers()
            .filter(|place| phase == 0 || self.is_starved(*place))
            .map(|place| {
                json!({ "address": self.address(place), "amount": CREDITS + 1, "price": "1",
                        "tx_hash": format!("0x{phase}"), "provider": "P" })
            })
            .collect();
        let grant = json!({ "distribution": { "token": "ALEPH", "chain": "ETH", "credits": credits } });
        let post = self.post(phase, "aleph_credit_distribution", grant);
        vec![self.balances(phase, |_| TOKENS), post]
    }

    /// Leaves most accounts without enough: tokens went, credits were used up or handed on.
    pub(crate) fn starve(&self, phase: usize) -> Vec<Item> {
        let balances = self.balances(phase, |place| if self.is_starved(place) { TOKENS - 1 } else { TOKENS });
        let spent: Vec<Value> = self
            .payers()
            .filter(|place| self.is_starved(*place) && place % 2 == 0)
            .map(|place| {
                let machine = &self.machines[place];
                json!({ "address": self.address(place), "amount": CREDITS, "execution_id": machine })
            })
            .collect();
        let mut items = vec![
            balances,
            self.post(phase, "aleph_credit_expense", json!({ "expense": { "credits": spent } })),
        ];
        let to = self.address(self.recipient());
        items.extend(self.payers().filter(|place| self.is_starved(*place) && place % 2 == 1).map(|place| {
            let transfer = json!({ "transfer": { "credits": [{ "address": to, "amount": CREDITS }] } });
            let content = json!({ "type": "aleph_credit_transfer", "content": transfer });
            let time = PAID + 10.0 * phase as f64;
            signed(&self.accounts[place], MessageType::Post, time, "ALEPH_CREDIT", content)
        }));
        items
    }

    /// Tells a node whose posts count.
    pub(crate) fn known_to(&self, node: CoreNode) -> CoreNode {
        let publisher = format!("[\"{}\"]", self.publisher.address());
        node.with("NETWORK__BALANCE_PUBLISHERS", &publisher).with("NETWORK__CREDIT_PUBLISHERS", &publisher)
    }

    /// Publishes funds, then machines; all of them are processed.
    pub(crate) async fn settle_on(&self, node: &CoreNode) {
        for items in [&self.funds, &self.items] {
            let items: Arc<[Item]> = items.clone().into();
            node.take_all(&items, 0..items.len()).await;
        }
        let first = &self.machines[0];
        let told = node.get(&format!("/api/v0/messages/{first}/status")).await;
        assert_eq!(told["status"], "processed", "{told}");
    }
}
