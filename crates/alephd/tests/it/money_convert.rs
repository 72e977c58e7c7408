//! A node with balances, lots, history, costs, deadlines and half-done jobs moves to PostgreSQL and back:
//! every line of its books is there, and they are kept on.

use std::sync::Arc;

use aleph_ledger::removal::{Circumstances, Event, Standing};
use aleph_test_postgres::Options;
use aleph_types::Timestamp;

use crate::convert::converted;
use crate::core_node::CoreNode;
use crate::money_books::{Place, books, database, deadlines, follows, posts_of, prepared};
use crate::money_traffic::Economy;
use crate::traffic::Item;

const ACCOUNTS: usize = 84;

/// Everything, deadlines and jobs included.
async fn everything(place: &Place, economy: &Economy) -> Vec<String> {
    let mut lines = books(&place.location, economy).await;
    lines.extend(deadlines(&place.location, economy).await);
    lines
}

async fn settle(node: &CoreNode, economy: &Economy, phase: usize) {
    let items = posts_of(economy, phase);
    node.take_all(&items, 0..items.len()).await;
    follows(node, economy, phase).await;
}

/// A machine more: its costs get places after those that were copied.
async fn one_more(node: &CoreNode, economy: &Economy, number: u32) {
    let items: Arc<[Item]> = vec![economy.extra(number)].into();
    node.take_all(&items, 0..1).await;
    let told = node.get(&format!("/api/v0/messages/{}", items[0].hash)).await;
    assert_eq!(told["status"], "processed", "{told:#}");
    let price = node.get(&format!("/api/v0/price/{}", items[0].hash)).await;
    assert_eq!(price["cost"], "3.958333333333333333");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_of_money_move_whole() {
    let economy = Economy::new(ACCOUNTS);
    let folder = tempfile::tempdir().expect("a folder");
    let home = Place::file(folder.path());
    let away = Place::server(Options::fast());
    let url = away.url.clone().expect("it is on a server");

    let mut node = prepared(folder.path(), &home, &economy).await;
    node.start().await;
    settle(&node, &economy, 1).await;
    one_more(&node, &economy, 0).await;
    let state = node.digest().await;
    node.stop().await;
    let at_home = everything(&home, &economy).await;
    let count = |kind: &str| at_home.iter().filter(|line| line.starts_with(kind)).count();
    assert_eq!(count("balance "), ACCOUNTS / 2);
    assert!(count("ledger ") > ACCOUNTS && count("cost ") >= 3 * ACCOUNTS && count("job ") == 2);
    assert_eq!(count("deadline "), ACCOUNTS / 7 * 6, "{at_home:#?}");

    let (done, _) = converted(folder.path().join("data").to_str().expect("text"), &url).await;
    assert_eq!(done["digest"], state["digest"]);
    for (table, rows) in [
        ("account_costs", count("cost ") + 4),
        ("credit_history", count("ledger ")),
        ("balances", count("balance ")),
        ("removals", count("deadline ")),
        ("jobs", 2),
    ] {
        assert_eq!(done["tables"][table], rows, "{table}: {done}");
    }
    assert_eq!(everything(&away, &economy).await, at_home);

    // There the node goes on: who can pay again keeps what the copied deadlines were for.
    let mut moved = economy.known_to(CoreNode::new(folder.path()));
    moved = moved.with("STORAGE__DATABASE", &url).with("NETWORK__SETTLE_SECONDS", "1");
    moved.start().await;
    assert_eq!(moved.digest().await["digest"], state["digest"]);
    settle(&moved, &economy, 2).await;
    one_more(&moved, &economy, 1).await;
    settle(&moved, &economy, 3).await;
    moved.stop().await;

    // One of them goes for good.
    let gone = economy.machines[1].clone();
    let (_store, mut writer) = database(&away.location).await;
    let go = move || {
        let mut transaction = writer.begin().expect("a transaction");
        let circumstances = Circumstances { now: Timestamp::from_secs(4_000_000_000), is_catching_up: false };
        let step = transaction.step_removal(&gone, Event::Collect, &circumstances).expect("it is stored");
        assert!(matches!(step.standing, Standing::Removed { .. }), "{step:?}");
        transaction.commit().expect("it is durable");
    };
    tokio::task::spawn_blocking(go).await.expect("no panic");
    let there = everything(&away, &economy).await;
    assert_ne!(there, at_home);

    let back = Place::file(&folder.path().join("back"));
    let file = folder.path().join("back/data/node.sqlite3");
    converted(&url, file.to_str().expect("text")).await;
    assert_eq!(everything(&back, &economy).await, there);
    let mut node = economy.known_to(CoreNode::new(folder.path()));
    node = node.with("STORAGE__DATABASE", file.to_str().expect("text")).with("NETWORK__SETTLE_SECONDS", "1");
    node.start().await;
    let told = node.get(&format!("/api/v0/messages/{}", economy.machines[1])).await;
    assert_eq!(told["status"], "removed");
    one_more(&node, &economy, 2).await;
    node.digest().await;
    node.stop().await;
}
