//! No history creates or loses a credit, whatever the order in which its posts arrive.

use std::collections::BTreeMap;

use aleph_ledger::credit::{
    Action, CreditRules, DistributionEntry, EntryKind, ExpenseEntry, Grant, Lot, LotKey, Moment, Operation,
    Payment, Transfer, admit, recompute,
};
use aleph_types::{Address, ItemHash, Timestamp};
use proptest::prelude::*;

use crate::book::Book;

const ACCOUNTS: u8 = 5;
/// Few instants, so that ties are common.
const INSTANTS: i64 = 8;

fn account(number: u8) -> Address {
    Address::from(format!("0x{number}"))
}

fn instant(number: i64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000 + number)
}

fn expiration() -> impl Strategy<Value = Option<Timestamp>> {
    prop_oneof![2 => Just(None), 1 => (0..INSTANTS + 2).prop_map(|at| Some(instant(at)))]
}

fn amounts() -> impl Strategy<Value = i64> {
    prop_oneof![6 => 1..200i64, 1 => Just(i64::MAX / 1000)]
}

fn transfers() -> impl Strategy<Value = Vec<Transfer>> {
    let one = (0..ACCOUNTS, amounts(), expiration());
    proptest::collection::vec(one, 1..4).prop_map(|sent| {
        let mut entries: BTreeMap<u8, Transfer> = BTreeMap::new();
        for (to, amount, expiration) in sent {
            entries.insert(to, Transfer { recipient: account(to), amount, expiration });
        }
        entries.into_values().collect()
    })
}

fn distribution() -> impl Strategy<Value = Action> {
    let one = (0..ACCOUNTS, amounts(), expiration()).prop_map(|(to, amount, expiration)| Grant {
        amount,
        expiration,
        entry: DistributionEntry {
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
        },
    });
    proptest::collection::vec(one, 1..4).prop_map(|grants| Action::Distribute {
        token: "T".into(),
        chain: "C".into(),
        grants,
    })
}

fn expense() -> impl Strategy<Value = Action> {
    let one = (0..ACCOUNTS, amounts()).prop_map(|(from, amount)| Payment {
        amount,
        entry: ExpenseEntry {
            address: account(from),
            amount: i128::from(amount),
            reference: None,
            execution_id: None,
            node_id: None,
            price: None,
            count: None,
            size: None,
        },
    });
    proptest::collection::vec(one, 1..4).prop_map(Action::Spend)
}

/// Posts with distinct hashes, in order of arrival.
fn histories(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    let action = prop_oneof![
        4 => distribution(),
        3 => expense(),
        4 => transfers().prop_map(Action::Transfer),
        1 => transfers().prop_map(Action::Mint),
    ];
    proptest::collection::vec((0..INSTANTS, 0..ACCOUNTS, action), 0..most).prop_map(|posts| {
        let operation = |(number, (at, from, action)): (usize, (i64, u8, Action))| {
            let sender = account(from);
            let action = match action {
                Action::Transfer(mut entries) => {
                    entries.retain(|entry| entry.recipient != sender);
                    Action::Transfer(entries)
                }
                other => other,
            };
            let is_expense = matches!(action, Action::Spend(_));
            let message = ItemHash::sha256(&number.to_be_bytes());
            Operation { moment: Moment { time: instant(at), is_expense, message }, sender, factor: 1, action }
        };
        let posts = posts.into_iter().enumerate().map(operation);
        posts
            .filter(|post| !matches!(&post.action, Action::Transfer(entries) if entries.is_empty()))
            .collect()
    })
}

