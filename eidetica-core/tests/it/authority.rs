//! Owns the comparison of the authority graph with the brute-force oracle, and the `_auth` codec.
//! What the rules promise is `promises`'.

use std::collections::BTreeMap;

use eidetica_core::{
    EntryId, Height, Kind, Payload, PayloadError,
    authority::{
        AuthNode, AuthOperation, AuthPayloadError, AuthorityError, AuthorityGraph, Level,
        NodeIndex, NodeSet, Subject,
    },
    limits::{MAX_AUTH_OPERATIONS, MAX_MEMBER_NAME_BYTES},
};
use eidetica_testkit::{
    arb::authority::{keys, proposals, worlds},
    oracle::authority::{Entry, LeftOut, World},
};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{RngSeed, TestRunner},
};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(5),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn levels_and_void_entries_equal_the_oracle(world in worlds()) {
        let replica = Replica::new(&world, &[]);
        for set in sets(&world) {
            prop_assert_eq!(replica.answers(&world, set), oracle_answers(&world, set));
        }
    }

    #[test]
    fn verdicts_equal_the_oracle(
        mut world in worlds(),
        candidates in vec(proposals(), 24),
    ) {
        let replica = Replica::new(&world, &[]);
        for number in 1..world.entries().len() {
            prop_assert_eq!(replica.check(&world, &world.entries()[number]), Ok(()));
        }
        for proposal in candidates {
            let candidate = proposal.to_entry(&world);
            let verdict = replica.check(&world, &candidate);
            let allowed = world.would_allow(candidate);
            prop_assert_eq!(verdict.is_ok(), allowed, "{:?}", verdict);
        }
    }

    #[test]
    fn arrival_order_makes_no_difference(
        world in worlds(),
        order in vec(any::<u64>(), 14),
    ) {
        let (one, other) = (Replica::new(&world, &[]), Replica::new(&world, &order));
        for set in sets(&world) {
            prop_assert_eq!(one.answers(&world, set), other.answers(&world, set));
        }
    }
}

/// The comparison above sees each of the rules.
#[test]
fn control_the_oracle_without_a_rule_differs() {
    use LeftOut::{OnlyBeside, Seniority, Sideways, VoidHasNoEffect};
    for rule in [Sideways, OnlyBeside, VoidHasNoEffect, Seniority] {
        let config = ProptestConfig {
            failure_persistence: None,
            max_shrink_iters: 0,
            ..config(2000)
        };
        let verdict = TestRunner::new(config).run(&worlds(), |world| {
            let answers = Replica::new(&world, &[]).answers(&world, world.all());
            prop_assert_eq!(answers, oracle_answers(&world.without(rule), world.all()));
            Ok(())
        });
        assert!(verdict.is_err(), "{rule:?}");
    }
}

/// One device's graph of a world, and where its entries went.
struct Replica {
    graph: AuthorityGraph,
    nodes: BTreeMap<usize, NodeIndex>,
}

/// Levels of every subject, void entries, and whether reductions were accepted.
type Answers = (Vec<Level>, Vec<usize>, bool);

impl Replica {
    /// Takes the entries in, of those that are ready the one with the least `order` first.
    fn new(world: &World, order: &[u64]) -> Self {
        let mut replica = Self {
            graph: AuthorityGraph::new(),
            nodes: BTreeMap::new(),
        };
        let mut left: Vec<_> = (0..world.entries().len())
            .filter(|n| in_graph(world, *n))
            .collect();
        left.sort_by_key(|n| order.get(*n).copied());
        while let Some(at) = left
            .iter()
            .position(|n| left.iter().all(|other| world.past(*n) >> other & 1 == 0))
        {
            let number = left.remove(at);
            let Entry {
                id,
                author,
                operations,
                ..
            } = world.entries()[number].clone();
            let node = AuthNode {
                id,
                height: world.height(number),
                author,
                operations,
            };
            let past = replica.nodes(world.past(number));
            replica.nodes.insert(number, replica.graph.push(node, past));
        }
        replica
    }

