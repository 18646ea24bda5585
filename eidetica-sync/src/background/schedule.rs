//! Owns which database of a peer is exchanged next, and which are followed live: a value that is
//! told what has happened, and when. Doing it is the peer task's.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use eidetica_core::DatabaseId;

use crate::{
    background::backoff::{Backoff, Retries},
    engine::{Direction, Priority},
};

/// From one exchange to the next, at least, where live sync cannot go on after it.
const CALM: Duration = Duration::from_secs(1);

/// What is wanted for one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) direction: Direction,
    /// Greater goes first.
    pub(crate) priority: Priority,
}

/// The databases of one peer, and when each is to be exchanged.
#[derive(Debug)]
pub(crate) struct Schedule {
    lanes: BTreeMap<DatabaseId, Lane>,
    /// Exchanges at one time.
    at_once: usize,
    /// From the end of one exchange to the next.
    interval: Duration,
    retries: Retries,
}

#[derive(Debug)]
struct Lane {
    wanted: Wanted,
    due: Instant,
    is_exchanging: bool,
    /// Whether it was asked for while an exchange was under way.
    again: bool,
    /// Whether both sides were equal at the end of the last exchange over this connection.
    is_current: bool,
    /// When it was to be exchanged because live sync could not go on.
    behind: Option<Instant>,
    backoff: Backoff,
}

impl Schedule {
    pub(crate) fn new(at_once: usize, interval: Duration, retries: Retries) -> Self {
        Self {
            lanes: BTreeMap::new(),
            at_once: at_once.max(1),
            interval,
            retries,
        }
    }

    /// Makes these the databases; what is new is due at once. Returns those that are gone.
    pub(crate) fn set(
        &mut self,
        wanted: &BTreeMap<DatabaseId, Wanted>,
        now: Instant,
    ) -> Vec<DatabaseId> {
        let lanes = self.lanes.keys();
        let gone: Vec<_> = lanes
            .filter(|id| !wanted.contains_key(id))
            .copied()
            .collect();
        for id in &gone {
            self.lanes.remove(id);
        }
        for (id, wanted) in wanted {
            let lane = self.lanes.entry(*id).or_insert_with(|| Lane {
                wanted: *wanted,
                due: now,
                is_exchanging: false,
                again: false,
                is_current: false,
                behind: None,
                backoff: Backoff::default(),
            });
            if lane.wanted.direction != wanted.direction {
                lane.due = now;
                lane.again |= lane.is_exchanging;
            }
            lane.wanted = *wanted;
        }
        gone
    }

    /// The database whose turn it is: of those due the one of the greatest priority, then the one
    /// that has waited longest.
    pub(crate) fn next(&self, now: Instant) -> Option<(DatabaseId, Direction)> {
        if self.under_way() >= self.at_once {
            return None;
        }
        let due = self.waiting().filter(|(_, lane)| lane.due <= now);
        let first = due.min_by_key(|(_, lane)| (Reverse(lane.wanted.priority), lane.due));
        first.map(|(id, lane)| (*id, lane.wanted.direction))
    }

    /// When the next one is due; `None` while no more are to be begun.
    pub(crate) fn wakes(&self) -> Option<Instant> {
        if self.under_way() >= self.at_once {
            return None;
        }
        self.waiting().map(|(_, lane)| lane.due).min()
    }

