//! Pages of documents: together they are what one read shows.

use eidetica_store::DocStore;

use super::{created, ints, write};
use crate::support::block_on;

/// Every page, each of at most `max` keys.
async fn pages(doc: &DocStore, max: usize) -> Vec<(String, eidetica_crdt::Value)> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let page = doc.page(after.as_deref(), max).await.unwrap();
        assert!(page.len() <= max);
        let is_last = page.len() < max;
        after = page.last().map(|(key, _)| key.clone());
        all.extend(page);
        if is_last {
            return all;
        }
    }
}

#[test]
fn pages_of_any_length_are_what_one_read_shows() {
    block_on(async {
        let database = created().await;
        write(&database, async |notes| {
            for key in ["", "a", "a\0", "a\0b", "b", "é", "\u{fb33}", "\u{1f600}"] {
                notes.set([key], ints(&[1, 2])).await.unwrap();
                notes.set([key, "x"], 1).await.unwrap();
            }
            notes.delete(["b"]).await.unwrap();
            // More rows than are read at once, and keys around them.
            let many: Vec<i64> = (0..9000).collect();
            notes.push_many(["c"], many).await.unwrap();
            notes.increment(["d"], 3).await.unwrap();
        })
        .await;
        let before = database.frontier().tips;
        let keys: Vec<String> = (0..3000).map(|n| format!("key {n}")).collect();
        write(&database, async |notes| {
            for key in &keys {
                notes.set([key.as_str()], 1).await.unwrap();
            }
        })
        .await;
        let then = database.at(&before).await.unwrap();
        for (doc, count) in [
            (database.doc("notes").unwrap(), 3009),
            (then.doc("notes").unwrap(), 9),
        ] {
            let whole = doc.get("").await.unwrap().unwrap();
            let whole: Vec<_> = whole.as_map().unwrap().clone().into_iter().collect();
            assert_eq!(whole.len(), count);
            for max in [7, 1000, usize::MAX] {
                // A page as of a frontier reads the history anew.
                if max > 7 || count < 10 {
                    assert!(pages(&doc, max).await == whole, "pages of {max}");
                }
            }
        }
        assert_eq!(
            database.doc("none").unwrap().page(None, 9).await.unwrap(),
            []
        );
    });
}
