//! Makes the data that `tests/it/fixture.rs` opens for ever after: `cargo run -p eidetica --example
//! fixture`. It has something of everything that a row can hold. Only a new format has a new one.

#![allow(clippy::unwrap_used, reason = "it has nobody to tell")]

#[path = "../tests/it/fixture/record.rs"]
mod record;

use std::{fs, path::Path, sync::Arc, time::Duration};

use eidetica::{
    Database, DatabaseTicket, Instance, Level, Value,
    store::Index,
    transport::{MemoryNetwork, MemoryTransport},
};
use flate2::{Compression, write::GzEncoder};
use serde::{Deserialize, Serialize};

async fn write(database: &Database, path: &str, value: impl Into<Value>) {
    let tx = database.transaction().await.unwrap();
    tx.doc("notes").unwrap().set(path, value).await.unwrap();
    tx.commit().await.unwrap();
}

async fn permit(database: &Database, member: &Instance, level: Level) {
    let mut tx = database.transaction().await.unwrap();
    tx.set_permission(member.public_key(), level, "phone");
    tx.commit().await.unwrap();
}

/// A database with many tips, a conflict, a large payload, a removed member and what it wrote
/// beside its removal.
async fn fill(laptop: &Instance, phone: &Instance) {
    let notes = laptop.create_database("notes").await.unwrap();
    permit(&notes, phone, Level::Write).await;
    let addresses = laptop.sync().accept_connections("memory").await.unwrap();
    let ticket = DatabaseTicket::new(notes.id(), addresses).unwrap();
    phone.sync().join(&ticket, Duration::ZERO).await.unwrap();
    let copy = phone.database(notes.id()).await.unwrap();
    write(&notes, "theme", "dark").await;
    write(&copy, "theme", "light").await;
    phone.sync().join(&ticket, Duration::ZERO).await.unwrap();
    write(&notes, "long", "text ".repeat(2000)).await;
    write(&notes, "gone", true).await;
    let tx = notes.transaction().await.unwrap();
    tx.doc("notes").unwrap().delete("gone").await.unwrap();
    tx.doc("more")
        .unwrap()
        .set("bytes", Value::Bytes(vec![0, 255]))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    table(&notes).await;
    let fork = notes.frontier().tips;
    for n in 0..70 {
        let tx = notes.transaction_at(&fork).await.unwrap();
        tx.doc("notes")
            .unwrap()
            .set(&format!("tip.{n}"), n)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    permit(&notes, phone, Level::None).await;
    write(&copy, "beside", "the removal").await;
    // The one removed is not listened to; what it wrote comes by a dump.
    let mut dump = Vec::new();
    phone
        .storage()
        .dump(&[notes.id()], &mut dump, |_| {})
        .await
        .unwrap();
    laptop
        .storage()
        .restore(dump.as_slice(), |_| {})
        .await
        .unwrap();
    let empty = laptop.create_database("empty").await.unwrap();
    assert_eq!(empty.frontier().count, 1);
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Film {
    title: String,
    year: i64,
}

/// A table with an index, a counter and a list.
async fn table(database: &Database) {
    let films = database.table::<Film>("films").unwrap();
    films.add_index(Index::on(["year"]), |_| {}).await.unwrap();
    let tx = database.transaction().await.unwrap();
    let draft = tx.table::<Film>("films").unwrap();
    for (title, year) in [("Metropolis", 1927), ("M", 1931)] {
        let title = title.to_owned();
        draft.insert(&Film { title, year }).await.unwrap();
    }
    let seen = tx.doc("seen").unwrap();
    seen.increment("times", 3).await.unwrap();
    seen.push("cinemas", "Babylon").await.unwrap();
    seen.push("cinemas", "Arsenal").await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.redb");
    let network = MemoryNetwork::new();
    let named = MemoryTransport::new(&network).with_name("laptop");
    let laptop = Instance::builder().redb(&path).transport(Arc::new(named));
    let laptop = laptop.open().await.unwrap();
    let phone = Instance::builder().transport(Arc::new(MemoryTransport::new(&network)));
    fill(&laptop, &phone.open().await.unwrap()).await;
    laptop.sync().stop().await;
    laptop.compact().await.unwrap();
    let record = record::record(&laptop).await;
    assert_eq!(laptop.storage().doctor().await.unwrap(), []);
    drop(laptop);

    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let packed = fs::File::create(fixtures.join("format-1.redb.gz")).unwrap();
    let mut packed = GzEncoder::new(packed, Compression::best());
    std::io::copy(&mut fs::File::open(&path).unwrap(), &mut packed).unwrap();
    packed.finish().unwrap();
    fs::write(fixtures.join("format-1.txt"), record).unwrap();
}
