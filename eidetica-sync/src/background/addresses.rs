//! Owns where one peer is reached: what is remembered of its addresses, and the order in which
//! they are dialled. Both are values; time is an argument. Which addresses that a peer names may be
//! dialled at all is `hints`'; dialling is the peer task's.

use std::{
    cmp::Reverse,
    collections::VecDeque,
    time::{Duration, Instant},
};

use eidetica_core::Timestamp;
use eidetica_transport::{Address, PeerAddress};
use serde::{Deserialize, Serialize};

use crate::limits::MAX_ADDRESSES;

/// How much later each further address is dialled while those before it have not answered.
const HEAD_START: Duration = Duration::from_millis(250);

/// Who named an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AddressOrigin {
    /// Somebody at this device.
    Given,
    /// The peer itself, after it had proven who it is.
    Learnt,
}

/// An address of a peer, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAddress {
    /// Where, and the key that must answer there.
    pub address: PeerAddress,
    /// Who named it.
    pub origin: AddressOrigin,
    /// When the peer last answered there.
    pub last_success: Option<Timestamp>,
}

/// The addresses of one peer, the best first: those where it answered last, then the given ones,
/// then those that it named itself. At most 16 of each origin.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct AddressBook(Vec<KnownAddress>);

impl AddressBook {
    /// From what was remembered, in any order.
    pub(crate) fn new(addresses: impl IntoIterator<Item = KnownAddress>) -> Self {
        let mut book = Self(addresses.into_iter().collect());
        book.settle();
        book
    }

    /// Somebody at this device names an address.
    pub(crate) fn give(&mut self, address: PeerAddress) {
        let known = self.take(&address.address);
        // Before the others that are as good: it is the newest.
        self.0.insert(
            0,
            KnownAddress {
                last_success: known.and_then(|known| known.last_success),
                address,
                origin: AddressOrigin::Given,
            },
        );
        self.settle();
    }

    /// The peer names all of its addresses. Those that it named before and where it was never
    /// reached go: it has moved.
    pub(crate) fn learn(&mut self, named: Vec<PeerAddress>) {
        self.0.retain(|known| {
            known.origin == AddressOrigin::Given
                || known.last_success.is_some()
                || named.contains(&known.address)
        });
        for address in named {
            if !self.has(&address.address) {
                self.0.push(KnownAddress {
                    address,
                    origin: AddressOrigin::Learnt,
                    last_success: None,
                });
            }
        }
        self.settle();
    }

    /// The peer answered at an address; one that is not known was given for this once.
    pub(crate) fn reached(&mut self, address: PeerAddress, now: Timestamp) {
        let known = self.take(&address.address);
        self.0.push(KnownAddress {
            origin: known.map_or(AddressOrigin::Given, |known| known.origin),
            address,
            last_success: Some(now),
        });
        self.settle();
    }

    /// The addresses, the best first.
    pub(crate) fn best_first(&self) -> &[KnownAddress] {
        &self.0
    }

    fn has(&self, address: &Address) -> bool {
        self.0.iter().any(|known| known.address.address == *address)
    }

    fn take(&mut self, address: &Address) -> Option<KnownAddress> {
        let is_it = |known: &KnownAddress| known.address.address == *address;
        let place = self.0.iter().position(is_it)?;
        Some(self.0.remove(place))
    }

    /// Puts the best first and drops the worst of too many.
    fn settle(&mut self) {
        self.0
            .sort_by_key(|known| (Reverse(known.last_success), known.origin));
        let mut room = [MAX_ADDRESSES; 2];
        self.0.retain(|known| {
            let room = &mut room[usize::from(known.origin == AddressOrigin::Learnt)];
            let fits = *room > 0;
            *room = room.saturating_sub(1);
            fits
        });
    }
}

/// One attempt to reach a peer: its addresses in order, each dialled a quarter of a second after
/// the one before, or as soon as one before it has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dialling {
    rest: VecDeque<PeerAddress>,
    next_at: Instant,
}

impl Dialling {
    /// None is dialled yet; the first is due at once.
    pub(crate) fn new(addresses: impl IntoIterator<Item = PeerAddress>, now: Instant) -> Self {
        Self {
            rest: addresses.into_iter().collect(),
            next_at: now,
        }
    }

    /// The next address, if it is due; it then counts as dialled.
    pub(crate) fn due(&mut self, now: Instant) -> Option<PeerAddress> {
        if now < self.next_at {
            return None;
        }
        self.next_at = now + HEAD_START;
        self.rest.pop_front()
    }

    /// An address failed: the next need not wait any longer.
    pub(crate) fn failed(&mut self, now: Instant) {
        self.next_at = self.next_at.min(now);
    }