    fn nodes(&self, set: u64) -> NodeSet {
        let nodes = self
            .nodes
            .iter()
            .filter(|(number, _)| set >> *number & 1 == 1);
        nodes.map(|(_, node)| *node).collect()
    }

    fn check(&self, world: &World, entry: &Entry) -> Result<(), AuthorityError> {
        let operations = Some(&entry.operations[..]).filter(|o| !o.is_empty());
        let past = self.nodes(world.closure(&entry.parents));
        self.graph
            .check(entry.author, &past, operations, entry.changes_reserved)
    }

    fn answers(&self, world: &World, set: u64) -> Answers {
        let authority = self.graph.authority(&self.nodes(set));
        let levels = subjects().map(|subject| match subject {
            Subject::Key(key) => authority.level(&key),
            Subject::Anyone => authority.anyone(),
        });
        let voids = self.graph.void(&self.nodes(set));
        let void = (0..world.entries().len())
            .filter(|n| set >> n & 1 == 1)
            .filter(|number| match self.nodes.get(number) {
                Some(node) => voids.is_void(*node),
                None => self.plain_is_void(world, set, *number),
            });
        (levels.collect(), void.collect(), voids.has_reductions())
    }

    fn plain_is_void(&self, world: &World, set: u64, number: usize) -> bool {
        let entry = &world.entries()[number];
        let after = (0..world.entries().len()).filter(|n| world.past(*n) >> number & 1 == 1);
        let after = after.fold(0, |mask, n| mask | 1 << n) & set;
        self.graph.plain_is_void(
            &self.nodes(set),
            entry.author,
            &self.nodes(world.past(number)),
            &self.nodes(after),
            entry.changes_reserved,
        )
    }
}

fn oracle_answers(world: &World, set: u64) -> Answers {
    let levels = subjects().map(|subject| world.authority(set, subject));
    let void = world.void(set);
    let void = (0..world.entries().len()).filter(|number| void >> number & 1 == 1);
    (levels.collect(), void.collect(), world.accepted(set) != 0)
}

fn in_graph(world: &World, number: usize) -> bool {
    number == 0 || !world.entries()[number].operations.is_empty()
}

/// Ancestor-closed sets: below and with each entry, below each two, and everything.
fn sets(world: &World) -> Vec<u64> {
    let count = world.entries().len();
    let pairs = (0..count).flat_map(|a| (a..count).map(move |b| world.closure(&[a, b])));
    let mut sets: Vec<_> = pairs.chain([world.all()]).collect();
    sets.sort_unstable();
    sets.dedup();
    sets
}

fn subjects() -> impl Iterator<Item = Subject> {
    keys()
        .iter()
        .copied()
        .map(Subject::Key)
        .chain([Subject::Anyone])
}

/// A graph told entry by entry, where each key writes on everything but for what it is told
/// to leave out.
struct Story {
    graph: AuthorityGraph,
}

impl Story {
    fn new() -> Self {
        let mut story = Self {
            graph: AuthorityGraph::new(),
        };
        story.push(0, &[], NodeSet::new());
        story
    }

    fn push(&mut self, author: usize, operations: &[AuthOperation], past: NodeSet) -> NodeIndex {
        let height = past.iter().count() as u64;
        let node = AuthNode {
            id: EntryId::of(&(self.graph.len() as u64).to_be_bytes()),
            height: Height(height),
            author: keys()[author],
            operations: operations.to_vec(),
        };
        assert_eq!(
            self.graph.check(node.author, &past, Some(operations), true),
            Ok(())
        );
        self.graph.push(node, past)
    }

    fn then(&mut self, author: usize, operation: AuthOperation) -> NodeIndex {
        let past = self.graph.all();
        self.push(author, &[operation], past)
    }

    fn check(&self, author: usize, operations: &[AuthOperation]) -> Result<(), AuthorityError> {
        self.graph
            .check(keys()[author], &self.graph.all(), Some(operations), true)
    }

    fn level(&self, key: usize) -> Level {
        self.graph.authority(&self.graph.all()).level(&keys()[key])
    }
}