/// The ledger by its definition: sort, then one after the other. Returns lots and what was spent.
fn by_definition(operations: &[Operation]) -> (BTreeMap<LotKey, Lot>, i128) {
    let mut sorted: Vec<&Operation> = operations.iter().collect();
    sorted.sort_by_key(|operation| operation.moment.clone());
    let mut lots: BTreeMap<LotKey, Lot> = BTreeMap::new();
    let mut spent = 0;
    let take = |lots: &mut BTreeMap<LotKey, Lot>, from: &Address, moment: &Moment, amount: i64| {
        let mut open = amount;
        let mut parts: Vec<(i64, Option<Timestamp>)> = Vec::new();
        for lot in lots.values_mut().filter(|lot| lot.owner == *from) {
            let is_there = lot.key.time < moment.time
                || lot.key.time == moment.time && (moment.is_expense || lot.key.message < moment.message);
            if is_there && lot.expiration.is_none_or(|end| end > moment.time) && open.min(lot.remaining) > 0 {
                let taken = open.min(lot.remaining);
                lot.remaining -= taken;
                open -= taken;
                parts.push((taken, lot.expiration));
            }
        }
        parts
    };
    for operation in sorted {
        let moment = &operation.moment;
        let mut index = 0;
        let give = |lots: &mut BTreeMap<LotKey, Lot>, index: &mut u32, to: &Address, amount, expiration| {
            let key = LotKey { time: moment.time, message: moment.message.clone(), index: *index };
            lots.insert(key.clone(), Lot { key, owner: to.clone(), remaining: amount, expiration });
            *index += 1;
        };
        match &operation.action {
            Action::Distribute { grants, .. } => {
                for grant in grants {
                    give(&mut lots, &mut index, &grant.entry.address, grant.amount, grant.expiration);
                }
            }
            Action::Mint(entries) => {
                for entry in entries {
                    give(&mut lots, &mut index, &entry.recipient, entry.amount, entry.expiration);
                }
            }
            Action::Spend(payments) => {
                for payment in payments {
                    let parts = take(&mut lots, &payment.entry.address, moment, payment.amount);
                    spent += parts.iter().map(|(amount, _)| i128::from(*amount)).sum::<i128>();
                }
            }
            Action::Transfer(entries) => {
                for entry in entries {
                    let parts = take(&mut lots, &operation.sender, moment, entry.amount);
                    let mut merged: Vec<(i64, Option<Timestamp>)> = Vec::new();
                    for (amount, own) in parts {
                        let end = [own, entry.expiration].into_iter().flatten().min();
                        match merged.last_mut() {
                            Some(last) if last.1 == end => last.0 += amount,
                            _ => merged.push((amount, end)),
                        }
                    }
                    for (amount, end) in merged {
                        give(&mut lots, &mut index, &entry.recipient, amount, end);
                    }
                    index += 1;
                }
            }
        }
    }
    (lots, spent)
}

