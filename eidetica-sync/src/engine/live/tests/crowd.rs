//! Owns the proof that many devices end equal without telling each other things again and again.

use std::collections::BTreeMap;

use eidetica_core::DatabaseId;
use eidetica_store::Database;

use super::{
    LONG,
    device::{Device, Link, Network, holds},
};

const DEVICES: usize = 10;

/// Ten devices with copies of one database.
struct Crowd {
    devices: Vec<Device>,
    copies: Vec<Database>,
}

impl Crowd {
    async fn new() -> Self {
        let network = Network::default();
        let mut devices = Vec::new();
        for n in 0..DEVICES {
            devices.push(network.device(n as u64 + 1).await);
        }
        let (first, others) = devices.split_first().unwrap();
        let all: Vec<_> = others.iter().collect();
        let notes = first.create("notes", &all).await;
        let mut copies = vec![notes.clone()];
        for device in others {
            copies.push(device.join(first, notes.id()).await);
        }
        Self { devices, copies }
    }

    fn id(&self) -> DatabaseId {
        self.copies[0].id()
    }

    /// Links pairs of devices, the first of each dialling; both have exchanged before.
    async fn link(
        &self,
        pairs: &[(usize, usize)],
        overlaps: bool,
    ) -> BTreeMap<(usize, usize), Link> {
        for (from, to) in pairs {
            self.devices[*from]
                .exchange(&self.devices[*to], self.id())
                .await;
        }
        let mut links = BTreeMap::new();
        for (from, to) in pairs {
            let (device, copy) = (&self.devices[*from], &self.copies[*from]);
            let to_device = &self.devices[*to];
            let link = match overlaps {
                true => device.link_overlapping(to_device, copy).await,
                false => device.link(to_device, &[copy], LONG).await,
            };
            links.insert((*from, *to), link);
        }
        links
    }

    /// Every device writes so many entries, all at once; returns when all hold everything.
    async fn write(&self, each: i64) {
        let writing = self.devices.iter().zip(&self.copies).map(|(device, copy)| {
            let (device, copy) = (device.clone(), copy.clone());
            tokio::spawn(async move {
                let mut written = Vec::new();
                for n in 0..each {
                    written.push(device.write(&copy, n).await);
                    tokio::task::yield_now().await;
                }
                written
            })
        });
        for written in writing.collect::<Vec<_>>() {
            let written = written.await.unwrap();
            for copy in &self.copies {
                for id in &written {
                    holds(copy, id).await;
                }
            }
        }
    }

    fn assert_equal(&self) {
        for copy in &self.copies {
            let mut tips = [copy, &self.copies[0]].map(|copy| copy.frontier().tips);
            tips.iter_mut().for_each(|tips| tips.sort_unstable());
            assert_eq!(tips[0], tips[1]);
        }
    }
}

/// What went over the links of a mesh, for each entry that had to go to a device.
async fn sent_in_a_mesh(overlaps: bool) -> f64 {
    const EACH: i64 = 20;
    let crowd = Crowd::new().await;
    let pairs: Vec<_> = (0..DEVICES)
        .flat_map(|from| (0..from).map(move |to| (from, to)))
        .collect();
    let links = crowd.link(&pairs, overlaps).await;
    crowd.write(EACH).await;
    for link in links.values() {
        link.quiet().await;
    }
    crowd.assert_equal();
    for link in links.values() {
        assert_eq!(link.counts().errors, Vec::<String>::new());
    }
    let traffic: u64 = links.values().map(Link::traffic).sum();
    traffic as f64 / (EACH as usize * DEVICES * (DEVICES - 1)) as f64
}

#[tokio::test(start_paused = true)]
async fn in_a_mesh_an_entry_comes_to_a_device_twice_at_most_where_it_is_offered_first() {
    let offered = sent_in_a_mesh(true).await;
    assert!((1.0..=2.0).contains(&offered), "{offered}");
    // The control: it goes over every link.
    let sent = sent_in_a_mesh(false).await;
    assert!(sent > 4.0, "{sent}");
}

#[tokio::test(start_paused = true)]
async fn where_both_dial_no_entry_goes_twice_over_a_link_in_one_direction() {
    let crowd = Crowd::new().await;
    let pairs: Vec<_> = (0..DEVICES)
        .flat_map(|from| (0..DEVICES).map(move |to| (from, to)))
        .filter(|(from, to)| from != to)
        .collect();
    let links = crowd.link(&pairs, false).await;
    const EACH: i64 = 5;
    crowd.write(EACH).await;
    for link in links.values() {
        link.quiet().await;
    }
    crowd.assert_equal();
    let all = EACH as u64 * DEVICES as u64;
    for (pair, link) in &links {
        let counts = link.counts();
        // Both dial, so each hears by its own subscription, and of its own entries nothing.
        assert!(
            counts.stored + counts.known <= all - EACH as u64,
            "{pair:?} {counts:?}"
        );
        assert_eq!(counts.sent, 0, "{pair:?} {counts:?}");
        assert_eq!(counts.errors, Vec::<String>::new());
    }
}
