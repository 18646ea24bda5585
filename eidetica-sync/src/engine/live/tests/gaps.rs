//! Owns the proof of going on after a gap: nothing is lost and nothing comes twice.

use std::time::Duration;

use eidetica_core::Arrival;

use super::{
    LONG,
    device::{Network, holds},
};

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
async fn after_a_gap_exactly_what_was_missed_comes() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[&laptop]).await;
    let copy = laptop.join(&hub, notes.id()).await;
    for round in 0..4 {
        let link = laptop.link(&hub, &[&copy], LONG).await;
        let before = hub.write(&notes, round).await;
        holds(&copy, &before).await;
        // Entries of the subscriber lie between those that it lacks.
        let own = laptop.write(&copy, round).await;
        holds(&notes, &own).await;
        link.until(|counts| counts.sent == 1).await;
        drop(link);
        let mut last = before;
        for n in 0..50 {
            last = hub.write(&notes, n).await;
        }
        let link = laptop.link(&hub, &[&copy], LONG).await;
        holds(&copy, &last).await;
        let counts = link.until(|counts| counts.stored == 50).await;
        assert_eq!((counts.known, counts.exchanges, counts.sent), (0, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_written_in_a_gap_is_pushed_from_where_it_began() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[&laptop]).await;
    let copy = laptop.join(&hub, notes.id()).await;
    let from = Arrival(copy.frontier().count);
    let mut last = laptop.write(&copy, 0).await;
    for n in 1..50 {
        last = laptop.write(&copy, n).await;
    }
    let link = laptop.link_from(&hub, &[(&copy, from)], LONG).await;
    holds(&notes, &last).await;
    let counts = link.until(|counts| counts.sent > 0).await;
    assert_eq!((counts.sent, counts.stored + counts.known), (50, 0));
    // What was pushed has moved the cursor at the hub: it asks for nothing of it again.
    let report = hub.exchange(&laptop, notes.id()).await;
    assert_eq!((report.received, report.redundant), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_another_log_or_none_costs_one_exchange() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    // The laptop's database: it has never followed the hub's log of it.
    let notes = laptop.create("notes", &[&hub]).await;
    let at_hub = hub.join(&laptop, notes.id()).await;
    let link = laptop.link(&hub, &[&notes], LONG).await;
    let counts = link.until(|counts| counts.subscriptions == 2).await;
    assert_eq!(counts.exchanges, 1);
    let id = hub.write(&at_hub, 1).await;
    holds(&notes, &id).await;
    link.quiet().await;
    let counts = link.counts();
    // The exchange found both equal, and that is where the log is followed from.
    assert_eq!((counts.exchanges, counts.stored, counts.known), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_is_far_behind_is_told_to_exchange() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[&laptop]).await;
    let copy = laptop.join(&hub, notes.id()).await;
    let mut last = hub.write(&notes, 0).await;
    for n in 0..16_384 {
        last = hub.write(&notes, n).await;
    }
    let link = laptop.link(&hub, &[&copy], LONG).await;
    holds(&copy, &last).await;
    let counts = link.until(|counts| counts.subscriptions == 2).await;
    assert_eq!((counts.exchanges, counts.stored, counts.known), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_hears_by_its_own_subscription_is_pushed_nothing_until_that_is_over() {
    let network = Network::default();
    let (hub, laptop) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[&laptop]).await;
    let copy = laptop.join(&hub, notes.id()).await;
    hub.exchange(&laptop, notes.id()).await;
    let down = laptop.link(&hub, &[&copy], LONG).await;
    let up = hub.link(&laptop, &[&notes], LONG).await;
    for n in 0..5 {
        let id = hub.write(&notes, n).await;
        holds(&copy, &id).await;
        let id = laptop.write(&copy, n).await;
        holds(&notes, &id).await;
    }
    down.quiet().await;
    let (a, b) = (down.counts(), up.counts());
    assert_eq!((a.stored, a.known, a.sent), (5, 0, 0));
    assert_eq!((b.stored, b.known, b.sent), (5, 0, 0));
    drop(down);
    let id = hub.write(&notes, 9).await;
    holds(&copy, &id).await;
    // What it heard before is not known to be there, so one exchange finds out.
    assert_eq!(up.until(|counts| counts.lifted > 0).await.lifted, 1);
    let id = hub.write(&notes, 10).await;
    holds(&copy, &id).await;
    assert_eq!(up.until(|counts| counts.sent > 0).await.sent, 1);
}
