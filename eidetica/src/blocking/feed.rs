//! Owns the blocking faces of what tells of changes.

use std::{sync::Arc, time::Duration};

use eidetica_crdt::Value;
use eidetica_store::{Notice, StoreError, Subscription, Watch};

use super::runtime::{Runtime, wait, wait_for};

/// A [`Subscription`] without async: an iterator whose `next` waits. It ends once the data is
/// closed, which it does not hold open itself.
///
/// ```
/// # let instance = eidetica::Instance::builder().open_blocking()?;
/// let notes = instance.create_database("notes")?;
/// let changes = notes.subscribe();
/// let listener = std::thread::spawn(move || changes.count());
/// for _ in 0..3 {
///     notes.transaction()?.commit()?;
/// }
/// drop((notes, instance));
/// assert_eq!(listener.join().expect("nothing panics there"), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BlockingSubscription(Subscription);

impl BlockingSubscription {
    pub(super) fn new(subscription: Subscription) -> Self {
        Self(subscription)
    }

    /// The next notice that is there already.
    pub fn try_next(&mut self) -> Option<Notice> {
        self.0.try_next()
    }

    /// The next notice, if it comes within a time.
    pub fn next_within(&mut self, limit: Duration) -> Option<Notice> {
        wait_for(self.0.next(), limit).flatten()
    }
}

impl Iterator for BlockingSubscription {
    type Item = Notice;

    /// The next notice; `None` once the data is closed.
    fn next(&mut self) -> Option<Notice> {
        wait(self.0.next())
    }
}

/// A [`Watch`] without async: the value at a path of a document, as it changes.
///
/// ```
/// # let instance = eidetica::Instance::builder().open_blocking()?;
/// let notes = instance.create_database("notes")?;
/// let mut theme = notes.watch_path("app", "theme")?;
/// assert_eq!(theme.next()?, None); // there is none yet
/// let tx = notes.transaction()?;
/// tx.doc("app")?.set("theme", "dark")?;
/// tx.commit()?;
/// assert_eq!(theme.next()?, Some("dark".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BlockingWatch {
    inner: Watch,
    runtime: Arc<Runtime>,
}

impl BlockingWatch {
    pub(super) fn new(inner: Watch, runtime: &Arc<Runtime>) -> Self {
        let runtime = Arc::clone(runtime);
        Self { inner, runtime }
    }
    /// The present value, or, after that, the next one that is different; `None` is nothing at the
    /// path.
    ///
    /// # Errors
    /// The backend failed, or a row is damaged.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would wrap each value once more, and never end"
    )]
    pub fn next(&mut self) -> Result<Option<Value>, StoreError> {
        self.runtime.wait(self.inner.next())
    }

    /// The next value as [`BlockingWatch::next`] tells it, if it comes within a time.
    ///
    /// # Errors
    /// The backend failed, or a row is damaged.
    pub fn next_within(&mut self, limit: Duration) -> Result<Option<Option<Value>>, StoreError> {
        let next = self.runtime.wait_for(self.inner.next(), limit);
        next.transpose()
    }
}
