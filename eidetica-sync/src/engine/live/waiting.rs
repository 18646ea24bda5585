//! Owns how long news that came from others waits before a peer is offered it, that hears most of
//! it elsewhere: a value that is told what has come, and when. Offering it is `serve`'s and
//! `uplink`'s.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use eidetica_core::{Arrival, DatabaseId, EntryId, PublicKey};
use eidetica_store::{Database, StoreError, Summary};

use crate::limits::MAX_TIPS;

/// How long news waits at least: by then the peer has it from who wrote it, if they are connected.
const LEAST: Duration = Duration::from_millis(30);
/// How much longer it may wait, by chance, so that not all who have it offer it at once.
const JITTER: Duration = Duration::from_millis(30);
/// Entries looked at together.
const READ_ENTRIES: usize = 256;

/// News of databases that waits.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<DatabaseId, News>);

/// What was here of a database when it began to wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct News {
    due: Instant,
    /// Behind what waits.
    pub(super) until: Arrival,
    /// The tips of everything before; none if they are too many to name.
    pub(super) tips: Vec<EntryId>,
}

impl Waiting {
    /// Lets what is held now wait, unless something does. What comes later has its own wait.
    pub(super) fn begin(&mut self, id: DatabaseId, held: &Summary, now: Instant, chance: u32) {
        let jitter = JITTER.mul_f64(f64::from(chance) / f64::from(u32::MAX));
        self.0.entry(id).or_insert_with(|| News {
            due: now + LEAST + jitter,
            until: Arrival(held.count),
            tips: match held.tips.len() <= MAX_TIPS {
                true => held.tips.clone(),
                false => Vec::new(),
            },
        });
    }

    pub(super) fn contains(&self, id: &DatabaseId) -> bool {
        self.0.contains_key(id)
    }

    /// When the first of it is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|news| news.due).min()
    }

    /// What is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(DatabaseId, News)> {
        let (id, _) = self.0.iter().find(|(_, news)| news.due <= now)?;
        let id = *id;
        self.0.remove(&id).map(|news| (id, news))
    }

    pub(super) fn forget(&mut self, id: &DatabaseId) {
        self.0.remove(id);
    }
}

/// Whether any of what arrived here from somewhere on, and not from a peer, was written by others.
pub(super) async fn is_relayed(
    database: &Database,
    peer: &PublicKey,
    from: Arrival,
) -> Result<bool, StoreError> {
    let source = database.source(peer).await?;
    let entries = database.difference(&[], from).await?;
    let mut entries = entries.not_from(source).without_void();
    let own = database.device();
    loop {
        let chunk = entries.next_chunk(READ_ENTRIES).await?;
        if chunk.iter().any(|(_, entry)| entry.header().author != own) {
            return Ok(true);
        }
        if chunk.is_empty() {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Timer, TokioTimer};

    fn held(count: u64) -> Summary {
        Summary {
            count,
            tips: vec![EntryId::from_bytes([count as u8; 32])],
            digest: [0; 32],
            epoch: [1; 16],
            authority: None,
        }
    }

    fn id(n: u8) -> DatabaseId {
        DatabaseId::from_bytes([n; 32])
    }

    #[test]
    fn what_began_to_wait_first_is_due_by_itself_and_what_came_later_is_not_in_it() {
        let now = TokioTimer.instant();
        let mut waiting = Waiting::default();
        assert_eq!(waiting.due(), None);
        waiting.begin(id(1), &held(5), now, 0);
        waiting.begin(id(1), &held(7), now + LEAST / 2, 0);
        waiting.begin(id(2), &held(3), now + LEAST / 2, 0);
        assert_eq!(waiting.due(), Some(now + LEAST));
        assert_eq!(waiting.take_due(now + LEAST / 2), None);
        let (first, news) = waiting.take_due(now + LEAST).unwrap();
        assert_eq!(
            (first, news.until, news.tips),
            (id(1), Arrival(5), held(5).tips)
        );
        assert_eq!(waiting.take_due(now + LEAST), None);
        assert!(!waiting.contains(&id(1)) && waiting.contains(&id(2)));
        waiting.forget(&id(2));
        assert_eq!(waiting.due(), None);
    }

    #[test]
    fn chance_adds_at_most_its_share() {
        let now = TokioTimer.instant();
        for chance in [0, 1, u32::MAX / 2, u32::MAX] {
            let mut waiting = Waiting::default();
            waiting.begin(id(1), &held(1), now, chance);
            let due = waiting.due().unwrap();
            assert!(due >= now + LEAST && due <= now + LEAST + JITTER);
        }
    }
}
