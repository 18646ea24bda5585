//! Owns what devices write: documents, counters, lists and tables, several in one transaction.

use std::{collections::BTreeMap, time::Duration};

use eidetica_core::{DatabaseId, EntryId};
use eidetica_store::{Storage, StoreError, Transaction};

use crate::{SimClock, sim::Dice};

/// Places that are written, few enough that devices meet.
const PLACES: u64 = 6;

/// Commits one transaction of some writes; in some of them time passes.
pub(super) async fn edit(
    storage: &Storage,
    database: DatabaseId,
    clock: &SimClock,
    dice: &Dice,
) -> Result<EntryId, StoreError> {
    let database = storage.database(database).await?;
    let tx = database.transaction().await?;
    for _ in 0..=dice.below(3) {
        write(&tx, dice).await?;
    }
    if dice.below(5) == 0 {
        clock.sleep(dice.millis(1..500)).await;
    }
    tx.commit().await
}

async fn write(tx: &Transaction, dice: &Dice) -> Result<(), StoreError> {
    let place = dice.below(PLACES).to_string();
    match dice.below(8) {
        0 | 1 => tx.doc("notes")?.set(&*place, text(dice)).await,
        2 => tx.doc("notes")?.delete(&*place).await.map(drop),
        3 => {
            let by = i64::try_from(dice.below(9)).expect("is small");
            tx.doc("counts")?.increment(&*place, by).await
        }
        4 => tx.doc("lists")?.push(&*place, text(dice)).await,
        5 => shorten(tx, &place, dice).await,
        _ => row(tx, dice).await,
    }
}

/// Removes an element of a list, or begins it.
async fn shorten(tx: &Transaction, list: &str, dice: &Dice) -> Result<(), StoreError> {
    let lists = tx.doc("lists")?;
    if lists.get(list).await?.is_none() {
        return lists.push(list, text(dice)).await;
    }
    match lists.list_len(list).await? {
        0 => lists.push(list, text(dice)).await,
        len => {
            let index = usize::try_from(dice.below(len as u64)).expect("is below a length");
            lists.remove(list, index).await.map(drop)
        }
    }
}

async fn row(tx: &Transaction, dice: &Dice) -> Result<(), StoreError> {
    let table = tx.table::<BTreeMap<String, String>>("rows")?;
    let value = BTreeMap::from([
        ("name".to_owned(), text(dice)),
        (dice.below(PLACES).to_string(), text(dice)),
    ]);
    let rows = table.scan().limit(4).page().await?.rows;
    match rows.get(usize::try_from(dice.below(8)).unwrap_or(0)) {
        Some((id, _)) if dice.below(3) == 0 => table.delete(id).await.map(drop),
        Some((id, _)) => table.set(id, &value).await,
        None => table.insert(&value).await.map(drop),
    }
}

/// Text that no compression makes much shorter; seldom long.
pub(super) fn text(dice: &Dice) -> String {
    let words = match dice.below(200) {
        0 => dice.within(2_000..8_000),
        1..10 => dice.within(50..1_000),
        _ => dice.within(1..8),
    };
    (0..words).map(|_| format!("{:x}", dice.number())).collect()
}

/// How long a device that was switched off stays so.
pub(super) fn pause(dice: &Dice) -> Duration {
    dice.millis(100..20_000)
}
