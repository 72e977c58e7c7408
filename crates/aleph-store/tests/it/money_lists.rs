//! Lists over all accounts, and costs computed anew, on each engine.

use aleph_ledger::credit::{CreditEffect, EntryKind, HistoryPlace, HistoryRow, Lot, LotKey, Moment};
use aleph_ledger::{Estimates, FileSizes, PriceTable, Settings, Workload};
use aleph_rules::{BalanceEntry, Effect, ElementFact, FileInfo, FileKind, PinnedFile, Stamp, Tariff};
use aleph_store::{
    BalanceFilter, BalanceStart, CostFilter, CostPlace, HistoryFilter, NewMessage, Recalculated, Store,
    Transaction,
};
use aleph_types::content::PaymentType;
use aleph_types::{Address, Chain, ItemHash, ParsedMessage, Timestamp};
use serde_json::{Value, json};

use crate::place::{Engine, on_both_engines};

on_both_engines!(
    balances_are_listed_exactly,
    costs_are_summed_listed_and_computed_anew,
    sums_beyond_64_bits_are_the_nearest_number,
);

fn post(number: u32) -> ParsedMessage {
    let text = json!({ "address": "0xP", "time": number, "type": "t", "content": number }).to_string();
    ParsedMessage::from_value(&json!({
        "chain": "ETH", "sender": "0xP", "signature": "0x", "type": "POST", "time": number,
        "item_hash": ItemHash::sha256(text.as_bytes()), "item_content": text,
    }))
    .unwrap()
}

fn process(transaction: &mut Transaction<'_>, parsed: &ParsedMessage, effects: &[Effect]) {
    let new = NewMessage {
        message: &parsed.message,
        content: parsed.content.as_ref().unwrap(),
        document: None,
        size: 1,
        reception_time: Timestamp::EPOCH,
        origin: "http",
    };
    transaction.process(new, effects).unwrap();
}

fn balances(chain: &str, dapp: &str, number: u32, amounts: &[(&str, &str)]) -> (ParsedMessage, Effect) {
    let post = post(number);
    let entries = amounts
        .iter()
        .map(|(address, amount)| BalanceEntry { address: (*address).into(), amount: (*amount).to_owned() })
        .collect();
    let effect = Effect::SetBalances {
        chain: chain.to_owned(),
        dapp: dapp.to_owned(),
        height: 1,
        entries,
        source: post.message.item_hash.clone(),
    };
    (post, effect)
}

fn balances_are_listed_exactly(engine: Engine) {
    let place = engine.place();
    let (store, mut writer) = Store::open(place.location()).unwrap();
    let mut transaction = writer.begin().unwrap();
    let huge = format!("1{}", "0".repeat(30));
    for (number, (chain, dapp, amounts)) in [
        ("ETH", "", vec![("0xA", "0.999999999999999999999"), ("0xB", "1"), ("0xC", huge.as_str())]),
        ("AVAX", "", vec![("0xA", "2.5"), ("0xB", "-7")]),
        ("ETH", "SABLIER", vec![("0xA", "3")]),
    ]
    .into_iter()
    .enumerate()
    {
        let (post, effect) = balances(chain, dapp, number as u32, &amounts);
        process(&mut transaction, &post, &[effect]);
    }
    transaction.commit().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let list = |filter: BalanceFilter, start, limit| {
        let rows = runtime.block_on(store.list_balances(filter, start, limit)).unwrap();
        rows.into_iter()
            .map(|row| format!("{} {} {} {}", row.address, row.chain, row.dapp, row.amount))
            .collect::<Vec<_>>()
    };
    let all = list(BalanceFilter::default(), BalanceStart::Offset(0), 100);
    assert_eq!(
        all,
        [
            "0xA AVAX  2.5",
            "0xA ETH  0.999999999999999999999",
            "0xA ETH SABLIER 3",
            "0xB AVAX  -7",
            "0xB ETH  1",
            &format!("0xC ETH  {huge}"),
        ]
    );
    // A page ends inside of an account, and nothing is skipped.
    let after = |chain: &str, dapp: &str| BalanceStart::After("0xA".into(), chain.into(), dapp.into());
    assert_eq!(list(BalanceFilter::default(), after("AVAX", ""), 2), all[1..3]);
    assert_eq!(list(BalanceFilter::default(), after("ETH", ""), 2), all[2..4]);
    assert_eq!(list(BalanceFilter::default(), BalanceStart::Offset(4), 100), all[4..]);
    // The bound is exact below one, and beyond 64 bits.
    let least = |least| BalanceFilter { least: Some(least), ..BalanceFilter::default() };
    assert_eq!(list(least(1), BalanceStart::Offset(0), 100).len(), 4);
    assert_eq!(list(least(3), BalanceStart::Offset(0), 100), [all[2].clone(), all[5].clone()]);
    assert_eq!(list(least(u64::MAX), BalanceStart::Offset(0), 100), all[5..]);
    let chains = BalanceFilter { chains: Some(vec![Chain::Avax, Chain::Sol]), least: None };
    assert_eq!(list(chains.clone(), BalanceStart::Offset(0), 100), [all[0].clone(), all[3].clone()]);
    // Of one chain, after rows of this one and of others.
    let one = |chain| BalanceFilter { chains: Some(vec![chain]), least: None };
    assert_eq!(list(one(Chain::Avax), BalanceStart::Offset(1), 100), all[3..4]);
    let later = [all[2].clone(), all[4].clone(), all[5].clone()];
    assert_eq!(list(one(Chain::Eth), after("ETH", ""), 100), later);
    assert_eq!(list(one(Chain::Eth), after("AVAX", ""), 2), all[1..3]);
    assert_eq!(list(one(Chain::Avax), after("ETH", ""), 100), all[3..4]);
    assert_eq!(list(one(Chain::Sol), BalanceStart::Offset(0), 100), [""; 0]);
    let count = |filter, most| runtime.block_on(store.count_balances(filter, most)).unwrap();
    assert_eq!((count(chains, 100).rows, count(BalanceFilter::default(), 100).rows), (2, 6));
    let some = count(BalanceFilter::default(), 5);
    assert_eq!((some.rows, some.exact), (5, false));
}

