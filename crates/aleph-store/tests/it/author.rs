//! Made-up histories: every type of message, several owners and delegates, equal times, copies of
//! strangers, prices and posts that move money, FORGETs of single leaves and of everything.
//!
//! A history comes in parts. Inside a part any order of arrival leads to the same state. A new part begins
//! where the network's own rule looks at what was there before: a delegation that is granted or revoked, a
//! FORGET of something that others build on, a transfer of credits by somebody who may not have them
//! (`docs/adr/0003-order-independence.md`). Owners are rich from the first part on: what they publish is paid
//! for in any order.

use std::collections::{HashMap, HashSet};

use aleph_ledger::default_prices;
use aleph_types::content::RuntimeManifest;
use aleph_types::{FormatError, ItemHash, ParsedMessage};
use serde_json::{Map, Value, json};

const OWNERS: [&str; 3] = ["0xAa", "0xBb", "0xCc"];
/// Nobody ever allows anything to this one.
pub(crate) const STRANGER: &str = "0xDd";
/// Who publishes balances, credits and prices.
pub(crate) const TREASURY: &str = "0xEe";
/// Accounts that own what they are given.
const POOR: [&str; 2] = ["0x01", "0x02"];

/// Around the change of the unit of credits, and long before it.
const STARTS: [u64; 3] = [1_700_000_000, 1_769_990_390, 1_770_000_000];

/// A small generator of numbers, so that a failing history can be named by its seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }

    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for index in (1..list.len()).rev() {
            list.swap(index, self.roll(index + 1));
        }
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        if list.is_empty() { None } else { Some(list[self.roll(list.len())].clone()) }
    }
}

/// What is in a file that a runtime names.
pub(crate) type Manifests = HashMap<ItemHash, Result<RuntimeManifest, FormatError>>;

pub(crate) struct History {
    /// Orders may change inside a part only.
    pub(crate) parts: Vec<Vec<ParsedMessage>>,
    pub(crate) manifests: Manifests,
}

impl History {
    pub(crate) fn generate(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mut author = Author { time: STARTS[dice.roll(STARTS.len())], ..Author::default() };
        author.endow();
        for _ in 0..5 + dice.roll(30) {
            author.step(&mut dice);
        }
        if dice.roll(4) == 0 {
            author.forget_everything();
        }
        author.divide();
        Self { parts: author.parts, manifests: author.manifests }
    }

    /// How many messages of each type there are.
    pub(crate) fn count(&self, counts: &mut HashMap<&'static str, usize>) {
        for parsed in self.parts.iter().flatten() {
            *counts.entry(parsed.message.message_type.as_str()).or_default() += 1;
        }
    }

    /// Each part in another order.
    pub(crate) fn shuffled(&self, dice: &mut Dice) -> Vec<Vec<ParsedMessage>> {
        let mut parts = self.parts.clone();
        for part in &mut parts {
            dice.shuffle(part);
        }
        parts
    }
}

/// A message that is there, and whose it is.
type Owned = (usize, ItemHash);

#[derive(Default)]
struct Author {
    parts: Vec<Vec<ParsedMessage>>,
    part: Vec<ParsedMessage>,
    manifests: Manifests,
    posts: Vec<Owned>,
    /// First versions, with their files.
    stores: Vec<(usize, ItemHash, ItemHash)>,
    /// Machines, with the STOREs that they hold fast.
    machines: Vec<(usize, ItemHash, Vec<ItemHash>)>,
    /// Programs, and whether others may name them in `replaces`.
    programs: Vec<(ItemHash, usize, bool)>,
    /// What nobody builds on: amends, elements with their keys, later versions of files.
    leaves: Vec<(usize, ItemHash, Option<String>)>,
    /// Posts of money and elements of prices.
    ledger: Vec<(&'static str, ItemHash)>,
    /// Which delegate may act for which owner.
    granted: HashSet<(usize, usize)>,
    time: u64,
    number: u64,
}

impl Author {
    /// From here on, everything before has arrived.
    fn divide(&mut self) {
        if !self.part.is_empty() {
            self.parts.push(std::mem::take(&mut self.part));
        }
    }

    fn publish_as(&mut self, sender: &str, owner: usize, message_type: &str, mut content: Value) -> ItemHash {
        content["address"] = OWNERS[owner].into();
        self.write(sender, message_type, content)
    }

