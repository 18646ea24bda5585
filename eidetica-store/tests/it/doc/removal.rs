//! Owns the proof of removing what has many rows: they are not loaded, what its author had not seen
//! stays, and who listens is told to read again.

use eidetica_store::Notice;

use super::{devices, get, write};
use crate::support::{block_on, copy, dump};

/// More than are loaded to be removed.
const ROWS: usize = 5000;

fn key(n: usize) -> String {
    format!("big.k{n}")
}

#[test]
fn what_has_many_rows_is_removed_but_for_what_was_not_seen() {
    block_on(async {
        let [one, other] = devices(async |notes| {
            for n in 0..ROWS {
                notes.set(key(n).as_str(), 1).await.unwrap();
            }
            notes.set("beside", 1).await.unwrap();
        })
        .await;
        write(&other, async |notes| {
            for n in (0..ROWS).step_by(500) {
                notes.set(key(n).as_str(), 2).await.unwrap();
            }
        })
        .await;
        let mut changes = one.subscribe();
        write(&one, async |notes| {
            assert!(notes.delete("big").await.unwrap());
            assert_eq!(notes.get("big").await.unwrap(), None);
            assert!(!notes.delete("big").await.unwrap());
        })
        .await;
        assert_eq!(get(&one, "big").await, eidetica_crdt::Value::Null);
        let Some(Notice::Change(change)) = changes.try_next() else {
            panic!("nothing is told");
        };
        assert!(change.stores[0].is_reset && change.stores[0].rows.is_empty());

        copy(&other, &one).await;
        copy(&one, &other).await;
        assert_eq!(dump(&one).await, dump(&other).await);
        let left = get(&one, "big").await;
        let left = left.as_map().unwrap();
        assert_eq!(left.len(), ROWS / 500);
        assert!(left.values().all(|value| *value == 2.into()));
        assert_eq!(get(&other, "beside").await, 1.into());
    });
}
