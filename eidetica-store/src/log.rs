//! Owns reading a database's log: entries by id and in order of arrival, and where they stand.

use eidetica_core::{Arrival, EntryId, Height, PublicKey, SignedEntry};

use crate::{
    Database, Order, Snapshot, StoreError, clock::Clock, node::StoredRow, nodes::Nodes, rows,
    state::SCAN_BYTES,
};

impl Database {
    /// Where entries stand: their height and arrival, `None` for those that are not here.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn find(
        &self,
        ids: &[EntryId],
    ) -> Result<Vec<Option<(Arrival, Height)>>, StoreError> {
        let reader = self.reader().await?;
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.push(match reader.arrival(id).await? {
                Some(arrival) => {
                    let node = self.nodes().node(&*reader.snapshot, arrival).await?;
                    Some((arrival, node.fields.height))
                }
                None => None,
            });
        }
        Ok(found)
    }

    /// The entry of an id, if it is here.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn entry(&self, id: &EntryId) -> Result<Option<SignedEntry>, StoreError> {
        let reader = self.reader().await?;
        match reader.arrival(id).await? {
            None => Ok(None),
            Some(arrival) => {
                let row = self.nodes().row(&*reader.snapshot, arrival).await?;
                let entry = self.nodes().entry(&*reader.snapshot, arrival, row).await?;
                Ok(Some(entry))
            }
        }
    }

    /// At most `limit` entries that arrived last, the newest first.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn log(&self, limit: usize) -> Result<Vec<(Arrival, SignedEntry)>, StoreError> {
        self.log_before(Arrival(u64::MAX), limit).await
    }

    /// At most `limit` entries that arrived last before another, the newest first.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn log_before(
        &self,
        before: Arrival,
        limit: usize,
    ) -> Result<Vec<(Arrival, SignedEntry)>, StoreError> {
        let snapshot = self.engine().backend.snapshot().await?;
        let mut range = rows::log_range(self.number(), Arrival(0));
        range.end = Some(rows::log_key(self.number(), before).bytes);
        let mut log = Vec::new();
        while log.len() < limit {
            let left = limit - log.len();
            let scan = snapshot
                .scan(&range, Order::Descending, left, SCAN_BYTES)
                .await?;
            for (key, value) in &scan.rows {
                let arrival = Arrival(rows::last_u64(key)?);
                let row = StoredRow::decode(value)?;
                log.push((arrival, self.nodes().entry(&*snapshot, arrival, row).await?));
            }
            match scan.rows.last() {
                Some((key, _)) if scan.more => range.end = Some(key.clone()),
                _ => break,
            }
        }
        Ok(log)
    }

    pub(crate) async fn reader(&self) -> Result<Reader<'_>, StoreError> {
        self.catch_up().await?;
        // In this order everything before `end` is in the snapshot.
        let end = Arrival(self.count_committed());
        Ok(Reader {
            nodes: self.nodes(),
            snapshot: self.engine().backend.snapshot().await?,
            end,
        })
    }

    /// This device's identity.
    pub fn device(&self) -> PublicKey {
        self.engine().device.public()
    }

    /// At most `max` entries spread over the log: the newest, then further and further apart,
    /// the root last. Whoever else has the database knows some of them.
    ///
    /// # Errors
    /// The backend failed.
    ///
    /// # Cancel safety
    /// Nothing happens.
    pub async fn sample(&self, max: usize) -> Result<Vec<EntryId>, StoreError> {
        let reader = self.reader().await?;
        let mut sample = Vec::new();
        let durable = self.frontier().count;
        for arrival in sample_arrivals(durable, max) {
            sample.push(self.nodes().row(&*reader.snapshot, arrival).await?.id());
        }
        Ok(sample)
    }
}

/// The newest arrival, then ones at distances that grow by half each time, the root last.
fn sample_arrivals(count: u64, max: usize) -> Vec<Arrival> {
    let mut arrivals = Vec::new();
    let mut distance = 1;
    while distance < count && arrivals.len() + 1 < max {
        arrivals.push(Arrival(count - distance));
        distance += (distance / 2).max(1);
    }
    if count > 0 && max > 0 {
        arrivals.push(Arrival(0));
    }
    arrivals
}

/// Looks at what is committed, beside a writer.
pub(crate) struct Reader<'a> {
    nodes: &'a Nodes,
    pub(crate) snapshot: Box<dyn Snapshot>,
    end: Arrival,
}

impl Reader<'_> {
    pub(crate) async fn arrival(&self, id: &EntryId) -> Result<Option<Arrival>, StoreError> {
        let found = self.nodes.arrival(&*self.snapshot, id).await?;
        Ok(found.filter(|arrival| *arrival < self.end))
    }

    /// The clock of everything that the entries among `ids` which are here have seen.
    pub(crate) async fn clock_of(&self, ids: &[EntryId]) -> Result<Clock, StoreError> {
        let mut clock = Clock::default();
        for id in ids {
            if let Some(arrival) = self.arrival(id).await? {
                let node = self.nodes.node(&*self.snapshot, arrival).await?;
                clock.join(&node.clock);
            }
        }
        Ok(clock)
    }
}
