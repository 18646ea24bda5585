//! Owns the measures by which a device limits what others ask of it: how often (token buckets),
//! how much at once (places), by whom. Which limits there are is each layer's; the time is an
//! argument.

use std::{
    collections::HashMap,
    fmt::Debug,
    hash::Hash,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::Address;

/// How often something may happen: so many times at once, and once more each interval.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use eidetica_transport::{Rate, TokenBucket};
///
/// let rate = Rate::new(2, Duration::from_secs(1));
/// let start = Instant::now();
/// let mut bucket = TokenBucket::full(rate, start);
/// assert_eq!(bucket.take(start), Ok(()));
/// assert_eq!(bucket.take(start), Ok(()));
/// assert_eq!(bucket.take(start), Err(Duration::from_secs(1)));
/// assert_eq!(bucket.take(start + Duration::from_secs(1)), Ok(()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    burst: u32,
    interval: Duration,
}

impl Rate {
    /// At most `burst` at once, and one more each `interval`. A burst of 0 counts as 1, an
    /// interval of less than a microsecond as one.
    pub const fn new(burst: u32, interval: Duration) -> Self {
        let burst = if burst == 0 { 1 } else { burst };
        let interval = if interval.as_nanos() < 1_000 {
            Duration::from_micros(1)
        } else {
            interval
        };
        Self { burst, interval }
    }
}

/// What is left of a [`Rate`].
#[derive(Debug, Clone, Copy)]
pub struct TokenBucket {
    rate: Rate,
    left: u32,
    /// When the last token that has come back was due.
    refilled: Instant,
}

impl TokenBucket {
    /// Nothing is used yet.
    pub const fn full(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            left: rate.burst,
            refilled: now,
        }
    }

    /// Takes one; the error is how long to wait until there is one.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.take_many(1, now)
    }

    /// Takes so many at once, for what costs as much as that many; more than the burst counts as the
    /// burst. The error is how long to wait until they are there.
    ///
    /// # Errors
    /// Fewer are left, and none is taken.
    pub fn take_many(&mut self, count: u32, now: Instant) -> Result<(), Duration> {
        let count = count.min(self.rate.burst);
        self.has(count, now)?;
        self.left -= count;
        Ok(())
    }

    /// Whether one is there, without taking it: for what counts only if it then fails.
    ///
    /// # Errors
    /// Nothing is left; the error is how long to wait until there is one.
    pub fn check(&mut self, now: Instant) -> Result<(), Duration> {
        self.has(1, now)
    }

    fn has(&mut self, count: u32, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        match count.saturating_sub(self.left) {
            0 => Ok(()),
            missing => {
                let whole = self.rate.interval.saturating_mul(missing);
                Err(whole.saturating_sub(now.saturating_duration_since(self.refilled)))
            }
        }
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.refill(now);
        self.left == self.rate.burst
    }

    fn refill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.refilled).as_nanos();
        let interval = self.rate.interval.as_nanos();
        let back = since / interval;
        let missing = self.rate.burst - self.left;
        if back >= u128::from(missing) {
            self.left = self.rate.burst;
            self.refilled = now.max(self.refilled);
        } else if let Ok(back) = u32::try_from(back) {
            self.left += back;
            self.refilled += self.rate.interval * back;
        }
    }
}

