//! Owns what the rules of authority promise, shown on the oracle: that void entries have no
//! effect, that nobody is void who writes with authority, and that a removed key changes nothing
//! any more. Each is seen to fail where a rule that it depends on is left out.

use eidetica_core::{
    PublicKey, SecretKey,
    authority::{AuthOperation, Level, Subject},
};
use eidetica_testkit::{
    arb::authority::{Proposal, keys, proposals, worlds},
    oracle::authority::{Entry, LeftOut, World},
};
use proptest::{
    collection::vec,
    prelude::*,
    sample::Index,
    test_runner::{RngSeed, TestRunner},
};

type Verdict = Result<(), TestCaseError>;

/// Checks a promise on random databases.
fn hold<S: Strategy>(cases: u32, promise: impl Fn(&World, S::Value) -> Verdict, more: S) {
    if let Err(failure) = run(cases, None, promise, more) {
        panic!("{failure}");
    }
}

/// Checks that a promise does not hold any more without a rule.
fn break_without<S: Strategy>(
    rule: LeftOut,
    promise: impl Fn(&World, S::Value) -> Verdict,
    more: S,
) {
    assert!(run(4000, Some(rule), promise, more).is_err(), "{rule:?}");
}

fn run<S: Strategy>(
    cases: u32,
    left_out: Option<LeftOut>,
    promise: impl Fn(&World, S::Value) -> Verdict,
    more: S,
) -> Result<(), String> {
    let config = ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(7),
        failure_persistence: None,
        max_shrink_iters: if left_out.is_some() { 0 } else { 4096 },
        ..ProptestConfig::default()
    };
    let verdict = TestRunner::new(config).run(&(worlds(), more), |(world, more)| {
        let world = left_out.map_or_else(|| world.clone(), |rule| world.without(rule));
        promise(&world, more)
    });
    verdict.map_err(|failure| failure.to_string())
}

fn subjects() -> impl Iterator<Item = Subject> {
    let keys = keys().iter().copied().map(Subject::Key);
    keys.chain([Subject::Anyone, Subject::Key(puppet())])
}

fn levels(world: &World, set: u64) -> Vec<Level> {
    subjects()
        .map(|subject| world.authority(set, subject))
        .collect()
}

fn is_void(world: &World, entry: usize) -> bool {
    world.void(world.all()) >> entry & 1 == 1
}

fn is_on(operation: &AuthOperation, key: PublicKey) -> bool {
    matches!(operation, AuthOperation::SetPermission { subject, .. } if *subject == key.into())
}

fn reinstates(entry: &Entry) -> bool {
    let mut operations = entry.operations.iter();
    operations.any(|o| {
        matches!(
            o,
            AuthOperation::SetPermission {
                reinstate: true,
                ..
            }
        )
    })
}

/// Without any of the void entries that only void entries build on, everything is as it was.
fn void_entries_have_no_effect(world: &World, (): ()) -> Verdict {
    let all = world.all();
    let void = world.void(all);
    let mut without = all;
    while let Some(tip) = world.tips(without).into_iter().find(|t| void >> t & 1 == 1) {
        without &= !(1 << tip);
        prop_assert_eq!(levels(world, all), levels(world, without));
        prop_assert_eq!(world.void(without), void & without);
    }
    Ok(())
}

#[test]
fn taking_void_entries_away_changes_nobodys_level_and_voids_nothing_else() {
    hold(2000, void_entries_have_no_effect, Just(()));
}

#[test]
fn control_void_entries_would_have_an_effect_if_their_operations_counted() {
    break_without(
        LeftOut::VoidHasNoEffect,
        void_entries_have_no_effect,
        Just(()),
    );
}