    fn write(&mut self, sender: &str, message_type: &str, mut content: Value) -> ItemHash {
        content["time"] = self.time.into();
        let text = content.to_string();
        let hash = ItemHash::sha256(text.as_bytes());
        let mut envelope = json!({
            "chain": "ETH", "sender": sender, "signature": "0x", "type": message_type,
            "time": self.time, "item_hash": hash, "item_content": text,
        });
        if content["type"].as_str().is_some_and(|kind| kind.starts_with("aleph_credit")) {
            envelope["channel"] = "ALEPH_CREDIT".into();
        }
        self.part.push(ParsedMessage::from_value(&envelope).unwrap());
        self.number += 1;
        hash
    }

    /// A post of the treasury or of somebody who hands credits on.
    fn move_money(&mut self, sender: &'static str, kind: &str, body: Value) {
        // Equal bodies at equal times would be one post.
        let content =
            json!({ "address": sender, "type": kind, "content": body, "ref": self.number.to_string() });
        let hash = self.write(sender, "POST", content);
        // What may be refused can't be forgotten.
        if !POOR.contains(&sender) {
            self.ledger.push((sender, hash));
        }
    }

    fn grant(&mut self, entries: &[(&str, u64, Option<u64>)]) {
        let credits: Vec<Value> = entries
            .iter()
            .map(|(to, amount, end)| {
                json!({ "address": to, "amount": amount, "price": "1", "tx_hash": "t", "provider": "p",
                    "expiration": end })
            })
            .collect();
        let body = json!({ "distribution": { "token": "ALEPH", "chain": "ETH", "credits": credits } });
        self.move_money(TREASURY, "aleph_credit_distribution", body);
    }

    /// Prices for everything, and enough for every owner to pay all of it.
    fn endow(&mut self) {
        let prices = json!({ "address": TREASURY, "key": "pricing", "content": default_prices() });
        self.write(TREASURY, "AGGREGATE", prices);
        let riches: Map<String, Value> =
            OWNERS.iter().map(|owner| ((*owner).to_owned(), 1_000_000_000.into())).collect();
        let body = json!({ "chain": "ETH", "main_height": 1_000_000, "balances": riches });
        self.move_money(TREASURY, "balances-update", body);
        self.grant(&OWNERS.map(|owner| (owner, 1_000_000_000_000, None)));
        self.ledger.clear();
        self.divide();
        self.time += 1;
    }

    fn money(&mut self, dice: &mut Dice) {
        let accounts = [OWNERS[0], OWNERS[1], OWNERS[2], POOR[0], POOR[1]];
        let account = |dice: &mut Dice| accounts[dice.roll(accounts.len())];
        let end = |dice: &mut Dice, time: u64| match dice.roll(3) {
            0 => Some((time + dice.roll(6) as u64).saturating_sub(1) * 1000),
            _ => None,
        };
        match dice.roll(16) {
            0..=2 => {
                // Few heights: the contest of equal ones is the interesting one. What owners pay with is on
                // another chain.
                let (chain, dapp) = [("SOL", None), ("AVAX", None), ("ETH", Some("SABLIER"))][dice.roll(3)];
                let balances: Map<String, Value> = (0..1 + dice.roll(4))
                    .map(|_| {
                        let amount = [json!(dice.roll(50)), json!("0.50"), json!(0.25)][dice.roll(3)].clone();
                        (account(dice).to_owned(), amount)
                    })
                    .collect();
                let body = json!({ "chain": chain, "dapp": dapp, "main_height": dice.roll(4),
                    "balances": balances });
                self.move_money(TREASURY, "balances-update", body);
            }
            3..=5 => {
                let entries: Vec<(&str, u64, Option<u64>)> = (0..1 + dice.roll(3))
                    .map(|_| (account(dice), 1 + dice.roll(40) as u64, end(dice, self.time)))
                    .collect();
                self.grant(&entries);
            }
            6..=8 => {
                let credits: Vec<Value> = (0..1 + dice.roll(3))
                    .map(|_| json!({ "address": OWNERS[dice.roll(3)], "amount": 1 + dice.roll(60) }))
                    .collect();
                let body = json!({ "expense": { "credits": credits } });
                self.move_money(TREASURY, "aleph_credit_expense", body);
            }
            9..=11 => {
                let sender = OWNERS[dice.roll(3)];
                self.transfer(sender, &accounts, dice);
            }
            12 => {
                // Whether it is funded is asked when it arrives.
                self.divide();
                let sender = POOR[dice.roll(2)];
                self.transfer(sender, &accounts, dice);
                self.divide();
            }
            13 | 14 => {
                let product = ["storage", "instance", "program", "unheard of"][dice.roll(4)];
                let mut prices = default_prices();
                let price = prices.remove(product).unwrap_or(json!(1));
                let price = if dice.roll(4) == 0 { json!("malformed") } else { price };
                let content = json!({ "address": TREASURY, "key": "pricing", "content": { product: price } });
                let hash = self.write(TREASURY, "AGGREGATE", content);
                self.ledger.push((TREASURY, hash));
            }
            _ => {
                // What a post of money did stays when it is forgotten.
                if !self.ledger.is_empty() {
                    let (owner, target) = self.ledger.swap_remove(dice.roll(self.ledger.len()));
                    self.write(owner, "FORGET", json!({ "address": owner, "hashes": [target] }));
                }
            }
        }
    }

