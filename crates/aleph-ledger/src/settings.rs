//! The network's settings: which graphics cards count as which model, and the community's share of
//! streams (`spec: payments.md §3`).

use aleph_types::{Address, Timestamp};
use serde_json::{Map, Value};

use crate::notice::{StandingNotices, Subject};
use crate::{Element, Notice};

/// Key of the settings aggregate.
pub const SETTINGS_KEY: &str = "settings";

/// The default cards: name, model, PCI device of vendor `10de`. The order matters, the first match wins.
const CARDS: [(&str, &str, &str); 19] = [
    ("AD102GL [L40S]", "L40S", "26b9"),
    ("GB202 [GeForce RTX 5090]", "RTX 5090", "2685"),
    ("GB202 [GeForce RTX 5090 D]", "RTX 5090", "2687"),
    ("AD102 [GeForce RTX 4090]", "RTX 4090", "2684"),
    ("AD102 [GeForce RTX 4090 D]", "RTX 4090", "2685"),
    ("GA102 [GeForce RTX 3090]", "RTX 3090", "2204"),
    ("GA102 [GeForce RTX 3090 Ti]", "RTX 3090", "2203"),
    ("AD104GL [RTX 4000 SFF Ada Generation]", "RTX 4000 ADA", "27b0"),
    ("AD104GL [RTX 4000 Ada Generation]", "RTX 4000 ADA", "27b2"),
    ("GH100 [H100]", "H100", "2336"),
    ("GH100 [H100 NVSwitch]", "H100", "22a3"),
    ("GH100 [H100 CNX]", "H100", "2313"),
    ("GH100 [H100 SXM5 80GB]", "H100", "2330"),
    ("GH100 [H100 PCIe]", "H100", "2331"),
    ("GA100", "A100", "2080"),
    ("GA100", "A100", "2081"),
    ("GA100 [A100 SXM4 80GB]", "A100", "20b2"),
    ("GA100 [A100 PCIe 80GB]", "A100", "20b5"),
    ("GA100 [A100X]", "A100", "20b8"),
];

/// The keys that count here.
const FIELDS: [&str; 3] = ["compatible_gpus", "community_wallet_address", "community_wallet_timestamp"];

/// A graphics card that the network knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Name for people.
    pub name: String,
    /// The model that price tiers name.
    pub model: String,
    /// Such as `NVIDIA`.
    pub vendor: String,
    /// PCI vendor and device, `10de:2204`.
    pub device_id: String,
}

/// The settings in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Cards in order; the first with a device's id counts.
    pub compatible_gpus: Vec<Card>,
    /// Who gets a fifth of each stream; `None`: nobody.
    pub community_wallet: Option<Address>,
    /// Streams that started after this owe the community its share.
    pub community_since: Timestamp,
}

impl Default for Settings {
    /// What counts while the network has published none.
    fn default() -> Self {
        let card = |(name, model, device): &(&str, &str, &str)| Card {
            name: (*name).to_owned(),
            model: (*model).to_owned(),
            vendor: "NVIDIA".to_owned(),
            device_id: format!("10de:{device}"),
        };
        Self {
            compatible_gpus: CARDS.iter().map(card).collect(),
            community_wallet: Some(Address::from("0x5aBd3258C5492fD378EBC2e0017416E199e5Da56")),
            community_since: Timestamp::from_secs(1_739_301_770),
        }
    }
}

impl Settings {
    /// The settings without any key.
    fn empty() -> Self {
        Self { compatible_gpus: Vec::new(), community_wallet: None, community_since: Timestamp::EPOCH }
    }

    /// Reads the aggregate as a whole. Missing keys count as empty, a malformed one keeps the value of
    /// `last_good` and says so.
    pub fn read(aggregate: &Map<String, Value>, last_good: &Settings) -> (Self, Vec<Notice>) {
        let mut settings = Self::empty();
        let notices = settings.take(aggregate, last_good);
        (settings, notices)
    }

