//! Owns the proof that a slow line is used: a database arrives at nine tenths of what the line
//! carries, on simulated time.

use std::{sync::Arc, time::Duration};

use eidetica_sync::SyncConfig;
use eidetica_testkit::{
    SimClock,
    sim::{Link, SimNet, simulate},
};

use crate::sim_device::{Device, fill};

/// 1 Mbit/s.
const BYTES_PER_SECOND: u64 = 125_000;
/// A quarter of a second from a question to its answer.
const ONE_WAY: Duration = Duration::from_millis(125);
const MEGABYTE: u64 = 1_000_000;
/// Bytes of the database's texts.
const SIZE: u64 = 10 * MEGABYTE;
/// Bytes of one text.
const TEXT: u64 = 2_000;

#[test]
fn a_slow_line_is_used_by_nine_tenths_each_way() {
    for reads in [true, false] {
        let clock = SimClock::default();
        let net = SimNet::new(1, Arc::new(clock.clone()));
        let took = simulate(&clock, async {
            let device =
                async |name, seed| Device::start(name, seed, &clock, &net, SyncConfig::new()).await;
            let (full, empty) = (device("full", 1).await, device("empty", 2).await);
            let ours = full.create(&empty).await;
            if !reads {
                // Whoever is pushed to must have the database.
                empty.copy(&ours).await;
            }
            fill(&ours, "large", SIZE / TEXT, TEXT).await;
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
            let to = other.address();
            let report = asks.sync.sync_with_peer(ours.id(), &to);
            let report = report.await.unwrap();
            assert!(report.received + report.sent >= SIZE / TEXT);
            let theirs = empty.database(ours.id()).await;
            assert_eq!(ours.frontier().digest, theirs.frontier().digest);
            clock.passed() - began
        });
        let at_the_rate = SIZE as f64 / BYTES_PER_SECOND as f64;
        let used = net.bytes() as f64 / BYTES_PER_SECOND as f64 / took.as_secs_f64();
        assert!(took.as_secs_f64() <= at_the_rate / 0.9, "{took:?}");
        // Texts are packed, so that less than their bytes goes over the line.
        assert!(used >= 0.95, "{used} of the line, reads={reads}");
    }
}
