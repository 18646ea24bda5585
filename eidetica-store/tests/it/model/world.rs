//! Owns doing the steps of a program on real devices and beside them in the model, and comparing
//! what is read.

use std::{collections::BTreeMap, sync::Arc};

use eidetica_core::{
    EntryId,
    authority::{Level, Subject},
};
use eidetica_crdt::{Path, RowId, Value};
use eidetica_store::{
    Backend, Database, DocDraft, Index, IndexRange, MemoryBackend, Storage, StoreError,
    StoreErrorKind,
};
use proptest::{prop_assert_eq, test_runner::TestCaseError};

use super::{
    DEVICES, INDEXED, INNER, LISTS, PATHS, Step,
    rules::{Belief, Fields, Keys, Model, Op, RowNo},
};
use crate::support::{copy, open_as};

/// The devices, and the model of them.
pub(super) struct World {
    backends: Vec<Arc<dyn Backend>>,
    devices: Vec<(Storage, Database)>,
    model: Model,
    rows: Vec<RowId>,
}

impl World {
    pub(super) async fn new(belief: Belief) -> Self {
        let backends: Vec<_> = (0..DEVICES)
            .map(|_| Arc::new(MemoryBackend::new()) as Arc<dyn Backend>)
            .collect();
        let first = open_as(Arc::clone(&backends[0]), 0).await;
        let database = first.create_database("test").await.unwrap();
        let mut tx = database.transaction().await.unwrap();
        tx.set_permission(Subject::Anyone, Level::Write, "");
        tx.commit().await.unwrap();
        let mut devices = vec![(first, database)];
        for (device, backend) in (0..).zip(&backends).skip(1) {
            let storage = open_as(Arc::clone(backend), device).await;
            let database = storage.attach(devices[0].1.id()).await.unwrap();
            copy(&devices[0].1, &database).await;
            devices.push((storage, database));
        }
        for (_, database) in &devices {
            let table = database.table::<Fields>("rows").unwrap();
            table.add_index(Index::on([INDEXED]), |_| {}).await.unwrap();
        }
        Self {
            backends,
            devices,
            model: Model::new(DEVICES, belief),
            rows: Vec::new(),
        }
    }

    fn database(&self, device: usize) -> &Database {
        &self.devices[device].1
    }

    /// A row that a device sees, counted from the last inserted.
    fn row(&self, device: usize, back: RowNo) -> Option<(RowNo, Fields)> {
        let seen = self.model.rows(device);
        let row = self.rows.len().checked_sub(back + 1)?;
        seen.get(&row).map(|fields| (row, fields.clone()))
    }

    pub(super) async fn step(&mut self, number: usize, step: Step) {
        let value = number as i64 * 10;
        match step {
            Step::Set(device, path) => self.set(device, path, value).await,
            Step::Delete(device, path) => self.delete(device, path).await,
            Step::Put(device, list, at, count) => self.put(device, list, at, count, value).await,
            Step::Replace(device, list, at) => self.replace(device, list, at, value).await,
            Step::Take(device, list, at) => self.take(device, list, at).await,
            Step::Count(device, counter, by) => self.count(device, counter, by).await,
            Step::Insert(device, field) => self.insert(device, field, value).await,
            Step::Edit(device, row, field) => self.edit(device, row, field, Some(value)).await,
            Step::Clear(device, row, field) => self.edit(device, row, field, None).await,
            Step::Remove(device, row) => self.remove(device, row).await,
            Step::Tell(from, to) => {
                copy(self.database(from), self.database(to)).await;
                self.model.told(from, to);
            }
            Step::Reopen(device) => {
                let id = self.database(device).id();
                let backend = Arc::clone(&self.backends[device]);
                let storage = open_as(backend, (DEVICES + number) as u64).await;
                let database = storage.database(id).await.unwrap();
                self.devices[device] = (storage, database);
            }
        }
    }

    async fn set(&mut self, device: usize, path: &'static str, value: i64) {
        let keys = keys(path);
        let mut ops = self.model.inits(device, &keys, false);
        ops.push(Op::Set(keys, value));
        self.write(device, ops, async |notes| notes.set(path, value).await)
            .await;
    }

