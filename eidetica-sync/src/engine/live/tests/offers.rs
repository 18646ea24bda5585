//! Owns the proof of offers: where both sides hear most from others, what others wrote goes only to
//! who lacks it, and what a device writes itself goes at once.

use std::time::Duration;

use eidetica_core::EntryId;
use tokio::time::Instant;

use super::{
    LONG,
    device::{Network, Raw, holds},
};
use crate::{Answer, Refusal};

/// How long anything waits before it is offered, with some time on the way.
const SOON: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn what_others_wrote_is_offered_and_what_one_wrote_itself_goes_at_once() {
    let network = Network::default();
    let [hub, laptop, phone] = [1, 2, 3].map(|n| network.device(n));
    let (hub, laptop, phone) = (hub.await, laptop.await, phone.await);
    let notes = hub.create("notes", &[&laptop, &phone]).await;
    let at_laptop = laptop.join(&hub, notes.id()).await;
    let at_phone = phone.join(&hub, notes.id()).await;
    let near = phone.link(&hub, &[&at_phone], LONG).await;
    let link = laptop.link_overlapping(&hub, &at_laptop).await;
    for n in 0..5 {
        let began = Instant::now();
        let id = hub.write(&notes, n).await;
        holds(&at_laptop, &id).await;
        let id = laptop.write(&at_laptop, n).await;
        holds(&notes, &id).await;
        assert_eq!(began.elapsed(), Duration::ZERO);
        // What the phone writes comes to the hub, which offers it to the laptop, and back.
        holds(&at_phone, &id).await;
        let id = phone.write(&at_phone, n).await;
        holds(&at_laptop, &id).await;
        assert!(began.elapsed() > Duration::ZERO && began.elapsed() < SOON);
        link.quiet().await;
    }
    let counts = link.counts();
    assert_eq!((counts.stored, counts.known, counts.sent), (10, 0, 5));
    assert_eq!((counts.exchanges, counts.errors.len()), (0, 0));
    assert_eq!(near.counts().known, 0);
}

#[tokio::test(start_paused = true)]
async fn what_came_from_elsewhere_meanwhile_is_sent_in_no_direction() {
    let network = Network::default();
    let [hub, laptop, phone] = [1, 2, 3].map(|n| network.device(n));
    let (hub, laptop, phone) = (hub.await, laptop.await, phone.await);
    for is_offered in [false, true] {
        let notes = phone.create("notes", &[&laptop, &hub]).await;
        let at_hub = hub.join(&phone, notes.id()).await;
        let at_laptop = laptop.join(&phone, notes.id()).await;
        laptop.exchange(&hub, notes.id()).await;
        // A triangle: both hear what the phone writes from itself.
        let _one = hub.link(&phone, &[&at_hub], LONG).await;
        let _other = laptop.link(&phone, &[&at_laptop], LONG).await;
        let link = match is_offered {
            true => laptop.link_overlapping(&hub, &at_laptop).await,
            false => laptop.link(&hub, &[&at_laptop], LONG).await,
        };
        for n in 0..20 {
            let id = phone.write(&notes, n).await;
            holds(&at_hub, &id).await;
            holds(&at_laptop, &id).await;
        }
        link.quiet().await;
        // The control: without offers much of it goes over the third side, too.
        assert_eq!(link.traffic() == 0, is_offered, "{:?}", link.counts());
    }
}

#[tokio::test(start_paused = true)]
async fn of_several_who_offer_the_same_one_is_asked_for_it() {
    let network = Network::default();
    let [hub, laptop, phone] = [1, 2, 3].map(|n| network.device(n));
    let (hub, laptop, phone) = (hub.await, laptop.await, phone.await);
    let notes = hub.create("notes", &[&laptop, &phone]).await;
    let held = notes.frontier().tips;
    let here = Raw::offer(&hub, laptop.key(), &notes, &held);
    assert_eq!(here.await.next().await, None);
    let missing = [EntryId::from_bytes([9; 32])];
    let mut first = Raw::offer(&hub, laptop.key(), &notes, &missing).await;
    let Some(Answer::Wanted(haves)) = first.next().await else {
        panic!("the first is asked for what it offers");
    };
    assert!(haves.starts_with(&held));
    let mut second = Raw::offer(&hub, phone.key(), &notes, &missing).await;
    second.settle().await;
    assert!(second.is_waiting().await);
    drop(first);
    assert!(matches!(second.next().await, Some(Answer::Wanted(_))));
    // One that never ends its turn holds up the next for a while only.
    let began = Instant::now();
    let mut third = Raw::offer(&hub, laptop.key(), &notes, &missing).await;
    let wanted = third.next_within(LONG).await;
    assert!(matches!(wanted, Some(Answer::Wanted(_))));
    assert!(began.elapsed() <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn an_offer_of_who_has_no_level_is_refused_like_one_of_no_database() {
    let network = Network::default();
    let (hub, stranger) = (network.device(1).await, network.device(2).await);
    let notes = hub.create("notes", &[]).await;
    let nowhere = stranger.create("other", &[]).await;
    for database in [&notes, &nowhere] {
        let mut answer = Raw::offer(&hub, stranger.key(), database, &[]).await;
        let refused = Answer::Refused(Refusal::NoDatabase);
        assert_eq!(answer.next().await, Some(refused));
        assert_eq!(answer.next().await, None);
    }
}