    /// The settings after every element of the aggregate, in any order: as [`Settings::read`], but the
    /// last good value of a key is the same on every node, and what a later element puts right is no
    /// notice.
    pub fn of_elements(mut elements: Vec<Element>) -> (Self, Vec<Notice>) {
        Element::sort(&mut elements);
        let mut in_force = Self::default();
        let mut notices = StandingNotices::default();
        for (number, element) in elements.iter().enumerate() {
            let mut next = if number == 0 { Self::empty() } else { in_force.clone() };
            let found = next.take(&element.content, &in_force);
            let named = FIELDS.into_iter().filter(|field| element.content.contains_key(*field));
            notices.take(named.map(Subject::Setting), found);
            in_force = next;
        }
        (in_force, notices.into_list())
    }

    /// Takes the keys that are there.
    fn take(&mut self, sent: &Map<String, Value>, last_good: &Settings) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut kept = |field, fault: &str| {
            notices.push(Notice::SettingKept { field, fault: fault.to_owned() });
        };
        if let Some(value) = sent.get("compatible_gpus") {
            let cards = match value {
                Value::Null => Some(Vec::new()),
                Value::Array(items) => items.iter().map(card).collect(),
                _ => None,
            };
            self.compatible_gpus = cards.unwrap_or_else(|| {
                kept("compatible_gpus", "must be a list of cards with name, model, vendor and device_id");
                last_good.compatible_gpus.clone()
            });
        }
        if let Some(value) = sent.get("community_wallet_address") {
            self.community_wallet = match value {
                Value::Null => None,
                Value::String(text) => Some(Address::from(text.as_str())).filter(|_| !text.is_empty()),
                _ => {
                    kept("community_wallet_address", "must be text");
                    last_good.community_wallet.clone()
                }
            };
        }
        if let Some(value) = sent.get("community_wallet_timestamp").filter(|value| !value.is_null()) {
            let time = value.as_f64().and_then(|seconds| Timestamp::from_secs_f64(seconds).ok());
            self.community_since = time.unwrap_or_else(|| {
                kept("community_wallet_timestamp", "must be a number of seconds");
                last_good.community_since
            });
        }
        notices
    }

    /// The model of a device; the first card with that id counts.
    pub fn model_of(&self, device_id: &str) -> Option<&str> {
        self.compatible_gpus.iter().find(|card| card.device_id == device_id).map(|card| card.model.as_str())
    }
}

fn card(value: &Value) -> Option<Card> {
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    Some(Card {
        name: text("name")?,
        model: text("model")?,
        vendor: text("vendor")?,
        device_id: text("device_id")?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_is_empty_and_malformed_keeps_the_last() {
        let defaults = Settings::default();
        assert_eq!(defaults.model_of("10de:2685"), Some("RTX 5090"));
        let (empty, notices) = Settings::read(&Map::new(), &defaults);
        assert!(empty.compatible_gpus.is_empty() && empty.community_wallet.is_none() && notices.is_empty());
        let Value::Object(bad) = json!({
            "compatible_gpus": [{"name": "x"}], "community_wallet_address": 5,
            "community_wallet_timestamp": "soon",
        }) else {
            panic!("an object")
        };
        let (kept, notices) = Settings::read(&bad, &defaults);
        assert_eq!(kept, defaults);
        assert_eq!(notices.len(), 3);

        let element = |digit: &str, seconds, content: Value| Element {
            message: aleph_types::ItemHash::parse(&digit.repeat(64)).unwrap(),
            time: Timestamp::from_secs(seconds),
            content: content.as_object().unwrap().clone(),
        };
        let good = element("a", 1, json!({"community_wallet_address": "0xC"}));
        let bad = element("b", 2, json!({"community_wallet_address": 5, "compatible_gpus": "all"}));
        for elements in [vec![good.clone(), bad.clone()], vec![bad, good]] {
            let (settings, notices) = Settings::of_elements(elements);
            assert_eq!(settings.community_wallet, Some(Address::from("0xC")));
            assert!(settings.compatible_gpus.is_empty(), "the first element ended the defaults");
            assert_eq!(notices.len(), 2);
        }
        let (_, notices) = Settings::of_elements(vec![
            element("a", 1, json!({"community_wallet_address": 5, "compatible_gpus": "all"})),
            element("b", 2, json!({"community_wallet_address": "0xC"})),
        ]);
        assert!(matches!(notices.as_slice(), [Notice::SettingKept { field: "compatible_gpus", .. }]));
    }
}
