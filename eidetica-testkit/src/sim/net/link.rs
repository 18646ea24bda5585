//! Owns one direction between two devices: how long bytes take, what is lost, who may dial.

use std::time::{Duration, Instant};

use crate::sim::{Chance, Dice};

/// Bytes that are lost or arrive together.
const PACKET_BYTES: u64 = 1_400;
/// Packets of one message that are lost at most: the sender slows down and then gets through.
const MAX_LOST: u32 = 8;
/// What a sender waits, beside a round trip, until it sends a lost packet again.
const RESEND_AFTER: Duration = Duration::from_millis(200);

/// One direction between two devices. Bytes of requests go with it and those of their answers with
/// the opposite one, whoever dialled.
///
/// ```
/// use std::time::Duration;
///
/// use eidetica_testkit::sim::{Chance, Link};
///
/// let slow = Link::new()
///     .with_latency(Duration::from_millis(125))
///     .with_bytes_per_second(125_000)
///     .with_loss(Chance::per_mille(10));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub(super) latency: Duration,
    pub(super) jitter: Duration,
    pub(super) bytes_per_second: Option<u64>,
    pub(super) loss: Chance,
    pub(super) cuts: Chance,
    pub(super) duplicates: Chance,
    pub(super) is_up: bool,
    pub(super) may_dial: bool,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            bytes_per_second: None,
            loss: Chance::NEVER,
            cuts: Chance::NEVER,
            duplicates: Chance::NEVER,
            is_up: true,
            may_dial: true,
        }
    }
}

impl Link {
    /// A link without faults that takes no time.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a byte is on its way.
    #[must_use]
    pub fn with_latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }

    /// Up to how much longer some requests take, so that later ones overtake them. What belongs to
    /// one answer stays in its order.
    #[must_use]
    pub fn with_jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// How many bytes fit through.
    #[must_use]
    pub fn with_bytes_per_second(mut self, bytes: u64) -> Self {
        self.bytes_per_second = Some(bytes.max(1));
        self
    }

    /// How many packets are lost; they are sent again, which delays all that is behind them. Of
    /// attempts to connect, three times as many fail.
    #[must_use]
    pub fn with_loss(mut self, loss: Chance) -> Self {
        self.loss = loss;
        self
    }

    /// How many exchanges break off, the request or the answer at any byte.
    #[must_use]
    pub fn with_cuts(mut self, cuts: Chance) -> Self {
        self.cuts = cuts;
        self
    }

    /// How many requests are delivered twice. One of the answers is lost.
    #[must_use]
    pub fn with_duplicates(mut self, duplicates: Chance) -> Self {
        self.duplicates = duplicates;
        self
    }

    /// Whether anything gets through. While nothing does, exchanges hang: nobody is told.
    #[must_use]
    pub fn with_up(mut self, is_up: bool) -> Self {
        self.is_up = is_up;
        self
    }

    /// Whether an exchange may be begun in this direction; one that the other side began goes on.
    #[must_use]
    pub fn with_dialling(mut self, may_dial: bool) -> Self {
        self.may_dial = may_dial;
        self
    }

    /// When a message is sent whole, and when it is there. The link sends one after the other.
    pub(super) fn carry(
        &self,
        bytes: u64,
        now: Instant,
        busy_until: &mut Instant,
        dice: &Dice,
    ) -> Transit {
        let begins = now.max(*busy_until);
        let takes = self
            .bytes_per_second
            .map_or(Duration::ZERO, |rate| nanos_at(bytes, rate));
        let sent = begins + takes;
        *busy_until = sent;
        let packets = bytes.div_ceil(PACKET_BYTES).max(1);
        let lost = match self.loss {
            Chance::NEVER => 0,
            loss => (0..packets).filter(|_| dice.happens(loss)).count(),
        };
        let lost = u32::try_from(lost).map_or(MAX_LOST, |lost| lost.min(MAX_LOST));
        let jitter = match self.jitter {
            Duration::ZERO => Duration::ZERO,
            most => dice.millis(0..u64::try_from(most.as_millis()).unwrap_or(u64::MAX)),
        };
        Transit {
            sent,
            arrives: sent + self.latency + jitter + lost * (RESEND_AFTER + 2 * self.latency),
        }
    }

    /// Whether an attempt to connect is lost.
    pub(super) fn loses_connection(&self, dice: &Dice) -> bool {
        (0..3).any(|_| dice.happens(self.loss))
    }
}

/// When a message has left, and when it arrives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transit {
    pub(super) sent: Instant,
    pub(super) arrives: Instant,
}

fn nanos_at(bytes: u64, per_second: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(per_second);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimClock;

    #[test]
    fn messages_go_one_after_the_other_at_the_rate_of_the_link() {
        let link = Link::new()
            .with_latency(Duration::from_millis(125))
            .with_bytes_per_second(125_000);
        let now = SimClock::default().instant();
        let (mut busy, dice) = (now, Dice::new(1));
        let first = link.carry(125_000, now, &mut busy, &dice);
        let second = link.carry(12_500, now, &mut busy, &dice);
        assert_eq!(first.sent - now, Duration::from_secs(1));
        assert_eq!(second.sent - now, Duration::from_millis(1_100));
        assert_eq!(second.arrives - now, Duration::from_millis(1_225));
    }
}
