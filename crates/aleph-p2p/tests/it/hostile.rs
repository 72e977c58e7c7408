//! Peers that do not behave.

use std::net::{Ipv4Addr, SocketAddr};

use aleph_p2p::{Event, Limits, PublishOutcome, Verdict};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::node::{Node, PATIENCE, config, key};

fn socket(node: &Node) -> SocketAddr {
    let port = node.port();
    (Ipv4Addr::LOCALHOST, port).into()
}

#[tokio::test]
async fn garbage_on_the_port_harms_nobody() {
    let mut a = Node::start(&[]).await;
    let mut b = Node::start(&[&a]).await;
    a.until_subscribed(b.id()).await;

    let mut kept = Vec::new();
    for garbage in [
        &b""[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0xff; 5000],
        b"\x13/multistream/1.0.0\n\x07/noise\n\xff\xff\xff\xff\xff\xff",
        b"\x13/multistream/1.0.0\n\xff\xff\xff\x7f",
    ] {
        for _ in 0..10 {
            let mut stream = TcpStream::connect(socket(&a)).await.unwrap();
            // The node may hang up while this is written.
            let _ = stream.write_all(garbage).await;
            kept.push(stream);
        }
    }
    a.handle.publish_message("still here").await.unwrap();
    b.until_received(b"still here").await;

    // Half of them wait in silence; they are hung up on in time, and new peers come in meanwhile.
    let mut c = Node::start(&[&a]).await;
    c.until_subscribed(a.id()).await;
    for mut stream in kept {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "silent connections are closed");
    }
}

#[tokio::test]
async fn a_slow_application_slows_its_peers_and_loses_nothing() {
    let mut narrow = config(&[]);
    narrow.limits = Limits { events: 2, ..Limits::default() };
    let mut a = Node::with(narrow, key()).await;
    let mut b = Node::start(&[&a]).await;
    a.until_subscribed(b.id()).await;
    b.until_subscribed(a.id()).await;
    const COUNT: usize = 1000;
    for index in 0..COUNT {
        let outcome = b.handle.publish_message(format!("message {index}")).await.unwrap();
        assert!(matches!(outcome, PublishOutcome::Sent { .. }), "{outcome:?}");
    }
    let mut seen = 0;
    while seen < COUNT {
        let event = tokio::time::timeout(PATIENCE, a.events.recv()).await.unwrap().unwrap();
        if let Event::Message(received) = event {
            seen += 1;
            received.ticket.report(Verdict::Accept);
        }
    }
}

#[tokio::test]
async fn an_application_that_never_judges_does_not_stop_the_network_for_good() {
    let mut few = config(&[]);
    few.limits = Limits { verdicts: 4, ..Limits::default() };
    let mut a = Node::with(few, key()).await;
    let mut b = Node::start(&[&a]).await;
    a.until_subscribed(b.id()).await;
    b.until_subscribed(a.id()).await;
    for index in 0..10 {
        b.handle.publish_message(format!("message {index}")).await.unwrap();
    }
    let mut tickets = Vec::new();
    while tickets.len() < 10 {
        let event = tokio::time::timeout(PATIENCE, a.events.recv()).await.unwrap().unwrap();
        if let Event::Message(received) = event {
            tickets.push(received.ticket);
        }
    }
    for ticket in tickets {
        ticket.report(Verdict::Accept);
    }
    b.handle.publish_message("and on it goes").await.unwrap();
    a.until_received(b"and on it goes").await;
    assert!(a.handle.stats().late > 0);
}

#[tokio::test]
async fn many_connections_of_one_peer_are_bounded() {
    let mut a = Node::start(&[]).await;
    let identity = key();
    let mut twins = Vec::new();
    for _ in 0..12 {
        twins.push(Node::with(config(&[&a]), identity.clone()).await);
    }
    a.until_subscribed(identity.peer_id()).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let peers = a.handle.peers();
    assert_eq!(peers.len(), 1);
    assert!(peers[0].addresses.len() <= Limits::default().connections_per_peer as usize, "{peers:?}");
}