/// Files of 100 MiB.
struct Large;

impl FileSizes for Large {
    type Error = std::convert::Infallible;

    fn size_behind(&mut self, _: &ItemHash, _: bool) -> Result<Option<u64>, Self::Error> {
        Ok(Some(100 << 20))
    }

    fn size_of_file(&mut self, _: &ItemHash) -> Result<Option<u64>, Self::Error> {
        Ok(Some(100 << 20))
    }
}

/// A STORE of 100 MiB with its costs.
fn store_message(transaction: &mut Transaction<'_>, owner: &str, time: u32, payment: &str) -> ItemHash {
    let file = ItemHash::sha256(&time.to_be_bytes());
    let content = json!({
        "address": owner, "time": time, "item_type": "storage", "item_hash": file,
        "payment": { "type": payment, "chain": "ETH" },
    });
    let text = content.to_string();
    let parsed = ParsedMessage::from_value(&json!({
        "chain": "ETH", "sender": owner, "signature": "0x", "type": "STORE", "time": time,
        "item_hash": ItemHash::sha256(text.as_bytes()), "item_content": text,
    }))
    .unwrap();
    let hash = parsed.message.item_hash.clone();
    let content = parsed.content.as_ref().unwrap();
    let workload = Workload::of(&hash, content, &Estimates::default(), &mut Large).unwrap().unwrap();
    let costing = workload.price(&PriceTable::default(), &Settings::default()).unwrap();
    let pin = PinnedFile {
        file,
        info: FileInfo { size: 100 << 20, kind: FileKind::File },
        owner: owner.into(),
        message: hash.clone(),
        reference: None,
        tag: hash.as_str().to_owned(),
        created: content.time(),
    };
    let costs = Effect::SetCosts { message: hash.clone(), owner: owner.into(), costing: Box::new(costing) };
    process(transaction, &parsed, &[costs, Effect::PinFile(pin)]);
    hash
}

/// An expense; some publishers name the resource in `origin_ref` only.
fn expense(
    number: u32,
    owner: &str,
    amount: i64,
    origin: Option<&str>,
    reference: Option<&str>,
) -> HistoryRow {
    let moment = Moment {
        time: Timestamp::from_secs(i64::from(number)),
        is_expense: true,
        message: ItemHash::sha256(&number.to_le_bytes()),
    };
    HistoryRow {
        place: HistoryPlace { moment, index: 0 },
        kind: EntryKind::Spent,
        address: owner.into(),
        amount: -amount,
        expiration: None,
        requested_expiration: None,
        price: None,
        bonus_amount: None,
        tx_hash: None,
        token: None,
        chain: None,
        provider: None,
        origin: origin.map(str::to_owned),
        origin_ref: reference.map(str::to_owned),
        payment_method: Some("credit_expense".into()),
        expense_count: None,
        expense_size_mib: None,
    }
}

