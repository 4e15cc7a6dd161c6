//! The promises of this boundary as cases that every driver runs, unchanged.
//!
//! A driver lends a [`Bench`], one to each case, and writes
//! `longshore_queue::queue_conformance_tests!(my_bench);` in its tests, where `my_bench` is a function
//! without arguments that returns one: that makes a test of each case.

mod bench;
pub mod crowd;
pub mod enqueue;
pub mod lease;
pub mod operator;
pub mod pause;
pub mod schedule;
pub mod worker;

pub use bench::{Bench, LEASE, Stage, block_on, key_of, object, one, pause};

/// A test for each case, each with a bench of its own from the function that is named.
#[macro_export]
macro_rules! queue_conformance_tests {
    ($bench:path) => {
        $crate::queue_conformance_test_functions! {
            $bench;
            enqueue: [
                an_object_is_in_one_open_task_of_its_table,
                one_identity_may_be_open_in_two_tables,
                an_object_that_comes_twice_in_one_call_is_taken_once,
                a_task_without_objects_is_left_out,
                the_objects_of_a_completed_task_may_come_again,
                are_open_tells_of_each_identity,
                withdrawn_tasks_make_room_for_new_ones,
                a_task_that_has_begun_is_not_withdrawn,
                what_was_queued_reads_back,
                a_task_made_anew_is_as_old_as_its_oldest_object,
                odd_names_and_extreme_numbers_read_back,
            ],
            lease: [
                the_most_urgent_comes_first,
                ties_of_position_go_by_key_then_id,
                one_task_of_a_table_runs_at_a_time,
                an_ordered_task_waits_behind_an_older_one_that_is_retried,
                an_unordered_task_goes_past_an_older_one_that_is_retried,
                an_ordered_task_waits_whatever_its_priority,
                closed_tasks_hold_nobody_back,
                a_delayed_task_becomes_due,
                a_retryable_task_becomes_due_and_keeps_its_error,
                only_the_tasks_asked_for_are_leased,
                only_keeps_to_the_rules,
                a_limit_of_none_leases_nothing,
                a_finished_task_is_done_and_its_token_void,
                a_returned_task_has_lost_no_attempt,
                an_attempt_counts_when_it_begins,
                tasks_show_who_has_them_and_how_far_they_are,
            ],
            worker: [
                a_worker_is_listed_until_it_departs,
                a_departing_worker_leaves_its_tasks_without_a_death,
                a_worker_that_departed_is_given_nothing,
                a_renewed_lease_is_kept,
                a_lease_that_ran_out_goes_away,
                the_token_of_a_lost_lease_is_refused,
                a_handle_that_goes_takes_its_workers_with_it,
                a_sweep_leaves_living_workers_alone,
                the_fifth_death_discards_and_pauses,
                a_discarded_task_is_named_by_its_oldest_object,
                retry_brings_a_discarded_task_back_and_ends_its_pause,
                forgetting_a_discarded_task_ends_its_pause,
            ],
            operator: [
                a_waiting_task_is_cancelled_at_once,
                a_running_task_is_cancelled_when_its_worker_hears_of_it,
                cancelling_outlasts_the_end_of_the_lease,
                cancelling_outlasts_the_death_of_the_worker,
                a_task_that_is_completed_first_is_not_cancelled,
                the_objects_of_a_cancelled_task_do_not_come_again,
                retry_brings_cancelled_tasks_back_as_new,
                which_picks_by_id_key_pipeline_or_all,
                forget_removes_only_what_is_cancelled_or_discarded,
                purge_counts_and_then_removes_what_waits,
                prune_removes_old_completed_tasks_only,
                counts_tell_tasks_and_objects_by_state,
                tasks_are_listed_by_urgency_up_to_a_limit,
                tasks_are_found_by_the_keys_of_their_objects,
                work_is_told_by_its_age,
                waiting_tasks_are_listed_by_age,
            ],
            pause: [
                a_paused_pipeline_gives_no_tasks,
                a_pause_over_some_objects_lets_the_others_go_on,
                a_task_that_ends_with_a_pause_waits_in_it,
                since_is_kept_while_kind_and_error_stay,
                a_fault_replaces_neither_operator_nor_discarded,
                only_an_operator_replaces_an_operator,
                the_end_of_an_operators_pause_uncovers_a_discarded_task,
                resume_ends_only_the_kinds_that_are_named,
                the_probe_is_the_most_urgent_and_runs_once,
                a_completed_probe_ends_the_pause,
                a_failed_probe_leaves_the_pause,
                any_completed_task_ends_a_fault,
                a_probe_runs_before_it_is_due,
                a_probe_stays_in_order,
                a_probe_held_back_by_another_pipeline_waits,
                a_probe_is_for_faults_only,
                a_probe_does_not_outlast_its_pause,
            ],
            schedule: [
                two_workers_make_one_tick,
                a_schedule_is_due_at_its_first_time,
                a_missed_tick_comes_once_and_late,
                a_busy_schedule_does_not_tick,
                a_worker_that_could_not_end_its_tick_takes_the_schedule_again,
                a_renewed_tick_is_kept,
                a_tick_that_was_not_renewed_is_lost,
                a_dead_worker_frees_its_schedules,
                a_departing_worker_frees_its_schedules,
                a_changed_rule_starts_anew,
                a_rule_that_changes_during_a_tick_decides_the_next,
                schedules_tell_how_the_last_tick_went,
                other_schedules_are_forgotten,
            ],
            crowd: [
                five_thousand_tasks_come_in_at_once,
                a_long_queue_of_one_table_starves_no_other,
                many_workers_complete_each_task_once,
                many_enqueue_the_same_objects,
                random_operations_keep_the_rules,
            ],
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! queue_conformance_test_functions {
    ($bench:path; $($room:ident: [$($case:ident,)*],)*) => {
        $(
            mod $room {
                $(
                    #[test]
                    fn $case() {
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