/// A bucket for each of many, in bounded memory. When there are too many, those that are full are
/// forgotten, and if there are none, the one that was refilled longest ago: who is forgotten
/// starts with a full one.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Option<Rate>,
    max: usize,
    buckets: Mutex<HashMap<K, TokenBucket>>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    /// This rate for each, of whom at most `max` are remembered; without a rate, no limit.
    pub fn new(rate: Option<Rate>, max: usize) -> Self {
        Self {
            rate,
            max: max.max(1),
            buckets: Mutex::default(),
        }
    }

    /// Takes one of somebody's; the error is how long to wait until there is one.
    ///
    /// # Errors
    /// Nothing is left.
    pub fn take(&self, whose: &K, now: Instant) -> Result<(), Duration> {
        self.take_many(whose, 1, now)
    }

    /// Takes so many of somebody's at once; the error is how long to wait until they are there.
    ///
    /// # Errors
    /// Fewer are left, and none is taken.
    pub fn take_many(&self, whose: &K, count: u32, now: Instant) -> Result<(), Duration> {
        self.with(whose, now, |bucket| bucket.take_many(count, now))
    }

    /// Whether somebody has one left, without taking it: for what counts only if it then fails.
    ///
    /// # Errors
    /// Nothing is left; the error is how long to wait until there is one.
    pub fn check(&self, whose: &K, now: Instant) -> Result<(), Duration> {
        self.with(whose, now, |bucket| bucket.check(now))
    }

    fn with(
        &self,
        whose: &K,
        now: Instant,
        act: impl FnOnce(&mut TokenBucket) -> Result<(), Duration>,
    ) -> Result<(), Duration> {
        let Some(rate) = self.rate else {
            return Ok(());
        };
        let mut buckets = lock(&self.buckets);
        if buckets.len() >= self.max && !buckets.contains_key(whose) {
            make_room(&mut buckets, now);
        }
        let new = || TokenBucket::full(rate, now);
        act(buckets.entry(whose.clone()).or_insert_with(new))
    }
}

fn make_room<K: Hash + Eq + Clone>(buckets: &mut HashMap<K, TokenBucket>, now: Instant) {
    let before = buckets.len();
    buckets.retain(|_, bucket| !bucket.is_full(now));
    if buckets.len() == before {
        let oldest = buckets.iter().min_by_key(|(_, bucket)| bucket.refilled);
        if let Some(oldest) = oldest.map(|(whose, _)| whose.clone()) {
            buckets.remove(&oldest);
        }
    }
}

/// So many places for each of many; a place is given back when it is dropped.
///
/// ```
/// use eidetica_transport::Places;
///
/// let places = Places::new(1);
/// let held = places.take("alice").expect("the first place");
/// assert!(places.take("alice").is_none());
/// assert!(places.take("bob").is_some());
/// drop(held);
/// assert!(places.take("alice").is_some());
/// ```
#[derive(Debug, Clone)]
pub struct Places<K> {
    each: usize,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Hash + Eq + Clone> Places<K> {
    /// `each` places for everybody.
    pub fn new(each: usize) -> Self {
        Self {
            each,
            taken: Arc::default(),
        }
    }

    /// A place, if one is free.
    pub fn take(&self, whose: K) -> Option<Place<K>> {
        let mut taken = lock(&self.taken);
        let held = taken.get(&whose).copied().unwrap_or_default();
        if held >= self.each {
            return None;
        }
        taken.insert(whose.clone(), held + 1);
        Some(Place {
            whose,
            taken: Arc::clone(&self.taken),
        })
    }
}

/// A place that is taken.
#[derive(Debug)]
pub struct Place<K: Hash + Eq> {
    whose: K,
    taken: Arc<Mutex<HashMap<K, usize>>>,
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        if let Some(held) = taken.get_mut(&self.whose) {
            *held -= 1;
            if *held == 0 {
                taken.remove(&self.whose);
            }
        }
    }
}

/// Who counts as one sender where nothing is proven: an IPv4 address, or the first 64 bits of an
/// IPv6 address, of which one customer has all the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(IpAddr);

impl Origin {
    /// The origin of what comes from an IP address.
    pub fn of_ip(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            v4 => v4,
        })
    }

    /// The origin of what comes from an address, if it has an IP address.
    pub fn of(address: &Address) -> Option<Self> {
        let socket: SocketAddr = address.rest().parse().ok()?;
        Some(Self::of_ip(socket.ip()))
    }
}

/// Counts how often a limit was hit.
#[derive(Debug)]
pub struct LimitCounter {
    name: &'static str,
    hits: AtomicU64,
}

impl LimitCounter {
    /// Of the limit with this name.
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            hits: AtomicU64::new(0),
        }
    }

    /// The limit's name.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// It was hit.
    pub fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// The name and how often it was hit.
    pub fn snapshot(&self) -> (&'static str, u64) {
        (self.name, self.hits.load(Ordering::Relaxed))
    }
}