    async fn delete(&mut self, device: usize, path: &'static str) {
        let tx = self.database(device).transaction().await.unwrap();
        let notes = tx.doc("notes").unwrap();
        let was_there = notes.delete(path).await.unwrap();
        drop(notes);
        let expected = self.model.get(device, &keys(path)).is_some();
        assert_eq!(was_there, expected, "device {device} deletes {path}");
        if was_there {
            let id = tx.commit().await.unwrap();
            self.wrote(device, id, vec![Op::Delete(keys(path))]).await;
        }
    }

    /// Inserts some elements in a row.
    async fn put(
        &mut self,
        device: usize,
        list: &'static str,
        at: usize,
        count: usize,
        value: i64,
    ) {
        let path = keys(list);
        let before = self.model.elements(device, &path).len();
        let index = at % (before + 1);
        let values: Vec<_> = (0..count as i64).map(|n| value + n).collect();
        let tx = self.database(device).transaction().await.unwrap();
        let notes = tx.doc("notes").unwrap();
        match (values.as_slice(), index == before) {
            ([one], true) => notes.push(list, *one).await.unwrap(),
            ([one], false) => notes.insert(list, index, *one).await.unwrap(),
            (all, true) => notes.push_many(list, all.to_vec()).await.unwrap(),
            (all, false) => notes.insert_many(list, index, all.to_vec()).await.unwrap(),
        }
        drop(notes);
        let id = tx.commit().await.unwrap();
        // They stand where they were put; what they are called from now on is the list's to say.
        let notes = self.database(device).doc("notes").unwrap();
        let mut elements = Vec::new();
        for (n, value) in values.iter().enumerate() {
            let element = notes.element(list, index + n).await.unwrap();
            let held = notes.get(&element).await.unwrap();
            assert_eq!(held, Some(Value::from(*value)), "device {device}, {list}");
            elements.push((element.segments(), *value));
        }
        let mut ops = self.model.inits(device, &path, true);
        ops.push(Op::Insert(elements));
        self.wrote(device, id, ops).await;
    }

    async fn replace(&mut self, device: usize, list: &'static str, at: usize, value: i64) {
        let Some((index, element)) = self.element(device, list, at) else {
            return;
        };
        let mut ops = self.model.inits(device, &element, false);
        ops.push(Op::Set(element, value));
        self.write(device, ops, async |notes| {
            notes.set_at(list, index, value).await
        })
        .await;
    }

    async fn take(&mut self, device: usize, list: &'static str, at: usize) {
        let Some((index, element)) = self.element(device, list, at) else {
            return;
        };
        let held = self.model.get(device, &element);
        self.write(device, vec![Op::Delete(element)], async |notes| {
            let taken = notes.remove(list, index).await?;
            assert_eq!(Some(taken), held, "device {device} takes from {list}");
            Ok(())
        })
        .await;
    }

    /// An element that a device sees.
    fn element(&self, device: usize, list: &'static str, at: usize) -> Option<(usize, Keys)> {
        let mut elements = self.model.elements(device, &keys(list));
        let index = at.checked_rem(elements.len())?;
        Some((index, elements.swap_remove(index)))
    }

    async fn count(&mut self, device: usize, counter: &'static str, by: i64) {
        let path = keys(counter);
        let Some(count) = self.model.count(device, &path, by) else {
            let tx = self.database(device).transaction().await.unwrap();
            let counted = tx.doc("notes").unwrap().increment(counter, by).await;
            let refusal = counted.unwrap_err();
            assert_eq!(refusal.kind(), &StoreErrorKind::Invalid, "{refusal}");
            return;
        };
        let mut ops = self.model.inits(device, &path, false);
        ops.push(count);
        self.write(device, ops, async |notes| {
            notes.increment(counter, by).await
        })
        .await;
    }