fn writing_at_the_tips_counts(world: &World, proposal: Proposal) -> Verdict {
    let mut world = world.clone();
    let (all, void) = (world.all(), world.void(world.all()));
    let entry = Entry {
        parents: world.tips(all),
        ..proposal.to_entry(&world)
    };
    let is_enough = world.authority(all, Subject::Key(entry.author)) >= Level::Write;
    let (is_plain, reinstates) = (!entry.changes_reserved, reinstates(&entry));
    let number = world.push(entry);
    prop_assert!(!is_plain || is_enough == world.allowed(number));
    if world.allowed(number) {
        let now_void = world.void(world.all());
        prop_assert_eq!(now_void & !void, 0);
        prop_assert!(now_void == void || reinstates);
    }
    Ok(())
}

#[test]
fn nobody_whose_authority_suffices_is_void_on_writing_at_the_tips() {
    hold(2000, writing_at_the_tips_counts, proposals());
}

#[test]
fn control_a_key_that_was_granted_anew_would_be_void_if_reductions_reached_upwards() {
    break_without(LeftOut::OnlyBeside, writing_at_the_tips_counts, proposals());
}

fn is_never_void(world: &World, author: PublicKey) -> Verdict {
    let mut by_author = (0..world.entries().len()).filter(|n| world.entries()[*n].author == author);
    prop_assert!(reduces_itself(world, author) || by_author.all(|n| !is_void(world, n)));
    Ok(())
}

#[test]
fn a_root_admin_that_does_not_reduce_itself_is_never_void() {
    // It shares its level with whom it made its equal, but is senior to them.
    hold(2000, |world, ()| is_never_void(world, keys()[0]), Just(()));
}

#[test]
fn control_any_other_admin_may_be_void() {
    let promise = |world: &World, ()| is_never_void(world, keys()[1]);
    assert!(run(2000, None, promise, Just(())).is_err());
}

/// One more entry of a removed key, or of a key that nobody but it has let in.
#[derive(Debug, Clone)]
struct Attack {
    proposal: Proposal,
    by_puppet: bool,
    /// What it makes of the sock puppet.
    grant: Option<Level>,
    place: Index,
}

/// A key that no world knows of.
fn puppet() -> PublicKey {
    SecretKey::from_bytes(&[99; 32]).public()
}

fn attacks() -> impl Strategy<Value = Vec<Attack>> {
    let levels = [Level::Write, Level::Admin(1), Level::Admin(0)];
    let grant = prop::option::weighted(0.3, prop::sample::select(levels.to_vec()));
    let attack = (
        proposals(),
        prop::bool::weighted(0.3),
        grant,
        any::<Index>(),
    );
    let attack = attack.prop_map(|(proposal, by_puppet, grant, place)| Attack {
        proposal,
        by_puppet,
        grant,
        place,
    });
    vec(attack, 1..24)
}

impl Attack {
    /// The entry on an old branch, or on top of an attack before.
    fn to_entry(&self, world: &World, key: PublicKey) -> Entry {
        let mut entry = self.proposal.to_entry(world);
        if self.by_puppet {
            entry.parents = vec![self.place.index(world.entries().len())];
        }
        let grant = self
            .grant
            .map(|level| AuthOperation::set(puppet(), level, ""));
        entry.operations.extend(grant);
        Entry {
            author: if self.by_puppet { puppet() } else { key },
            changes_reserved: entry.changes_reserved || !entry.operations.is_empty(),
            ..entry
        }
    }
}

fn reduces_itself(world: &World, key: PublicKey) -> bool {
    let mut own = world.entries().iter().filter(|entry| entry.author == key);
    own.any(|entry| entry.operations.iter().any(|o| is_on(o, key)))
}

/// The levels that operations of a world give a key.
fn given(world: &World, key: PublicKey) -> Vec<Level> {
    let operations = world.entries().iter().flat_map(|entry| &entry.operations);
    let given = operations.filter(|o| is_on(o, key));
    given
        .map(|o| match o {
            AuthOperation::SetPermission { level, .. } => *level,
            _ => Level::None,
        })
        .collect()
}

