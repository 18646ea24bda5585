//! The digest of a database's content, of which a page at a time is read.

use std::collections::BTreeMap;

use eidetica::{Instance, content_digest};
use sha2::{Digest, Sha256};

#[tokio::test]
async fn the_digest_is_that_of_canonical_json_however_many_keys_there_are() {
    let instance = Instance::builder().open().await.unwrap();
    let database = instance.create_database("test").await.unwrap();
    // Keys that UTF-8 and UTF-16 order differently, among more than a page has.
    let special = ["\u{fb33}", "\u{1f600}", "\u{e000}", "\u{10ffff}"];
    let special = special.map(|last| [format!("{last}x"), format!("k500{last}"), last.to_owned()]);
    let mut keys: Vec<String> = special.into_iter().flatten().collect();
    keys.extend((0..3000).map(|n| format!("k{n}")));
    let tx = database.transaction().await.unwrap();
    let doc = tx.doc("many").unwrap();
    for key in &keys {
        doc.set([key.as_str()], 1).await.unwrap();
    }
    tx.doc("z").unwrap().set("a", true).await.unwrap();
    let rows = tx.table::<BTreeMap<String, i64>>("rows").unwrap();
    let mut ids = Vec::new();
    for n in 0..2000 {
        let row = BTreeMap::from([("n".to_owned(), n)]);
        ids.push(rows.insert(&row).await.unwrap());
    }
    tx.commit().await.unwrap();

    let by_utf16 = keys
        .iter()
        .map(|key| (key.encode_utf16().collect::<Vec<_>>(), key));
    let fields = BTreeMap::from_iter(by_utf16).into_values();
    let fields = fields.map(|key| format!("{}:1", serde_json::to_string(key).unwrap()));
    let fields = fields.collect::<Vec<_>>().join(",");
    let rows = (0..).zip(&ids).map(|(n, id)| (id.to_string(), n));
    let rows = BTreeMap::from_iter(rows).into_iter();
    let rows = rows.map(|(id, n)| format!("\"{id}\":{{\"n\":{n}}}"));
    let rows = rows.collect::<Vec<_>>().join(",");
    let json = format!("{{\"many\":{{{fields}}},\"rows\":{{{rows}}},\"z\":{{\"a\":true}}}}");
    let expected: [u8; 32] = Sha256::digest(json).into();
    assert_eq!(content_digest(&database).await.unwrap(), expected);
}
