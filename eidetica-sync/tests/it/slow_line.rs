//! Owns the proof that a slow line is used: a database arrives at nine tenths of what the line
//! carries, on simulated time.

use std::{sync::Arc, time::Duration};

use eidetica_core::{DatabaseId, authority::Level};
use eidetica_store::{MemoryBackend, Storage, StorageOptions};
use eidetica_sync::{Sync, SyncConfig};
use eidetica_testkit::{
    SeededEntropy, SimClock,
    sim::{Dice, Link, SimNet, SimTransport, simulate},
};
use eidetica_transport::PeerAddress;

/// 1 Mbit/s.
const BYTES_PER_SECOND: u64 = 125_000;
/// A quarter of a second from a question to its answer.
const ONE_WAY: Duration = Duration::from_millis(125);
const MEGABYTE: u64 = 1_000_000;
/// Bytes of the database's texts.
const SIZE: u64 = 10 * MEGABYTE;
/// Bytes of one text.
const TEXT: u64 = 2_000;

struct Device {
    storage: Storage,
    sync: Sync,
    transport: SimTransport,
}

impl Device {
    async fn start(name: &str, seed: u64, clock: &SimClock, net: &SimNet) -> Self {
        let (backend, options) = (Arc::new(MemoryBackend::new()), StorageOptions::default());
        let (wall, entropy) = (Arc::new(clock.clone()), Arc::new(SeededEntropy::new(seed)));
        let storage = Storage::open(backend, options, wall, entropy);
        let storage = storage.await.unwrap();
        // What is verified beside would take no time here.
        let config = SyncConfig::new().with_batch(64);
        let config = config.with_timer(Arc::new(clock.clone()));
        let sync = Sync::with_config(storage.clone(), config).unwrap();
        let transport = net.device(name);
        sync.register_transport(Arc::new(transport.clone()));
        sync.accept_connections("sim").await.unwrap();
        Self {
            storage,
            sync,
            transport,
        }
    }

    fn address(&self) -> PeerAddress {
        PeerAddress {
            address: self.transport.address(),
            key: Some(self.storage.public_key()),
        }
    }

    /// A database of texts that no compression makes much shorter.
    async fn fill(&self, reader: &Self) -> DatabaseId {
        let database = self.storage.create_database("large").await.unwrap();
        let mut tx = database.transaction().await.unwrap();
        tx.set_permission(reader.storage.public_key(), Level::Write, "");
        tx.commit().await.unwrap();
        let dice = Dice::new(5);
        for n in 0..SIZE / TEXT {
            let letter = || char::from(u8::try_from(dice.within(33..127)).unwrap());
            let text: String = (0..TEXT).map(|_| letter()).collect();
            let tx = database.transaction().await.unwrap();
            let doc = tx.doc("large").unwrap();
            doc.set(&*n.to_string(), text).await.unwrap();
            tx.commit().await.unwrap();
        }
        database.id()
    }
}

#[test]
fn a_slow_line_is_used_by_nine_tenths_each_way() {
    for reads in [true, false] {
        let clock = SimClock::default();
        let net = SimNet::new(1, Arc::new(clock.clone()));
        let took = simulate(&clock, async {
            let full = Device::start("full", 1, &clock, &net).await;
            let empty = Device::start("empty", 2, &clock, &net).await;
            let id = full.fill(&empty).await;
            if !reads {
                // Whoever is pushed to must have the database.
                let root = full.storage.database(id).await.unwrap().log(1 << 20).await;
                let first = root
                    .unwrap()
                    .split_off(usize::try_from(SIZE / TEXT).unwrap());
                let entries = first.into_iter().rev().map(|(_, e)| e.verify().unwrap());
                let offer = eidetica_store::Offer {
                    entries: entries.collect(),
                    ..Default::default()
                };
                let database = empty.storage.attach(id).await.unwrap();
                database.ingest(offer).await.unwrap();
            }
            let line = Link::new()
                .with_latency(ONE_WAY)
                .with_bytes_per_second(BYTES_PER_SECOND);
            net.set_every_link(&line);
            let began = clock.passed();
            let (asks, other) = if reads {
                (&empty, &full)
            } else {
                (&full, &empty)
            };
            let report = asks
                .sync
                .sync_with_peer(id, &other.address())
                .await
                .unwrap();
            assert!(report.received + report.sent >= SIZE / TEXT);
            let (one, other) = (&full.storage, &empty.storage);
            let tips = |database: eidetica_store::Database| database.frontier().digest;
            assert_eq!(
                tips(one.database(id).await.unwrap()),
                tips(other.database(id).await.unwrap())
            );
            clock.passed() - began
        });
        let at_the_rate = SIZE as f64 / BYTES_PER_SECOND as f64;
        let used = net.bytes() as f64 / BYTES_PER_SECOND as f64 / took.as_secs_f64();
        assert!(took.as_secs_f64() <= at_the_rate / 0.9, "{took:?}");
        // Texts are packed, so that less than their bytes goes over the line.
        let least = if reads { 0.95 } else { 0.85 };
        assert!(used >= least, "{used} of the line, reads={reads}");
    }
}
