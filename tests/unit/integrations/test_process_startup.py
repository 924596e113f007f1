"""Recording from the start of a process, once it imports Spark's tuners."""

from __future__ import annotations

import sys
import textwrap
import venv

import pytest

from support.commands import environ, finished
from trackmllib.cli.run import STARTUP_FOLDER
from trackmllib.integrations.startup_variable import BadVariable, is_on

pytestmark = pytest.mark.versions

LIGHT = """
import sys
assert "trackmllib.integrations.process_startup" in sys.modules
assert not {"pyspark", "mlflow", "pydantic", "numpy", "sqlite3"} & set(sys.modules)
"""

LOOK = """
from pyspark.ml.tuning import CrossValidator, TrainValidationSplit
from trackmllib.support.patching import is_patched
on = is_patched(CrossValidator.fit), is_patched(TrainValidationSplit.fit)
"""


def run(code: str, *folders, **variables):
    """Run a program under the hook."""
    variables = {"TRACKMLLIB_AUTOLOG": "1", **variables}
    return finished(
        [sys.executable, "-c", textwrap.dedent(code)],
        environ(STARTUP_FOLDER, *folders, **variables),
    )


def check(code: str, *folders, **variables) -> None:
    """Run a program that must succeed without any message of trackmllib."""
    done = run(code, *folders, **variables)
    assert done.returncode == 0, done.stderr
    assert "trackmllib" not in done.stderr.lower()


@pytest.fixture
def stubs(tmp_path):
    """Write an empty pyspark of a given version, to test the effects of its import."""

    def write(version: str, worker: str = "", mlflow: str = ""):
        for name, text in {
            "pyspark/__init__.py": f"__version__ = {version!r}",
            "pyspark/ml/__init__.py": "",
            "pyspark/ml/tuning.py": "value = 1",
            "pyspark/worker.py": worker,
            "mlflow/__init__.py": mlflow,
        }.items():
            file = tmp_path / "stubs" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
        return tmp_path / "stubs"

    return write


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        "from pyspark.ml import Pipeline",
        "import pyspark.ml.tuning",
        "from pyspark.ml.connect.tuning import CrossValidator",
        "from trackmllib import testing\nwith testing.recording(): pass",
    ],
)
def test_recording_starts_when_tuners_are_imported(first):
    check(f"{LIGHT}\n{first}\n{LOOK}\nassert on == (True, True)")


@pytest.mark.slow
@pytest.mark.parametrize(
    "program",
    [
        f"import trackmllib; trackmllib.autolog(disable=True)\n{LOOK}\nassert on == (False, False)",
        f"""
import trackmllib; trackmllib.autolog(flush_timeout=7.0)
{LOOK}
from importlib import import_module
assert on == (True, True)
assert import_module("trackmllib.api.autolog")._session.settings.flush_timeout == 7.0
""",
        f"""
{LOOK}
import trackmllib; trackmllib.autolog(flush_timeout=7.0)
from importlib import import_module
assert on == (True, True)
assert import_module("trackmllib.api.autolog")._session.settings.flush_timeout == 7.0
trackmllib.autolog(disable=True)
import pyspark.ml.connect.tuning
assert not is_patched(CrossValidator.fit)
""",
    ],
    ids=["off before", "on before", "on after, and off"],
)
def test_own_call_of_autolog_takes_precedence(program):
    check(program)


@pytest.mark.parametrize("value", ["1", "true", "YES", " on "])
def test_values_that_start_recording(value):
    assert is_on(value)


@pytest.mark.parametrize("value", ["", "0", "False", "no", "OFF"])
def test_values_that_do_not_start_recording(value):
    assert not is_on(value)