fn prices(digit: &str, seconds: i64, price: &Value) -> ElementFact {
    let Value::Object(content) = json!({ "storage": { "price": { "storage": price } } }) else {
        unreachable!("an object");
    };
    let hash = ItemHash::parse(&digit.repeat(64)).unwrap();
    ElementFact { stamp: Stamp { time: Timestamp::from_secs(seconds), hash }, content }
}

fn costs_are_summed_listed_and_computed_anew(engine: Engine) {
    let place = engine.place();
    let (store, mut writer) = Store::open(place.location()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut transaction = writer.begin().unwrap();
    let mut of_a: Vec<ItemHash> =
        (0..3).map(|n| store_message(&mut transaction, "0xA", 100 + n, "credit")).collect();
    let of_b = store_message(&mut transaction, "0xB", 150, "credit");
    let held = store_message(&mut transaction, "0xA", 160, "hold");
    let (first, second) = (of_a[0].as_str().to_owned(), of_a[1].as_str().to_owned());
    let rows = vec![
        expense(1, "0xA", 30, Some(&first), Some(&second)),
        expense(2, "0xA", 4, None, Some(&first)),
        expense(3, "0xA", 5, Some(""), Some(&second)),
        expense(4, "0xB", 600, Some(of_b.as_str()), None),
    ];
    transaction.apply_credits(&[CreditEffect::AddRows(rows)]).unwrap();
    transaction.commit().unwrap();

    let filter = |owner: Option<&str>, message: Option<&ItemHash>, payment| CostFilter {
        owner: owner.map(Address::from),
        message: message.cloned(),
        payment,
    };
    let (credit, hold) = (PaymentType::Credit, PaymentType::Hold);
    let summary = |filter| runtime.block_on(store.cost_summary(filter)).unwrap();
    let all = summary(filter(None, None, credit));
    // 100 MiB × 0.17967489030626108 / 3600, floored, four times.
    assert_eq!(all.costs.credit.to_string(), "0.019963876700695672");
    assert_eq!(all.costs.hold.to_string(), "133.333333200000000000");
    assert_eq!(all.resources, 4);
    assert_eq!(summary(filter(Some("0xA"), None, credit)).resources, 3);
    assert_eq!(summary(filter(Some("0xA"), None, hold)).costs.hold.to_string(), "33.333333300000000000");
    assert_eq!(summary(filter(Some("0xA"), Some(&of_b), credit)).resources, 0);

    let list = |filter, offset, limit| runtime.block_on(store.resource_costs(filter, offset, limit)).unwrap();
    let listed = list(filter(Some("0xA"), None, credit), 0, 10);
    of_a.sort();
    assert_eq!(listed.iter().map(|resource| resource.message.clone()).collect::<Vec<_>>(), of_a);
    let consumed =
        |hash: &str| listed.iter().find(|resource| resource.message.as_str() == hash).unwrap().consumed;
    assert_eq!((consumed(&first), consumed(&second)), (34, 5));
    assert_eq!(listed[0].costs.credit.to_string(), "0.004990969175173918");
    assert_eq!(list(filter(None, None, credit), 1, 2).len(), 2);
    assert_eq!(list(filter(None, None, credit), 4, 2), []);
    let total = |owner: Option<&str>, message: Option<&str>| {
        let message = message.map(|text| ItemHash::parse(text).unwrap());
        runtime.block_on(store.total_consumed_credits(owner.map(Address::from), message)).unwrap()
    };
    assert_eq!((total(None, None), total(Some("0xA"), None), total(None, Some(&first))), (639, 39, 34));
    assert_eq!((total(Some("0xB"), Some(&first)), total(Some("0xA"), Some(&second))), (0, 5));

    // Oldest first, page by page, each once.
    let mut after: Option<CostPlace> = None;
    let mut seen = Vec::new();
    loop {
        let page = runtime.block_on(store.priced_messages(after.take(), 2)).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.clone());
        seen.extend(page.into_iter().map(|place| place.time.as_micros() / 1_000_000));
    }
    assert_eq!(seen, [100, 101, 102, 150, 160]);

    // Each with the prices of its time: the default, twice as much, and a product that has none.
    let tariff = Tariff::of_elements(
        vec![
            prices("a", 101, &json!({ "holding": "1", "credit": "3.6" })),
            prices("b", 155, &json!({ "holding": "10" })),
        ],
        Vec::new(),
    );
    let mut transaction = writer.begin().unwrap();
    for message in of_a.iter().chain([&of_b, &held]) {
        assert_eq!(transaction.recalculate_costs(message, &tariff).unwrap(), Recalculated::Done);
    }
    let nothing = ItemHash::sha256(b"nothing");
    assert_eq!(transaction.recalculate_costs(&nothing, &tariff).unwrap(), Recalculated::Gone);
    transaction.commit().unwrap();
    let credit_of = |hash: &str| {
        let hash = ItemHash::parse(hash).unwrap();
        summary(filter(None, Some(&hash), credit)).costs.credit.to_string()
    };
    assert_eq!(credit_of(&first), "0.004990969175173918", "sent before the prices changed");
    assert_eq!(credit_of(&second), "0.100000000000000000");
    assert_eq!(summary(filter(None, Some(&held), hold)).costs.hold.to_string(), "1000.000000000000000000");
    let running = runtime.block_on(store.running_cost("0xA".into(), hold)).unwrap();
    assert_eq!(running.to_string(), "1000.000000000000000000", "the sum of the account follows");
    // Again: the same.
    let mut transaction = writer.begin().unwrap();
    transaction.recalculate_costs(&held, &tariff).unwrap();
    transaction.commit().unwrap();
    assert_eq!(runtime.block_on(store.running_cost("0xA".into(), hold)).unwrap(), running);
    let digest = runtime.block_on(store.recompute_digest()).unwrap();
    assert_eq!(digest.kept, digest.recomputed);
}

