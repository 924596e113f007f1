"""``mlflow.autolog()`` switches recording on, by a plugin that ``import mlflow`` loads."""

from __future__ import annotations

import json
import statistics
import sys
import textwrap
from importlib.metadata import entry_points

import pytest

from support.commands import environ, finished
from trackmllib.cli.run import STARTUP_FOLDER
from trackmllib.integrations.mlflow_autolog import options

pytestmark = pytest.mark.versions

# Runs calls of MLflow and trackmllib, and prints what applies to searches after each of them: the
# options that are not trackmllib's defaults.
PROGRAM = """
import json, sys
from importlib import import_module
import mlflow, trackmllib

def state():
    session = import_module("trackmllib.api.autolog")._session
    if session is None or not session.is_running:
        return None
    options = type(session.settings).model_fields
    return {
        name: getattr(session.settings, name)
        for name in options.keys() - {"strict", "from_mlflow", "given", "report"}
        if getattr(session.settings, name) != options[name].default
    }

for function, arguments in json.loads(sys.argv[1]):
    if function == "import":
        import_module(*arguments)
    else:
        owner, _, name = function.rpartition(".")
        getattr(import_module(owner), name)(**arguments)
    print(json.dumps(state()))
"""

# For MLflow's defaults.
DEFAULTS = {"log_models": "best", "log_datasets": True}
ON = ["mlflow.autolog", {}]
OFF = ["mlflow.autolog", {"disable": True}]
TUNERS = ["import", ["pyspark.ml.tuning"]]
LINE = "trackmllib: mlflow.autolog() is on, so trackmllib records the searches of "


def run(code: str, *arguments: str, folders=(), **variables):
    return finished(
        [sys.executable, "-c", textwrap.dedent(code), *arguments], environ(*folders, **variables)
    )


def states(*calls, folders=(), **variables) -> tuple[list, str]:
    """What applies after each call, and the errors printed."""
    done = run(PROGRAM, json.dumps(calls), folders=folders, **variables)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def flavor(**arguments) -> list:
    return ["mlflow.pyspark.ml.autolog", arguments]


def test_plugin_is_installed_and_adds_no_tags():
    (plugin,) = entry_points(group="mlflow.run_context_provider", name="trackmllib")
    provider = plugin.load()()
    assert provider.in_context() is False
    assert provider.tags() == {}


@pytest.mark.slow
def test_arguments_apply_to_searches():
    steps = [
        (flavor(), DEFAULTS),
        (flavor(log_models=True), DEFAULTS),
        (flavor(log_models=False), {"log_datasets": True}),
        (ON, {"log_datasets": True}),  # MLflow keeps the call of its own function.
        (flavor(disable=True), None),
        (flavor(), DEFAULTS),
    ]
    found, _ = states(*(call for call, _ in steps))
    assert found == [expected for _, expected in steps]


@pytest.mark.slow
def test_arguments_of_mlflow_autolog_apply_once_pyspark_is_imported():
    given = {"log_models": False, "silent": True, "exclusive": True}
    expected = {"log_datasets": True, "silent": True, "exclusive": True}
    steps = [
        (["mlflow.autolog", given], None),
        (TUNERS, expected),
        (ON, DEFAULTS),
        (["mlflow.autolog", {"log_datasets": False}], {"log_models": "best"}),
        (["mlflow.autolog", {"log_models": True}], DEFAULTS),
        (OFF, None),
        (["mlflow.autolog", {"exclude_flavors": ["pyspark.ml"]}], None),
    ]
    found, printed = states(*(call for call, _ in steps))
    assert found == [expected for _, expected in steps]
    assert printed.count(LINE) == 1
    assert "set TRACKMLLIB_AUTOLOG=0 to prevent this" in printed


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {}),
        ({"log_datasets": False, "silent": True}, {"log_datasets": False, "silent": True}),
        ({"log_input_examples": True}, {"log_input_examples": True}),
        ({"registered_model_name": "m"}, {"registered_model_name": "m"}),
        ({"registered_model_name": "m", "log_models": False}, {"log_models": "none"}),
        (
            {"extra_tags": {"team": "x", "n": 1, "mlflow.note.content": "y"}},
            {"extra_tags": {"team": "x", "n": "1"}},
        ),
        ({"log_post_training_metrics": False, "log_model_allowlist": ["x"]}, {}),
    ],
)
def test_options_for_arguments_of_mlflow(given, expected):
    assert options(given) == {
        "from_mlflow": True,
        "silent": False,
        "exclusive": False,
        "registered_model_name": None,
        "log_input_examples": False,
        "extra_tags": None,
        **DEFAULTS,
        **expected,
    }


