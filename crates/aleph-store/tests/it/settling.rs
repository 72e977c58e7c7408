//! Posts that come too late for one transaction: accounts are settled in pages, whatever happens between them.

use aleph_ledger::credit::{
    Action, Applied, CreditRules, DistributionEntry, ExpenseEntry, Grant, Moment, Operation, Payment,
    Transfer, apply,
};
use aleph_rules::Facts;
use aleph_store::{Store, Writer};
use aleph_types::{Address, ItemHash, Timestamp};

use crate::place::{Engine, on_both_engines};

on_both_engines!(late_posts_are_settled_in_pages);

/// Posts of each of three accounts: more than a page has.
const POSTS: i64 = 200;

fn account(number: i64) -> Address {
    Address::from(format!("0x{number}"))
}

fn at(number: i64, is_expense: bool, action: Action) -> Operation {
    let message = ItemHash::sha256(&number.to_be_bytes());
    let moment = Moment { time: Timestamp::from_secs(1_800_000_000 + number), is_expense, message };
    Operation { moment, sender: account(number % 3), factor: 1, action }
}

fn grant(number: i64, to: i64, amount: i64, expiration: Option<Timestamp>) -> Operation {
    let entry = DistributionEntry {
        address: account(to),
        amount: i128::from(amount),
        price: "1".into(),
        tx_hash: "0x".into(),
        provider: "p".into(),
        expiration_ms: None,
        origin: None,
        reference: None,
        payment_method: None,
        bonus_amount: None,
    };
    let grants = vec![Grant { amount, expiration, entry }];
    at(number, false, Action::Distribute { token: "T".into(), chain: "C".into(), grants })
}

fn expense(number: i64, from: i64, amount: i64) -> Operation {
    let entry = ExpenseEntry {
        address: account(from),
        amount: i128::from(amount),
        reference: None,
        execution_id: None,
        node_id: None,
        price: None,
        count: None,
        size: None,
    };
    at(number, true, Action::Spend(vec![Payment { amount, entry }]))
}

fn transfer(number: i64, amount: i64) -> Operation {
    let recipient = account((number + 1) % 3);
    at(number, false, Action::Transfer(vec![Transfer { recipient, amount, expiration: None }]))
}

/// Grants that expire and that don't, expenses, and transfers around: which lot is spent when decides how
/// every later transfer is split.
fn history() -> Vec<Operation> {
    let mut operations = Vec::new();
    for number in 0..3 * POSTS {
        operations.push(match number % 5 {
            0 => grant(number, number % 3, 40, None),
            1 => {
                let end = Timestamp::from_secs(1_800_000_000 + number + 300);
                grant(number, number % 3, 25, Some(end))
            }
            2 => expense(number, number % 3, 9),
            _ => transfer(number, 11),
        });
    }
    operations
}

fn send(writer: &mut Writer, rules: &CreditRules, operations: &[Operation]) {
    for operations in operations.chunks(300) {
        let mut transaction = writer.begin().unwrap();
        for operation in operations {
            let applied = apply(operation, rules, &mut transaction.facts().ledger(Timestamp::EPOCH)).unwrap();
            if let Applied::Now { effects, .. } = applied {
                transaction.apply_credits(&effects).unwrap();
            }
        }
        transaction.commit().unwrap();
    }
}

fn late_posts_are_settled_in_pages(engine: Engine) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rules = CreditRules { late_rows: 50, ..CreditRules::default() };
    // A grant that everything is paid from first, an expense, and a transfer of the middle.
    let late = [grant(-3, 0, 500, None), expense(-2, 0, 77), transfer(-3 * 7 + 1_000_000, 5)];
    let digest = |store: &Store| runtime.block_on(store.digest()).unwrap();
    let expected = {
        let place = engine.place();
        let (store, mut writer) = Store::open(place.location()).unwrap();
        let mut sorted: Vec<Operation> = history().into_iter().chain(late.clone()).collect();
        sorted.sort_by_key(|operation| operation.moment.clone());
        send(&mut writer, &rules, &sorted);
        assert!(runtime.block_on(store.deferred_accounts(9)).unwrap().is_empty());
        digest(&store)
    };

    let place = engine.place();
    let (mut store, mut writer) = Store::open(place.location()).unwrap();
    send(&mut writer, &rules, &history());
    let mut late = late.into_iter();
    send(&mut writer, &rules, &[late.next().unwrap()]);
    let mut pages = 0;
    loop {
        let Some(next) = runtime.block_on(store.deferred_accounts(1)).unwrap().pop() else {
            match late.next() {
                Some(operation) => send(&mut writer, &rules, &[operation]),
                None => break,
            }
            continue;
        };
        let mut transaction = writer.begin().unwrap();
        transaction.settle_deferred(vec![next]).unwrap();
        match pages % 4 {
            // Killed before the page is stored.
            3 => drop(transaction),
            _ => transaction.commit().unwrap(),
        }
        pages += 1;
        if pages % 5 == 0 {
            drop((store, writer));
            (store, writer) = Store::open(place.location()).unwrap();
        }
        // One more comes in the middle.
        if pages == 2
            && let Some(operation) = late.next()
        {
            send(&mut writer, &rules, &[operation]);
        }
        assert!(pages < 1_000, "it does not end");
    }
    assert!(pages > 6, "{pages} pages");
    assert_eq!(digest(&store).parts, expected.parts);
    let digest = runtime.block_on(store.recompute_digest()).unwrap();
    assert_eq!(digest.kept, digest.recomputed);
    assert_eq!(place.by_hand("SELECT CAST(count(*) AS TEXT) FROM credit_lots_anew"), "0");
}
