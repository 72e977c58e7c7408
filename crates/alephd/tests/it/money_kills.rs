//! Kills with -9 in the middle of the jobs that hold accounts against what they pay for, and of the posts
//! that fund and starve them, and while what has passed its deadline is taken away: nobody is charged twice,
//! no deadline is lost or moved, and in the end the state is that of a node that nobody disturbed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aleph_ledger::removal::Job;
use aleph_store::Location;
use aleph_test_postgres::Options;
use aleph_types::{ItemHash, MessageStatus, Timestamp};

use crate::core_node::CoreNode;
use crate::harness::eventually;
use crate::money_books::{Place, books, database, follows, posts_of, prepared, removing};
use crate::money_traffic::Economy;
use crate::traffic::Dice;

/// Accounts, each with one machine: several pages of both jobs.
const ACCOUNTS: usize = 1_600;
/// Kills that must hit a job between two of its pages.
const MIDWAY: usize = 4;
/// Kills of one phase, at most.
const KILLS: usize = 6;
/// Phases, at least: funds go, come and go.
const FUNDS_WENT_AND_CAME: usize = 3;
/// Phases, at most: funds go and come in turns.
const PHASES: usize = 24;
/// From the first answer of a process to its kill, in milliseconds: the jobs begin after half a second.
const LIFE: (usize, usize) = (350, 700);
/// The same for processes that are to get beyond the jobs: what is over is taken away after them.
const LONG_LIFE: (usize, usize) = (500, 6_500);

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
        if hits >= MIDWAY && phase >= FUNDS_WENT_AND_CAME && phase % 2 == 1 {
            println!("{kills} kills in {phase} phases, {hits} of them between two pages of a job");
            return phase;
        }
    }
    panic!("only {hits} of {kills} kills hit a job midway");
}

/// How many messages are gone, each whole: whatever is not gone still has its deadline and its costs.
async fn gone(place: &Place, economy: &Economy) -> usize {
    let (store, _writer) = database(&place.location).await;
    let mut gone = 0;
    for machine in &economy.machines {
        let Some(removal) = store.removal(machine.clone()).await.expect("removals") else { continue };
        let costs = store.costs_of(machine.clone()).await.expect("costs").len();
        let (status, _) =
            store.message_status(machine.clone()).await.expect("a status").expect("it is known");
        match removal.removed_at {
            Some(_) => assert_eq!((status, costs), (MessageStatus::Removed, 0), "{machine}"),
            None => assert_eq!((status, costs), (MessageStatus::Removing, 3), "{machine}"),
        }
        gone += usize::from(removal.removed_at.is_some());
    }
    gone
}

/// Ends every deadline, and kills the node while it takes away what they were for.
async fn collected(node: &mut CoreNode, place: &Place, economy: &Economy, kills: usize, dice: &mut Dice) {
    place.end_all_deadlines();
    let mut midway = Vec::new();
    for kill in 0..kills {
        node.start().await;
        // The jobs before it take longer on one engine than on the other.
        let (least, more) = if kill % 2 == 0 { LIFE } else { LONG_LIFE };
        let life = least + dice.roll(more);
        tokio::time::sleep(Duration::from_millis(life as u64)).await;
        node.kill9().await;
        midway.push(gone(place, economy).await);
    }
    assert!(midway.is_sorted(), "what was gone came back: {midway:?}");
    node.start().await;
    eventually("all of it is gone", async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        removing(node).await.is_empty()
    })
    .await;
    if kills > 0 {
        println!("gone after each of {kills} kills: {midway:?}");
    }
}

async fn jobs_survive_kills(folder: &Path, place: Place, seed: u64) {
    let economy = Economy::new(ACCOUNTS);
    let mut dice = Dice::new(seed);
    let mut node = prepared(folder, &place, &economy).await;
    let location = &place.location;
    let phases = killed(&mut node, location, &economy, &mut dice).await;
    let books_of_starved = books(location, &economy).await;
    collected(&mut node, &place, &economy, KILLS, &mut dice).await;
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
    node.stop().await;
    assert_same(&books_of_starved, &books(&place.location, &economy).await);
    collected(&mut node, &place, &economy, 0, &mut dice).await;
    let undisturbed = node.digest().await;
    node.stop().await;
    assert_eq!(state, undisturbed, "the killed node on the left");
    let books_of_calm = books(&place.location, &economy).await;
    assert_same(&books_of_killed, &books_of_calm);
    println!("both: {} with {} lines of books; {}", state["digest"], books_of_calm.len(), state["rows"]);
}

#[track_caller]
fn assert_same(killed: &[String], calm: &[String]) {
    for (killed, calm) in killed.iter().zip(calm) {
        assert_eq!(killed, calm, "the killed node on the left");
    }
    assert_eq!(killed.len(), calm.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_money_survive_kills_on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    jobs_survive_kills(folder.path(), Place::file(folder.path()), 11).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_money_survive_kills_on_postgres() {
    let folder = tempfile::tempdir().expect("a folder");
    jobs_survive_kills(folder.path(), Place::server(Options::durable()), 12).await;
}
