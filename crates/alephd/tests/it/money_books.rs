//! What a node's books say of money, read while no process uses its database, and nodes that are ready to
//! settle accounts.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aleph_ledger::removal::Job;
use aleph_store::queries::SortOrder;
use aleph_store::{
    BalanceFilter, BalanceStart, HistoryFilter, HistorySort, HistoryStart, Location, Store, Writer,
};
use aleph_test_postgres::{Options, Server};
use aleph_types::{Chain, ChainTx, Timestamp};

use crate::core_node::CoreNode;
use crate::harness::eventually;
use crate::money_traffic::Economy;
use crate::traffic::Item;

/// The node's database while no process uses it.
pub(crate) async fn database(location: &Location) -> (Store, Writer) {
    let location = location.clone();
    tokio::task::spawn_blocking(move || Store::open(location).expect("the database opens"))
        .await
        .expect("no panic")
}

/// Confirms every machine: what is unconfirmed is never removed.
pub(crate) async fn confirm(location: &Location, economy: &Economy) {
    let (_store, mut writer) = database(location).await;
    let machines = economy.machines.clone();
    let confirm = move || {
        let mut transaction = writer.begin().expect("a transaction");
        let tx = ChainTx {
            chain: Chain::Eth,
            hash: "0xaa".into(),
            height: 23_000_000,
            time: Timestamp::from_secs(1),
            publisher: "0xP".into(),
        };
        for machine in &machines {
            transaction.confirm(machine, &tx).expect("it is stored");
        }
        transaction.commit().expect("it is durable");
    };
    tokio::task::spawn_blocking(confirm).await.expect("no panic");
}

/// Everything about money that must be the same on every node, beside what the digest covers.
pub(crate) async fn books(location: &Location, economy: &Economy) -> Vec<String> {
    let (store, _writer) = database(location).await;
    let mut lines = Vec::new();
    let all = BalanceFilter::default();
    for row in store.list_balances(all, BalanceStart::Offset(0), u64::MAX).await.expect("balances") {
        lines.push(format!("balance {} {} {} {}", row.address, row.chain, row.dapp, row.amount));
    }
    for (place, machine) in economy.machines.iter().enumerate() {
        for cost in store.costs_of(machine.clone()).await.expect("costs") {
            lines.push(format!("cost {} {machine} {} {:?}", cost.owner, cost.name, cost.costs));
        }
        let removal = store.removal(machine.clone()).await.expect("removals");
        lines.push(format!(
            "removal {:?}",
            removal.map(|removal| (removal.owner, removal.size, removal.payment))
        ));
        let owner = economy.address(place);
        let order = (HistorySort::Time, SortOrder::Ascending);
        let history = store
            .credit_history(owner.clone(), HistoryFilter::default(), order, (HistoryStart::Offset(0), None))
            .await;
        let mut sum = 0;
        for row in history.expect("the ledger") {
            sum += i128::from(row.amount);
            lines.push(format!("ledger {row:?}"));
        }
        // Nothing was ever spent that was not there, so what is left is what came minus what went.
        let left = store.credit_balance(owner, Timestamp::from_secs(4_000_000_000)).await.expect("credits");
        assert_eq!(left.total, sum, "account {place} was charged twice, or not");
    }
    lines
}

/// What only one node's clock decides: deadlines, and how far the jobs are.
pub(crate) async fn deadlines(location: &Location, economy: &Economy) -> Vec<String> {
    let (store, _writer) = database(location).await;
    let mut lines = Vec::new();
    for machine in &economy.machines {
        if let Some(removal) = store.removal(machine.clone()).await.expect("removals") {
            lines.push(format!("deadline {removal:?}"));
        }
    }
    for job in [Job::Hold, Job::Credit] {
        lines.push(format!("job {:?}", store.job_state(job).await.expect("jobs").expect("it ran")));
    }
    lines
}

/// Hashes of the machines that are on their way out.
pub(crate) async fn removing(node: &CoreNode) -> Vec<String> {
    let told = node.get("/api/v0/messages/hashes?status=removing&pagination=0").await;
    let mut hashes: Vec<String> = told["hashes"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|hash| hash.as_str().expect("a hash").to_owned())
        .collect();
    hashes.sort();
    hashes
}

pub(crate) fn posts_of(economy: &Economy, phase: usize) -> Arc<[Item]> {
    if phase % 2 == 1 { economy.starve(phase) } else { economy.feed(phase) }.into()
}

/// What is on its way out after a phase.
fn expected(economy: &Economy, phase: usize) -> Vec<String> {
    let starved = |place: &usize| phase % 2 == 1 && economy.is_starved(*place);
    let mut hashes: Vec<String> = (0..economy.machines.len())
        .filter(starved)
        .map(|place| economy.machines[place].as_str().to_owned())
        .collect();
    hashes.sort();
    hashes
}

/// The jobs run every second, and look at every half of one.
fn hasty(node: CoreNode) -> CoreNode {
    node.with("NETWORK__SETTLE_SECONDS", "1")
}

/// Waits until everything of a phase has followed.
pub(crate) async fn follows(node: &CoreNode, economy: &Economy, phase: usize) {
    let expected = expected(economy, phase);
    eventually("the jobs have looked at everybody", async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        removing(node).await == expected
    })
    .await;
}

/// A node on `folder` and `location` with all machines processed and confirmed.
pub(crate) async fn prepared(folder: &Path, place: &Place, economy: &Economy) -> CoreNode {
    let plain = || {
        let node = economy.known_to(CoreNode::new(folder));
        match &place.url {
            Some(url) => node.with("STORAGE__DATABASE", url),
            None => node,
        }
    };
    let mut node = plain();
    node.start().await;
    economy.settle_on(&node).await;
    node.stop().await;
    confirm(&place.location, economy).await;
    hasty(plain())
}

/// Where a node's database is.
pub(crate) struct Place {
    pub(crate) location: Location,
    /// Of a server: what the location shows has no password.
    pub(crate) url: Option<String>,
    server: Option<Server>,
}

impl Place {
    pub(crate) fn file(folder: &Path) -> Self {
        Self { location: Location::Sqlite(folder.join("data/node.sqlite3")), url: None, server: None }
    }

    /// A new server with an empty database.
    pub(crate) fn server(options: Options) -> Self {
        let server = Server::start(options).expect("a server");
        let url = server.database(DATABASE).expect("a database");
        Self { location: url.parse().expect("a URL"), url: Some(url), server: Some(server) }
    }

    /// Lets every deadline be over, as no clock would for a day; no node uses the database.
    pub(crate) fn end_all_deadlines(&self) {
        const SQL: &str = "UPDATE removals SET until = 1 WHERE removed_at IS NULL";
        match (&self.location, &self.server) {
            (Location::Sqlite(path), _) => {
                let database = rusqlite::Connection::open(path).expect("the file opens");
                database.execute(SQL, []).expect("it is changed");
            }
            (Location::Postgres(_), Some(server)) => {
                server.query(DATABASE, SQL).expect("it is changed");
            }
            (Location::Postgres(_), None) => unreachable!("places on servers have one"),
        }
    }
}

/// The name of the database on a server.
const DATABASE: &str = "node";
