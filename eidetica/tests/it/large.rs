//! The largest payload, the largest entry and 100 MB of them cross every transport.

use eidetica::{Database, Instance, Level, Value, core::limits};

use crate::devices::{TRANSPORTS, grant, instance, join, listen, shared};

/// What an operation and a payload have around their bytes, at most.
const OVERHEAD: usize = 64;

/// Bytes that do not compress.
fn noise(len: usize, seed: u64) -> Value {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes = (0..len).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    Value::Bytes(bytes.collect())
}

async fn write_entry(database: &Database, payloads: u64, seed: u64) {
    let tx = database.transaction().await.unwrap();
    for i in 0..payloads {
        let value = noise(limits::MAX_PAYLOAD_BYTES - OVERHEAD, seed + i);
        tx.doc(&format!("blobs{i}"))
            .unwrap()
            .set(&format!("b{seed}"), value)
            .await
            .unwrap();
    }
    tx.commit().await.unwrap();
}

async fn joined(admin: &Instance, database: &Database, transport: &str) -> Database {
    let device = instance().await;
    grant(database, &device, Level::Read).await;
    join(&device, database, &listen(admin, transport).await).await;
    admin.sync().stop().await;
    device.database(database.id()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_of_the_largest_entries_arrive_whole() {
    let a = instance().await;
    let ours = shared(&a, &instance().await).await;
    for entry in 0..25 {
        write_entry(&ours, 4, entry * 4).await;
    }
    for transport in TRANSPORTS {
        let theirs = joined(&a, &ours, transport).await;
        assert_eq!(theirs.frontier().digest, ours.frontier().digest);
        let read = theirs.doc("blobs3").unwrap().get("b96").await.unwrap();
        assert_eq!(read, Some(noise(limits::MAX_PAYLOAD_BYTES - OVERHEAD, 99)));
    }
}

#[tokio::test]
async fn a_payload_over_the_limit_is_refused_by_name() {
    let a = instance().await;
    let ours = shared(&a, &instance().await).await;
    let tx = ours.transaction().await.unwrap();
    let value = noise(limits::MAX_PAYLOAD_BYTES, 1);
    tx.doc("blobs").unwrap().set("b", value).await.unwrap();
    let error = tx.commit().await.unwrap_err();
    assert!(
        error.to_string().contains("payload over 1048576 bytes"),
        "{error}"
    );
    assert_eq!(ours.frontier().count, 2);
}