fn set(key: usize, level: Level) -> AuthOperation {
    AuthOperation::set(keys()[key], level, format!("key {key}"))
}

fn reinstate(key: usize, level: Level) -> AuthOperation {
    let (subject, name) = (Subject::Key(keys()[key]), String::new());
    AuthOperation::SetPermission {
        subject,
        level,
        name,
        reinstate: true,
    }
}

#[test]
fn a_removed_writers_entry_on_an_old_branch_is_void_once_the_removal_is_known() {
    let mut story = Story::new();
    story.then(0, set(1, Level::Write));
    let (before, none) = (story.graph.all(), NodeSet::new());
    let is_void = |story: &Story, set: &NodeSet, after: &NodeSet| {
        story
            .graph
            .plain_is_void(set, keys()[1], &before, after, false)
    };
    let removal = story.then(0, set(1, Level::None));
    let all = story.graph.all();
    assert!(is_void(&story, &all, &none));
    assert!(
        !is_void(&story, &before, &none),
        "without the removal it counts"
    );
    let after = NodeSet::from_iter([removal]);
    assert!(
        !is_void(&story, &all, &after),
        "what the remover had seen stays"
    );
}

#[test]
fn a_removed_admins_grants_on_an_old_branch_are_void_with_what_they_allowed() {
    let mut story = Story::new();
    story.then(0, set(1, Level::Admin(1)));
    let before = story.graph.all();
    let removal = story.push(0, &[set(1, Level::None)], before.clone());
    let grant = story.push(1, &[set(2, Level::Write)], before.clone());
    let (past, none) = (before.with(grant), NodeSet::new());
    let is_void = |set: &NodeSet| {
        story
            .graph
            .plain_is_void(set, keys()[2], &past, &none, false)
    };
    let all = story.graph.all();
    assert!(story.graph.void(&all).is_void(grant) && !story.graph.void(&all).is_void(removal));
    assert_eq!((story.level(2), is_void(&all)), (Level::None, true));
    assert!(!is_void(&past), "without the removal both count");
}

#[test]
fn reinstating_a_key_brings_back_what_the_grant_has_seen() {
    let mut story = Story::new();
    story.then(0, set(1, Level::Write));
    let (past, none) = (story.graph.all(), NodeSet::new());
    story.then(0, set(1, Level::None));
    let grant = NodeSet::from_iter([story.then(0, reinstate(1, Level::Write))]);
    let all = story.graph.all();
    let is_void = |after| {
        story
            .graph
            .plain_is_void(&all, keys()[1], &past, after, false)
    };
    assert!(!is_void(&grant));
    assert!(is_void(&none), "what the grant has not seen stays void");
}

/// A world of allowed entries: author, parents, operations.
fn tell(entries: &[(usize, &[usize], &[AuthOperation])]) -> World {
    let told = entries
        .iter()
        .zip(0u64..)
        .map(|((author, parents, operations), number)| Entry {
            id: EntryId::of(&number.to_be_bytes()),
            author: keys()[*author],
            parents: parents.to_vec(),
            operations: operations.to_vec(),
            changes_reserved: !operations.is_empty(),
        });
    let mut told = told.collect::<Vec<_>>().into_iter();
    let mut world = World::new(told.next().expect("a root comes first"));
    for entry in told {
        let number = world.push(entry);
        assert!(world.allowed(number), "entry {number}");
    }
    world
}

fn assert_void(world: &World, void: &[usize]) {
    let replica = Replica::new(world, &[]);
    let answers = replica.answers(world, world.all());
    assert_eq!(answers, oracle_answers(world, world.all()));
    assert_eq!(answers.1, void);
}

#[test]
fn reinstating_a_key_brings_back_what_a_removed_admin_had_let_it_write() {
    let admin = [set(1, Level::Admin(1))];
    let (grant, removal) = ([set(2, Level::Write)], [set(1, Level::None)]);
    let back = [reinstate(2, Level::Write)];
    let entries: [(usize, &[usize], &[AuthOperation]); 6] = [
        (0, &[], &[]),
        (0, &[0], &admin),
        (1, &[1], &grant),
        (2, &[2], &[]),
        (0, &[1], &removal),
        (0, &[3, 4], &back),
    ];
    assert_void(&tell(&entries[..5]), &[2, 3]);
    assert_void(&tell(&entries), &[2]);
}

