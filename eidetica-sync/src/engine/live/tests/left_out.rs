//! Owns the proof that what live sync leaves out, entries without effect, comes by exchanges, also
//! where cursors lead beyond it.

use eidetica_core::EntryId;
use eidetica_store::Database;

use super::{
    LONG,
    device::{Device, Network, holds},
};
use crate::limits::MAX_TIPS;

/// A hub and a laptop that the hub alone dials, with a void entry at the hub, beyond which the
/// laptop's cursor leads; and a phone whose entries come to the hub by another way.
struct Scene {
    hub: Device,
    laptop: Device,
    phone: Device,
    at_hub: Database,
    at_laptop: Database,
    at_phone: Database,
    void: EntryId,
}

impl Scene {
    async fn new() -> Self {
        let network = Network::default();
        let [hub, laptop, phone, gone] = [1, 2, 3, 4].map(|n| network.device(n));
        let (hub, laptop, phone, gone) = (hub.await, laptop.await, phone.await, gone.await);
        let at_hub = hub.create("notes", &[&laptop, &phone, &gone]).await;
        let at_gone = gone.join(&hub, at_hub.id()).await;
        hub.remove(&at_hub, &gone).await;
        let at_phone = phone.join(&hub, at_hub.id()).await;
        let at_laptop = laptop.join(&hub, at_hub.id()).await;
        hub.exchange(&laptop, at_hub.id()).await;
        let link = hub.link(&laptop, &[&at_hub], LONG).await;
        // Written beside the removal, so without effect.
        let void = gone.write(&at_gone, 1).await;
        hub.take(&at_hub, &at_gone, void).await;
        link.quiet().await;
        let beside = phone.write(&at_phone, 1).await;
        hub.take(&at_hub, &at_phone, beside).await;
        holds(&at_laptop, &beside).await;
        drop(link);
        assert_eq!(at_laptop.find(&[void]).await.unwrap(), [None]);
        Self {
            hub,
            laptop,
            phone,
            at_hub,
            at_laptop,
            at_phone,
            void,
        }
    }

    async fn end_is_equal(&self) {
        assert!(self.at_laptop.find(&[self.void]).await.unwrap()[0].is_some());
        let (here, there) = (self.at_hub.frontier(), self.at_laptop.frontier());
        assert_eq!(here.digest, there.digest);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cursor_beyond_a_void_entry_does_not_keep_an_exchange_from_pushing_it() {
    let scene = Box::pin(Scene::new()).await;
    let report = scene.hub.exchange(&scene.laptop, scene.at_hub.id()).await;
    assert_eq!((report.sent, report.received), (1, 0));
    scene.end_is_equal().await;
}

#[tokio::test(start_paused = true)]
async fn a_void_entry_behind_the_cursor_is_pushed_with_what_is_new() {
    let scene = Box::pin(Scene::new()).await;
    let new = scene.phone.write(&scene.at_phone, 2).await;
    scene.hub.take(&scene.at_hub, &scene.at_phone, new).await;
    let report = scene.hub.exchange(&scene.laptop, scene.at_hub.id()).await;
    assert_eq!((report.sent, report.received), (2, 0));
    scene.end_is_equal().await;
}

impl Scene {
    /// Lets the phone write so many entries beside each other that an answer does not name all
    /// tips, and the laptop hear of them.
    async fn crowd(&self) {
        let link = self.hub.link(&self.laptop, &[&self.at_hub], LONG).await;
        let tips = self.at_phone.frontier().tips;
        for n in 0..MAX_TIPS {
            let tx = self.at_phone.transaction_at(&tips).await.unwrap();
            tx.doc("notes").unwrap().set("n", n as i64).await.unwrap();
            let id = tx.commit().await.unwrap();
            self.hub.take(&self.at_hub, &self.at_phone, id).await;
            holds(&self.at_laptop, &id).await;
        }
        drop(link);
        let newest = self.at_hub.frontier().tips;
        assert!(!newest[newest.len() - MAX_TIPS..].contains(&self.void));
        assert_eq!(self.at_laptop.find(&[self.void]).await.unwrap(), [None]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_void_entry_that_is_no_tip_among_the_newest_is_pushed_by_an_exchange() {
    let scene = Box::pin(Scene::new()).await;
    scene.crowd().await;
    scene.hub.exchange(&scene.laptop, scene.at_hub.id()).await;
    scene.end_is_equal().await;
}

#[tokio::test(start_paused = true)]
async fn a_void_entry_that_is_no_tip_among_the_newest_is_pulled_by_an_exchange() {
    let scene = Box::pin(Scene::new()).await;
    scene.crowd().await;
    scene.laptop.exchange(&scene.hub, scene.at_hub.id()).await;
    scene.end_is_equal().await;
}
