"""Slow tests that ``.ci/run`` runs, too: for each guarantee and platform, the shortest that covers it.

All other slow tests run at night (``make test-all``). An entry is the beginning of test ids.
"""

# ruff: noqa: E501 - ids are as long as they are

CI_TESTS = (
    # All slow unit tests, which take seconds.
    "tests/unit/",
    # Guarantees: drivers, servers, disks and waits that fail.
    "tests/faults/test_credentials.py",
    "tests/faults/test_disk_faults.py::test_8_full_disk",
    "tests/faults/test_interrupted_wait.py::test_ctrl_c_at_any_moment_breaks_nothing",
    "tests/faults/test_killed_after_evaluate.py::test_metric_of_a_killed_driver_is_recovered[False]",
    "tests/faults/test_killed_and_resumed.py::test_killed_search_is_resumed",
    "tests/faults/test_killed_drivers.py::test_1_",
    "tests/faults/test_killed_drivers.py::test_10_next_autolog",
    "tests/faults/test_killed_drivers.py::test_12_",
    "tests/faults/test_server_faults.py::test_3_",
    "tests/faults/test_server_faults.py::test_5_every_third_connection_cut_before_the_answer[server]",
    "tests/faults/test_server_faults.py::test_6_401",
    "tests/faults/test_server_faults.py::test_child_run_takes_three_requests[True]",
    # Platforms.
    "tests/integration/test_cluster.py::test_search_by_spark_submit",
    "tests/integration/test_connect.py::test_full_and_thin_client",
    "tests/integration/test_connect_nested_fits.py",
    "tests/integration/test_deploy.py::test_kubernetes_file",
    "tests/integration/test_deploy.py::test_fabric_file",
    "tests/integration/test_deploy.py::test_page_names",
    "tests/integration/test_mlflow_autolog_on_connect.py::test_notebook_on_connect_records_its_search[arguments0]",
    "tests/integration/test_notebook_extension.py",
    "tests/integration/test_postgres_and_s3.py",
    "tests/integration/test_third_party_estimators.py::test_xgboost[2]",
    "tests/integration/test_trackmllib_run.py::test_commands_in_the_docs_record_the_search[trackmllib run -- spark",
    "tests/integration/browser/test_report_in_frame.py",
    # Equal results.
    "tests/spark/test_nested_fits.py::test_results_equal_stock_spark[DecisionTreeClassifier",
    "tests/spark/test_nested_fits.py::test_results_equal_stock_spark[PCA-True]",
    "tests/spark/test_nested_rules.py::test_derived",
    "tests/spark/test_random_searches.py::test_results_equal_stock_spark_to_the_last_bit[0]",
    "tests/spark/test_random_searches.py::test_results_equal_stock_spark_to_the_last_bit[1]",
    "tests/spark/test_reuse_stages_loops.py::test_second_loop_on_another_grid_has_its_own_scores[2]",
    "tests/spark/test_score_keys.py::test_weakened_keys_are_detected[code_version]",
    "tests/spark/test_score_keys.py::test_weakened_keys_are_detected[loops]",
    "tests/spark/test_spark_unchanged.py",
    # The record.
    "tests/spark/test_docs.py",
    "tests/spark/test_further_metrics.py::test_faster_searches_have_the_same_metrics[options1]",
    "tests/spark/test_logged_models.py::test_fold_models_are_ranked_by_the_averages",
    "tests/spark/test_mlflow_unchanged.py",
    "tests/spark/test_model_logging.py::test_best_model_is_registered[sqlite]",
    "tests/spark/test_searches_of_mlflow_autolog.py",
)
