"""Slow tests that ``.ci/run`` runs, too: for each guarantee and most platforms, a short one.

All other slow tests run at night (``make test-all``). An entry is the beginning of test ids.
"""

# ruff: noqa: E501 - ids are as long as they are

CI_TESTS = (
    # Drivers, servers, disks and waits that fail.
    "tests/faults/test_killed_drivers.py::test_1_",
    "tests/faults/test_partial_outages.py::test_429_for_one",
    "tests/faults/test_server_faults.py::test_child_run_takes_three_requests[True]",
    "tests/spark/test_on_error.py",
    "tests/spark/test_stop.py::test_stop_of_an_ended_search_in_a_running_run_exits_1",
    "tests/spark/test_stop.py::test_stop_of_a_run_stops_all_searches_in_it[by_tag]",
    "tests/spark/test_stop.py::test_stop_starts_no_fit_and_keeps_the_scores[by_tag-3]",
    "tests/spark/test_stop.py::test_tag_set_between_searches_stops_none",
    "tests/unit/outbox/test_unusable_directory.py::test_autolog_warns_once_and_records_in_memory[prefix0",
    "tests/unit/outbox/test_unusable_directory.py::test_file_instead_of_directory_is_reported[home-verb1]",
    "tests/unit/outbox/test_without_locks.py::test_foreign",
    "tests/unit/recorder/test_child_selection.py::test_recovered_search_has_the_runs_of_its_best[4]",
    "tests/unit/tracking/test_exactly_once.py",
    # Platforms.
    "tests/integration/browser/test_report_in_frame.py",
    "tests/integration/test_connect.py::test_full_and_thin_client",
    "tests/integration/test_deploy.py::test_fabric_file",
    "tests/integration/test_deploy.py::test_kubernetes_file",
    "tests/integration/test_deploy.py::test_page_names",
    "tests/integration/test_notebook_extension.py",
    "tests/integration/test_trackmllib_run.py::test_commands_in_the_docs_record_the_search[trackmllib run -- spark",
    "tests/spark/test_incompatible_pyspark.py::test_autolog_needs_no_private_name",
    "tests/spark/test_mlflow_autolog.py::test_search_is_recorded_once[2-",
    "tests/spark/test_mlflow_superset.py::test_plain_call",
    "tests/spark/test_searches_of_mlflow_autolog.py::test_search_is_recorded_once",
    "tests/unit/integrations/test_mlflow_plugin.py::test_arguments_apply",
    "tests/unit/integrations/test_process_startup.py",
    "tests/unit/test_dependencies.py::test_autolog_needs_no_package",
    # Equal results.
    "tests/spark/test_nested_fits.py::test_results_equal_stock_spark[DecisionTreeRegressor-True]",
    "tests/spark/test_nested_rules.py::test_derived_models_equal_separate_fits[IDF",
    "tests/spark/test_nested_rules.py::test_derived_models_equal_separate_fits[RandomForestRegressor",
    "tests/spark/test_odd_tuners.py",
    "tests/spark/test_reuse_stages.py::test_shared_stages_are_computed_once_per_fold[3]",
    "tests/integration/test_installed_package.py::test_package_installed_from_a_file_is_user_code[folder]",
    "tests/integration/test_installed_package.py::test_package_of_an_index_is_compared_by_its_files",
    "tests/spark/test_score_keys.py::test_weakened_keys_are_detected[code_version]",
    "tests/spark/test_report_of_options.py",
    "tests/spark/test_spark_unchanged.py::test_tracked_search_equals_the_untracked_one[regression_search-1]",
    "tests/spark/test_spark_unchanged.py::test_tracked_search_equals_the_untracked_one[tree_search-2]",
    # The record.
    "tests/spark/test_child_runs.py::test_second_process_sees_half_of_the_search_halfway[sqlite]",
    "tests/spark/test_job_metrics.py::test_fits_have_their_costs",
    "tests/spark/test_logged_models.py::test_fold_models_are_ranked_by_the_averages_of_their_candidates[sqlite-1]",
    "tests/spark/test_post_training_metrics.py::test_metric_of_a_holdout_is_on_the_parent_run[sqlite-None]",
    "tests/unit/reporting/test_indistinct_candidates.py::test_all_outputs_agree",
    "tests/unit/reporting/test_report.py",
    "tests/unit/runtime/test_search_reports.py::test_report_created_at_exit",
    "tests/unit/runtime/test_search_reports.py::test_report_stays_on_disk",
)