    /// When the next is due; `None` if all were dialled.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        (!self.rest.is_empty()).then_some(self.next_at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{
        collection::vec,
        prelude::{ProptestConfig, any},
        prop_assert, prop_assert_eq, proptest,
        test_runner::RngSeed,
    };

    use super::*;
    use crate::{Timer, TokioTimer};

    fn address(n: u8) -> PeerAddress {
        PeerAddress {
            address: Address::new("quic", format!("192.0.2.{n}:1")),
            key: None,
        }
    }

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// The last numbers of the addresses, in order.
    fn order(book: &AddressBook) -> Vec<PeerAddress> {
        let known = book.best_first().iter();
        known.map(|known| known.address.clone()).collect()
    }

    #[test]
    fn the_last_that_answered_is_first_then_those_given_then_those_learnt() {
        let mut book = AddressBook::default();
        book.learn(vec![address(1), address(2), address(3)]);
        book.give(address(4));
        book.give(address(5));
        assert_eq!(order(&book), [5, 4, 1, 2, 3].map(address));
        book.reached(address(4), at(1));
        book.reached(address(3), at(2));
        assert_eq!(order(&book), [3, 4, 5, 1, 2].map(address));
    }

    #[test]
    fn a_peer_that_names_many_addresses_displaces_none_that_was_given_or_answered() {
        let mut book = AddressBook::default();
        book.give(address(200));
        book.learn(vec![address(201)]);
        book.reached(address(201), at(1));
        for n in 0..10 {
            book.learn((16 * n..16 * n + 16).map(address).collect());
        }
        let known = order(&book);
        assert_eq!(known[..2], [201, 200].map(address));
        assert_eq!(known.len(), 17);
        // What it named last is what it is reached at now.
        assert_eq!(known[2..], (144..159).map(address).collect::<Vec<_>>());
    }

    #[test]
    fn an_address_that_is_given_stays_when_the_peer_no_longer_names_it() {
        let mut book = AddressBook::default();
        book.learn(vec![address(1), address(2)]);
        book.give(address(1));
        book.learn(vec![]);
        assert_eq!(order(&book), [address(1)]);
    }

    #[test]
    fn addresses_are_dialled_a_quarter_of_a_second_apart() {
        let start = TokioTimer.instant();
        let mut dialling = Dialling::new([1, 2, 3].map(address), start);
        assert_eq!(dialling.due(start), Some(address(1)));
        assert_eq!(dialling.due(start), None);
        assert_eq!(dialling.next_at(), Some(start + HEAD_START));
        assert_eq!(dialling.due(start + HEAD_START), Some(address(2)));
        // The next does not wait for its turn once one has failed.
        let failed = start + HEAD_START + Duration::from_millis(1);
        dialling.failed(failed);
        assert_eq!(dialling.due(failed), Some(address(3)));
        assert_eq!(dialling.next_at(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 256,
            rng_seed: RngSeed::Fixed(5),
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_book_stays_in_order_bounded_and_without_repetition(
            steps in vec((0u8..3, vec(any::<u8>(), 0..40), 0u64..100), 0..40),
        ) {
            let mut book = AddressBook::default();
            for (what, numbers, now) in steps {
                let best = book.best_first().first().cloned();
                match (what, numbers.first()) {
                    (0, Some(n)) => book.give(address(*n)),
                    (1, Some(n)) => book.reached(address(*n), at(now)),
                    _ => book.learn(numbers.iter().copied().map(address).collect()),
                }
                let known = book.best_first();
                for origin in [AddressOrigin::Given, AddressOrigin::Learnt] {
                    let of = known.iter().filter(|known| known.origin == origin);
                    prop_assert!(of.count() <= MAX_ADDRESSES);
                }
                prop_assert!(known.is_sorted_by_key(|k| (Reverse(k.last_success), k.origin)));
                let mut places = order(&book);
                places.sort();
                places.dedup();
                prop_assert_eq!(places.len(), known.len());
                // What a peer names never costs the best one its place.
                if what == 2 && let Some(best) = best.filter(|best| best.last_success.is_some()) {
                    prop_assert_eq!(&known[0], &best);
                }
                prop_assert_eq!(&AddressBook::new(known.iter().rev().cloned()).0.len(), &known.len());
            }
        }

        #[test]
        fn every_address_is_dialled_once_in_order_and_never_too_soon(
            numbers in vec(any::<u8>(), 0..20),
            steps in vec((0u64..400, any::<bool>()), 0..60),
        ) {
            let start = TokioTimer.instant();
            let mut dialling = Dialling::new(numbers.iter().copied().map(address), start);
            let (mut now, mut dialled) = (start, Vec::new());
            let mut last: Option<Instant> = None;
            for (millis, fails) in steps {
                if let Some(next) = dialling.due(now) {
                    dialled.push(next);
                    let since = last.map(|last| now - last);
                    prop_assert!(since.is_none_or(|since| since >= HEAD_START));
                    last = Some(now);
                }
                if fails {
                    dialling.failed(now);
                    last = None;
                }
                now += Duration::from_millis(millis);
            }
            let expected: Vec<_> = numbers.into_iter().map(address).collect();
            prop_assert_eq!(&dialled[..], &expected[..dialled.len()]);
            while let Some(next_at) = dialling.next_at() {
                let next = dialling.due(next_at);
                prop_assert!(next.is_some());
                dialled.extend(next);
            }
            prop_assert_eq!(dialled, expected);
        }
    }
}
