//! Owns the proof of the conformance suite: for every case an engine whose one flaw fails that
//! case and no other. What a right engine does is in the suite.

mod in_file;
mod in_memory;

use eidetica_testkit::store::{BackendFixture, failing_cases};

use self::{
    in_file::{FileFlaw, FlawedFile},
    in_memory::{Flaw, FlawedMemory},
};

/// Fails unless exactly this case fails, and names its clause.
#[track_caller]
fn assert_fails_alone(case: &str, test: &'static str, fixture: impl Fn() -> BackendFixture) {
    let failing = failing_cases(test, fixture);
    let names: Vec<_> = failing.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, [case], "{failing:?}");
    let clause = case.split('_').next().unwrap_or_default().to_uppercase();
    let said = &failing[0].1;
    assert!(said.contains(&format!("{clause}: ")), "{said}");
}

macro_rules! mutants {
    ($($test:ident: $case:ident, $fixture:expr;)+) => {
        $(
            #[test]
            fn $test() {
                let test = concat!(module_path!(), "::", stringify!($test));
                assert_fails_alone(stringify!($case), test, || $fixture);
            }
        )+
    };
}

mutants! {
    a_range_removal_that_reaches_into_snapshots:
        b1_a_snapshot_shows_one_state, FlawedMemory::fixture(Flaw::RangesReachBack);
    a_read_that_lags_behind_a_commit:
        b2_a_commit_is_in_every_later_snapshot, FlawedMemory::fixture(Flaw::StaleRead);
    two_files_of_which_one_is_not_rolled_back:
        b3_a_refused_batch_applies_nothing, FlawedMemory::fixture(Flaw::TwoFiles);
    a_batch_that_reaches_the_file_in_pieces:
        b3_a_killed_process_leaves_batches_whole, FlawedFile::fixture(FileFlaw::InPieces);
    a_conflict_that_names_one_key_of_several:
        b4_a_failed_precondition_changes_nothing_and_names_every_key,
        FlawedMemory::fixture(Flaw::OneKeyNamed);
    range_removals_before_all_other_writes:
        b5_writes_take_effect_in_the_order_given, FlawedMemory::fixture(Flaw::RangesFirst);
    a_flush_that_writes_nothing:
        b6_acknowledged_commits_are_there_after_reopening,
        FlawedFile::fixture(FileFlaw::IdleFlush);
    commits_that_are_acknowledged_before_they_are_durable:
        b6_acknowledged_commits_survive_a_killed_process,
        FlawedFile::fixture(FileFlaw::AllDeferred);
    more_where_a_scan_ended_at_its_limit:
        b7_a_scan_keeps_order_range_and_limits, FlawedMemory::fixture(Flaw::MoreAtLimit);
    two_spaces_run_together:
        b8_keys_and_values_are_any_bytes_and_spaces_are_apart,
        FlawedMemory::fixture(Flaw::SharedSpace);
    a_large_value_that_is_refused_unclearly:
        b9_what_is_over_a_limit_changes_nothing, FlawedMemory::fixture(Flaw::UnclearRefusal);
    values_in_the_order_of_the_engine:
        b10_values_come_in_the_order_of_their_keys, FlawedMemory::fixture(Flaw::SortedAnswers);
    preconditions_checked_apart_from_the_writes:
        b11_commits_and_snapshots_run_side_by_side, FlawedMemory::fixture(Flaw::CheckedApart);
    data_that_opens_twice:
        b12_open_data_does_not_open_again_unless_shared,
        FlawedFile::fixture(FileFlaw::OpensTwice);
    a_waiter_that_hears_nothing:
        b13_who_waits_for_a_key_is_told_of_its_write, FlawedMemory::fixture(Flaw::Deaf);
}
