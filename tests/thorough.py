"""Tests that repeat for one more release, task, dtype or optimizer what another test shows: left to `make test-all`.

Each line is a part of a test's node id, as pytest prints it.
"""

from __future__ import annotations

REPEATS = (
    *(f"test_every_bit_is_as_it_was[forward-float32-{name}]" for name in ("AdamW", "MuSGD")),
    *(f"test_every_bit_is_as_it_was[forward-float16-{name}]" for name in ("SGD", "MuSGD")),
    *(f"test_every_bit_is_as_it_was[forward-bfloat16-{name}]" for name in ("SGD", "AdamW")),
    *(f"test_every_bit_is_as_it_was[backward-float32-{name}]" for name in ("SGD", "MuSGD")),
    *(f"test_every_bit_is_as_it_was[backward-bfloat16-{name}]" for name in ("AdamW", "MuSGD")),
    *(f"test_one_nan_pixel_in_the_first_epoch[{name}]" for name in ("segment-no-scaler", "obb-no-scaler")),
    "test_one_nan_pixel_in_the_first_epoch[pose-scaler]",
    *(f"test_healthy_runs_are_bit_identical_to_stock[{name}-scaler]" for name in ("detect", "pose")),
    *(f"test_healthy_runs_are_bit_identical_to_stock[{name}-no-scaler]" for name in ("segment", "obb")),
    *(f"test_dropping_leaves_every_bit_of_state_as_it_was[no-scaler-{name}]" for name in ("AdamW", "MuSGD")),
    *(f"test_dropping_leaves_every_bit_of_state_as_it_was[scaler-{name}]" for name in ("SGD", "MuSGD")),
    *(f"test_a_healthy_training_is_bit_identical[{name}]" for name in ("segment", "classify")),
    *(f"test_old_releases_fail_and_are_cured_too[{name}" for name in ("8.0.60-", "8.1.47-")),
    "test_stock_raises_a_size_mismatch_and_ours_trains_through[True]",
    "test_the_users_own_rect_is_respected_with_a_notice[off]",
    "test_the_surest_query_is_matched_in_ours_and_not_in_stock[8.0.136-",
    "test_the_surest_query_is_matched_in_ours_and_not_in_stock[8.3.253-",
    "test_a_wide_channel_stays_finite_in_the_ema[8.1.47]",
    "test_the_sum_over_classes_is_inf_in_stock_and_that_of_float32_in_ours[8.0.191]",
    "test_older_releases_write_nan_or_nothing_and_ours_writes_what_is_healthy[8.3.0-",
    "test_older_releases_strip_in_one_step_too[8.0.136]",
    "test_the_suggestion_trains_better_than_a_hundredth_of_it_and_a_hundredfold_ruins_the_run[AdamW-",
    "test_a_fault_on_one_rank_drops_the_same_micro_batch_on_both[each a step]",
    "test_both_ddp_workers_train_under_the_patches_of_the_process_that_starts_them[text file]",
    "test_run_brings_a_command_under_patches[options1]",
    "test_train_keeps_its_log_off_stdout[--quiet]",
    "test_the_install_step_installs_the_actions_own_source",
    "test_a_tracker_that_raises_is_left_out_said_once_and_counted",
    "test_the_rows_take_no_read_of_their_own[scaler]",
    "test_the_rows_of_a_healthy_run_are_stock_s_own_numbers[True-4]",
    "test_a_bad_micro_batch_shows_and_its_event_names_step_and_incident[scaler]",
    "test_label_rows_belong_to_their_image[2]",
    *(f"test_state_that_is_poisoned_in_the_run_is_put_back[{name}]" for name in ("batchnorm", "ema")),
    *(f"test_one_nan_pixel_in_the_first_epoch[{name}]" for name in ("pose-no-scaler", "obb-scaler")),
    "test_a_healthy_training_is_bit_identical[pose]",
    "test_a_rollback_restores_every_bit_in_place[MuSGD-False]",
    "test_musgd_sweeps_all_its_groups",
    "test_no_host_read_is_added_to_a_healthy_step[False-16]",
)