fn sums_beyond_64_bits_are_the_nearest_number(engine: Engine) {
    const MOST: i64 = i64::MAX;
    let place = engine.place();
    let (store, mut writer) = Store::open(place.location()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let lot = |number: u8, owner: &str, remaining: i64| {
        let key = LotKey {
            time: Timestamp::from_secs(i64::from(number)),
            message: ItemHash::sha256(&[number]),
            index: 0,
        };
        CreditEffect::AddLot(Lot { key, owner: owner.into(), remaining, expiration: None })
    };
    let mut rows: Vec<HistoryRow> = (1..=3).map(|n| expense(n, "0xA", MOST, Some("machine"), None)).collect();
    for number in 4..=5 {
        let mut row = expense(number, "0xA", -MOST, None, None);
        row.payment_method = None;
        rows.push(row);
    }
    let mut transaction = writer.begin().unwrap();
    transaction.apply_credits(&[CreditEffect::AddRows(rows)]).unwrap();
    // Two sums that differ by one, on both sides of a whole number of high halves.
    let half = 1 << 32;
    for lot in [
        lot(1, "0xA", MOST),
        lot(2, "0xA", MOST),
        lot(3, "0xB", half - 1),
        lot(4, "0xB", 1),
        lot(5, "0xC", half - 1),
    ] {
        transaction.apply_credits(&[lot]).unwrap();
    }
    transaction.commit().unwrap();
    let sums = runtime.block_on(store.credit_summary("0xA".into(), HistoryFilter::default())).unwrap();
    assert_eq!((sums.incoming, sums.outgoing), (MOST, i64::MIN));
    assert_eq!(runtime.block_on(store.consumed_credits("machine".into())).unwrap(), 1 << 63);
    assert_eq!(runtime.block_on(store.total_consumed_credits(None, None)).unwrap(), 1 << 63);
    let list = |least, after: Option<&str>| {
        let after = after.map(Address::from);
        let rows =
            runtime.block_on(store.credit_balances(Timestamp::EPOCH, least, after, (0, Some(10)))).unwrap();
        let count = runtime.block_on(store.count_credit_balances(Timestamp::EPOCH, least, 10)).unwrap().rows;
        let rows: Vec<(String, i64)> =
            rows.into_iter().map(|(owner, sum)| (owner.to_string(), sum)).collect();
        (rows, count)
    };
    let of = |owner: &str, sum: i64| (owner.to_owned(), sum);
    let all = vec![of("0xA", MOST), of("0xB", half), of("0xC", half - 1)];
    assert_eq!(list(None, None), (all.clone(), 3));
    assert_eq!(list(Some(half.unsigned_abs()), None), (all[..2].to_vec(), 2));
    assert_eq!(list(Some(half.unsigned_abs() - 1), Some("0xA")), (all[1..].to_vec(), 3));
    assert_eq!(list(Some(u64::MAX), None), (all[..1].to_vec(), 1));
}
