//! Owns the simulated worlds: devices that sync while everything goes wrong that a seed thinks of.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

use eidetica_testkit::sim::{World, WorldFailure};

/// Worlds that CI lets live. `cargo xtask sim` says otherwise by the environment.
const SEEDS: u64 = 500;
/// Worlds that live at the same time.
const THREADS: usize = 2;

fn told(name: &str, otherwise: u64) -> u64 {
    let told = std::env::var(name).ok();
    told.map_or(otherwise, |told| told.parse().expect("a number"))
}

/// The failure of the lowest seed that fails, of those that were tried by then.
fn first_failure(
    seeds: std::ops::Range<u64>,
    world: impl Fn(u64) -> World + Sync,
) -> Option<WorldFailure> {
    let next = AtomicU64::new(seeds.start);
    let try_next = || loop {
        let seed = next.fetch_add(1, Relaxed);
        if seed >= seeds.end {
            return None;
        }
        if let Err(failure) = world(seed).run() {
            // Nobody begins another.
            next.store(seeds.end, Relaxed);
            return Some(failure);
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(try_next)).collect();
        let found = threads
            .into_iter()
            .filter_map(|thread| thread.join().unwrap());
        found.min_by_key(|failure| failure.seed)
    })
}

#[test]
fn devices_come_to_agree_whatever_happens() {
    let first = told("EIDETICA_SIM_FIRST", 0);
    let count = told("EIDETICA_SIM_SEEDS", SEEDS);
    if let Some(failure) = first_failure(first..first + count, World::new) {
        if count == 1 {
            // Whoever asks for one world wants to see all of it.
            failure.log.iter().for_each(|line| eprintln!("{line}"));
        }
        panic!("{failure}");
    }
}

#[test]
fn one_seed_gives_one_world() {
    for seed in 0..8 {
        let (one, other) = (World::new(seed).run(), World::new(seed).run());
        let (one, other) = (one.unwrap(), other.unwrap());
        assert!(one.entries > 0 && one.log.len() > 100);
        let mut both = one.log.iter().zip(&other.log);
        let differs = both.find(|(line, again)| line != again);
        assert_eq!(differs, None, "world {seed} differs from itself");
        assert_eq!(one, other);
    }
}

/// Feature `mutants`: sync with a flaw, which must be found.
#[cfg(feature = "mutants")]
mod mutants {
    use eidetica_sync::{Mutant, SyncConfig};

    use super::*;

    /// Worlds in which a flaw must show.
    const SEEDS: u64 = 200;

    fn is_found(mutant: Mutant) -> String {
        let flawed = |seed| World::new(seed).with_config(SyncConfig::new().with_mutant(mutant));
        let failure = first_failure(0..SEEDS, flawed);
        let failure = failure.unwrap_or_else(|| panic!("{mutant:?} is not found"));
        failure.what
    }

    #[test]
    fn sync_that_skips_a_mark_is_found() {
        let what = is_found(Mutant::SkipsAMark);
        assert!(what.contains("has a cursor beyond what it lacks"), "{what}");
    }

    #[test]
    fn sync_that_advances_a_cursor_before_the_commit_is_found() {
        let what = is_found(Mutant::AdvancesBeforeTheCommit);
        assert!(what.contains("has a cursor beyond what it lacks"), "{what}");
    }

    #[test]
    fn sync_that_echoes_is_found() {
        let what = is_found(Mutant::Echoes);
        assert!(what.contains("cross links more than once"), "{what}");
    }

    #[test]
    fn sync_that_sends_what_is_not_durable_is_found() {
        let what = is_found(Mutant::SendsBeforeDurable);
        assert!(what.contains("gave away what it could lose"), "{what}");
    }
}