    fn transfer(&mut self, sender: &'static str, accounts: &[&'static str], dice: &mut Dice) {
        let mut credits: Vec<Value> = Vec::new();
        for to in accounts.iter().filter(|to| **to != sender) {
            if dice.roll(3) == 0 {
                let end = (dice.roll(3) == 0).then_some((self.time + dice.roll(6) as u64) * 1000);
                credits.push(json!({ "address": to, "amount": 1 + dice.roll(30), "expiration": end }));
            }
        }
        if !credits.is_empty() {
            self.move_money(sender, "aleph_credit_transfer", json!({ "transfer": { "credits": credits } }));
        }
    }

    /// By the owner, or by somebody who may act for it.
    fn publish(&mut self, owner: usize, message_type: &str, content: Value, dice: &mut Dice) -> ItemHash {
        let delegate = dice.roll(OWNERS.len());
        let sender = if self.granted.contains(&(owner, delegate)) { delegate } else { owner };
        self.publish_as(OWNERS[sender], owner, message_type, content)
    }

    fn leaf(&mut self, owner: usize, message_type: &str, content: Value, dice: &mut Dice) {
        let key = content["key"].as_str().map(str::to_owned);
        let hash = self.publish(owner, message_type, content, dice);
        self.leaves.push((owner, hash, key));
    }

    fn step(&mut self, dice: &mut Dice) {
        // Often not at all: equal times are the interesting ones.
        self.time += dice.roll(3) as u64;
        let owner = dice.roll(OWNERS.len());
        let number = self.number;
        let file = ItemHash::sha256(&[dice.roll(4) as u8]);
        match dice.roll(44) {
            32.. => self.money(dice),
            0..=3 => {
                let content = json!({ "type": "note", "content": { "n": number, "tags": ["a"] } });
                let hash = self.publish(owner, "POST", content, dice);
                self.posts.push((owner, hash));
            }
            4..=6 => {
                if let Some((owner, original)) = dice.pick(&self.posts) {
                    let content = json!({ "type": "amend", "ref": original, "content": number });
                    self.leaf(owner, "POST", content, dice);
                }
            }
            7..=10 => {
                let fields: Map<String, Value> = (0..3)
                    .filter(|_| dice.roll(2) == 0)
                    .map(|field| (format!("f{field}"), number.into()))
                    .collect();
                // Keys that look like hashes can be forgotten as a whole.
                let key = ["k".to_owned(), "ab".repeat(32), "cd".repeat(32)][dice.roll(3)].clone();
                self.leaf(owner, "AGGREGATE", json!({ "key": key, "content": fields }), dice);
            }
            11..=13 => {
                let content =
                    json!({ "item_type": "storage", "item_hash": file, "metadata": { "n": number } });
                let hash = self.publish(owner, "STORE", content, dice);
                self.stores.push((owner, hash, file));
            }
            14 => {
                if let Some((owner, first, _)) = dice.pick(&self.stores) {
                    let content = json!({ "item_type": "storage", "item_hash": file, "ref": first,
                        "metadata": { "n": number } });
                    self.leaf(owner, "STORE", content, dice);
                }
            }
            15 => {
                let content = json!({ "item_type": "storage", "item_hash": file,
                    "ref": format!("name{}", dice.roll(2)), "metadata": { "n": number } });
                self.leaf(owner, "STORE", content, dice);
            }
            16..=18 => self.program(owner, dice),
            19 => self.instance(owner, dice),
            20 | 21 => self.measured(owner, dice),
            22 | 23 => self.copy_of_a_stranger(owner, dice),
            24 | 25 => self.grant_or_revoke(owner, dice),
            26 | 27 => self.forget_what_others_build_on(owner, dice),
            _ => {
                if !self.leaves.is_empty() {
                    let index = dice.roll(self.leaves.len());
                    let (owner, target, _) = self.leaves.swap_remove(index);
                    self.publish(owner, "FORGET", json!({ "hashes": [target] }), dice);
                }
            }
        }
    }