@pytest.mark.slow
def test_variables_take_precedence_over_arguments_of_mlflow():
    variables = {"TRACKMLLIB_LOG_MODELS": "none", "TRACKMLLIB_EXCLUSIVE": "true"}
    found, _ = states(TUNERS, ON, flavor(log_models=True, log_datasets=False), **variables)
    assert found[1:] == [{"log_datasets": True, "exclusive": True}, {"exclusive": True}]


WAIT = ["trackmllib.autolog", {"wait": False}]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ([WAIT, TUNERS, ON, OFF], [{"wait": False}] * 4),
        ([TUNERS, ON, WAIT, OFF], [None, DEFAULTS, {"wait": False}, {"wait": False}]),
        ([["trackmllib.autolog", {"disable": True}], TUNERS, ON], [None] * 3),
    ],
    ids=["before", "after", "off"],
)
def test_own_call_takes_precedence(calls, expected):
    found, printed = states(*calls)
    assert found == expected
    assert printed.count(LINE) == (1 if DEFAULTS in expected else 0)


@pytest.mark.slow
def test_disable_keeps_recording_started_by_the_variable():
    given = ["mlflow.autolog", {"log_models": False}]
    found, printed = states(TUNERS, given, OFF, folders=[STARTUP_FOLDER], TRACKMLLIB_AUTOLOG="1")
    assert found == [{}, {"log_datasets": True}, {}]
    assert LINE not in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [
        {"TRACKMLLIB_AUTOLOG": "0"},
        {"TRACKMLLIB_AUTOLOG": "Off"},
        {"PYTHON_WORKER_FACTORY_SECRET": "s"},
    ],
)
def test_nothing_is_recorded_if_switched_off_or_in_a_worker(variables):
    found, printed = states(TUNERS, ON, flavor(), **variables)
    assert found == [None] * 3
    assert "trackmllib" not in printed


@pytest.mark.slow
def test_bad_variable_warns_and_records_nothing():
    variables = {"TRACKMLLIB_AUTOLOG": "perhaps", "TRACKMLLIB_STRICT": "0"}
    found, printed = states(TUNERS, flavor(), **variables)
    assert found == [None] * 2
    assert "TRACKMLLIB_AUTOLOG is 'perhaps', but must be 1, true, yes, on " in printed


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{}, {"TRACKMLLIB_SILENT": "true"}])
def test_silent_prints_nothing(variables):
    found, printed = states(TUNERS, flavor(**({} if variables else {"silent": True})), **variables)
    assert found[-1] == {**DEFAULTS, "silent": True}
    assert "trackmllib" not in printed


@pytest.mark.slow
def test_unsupported_pyspark_is_recorded_unless_mlflow_refuses_it():
    code = f"""
    {PROGRAM.replace(chr(10), chr(10) + "    ")}
    from mlflow.utils.autologging_utils import (
        is_flavor_supported_for_associated_package_versions as supported,
    )
    print(json.dumps(supported("pyspark.ml")))
    """
    calls = [ON, TUNERS, flavor(disable_for_unsupported_versions=True), flavor()]
    done = run(code, json.dumps(calls))
    assert done.returncode == 0, done.stderr
    *found, supported = [json.loads(line) for line in done.stdout.splitlines()]
    assert found == [None, DEFAULTS, DEFAULTS if supported else None, DEFAULTS]


@pytest.mark.slow
def test_error_of_trackmllib_warns_and_mlflow_goes_on():
    code = f"""
    import sys
    {PROGRAM.replace(chr(10), chr(10) + "    ")}
    from mlflow.utils.autologging_utils import autologging_is_disabled
    assert not autologging_is_disabled("pyspark.ml")
    """
    calls = json.dumps([TUNERS, flavor(registered_model_name=7), flavor(extra_tags={"a": "b"})])
    done = run(code, calls, TRACKMLLIB_STRICT="0")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[1]) is None
    (line,) = [line for line in done.stderr.splitlines() if "trackmllib.autolog() failed" in line]
    assert "Searches are not recorded; the training is not affected. TypeError: " in line


