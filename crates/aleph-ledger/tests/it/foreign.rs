//! Whatever the network sends: no panic, and the refusal has a reason.

use aleph_ledger::credit::{CreditKind, CreditPost};
use aleph_ledger::{
    BalanceUpdate, CostError, Decimal, Element, Machine, MachineKind, Notice, Origin, PriceTable, Product,
    Settings, Timeline, Workload, WorkloadKind, default_prices,
};
use aleph_types::content::PaymentType;
use aleph_types::{Address, ItemHash, Timestamp};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

fn json_values() -> impl Strategy<Value = Value> {
    let words = prop_oneof![
        Just("1.5"),
        Just("NaN"),
        Just("-1"),
        Just("1e400"),
        Just(""),
        Just("x"),
        Just("999999999999999999999"),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
    ];
    let keys = prop_oneof![
        Just("price"),
        Just("storage"),
        Just("compute_unit"),
        Just("tiers"),
        Just("holding"),
        Just("payg"),
        Just("credit"),
        Just("credits"),
        Just("amount"),
        Just("address"),
        Just("expiration"),
        Just("transfer"),
        Just("distribution"),
        Just("expense"),
        Just("chain"),
        Just("main_height"),
        Just("balances"),
        Just("instance"),
        Just("compatible_gpus"),
        Just("memory_mib"),
        Just("size"),
        Just("count"),
        Just("token"),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((keys.clone(), inner), 0..6).prop_map(|entries| {
                let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value));
                Value::Object(entries.collect::<Map<String, Value>>())
            }),
        ]
    })
}

fn machine(price_table: &PriceTable, vcpus: u32) -> Result<String, CostError> {
    let workload = Workload {
        message: ItemHash::sha256(b"m"),
        owner: Address::from("0xA"),
        payment: PaymentType::Hold,
        kind: WorkloadKind::Machine(Machine {
            kind: MachineKind::Instance { confidential: false, gpus: Vec::new() },
            vcpus,
            memory_mib: 2048,
            volumes: Vec::new(),
        }),
        unknown_files: Vec::new(),
    };
    workload.price(price_table, &Settings::default()).map(|costing| costing.total.to_string())
}

/// The default prices with another price of an instance's compute unit.
fn prices(holding: Value) -> Map<String, Value> {
    let mut prices = default_prices();
    prices["instance"]["price"]["compute_unit"]["holding"] = holding;
    prices
}

#[test]
fn absurd_prices_are_kept_out_or_told() {
    let table = |holding: Value| PriceTable::read(&prices(holding), &Origin::Aggregate);
    assert_eq!(machine(&table(json!("1")), 256).unwrap(), "256.000000000000000000");
    // A price that is a number, but a cost that 28 digits can't hold.
    let refusal = machine(&table(json!("1e30")), 1).unwrap_err();
    assert!(matches!(refusal, CostError::Arithmetic(_)), "{refusal}");
    for holding in [json!("-1"), json!("NaN"), json!("1e999"), json!({}), json!([5]), json!("cheap")] {
        let spoilt = table(holding.clone());
        let is_free = holding == json!({});
        assert_eq!(machine(&spoilt, 1).is_ok(), is_free, "{holding}");
        let (followed, notices) = table(json!("7")).follow(&prices(holding.clone()), &Origin::Aggregate);
        if !is_free {
            assert_eq!(machine(&followed, 1).unwrap(), "7.000000000000000000", "{holding}");
            assert!(matches!(notices.as_slice(), [Notice::PriceKept { product: Product::Instance, .. }]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_sent_panics(value in json_values(), other in json_values()) {
        for kind in [CreditKind::Distribution, CreditKind::Expense, CreditKind::Transfer] {
            for body in [value.clone(), json!({ kind.as_str(): value })] {
                if let Err(error) = CreditPost::read(kind, &body) {
                    prop_assert!(!error.issues.is_empty());
                }
            }
        }
        let _ = BalanceUpdate::read(&value);
        let _ = BalanceUpdate::read(&json!({"chain": "ETH", "main_height": 1, "balances": {"0xA": value}}));
        if let Value::Object(content) = value {
            let element = |digit: &str, content| Element {
                message: ItemHash::parse(&digit.repeat(64)).unwrap(),
                time: Timestamp::EPOCH,
                content,
            };
            let mut elements = vec![element("a", content)];
            elements.extend(other.as_object().map(|other| element("b", other.clone())));
            let forwards = Timeline::new(elements.clone());
            let _ = Settings::of_elements(elements.clone());
            elements.reverse();
            let backwards = Timeline::new(elements);
            prop_assert_eq!(forwards.latest(), backwards.latest());
        }
    }

    #[test]
    fn every_text_that_is_a_number_comes_back(text in "[-+]?[0-9_]{0,40}(\\.[0-9]{0,40})?([eE][-+]?[0-9]{1,3})?") {
        if let Ok(number) = Decimal::parse(&text) {
            prop_assert_eq!(Decimal::parse(&number.to_string()).unwrap(), number);
        }
    }
}
