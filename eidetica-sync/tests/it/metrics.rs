//! Owns the test that what sync does can be collected: one exchange, with a recorder.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use eidetica_core::authority::Level;
use eidetica_store::MemoryBackend;
use eidetica_testkit::{SimClock, sim::simulate};
use eidetica_transport::MemoryNetwork;
use metrics::{
    Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
    with_local_recorder,
};

use crate::device::device;

/// Counters by name and labels.
#[derive(Default)]
struct Counters(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Recorder for Counters {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels = key
            .labels()
            .map(|label| format!(" {}={}", label.key(), label.value()));
        let name = format!("{}{}", key.name(), labels.collect::<String>());
        let mut counters = self.0.lock().unwrap();
        Counter::from_arc(Arc::clone(counters.entry(name).or_default()))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

impl Counters {
    fn get(&self, name: &str) -> u64 {
        let counters = self.0.lock().unwrap();
        let name = format!("eidetica_sync_{name}");
        counters.get(&name).map_or(0, |count| count.load(Relaxed))
    }
}

#[test]
fn what_an_exchange_did_and_what_was_refused_is_counted() {
    let counters = Counters::default();
    let clock = SimClock::default();
    let work = async {
        let network = MemoryNetwork::new();
        let (hub, at_hub) = device(&clock, &network, Arc::new(MemoryBackend::new()), 1).await;
        let (friend, at_friend) = device(&clock, &network, Arc::new(MemoryBackend::new()), 2).await;
        let notes = hub.create_database("notes").await.unwrap();
        let address = at_hub.accept_connections("memory").await.unwrap().remove(0);
        let refused = at_friend.sync_with_peer(notes.id(), &address).await;
        assert!(refused.is_err());
        let mut tx = notes.transaction().await.unwrap();
        tx.set_permission(friend.public_key(), Level::Write, "");
        tx.commit().await.unwrap();
        at_friend
            .sync_with_peer(notes.id(), &address)
            .await
            .unwrap()
    };
    let report = with_local_recorder(&counters, || simulate(&clock, work));
    assert_eq!(counters.get("exchanges_total outcome=failed"), 1);
    assert_eq!(counters.get("exchanges_total outcome=done"), 1);
    assert_eq!(counters.get("refusals_total reason=no_database"), 1);
    assert_eq!(counters.get("entries_total way=in"), report.received);
    // Both devices are in this process: what one sends the other counts, too.
    assert_eq!(counters.get("entries_total way=out"), report.received);
    let bytes = counters.get("bytes_total way=in");
    assert!(bytes >= report.bytes_in + report.bytes_out, "{bytes}");
    assert_eq!(counters.get("bytes_total way=out"), bytes);
}
