//! Questions and answers on streams of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aleph_p2p::{AnswerLimits, AskError, Event, Offence, Trust};

use crate::node::Node;

const LIMITS: AnswerLimits = AnswerLimits {
    question: 1024,
    streams_per_peer: 4,
    streams_of_strangers: 8,
    answers_to_strangers: 2,
    answers: 4,
};

/// Two connected nodes; the first one answers with what it was asked, as often as the first byte says.
async fn pair() -> (Node, Node) {
    let mut a = Node::start(&[]).await;
    let handle = a.handle.clone();
    tokio::spawn(async move {
        handle
            .answer(LIMITS, |_, question| async move {
                let times = usize::from(*question.first()?) * 1000;
                Some(question[1..].repeat(times))
            })
            .await;
    });
    let mut b = Node::start(&[&a]).await;
    a.until_subscribed(b.id()).await;
    b.until_subscribed(a.id()).await;
    (a, b)
}

#[tokio::test]
async fn a_connected_peer_answers_many_questions_at_once() {
    let (a, b) = pair().await;
    let asked = (0..20u8).map(|number| {
        let handle = b.handle.clone();
        let peer = a.id();
        async move { handle.ask(peer, &[number % 3 + 1, number, 1, 2], 10_000).await }
    });
    for (number, answer) in futures_util::future::join_all(asked).await.into_iter().enumerate() {
        // Beyond the streams of a peer a question may be turned away; none is answered wrong.
        match answer {
            Ok(answer) => assert_eq!(answer, [number as u8, 1, 2].repeat((number % 3 + 1) * 1000)),
            Err(AskError::Closed | AskError::Io(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(b.handle.askable_peers(), [(a.id(), Trust::Configured)]);
    let long = vec![3; 1000];
    assert_eq!(b.handle.ask(a.id(), &long, 4_000_000).await.unwrap().len(), 999 * 3000);
}

#[tokio::test]
async fn what_is_too_long_or_without_an_answer_is_told_and_costs_others_nothing() {
    let (a, b) = pair().await;
    assert!(matches!(
        b.handle.ask(a.id(), &[1, 9], 999).await,
        Err(AskError::TooLong { size: 1000, most: 999 })
    ));
    assert!(matches!(b.handle.ask(a.id(), &[], 999).await, Err(AskError::Closed)));
    assert!(b.handle.ask(a.id(), &[1; 1025], 10_000_000).await.is_err());
    let faults = |node: &Node| {
        let told = node.handle.peers().remove(0).standing.faults;
        told.into_iter().map(|fault| fault.offence).collect::<Vec<_>>()
    };
    assert_eq!(faults(&a), [Offence::UnreadableFrame]);
    assert_eq!(b.handle.ask(a.id(), &[1, 9], 1000).await.unwrap().len(), 1000);
    b.handle.blame(a.id(), Offence::BadAnswer);
    assert_eq!(faults(&b), [Offence::BadAnswer]);
}

#[tokio::test]
async fn a_peer_that_does_not_answer_is_asked_once_a_connection() {
    let mut a = Node::start(&[]).await;
    let mut b = Node::start(&[&a]).await;
    a.until_subscribed(b.id()).await;
    b.until_subscribed(a.id()).await;
    assert!(matches!(b.handle.ask(a.id(), b"?", 9).await, Err(AskError::Unsupported)));
    assert!(b.handle.askable_peers().is_empty());
    // It learns the protocol: this connection was told that it has not.
    let asked = Arc::new(AtomicUsize::new(0));
    let (handle, count) = (a.handle.clone(), Arc::clone(&asked));
    tokio::spawn(async move {
        handle
            .answer(LIMITS, move |_, _| {
                count.fetch_add(1, Ordering::Relaxed);
                async { Some(b"!".to_vec()) }
            })
            .await;
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(matches!(b.handle.ask(a.id(), b"?", 9).await, Err(AskError::Unsupported)));
    assert_eq!(asked.load(Ordering::Relaxed), 0);

    let stranger = Node::start(&[]).await;
    assert!(matches!(b.handle.ask(stranger.id(), b"?", 9).await, Err(AskError::NotConnected)));
    stranger.handle.shutdown().await;
    a.handle.shutdown().await;
    let gone = a.id();
    b.wait_for(|event| matches!(event, Event::PeerDisconnected { peer } if *peer == gone).then_some(()))
        .await;
    assert!(matches!(b.handle.ask(gone, b"?", 9).await, Err(AskError::NotConnected)));
}
