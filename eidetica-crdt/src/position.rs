//! Owns positions in lists: byte keys that sort as the elements do, and the choice of a new one
//! between two. Where positions stand in paths, and what elements hold, is the document's.

mod rank;

use std::fmt;

use eidetica_core::PublicKey;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

use self::rank::Rank;

/// Before a step: it goes to the left of what stands so far.
const LEFT: u8 = 1;
/// After the last step.
const END: u8 = 2;
/// Before a step: it goes to the right of what stands so far.
const RIGHT: u8 = 3;
const TAG_BYTES: usize = 4;
const NONCE_BYTES: usize = 6;

/// Random bytes of one transaction: what makes the list positions unique that it creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce([u8; NONCE_BYTES]);

impl Nonce {
    /// Takes random bytes.
    pub const fn from_bytes(bytes: [u8; NONCE_BYTES]) -> Self {
        Self(bytes)
    }
}

/// Who creates positions: an author, in one transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Creator {
    tag: [u8; TAG_BYTES],
    nonce: Nonce,
}

impl Creator {
    /// An author in the transaction of this nonce.
    pub fn new(author: &PublicKey, nonce: Nonce) -> Self {
        let mut tag = [0; TAG_BYTES];
        tag.copy_from_slice(&author.as_bytes()[..TAG_BYTES]);
        Self { tag, nonce }
    }

    /// The author's run at one side of a place.
    fn run(&self, place: &[u8], side: u8) -> Vec<u8> {
        [place, &[side], &self.tag].concat()
    }
}

/// The position of a list element: a byte key. Elements stand in the order of their keys, which
/// is the order of a Fugue tree (Weidner and Kleppmann, "The Art of the Fugue: Minimizing
/// Interleaving in Collaborative Text Editing").
///
/// A key is a walk through the tree: steps of `side ‖ author tag(4) ‖ rank ‖ 01 ‖ nonce(6) ‖
/// rank`, then an end, with `left (01) < end (02) < right (03) < every byte of a rank's start`. So
/// what is left of an element comes before it and what is right of it after, and of several
/// authors at one side of one element each keeps to the keys behind its own tag, its *run*:
///
/// - An author that writes next to an element of its own run takes another rank of that run,
///   also if others wrote between; only else it takes a step, as Fugue does: right of the
///   element before, or, where the element behind stands to the right of that one, left of the
///   element behind. A run has a rank between any two, and one before and behind all; so it
///   grows in both directions and in its middle without a step.
/// - Each transaction has, at its rank of the run, a run of its own behind its nonce. What two
///   transactions of one author write unaware of each other does not interleave either.
///
/// *Unique:* an author's transactions differ in 48 random bits, authors in their tags. *Never
/// reassigned:* a later transaction has another nonce, also where an element was deleted.
/// *Not interleaved:* only who saw an element of a run writes between its elements, be it
/// written forwards or backwards. With two devices the order is Fugue's. Among three, what two of
/// them wrote in turns may be parted by the third's run, where Fugue would keep it together. As
/// nothing is kept of deleted elements, what others wrote beside one may part what its author
/// writes in its place.
///
/// *Length:* a step takes 14 bytes, and a rank O(log n) more when n elements are appended to
/// a run, prepended, or written at one spot; authors that take turns need a step each, not a
/// step a turn. Writing in turns always between the last two elements is the worst case: one
/// author needs a byte for about six, two authors a step for each.
///
/// ```
/// # use eidetica_core::SecretKey;
/// use eidetica_crdt::{Creator, Nonce, Position};
///
/// # let author = SecretKey::from_bytes(&[1; 32]).public();
/// let creator = Creator::new(&author, Nonce::from_bytes([7; 6]));
/// let a = Position::between(None, None, creator, 1);
/// let c = Position::between(Some(&a), None, creator, 1);
/// let b = Position::between(Some(&a), Some(&c), creator, 1);
/// assert!(a < b && b < c);
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(Vec<u8>);

impl Position {
    /// The first of `count` new positions in a row, behind `left` and before `right`, which
    /// stand next to each other; `None` is the beginning or the end of the list. The others are
    /// its [`Position::nth`].
    pub fn between(
        left: Option<&Self>,
        right: Option<&Self>,
        creator: Creator,
        count: usize,
    ) -> Self {
        let gap = Gap {
            left,
            right,
            creator,
            count,
        };
        let neighbours = left.into_iter().chain(right);
        if let Some(found) = neighbours.filter_map(|near| gap.in_block_of(near)).next() {
            return found;
        }
        let (anchor, side) = match (left, right) {
            (Some(left), Some(right)) if right.is_right_of(left) => (right, LEFT),
            (Some(left), _) => (left, RIGHT),
            (None, Some(right)) => (right, LEFT),
            (None, None) => return gap.new_block(creator.run(&[], RIGHT), &Rank::default()),
        };
        for step in anchor.steps().iter().rev() {
            if let Some(found) = gap.in_run_of(anchor, step) {
                return found;
            }
            if anchor.0[step.start] != side {
                break;
            }
        }
        let place = &anchor.0[..anchor.0.len() - 1];
        gap.new_block(creator.run(place, side), &Rank::default())
    }

    /// The `n`-th position of a row that begins here; `None` behind the last there can be.
    pub fn nth(&self, n: usize) -> Option<Self> {
        let (block, rank) = self.block()?;
        Some(position(block.to_vec(), &rank.plus(n)?))
    }

