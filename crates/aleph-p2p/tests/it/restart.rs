use std::time::Duration;

use aleph_p2p::Event;

use crate::node::{Node, config, key};

#[tokio::test]
async fn a_node_that_comes_back_with_its_key_speaks_and_hears_at_once() {
    let mut a = Node::start(&[]).await;
    let identity = key();
    for round in 0..3 {
        let mut b = Node::with(config(&[&a]), identity.clone()).await;
        a.until_subscribed(b.id()).await;
        b.until_subscribed(a.id()).await;
        let (down, up) = (format!("down {round}"), format!("up {round}"));
        a.handle.publish_message(&down).await.unwrap();
        assert_eq!(b.until_received(down.as_bytes()).await.0, a.id());
        b.handle.publish_message(&up).await.unwrap();
        assert_eq!(a.until_received(up.as_bytes()).await.0, b.id());
        b.handle.shutdown().await;
        a.wait_for(|event| matches!(event, Event::PeerDisconnected { .. }).then_some(())).await;
    }
}

#[tokio::test]
async fn the_dialled_side_may_restart_as_well() {
    let identity = key();
    let first = Node::with(config(&[]), identity.clone()).await;
    let address = first.address();
    let mut a = Node::start(&[&first]).await;
    a.until_subscribed(first.id()).await;
    first.handle.shutdown().await;
    a.wait_for(|event| matches!(event, Event::PeerDisconnected { .. }).then_some(())).await;

    let mut same_place = config(&[]);
    same_place.listen = vec![address];
    let mut second = Node::with(same_place, identity).await;
    a.until_subscribed(second.id()).await;
    second.until_subscribed(a.id()).await;
    second.handle.publish_message("back").await.unwrap();
    a.until_received(b"back").await;
    a.handle.publish_message("welcome").await.unwrap();
    second.until_received(b"welcome").await;
}

/// The restart hazard of `spec: p2p.md §4`: the old connection of a node that came back still
/// stands, here because its process lives on.
#[tokio::test]
async fn the_old_connection_of_a_node_that_came_back_is_given_up() {
    let mut a = Node::start(&[]).await;
    let identity = key();
    let old = Node::with(config(&[&a]), identity.clone()).await;
    a.until_subscribed(old.id()).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut new = Node::with(config(&[&a]), identity).await;
    new.until_subscribed(a.id()).await;
    old.handle.shutdown().await;
    new.handle.publish_message("from the new one").await.unwrap();
    a.until_received(b"from the new one").await;
    a.handle.publish_message("to the new one").await.unwrap();
    new.until_received(b"to the new one").await;
}

#[tokio::test]
async fn announced_addresses_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut b = Node::start(&[]).await;
    let identity = key();
    let kept = |peers: &[&Node]| {
        let mut kept = config(peers);
        kept.believe_everybody = true;
        kept.address_book = Some(folder.path().join("peers.json"));
        kept
    };
    let mut first = Node::with(kept(&[&b]), identity.clone()).await;
    first
        .wait_for(|event| match event {
            Event::Alive { peer, announcement } if *peer == b.id() => {
                (announcement.peer_type == aleph_p2p::PeerType::P2p).then_some(())
            }
            _ => None,
        })
        .await;
    first.handle.shutdown().await;

    // nobody names b to it any more, and b knows of no other node
    let mut second = Node::with(kept(&[]), identity).await;
    second.until_subscribed(b.id()).await;
    b.handle.publish_message("found by the book").await.unwrap();
    second.until_received(b"found by the book").await;
    b.until_subscribed(second.id()).await;
}