    /// Writes to the document in a transaction; `ops` are what that means in the model.
    async fn write(
        &mut self,
        device: usize,
        ops: Vec<Op>,
        write: impl AsyncFnOnce(&DocDraft<'_>) -> Result<(), StoreError>,
    ) {
        let tx = self.database(device).transaction().await.unwrap();
        write(&tx.doc("notes").unwrap()).await.unwrap();
        let id = tx.commit().await.unwrap();
        self.wrote(device, id, ops).await;
    }

    async fn insert(&mut self, device: usize, field: &str, value: i64) {
        let fields = Fields::from([(field.to_owned(), value)]);
        let tx = self.database(device).transaction().await.unwrap();
        let table = tx.table::<Fields>("rows").unwrap();
        self.rows.push(table.insert(&fields).await.unwrap());
        let id = tx.commit().await.unwrap();
        let written = fields.into_iter().map(|(f, v)| (f, Some(v))).collect();
        let ops = vec![Op::Write(self.rows.len() - 1, written)];
        self.wrote(device, id, ops).await;
    }

    /// Gives a field a value or none; the others stay as the device sees them.
    async fn edit(&mut self, device: usize, back: RowNo, field: &str, value: Option<i64>) {
        let Some((row, mut fields)) = self.row(device, back) else {
            return;
        };
        let before = match value {
            Some(value) => fields.insert(field.to_owned(), value),
            None => fields.remove(field),
        };
        if before == value {
            return;
        }
        let tx = self.database(device).transaction().await.unwrap();
        let table = tx.table::<Fields>("rows").unwrap();
        table.set(&self.rows[row], &fields).await.unwrap();
        let id = tx.commit().await.unwrap();
        let written = BTreeMap::from([(field.to_owned(), value)]);
        self.wrote(device, id, vec![Op::Write(row, written)]).await;
    }

    async fn remove(&mut self, device: usize, back: RowNo) {
        let Some((row, _)) = self.row(device, back) else {
            return;
        };
        let tx = self.database(device).transaction().await.unwrap();
        let table = tx.table::<Fields>("rows").unwrap();
        assert!(table.delete(&self.rows[row]).await.unwrap());
        let id = tx.commit().await.unwrap();
        self.wrote(device, id, vec![Op::Remove(row)]).await;
    }

    async fn wrote(&mut self, device: usize, id: EntryId, ops: Vec<Op>) {
        let entry = self.database(device).entry(&id).await.unwrap().unwrap();
        self.model.wrote(device, id, entry.header().timestamp, ops);
    }

    /// Compares everything that a device reads with what the model says.
    pub(super) async fn check(&self, device: usize) -> Result<(), TestCaseError> {
        self.check_doc(device).await?;
        self.check_table(device).await
    }

    async fn check_doc(&self, device: usize) -> Result<(), TestCaseError> {
        let notes = self.database(device).doc("notes").unwrap();
        for path in PATHS.into_iter().chain(INNER) {
            let reading = notes.read(path).await.unwrap();
            let winner = reading.winner.map(|(_, value)| value);
            let lost = reading.conflicts.into_iter().map(|(_, value)| value);
            let read: Vec<_> = winner.into_iter().chain(lost).collect();
            let expected = self.model.read_all(device, &keys(path));
            prop_assert_eq!(read, expected, "device {} reads {}", device, path);
        }
        for list in LISTS {
            let len = notes.list_len(list).await.unwrap();
            prop_assert_eq!(len, self.model.elements(device, &keys(list)).len());
        }
        Ok(())
    }

    /// Compares the number of heads of a device with that of the first.
    pub(super) fn check_tips(&self, device: usize) -> Result<(), TestCaseError> {
        let tips = |device| self.database(device).frontier().tips.len();
        prop_assert_eq!(tips(device), tips(0));
        Ok(())
    }

    async fn check_table(&self, device: usize) -> Result<(), TestCaseError> {
        let database = self.database(device);
        let expected = self.model.rows(device);
        let expected: BTreeMap<RowId, Fields> = expected
            .into_iter()
            .map(|(row, fields)| (self.rows[row], fields))
            .collect();
        let table = database.table::<Fields>("rows").unwrap();
        let found = table.scan().page().await.unwrap().rows;
        let all: Vec<_> = expected.clone().into_iter().collect();
        prop_assert_eq!(&found, &all, "device {} scans", device);
        prop_assert_eq!(table.count().await.unwrap(), all.len() as u64);
        let mut by_value = BTreeMap::<i64, Vec<_>>::new();
        for (id, fields) in expected {
            if let Some(value) = fields.get(INDEXED) {
                by_value.entry(*value).or_default().push((id, fields));
            }
        }
        for (value, rows) in by_value {
            let query = table.by_index(INDEXED, IndexRange::equal([value]));
            let found = query.page().await.unwrap().rows;
            prop_assert_eq!(found, rows, "device {} looks up {}", device, value);
        }
        Ok(())
    }
}

fn keys(path: &str) -> Keys {
    path.parse::<Path>().unwrap().segments()
}
