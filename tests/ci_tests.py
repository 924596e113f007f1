"""Slow tests that ``.ci/run`` runs, too: for each guarantee and platform, the shortest that covers it.

All other slow tests run at night (``make test-all``). An entry is the beginning of test ids.
"""

# ruff: noqa: E501 - ids are as long as they are

CI_TESTS = (
    # Drivers, servers, disks and waits that fail.
    "tests/faults/test_disk_faults.py::test_8_full_disk",
    "tests/faults/test_interrupted_wait.py::test_ctrl_c_at_any_moment_breaks_nothing",
    "tests/faults/test_killed_drivers.py::test_1_",
    "tests/faults/test_killed_drivers.py::test_10_next_autolog",
    "tests/faults/test_killed_drivers.py::test_12_",
    "tests/faults/test_server_faults.py::test_5_every_third_connection_cut_before_the_answer[server]",
    "tests/faults/test_server_faults.py::test_child_run_takes_three_requests[True]",
    "tests/unit/tracking/test_exactly_once.py",
    # Platforms.
    "tests/integration/browser/test_report_in_frame.py",
    "tests/integration/test_cluster.py::test_search_by_spark_submit",
    "tests/integration/test_connect.py::test_full_and_thin_client",
    "tests/integration/test_deploy.py::test_fabric_file",
    "tests/integration/test_deploy.py::test_kubernetes_file",
    "tests/integration/test_deploy.py::test_page_names",
    "tests/integration/test_notebook_extension.py",
    "tests/integration/test_postgres_and_s3.py",
    "tests/integration/test_trackmllib_run.py::test_commands_in_the_docs_record_the_search[trackmllib run -- spark",
    "tests/unit/integrations/test_process_startup.py",
    # Equal results.
    "tests/spark/test_nested_fits.py::test_results_equal_stock_spark[DecisionTreeRegressor-True]",
    "tests/spark/test_nested_rules.py::test_derived",
    "tests/spark/test_score_keys.py::test_weakened_keys_are_detected[code_version]",
    "tests/spark/test_score_keys.py::test_weakened_keys_are_detected[loops]",
    "tests/spark/test_spark_unchanged.py::test_tracked_search_equals_the_untracked_one[tree_search-2]",
    # The record.
    "tests/spark/test_docs.py::test_tables",
    "tests/spark/test_logged_models.py::test_fold_models_are_ranked_by_the_averages_of_their_candidates[sqlite-1]",
    "tests/spark/test_model_logging.py::test_best_model_is_registered[sqlite]",
    "tests/spark/test_searches_of_mlflow_autolog.py::test_notebook",
)
