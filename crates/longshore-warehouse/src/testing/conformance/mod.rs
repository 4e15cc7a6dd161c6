//! The promises of this boundary as cases that every driver runs, unchanged.
//!
//! A driver lends a [`Bench`], one to each case, and writes
//! `longshore_warehouse::conformance_tests!(my_bench);` in its tests, where `my_bench` is a function
//! without arguments that returns one: that makes a test of each case. What only some engines can
//! do (enforce a constraint, swallow rows) the bench says, and a case that cannot be played there
//! says so by returning early.

mod bench;
pub mod constraints;
pub mod ledger;
pub mod modes;
pub mod once;
pub mod rivals;
pub mod values;

pub use bench::*;

/// Hands the names of all cases to a macro.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_conformance_case {
    ($callback:path, $bench:path) => {
        $callback! {
            $bench;
            once: [
                an_object_is_in_once,
                a_group_is_in_once_and_together,
                nothing_is_seen_before_commit,
                a_rollback_leaves_nothing,
                a_dropped_load_leaves_nothing_and_lets_the_next_one_in,
                a_group_with_one_object_that_is_in_is_refused_whole,
                another_generation_loads_again,
                a_load_without_rows_is_recorded,
                objects_without_rows_are_recorded_with_their_kind,
                a_load_without_columns_writes_its_entry,
                a_tally_that_does_not_fit_rolls_back,
                rows_that_the_warehouse_swallows_roll_back,
                many_batches_and_objects_arrive_whole,
            ],
            modes: [
                append_adds_every_row,
                upsert_replaces_by_key_and_adds_the_rest,
                upsert_takes_the_last_row_of_a_key,
                upsert_takes_the_last_row_across_objects,
                upsert_by_a_composite_key,
                upsert_keeps_columns_that_the_object_lacks,
                upsert_fills_defaults_of_new_rows,
                upsert_of_nothing_but_keys_counts_all_rows,
                upsert_changes_every_row_of_a_doubled_key,
                order_by_decides_within_a_load,
                order_by_guards_against_the_target,
                order_by_holds_null_for_oldest,
                a_null_in_a_key_is_refused_by_line,
                replace_is_the_whole_table,
                replace_supersedes_older_objects_in_its_transaction,
                replace_with_no_rows_empties_the_table,
                an_object_that_only_superseded_itself_leaves_the_table_alone,
                a_generated_column_cannot_be_loaded,
                a_column_that_needs_a_value_cannot_be_left_out,
            ],
            values: [
                every_type_keeps_its_extremes,
                decimals_keep_every_digit,
                texts_keep_every_character,
                odd_names_are_quoted,
                names_compare_as_the_warehouse_compares_them,
                the_text_route_reads_what_it_can_and_refuses_the_rest,
                a_key_on_the_text_route_or_of_any_type_merges,
                a_proposed_table_is_described_as_proposed,
                a_text_that_begins_with_a_byte_order_mark_keeps_it,
                a_column_that_got_another_type_since_the_rows_were_read_takes_none_of_them,
            ],
            ledger: [
                an_entry_reads_back_as_it_was_written,
                lookup_knows_entries_hashes_and_latest,
                lookup_of_an_unused_warehouse_is_empty,
                pages_walk_the_ledger_even_through_ties,
                the_counts_of_an_upsert_add_up,
                check_finds_what_is_missing,
                sweep_leaves_committed_loads_alone,
            ],
            rivals: [
                two_loads_of_one_object_are_in_once,
                a_staged_load_finds_its_rival_at_commit,
                two_loads_of_one_table_take_turns,
                loads_of_many_tables_run_at_once,
                a_zombie_cannot_put_an_older_object_over_a_newer_one,
                order_by_lets_a_late_object_in,
            ],
            constraints: [
                a_missing_table_is_named_with_its_nearest,
                a_missing_column_is_named_with_its_nearest,
                a_null_where_none_is_taken_is_refused_by_line,
                a_check_constraint_names_object_and_line,
                a_primary_key_names_object_and_line,
                a_primary_key_takes_an_upsert,
                a_primary_key_takes_a_replace,
                a_foreign_key_names_object_and_line,
                a_table_that_others_point_at_takes_an_upsert,
                after_a_refusal_the_table_is_free_and_unchanged,
            ],
        }
    };
}

/// A test for each case, each with a bench of its own from the function that is named.
#[macro_export]
macro_rules! conformance_tests {
    ($bench:path) => {
        $crate::for_each_conformance_case!($crate::conformance_test_functions, $bench);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! conformance_test_functions {
    ($bench:path; $($room:ident: [$($case:ident,)*],)*) => {
        $(
            mod $room {
                $(
                    #[test]
                    fn $case() {
                        // The bench outlives the runtime's tasks, so that a server is stopped last.
                        let bench = $bench();
                        $crate::testing::conformance::block_on(
                            $crate::testing::conformance::$room::$case(&bench),
                        );
                    }
                )*
            }
        )*
    };
}

macro_rules! all_cases {
    ($bench:path; $($room:ident: [$($case:ident,)*],)*) => {
        /// Runs all cases, each with a fresh bench. For drivers without a test per case.
        pub async fn run_all<B: Bench>(fresh: impl Fn() -> B) {
            $($(
                {
                    let bench = fresh();
                    $room::$case(&bench).await;
                }
            )*)*
        }
    };
}

for_each_conformance_case!(all_cases, unused);

/// Runs a case on a runtime of its own.
#[doc(hidden)]
pub fn block_on<F: Future>(case: F) -> F::Output {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime for a test")
        .block_on(case)
}
