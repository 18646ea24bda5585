//! Owns the proof of who is told of what: levels as they are when a frame goes, strangers, and how
//! many subscriptions one peer has.

use eidetica_core::DatabaseId;

use super::{
    LONG,
    device::{Network, Raw, holds},
};
use crate::{Answer, Refusal};

fn lives(frames: &[Answer]) -> usize {
    let is_live = |frame: &&Answer| matches!(frame, Answer::Live(_));
    frames.iter().filter(is_live).count()
}

#[tokio::test(start_paused = true)]
async fn a_removed_member_hears_nothing_from_then_on_and_others_do() {
    let network = Network::default();
    let [hub, laptop, phone] = [1, 2, 3].map(|n| network.device(n));
    let (hub, laptop, phone) = (hub.await, laptop.await, phone.await);
    let notes = hub.create("notes", &[&laptop, &phone]).await;
    let at_laptop = laptop.join(&hub, notes.id()).await;
    let at_phone = phone.join(&hub, notes.id()).await;
    let out = laptop.link(&hub, &[&at_laptop], LONG).await;
    let still = phone.link(&hub, &[&at_phone], LONG).await;
    let before = hub.write(&notes, 1).await;
    holds(&at_laptop, &before).await;
    let removal = hub.remove(&notes, &laptop).await;
    out.until(|counts| counts.closed > 0).await;
    let after = hub.write(&notes, 2).await;
    holds(&at_phone, &after).await;
    out.quiet().await;
    let missing = at_laptop.find(&[removal, after]).await.unwrap();
    assert_eq!(missing, [None, None]);
    // Nor is it listened to.
    let own = laptop.write(&at_laptop, 3).await;
    out.until(|counts| counts.closed > 1).await;
    assert_eq!(notes.find(&[own]).await.unwrap(), [None]);
    assert_eq!(still.counts().closed, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_ready_for_a_member_is_kept_back_when_it_is_removed() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[&laptop]).await;
    let other = hub.create("other", &[&laptop]).await;
    for is_removed in [false, true] {
        let mut unread = Raw::subscribe(&hub, laptop.key(), &[&notes, &other]).await;
        assert_eq!(unread.next().await, Some(Answer::Heartbeat));
        hub.write(&notes, 1).await;
        unread.settle().await;
        if is_removed {
            hub.remove(&notes, &laptop).await;
        }
        hub.write(&other, 1).await;
        let frames = unread.take(4).await;
        let closed = frames.contains(&Answer::Closed(0));
        assert_eq!(closed, is_removed, "{frames:?}");
        // The control: without the removal what was ready goes out.
        assert_eq!(lives(&frames), if is_removed { 1 } else { 2 }, "{frames:?}");
        let of_other = |frame: &Answer| matches!(frame, Answer::Live(live) if live.index == 1);
        assert!(frames.iter().any(of_other));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_told_the_same_of_what_is_here_and_what_is_not() {
    let network = Network::default();
    let (hub, stranger) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[]).await;
    let nowhere = DatabaseId::from_bytes([9; 32]);
    let mut answers = Vec::new();
    for id in [notes.id(), nowhere] {
        let mut raw = Raw::subscribe_to(&hub, stranger.key(), &[id]).await;
        answers.push(raw.take(9).await);
        assert_eq!(raw.next().await, None);
    }
    assert_eq!(answers[0], [Answer::Heartbeat, Answer::Closed(0)]);
    assert_eq!(answers[0], answers[1]);
    let denied = hub.sync.denied();
    assert_eq!(denied.len(), 1);
    assert_eq!(
        (denied[0].database, denied[0].key),
        (notes.id(), stranger.key())
    );
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_named_twice_is_refused() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[&laptop]).await;
    let mut raw = Raw::subscribe(&hub, laptop.key(), &[&notes, &notes]).await;
    let frames = raw.take(9).await;
    assert_eq!(frames.last(), Some(&Answer::Refused(Refusal::Malformed)));
}

#[tokio::test(start_paused = true)]
async fn the_newest_subscriptions_of_a_peer_stay_and_those_that_nobody_reads_are_few() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[&laptop]).await;
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut raw = Raw::subscribe(&hub, laptop.key(), &[&notes]).await;
        assert_eq!(raw.next().await, Some(Answer::Heartbeat));
        open.push(raw);
    }
    // The first has ended, the others are told of what comes.
    assert_eq!(open[0].next().await, None);
    hub.write(&notes, 1).await;
    for raw in &mut open[1..] {
        assert!(matches!(raw.next().await, Some(Answer::Live(_))));
    }
    let mut over = Raw::subscribe(&hub, laptop.key(), &[&notes]).await;
    assert_eq!(over.next().await, Some(Answer::Heartbeat));
    let unread = 8 - 5;
    for _ in 0..unread {
        open.push(Raw::subscribe(&hub, laptop.key(), &[&notes]).await);
    }
    let mut refused = Raw::subscribe(&hub, laptop.key(), &[&notes]).await;
    let answer = refused.next().await;
    let is_limited = |answer: &Answer| {
        matches!(answer, Answer::Refused(Refusal::Limited { limit, .. })
            if limit == "subscriptions of a peer")
    };
    assert!(answer.as_ref().is_some_and(is_limited), "{answer:?}");
    let hits = hub.guard.hits();
    assert!(hits.contains(&("subscriptions of a peer", 1)));
}