    fn program(&mut self, owner: usize, dice: &mut Dice) {
        let (Some((_, code, _)), Some((_, runtime, _))) = (dice.pick(&self.stores), dice.pick(&self.stores))
        else {
            return;
        };
        let allows = dice.roll(3) > 0;
        let mut content = json!({
            "type": "vm-function", "allow_amend": allows, "metadata": { "n": self.number },
            "code": { "encoding": "zip", "entrypoint": "main:app", "ref": code },
            "runtime": { "ref": runtime, "comment": "", "use_latest": dice.roll(2) == 0 },
            "on": { "http": true }, "environment": {}, "resources": {},
        });
        let named = if dice.roll(2) == 0 { dice.pick(&self.programs) } else { None };
        if let Some((named, ..)) = &named {
            content["replaces"] = named.as_str().into();
        }
        let hash = self.publish(owner, "PROGRAM", content, dice);
        // An update that is not allowed is refused, in any order, and so is one by a stranger.
        if named.is_none_or(|(_, of, allowed)| allowed && of == owner) {
            self.programs.push((hash.clone(), owner, allows));
            self.machines.push((owner, hash, vec![code, runtime]));
        }
    }

    fn instance(&mut self, owner: usize, dice: &mut Dice) {
        let Some((_, parent, _)) = dice.pick(&self.stores) else { return };
        let content = json!({
            "allow_amend": false, "environment": {}, "resources": {}, "metadata": { "n": self.number },
            "rootfs": { "parent": { "ref": parent }, "persistence": "host", "size_mib": 1 },
        });
        let hash = self.publish(owner, "INSTANCE", content, dice);
        self.machines.push((owner, hash, vec![parent]));
    }

    fn measured(&mut self, owner: usize, dice: &mut Dice) {
        let (Some((_, runtime, file)), Some((_, image, _)), Some((_, bundle, _))) =
            (dice.pick(&self.stores), dice.pick(&self.stores), dice.pick(&self.stores))
        else {
            return;
        };
        // What is in a file does not change.
        let manifest = self.manifests.entry(file).or_insert(Ok(RuntimeManifest { bundle }));
        let Ok(RuntimeManifest { bundle }) = manifest.clone() else { return };
        if !self.stores.iter().any(|(_, store, _)| *store == bundle) {
            return;
        }
        let content = json!({
            "allow_amend": false, "environment": {}, "resources": {}, "metadata": { "n": self.number },
            "payment": { "type": "credit" }, "runtime": { "ref": runtime },
            "workload": { "ref": image, "hash_tree": image, "roothash": "b".repeat(64) },
            "verification": { "backend": "sev_snp", "measurements": [
                { "platform": "sev_snp", "registers": { "launch": "a".repeat(96) } } ] },
        });
        let hash = self.publish(owner, "V-PROGRAM", content, dice);
        self.machines.push((owner, hash, vec![runtime, image, bundle]));
    }

    /// A message of somebody who may not, or a copy of one that is valid: refused, or nothing at all.
    fn copy_of_a_stranger(&mut self, owner: usize, dice: &mut Dice) {
        let content = match dice.pick(&self.part) {
            Some(parsed) if parsed.message.message_type.as_str() == "POST" => {
                let mut copy = parsed;
                copy.message.sender = STRANGER.into();
                self.part.push(copy);
                return;
            }
            _ => json!({ "type": "note", "content": self.number }),
        };
        self.publish_as(STRANGER, owner, "POST", content);
    }

