//! Kills with -9 in the middle of the jobs that hold accounts against what they pay for, and of the posts
//! that fund and starve them: nobody is charged twice, no deadline is lost or moved, and in the end the
//! state is that of a node that nobody disturbed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aleph_ledger::removal::Job;
use aleph_store::Location;
use aleph_test_postgres::{Options, Server};
use aleph_types::{ItemHash, Timestamp};

use crate::core_node::CoreNode;
use crate::money_books::{Place, books, database, follows, posts_of, prepared};
use crate::money_traffic::Economy;
use crate::traffic::Dice;

/// Accounts, each with one machine: several pages of both jobs.
const ACCOUNTS: usize = 1_600;
/// Kills that must hit a job between two of its pages.
const MIDWAY: usize = 4;
/// Kills of one phase, at most.
const KILLS: usize = 6;
/// Phases, at most: funds go and come in turns.
const PHASES: usize = 24;
/// From the first answer of a process to its kill, in milliseconds: the jobs begin after half a second.
const LIFE: (usize, usize) = (350, 700);

/// The deadlines that the database holds, and whether a job stopped between two pages.
async fn deadlines(location: &Location, economy: &Economy) -> (BTreeMap<ItemHash, Timestamp>, bool) {
    let (store, _writer) = database(location).await;
    let mut deadlines = BTreeMap::new();
    for machine in &economy.machines {
        if let Some(removal) = store.removal(machine.clone()).await.expect("it can be read") {
            let until = removal.until.expect("a removal has a deadline");
            assert_eq!(removal.removed_at, None, "no deadline has come");
            deadlines.insert(machine.clone(), until);
        }
    }
    let mut midway = false;
    for job in [Job::Hold, Job::Credit] {
        let state = store.job_state(job).await.expect("it can be read");
        midway |= state.is_some_and(|state| !state.is_complete && state.after.is_some());
    }
    (deadlines, midway)
}

/// Kills a node again and again while its accounts' funds go and come; gives how many phases that were.
async fn killed(node: &mut CoreNode, location: &Location, economy: &Economy, dice: &mut Dice) -> usize {
    let (mut hits, mut kills) = (0, 0);
    for phase in 1..=PHASES {
        let items = posts_of(economy, phase);
        let stop = Arc::new(AtomicBool::new(false));
        let publishing = node.publish(&items, 0..items.len(), &stop);
        let (mut before, _) = deadlines(location, economy).await;
        for _ in 0..KILLS {
            node.start().await;
            let life = LIFE.0 + dice.roll(LIFE.1);
            tokio::time::sleep(Duration::from_millis(life as u64)).await;
            node.kill9().await;
            kills += 1;
            let (now, midway) = deadlines(location, economy).await;
            hits += usize::from(midway);
            for (machine, until) in &before {
                match now.get(machine) {
                    Some(still) => assert_eq!(still, until, "the deadline of {machine} moved"),
                    None => assert_eq!(phase % 2, 0, "the deadline of {machine} is lost"),
                }
            }
            if phase % 2 == 0 {
                assert!(now.keys().all(|machine| before.contains_key(machine)), "funds came, and it goes");
            }
            before = now;
        }
        node.start().await;
        assert_eq!(publishing.end().await.len(), items.len());
        stop.store(true, Ordering::Relaxed);
        follows(node, economy, phase).await;
        node.stop().await;
        // An odd phase last: deadlines are part of what is compared.
        if hits >= MIDWAY && phase % 2 == 1 {
            println!("{kills} kills in {phase} phases, {hits} of them between two pages of a job");
            return phase;
        }
    }
    panic!("only {hits} of {kills} kills hit a job midway");
}

async fn jobs_survive_kills(folder: &Path, place: Place, seed: u64) {
    let economy = Economy::new(ACCOUNTS);
    let mut dice = Dice::new(seed);
    let mut node = prepared(folder, &place, &economy).await;
    let location = &place.location;
    let phases = killed(&mut node, location, &economy, &mut dice).await;
    node.start().await;
    let state = node.digest().await;
    node.stop().await;
    let books_of_killed = books(location, &economy).await;

    let calm = tempfile::tempdir().expect("a folder");
    let place = Place::file(calm.path());
    let mut node = prepared(calm.path(), &place, &economy).await;
    node.start().await;
    for phase in 1..=phases {
        let items = posts_of(&economy, phase);
        node.take_all(&items, 0..items.len()).await;
        follows(&node, &economy, phase).await;
    }
    let undisturbed = node.digest().await;
    node.stop().await;
    assert_eq!(state, undisturbed, "the killed node on the left");
    let books_of_calm = books(&place.location, &economy).await;
    for (killed, calm) in books_of_killed.iter().zip(&books_of_calm) {
        assert_eq!(killed, calm, "the killed node on the left");
    }
    assert_eq!(books_of_killed.len(), books_of_calm.len());
    println!("both: {} with {} lines of books; {}", state["digest"], books_of_calm.len(), state["rows"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_money_survive_kills_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    jobs_survive_kills(folder.path(), Place::file(folder.path()), 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_money_survive_kills_on_postgres() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(Options::durable()).expect("a server");
    let url = server.database("node").expect("a database");
    let location: Location = url.parse().expect("a URL");
    jobs_survive_kills(folder.path(), Place { location, url: Some(url) }, 12).await;
}
