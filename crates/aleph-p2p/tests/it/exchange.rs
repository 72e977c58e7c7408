use std::time::Duration;

use aleph_p2p::{
    Event, KeyType, MAX_PUBLISH, NodeKey, PeerType, PublishError, PublishOutcome, Verdict, decode_payload,
    gossip_id,
};

use crate::node::{Node, config, key};

#[tokio::test]
async fn two_nodes_exchange_messages_both_ways_with_either_kind_of_key() {
    let rsa = NodeKey::generate(KeyType::Rsa).unwrap();
    let mut a = Node::with(config(&[]), rsa).await;
    let mut b = Node::start(&[&a]).await;
    a.until_subscribed(b.id()).await;
    b.until_subscribed(a.id()).await;

    let outcome = a.handle.publish_message(r#"{"from":"a"}"#).await.unwrap();
    assert_eq!(outcome, PublishOutcome::Sent { id: gossip_id(br#"{"from":"a"}"#), peers: 1 });
    assert_eq!(b.until_received(br#"{"from":"a"}"#).await, (a.id(), a.id()));
    b.handle.try_publish_message(r#"{"from":"b"}"#).unwrap();
    assert_eq!(a.until_received(br#"{"from":"b"}"#).await, (b.id(), b.id()));

    let again = a.handle.publish_message(r#"{"from":"b"}"#).await.unwrap();
    assert!(matches!(again, PublishOutcome::Duplicate { .. }), "{again:?}");
    assert_eq!(a.handle.peers().len(), 1);
    assert_eq!(a.handle.peers()[0].peer, b.id());
    assert!(a.handle.peers()[0].subscribed && b.handle.peers()[0].dialled);
    assert_eq!(a.handle.stats().published, 1);
}

#[tokio::test]
async fn a_message_published_before_anyone_is_there_reaches_those_who_come() {
    let mut a = Node::start(&[]).await;
    let outcome = a.handle.publish_message("early").await.unwrap();
    assert!(matches!(outcome, PublishOutcome::Queued { .. }), "{outcome:?}");
    let mut b = Node::start(&[&a]).await;
    assert_eq!(b.until_received(b"early").await.0, a.id());
    a.until_subscribed(b.id()).await;
}

#[tokio::test]
async fn nodes_started_together_all_hear_the_first_message() {
    // Each is configured with the others before all of them listen, as on a devnet.
    let keys = [key(), key(), key()];
    let ports: Vec<u16> = keys.iter().map(|_| free_port()).collect();
    let peers: Vec<aleph_p2p::ConfiguredPeer> = keys
        .iter()
        .zip(&ports)
        .map(|(key, port)| format!("/ip4/127.0.0.1/tcp/{port}/p2p/{}", key.peer_id()).parse().unwrap())
        .collect();
    let mut nodes = Vec::new();
    for (key, port) in keys.into_iter().zip(&ports) {
        let mut config = config(&[]);
        config.listen = vec![format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()];
        config.peers = peers.clone();
        let node = Node::with(config, key).await;
        node.handle.publish_message(format!("first of {port}")).await.unwrap();
        nodes.push(node);
    }
    for (index, node) in nodes.iter_mut().enumerate() {
        let mut missing: Vec<String> = ports
            .iter()
            .enumerate()
            .filter(|(other, _)| *other != index)
            .map(|(_, port)| format!("first of {port}"))
            .collect();
        while !missing.is_empty() {
            let data = node
                .wait_for(|event| match event {
                    Event::Message(received) => Some(received.data.clone()),
                    _ => None,
                })
                .await;
            missing.retain(|text| text.as_bytes() != data);
        }
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

#[tokio::test]
async fn percent_signs_survive() {
    let mut a = Node::start(&[]).await;
    let mut b = Node::start(&[&a]).await;
    a.until_subscribed(b.id()).await;
    let text = r#"{"item_content":"100%, %41 and %2541"}"#;
    a.handle.publish_message(text).await.unwrap();
    let data = b
        .wait_for(|event| match event {
            Event::Message(received) => Some(received.data.clone()),
            _ => None,
        })
        .await;
    let candidates: Vec<_> = decode_payload(&data).collect();
    assert_eq!(candidates[1], text, "a reference node decodes once and has the text");
}

#[tokio::test]
async fn the_largest_message_arrives_and_a_larger_one_is_refused() {
    let mut a = Node::with(config(&[]), NodeKey::generate(KeyType::Rsa).unwrap()).await;
    let mut b = Node::start(&[&a]).await;
    a.until_subscribed(b.id()).await;

    let error = a.handle.publish_message(vec![b'x'; MAX_PUBLISH + 1]).await.unwrap_err();
    assert_eq!(error, PublishError::TooLarge { size: MAX_PUBLISH + 1 });
    let signs = vec![b'%'; MAX_PUBLISH / 2];
    assert!(matches!(a.handle.publish_message(signs).await, Err(PublishError::TooLarge { .. })));
    assert_eq!(a.handle.publish_message("").await, Err(PublishError::Empty));

    let largest = vec![b'x'; MAX_PUBLISH];
    a.handle.publish_message(&largest).await.unwrap();
    b.until_received(&largest).await;
    a.handle.publish_message("after").await.unwrap();
    b.until_received(b"after").await;
}

#[tokio::test]
async fn three_in_a_line_pass_on_what_is_accepted_only() {
    let mut a = Node::start(&[]).await;
    let mut b = Node::start(&[&a]).await;
    let mut c = Node::start(&[&b]).await;
    a.until_subscribed(b.id()).await;
    c.until_subscribed(b.id()).await;

    let payloads = ["rejected", "ignored", "forgotten", "accepted"];
    for payload in payloads {
        a.handle.publish_message(payload).await.unwrap();
    }
    let mut judged = 0;
    while judged < payloads.len() {
        let event = tokio::time::timeout(crate::node::PATIENCE, b.events.recv()).await.unwrap().unwrap();
        let Event::Message(received) = event else { continue };
        judged += 1;
        match &received.data[..] {
            b"rejected" => received.ticket.report(Verdict::Reject),
            b"ignored" => received.ticket.report(Verdict::Ignore),
            b"accepted" => received.ticket.report(Verdict::Accept),
            _ => drop(received.ticket),
        }
    }
    // The accepted one was judged last, so that anything else would have come before it.
    let first = c
        .wait_for(|event| match event {
            Event::Message(received) => Some((received.data.clone(), received.author, received.from)),
            _ => None,
        })
        .await;
    assert_eq!(first, ("accepted".into(), a.id(), b.id()));
    let stats = b.handle.stats();
    assert_eq!((stats.received, stats.accepted, stats.rejected, stats.ignored), (4, 1, 1, 2));
    let info = b.handle.peers().into_iter().find(|info| info.peer == a.id()).unwrap();
    assert_eq!((info.messages, info.rejected), (4, 1));
}

#[tokio::test]
async fn a_late_joiner_gets_what_is_said_from_then_on() {
    let mut a = Node::start(&[]).await;
    let mut b = Node::start(&[&a]).await;
    a.until_subscribed(b.id()).await;
    a.handle.publish_message("before").await.unwrap();
    b.until_received(b"before").await;
    let mut late = Node::start(&[&b]).await;
    late.until_subscribed(b.id()).await;
    a.handle.publish_message("after").await.unwrap();
    b.until_received(b"after").await;
    assert_eq!(late.until_received(b"after").await, (a.id(), b.id()));
    late.handle.publish_message("from the new one").await.unwrap();
    b.until_received(b"from the new one").await;
    assert_eq!(a.until_received(b"from the new one").await.0, late.id());
}

#[tokio::test]
async fn announcements_of_allowed_peers_are_believed_and_others_not() {
    let mut with_url = config(&[]);
    with_url.announce.http = Some("http://127.0.0.1:4024".to_owned());
    let mut a = Node::with(with_url, key()).await;
    let mut stranger_config = config(&[&a]);
    stranger_config.announce.http = Some("http://127.0.0.1:6666".to_owned());
    stranger_config.announce.every = Duration::from_millis(100);
    let stranger = Node::with(stranger_config, key()).await;
    let mut b = Node::start(&[&a]).await;
    a.until_subscribed(b.id()).await;

    let (peer, announcement) = b
        .wait_for(|event| match event {
            Event::Alive { peer, announcement } if announcement.peer_type == PeerType::Http => {
                Some((*peer, announcement.clone()))
            }
            _ => None,
        })
        .await;
    assert_eq!((peer, announcement.address.as_str()), (a.id(), "http://127.0.0.1:4024"));
    let http = b.handle.http_peers();
    assert_eq!(http.len(), 1, "{http:?}");
    assert_eq!((http[0].peer, http[0].url.as_str()), (Some(a.id()), "http://127.0.0.1:4024"));

    // Nobody configured the stranger, who speaks all the time; a list that names it makes it known.
    b.handle.set_allowed_peers([stranger.id()]);
    b.wait_for(|event| match event {
        Event::Alive { peer, announcement } if *peer == stranger.id() => {
            (announcement.peer_type == PeerType::Http).then_some(())
        }
        _ => None,
    })
    .await;
    let urls: Vec<String> = b.handle.http_peers().into_iter().map(|peer| peer.url).collect();
    assert_eq!(urls[0], "http://127.0.0.1:6666");
    b.handle.set_allowed_peers([]);
    assert_eq!(b.handle.http_peers(), http);
}

#[tokio::test]
async fn a_peer_without_a_known_identity_and_one_by_name_are_reached() {
    let mut a = Node::start(&[]).await;
    let port = a.port();
    let mut by_name = config(&[]);
    by_name.peers = vec![format!("/dns4/localhost/tcp/{port}").parse().unwrap()];
    let mut b = Node::with(by_name, key()).await;
    b.until_subscribed(a.id()).await;
    a.until_subscribed(b.id()).await;

    let mut c = Node::start(&[]).await;
    c.handle.dial(a.address().to_string().parse().unwrap()).await;
    c.until_subscribed(a.id()).await;
}

#[tokio::test]
async fn shutdown_is_noticed_at_once_and_final() {
    let mut a = Node::start(&[]).await;
    let mut b = Node::start(&[&a]).await;
    a.until_subscribed(b.id()).await;
    b.until_subscribed(a.id()).await;
    b.handle.publish_message("last words").await.unwrap();
    b.handle.shutdown().await;
    a.until_received(b"last words").await;
    a.wait_for(|event| matches!(event, Event::PeerDisconnected { .. }).then_some(())).await;
    assert_eq!(b.handle.publish_message("x").await, Err(PublishError::Closed));
    assert_eq!(b.handle.try_publish_message("x"), Err(PublishError::Closed));
    b.handle.shutdown().await;
    assert!(
        tokio::time::timeout(Duration::from_secs(10), async { while b.events.recv().await.is_some() {} })
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_taken_port_is_told() {
    let a = Node::start(&[]).await;
    let mut taken = config(&[]);
    taken.listen = vec![a.address()];
    let error = aleph_p2p::Network::start(taken, key()).await.unwrap_err();
    assert!(error.to_string().contains(&a.address().to_string()), "{error}");
    assert!(error.to_string().contains("free port"), "{error}");
}