#[test]
fn a_reduction_reinstates_nothing() {
    let (admin, removal) = ([set(1, Level::Admin(1))], [set(1, Level::None)]);
    let (back, weaker) = ([set(1, Level::Admin(1))], [reinstate(1, Level::Write)]);
    let world = tell(&[
        (0, &[], &[]),
        (0, &[0], &admin),
        (1, &[1], &[]),
        (0, &[1], &removal),
        (0, &[3], &back),
        (0, &[2, 4], &weaker),
    ]);
    assert_void(&world, &[2]);
}

#[test]
fn a_refusal_says_what_was_needed_and_held() {
    let mut story = Story::new();
    story.then(0, set(1, Level::Admin(1)));
    story.then(0, set(2, Level::Admin(1)));
    let (held, all) = (Level::Admin(1), story.graph.all());
    let level = |needed, held, operation| {
        Err(AuthorityError::Level {
            needed,
            held,
            operation,
        })
    };
    let plain = |key: usize, reserved| story.graph.check(keys()[key], &all, None, reserved);
    assert_eq!(plain(3, false), level(Level::Write, Level::None, None));
    assert_eq!(
        plain(3, true),
        level(Level::WEAKEST_ADMIN, Level::None, None)
    );
    assert_eq!(plain(1, true), Ok(()));
    let grants = [set(3, Level::Read), set(3, Level::Admin(0))];
    assert_eq!(
        story.check(1, &grants),
        level(Level::Admin(0), held, Some(1))
    );
    let steps = [set(1, Level::Admin(3)), set(3, Level::Admin(2))];
    assert_eq!(
        story.check(1, &steps),
        level(Level::Admin(2), Level::Admin(3), Some(1))
    );
    let (subject, subject_level, operation) = (keys()[1], held, 0);
    let refusal = AuthorityError::NotSenior {
        subject,
        subject_level,
        held,
        operation,
    };
    assert_eq!(story.check(2, &[set(1, Level::None)]), Err(refusal.clone()));
    assert_eq!(
        refusal.to_string(),
        format!(
            "author is not senior to the admin it changes. \
             admin=`{subject}` level=`admin:1` held=`admin:1` operation=`0`"
        )
    );
    let anyone = AuthOperation::set(Subject::Anyone, Level::Admin(9), "");
    let refusal = AuthorityError::AnyoneAboveWrite {
        level: Level::Admin(9),
        operation: 0,
    };
    assert_eq!(story.check(0, &[anyone]), Err(refusal));
}

#[test]
fn an_admin_reduces_itself_only_beside_another_as_strong() {
    let mut story = Story::new();
    let step_down = [set(0, Level::Read)];
    let refusal = Err(AuthorityError::NoOtherAdmin {
        held: Level::Admin(0),
        operation: 0,
    });
    story.then(0, set(1, Level::Admin(1)));
    assert_eq!(story.check(0, &step_down), refusal);
    assert_eq!(story.check(1, &[set(1, Level::None)]), Ok(()));
    story.then(0, set(1, Level::Admin(0)));
    assert_eq!(story.check(0, &step_down), Ok(()));
}

#[test]
fn a_roots_own_operations_come_after_its_authors_authority() {
    let (mut graph, past) = (AuthorityGraph::new(), NodeSet::new());
    let operations = vec![set(1, Level::Write), AuthOperation::SetFormat { n: 3 }];
    assert_eq!(
        graph.check(keys()[0], &past, Some(&operations), true),
        Ok(())
    );
    assert_eq!(graph.check(keys()[0], &past, None, false), Ok(()));
    let itself = graph.check(keys()[0], &past, Some(&[set(0, Level::Write)]), true);
    assert!(matches!(itself, Err(AuthorityError::NoOtherAdmin { .. })));
    let (id, height) = (EntryId::of(b""), Height(0));
    graph.push(
        AuthNode {
            id,
            height,
            author: keys()[0],
            operations,
        },
        past,
    );
    let authority = graph.authority(&graph.all());
    assert_eq!(authority.level(&keys()[0]), Level::Admin(0));
    let member = authority
        .members()
        .find(|member| member.key == keys()[1])
        .unwrap();
    assert_eq!((member.level, member.granted_by), (Level::Write, keys()[0]));
    assert_eq!((&*member.name, authority.format()), ("key 1", 3));
}

