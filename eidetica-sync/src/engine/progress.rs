//! Owns what can be seen of an exchange while it runs. What it was in the end is `report`'s.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// How far one exchange has got. Cheap to read from outside while it runs.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    received: AtomicU64,
    receiving: AtomicU64,
    sent: AtomicU64,
    sending: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    requests: AtomicU64,
}

impl Progress {
    /// Entries received and committed, or sent and acknowledged.
    pub(crate) fn done(&self) -> u64 {
        self.received.load(Relaxed) + self.sent.load(Relaxed)
    }

    /// About how many entries there are to move, those done included.
    pub(crate) fn total(&self) -> u64 {
        let side = |done: &AtomicU64, all: &AtomicU64| all.load(Relaxed).max(done.load(Relaxed));
        side(&self.received, &self.receiving) + side(&self.sent, &self.sending)
    }

    /// Entries received and committed, known ones included.
    pub(crate) fn received_so_far(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Entries sent and acknowledged.
    pub(crate) fn sent_so_far(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// Bytes of answers read.
    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Relaxed)
    }

    /// Bytes of requests made.
    pub(crate) fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Relaxed)
    }

    /// Requests made.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(super) fn asked(&self, bytes: usize) {
        self.requests.fetch_add(1, Relaxed);
        self.bytes_out.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn answered(&self, bytes: usize) {
        self.bytes_in.fetch_add(bytes as u64, Relaxed);
    }

    /// An answer is about to bring so many entries more.
    pub(super) fn will_receive(&self, entries: u64) {
        let all = self.received.load(Relaxed).saturating_add(entries);
        self.receiving.store(all, Relaxed);
    }

    pub(super) fn received(&self, entries: u64) {
        self.received.fetch_add(entries, Relaxed);
    }

    pub(super) fn will_send(&self, entries: u64) {
        let all = self.sent.load(Relaxed).saturating_add(entries);
        self.sending.store(all, Relaxed);
    }

    pub(super) fn sent(&self, entries: u64) {
        self.sent.fetch_add(entries, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_never_less_than_what_is_done() {
        let progress = Progress::default();
        progress.will_receive(10);
        progress.received(4);
        assert_eq!((progress.done(), progress.total()), (4, 10));
        progress.will_receive(3);
        progress.will_send(5);
        progress.received(9);
        progress.sent(2);
        assert_eq!((progress.done(), progress.total()), (15, 18));
    }
}
