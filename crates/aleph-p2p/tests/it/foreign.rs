//! Peers of another make: a plain gossipsub node with the reference's settings, and worse ones.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use aleph_p2p::{Multiaddr, PeerId};
use futures_util::StreamExt as _;
use libp2p::core::upgrade::Version;
use libp2p::gossipsub::{
    self, Behaviour, ConfigBuilder, IdentTopic, MessageAuthenticity, MessageId, ValidationMode,
};
use libp2p::identity::Keypair;
use libp2p::swarm::SwarmEvent;
use libp2p::{Swarm, Transport as _, noise, swarm, tcp, yamux};

use crate::node::{Node, PATIENCE, config, key};

const TOPIC: &str = "ALEPH-TEST";

/// What `spec: p2p.md §2.2` says of the reference's service: meshsub 1.1 only, gossipsub the only
/// protocol, ids as its own code makes them.
fn reference_settings() -> ConfigBuilder {
    let mut settings = ConfigBuilder::default();
    settings
        .protocol_id("/meshsub/1.1.0", gossipsub::Version::V1_1)
        .validation_mode(ValidationMode::Strict)
        .max_transmit_size(262_144)
        .duplicate_cache_time(Duration::from_secs(1800))
        .message_id_fn(|message| {
            let mut hasher = DefaultHasher::new();
            message.data.hash(&mut hasher);
            MessageId::from(hasher.finish().to_string())
        });
    settings
}

fn foreign(
    settings: &ConfigBuilder,
    signing: impl FnOnce(Keypair) -> MessageAuthenticity,
) -> Swarm<Behaviour> {
    let pair = Keypair::generate_ed25519();
    let transport = tcp::tokio::Transport::new(tcp::Config::new().nodelay(true))
        .upgrade(Version::V1)
        .authenticate(noise::Config::new(&pair).expect("noise"))
        .multiplex(yamux::Config::default())
        .boxed();
    let me = pair.public().to_peer_id();
    let mut behaviour = Behaviour::new(signing(pair), settings.build().expect("settings")).expect("gossip");
    for topic in [TOPIC, "ALIVE"] {
        behaviour.subscribe(&IdentTopic::new(topic)).expect("subscribe");
    }
    let settings =
        swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(120));
    Swarm::new(transport, behaviour, me, settings)
}

async fn until<T>(
    swarm: &mut Swarm<Behaviour>,
    mut wanted: impl FnMut(SwarmEvent<gossipsub::Event>) -> Option<T>,
) -> T {
    let found = async {
        loop {
            if let Some(found) = wanted(swarm.select_next_some().await) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found).await.expect("the event comes")
}

/// Dials and waits until the node's subscription is there.
async fn meet(swarm: &mut Swarm<Behaviour>, address: Multiaddr, peer: PeerId) {
    swarm.dial(address).expect("dial");
    until(swarm, |event| match event {
        SwarmEvent::Behaviour(gossipsub::Event::Subscribed { peer_id, topic })
            if peer_id == peer && topic.as_str() == TOPIC =>
        {
            Some(())
        }
        _ => None,
    })
    .await;
}

/// Keeps a swarm going in the background.
fn keep_going(mut swarm: Swarm<Behaviour>) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    })
}

#[tokio::test]
async fn a_node_with_the_settings_of_the_reference_hears_and_is_heard() {
    let mut a = Node::with(config(&[]), key()).await;
    let mut other = foreign(&reference_settings(), MessageAuthenticity::Signed);
    let me = *other.local_peer_id();
    meet(&mut other, a.address(), a.id()).await;

    let largest = vec![b'y'; aleph_p2p::MAX_PUBLISH];
    let other = {
        let handle = a.handle.clone();
        let (down, up) = (largest.clone(), br#"{"item_content":"%41"}"#.to_vec());
        tokio::spawn(async move {
            other.behaviour_mut().publish(IdentTopic::new(TOPIC), up).expect("publish");
            handle.publish_message(&down).await.expect("publish");
            let data = until(&mut other, |event| match event {
                SwarmEvent::Behaviour(gossipsub::Event::Message { message, .. }) => Some(message.data),
                _ => None,
            })
            .await;
            (other, data)
        })
    };
    let (author, _) = a.until_received(br#"{"item_content":"%41"}"#).await;
    assert_eq!(author, me);
    let (other, heard) = other.await.unwrap();
    assert_eq!(heard, largest);
    keep_going(other).abort();
}

#[tokio::test]
async fn the_largest_messages_right_after_each_other_are_heard_and_what_follows_too() {
    let mut a = Node::with(config(&[]), key()).await;
    let mut settings = reference_settings();
    settings.max_transmit_size(300_000);
    let mut other = foreign(&settings, MessageAuthenticity::Signed);
    meet(&mut other, a.address(), a.id()).await;
    let largest = |byte: u8| vec![byte; aleph_p2p::MAX_PUBLISH];
    for byte in 0..8 {
        other.behaviour_mut().publish(IdentTopic::new(TOPIC), largest(byte)).expect("publish");
    }
    // A little more than a frame may have: others could not be sent it.
    other.behaviour_mut().publish(IdentTopic::new(TOPIC), vec![b'x'; 262_100]).expect("publish");
    other.behaviour_mut().publish(IdentTopic::new(TOPIC), "after that").expect("publish");
    let author = *other.local_peer_id();
    let other = keep_going(other);
    for byte in 0..8 {
        a.until_received(&largest(byte)).await;
    }
    a.until_received(b"after that").await;
    assert_eq!(a.handle.stats().received, 9, "the one that is too large is dropped");
    let standing = a.handle.peers().remove(0).standing;
    assert_eq!(standing.peer, author);
    assert_eq!(standing.faults[0].offence, aleph_p2p::Offence::BadEnvelope);
    other.abort();
}

#[tokio::test]
async fn unsigned_messages_and_frames_too_large_are_dropped_and_others_served() {
    let mut a = Node::start(&[]).await;
    let mut honest = Node::start(&[&a]).await;
    honest.until_subscribed(a.id()).await;

    let mut lax = reference_settings();
    lax.validation_mode(ValidationMode::None);
    let mut unsigned = foreign(&lax, |_| MessageAuthenticity::RandomAuthor);
    meet(&mut unsigned, a.address(), a.id()).await;
    unsigned.behaviour_mut().publish(IdentTopic::new(TOPIC), "unsigned").expect("publish");
    let unsigned = keep_going(unsigned);

    let mut large = reference_settings();
    large.max_transmit_size(4 << 20);
    let mut huge = foreign(&large, MessageAuthenticity::Signed);
    meet(&mut huge, a.address(), a.id()).await;
    for byte in 0..8_u8 {
        huge.behaviour_mut().publish(IdentTopic::new(TOPIC), vec![byte; 2 << 20]).expect("publish");
    }
    let huge = keep_going(huge);

    tokio::time::sleep(Duration::from_secs(1)).await;
    honest.handle.publish_message("honest").await.unwrap();
    a.until_received(b"honest").await;
    assert_eq!(a.handle.stats().received, 1, "nothing else was given to the application");
    unsigned.abort();
    huge.abort();
}
