//! Owns strategies for small databases whose keys grant, reduce and reinstate each other from
//! wherever they stand. Which entries may join is the oracle's verdict.

use std::sync::OnceLock;

use eidetica_core::{
    EntryId, PublicKey, SecretKey,
    authority::{AuthOperation, Level, Subject},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use crate::oracle::authority::{Entry, World};

/// Keys that take part; the first writes the root.
const KEYS: u8 = 5;
/// Proposals tried for one world; about one in three or four is allowed.
const PROPOSALS: std::ops::Range<usize> = 24..120;
/// Entries at which a world is large enough.
const ENTRIES: std::ops::RangeInclusive<usize> = 3..=14;

/// Levels that operations give, the frequent ones repeated.
const LEVELS: &[Level] = &[
    Level::Write,
    Level::Write,
    Level::None,
    Level::None,
    Level::None,
    Level::Relay,
    Level::Read,
    Level::Admin(3),
    Level::Admin(2),
    Level::Admin(2),
    Level::Admin(1),
    Level::Admin(1),
    Level::Admin(0),
];
/// Levels that operations give where admins contend with each other.
const LEVELS_OF_RIVALS: &[Level] = &[
    Level::Write,
    Level::None,
    Level::Admin(2),
    Level::Admin(1),
    Level::Admin(0),
];
const LEVELS_OF_ANYONE: &[Level] = &[Level::Write, Level::Write, Level::Read, Level::None];
/// What the root makes of the other keys where it starts with several admins.
const ADMINS: &[[u32; 4]] = &[
    [1, 2, 3, 4],
    [2, 3, 1, 4],
    [1, 1, 2, 2],
    [3, 2, 1, 0],
    [0, 0, 1, 1],
];

/// The keys that write and are written about, the author of the root first.
pub fn keys() -> &'static [PublicKey] {
    static KEYS_IN_ORDER: OnceLock<Vec<PublicKey>> = OnceLock::new();
    KEYS_IN_ORDER.get_or_init(|| {
        (1..=KEYS)
            .map(|n| SecretKey::from_bytes(&[n; 32]).public())
            .collect()
    })
}

/// An entry that some key might write, wherever it is put.
#[derive(Debug, Clone)]
pub struct Proposal {
    author: PublicKey,
    on: Vec<Index>,
    on_newest: bool,
    operations: Vec<AuthOperation>,
    changes_settings: bool,
    salt: u64,
}

impl Proposal {
    /// The entry that it makes in a world, allowed there or not.
    pub fn to_entry(&self, world: &World) -> Entry {
        let count = world.entries().len();
        let mut on: Vec<_> = self.on.iter().map(|index| index.index(count)).collect();
        if self.on_newest {
            on.push(count - 1);
        }
        Entry {
            id: EntryId::of(&self.salt.to_be_bytes()),
            author: self.author,
            parents: world.tips(world.closure(&on)),
            operations: self.operations.clone(),
            changes_reserved: self.changes_settings || !self.operations.is_empty(),
        }
    }
}

/// Entries of any key: plain ones, changes of settings, and of the authority.
pub fn proposals() -> impl Strategy<Value = Proposal> {
    proposals_of(keys(), LEVELS)
}

/// Databases of 3 to 14 entries (fewer while shrinking) that rule 4 lets in. In some, three
/// keys contend; in others, up to five share the work.
pub fn worlds() -> impl Strategy<Value = World> {
    let cast = prop_oneof![
        (Just(3), Just(LEVELS_OF_RIVALS)),
        (3..=keys().len(), Just(LEVELS)),
    ];
    cast.prop_flat_map(|(count, levels)| {
        let keys = &keys()[..count];
        let admins = prop::sample::select(ADMINS).prop_map(|strengths| {
            let admins = keys[1..].iter().zip(strengths);
            admins
                .map(|(key, p)| AuthOperation::set(*key, Level::Admin(p), ""))
                .collect()
        });
        let any = vec(operations(keys, levels), 1..=3);
        let root = prop_oneof![3 => Just(Vec::new()), 3 => admins, 1 => any];
        (root, vec(proposals_of(keys, levels), PROPOSALS), ENTRIES)
    })
    .prop_map(|(root, proposed, size)| grow(World::new(root_entry(root)), &proposed, size))
}

/// Adds the entries that rule 4 lets in until the world has `size`.
fn grow(mut world: World, proposed: &[Proposal], size: usize) -> World {
    for proposal in proposed {
        if world.entries().len() == size {
            break;
        }
        let number = world.push(proposal.to_entry(&world));
        if !world.allowed(number) {
            world.pop();
        }
    }
    world
}

/// A root with the operations, or without where rule 4 refuses them.
fn root_entry(operations: Vec<AuthOperation>) -> Entry {
    let root = |operations| Entry {
        id: EntryId::of(b"root"),
        author: keys()[0],
        parents: Vec::new(),
        operations,
        changes_reserved: false,
    };
    match World::new(root(operations.clone())).allowed(0) {
        true => root(operations),
        false => root(Vec::new()),
    }
}

fn proposals_of(
    keys: &'static [PublicKey],
    levels: &'static [Level],
) -> impl Strategy<Value = Proposal> {
    let some = move |count| vec(operations(keys, levels), count);
    let change = prop_oneof![
        5 => some(1..=1).prop_map(|operations| (operations, false)),
        2 => some(2..=3).prop_map(|operations| (operations, false)),
        2 => Just((Vec::new(), false)),
        1 => Just((Vec::new(), true)),
    ];
    let author = prop::sample::select(keys);
    let on = vec(any::<Index>(), 1..=2);
    (author, on, any::<bool>(), change, any::<u64>()).prop_map(
        |(author, on, on_newest, (operations, changes_settings), salt)| Proposal {
            author,
            on,
            on_newest,
            operations,
            changes_settings,
            salt,
        },
    )
}

fn operations(
    keys: &'static [PublicKey],
    levels: &'static [Level],
) -> impl Strategy<Value = AuthOperation> {
    let key = prop::sample::select(keys).prop_map(Subject::Key);
    let of_key = (key, prop::sample::select(levels));
    let of_anyone = (
        Just(Subject::Anyone),
        prop::sample::select(LEVELS_OF_ANYONE),
    );
    let permission = (
        prop_oneof![6 => of_key, 1 => of_anyone],
        prop::bool::weighted(0.25),
    )
        .prop_map(
            |((subject, level), reinstate)| AuthOperation::SetPermission {
                subject,
                level,
                name: String::new(),
                reinstate,
            },
        );
    prop_oneof![40 => permission, 1 => Just(AuthOperation::SetFormat { n: 2 })]
}
