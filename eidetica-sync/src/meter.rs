//! Owns the metrics of sync: their names, their labels, and what a change of each means. What
//! collects them is the program's, through the `metrics` facade; without anybody, they cost next to
//! nothing. `docs/metrics.md` says the same for people.

use metrics::{counter, gauge};

use crate::Refusal;

/// An exchange ended.
pub(crate) fn exchanged(is_done: bool) {
    let outcome = if is_done { "done" } else { "failed" };
    counter!("eidetica_sync_exchanges_total", "outcome" => outcome).increment(1);
}

/// Entries came and were committed, or were here already, or were not accepted.
pub(crate) fn received(stored: u64, known: u64, refused: u64) {
    counter!("eidetica_sync_entries_total", "way" => "in").increment(stored);
    counter!("eidetica_sync_redundant_entries_total").increment(known);
    counter!("eidetica_sync_refused_entries_total").increment(refused);
}

/// A peer was sent entries.
pub(crate) fn sent(entries: u64) {
    counter!("eidetica_sync_entries_total", "way" => "out").increment(entries);
}

/// Bytes of requests or frames came.
pub(crate) fn bytes_in(bytes: usize) {
    counter!("eidetica_sync_bytes_total", "way" => "in").increment(bytes as u64);
}

/// Bytes of requests or frames went.
pub(crate) fn bytes_out(bytes: usize) {
    counter!("eidetica_sync_bytes_total", "way" => "out").increment(bytes as u64);
}

/// A peer's request was refused.
pub(crate) fn refused(refusal: &Refusal) {
    let reason = match refusal {
        Refusal::NoDatabase => "no_database",
        Refusal::Unsupported => "unsupported",
        Refusal::Busy => "busy",
        Refusal::Versions(_) => "versions",
        Refusal::Malformed => "malformed",
        Refusal::Quota => "quota",
        Refusal::Entry { .. } => "entry",
        Refusal::UnknownPush => "unknown_push",
        Refusal::Invite => "invite",
        Refusal::AskIssuer => "ask_issuer",
        Refusal::Limited { .. } => "limited",
    };
    counter!("eidetica_sync_refusals_total", "reason" => reason).increment(1);
}

/// A limit on what others ask was hit.
pub(crate) fn limit_hit(limit: &'static str) {
    counter!("eidetica_sync_limits_hit_total", "limit" => limit).increment(1);
}

/// Live sync brought entries here.
pub(crate) fn burst_in() {
    counter!("eidetica_sync_live_bursts_total", "way" => "in").increment(1);
}

/// Live sync brought entries to a subscriber.
pub(crate) fn burst_out() {
    counter!("eidetica_sync_live_bursts_total", "way" => "out").increment(1);
}

/// A peer could not be reached, or was lost, and is left alone for a while.
pub(crate) fn backed_off() {
    counter!("eidetica_sync_backoffs_total").increment(1);
}

/// Something that is there until this is dropped.
#[derive(Debug)]
pub(crate) struct Present(metrics::Gauge);

impl Present {
    /// A peer that background sync is connected to.
    pub(crate) fn connection() -> Self {
        Self::new(gauge!("eidetica_sync_connections"))
    }

    /// A subscription of a peer that is being answered.
    pub(crate) fn subscriber() -> Self {
        Self::new(gauge!("eidetica_sync_subscribers"))
    }

    fn new(gauge: metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The metrics that a text names.
    fn named(text: &str) -> BTreeSet<&str> {
        let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        words
            .filter(|word| word.starts_with("eidetica_sync_"))
            .collect()
    }

    #[test]
    fn every_metric_is_documented_and_every_documented_one_exists() {
        let code = include_str!("meter.rs")
            .split("#[cfg(test)]")
            .next()
            .unwrap();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
        let document = std::fs::read_to_string(path).unwrap();
        assert_eq!(named(code), named(&document));
        assert_eq!(named(code).len(), 11);
    }
}
