//! A store of a kind that Eidetica does not know: two devices add to one set, at once, and agree
//! when they have synced. Run it with `cargo run --example grow_only_set`.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

mod set;

use std::{collections::BTreeSet, error::Error, time::Duration};

use eidetica::{Database, DatabaseTicket, Instance, InstanceBuilder, Level, crdt::RowRange};

use crate::set::{GrowOnlySet, members};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let laptop = device().listen_quic("127.0.0.1:0".parse()?).open().await?;
    let phone = device().open().await?;

    let birds = laptop.create_database("birds").await?;
    let mut tx = birds.transaction().await?;
    tx.set_permission(phone.public_key(), Level::Write, "phone");
    tx.commit().await?;
    let addresses = laptop.sync().accept_connections("quic").await?;
    let ticket = DatabaseTicket::new(birds.id(), addresses)?;
    phone.sync().join(&ticket, Duration::from_secs(5)).await?;
    let copy = phone.database(birds.id()).await?;

    // Neither knows of what the other adds.
    add(&birds, &["wren", "heron"]).await?;
    add(&copy, &["wren", "kite"]).await?;
    println!("laptop {:?}", seen(&birds).await?);
    println!("phone  {:?}", seen(&copy).await?);

    phone.sync().join(&ticket, Duration::from_secs(5)).await?;
    println!("both   {:?}", seen(&birds).await?);
    assert_eq!(seen(&birds).await?, seen(&copy).await?);
    Ok(())
}

/// A device that knows the kind. Others keep the entries and pass them on, but show no members.
fn device() -> InstanceBuilder {
    Instance::builder().kind::<GrowOnlySet>()
}

async fn add(birds: &Database, names: &[&str]) -> Result<(), Box<dyn Error>> {
    let tx = birds.transaction().await?;
    let set = tx.store::<GrowOnlySet>("seen")?;
    for name in names {
        set.apply((*name).to_owned()).await?;
    }
    tx.commit().await?;
    Ok(())
}

async fn seen(birds: &Database) -> Result<BTreeSet<String>, Box<dyn Error>> {
    let set = birds.store::<GrowOnlySet>("seen")?;
    Ok(members(&set.rows(&RowRange::all()).await?))
}