/// Whether a key was removed for good by somebody whose own standing nobody raced for: an admin
/// who in all of the database is stronger than the key was anywhere. The races that DESIGN states
/// are those that this leaves out: a remover who is elsewhere made senior or demoted, and keys
/// that lowered themselves.
fn is_removed(world: &World, key: PublicKey) -> bool {
    let (all, void) = (world.all(), world.void(world.all()));
    let removals = (0..world.entries().len()).filter(|n| world.accepted(all) >> n & 1 == 1);
    let mut final_removals = removals.filter(|n| {
        let entry = &world.entries()[*n];
        let last = entry.operations.iter().rfind(|o| is_on(o, key));
        let Some(AuthOperation::SetPermission { level, .. }) = last else {
            return false;
        };
        let held = world.authority(world.past(*n), Subject::Key(key));
        let is_last = !(0..world.entries().len()).any(|later| {
            let counts = world.past(later) >> n & 1 == 1 && void >> later & 1 == 0;
            counts
                && world.entries()[later]
                    .operations
                    .iter()
                    .any(|o| is_on(o, key))
        });
        *level < held && *level < Level::Write && is_last && outranks(world, entry.author, key)
    });
    !reduces_itself(world, key) && final_removals.next().is_some()
}

fn outranks(world: &World, admin: PublicKey, key: PublicKey) -> bool {
    if admin == key || reduces_itself(world, admin) {
        return false;
    }
    let is_root = admin == keys()[0];
    let weakest = given(world, admin).into_iter().min();
    let weakest = match is_root {
        // Nobody is senior to the author of the root, so that nobody changes it.
        true => return true,
        false => weakest.unwrap_or_default(),
    };
    weakest.is_admin() && given(world, key).into_iter().all(|level| level < weakest)
}

fn a_removed_key_changes_nothing(world: &World, attacks: Vec<Attack>) -> Verdict {
    for key in keys().iter().filter(|key| is_removed(world, **key)) {
        let mut attacked = world.clone();
        let mut added = 0_u64;
        for attack in &attacks {
            if attacked.entries().len() == 40 {
                break;
            }
            let number = attacked.push(attack.to_entry(&attacked, *key));
            match attacked.allowed(number) {
                true => added |= 1 << number,
                false => drop(attacked.pop()),
            }
        }
        let (before, after) = (world.all(), attacked.all());
        prop_assert_eq!(
            levels(world, before),
            levels(&attacked, after),
            "{:?}",
            attacked
        );
        let void = attacked.void(after) & !added;
        prop_assert_eq!(void, world.void(before), "{:?}", attacked);
    }
    Ok(())
}

#[test]
fn no_entry_that_a_removed_key_adds_on_an_old_branch_changes_authority_or_voids_others() {
    hold(3000, a_removed_key_changes_nothing, attacks());
}

#[test]
fn control_a_removed_key_would_go_on_as_it_likes_if_removals_did_not_reach_sideways() {
    break_without(LeftOut::Sideways, a_removed_key_changes_nothing, attacks());
}

#[test]
fn control_a_removed_admin_could_remove_in_turn_if_seniority_did_not_order_removals() {
    break_without(LeftOut::Seniority, a_removed_key_changes_nothing, attacks());
}

/// How many attacks the property above sees, so that it cannot pass for want of any.
#[test]
fn removed_keys_are_frequent_and_their_attacks_valid() {
    let count = std::cell::Cell::new((0, 0));
    hold(
        300,
        |world, attacks| {
            let (mut keys_removed, mut valid) = count.get();
            for key in keys().iter().filter(|key| is_removed(world, **key)) {
                keys_removed += 1;
                let mut world = world.clone();
                let attacks = attacks.iter().map(|a| a.to_entry(&world, *key));
                let attacks: Vec<_> = attacks.collect();
                valid += attacks
                    .into_iter()
                    .filter(|a| world.would_allow(a.clone()))
                    .count();
            }
            count.set((keys_removed, valid));
            Ok(())
        },
        attacks(),
    );
    let (keys_removed, valid) = count.get();
    assert!(keys_removed > 50 && valid > 50, "{:?}", count.get());
}
