//! A hundred kills with -9 at random instants: nothing acknowledged is lost, and the state is that of
//! a node that nobody disturbed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aleph_test_postgres::{Options, Server};

use crate::core_node::CoreNode;
use crate::harness::eventually;
use crate::traffic::{Dice, Item, history};

const ROUNDS: usize = 100;
const MESSAGES: usize = 3_000;
/// The traffic is sent again from its beginning when the kills last longer; copies are traffic, too.
const REPEATS: usize = 20;
/// From the first answer of a process to its kill, in milliseconds.
const LIFE: usize = 150;
/// From the start of a process to its kill, for those that are not to live up to an answer.
const CHILDHOOD: usize = 60;

/// In one round of so many the database's server is killed, not the node.
const SERVER_ROUNDS: usize = 4;

/// Kills a node a hundred times while clients publish, in some rounds its server instead; gives the
/// places of what was acknowledged.
async fn kill_again_and_again(
    node: &mut CoreNode,
    mut server: Option<&mut Server>,
    items: &Arc<[Item]>,
    dice: &mut Dice,
) -> Vec<usize> {
    let stop = Arc::new(AtomicBool::new(false));
    let traffic = (0..items.len()).cycle().take(REPEATS * items.len());
    let publishing = node.publish(items, traffic, &stop);
    let mut lives = 0;
    let mut servers = 0;
    for _ in 0..ROUNDS {
        let before = publishing.acknowledged();
        if let Some(server) = server.as_deref_mut()
            && dice.roll(SERVER_ROUNDS) == 0
        {
            node.start().await;
            tokio::time::sleep(Duration::from_millis(dice.roll(LIFE) as u64)).await;
            server.kill9().expect("it runs");
            tokio::time::sleep(Duration::from_millis(dice.roll(LIFE) as u64)).await;
            server.start_again().expect("it starts again");
            let then = publishing.acknowledged();
            eventually("the node goes on with the new server", async || publishing.acknowledged() > then)
                .await;
            servers += 1;
            // the same process: it was killed by nobody
            node.kill9().await;
            lives += 1;
            continue;
        }
        node.spawn();
        if dice.roll(5) == 0 {
            tokio::time::sleep(Duration::from_millis(dice.roll(CHILDHOOD) as u64)).await;
        } else {
            node.answers().await;
            tokio::time::sleep(Duration::from_millis(dice.roll(LIFE) as u64)).await;
        }
        node.kill9().await;
        lives += usize::from(publishing.acknowledged() > before);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(!publishing.is_done(), "the traffic ended before the kills did");
    let acknowledged = publishing.end().await;
    println!(
        "{ROUNDS} kills ({servers} of the server), {lives} while messages were taken; {} acknowledged",
        acknowledged.len()
    );
    assert!(lives > ROUNDS / 2, "most kills hit an idle node");
    acknowledged
}

/// The state of a node that gets everything once, in another order, and is left alone.
async fn undisturbed(items: &Arc<[Item]>, dice: &mut Dice) -> serde_json::Value {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = CoreNode::new(folder.path());
    node.start().await;
    let mut order: Vec<usize> = (0..items.len()).collect();
    dice.shuffle(&mut order);
    node.take_all(items, order).await;
    let state = node.digest().await;
    node.stop().await;
    state
}

/// What must hold after the kills: everything acknowledged has its fate; once clients have sent all of
/// it again, the state is that of a node that nobody disturbed.
async fn nothing_is_lost(node: &mut CoreNode, items: &Arc<[Item]>, acknowledged: &[usize], dice: &mut Dice) {
    node.start().await;
    node.knows(items, acknowledged).await;
    // clients that got no answer publish again; so do those that got one
    node.take_all(items, 0..items.len()).await;
    let state = node.digest().await;
    node.stop().await;
    assert_eq!(state["rows"]["statuses"], MESSAGES, "{state:#}");
    assert_eq!(state, undisturbed(items, dice).await, "the killed node on the left");
    println!("both: {} {}", state["digest"], state["rows"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kills_lose_nothing_on_sqlite() {
    let items: Arc<[Item]> = history(1, MESSAGES).into();
    let mut dice = Dice::new(2);
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = CoreNode::new(folder.path());
    let acknowledged = kill_again_and_again(&mut node, None, &items, &mut dice).await;
    nothing_is_lost(&mut node, &items, &acknowledged, &mut dice).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_kills_lose_nothing_on_postgres() {
    let items: Arc<[Item]> = history(1, MESSAGES).into();
    let mut dice = Dice::new(3);
    let folder = tempfile::tempdir().expect("a folder");
    let mut server = Server::start(Options::durable()).expect("a server");
    let url = server.database("node").expect("a database");
    let mut node = CoreNode::new(folder.path()).with("STORAGE__DATABASE", &url);
    let acknowledged = kill_again_and_again(&mut node, Some(&mut server), &items, &mut dice).await;
    nothing_is_lost(&mut node, &items, &acknowledged, &mut dice).await;
    assert!(!node.log().contains(server.password()), "the password is in the log");
}
