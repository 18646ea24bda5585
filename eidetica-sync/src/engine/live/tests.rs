//! Owns the proof of live sync between devices of one process: what they hear, and what is never
//! sent.

mod access;
mod crowd;
mod device;
mod gaps;
mod hostile;
mod left_out;
mod offers;
mod slow;

use std::time::Duration;

use self::device::{Network, holds};

/// Longer than any of these tests.
const LONG: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_commit_is_seen_by_who_follows_and_the_other_way() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[&laptop]).await;
    let copy = laptop.join(&hub, notes.id()).await;
    // Only the laptop dials.
    let link = laptop.link(&hub, &[&copy], LONG).await;
    for n in 0..20 {
        let id = hub.write(&notes, n).await;
        holds(&copy, &id).await;
        let id = laptop.write(&copy, n).await;
        holds(&notes, &id).await;
    }
    let counts = link.until(|counts| counts.sent == 20).await;
    assert_eq!((counts.stored, counts.known), (20, 0));
    assert_eq!(notes.frontier().tips, copy.frontier().tips);
    link.quiet().await;
    assert_eq!(link.traffic(), counts.traffic());
}

#[tokio::test(start_paused = true)]
async fn what_goes_live_is_counted_on_both_sides() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[&laptop]).await;
    let copy = laptop.join(&hub, notes.id()).await;
    let counted = async || {
        let sides = [(&hub, &laptop), (&laptop, &hub)];
        let [at_hub, at_laptop] = sides.map(|(device, other)| device.counted(&notes, other));
        (at_hub.await, at_laptop.await)
    };
    let before = counted().await;
    let link = laptop.link(&hub, &[&copy], LONG).await;
    for n in 0..3 {
        let id = hub.write(&notes, n).await;
        holds(&copy, &id).await;
        let id = laptop.write(&copy, n).await;
        holds(&notes, &id).await;
    }
    link.quiet().await;
    let after = counted().await;
    for (before, after) in [(before.0, after.0), (before.1, after.1)] {
        assert_eq!(after.entries_sent - before.entries_sent, 3);
        assert_eq!(after.entries_received - before.entries_received, 3);
        assert!(after.bytes_sent > before.bytes_sent);
    }
}

#[tokio::test(start_paused = true)]
async fn many_databases_share_one_subscription() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for n in 0..30 {
        let notes = hub.create(&format!("notes {n}"), &[&laptop]).await;
        there.push(laptop.join(&hub, notes.id()).await);
        here.push(notes);
    }
    let followed: Vec<_> = there.iter().collect();
    let link = laptop.link(&hub, &followed, LONG).await;
    for (notes, copy) in here.iter().zip(&there) {
        let id = hub.write(notes, 1).await;
        holds(copy, &id).await;
        let id = laptop.write(copy, 1).await;
        holds(notes, &id).await;
    }
    let counts = link.until(|counts| counts.sent == 30).await;
    assert_eq!(
        (counts.subscriptions, counts.stored, counts.known),
        (1, 30, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn what_one_device_heard_goes_on_to_the_next_and_not_back() {
    let network = Network::default();
    let [a, b, c] = [1, 2, 3].map(|n| network.device(n));
    let (a, b, c) = (a.await, b.await, c.await);
    let notes = a.create("notes", &[&b, &c]).await;
    let at_b = b.join(&a, notes.id()).await;
    let at_c = c.join(&b, notes.id()).await;
    let first = b.link(&a, &[&at_b], LONG).await;
    let second = c.link(&b, &[&at_c], LONG).await;
    let from_a = a.write(&notes, 1).await;
    holds(&at_c, &from_a).await;
    let from_c = c.write(&at_c, 2).await;
    holds(&notes, &from_c).await;
    first.until(|counts| counts.sent == 1).await;
    second.until(|counts| counts.sent == 1).await;
    first.quiet().await;
    let (first, second) = (first.counts(), second.counts());
    assert_eq!((first.stored, first.known, first.sent), (1, 0, 1));
    assert_eq!((second.stored, second.known, second.sent), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn what_a_writer_left_behind_is_passed_on_when_it_has_gone() {
    let network = Network::default();
    let [a, b, c] = [1, 2, 3].map(|n| network.device(n));
    let (a, b, c) = (a.await, b.await, c.await);
    let notes = a.create("notes", &[&b, &c]).await;
    let at_b = b.join(&a, notes.id()).await;
    let at_c = c.join(&b, notes.id()).await;
    let first = b.link(&a, &[&at_b], LONG).await;
    let last = a.write(&notes, 1).await;
    holds(&at_b, &last).await;
    a.stop().await;
    drop((a, notes, first));
    let second = c.link(&b, &[&at_c], LONG).await;
    holds(&at_c, &last).await;
    assert_eq!(second.counts().known, 0);
}

/// The control of the test below: without the removal the same entry goes live.
#[tokio::test(start_paused = true)]
async fn what_counts_is_sent_live_wherever_it_came_from() {
    let network = Network::default();
    let [hub, laptop, phone] = [1, 2, 3].map(|n| network.device(n));
    let (hub, laptop, phone) = (hub.await, laptop.await, phone.await);
    let notes = hub.create("notes", &[&laptop, &phone]).await;
    let at_phone = phone.join(&hub, notes.id()).await;
    hub.write(&notes, 0).await;
    let copy = laptop.join(&hub, notes.id()).await;
    let link = laptop.link(&hub, &[&copy], LONG).await;
    let beside = phone.write(&at_phone, 1).await;
    hub.take(&notes, &at_phone, beside).await;
    holds(&copy, &beside).await;
    link.quiet().await;
    let counts = link.counts();
    assert_eq!((counts.stored, counts.exchanges), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn void_entries_are_not_sent_live_and_come_by_an_exchange() {
    let network = Network::default();
    let [hub, laptop, gone] = [1, 2, 3].map(|n| network.device(n));
    let (hub, laptop, gone) = (hub.await, laptop.await, gone.await);
    let notes = hub.create("notes", &[&laptop, &gone]).await;
    let at_gone = gone.join(&hub, notes.id()).await;
    let removal = hub.remove(&notes, &gone).await;
    let copy = laptop.join(&hub, notes.id()).await;
    let link = laptop.link(&hub, &[&copy], LONG).await;
    // Written beside the removal, so without effect.
    let void = gone.write(&at_gone, 1).await;
    hub.take(&notes, &at_gone, void).await;
    link.quiet().await;
    assert_eq!(copy.find(&[void]).await.unwrap(), [None]);
    assert_eq!(link.traffic(), 0);
    assert!(copy.find(&[removal]).await.unwrap()[0].is_some());
    // What builds on it cannot be stored without it.
    let on_top = hub.write(&notes, 2).await;
    holds(&copy, &on_top).await;
    assert!(copy.find(&[void]).await.unwrap()[0].is_some());
    let counts = link.until(|counts| counts.subscriptions == 2).await;
    assert_eq!((counts.exchanges, counts.errors.len()), (1, 0));
    assert_eq!(notes.frontier().tips, copy.frontier().tips);
}
