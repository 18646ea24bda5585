//! Owns callbacks after local writes: a task takes them from the change feed, so that none can
//! delay or fail a commit. What a change is belongs to the store.

use std::{error::Error, sync::Arc};

use eidetica_core::{Arrival, DatabaseId, EntryId};
use eidetica_store::{Change, Notice, Storage, StoreError, Subscription};
use tokio::task::JoinHandle;

use crate::Instance;

/// Entries looked at at once.
const CHUNK_ENTRIES: usize = 256;

/// An entry that a transaction on this device has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalWrite {
    /// The database.
    pub database: DatabaseId,
    /// The entry.
    pub entry: EntryId,
    /// What it has changed; `None` where more was written at once than is kept.
    pub change: Option<Arc<Change>>,
}

/// Keeps a callback going; dropping it ends the callback.
#[derive(Debug)]
#[must_use = "dropping this ends the callback"]
pub struct LocalWrites(JoinHandle<()>);

impl Drop for LocalWrites {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Instance {
    /// Calls back after each local commit from now on, one after the other, in the order in which
    /// the entries were committed. A call that fails or panics is logged, and the next is made;
    /// commits never wait for one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use eidetica::Instance;
    ///
    /// let instance = Instance::builder().open().await?;
    /// let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    /// let _writes = instance.on_local_write(move |write| {
    ///     let told = tell.send(write.entry);
    ///     async move { told }
    /// });
    /// let notes = instance.create_database("notes").await?;
    /// let tx = notes.transaction().await?;
    /// tx.doc("app")?.set("theme", "dark").await?;
    /// let id = tx.commit().await?;
    /// assert_eq!(told.recv().await, notes.log(2).await?.pop().map(|(_, root)| root.id()));
    /// assert_eq!(told.recv().await, Some(id));
    /// # Ok(()) }
    /// ```
    pub fn on_local_write<F, R, E>(&self, callback: F) -> LocalWrites
    where
        F: Fn(LocalWrite) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: Error + Send + 'static,
    {
        let changes = self.subscribe();
        LocalWrites(tokio::spawn(call_back(
            self.storage().clone(),
            changes,
            callback,
        )))
    }
}

async fn call_back<F, R, E>(storage: Storage, mut changes: Subscription, callback: F)
where
    F: Fn(LocalWrite) -> R,
    R: Future<Output = Result<(), E>> + Send + 'static,
    E: Error + Send + 'static,
{
    while let Some(notice) = changes.next().await {
        let writes = match notice {
            Notice::Change(change) => local_write(change).into_iter().collect(),
            Notice::Lagged { database, from, to } => {
                let left_out = left_out(&storage, database, &from, &to).await;
                left_out.unwrap_or_else(|error| {
                    tracing::warn!(%database, %error, "local writes were not called back");
                    Vec::new()
                })
            }
            _ => Vec::new(),
        };
        for write in writes {
            let (database, entry) = (write.database, write.entry);
            // A task of its own, so that a panic ends that call alone.
            let called = async { tokio::spawn(callback(write)).await };
            match called.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%database, %entry, %error, "callback of a local write failed");
                }
                Err(error) => {
                    tracing::error!(%database, %entry, %error, "callback of a local write panicked");
                }
            }
        }
    }
}

fn local_write(change: Arc<Change>) -> Option<LocalWrite> {
    let entry = change.entry().filter(|_| change.is_local())?;
    Some(LocalWrite {
        database: change.database,
        entry,
        change: Some(change),
    })
}

/// The local writes that the feed left out, oldest first.
async fn left_out(
    storage: &Storage,
    id: DatabaseId,
    from: &[EntryId],
    to: &[EntryId],
) -> Result<Vec<LocalWrite>, StoreError> {
    // What is not durable yet is in no difference.
    storage.flush().await?;
    let database = storage.database(id).await?;
    let difference = database.difference(from, Arrival(0)).await?;
    let mut difference = difference.within(to).await?;
    let mut writes = Vec::new();
    loop {
        let chunk = difference.next_chunk(CHUNK_ENTRIES).await?;
        if chunk.is_empty() {
            return Ok(writes);
        }
        let own = chunk.iter().map(|(_, entry)| entry);
        let own = own.filter(|entry| entry.header().author == storage.public_key());
        writes.extend(own.map(|entry| LocalWrite {
            database: id,
            entry: entry.id(),
            change: None,
        }));
    }
}