    /// An exchange begins.
    pub(crate) fn began(&mut self, id: &DatabaseId) {
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.is_exchanging = true;
            lane.again = false;
        }
    }

    /// An exchange ended, and both sides are equal.
    pub(crate) fn succeeded(&mut self, id: &DatabaseId, now: Instant) {
        let interval = self.interval;
        self.ended(id, now, |lane| {
            lane.backoff = Backoff::default();
            lane.is_current = true;
            now + interval
        });
    }

    /// An exchange that is about to fail has moved something: it is tried again as soon as after a
    /// first failure.
    pub(crate) fn moved(&mut self, id: &DatabaseId) {
        if let Some(lane) = self.lanes.get_mut(id) {
            lane.backoff = Backoff::default();
        }
    }

    /// An exchange failed in a way that may pass; returns when it is tried again.
    pub(crate) fn failed(&mut self, id: &DatabaseId, now: Instant, chance: u32) -> Instant {
        let (mut until, retries) = (now, self.retries);
        self.ended(id, now, |lane| {
            lane.is_current = false;
            lane.backoff = lane.backoff.failed(&retries, now, chance);
            until = lane.backoff.until(now).unwrap_or(now);
            until
        });
        until
    }

    /// An exchange failed in a way that somebody must mend: it waits as long as after a success.
    pub(crate) fn refused(&mut self, id: &DatabaseId, now: Instant) {
        let interval = self.interval;
        self.ended(id, now, |lane| {
            lane.is_current = false;
            now + interval
        });
    }

    /// A database is to be exchanged now, whatever happened before. `is_behind`: live sync cannot
    /// go on before that.
    pub(crate) fn ask(&mut self, id: &DatabaseId, now: Instant, is_behind: bool) {
        let Some(lane) = self.lanes.get_mut(id) else {
            return;
        };
        if is_behind && !lane.is_current {
            // It is to be exchanged already.
            return;
        }
        lane.due = now;
        lane.again |= lane.is_exchanging;
        if is_behind {
            lane.is_current = false;
            // Where an exchange did not help, another may not, either.
            lane.due = lane.behind.map_or(now, |before| now.max(before + CALM));
            lane.behind = Some(lane.due);
        }
    }

    /// All databases are to be exchanged now, by a new connection.
    pub(crate) fn reconnected(&mut self, now: Instant) {
        for lane in self.lanes.values_mut() {
            lane.due = now;
            lane.is_exchanging = false;
            lane.again = false;
            lane.is_current = false;
        }
    }

    /// Databases that are current, with their directions.
    pub(crate) fn current(&self) -> impl Iterator<Item = (DatabaseId, Direction)> {
        let current = self.lanes.iter().filter(|(_, lane)| lane.is_current);
        current.map(|(id, lane)| (*id, lane.wanted.direction))
    }

    /// Every database, and which way its entries go.
    pub(crate) fn directions(&self) -> impl Iterator<Item = (DatabaseId, Direction)> {
        let lanes = self.lanes.iter();
        lanes.map(|(id, lane)| (*id, lane.wanted.direction))
    }

    /// Exchanges that were given up are due again.
    pub(crate) fn not_under_way(&mut self, is_under_way: impl Fn(&DatabaseId) -> bool) {
        for (id, lane) in &mut self.lanes {
            lane.is_exchanging &= is_under_way(id);
        }
    }

    /// Every database.
    pub(crate) fn databases(&self) -> impl Iterator<Item = DatabaseId> {
        self.lanes.keys().copied()
    }

    /// How many exchanges are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.lanes
            .values()
            .filter(|lane| lane.is_exchanging)
            .count()
    }

    fn waiting(&self) -> impl Iterator<Item = (&DatabaseId, &Lane)> {
        self.lanes.iter().filter(|(_, lane)| !lane.is_exchanging)
    }

    fn ended(&mut self, id: &DatabaseId, now: Instant, due: impl FnOnce(&mut Lane) -> Instant) {
        let Some(lane) = self.lanes.get_mut(id) else {
            return;
        };
        lane.is_exchanging = false;
        let due = due(lane);
        lane.due = match std::mem::take(&mut lane.again) {
            true => now,
            false => due,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Timer, TokioTimer};

    const INTERVAL: Duration = Duration::from_secs(300);

    fn id(n: u8) -> DatabaseId {
        DatabaseId::from_bytes([n; 32])
    }

    fn wanted(databases: &[(u8, i8)]) -> BTreeMap<DatabaseId, Wanted> {
        let direction = Direction::Both;
        let wanted = |priority| Wanted {
            direction,
            priority: Priority(priority),
        };
        databases
            .iter()
            .map(|(n, priority)| (id(*n), wanted(*priority)))
            .collect()
    }

    fn schedule(at_once: usize, databases: &[(u8, i8)], now: Instant) -> Schedule {
        let mut schedule = Schedule::new(at_once, INTERVAL, Retries::default());
        assert!(schedule.set(&wanted(databases), now).is_empty());
        schedule
    }

    fn begin_all(schedule: &mut Schedule, now: Instant) -> Vec<DatabaseId> {
        std::iter::from_fn(|| {
            let (id, _) = schedule.next(now)?;
            schedule.began(&id);
            Some(id)
        })
        .collect()
    }

    fn current(schedule: &Schedule) -> Vec<DatabaseId> {
        schedule.current().map(|(id, _)| id).collect()
    }

    #[test]
    fn the_greatest_priority_goes_first_and_no_more_at_once_than_allowed() {
        let now = TokioTimer.instant();
        let mut schedule = schedule(2, &[(1, 0), (2, 9), (3, 5)], now);
        assert_eq!(begin_all(&mut schedule, now), [id(2), id(3)]);
        assert_eq!(schedule.wakes(), None);
        schedule.succeeded(&id(3), now);
        assert_eq!(begin_all(&mut schedule, now), [id(1)]);
        assert_eq!(current(&schedule), [id(3)]);
    }

    #[test]
    fn one_that_never_ends_keeps_no_other_from_its_turns() {
        let mut now = TokioTimer.instant();
        let mut schedule = schedule(2, &[(1, 9), (2, 0), (3, 0)], now);
        begin_all(&mut schedule, now);
        let mut turns = BTreeMap::new();
        for _ in 0..20 {
            for n in [2, 3] {
                if schedule.lanes[&id(n)].is_exchanging {
                    schedule.succeeded(&id(n), now);
                }
            }
            now += INTERVAL;
            for id in begin_all(&mut schedule, now) {
                *turns.entry(id).or_insert(0) += 1;
            }
        }
        assert_eq!(turns.into_values().collect::<Vec<_>>(), [10, 10]);
    }

    #[test]
    fn after_a_success_it_waits_for_the_interval_and_after_failures_in_vain_longer_and_longer() {
        let now = TokioTimer.instant();
        let mut schedule = schedule(1, &[(1, 0)], now);
        begin_all(&mut schedule, now);
        schedule.succeeded(&id(1), now);
        assert_eq!(schedule.wakes(), Some(now + INTERVAL));
        let mut waits = Vec::new();
        for _ in 0..3 {
            schedule.began(&id(1));
            let until = schedule.failed(&id(1), now, u32::MAX);
            assert_eq!(schedule.wakes(), Some(until));
            waits.push((until - now).as_secs());
        }
        assert_eq!(waits, [1, 2, 4]);
        assert!(current(&schedule).is_empty());
        schedule.began(&id(1));
        schedule.moved(&id(1));
        let until = schedule.failed(&id(1), now, u32::MAX);
        assert_eq!((until - now).as_secs(), 1);
    }

    #[test]
    fn what_is_asked_for_during_an_exchange_is_exchanged_again_after_it() {
        let now = TokioTimer.instant();
        let mut schedule = schedule(1, &[(1, 0)], now);
        begin_all(&mut schedule, now);
        schedule.ask(&id(1), now, false);
        assert_eq!(schedule.next(now), None);
        schedule.succeeded(&id(1), now);
        assert_eq!(begin_all(&mut schedule, now), [id(1)]);
        schedule.succeeded(&id(1), now);
        assert_eq!(schedule.next(now), None);
    }

    #[test]
    fn what_is_behind_or_of_another_connection_is_not_followed_before_it_is_exchanged() {
        let now = TokioTimer.instant();
        let mut schedule = schedule(4, &[(1, 0), (2, 0)], now);
        begin_all(&mut schedule, now);
        schedule.succeeded(&id(1), now);
        schedule.succeeded(&id(2), now);
        schedule.ask(&id(1), now, false);
        assert_eq!(current(&schedule), [id(1), id(2)]);
        schedule.ask(&id(1), now, true);
        assert_eq!(current(&schedule), [id(2)]);
        schedule.reconnected(now);
        assert!(current(&schedule).is_empty());
        assert_eq!(begin_all(&mut schedule, now).len(), 2);
    }

    #[test]
    fn live_sync_that_cannot_go_on_again_and_again_costs_an_exchange_a_second() {
        let mut now = TokioTimer.instant();
        let mut schedule = schedule(1, &[(1, 0)], now);
        begin_all(&mut schedule, now);
        let mut exchanges = 0;
        for _ in 0..50 {
            if schedule.under_way() > 0 {
                schedule.succeeded(&id(1), now);
                schedule.ask(&id(1), now, true);
            }
            now += Duration::from_millis(100);
            exchanges += begin_all(&mut schedule, now).len();
        }
        assert!((4..=6).contains(&exchanges), "{exchanges}");
    }

    #[test]
    fn one_that_is_not_wanted_any_more_is_gone_and_its_end_changes_nothing() {
        let now = TokioTimer.instant();
        let mut schedule = schedule(2, &[(1, 0), (2, 0)], now);
        begin_all(&mut schedule, now);
        assert_eq!(schedule.set(&wanted(&[(2, 0)]), now), [id(1)]);
        schedule.succeeded(&id(1), now);
        schedule.failed(&id(1), now, 0);
        assert_eq!(schedule.databases().collect::<Vec<_>>(), [id(2)]);
        assert_eq!(schedule.under_way(), 1);
    }
}
