//! Owns the proof of live sync between devices of one process: what they hear, and what is never
//! sent.

mod device;

use std::time::Duration;

use eidetica_core::authority::Level;

use self::device::{Network, holds};

/// Longer than any subscription of these tests.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test(start_paused = true)]
async fn a_commit_is_seen_by_who_follows_and_the_other_way() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[&laptop]).await;
    let copy = laptop.join(&hub, notes.id()).await;
    let link = laptop.link(&hub, &[&copy], LONG).await;
    for n in 0..20 {
        let id = hub.write(&notes, n).await;
        holds(&copy, &id).await;
        let id = laptop.write(&copy, n).await;
        holds(&notes, &id).await;
    }
    let counts = link.counts();
    assert_eq!((counts.stored, counts.known), (20, 0));
    assert_eq!(counts.sent, 20);
    assert_eq!(notes.frontier().tips, copy.frontier().tips);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_says_that_it_is_there_and_goes_on_anew_when_it_ends() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[&laptop]).await;
    let copy = laptop.join(&hub, notes.id()).await;
    // As over a proxy that cuts what lasts longer.
    let link = laptop.link(&hub, &[&copy], Duration::from_secs(40)).await;
    // One at the beginning of each, and two in 40 s.
    let counts = link.until(|counts| counts.heartbeats == 10).await;
    assert_eq!((counts.subscriptions, counts.exchanges), (4, 0));
    let id = hub.write(&notes, 1).await;
    holds(&copy, &id).await;
    assert_eq!(link.counts().errors, Vec::<String>::new());
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
    // The writer is gone: what B has it has from nobody else.
    a.stop().await;
    let d = network.device(4).await;
    let grant = b.grant(&at_b, &d, Level::Write).await;
    assert!(grant.is_err(), "a writer lets nobody in");
    let from_b = b.write(&at_b, 3).await;
    holds(&at_c, &from_b).await;
    let (first, second) = (first.counts(), second.counts());
    assert_eq!((first.stored, first.known, first.sent), (1, 0, 1));
    assert_eq!((second.stored, second.known, second.sent), (2, 0, 1));
}