    fn grant_or_revoke(&mut self, owner: usize, dice: &mut Dice) {
        self.divide();
        // The newest element counts, and this is the newest.
        self.time += 1;
        let delegate = (owner + 1 + dice.roll(OWNERS.len() - 1)) % OWNERS.len();
        if !self.granted.remove(&(owner, delegate)) {
            self.granted.insert((owner, delegate));
        }
        let authorizations: Vec<Value> = (0..OWNERS.len())
            .filter(|delegate| self.granted.contains(&(owner, *delegate)))
            .map(|delegate| json!({ "address": OWNERS[delegate] }))
            .collect();
        let content = json!({ "key": "security", "content": { "authorizations": authorizations } });
        self.publish_as(OWNERS[owner], owner, "AGGREGATE", content);
        self.divide();
    }

    fn is_needed(&self, store: &ItemHash) -> bool {
        self.machines.iter().any(|(_, _, needs)| needs.contains(store))
    }

    fn forget_what_others_build_on(&mut self, owner: usize, dice: &mut Dice) {
        self.divide();
        match dice.roll(4) {
            0 if !self.posts.is_empty() => {
                let (owner, post) = self.posts.swap_remove(dice.roll(self.posts.len()));
                // Its amends may be among the leaves: they are gone with it.
                self.divide_leaves_of(&post);
                self.publish(owner, "FORGET", json!({ "hashes": [post, post] }), dice);
            }
            1 if !self.machines.is_empty() => {
                let (owner, machine, _) = self.machines.swap_remove(dice.roll(self.machines.len()));
                self.programs.retain(|(program, ..)| *program != machine);
                self.publish(owner, "FORGET", json!({ "hashes": [machine] }), dice);
            }
            2 => {
                let free = self.stores.iter().position(|(_, store, _)| !self.is_needed(store));
                if let Some(free) = free {
                    let (owner, store, _) = self.stores.swap_remove(free);
                    self.publish(owner, "FORGET", json!({ "hashes": [store] }), dice);
                }
            }
            _ => {
                let key = "ab".repeat(32);
                let of_key = |leaf: &(usize, ItemHash, Option<String>)| {
                    leaf.0 == owner && leaf.2.as_deref() == Some(key.as_str())
                };
                if self.leaves.iter().any(of_key) {
                    self.leaves.retain(|leaf| !of_key(leaf));
                    let content = json!({ "hashes": [], "aggregates": [key] });
                    self.publish(owner, "FORGET", content, dice);
                }
            }
        }
        self.divide();
    }

    /// The amends of a post are no leaves any more.
    fn divide_leaves_of(&mut self, post: &ItemHash) {
        let amends: HashSet<ItemHash> =
            self.parts
                .iter()
                .flatten()
                .filter(|parsed| {
                    parsed.message.item_content.as_deref().is_some_and(|text| {
                        text.contains("\"type\":\"amend\"") && text.contains(post.as_str())
                    })
                })
                .map(|parsed| parsed.message.item_hash.clone())
                .collect();
        self.leaves.retain(|(_, leaf, _)| !amends.contains(leaf));
    }

    /// Machines first, for they hold files fast; then all the rest, amends after their posts.
    fn forget_everything(&mut self) {
        for (owner, address) in OWNERS.into_iter().enumerate() {
            let machines: Vec<ItemHash> = self
                .machines
                .iter()
                .filter(|(of, _, _)| *of == owner)
                .map(|(_, hash, _)| hash.clone())
                .collect();
            self.divide();
            if !machines.is_empty() {
                self.publish_as(address, owner, "FORGET", json!({ "hashes": machines }));
            }
        }
        for (owner, address) in OWNERS.into_iter().enumerate() {
            let posts = self.posts.iter().filter(|(of, _)| *of == owner).map(|(_, hash)| hash);
            let stores = self.stores.iter().filter(|(of, _, _)| *of == owner).map(|(_, hash, _)| hash);
            let leaves = self.leaves.iter().filter(|(of, _, _)| *of == owner).map(|(_, hash, _)| hash);
            let everything: Vec<ItemHash> = posts.chain(stores).chain(leaves).cloned().collect();
            self.divide();
            if !everything.is_empty() {
                self.publish_as(address, owner, "FORGET", json!({ "hashes": everything }));
            }
        }
    }
}