    /// Positions in a row, this one first; fewer than `count` where there can be no more.
    pub fn row(&self, count: usize) -> impl Iterator<Item = Self> {
        let block = self.block();
        (0..count).map_while(move |n| {
            let (block, rank) = block.as_ref()?;
            Some(position(block.to_vec(), &rank.plus(n)?))
        })
    }

    /// Reads bytes, accepting exactly the canonical form; `None` if they are no position.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut at = 0;
        loop {
            at = Step::read(bytes, at)?.end;
            match bytes[at..] {
                [END] => return Some(Self(bytes.to_vec())),
                [LEFT | RIGHT, ..] => {}
                _ => return None,
            }
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut at = 0;
        while let Some(step) = Step::read(&self.0, at) {
            at = step.end;
            steps.push(step);
        }
        steps
    }

    /// The run of the transaction that created the position, and its rank there.
    fn block(&self) -> Option<(&[u8], Rank)> {
        let block = &self.0[..self.steps().pop()?.block];
        Some((block, self.rank_in(block)?))
    }

    /// The rank in a run, if the position belongs to it.
    fn rank_in(&self, run: &[u8]) -> Option<Rank> {
        let (rank, _) = Rank::read(self.0.strip_prefix(run)?)?;
        Some(rank)
    }

    /// Whether this position, which comes after `left`, stands in the tree to the right of it:
    /// below it on that side, or later in its run.
    fn is_right_of(&self, left: &Self) -> bool {
        let last = left.steps().pop();
        last.is_some_and(|last| {
            let below = self.0.strip_prefix(&left.0[..last.end]);
            below.is_some_and(|rest| rest.first() == Some(&RIGHT))
                || self.0.starts_with(&left.0[..last.run])
        })
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Position(")?;
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str(")")
    }
}

/// Where the parts of one step of a position stand in its bytes.
#[derive(Debug)]
struct Step {
    /// The side.
    start: usize,
    /// The rank in the author's run.
    run: usize,
    /// The rank behind the transaction's nonce.
    block: usize,
    /// What follows the step.
    end: usize,
}

impl Step {
    fn read(bytes: &[u8], start: usize) -> Option<Self> {
        let side = *bytes.get(start)?;
        if side != RIGHT && (side != LEFT || start == 0) {
            return None;
        }
        let run = start + 1 + TAG_BYTES;
        let (_, rank_bytes) = Rank::read(bytes.get(run..)?)?;
        let end_of_rank = run + rank_bytes;
        if bytes.get(end_of_rank) != Some(&rank::END) {
            return None;
        }
        let block = end_of_rank + 1 + NONCE_BYTES;
        let (_, rank_bytes) = Rank::read(bytes.get(block..)?)?;
        Some(Self {
            start,
            run,
            block,
            end: block + rank_bytes,
        })
    }
}

/// The place that new positions are wanted for.
struct Gap<'a> {
    left: Option<&'a Position>,
    right: Option<&'a Position>,
    creator: Creator,
    count: usize,
}

impl Gap<'_> {
    /// A place in the run of the creator's transaction, if a neighbour belongs to it.
    fn in_block_of(&self, neighbour: &Position) -> Option<Position> {
        let last = neighbour.steps().pop()?;
        let block = &neighbour.0[..last.block];
        if !block.ends_with(&self.creator.nonce.0) || !self.is_run_of(neighbour, &last) {
            return None;
        }
        let right = self.right.and_then(|right| right.rank_in(block));
        let has_right = right.is_some();
        let left = self.left.and_then(|left| left.rank_in(block));
        let rank = Rank::between(left, right)?;
        let rank = match has_right && self.count > 1 {
            true => rank.below(),
            false => rank,
        };
        rank.plus(self.count.saturating_sub(1))?;
        Some(position(block.to_vec(), &rank))
    }

    /// A place in the author's run that a step of a neighbour belongs to, if it is the creator.
    fn in_run_of(&self, neighbour: &Position, step: &Step) -> Option<Position> {
        if !self.is_run_of(neighbour, step) {
            return None;
        }
        let run = &neighbour.0[..step.run];
        let left = self.left.and_then(|left| left.rank_in(run));
        let right = self.right.and_then(|right| right.rank_in(run));
        Some(self.new_block(run.to_vec(), &Rank::between(left, right)?))
    }

    fn is_run_of(&self, neighbour: &Position, step: &Step) -> bool {
        neighbour.0[..step.run].ends_with(&self.creator.tag)
    }

    /// The first place of the transaction's run at a rank of the author's run.
    fn new_block(&self, mut run: Vec<u8>, rank: &Rank) -> Position {
        rank.write(&mut run);
        run.push(rank::END);
        run.extend_from_slice(&self.creator.nonce.0);
        position(run, &Rank::default())
    }
}

fn position(mut block: Vec<u8>, rank: &Rank) -> Position {
    rank.write(&mut block);
    block.push(END);
    Position(block)
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(PositionVisitor)
    }
}

struct PositionVisitor;

impl Visitor<'_> for PositionVisitor {
    type Value = Position;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the bytes of a list position")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Position, E> {
        Position::from_bytes(bytes).ok_or_else(|| E::custom("not a list position"))
    }
}