/// Every holder leaves the value whole even if it panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate::new(3, Duration::from_secs(10));

    #[expect(clippy::disallowed_methods, reason = "any point in time does")]
    fn start() -> Instant {
        Instant::now()
    }

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_one_an_interval() {
        let start = start();
        let mut bucket = TokenBucket::full(RATE, start);
        let taken = (0..5).filter(|_| bucket.take(start).is_ok()).count();
        assert_eq!(taken, 3);
        assert_eq!(bucket.take(at(start, 4)), Err(Duration::from_secs(6)));
        assert_eq!(bucket.check(at(start, 10)), Ok(()));
        assert_eq!(bucket.take(at(start, 10)), Ok(()));
        assert_eq!(bucket.take(at(start, 12)), Err(Duration::from_secs(8)));
        // It holds no more than its burst, however long nobody asks.
        let taken = (0..9).filter(|_| bucket.take(at(start, 9_999)).is_ok());
        assert_eq!(taken.count(), 3);
    }

    #[test]
    fn what_costs_as_much_as_many_takes_as_many_or_none() {
        let start = start();
        let mut bucket = TokenBucket::full(RATE, start);
        assert_eq!(bucket.take_many(2, start), Ok(()));
        assert_eq!(bucket.take_many(2, start), Err(Duration::from_secs(10)));
        assert_eq!(
            bucket.take_many(3, at(start, 4)),
            Err(Duration::from_secs(16))
        );
        assert_eq!(bucket.take(start), Ok(()));
        // More than it can ever hold is had for all that it holds.
        assert_eq!(
            bucket.take_many(9, at(start, 29)),
            Err(Duration::from_secs(1))
        );
        assert_eq!(bucket.take_many(9, at(start, 30)), Ok(()));
        assert!(bucket.take(at(start, 30)).is_err());
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let later = at(start(), 100);
        let mut bucket = TokenBucket::full(RATE, later);
        assert_eq!((0..3).filter(|_| bucket.take(later).is_ok()).count(), 3);
        let earlier = later - Duration::from_secs(50);
        assert_eq!(bucket.take(earlier), Err(Duration::from_secs(10)));
        assert_eq!(bucket.take(later + Duration::from_secs(10)), Ok(()));
    }

    #[test]
    fn buckets_are_each_ones_own_and_bounded_in_number() {
        let start = start();
        let buckets = Buckets::new(Some(RATE), 2);
        for _ in 0..3 {
            assert_eq!(buckets.take(&1, start), Ok(()));
        }
        assert!(buckets.take(&1, start).is_err());
        assert_eq!(buckets.take(&2, at(start, 1)), Ok(()));
        // A third makes the one forgotten that was refilled longest ago, and only that.
        assert_eq!(buckets.take(&3, at(start, 1)), Ok(()));
        assert_eq!(lock(&buckets.buckets).len(), 2);
        assert!(!lock(&buckets.buckets).contains_key(&1));
        // Those that are full by now go first.
        assert_eq!(buckets.take(&4, at(start, 500)), Ok(()));
        assert_eq!(lock(&buckets.buckets).len(), 1);
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let buckets = Buckets::new(None, 1);
        let start = start();
        assert!((0..1000).all(|n| buckets.take(&(n % 2), start).is_ok()));
        assert!(lock(&buckets.buckets).is_empty());
    }

    #[test]
    fn places_that_are_given_back_leave_nothing_behind() {
        let places = Places::new(2);
        let held: Vec<_> = (0..3).filter_map(|_| places.take("a")).collect();
        assert_eq!(held.len(), 2);
        drop(held);
        assert!(lock(&places.taken).is_empty());
    }

    #[test]
    fn an_origin_is_an_ipv4_address_or_a_network_of_ipv6() {
        let of = |text: &str| Origin::of(&Address::new("http", text));
        assert_eq!(of("192.0.2.1:80"), of("192.0.2.1:81"));
        assert_ne!(of("192.0.2.1:80"), of("192.0.2.2:80"));
        assert_eq!(of("[::ffff:192.0.2.1]:80"), of("192.0.2.1:80"));
        assert_eq!(of("[2001:db8:1:2::1]:80"), of("[2001:db8:1:2:ffff::]:80"));
        assert_ne!(of("[2001:db8:1:2::1]:80"), of("[2001:db8:1:3::1]:80"));
        assert_eq!(of("*7"), None);
    }
}