def test_bad_value_warns_once_and_does_not_start_recording(stubs):
    with pytest.raises(
        BadVariable, match=r"'perhaps'.*1, true, yes, on .*0, false, no, off or empty"
    ):
        is_on("perhaps")
    done = run("import pyspark.ml.tuning", stubs("3.4.1"), TRACKMLLIB_AUTOLOG="perhaps")
    assert (done.returncode, done.stdout) == (0, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("TRACKMLLIB_AUTOLOG is 'perhaps', but must be 1, true, yes, on ")


def test_program_can_turn_the_variable_off(stubs):
    code = "import os; os.environ['TRACKMLLIB_AUTOLOG'] = 'off'; import pyspark.ml.tuning"
    check(code, stubs("3.4.1"))


def test_trackmllib_is_not_imported_without_the_variable():
    code = "import sys; assert not any(name.startswith('trackmllib') for name in sys.modules)"
    check(code, TRACKMLLIB_AUTOLOG="")


def test_old_pyspark_warns_once_and_its_import_succeeds(stubs):
    done = run("import pyspark.ml.tuning as t; print(t.value)", stubs("3.4.1"))
    assert (done.returncode, done.stdout) == (0, "1\n")
    (line,) = done.stderr.splitlines()
    assert "TRACKMLLIB_AUTOLOG is on, but autolog() failed" in line
    assert "3.4.1 is installed" in line
    assert 'pip install "pyspark>=3.5"' in line


def test_any_other_error_warns_once(stubs):
    done = run("import pyspark.ml.tuning", stubs("4.0.0", mlflow="raise RuntimeError('broken')"))
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert "RuntimeError: broken" in line


def test_spark_workers_import_nothing(stubs):
    worker = """
    import sys
    import pyspark.ml.tuning
    print([name for name in sys.modules if name.partition(".")[0] in ("trackmllib", "mlflow")])
    """
    env = environ(STARTUP_FOLDER, stubs("3.4.1", worker), TRACKMLLIB_AUTOLOG="1")
    done = finished([sys.executable, "-m", "pyspark.worker"], env)
    assert (done.stdout, done.stderr) == ("[]\n", "")
    # With -u, sitecustomize does not recognize the worker; with another module, neither check does.
    done = finished([sys.executable, "-u", "-m", "pyspark.worker"], env)
    assert (done.returncode, done.stderr) == (0, "")
    check("import pyspark.ml.tuning", stubs("3.4.1"), PYTHON_WORKER_FACTORY_SECRET="s")


def test_does_not_wait_for_autolog_in_another_thread(stubs):
    """That thread may wait for the import in which the hook runs."""
    folder = stubs(
        "4.0.0",
        mlflow="""
        import __main__
        __main__.inside.set()
        import pyspark.ml.tuning
        """,
    )
    (folder / "pyspark/ml/tuning.py").write_text(
        "import __main__\n__main__.begun.set()\nassert __main__.inside.wait(60)\n"
    )
    code = """
    import threading
    import trackmllib
    begun, inside = threading.Event(), threading.Event()

    def other():
        begun.wait(60)
        try:
            trackmllib.autolog()
        except ImportError as error:  # these stubs hold nothing that a session needs
            print("ended")

    thread = threading.Thread(target=other, daemon=True)
    thread.start()
    import pyspark.ml.tuning
    thread.join(60)
    """
    done = run(code, folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ended\n", "")


def test_users_sitecustomize_runs_once_and_is_the_one_imported(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("print('of the user'); value = 7\n")
    code = """
    import sys, sitecustomize
    assert sitecustomize.value == 7
    assert not [entry for entry in sys.path if "trackmllib/integrations/pythonpath" in entry]
    assert "trackmllib.integrations.process_startup" in sys.modules
    """
    done = run(code, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "of the user\n", "")


@pytest.mark.parametrize(
    "text", ["raise ValueError('of the user')", "import no_such_module_of_theirs", "1 +"]
)
def test_error_in_users_sitecustomize_is_unchanged(tmp_path, text):
    (tmp_path / "sitecustomize.py").write_text(text + "\n")
    command = [sys.executable, "-c", "import sys; print('sitecustomize' in sys.modules)"]
    without = finished(command, environ(tmp_path))
    done = finished(command, environ(STARTUP_FOLDER, tmp_path, TRACKMLLIB_AUTOLOG="1"))
    assert "Error" in without.stderr
    assert (done.returncode, done.stdout, done.stderr) == (0, without.stdout, without.stderr)


def test_nothing_happens_where_trackmllib_is_not_installed(tmp_path):
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    code = "import sys; print([name for name in sys.modules if 'trackmllib' in name])"
    env = {**environ(TRACKMLLIB_AUTOLOG="1"), "PYTHONPATH": STARTUP_FOLDER}
    done = finished([str(tmp_path / "bare/bin/python"), "-c", code], env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[]\n", "")