#[test]
fn a_long_history_of_grants_and_removals_is_judged_without_depth() {
    let mut story = Story::new();
    for _ in 0..1_000 {
        story.then(0, set(1, Level::Write));
        story.then(0, set(1, Level::None));
    }
    let old_branch = NodeSet::first(2);
    let side = story.push(0, &[set(2, Level::Write)], old_branch.clone());
    let all = story.graph.all();
    assert!(!story.graph.void(&all).is_void(side));
    assert!(
        story
            .graph
            .plain_is_void(&all, keys()[1], &old_branch, &NodeSet::new(), false)
    );
    assert_eq!(
        (story.level(1), story.level(2)),
        (Level::None, Level::Write)
    );
}

#[test]
fn authority_payloads_round_trip() {
    let anyone = AuthOperation::set(Subject::Anyone, Level::Read, "");
    let all = [
        set(1, Level::Admin(300)),
        anyone,
        AuthOperation::SetFormat { n: 2 },
    ];
    let bytes = AuthOperation::encode_payload(&all).unwrap();
    assert_eq!(AuthOperation::decode_payload(&bytes), Ok(all.to_vec()));
}

#[test]
fn damaged_authority_payloads_are_refused() {
    let operations = [set(1, Level::Admin(300)), set(2, Level::Read)];
    let bytes = AuthOperation::encode_payload(&operations).unwrap();
    for cut in 0..bytes.len() {
        assert!(
            AuthOperation::decode_payload(&bytes[..cut]).is_err(),
            "cut at {cut}"
        );
    }
    let malformed = Err(AuthPayloadError::Payload(PayloadError::Malformed));
    let trailing = [&bytes[..], &[0]].concat();
    assert_eq!(AuthOperation::decode_payload(&trailing), malformed);
    let two = bytes.iter().position(|byte| *byte == 2).unwrap();
    let overlong = [&bytes[..two], &[0x82, 0], &bytes[two + 1..]].concat();
    assert_eq!(AuthOperation::decode_payload(&overlong), malformed);
}

#[test]
fn authority_payloads_over_a_limit_or_of_another_kind_are_refused() {
    let encode = |kind: &str, version, operations: &[AuthOperation]| {
        Payload::encode_operations(Kind::new(kind).unwrap(), version, operations).unwrap()
    };
    let refusal = |bytes: Vec<u8>| AuthOperation::decode_payload(&bytes).unwrap_err();
    let format = AuthOperation::SetFormat { n: 1 };
    for count in [0, MAX_AUTH_OPERATIONS + 1] {
        let operations = vec![format.clone(); count];
        let error = AuthPayloadError::OperationCount(count);
        assert_eq!(
            AuthOperation::encode_payload(&operations),
            Err(error.clone())
        );
        assert_eq!(refusal(encode("auth", 1, &operations)), error);
    }
    let name = "x".repeat(MAX_MEMBER_NAME_BYTES + 1);
    let long = [AuthOperation::set(keys()[1], Level::Read, name)];
    let error = AuthPayloadError::NameTooLong(MAX_MEMBER_NAME_BYTES + 1);
    assert_eq!(AuthOperation::encode_payload(&long), Err(error.clone()));
    assert_eq!(refusal(encode("auth", 1, &long)), error);
    for (kind, version) in [("auth", 2), ("doc", 1)] {
        let error = AuthPayloadError::Kind(Kind::new(kind).unwrap(), version);
        assert_eq!(
            refusal(encode(kind, version, std::slice::from_ref(&format))),
            error
        );
    }
}