@pytest.mark.slow
def test_wrapped_functions_keep_name_and_signature():
    code = """
    import inspect, json, mlflow
    import mlflow.pyspark.ml
    both = (mlflow.autolog, mlflow.pyspark.ml.autolog)
    print(json.dumps([
        [f.__name__, f.__module__, f.__doc__, str(inspect.signature(f)), f.integration_name]
        for f in both
    ]))
    print("trackmllib" in mlflow.pyspark.ml.autolog.__code__.co_filename)
    """
    wrapped, ours = run(code).stdout.splitlines()
    stock, others = run(code, TRACKMLLIB_AUTOLOG="0").stdout.splitlines()
    assert wrapped == stock
    assert (ours, others) == ("True", "False")


# Prints what a program sees of a stub of MLflow, and what trackmllib logs.
STUB_PROGRAM = """
import logging
logging.basicConfig(level=logging.DEBUG, format="%(levelname)s %(message)s")
import mlflow, mlflow.pyspark.ml
print(mlflow.autolog(), mlflow.pyspark.ml.autolog())
"""


@pytest.mark.parametrize(
    ("version", "ml", "reason"),
    [
        ("2.21.3", "", "MLflow 2.21.3 is not supported"),
        ("4.0.0", "", "MLflow 4.0.0 is not supported"),
        ("dev", "", "MLflow dev is not supported"),
        ("3.99.0", "autolog.integration_name = 'other'", "mlflow.pyspark.ml has no autolog()"),
    ],
)
def test_unsupported_mlflow_is_left_unchanged(tmp_path, version, ml, reason):
    flavor = "def autolog(): return 1\nautolog.integration_name = 'pyspark.ml'\n"
    for name, text in {
        "__init__.py": "from mlflow.tracking.context import registry\n"
        "from mlflow.tracking.fluent import autolog\n",
        "version.py": f"VERSION = {version!r}",
        "tracking/__init__.py": "",
        "tracking/context/__init__.py": "",
        "tracking/context/registry.py": "import mlflow.version\n"
        "from trackmllib.integrations.mlflow_plugin import SearchAutologging\n"
        "SearchAutologging()\n",
        "tracking/fluent.py": "def autolog(): return 0\n",
        "pyspark/__init__.py": "",
        "pyspark/ml.py": flavor + ml,
    }.items():
        file = tmp_path / "mlflow" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    done = run(STUB_PROGRAM, folders=[tmp_path])
    assert (done.returncode, done.stdout) == (0, "0 1\n"), done.stderr
    lines = done.stderr.splitlines()
    assert f"DEBUG mlflow.autolog() records no searches: {reason}." in lines
    assert {line.split()[0] for line in lines} == {"DEBUG"}


@pytest.mark.slow
def test_broken_plugin_does_not_break_import_of_mlflow():
    code = """
    import sys
    sys.modules["trackmllib.support.import_hooks"] = None
    import mlflow
    """
    done = run(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_plugin_loads_no_pyspark():
    code = """
    import sys
    from trackmllib.integrations.mlflow_plugin import SearchAutologging
    SearchAutologging()
    print([name for name in ("pyspark", "mlflow", "pydantic") if name in sys.modules])
    """
    assert run(code).stdout == "[]\n"


@pytest.mark.timed
def test_import_of_mlflow_takes_at_most_5_ms_longer():
    """Times the plugin within the import, which differs by more from process to process."""
    code = """
    import time
    from importlib.metadata import EntryPoint
    load = EntryPoint.load

    def timed(self):
        if self.value != "trackmllib.integrations.mlflow_plugin:SearchAutologging":
            return load(self)
        began = time.perf_counter()
        provider = load(self)()
        print((time.perf_counter() - began) * 1000)
        return lambda: provider

    EntryPoint.load = timed
    import mlflow
    """
    assert statistics.median(float(run(code).stdout) for _ in range(9)) < 5.0