/// Settles what is deferred, in pages of that many rows, the first or the last account first.
fn settle_all(book: &mut Book, page: usize, last: bool, rules: &CreditRules) {
    let mut pages = 0;
    while let Some(account) = if last { book.deferred.last() } else { book.deferred.first() }.cloned() {
        book.settle(&account, page, rules);
        pages += 1;
        assert!(pages < 10_000, "it does not end");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Any arrival order, with duplicates, leads to the ledger of the definition; granted = spent +
    /// expired + available at any time.
    #[test]
    fn credits_are_conserved_in_any_order(
        (operations, arrivals) in histories(24).prop_flat_map(|posts| {
            let doubled = posts.iter().chain(posts.iter().take(posts.len() / 2)).cloned().collect::<Vec<_>>();
            (Just(posts), Just(doubled).prop_shuffle())
        }),
        now in -1..INSTANTS + 3,
    ) {
        let rules = CreditRules::default();
        let (lots, spent) = by_definition(&operations);
        let mut sorted = operations.clone();
        sorted.sort_by_key(|operation| operation.moment.clone());
        let mut in_order = Book::default();
        for operation in &sorted {
            prop_assert_eq!(in_order.apply(operation, &rules), Some(0), "nothing is late in order");
        }
        let mut shuffled = Book::default();
        for operation in &arrivals {
            shuffled.apply(operation, &rules);
        }
        let by_key: BTreeMap<LotKey, Lot> =
            in_order.lots.values().map(|lot| (lot.key.clone(), lot.clone())).collect();
        prop_assert_eq!(&by_key, &lots);
        prop_assert_eq!(&shuffled, &in_order);

        let now = instant(now);
        let granted = shuffled.sum_of_rows(EntryKind::Granted);
        let (mut available, mut expired) = (0i128, 0i128);
        for lot in shuffled.lots.values() {
            match lot.is_valid_at(now) {
                true => available += i128::from(lot.remaining),
                false => expired += i128::from(lot.remaining),
            }
        }
        prop_assert_eq!(granted, spent + expired + available);
        let balances: i128 = (0..ACCOUNTS).map(|number| shuffled.balance(&account(number), now).total).sum();
        prop_assert_eq!(balances, available);
        prop_assert!(spent <= -shuffled.sum_of_rows(EntryKind::Spent));

        // A replay of everything changes nothing.
        let before = shuffled.clone();
        for operation in &operations {
            prop_assert_eq!(shuffled.apply(operation, &rules), None);
        }
        prop_assert_eq!(&shuffled, &before);

        // Nor does computing every account anew, even from lots that were lost.
        shuffled.lots.clear();
        let effects = recompute((0..ACCOUNTS).map(account).collect(), &rules, &mut shuffled).unwrap();
        shuffled.store(effects);
        prop_assert_eq!(shuffled, before);
    }

    /// With little room for late operations, work is put off; once it is done, the ledger is the same.
    #[test]
    fn deferred_work_ends_in_the_same_ledger(
        (sorted, arrivals, late_rows, page, last) in histories(20).prop_flat_map(|mut posts| {
            posts.sort_by_key(|operation| operation.moment.clone());
            (Just(posts.clone()), Just(posts).prop_shuffle(), 0..12u64, 1..9usize, any::<bool>())
        }),
    ) {
        let limited = CreditRules { late_rows, ..CreditRules::default() };
        let mut in_order = Book::default();
        for operation in &sorted {
            in_order.apply(operation, &limited);
        }
        prop_assert!(in_order.deferred.is_empty());
        let mut shuffled = Book::default();
        for (number, operation) in arrivals.iter().enumerate() {
            shuffled.apply(operation, &limited);
            // Posts come while accounts are settled.
            if number % 2 == 1 {
                let next = if last { shuffled.deferred.last() } else { shuffled.deferred.first() }.cloned();
                next.inspect(|account| shuffled.settle(account, page, &limited));
            }
        }
        settle_all(&mut shuffled, page, last, &limited);
        prop_assert_eq!(shuffled, in_order);
    }

    /// A transfer that is admitted moves exactly what it says, and what is not covered is refused.
    #[test]
    fn an_admitted_transfer_moves_exactly_its_amount(operations in histories(24)) {
        let rules = CreditRules::default();
        let mut book = Book::default();
        for operation in &operations {
            let Action::Transfer(entries) = &operation.action else {
                book.apply(operation, &rules);
                continue;
            };
            let before = book.sum_of_lots();
            let balance = book.balance(&operation.sender, operation.moment.time).total;
            let amount: i128 = entries.iter().map(|entry| i128::from(entry.amount)).sum();
            let verdict = admit(operation, operation.moment.time, &mut book).unwrap();
            if verdict.is_err() {
                continue;
            }
            prop_assert!(amount <= balance);
            let rebuilt = book.apply(operation, &rules);
            if rebuilt == Some(0) {
                prop_assert_eq!(book.sum_of_lots(), before);
                let moved: i128 = book
                    .rows
                    .values()
                    .filter(|row| row.place.moment == operation.moment && row.kind == EntryKind::Received)
                    .map(|row| i128::from(row.amount))
                    .sum();
                prop_assert_eq!(moved, amount);
            }
            prop_assert!(book.lots.values().all(|lot| lot.remaining >= 0));
        }
    }
}

/// Two ways in which the network's own check, at the node's clock and unscaled, would let credits come
/// from nowhere.
#[test]
fn early_and_old_posts_give_only_what_was_there() {
    let rules = CreditRules::default();
    let mut book = Book::default();
    let grant = |amount| Transfer { recipient: account(1), amount, expiration: None };
    let operation = |name: &[u8], seconds, factor, action| Operation {
        moment: Moment {
            time: Timestamp::from_secs(seconds),
            is_expense: false,
            message: ItemHash::sha256(name),
        },
        sender: account(1),
        factor,
        action,
    };
    book.apply(&operation(b"grant", 1_800_000_000, 1, Action::Mint(vec![grant(100)])), &rules);
    let to = |amount| Action::Transfer(vec![Transfer { recipient: account(2), amount, expiration: None }]);
    let now = Timestamp::from_secs(1_800_000_010);
    let early = operation(b"early", 1_799_999_999, 1, to(100));
    assert!(admit(&early, now, &mut book).unwrap().is_err());
    let old = operation(b"old", 1_600_000_000, 10_000, to(100 * 10_000));
    assert!(admit(&old, now, &mut book).unwrap().is_err());
    let fair = operation(b"fair", 1_800_000_001, 1, to(100));
    assert_eq!(admit(&fair, now, &mut book).unwrap(), Ok(()));
    let much = operation(b"much", 1_800_000_001, 1, to(101));
    let refusal = admit(&much, now, &mut book).unwrap().unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "Insufficient credit balance for transfer. Required: 101, Available: 100"
    );
    let own = operation(b"own", 1_800_000_001, 1, Action::Transfer(vec![grant(1)]));
    assert!(admit(&own, now, &mut book).unwrap().unwrap_err().to_string().starts_with("Self-transfer"));
}
